//! Which node keys nobody has: a Bloom filter whose probes of a key are all in one word, so that asking costs one look into
//! memory, and keys in their order are asked and entered one word after the other. One of the keys that moved in
//! [`NODE_BY_KEY`] is kept beside them: reading it costs a fiftieth of looking through them.

use affluent_model::identity::{NodeId, NodeKey};
use rusqlite::{Connection, params};

use super::blocks::damaged;
use super::levels::{KeyEntry, NODE_BY_KEY};
use super::nodes::NODES;
use crate::error::StoreResult;

/// Bits for each key of a full filter: with [`PROBES`] probes one unknown key in two hundred is looked up in vain.
const BITS_PER_KEY: usize = 16;
const PROBES: usize = 4;
/// Keys that the smallest filter in memory has room for: 2 MiB.
const KEYS_MIN: usize = 1 << 20;
/// Keys above which there is no filter: it would take more than 64 MiB.
pub(super) const KEYS_MAX: usize = 1 << 24;
/// Words of a row of the kept filter: they fill a page.
const ROW_WORDS: usize = 2_000;

pub(super) struct Filter {
    words: Vec<u64>,
    keys: usize,
    keys_max: usize,
}

impl Filter {
    fn with_room(keys_max: usize) -> Self {
        let words = (keys_max * BITS_PER_KEY).div_ceil(64);
        Self { words: vec![0; words], keys: 0, keys_max }
    }

    /// Of all keys, about `keys`, by one walk over the nodes.
    pub(super) fn of_all(connection: &Connection, keys: usize) -> StoreResult<Self> {
        let mut filter = Self::with_room(keys.saturating_mul(2).max(KEYS_MIN));
        NODES.each(connection, NodeId(0), &mut |_, entry| {
            entry.first_chunk().into_iter().for_each(|key| filter.add(key));
            Ok(true)
        })?;
        Ok(filter)
    }

    /// Of all keys, from the one that is kept; `None` where there is none that has room for those that did not move. `connection`
    /// sees one state.
    pub(super) fn kept(connection: &Connection) -> StoreResult<Option<Self>> {
        let Some(mut filter) = Self::read(connection)? else { return Ok(None) };
        for entry in NODE_BY_KEY.recent_entries(connection)? {
            filter.add(key_of(&entry));
        }
        Ok((!filter.is_full()).then_some(filter))
    }

    /// Enters keys that moved into the filter that is kept, which is made anew where it has no room for them.
    pub(super) fn keep(connection: &Connection, moved: &[KeyEntry]) -> StoreResult<()> {
        if moved.is_empty() {
            return Ok(());
        }
        let keys = NODE_BY_KEY.moved_count(connection)?;
        // Others come before the next move: an eighth of all.
        let known = Self::read(connection)?.filter(|known| known.keys_max >= keys.saturating_add(keys / 8));
        let Some(mut filter) = known.or_else(|| (keys == moved.len()).then(|| Self::to_keep(keys))) else {
            return Self::make(connection);
        };
        moved.iter().for_each(|entry| filter.add(key_of(entry)));
        filter.write(connection)
    }

    /// Makes the filter that is kept, by one walk over the keys that moved; of too many none is kept.
    pub(super) fn make(connection: &Connection) -> StoreResult<()> {
        let keys = NODE_BY_KEY.moved_count(connection)?;
        if keys == 0 || keys > KEYS_MAX {
            connection.prepare_cached("DELETE FROM node_by_key_filter")?.execute([])?;
            return Ok(());
        }
        let mut filter = Self::to_keep(keys);
        NODE_BY_KEY.each_moved(connection, |entry| {
            filter.add(key_of(entry));
            Ok(())
        })?;
        filter.write(connection)
    }

    /// With room for those that move some two times more.
    fn to_keep(keys: usize) -> Self {
        Self::with_room(keys.saturating_add(keys / 2))
    }

