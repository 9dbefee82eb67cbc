//! Keys of records by their short hashes. Whether a key is among them is asked of every row of a table, and mostly it is not:
//! marks that fit into the cache say so first.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// Marks per key.
const MARKS: usize = 16;

/// Two keys may have one short hash: both are among them then.
pub(crate) struct KeySet {
    hashes: HashSet<u64, FixedState>,
    /// A power of two of words.
    marks: Vec<u64>,
}

/// Short hashes of keys.
pub(crate) type Hashes = HashSet<u64, FixedState>;

/// Of the key of a record.
pub(crate) fn short_hash(key: &str) -> u64 {
    FixedState::default().hash_one(key)
}

impl KeySet {
    pub(crate) fn of(hashes: Hashes) -> Self {
        let words = (hashes.len() * MARKS).div_ceil(64).next_power_of_two();
        let mut set = Self { hashes: HashSet::default(), marks: vec![0; words] };
        for hash in &hashes {
            let (word, bit) = set.place(*hash);
            if let Some(word) = set.marks.get_mut(word) {
                *word |= bit;
            }
        }
        Self { hashes, ..set }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        let hash = short_hash(key);
        let (word, bit) = self.place(hash);
        self.marks.get(word).is_some_and(|word| word & bit != 0) && self.hashes.contains(&hash)
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let word = usize::try_from(hash >> 6).unwrap_or(usize::MAX) & (self.marks.len() - 1);
        (word, 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_among_those_that_were_given_and_no_other() {
        for count in [0, 1, 5, 1_000] {
            let set = KeySet::of((0..count).map(|key| short_hash(&format!("k{key}"))).collect());
            let found: Vec<usize> = (0..2_000).filter(|key| set.has(&format!("k{key}"))).collect();
            assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }
}
