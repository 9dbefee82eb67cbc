//! The bitmap that says which values are present. It is made only once the first null arrives.

/// Bits of the values pushed so far, least significant first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validity {
    /// Empty as long as there is no null.
    bits: Vec<u8>,
    len: usize,
}

impl Validity {
    /// Values so far, nulls included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Notes a value that is present.
    #[inline]
    pub fn push_valid(&mut self) {
        if !self.bits.is_empty() {
            self.push_bit(true);
        }
        self.len += 1;
    }

    /// Notes a null.
    #[inline]
    pub fn push_null(&mut self) {
        if self.bits.is_empty() {
            self.bits = all_valid(self.len);
        }
        self.push_bit(false);
        self.len += 1;
    }

    fn push_bit(&mut self, valid: bool) {
        let (byte, bit) = (self.len / 8, self.len % 8);
        if byte >= self.bits.len() {
            self.bits.push(0);
        }
        if let Some(slot) = self.bits.get_mut(byte) {
            *slot |= u8::from(valid) << bit;
        }
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        if self.bits.is_empty() {
            return;
        }
        self.bits.truncate(len / 8 + 1);
        if let Some(last) = self.bits.get_mut(len / 8) {
            *last &= (1u8 << (len % 8)) - 1;
        }
    }

    /// The bitmap, or `None` when no value is null; starts anew.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let len = std::mem::take(&mut self.len);
        let mut bits = std::mem::take(&mut self.bits);
        bits.truncate(len.div_ceil(8));
        (!bits.is_empty()).then_some(bits)
    }
}

/// A bitmap of `len` present values with at least one byte, bits beyond `len` clear.
pub(super) fn all_valid(len: usize) -> Vec<u8> {
    let mut bits = vec![0xff; len / 8];
    bits.push((1u8 << (len % 8)) - 1);
    bits
}

/// Whether value `row` is present.
#[inline]
pub(crate) fn is_valid(bits: Option<&[u8]>, row: usize) -> bool {
    bits.is_none_or(|bits| bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(values: &[bool]) -> Validity {
        let mut validity = Validity::default();
        for present in values {
            if *present { validity.push_valid() } else { validity.push_null() }
        }
        validity
    }

    #[test]
    fn a_column_without_nulls_has_no_bitmap() {
        assert_eq!(filled(&[true; 20]).take(), None);
    }

    proptest! {
        #[test]
        fn the_bitmap_says_what_was_pushed(values in prop::collection::vec(any::<bool>(), 0..200), kept in 0usize..200, more in prop::collection::vec(any::<bool>(), 0..40)) {
            let mut expected = values.clone();
            expected.truncate(kept);
            expected.extend(&more);
            let mut validity = filled(&values);

            validity.truncate(kept);
            for present in &more {
                if *present { validity.push_valid() } else { validity.push_null() }
            }

            let bits = validity.take();
            if let Some(bits) = &bits {
                prop_assert_eq!(bits.len(), expected.len().div_ceil(8));
            }
            for (row, present) in expected.iter().enumerate() {
                prop_assert_eq!(is_valid(bits.as_deref(), row), *present);
            }
        }
    }
}
