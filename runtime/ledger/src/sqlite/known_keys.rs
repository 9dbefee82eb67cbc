//! Which node keys are certainly not in the ledger. A first load asks for a million keys that nobody knows, and each look-up
//! reads pages all over the index; a Bloom filter over the keys answers nearly all of them from memory.
//!
//! It is true for as long as nobody else has written: `PRAGMA data_version` of the connection that writes changes with every
//! commit but its own. Making it costs one walk over the nodes, so it is made when look-ups in vain were worth that walk;
//! until then the keys that were looked up in vain are kept, so that an epoch need not look them up again.

use std::collections::HashSet;

use affluent_model::identity::{NodeId, NodeKey};
use affluent_model::limits::EPOCH_ROWS_MAX;
use rusqlite::Connection;

use super::nodes::NODES;
use crate::error::StoreResult;

/// Bits for each key: with [`PROBES`] probes one unknown key in four hundred is looked up in vain.
const BITS_PER_KEY: usize = 16;
const PROBES: usize = 4;
/// Keys that the smallest filter has room for: 2 MiB.
const KEYS_MIN: usize = 1 << 20;
/// Keys above which there is no filter: it would take more than 64 MiB.
const KEYS_MAX: usize = 1 << 25;
/// Keys looked up in vain that are kept: those of an epoch.
const STRANGERS_MAX: usize = EPOCH_ROWS_MAX;
/// A look-up in vain costs as much as reading this many keys in order.
const KEYS_PER_LOOK_UP: usize = 8;

/// A filter over all keys, or what is known of whether one is worth making.
#[derive(Default)]
pub(super) struct KnownKeys {
    filter: Option<Filter>,
    /// What `PRAGMA data_version` said when the filter was made.
    data_version: i64,
    /// Look-ups in vain since there is no filter.
    missed: usize,
    /// Epochs that this process has stored.
    epochs: u64,
    /// Keys that nobody had in this state.
    strangers: HashSet<NodeKey>,
}

/// A state of the keys in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    data_version: i64,
    epochs: u64,
}

struct Filter {
    words: Vec<u64>,
    keys: usize,
    keys_max: usize,
}

impl KnownKeys {
    /// Drops the filter when somebody else has written, and makes it when that is worth it; `connection` is the one that
    /// writes.
    pub(super) fn refresh(&mut self, connection: &Connection) -> StoreResult<()> {
        self.renew(connection)?;
        if self.filter.is_some() {
            return Ok(());
        }
        let last = NODES.last(connection)?.map_or(0, |node| node.0);
        let keys = usize::try_from(last).unwrap_or(usize::MAX);
        if keys <= KEYS_MAX / 2 && self.missed.saturating_mul(KEYS_PER_LOOK_UP) >= keys {
            self.filter = Some(Filter::of_all(connection, keys)?);
        }
        Ok(())
    }

    /// Drops all that is known when somebody else has written.
    pub(super) fn renew(&mut self, connection: &Connection) -> StoreResult<()> {
        let version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version != version {
            *self = Self { data_version: version, epochs: self.epochs, ..Self::default() };
        }
        Ok(())
    }

    /// False when nobody has the key.
    pub(super) fn may_hold(&self, key: &NodeKey) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_hold(key)) && !self.strangers.contains(key)
    }

    pub(super) fn state(&self) -> State {
        State { data_version: self.data_version, epochs: self.epochs }
    }

    /// Enters keys that are stored now; should their transaction fail after all, they are looked up in vain.
    pub(super) fn add<'k>(&mut self, keys: impl Iterator<Item = &'k NodeKey>) {
        self.epochs += 1;
        self.strangers = HashSet::new();
        let Some(filter) = &mut self.filter else { return };
        keys.for_each(|key| filter.add(key));
        if filter.keys > filter.keys_max {
            // Too full to say much; the next one has twice the room, and is made at once.
            (self.missed, self.filter) = (KEYS_MAX, None);
        }
    }

    /// Keeps keys that were looked up in vain, if it is still so.
    pub(super) fn note_missed(&mut self, state: Option<State>, keys: impl Iterator<Item = NodeKey>) {
        let is_now = state == Some(self.state());
        for key in keys {
            self.missed = self.missed.saturating_add(1);
            if is_now && self.filter.is_none() && self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(key);
            }
        }
    }
}

impl Filter {
    fn with_room(keys: usize) -> Self {
        let keys_max = keys.saturating_mul(2).max(KEYS_MIN);
        Self { words: vec![0; keys_max * BITS_PER_KEY / 64], keys: 0, keys_max }
    }

    fn of_all(connection: &Connection, keys: usize) -> StoreResult<Self> {
        let mut filter = Self::with_room(keys);
        NODES.each(connection, NodeId(0), &mut |_, entry| {
            entry.first_chunk().into_iter().for_each(|key| filter.add(key));
            Ok(true)
        })?;
        Ok(filter)
    }

    fn add(&mut self, key: &NodeKey) {
        for (word, bit) in self.probes(key) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
        self.keys += 1;
    }

    fn may_hold(&self, key: &NodeKey) -> bool {
        self.probes(key).into_iter().all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Word and bit of each probe. A key is a keyed hash behind one byte of version, so its bytes are as good as hashes of it.
    fn probes(&self, key: &NodeKey) -> [(usize, u64); PROBES] {
        let [_version, hash @ ..] = key;
        let bits = self.words.len() as u64 * 64;
        let mut probes = [(0, 0); PROBES];
        for (probe, part) in probes.iter_mut().zip(hash.as_chunks::<4>().0) {
            // Spreads 32 bits evenly over the filter, whatever its length.
            let bit = (u64::from(u32::from_be_bytes(*part)) * bits) >> 32;
            *probe = (usize::try_from(bit / 64).unwrap_or(usize::MAX), 1 << (bit % 64));
        }
        probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As random as a real one: splitmix64.
    fn key(number: u64) -> NodeKey {
        let mix = |seed: u64| {
            let z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let mut key = [1; 17];
        let bytes = [2 * number + 1, 2 * number + 2].into_iter().flat_map(|seed| mix(seed).to_be_bytes());
        key.iter_mut().skip(1).zip(bytes).for_each(|(slot, byte)| *slot = byte);
        key
    }

    #[test]
    fn a_key_that_was_entered_may_be_held_and_hardly_another() {
        let mut filter = Filter::with_room(0);
        (0..KEYS_MIN as u64).for_each(|number| filter.add(&key(number)));
        assert!((0..KEYS_MIN as u64).all(|number| filter.may_hold(&key(number))));
        let strangers = 100_000;
        let mistaken = (0..strangers).filter(|number| filter.may_hold(&key(1 << 40 | number))).count();
        assert!(mistaken < 1_000, "{mistaken} of {strangers} strangers");
    }

    #[test]
    fn without_a_filter_every_key_may_be_held() {
        assert!(KnownKeys::default().may_hold(&key(1)));
    }
}