    fn read(connection: &Connection) -> StoreResult<Option<Self>> {
        let mut statement = connection.prepare_cached("SELECT body FROM node_by_key_filter ORDER BY part")?;
        let mut rows = statement.query([])?;
        let mut words = Vec::new();
        while let Some(row) = rows.next()? {
            let (row, []) = row.get_ref(0)?.as_blob().map_err(|_| damaged())?.as_chunks() else { return Err(damaged()) };
            words.extend(row.iter().copied().map(u64::from_le_bytes));
        }
        if words.is_empty() {
            return Ok(None);
        }
        let keys_max = words.len() * 64 / BITS_PER_KEY;
        Ok(Some(Self { words, keys: NODE_BY_KEY.moved_count(connection)?, keys_max }))
    }

    /// Writes it in place of the one that is kept, which has no more words.
    fn write(&self, connection: &Connection) -> StoreResult<()> {
        let sql = "INSERT OR REPLACE INTO node_by_key_filter (part, body) VALUES (?1, ?2)";
        let mut statement = connection.prepare_cached(sql)?;
        for (part, words) in (0_i64..).zip(self.words.chunks(ROW_WORDS)) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            statement.execute(params![part, bytes])?;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, key: &NodeKey) {
        let (word, bits) = self.probes(key);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bits;
        }
        self.keys += 1;
    }

    /// False when nobody has the key.
    pub(super) fn may_hold(&self, key: &NodeKey) -> bool {
        let (word, bits) = self.probes(key);
        self.words.get(word).is_some_and(|word| word & bits == bits)
    }

    /// Too full to say much.
    pub(super) fn is_full(&self) -> bool {
        self.keys > self.keys_max
    }

    /// The word of a key, and its bits there. A key is a keyed hash behind one byte of version, so its bytes are as good as
    /// hashes of it.
    fn probes(&self, key: &NodeKey) -> (usize, u64) {
        let [_version, a, b, c, d, probes @ ..] = key;
        // Spreads 32 bits evenly over the words, in their order.
        let word = (u64::from(u32::from_be_bytes([*a, *b, *c, *d])) * self.words.len() as u64) >> 32;
        let bits = probes.iter().take(PROBES).fold(0, |bits, byte| bits | 1 << (byte % 64));
        (usize::try_from(word).unwrap_or(usize::MAX), bits)
    }
}

fn key_of(entry: &KeyEntry) -> &NodeKey {
    let (key, _) = entry.split_first_chunk().unwrap_or((&[0; 17], &[]));
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::levels::key_entry;
    use super::super::open::open_writer;
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
        let mut filter = Filter::with_room(KEYS_MIN);
        (0..KEYS_MIN as u64).for_each(|number| filter.add(&key(number)));
        assert!((0..KEYS_MIN as u64).all(|number| filter.may_hold(&key(number))));
        assert!(!filter.is_full());
        let strangers = 100_000;
        let mistaken = (0..strangers).filter(|number| filter.may_hold(&key(1 << 40 | number))).count();
        assert!(mistaken < 1_000, "{mistaken} of {strangers} strangers");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_filter_that_is_kept_holds_all_keys_and_hardly_another(
            commits in prop::collection::vec((1..300_u64, any::<bool>()), 1..24),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let connection = open_writer(&folder.path().join("ledger")).unwrap();
            connection.execute_batch("BEGIN").unwrap();
            let mut last = 0;
            for (count, settles) in commits {
                let entries = (last..last + count).map(|number| key_entry(&key(number), NodeId(1 + number as i64)).unwrap());
                let mut entries: Vec<KeyEntry> = entries.collect();
                entries.sort_unstable();
                Filter::keep(&connection, &NODE_BY_KEY.append(&connection, &entries).unwrap()).unwrap();
                if settles {
                    Filter::keep(&connection, &NODE_BY_KEY.settle(&connection).unwrap()).unwrap();
                }
                last += count;
                let Some(filter) = Filter::kept(&connection).unwrap() else {
                    prop_assert!(!settles, "none is kept");
                    continue;
                };
                prop_assert!((0..last).all(|number| filter.may_hold(&key(number))));
                let mistaken = (0..1_000).filter(|number| filter.may_hold(&key(1 << 40 | number))).count();
                prop_assert!(mistaken < 100, "{} of 1000 strangers", mistaken);
            }
        }
    }
}
