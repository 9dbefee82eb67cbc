//! Finding structure in bytes eight at a time, without vector instructions: byte loops are what a metered sandbox makes
//! slowest. For parsers of file formats.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks each zero byte of a word by its high bit. Only the lowest mark is exact: higher ones may be false.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Where `first` or `second` stands first.
#[inline]
pub fn either(bytes: &[u8], first: u8, second: u8) -> Option<usize> {
    let (first_word, second_word) = (ONES * u64::from(first), ONES * u64::from(second));
    find(bytes, |word| zero_bytes(word ^ first_word) | zero_bytes(word ^ second_word), |byte| byte == first || byte == second)
}

/// Where a JSON string ends or needs an escape: a quote, a backslash, or a control character.
#[inline]
pub fn json_special(bytes: &[u8]) -> Option<usize> {
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    const CONTROLS: u64 = ONES * 0x20;
    let marks = |word: u64| {
        let controls = word.wrapping_sub(CONTROLS) & !word & HIGHS;
        zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES) | controls
    };
    find(bytes, marks, |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
}

/// Where the first byte that is not ASCII stands.
#[inline]
pub fn beyond_ascii(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| word & HIGHS, |byte| !byte.is_ascii())
}

/// Makes the letters A to Z small and leaves every other byte as it is.
#[inline]
pub fn make_ascii_lowercase(bytes: &mut [u8]) {
    const FROM_A: u64 = ONES * (0x80 - b'A' as u64);
    const BEYOND_Z: u64 = ONES * (0x7f - b'Z' as u64);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        let word = u64::from_le_bytes(*bytes);
        let low = word & !HIGHS;
        // The high bit of each byte: set from A on, and set beyond Z.
        let capitals = (low.wrapping_add(FROM_A) ^ low.wrapping_add(BEYOND_Z)) & !word & HIGHS;
        *bytes = (word | capitals >> 2).to_le_bytes();
    }
    tail.make_ascii_lowercase();
}

/// Whether `bytes` starts with `prefix`; the library's comparison goes byte by byte in a component.
#[inline]
pub fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let Some(start) = bytes.get(..prefix.len()) else { return false };
    let ((words, tail), (prefix_words, prefix_tail)) = (start.as_chunks::<8>(), prefix.as_chunks::<8>());
    let same_words = words.iter().zip(prefix_words).all(|(word, other)| u64::from_le_bytes(*word) == u64::from_le_bytes(*other));
    same_words && tail.iter().zip(prefix_tail).all(|(byte, other)| byte == other)
}

#[inline(always)]
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|byte| is_it(*byte)).map(|index| words.len() * 8 + index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_a_byte_loop_finds(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1eu8..0x24, Just(b'\\')], 0..40), first: u8, second: u8) {
            prop_assert_eq!(either(&bytes, first, second), bytes.iter().position(|byte| *byte == first || *byte == second));
            prop_assert_eq!(beyond_ascii(&bytes), bytes.iter().position(|byte| !byte.is_ascii()));
            let mut small = bytes.clone();
            make_ascii_lowercase(&mut small);
            prop_assert_eq!(small, bytes.to_ascii_lowercase());
            let prefix = bytes.get(..usize::from(first % 24)).unwrap_or_default();
            prop_assert!(starts_with(&bytes, prefix));
            prop_assert_eq!(starts_with(prefix, &bytes), prefix.len() == bytes.len());
            prop_assert_eq!(json_special(&bytes), bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)));
        }
    }
}
