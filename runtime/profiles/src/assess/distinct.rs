//! Distinct values of a field in bounded memory: their hashes with what is known of each. Up to the bound this is exact;
//! beyond it only hashes with ever more zero bits stay (adaptive sampling, Flajolet 1990), each still with all of its
//! records, so that shares and records per value can be told from the sample as they could from the whole. The standard
//! error of the estimated number is about 1.2 / √(bound / 2), here 0.5 %.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use foldhash::fast::FixedState as FastState;
use foldhash::quality::FixedState as QualityState;

use super::look::Signs;

/// Values that are kept: as many as a table of 2^17 places takes, 3 MB.
pub(crate) const VALUES_MAX: usize = 114_000;
/// The same for every run: a report does not change when it is made again.
const SEED: u64 = 0x0061_6666_6c75_656e;
/// Bits of a hash that decide who stays: not those that a table looks at.
const SAMPLING_SHIFT: u32 = 20;

/// A value that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) records: u32,
    pub(crate) signs: Signs,
    /// Number of its shape.
    pub(crate) shape: u16,
}

/// The values of a field.
pub(crate) struct Distinct {
    hasher: QualityState,
    seen: HashMap<u64, Seen, FastState>,
    level: u32,
    values_max: usize,
    /// Records of values that are not in the sample, and those of them that are junk.
    pub(crate) outside: u64,
    pub(crate) junk_outside: u64,
}

/// Where a value stands.
pub(crate) enum Place<'a> {
    /// It was seen before.
    Known,
    /// It is new: fill it in.
    New(&'a mut Seen),
    /// It is not in the sample.
    Outside,
}

impl Distinct {
    pub(crate) fn new(values_max: usize) -> Self {
        let seen = HashMap::with_hasher(FastState::with_seed(SEED));
        Self { hasher: QualityState::with_seed(SEED), seen, level: 0, values_max, outside: 0, junk_outside: 0 }
    }

    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text.as_bytes())
    }

    /// Counts a record of a value.
    pub(crate) fn place(&mut self, hash: u64) -> Place<'_> {
        if !stays(hash, self.level) {
            return Place::Outside;
        }
        if self.seen.len() >= self.values_max && !self.seen.contains_key(&hash) {
            self.level += 1;
            self.thin_out();
            if !stays(hash, self.level) {
                return Place::Outside;
            }
        }
        match self.seen.entry(hash) {
            Entry::Occupied(known) => {
                let seen = known.into_mut();
                seen.records = seen.records.saturating_add(1);
                Place::Known
            }
            Entry::Vacant(new) => Place::New(new.insert(Seen { records: 1, signs: Signs::default(), shape: 0 })),
        }
    }

    /// Every other value goes, with its records.
    fn thin_out(&mut self) {
        let (level, mut records, mut junk) = (self.level, 0, 0);
        self.seen.retain(|hash, seen| {
            let is_kept = stays(*hash, level);
            if !is_kept {
                records += u64::from(seen.records);
                junk += if seen.signs.has(Signs::JUNK) { u64::from(seen.records) } else { 0 };
            }
            is_kept
        });
        self.outside += records;
        self.junk_outside += junk;
    }

    /// All of them are known.
    pub(crate) fn is_exact(&self) -> bool {
        self.level == 0
    }

    /// How many there are: counted, or estimated from the sample.
    pub(crate) fn count(&self) -> u64 {
        (self.seen.len() as u64) << self.level
    }

    /// The values of the sample.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Seen> {
        self.seen.values()
    }
}

fn stays(hash: u64, level: u32) -> bool {
    (hash >> SAMPLING_SHIFT).trailing_zeros() >= level
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: usize, repeats: usize) -> Distinct {
        let mut distinct = Distinct::new(1_000);
        for _ in 0..repeats {
            for value in 0..values {
                let hash = distinct.hash(&format!("value {value}"));
                distinct.place(hash);
            }
        }
        distinct
    }

    #[test]
    fn values_are_counted_exactly_up_to_the_bound_and_nearly_beyond() {
        assert_eq!(counted(999, 3).count(), 999);
        assert!(counted(999, 3).is_exact());

        let many = counted(100_000, 2);
        let error = (many.count() as f64 / 100_000.0 - 1.0).abs();
        assert!(error < 0.12, "{}", many.count());
    }

    #[test]
    fn a_value_in_the_sample_has_all_of_its_records() {
        let many = counted(50_000, 3);

        assert!(!many.is_exact());
        assert!(many.values().all(|seen| seen.records == 3));
    }
}
