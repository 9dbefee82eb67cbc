//! What the values of a field have in common, once all were seen: one pass over the sample of them.

use super::column::ColumnCount;
use super::look::Signs;

/// Places of signs.
const SIGNS: usize = 32;

/// Sums over the values of a field.
pub(crate) struct Tally {
    by_sign: [u64; SIGNS],
    /// Records by shape.
    by_shape: Vec<u64>,
    /// Records of the sample.
    pub(crate) sampled: u64,
    pub(crate) filled: u64,
    /// Records per value, ascending.
    records_per_value: Vec<u32>,
}

impl Tally {
    pub(crate) fn of(column: &ColumnCount) -> Self {
        let mut tally = Self {
            by_sign: [0; SIGNS],
            by_shape: vec![0; column.shapes.len()],
            sampled: 0,
            filled: column.filled,
            records_per_value: Vec::new(),
        };
        for seen in column.distinct.values() {
            let records = u64::from(seen.records);
            tally.sampled += records;
            seen.signs.places().for_each(|place| tally.by_sign.get_mut(place).into_iter().for_each(|sum| *sum += records));
            tally.by_shape.get_mut(usize::from(seen.shape)).into_iter().for_each(|sum| *sum += records);
            tally.records_per_value.push(seen.records);
        }
        tally.records_per_value.sort_unstable();
        tally
    }

    fn records(&self, sign: Signs) -> u64 {
        sign.places().filter_map(|place| self.by_sign.get(place)).sum()
    }

    /// Part of the records with a value that has the sign, from 0 to 1.
    pub(crate) fn share(&self, sign: Signs) -> f64 {
        share(self.records(sign), self.sampled)
    }

    /// As [`Self::share`], of the values that are no junk.
    pub(crate) fn share_of_meant(&self, sign: Signs) -> f64 {
        share(self.records(sign), self.sampled.saturating_sub(self.records(Signs::JUNK))).min(1.0)
    }

    /// Records with the sign among all of the field: counted where all values are in the sample, else told from it.
    pub(crate) fn of_all(&self, sign: Signs) -> u64 {
        let records = self.records(sign);
        if self.sampled == self.filled {
            return records;
        }
        let scaled = u128::from(records) * u128::from(self.filled) / u128::from(self.sampled.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// The most frequent shapes with their shares, at most so many.
    pub(crate) fn shapes(&self, column: &ColumnCount, most: usize) -> Vec<(String, f64)> {
        let named = column.shapes.iter().zip(&self.by_shape).skip(1).filter(|(_, records)| **records > 0);
        let mut shapes: Vec<(&String, u64)> = named.map(|(shape, records)| (shape, *records)).collect();
        shapes.sort_by(|(a, a_records), (b, b_records)| b_records.cmp(a_records).then_with(|| a.cmp(b)));
        shapes.truncate(most);
        shapes.into_iter().map(|(shape, records)| (shape.clone(), share(records, self.sampled))).collect()
    }

    /// Part of the records whose shape is one of these.
    pub(crate) fn share_of_shapes(&self, column: &ColumnCount, wanted: &[&str]) -> f64 {
        let records = column.shapes.iter().zip(&self.by_shape).filter(|(shape, _)| wanted.contains(&shape.as_str()));
        share(records.map(|(_, records)| records).sum(), self.sampled)
    }

    /// Records of the value that this part of all values does not exceed; 1.0 = the most frequent value.
    pub(crate) fn records_at(&self, part: f64) -> u64 {
        let last = self.records_per_value.len().saturating_sub(1);
        self.records_per_value.get(place(part, last)).copied().unwrap_or(0).into()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
fn place(part: f64, last: usize) -> usize {
    (part * last as f64).round() as usize
}

/// A part of a whole, 0 where there is nothing.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not occur")]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
