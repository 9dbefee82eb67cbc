//! Sorted entries of one width, packed into blocks of a page each: for SQLite a block is a row, so a million entries cost
//! what a few thousand rows do. Which block may hold a key says a directory with the first entry's key of each. A block
//! changes in its place, so that what is taken out of it is overwritten.

use std::iter::Peekable;

use affluent_model::Error;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::error::{StoreError, StoreResult};

/// Bytes of a full block: with what SQLite adds to them they fill a page, which is read whole for any part of it.
const BLOCK_BYTES_MAX: usize = 16_300;
/// Blocks read at once where entries go into each of them.
const AHEAD_MAX: usize = 16;
/// Full blocks of new entries that are put into one block at once, before it is written as several.
const BLOCKS_ADDED_MAX: usize = 16;

/// Sorted entries of `W` bytes in two tables.
pub(super) struct Blocks<const W: usize> {
    /// The bytes an entry is told apart by; what follows them is what is known of it.
    pub(super) key_bytes: usize,
    /// Blocks from the one that holds a key on, each with the first key of the one behind it. A limit would have SQLite plan
    /// anew whenever it is another.
    read: &'static str,
    /// The block that holds a key, and the first key of the one behind it.
    pub(super) find: &'static str,
    /// Blocks after a key.
    after: &'static str,
    /// The first key of all.
    pub(super) begin: &'static str,
    insert: [&'static str; 2],
    update: &'static str,
    delete: [&'static str; 2],
}

/// A block as it stands in the file.
struct Held {
    block: i64,
    body: Vec<u8>,
    /// The first key of the block behind; `None` = it is the last one.
    end: Option<Vec<u8>>,
}

macro_rules! blocks {
    ($table:literal, $key_bytes:expr) => {
        $crate::sqlite::blocks::Blocks::new(
            $key_bytes,
            [
                concat!(
                    "SELECT b.block, b.body, (SELECT min(n.first) FROM ",
                    $table,
                    "_first n WHERE n.first > f.first) FROM ",
                    $table,
                    "_first f CROSS JOIN ",
                    $table,
                    "_block b ON b.block = f.block WHERE f.first >= coalesce((SELECT max(first) FROM ",
                    $table,
                    "_first WHERE first <= ?1), x'') ORDER BY f.first"
                ),
                concat!(
                    "SELECT b.body, (SELECT min(n.first) FROM ",
                    $table,
                    "_first n WHERE n.first > f.first) FROM ",
                    $table,
                    "_first f CROSS JOIN ",
                    $table,
                    "_block b ON b.block = f.block WHERE f.first <= ?1 ORDER BY f.first DESC LIMIT 1"
                ),
                concat!(
                    "SELECT b.body FROM ",
                    $table,
                    "_first f CROSS JOIN ",
                    $table,
                    "_block b ON b.block = f.block WHERE f.first > ?1 ORDER BY f.first"
                ),
                concat!("SELECT min(first) FROM ", $table, "_first"),
            ],
            [
                concat!("INSERT INTO ", $table, "_block (body) VALUES (?1)"),
                concat!("INSERT INTO ", $table, "_first (first, block) VALUES (?1, ?2)"),
            ],
            concat!("UPDATE ", $table, "_block SET body = ?2 WHERE block = ?1"),
            [
                concat!("DELETE FROM ", $table, "_block WHERE block = ?1"),
                concat!("DELETE FROM ", $table, "_first WHERE first = ?1"),
            ],
        )
    };
}
pub(super) use blocks;

impl<const W: usize> Blocks<W> {
    pub(super) const ENTRIES_MAX: usize = BLOCK_BYTES_MAX / W;
    const ADDED_MAX: usize = BLOCKS_ADDED_MAX * Self::ENTRIES_MAX;

    pub(super) const fn new(
        key_bytes: usize,
        [read, find, after, begin]: [&'static str; 4],
        insert: [&'static str; 2],
        update: &'static str,
        delete: [&'static str; 2],
    ) -> Self {
        Self { key_bytes, read, find, after, begin, insert, update, delete }
    }

    /// Visits entries in their order, from the first that is not below `from`, a key or the beginning of one, for as long as
    /// `visit` says so.
    pub(super) fn each(
        &self,
        connection: &Connection,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8; W]) -> StoreResult<bool>,
    ) -> StoreResult<()> {
        // Mostly one block is all: finding it alone costs less than opening a walk over those behind it.
        for sql in [self.find, self.after] {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([from])?;
            while let Some(row) = rows.next()? {
                let entries = entries_of::<W>(row.get_ref(0)?.as_blob().map_err(|_| damaged())?)?;
                let below = entries.partition_point(|entry| entry.as_slice() < from);
                for entry in entries.iter().skip(below) {
                    if !visit(entry)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts entries in, which are sorted by their keys. `combine` takes what is new of an entry that is there and says whether
    /// that changes it. Returns how many were not there.
    pub(super) fn merge(
        &self,
        connection: &Connection,
        entries: impl Iterator<Item = [u8; W]>,
        combine: impl Fn(&mut [u8; W], &[u8; W]) -> bool,
    ) -> StoreResult<usize> {
        let mut entries = entries.peekable();
        let (mut added, mut ahead) = (0, 1);
        while let Some(next) = entries.peek() {
            let held = self.held(connection, self.key(next), ahead)?;
            let is_end = held.last().is_none_or(|last| last.end.is_none());
            let (mut used, mut last, mut is_cut) = (0, None, false);
            for block in &held {
                let end = block.end.as_deref();
                let merged = self.merge_block(block, &mut entries, end, &combine)?;
                self.replace(connection, block, &merged)?;
                used += usize::from(merged.is_changed);
                added += merged.added;
                last = merged.entries.last().copied();
                // More belong into it than go at once: it stands as several now.
                is_cut = entries.peek().is_some_and(|entry| end.is_some_and(|end| self.key(entry) < end));
                if is_cut {
                    break;
                }
            }
            let is_behind = |entry: &[u8; W]| last.is_none_or(|last| self.key(&last) < self.key(entry));
            if is_end && !is_cut && entries.peek().is_none_or(is_behind) {
                return Ok(added + self.append(connection, &mut entries, &combine)?);
            }
            ahead = if used == ahead { (ahead * 2).min(AHEAD_MAX) } else { 1 };
        }
        Ok(added)
    }

    /// Takes out the entries with keys that begin with one of `prefixes`, which are sorted. Returns how many there were.
    pub(super) fn remove(&self, connection: &Connection, prefixes: &[impl AsRef<[u8]>]) -> StoreResult<usize> {
        let (mut removed, mut rest) = (0, prefixes.iter().map(AsRef::as_ref).peekable());
        // Where what begins with a prefix goes on.
        let mut further: Option<Vec<u8>> = None;
        while let Some(prefix) = rest.peek() {
            let Some(block) = self.held(connection, further.as_deref().unwrap_or(prefix), 1)?.pop() else { break };
            let entries = entries_of::<W>(&block.body)?;
            let mut left = entries.to_vec();
            left.retain(|entry| {
                while rest.next_if(|prefix| is_passed(prefix, entry)).is_some() {}
                rest.peek().is_none_or(|prefix| !entry.starts_with(prefix))
            });
            removed += entries.len() - left.len();
            let is_changed = left.len() < entries.len();
            self.replace(connection, &block, &Merged { entries: left, added: 0, is_changed })?;
            let Some(end) = block.end else { break };
            while rest.next_if(|prefix| is_passed(prefix, &end)).is_some() {}
            further = rest.peek().is_some_and(|prefix| end.starts_with(prefix)).then_some(end);
        }
        Ok(removed)
    }

    /// Takes out the entries that `stays` refuses, which sees all in their order. Returns how many there were.
    pub(super) fn retain(&self, connection: &Connection, mut stays: impl FnMut(&[u8; W]) -> bool) -> StoreResult<usize> {
        let (mut removed, mut next) = (0, Some(Vec::new()));
        while let Some(from) = next {
            let Some(block) = self.held(connection, &from, 1)?.pop() else { break };
            let entries = entries_of::<W>(&block.body)?;
            let mut left = entries.to_vec();
            left.retain(&mut stays);
            removed += entries.len() - left.len();
            let is_changed = left.len() < entries.len();
            self.replace(connection, &block, &Merged { entries: left, added: 0, is_changed })?;
            next = block.end;
        }
        Ok(removed)
    }

    /// The last entry that does not come behind `key`.
    pub(super) fn last_below(&self, connection: &Connection, key: &[u8; W]) -> StoreResult<Option<[u8; W]>> {
        let mut statement = connection.prepare_cached(self.find)?;
        let mut rows = statement.query([key.as_slice()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let entries = entries_of::<W>(row.get_ref(0)?.as_blob().map_err(|_| damaged())?)?;
        Ok(entries.iter().rev().find(|entry| *entry <= key).copied())
    }

    pub(super) fn is_empty(&self, connection: &Connection) -> StoreResult<bool> {
        Ok(connection.prepare_cached(self.begin)?.query_row([], |row| row.get::<_, Option<Vec<u8>>>(0))?.is_none())
    }

    fn key<'e>(&self, entry: &'e [u8]) -> &'e [u8] {
        entry.get(..self.key_bytes).unwrap_or(entry)
    }

    fn first_key<'b>(&self, body: &'b [u8]) -> StoreResult<&'b [u8]> {
        entries_of::<W>(body)?.first().map(|entry| self.key(entry)).ok_or_else(damaged)
    }

    fn held(&self, connection: &Connection, from: &[u8], limit: usize) -> StoreResult<Vec<Held>> {
        let mut statement = connection.prepare_cached(self.read)?;
        let held = |row: &Row<'_>| Ok(Held { block: row.get(0)?, body: row.get(1)?, end: row.get(2)? });
        super::collect(statement.query_map([from], held)?.take(limit))
    }

    /// A block with the entries that belong into it: those below `end`, or, of the last block, those below its last entry and as
    /// many more as it has room for.
    fn merge_block(
        &self,
        block: &Held,
        new: &mut Peekable<impl Iterator<Item = [u8; W]>>,
        end: Option<&[u8]>,
        combine: impl Fn(&mut [u8; W], &[u8; W]) -> bool,
    ) -> StoreResult<Merged<W>> {
        let mut known = entries_of::<W>(&block.body)?.iter().copied().peekable();
        let mut merged = Merged { entries: Vec::with_capacity(Self::ENTRIES_MAX), added: 0, is_changed: false };
        loop {
            let entry = new.peek().filter(|entry| end.is_none_or(|end| self.key(*entry) < end));
            let has_room = merged.added < Self::ADDED_MAX && (end.is_some() || merged.entries.len() < Self::ENTRIES_MAX);
            let (one, last) = (known.peek(), merged.entries.last_mut());
            match (one, entry, last) {
                (_, Some(entry), Some(last)) if self.key(last) == self.key(entry) => {
                    merged.is_changed |= combine(last, entry);
                    new.next();
                }
                (Some(one), Some(entry), _) if self.key(entry) < self.key(one) && merged.added < Self::ADDED_MAX => {
                    merged.put(new.next());
                }
                (None, Some(_), _) if has_room => {
                    merged.put(new.next());
                }
                (Some(_), _, _) => merged.entries.extend(known.next()),
                (None, _, _) => return Ok(merged),
            }
        }
    }

    /// Writes a block anew, as several where it is too full, or takes it away.
    fn replace(&self, connection: &Connection, block: &Held, merged: &Merged<W>) -> StoreResult<()> {
        if !merged.is_changed {
            return Ok(());
        }
        let [delete, delete_first] = self.delete;
        let [_, insert_first] = self.insert;
        let pieces = merged.entries.len().div_ceil(Self::ENTRIES_MAX);
        let mut pieces = merged.entries.chunks(merged.entries.len().div_ceil(pieces.max(1)).max(1));
        let old = self.first_key(&block.body)?;
        let Some(piece) = pieces.next() else {
            connection.prepare_cached(delete)?.execute([block.block])?;
            connection.prepare_cached(delete_first)?.execute([old])?;
            return Ok(());
        };
        let body = piece.as_flattened();
        connection.prepare_cached(self.update)?.execute(params![block.block, body])?;
        let first = self.first_key(body)?;
        if first != old {
            connection.prepare_cached(delete_first)?.execute([old])?;
            connection.prepare_cached(insert_first)?.execute(params![first, block.block])?;
        }
        pieces.try_for_each(|piece| self.add(connection, piece))
    }

    /// Adds entries behind all others. Returns how many there were.
    fn append(
        &self,
        connection: &Connection,
        entries: &mut impl Iterator<Item = [u8; W]>,
        combine: impl Fn(&mut [u8; W], &[u8; W]) -> bool,
    ) -> StoreResult<usize> {
        let mut added = 0;
        let mut piece: Vec<[u8; W]> = Vec::with_capacity(Self::ENTRIES_MAX);
        for entry in entries {
            if let Some(last) = piece.last_mut().filter(|last| self.key(*last) == self.key(&entry)) {
                combine(last, &entry);
                continue;
            }
            if piece.len() == Self::ENTRIES_MAX {
                self.add(connection, &piece)?;
                piece.clear();
            }
            piece.push(entry);
            added += 1;
        }
        if !piece.is_empty() {
            self.add(connection, &piece)?;
        }
        Ok(added)
    }

    /// Puts entries in behind all others: sorted ones, each key once.
    pub(super) fn append_all(&self, connection: &Connection, entries: &[[u8; W]]) -> StoreResult<()> {
        entries.chunks(Self::ENTRIES_MAX).try_for_each(|piece| self.add(connection, piece))
    }

    fn add(&self, connection: &Connection, piece: &[[u8; W]]) -> StoreResult<()> {
        let [insert, insert_first] = self.insert;
        let body = piece.as_flattened();
        connection.prepare_cached(insert)?.execute([body])?;
        connection.prepare_cached(insert_first)?.execute(params![self.first_key(body)?, connection.last_insert_rowid()])?;
        Ok(())
    }
}

/// Whether nothing from a key on begins with a prefix.
fn is_passed(prefix: &[u8], key: &[u8]) -> bool {
    prefix < key && !key.starts_with(prefix)
}

/// What a block becomes.
struct Merged<const W: usize> {
    entries: Vec<[u8; W]>,
    added: usize,
    is_changed: bool,
}

impl<const W: usize> Merged<W> {
    fn put(&mut self, entry: Option<[u8; W]>) {
        self.entries.extend(entry);
        self.added += 1;
        self.is_changed = true;
    }
}

pub(super) fn entries_of<const W: usize>(body: &[u8]) -> StoreResult<&[[u8; W]]> {
    match body.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(damaged()),
    }
}

/// Reported as damage of the file: only this crate writes blocks.
pub(super) fn damaged() -> StoreError {
    let what = Error::bug("a block of the ledger does not hold the entries that were written");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(what)).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::seeking::Seeker;
    use super::*;

    /// Eight to a block; two bytes of key, and one that grows.
    const WIDTH: usize = 2_000;
    const BLOCKS: Blocks<WIDTH> = blocks!("trial", 2);

    fn entry(key: u16, known: u8) -> [u8; WIDTH] {
        let mut entry = [0; WIDTH];
        entry[..2].copy_from_slice(&key.to_be_bytes());
        entry[2] = known;
        entry
    }

    fn raise(known: &mut [u8; WIDTH], new: &[u8; WIDTH]) -> bool {
        let is_news = new[2] > known[2];
        known[2] = known[2].max(new[2]);
        is_news
    }

    fn store() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let tables = "CREATE TABLE trial_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
            CREATE TABLE trial_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;";
        connection.execute_batch(tables).unwrap();
        connection
    }

    fn held_from(connection: &Connection, from: &[u8]) -> Vec<(u16, u8)> {
        let mut held = Vec::new();
        let mut visit = |entry: &[u8; WIDTH]| {
            held.push((u16::from_be_bytes([entry[0], entry[1]]), entry[2]));
            Ok(true)
        };
        BLOCKS.each(connection, from, &mut visit).unwrap();
        held
    }

    #[derive(Debug, Clone)]
    enum Change {
        Merge(Vec<(u16, u8)>),
        /// Keys that begin with a byte, or single ones.
        Remove(Vec<Vec<u8>>),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let some = prop::collection::vec((0..2_000_u16, 0..4_u8), 0..60);
        // Many between few: more than go into a block at once.
        let many = (0..500_u16, 1..900_u16, 0..4_u8)
            .prop_map(|(from, count, known)| (from..from + count).map(|key| (key, known)).collect());
        let remove = prop::collection::vec(
            prop_oneof![1 => (0..8_u8).prop_map(|high| vec![high]), 9 => (0..2_000_u16).prop_map(|key| key.to_be_bytes().to_vec())],
            0..40,
        );
        let change = prop_oneof![3 => some.prop_map(Change::Merge), 1 => many.prop_map(Change::Merge), 2 => remove.prop_map(Change::Remove)];
        prop::collection::vec(change, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn blocks_hold_what_a_sorted_map_holds(changes in changes(), from in 0..2_000_u16) {
            let connection = store();
            let mut map: BTreeMap<u16, u8> = BTreeMap::new();
            for change in changes {
                match change {
                    Change::Merge(mut new) => {
                        new.sort_unstable();
                        let before = map.len();
                        for (key, known) in &new {
                            let slot = map.entry(*key).or_default();
                            *slot = (*slot).max(*known);
                        }
                        let entries = new.iter().map(|(key, known)| entry(*key, *known));
                        prop_assert_eq!(BLOCKS.merge(&connection, entries, raise).unwrap(), map.len() - before);
                    }
                    Change::Remove(mut prefixes) => {
                        prefixes.sort_unstable();
                        let before = map.len();
                        map.retain(|key, _| !prefixes.iter().any(|prefix| key.to_be_bytes().starts_with(prefix)));
                        prop_assert_eq!(BLOCKS.remove(&connection, &prefixes).unwrap(), before - map.len());
                    }
                }
                prop_assert_eq!(held_from(&connection, &[]), map.iter().map(|(key, known)| (*key, *known)).collect::<Vec<_>>());
            }
            let from_there: Vec<_> = map.range(from..).map(|(key, known)| (*key, *known)).collect();
            prop_assert_eq!(held_from(&connection, &from.to_be_bytes()), from_there);
            prop_assert_eq!(BLOCKS.is_empty(&connection).unwrap(), map.is_empty());
            let mut seeker = Seeker::new(&BLOCKS, &connection).unwrap();
            let all = (0..8_u8).map(|high| vec![high]).chain((0..2_000_u16).map(|key| key.to_be_bytes().to_vec()));
            for prefix in all.chain([vec![], from.to_be_bytes().to_vec()]) {
                let expected: Vec<u16> = map.keys().copied().filter(|key| key.to_be_bytes().starts_with(&prefix)).collect();
                let mut found = Vec::new();
                seeker.each(&prefix, &mut |entry| found.push(u16::from_be_bytes([entry[0], entry[1]]))).unwrap();
                prop_assert_eq!(found, expected, "{:?}", prefix);
            }
            let sql = "SELECT count(*) FROM trial_block b JOIN trial_first f ON f.block = b.block AND f.first = substr(b.body, 1, 2)";
            let blocks: i64 = connection.query_row("SELECT count(*) FROM trial_block", [], |row| row.get(0)).unwrap();
            prop_assert_eq!(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), blocks);
        }
    }

    #[test]
    fn what_is_loaded_in_order_fills_its_blocks() {
        let connection = store();
        for keys in [0..700, 700..1_400] {
            BLOCKS.merge(&connection, keys.map(|key| entry(key, 0)), raise).unwrap();
        }
        let blocks: i64 = connection.query_row("SELECT count(*) FROM trial_block", [], |row| row.get(0)).unwrap();
        assert_eq!(blocks, 1_400 / 8);
    }

    #[test]
    fn a_block_of_another_length_is_damage() {
        let connection = store();
        BLOCKS.merge(&connection, std::iter::once(entry(1, 0)), raise).unwrap();
        connection.execute_batch("UPDATE trial_block SET body = x'00'").unwrap();
        assert!(BLOCKS.each(&connection, &[], &mut |_| Ok(true)).is_err());
    }
}
