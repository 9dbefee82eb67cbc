//! Entries of one width at the place that their node's number says, in blocks of as many nodes as fill a page: for SQLite a
//! block is a row, so a million nodes cost what some thousand rows do. Nodes are numbered as they come, so new ones come
//! last. A block has one length for good and changes in its place, so that what is taken out of it is overwritten.
//!
//! Layout of a block: a bit for each place that tells whether it is taken (the lowest bit of a byte comes first), then an
//! entry for each place, zeroes where none is.

use affluent_model::Error;
use affluent_model::identity::NodeId;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::blocks::damaged;
use crate::error::StoreResult;

/// Bytes of the entries of a block: with what SQLite adds to them it fills a page.
const BLOCK_BYTES: usize = 8_000;

/// Entries of `W` bytes by node.
pub(super) struct Numbered<const W: usize> {
    find: &'static str,
    from: &'static str,
    last: &'static str,
    insert: &'static str,
    update: &'static str,
}

macro_rules! numbered {
    ($table:literal) => {
        $crate::sqlite::numbered::Numbered::new(
            concat!("SELECT body FROM ", $table, "_block WHERE block = ?1"),
            [
                concat!("SELECT block, body FROM ", $table, "_block WHERE block >= ?1 ORDER BY block"),
                concat!("SELECT block, body FROM ", $table, "_block ORDER BY block DESC"),
            ],
            concat!("INSERT INTO ", $table, "_block (block, body) VALUES (?1, ?2)"),
            concat!("UPDATE ", $table, "_block SET body = ?2 WHERE block = ?1"),
        )
    };
}
pub(super) use numbered;

impl<const W: usize> Numbered<W> {
    const PLACES: usize = BLOCK_BYTES / W;
    /// Bytes before the entries.
    const HEAD: usize = Self::PLACES.div_ceil(8);

    pub(super) const fn new(
        find: &'static str,
        [from, last]: [&'static str; 2],
        insert: &'static str,
        update: &'static str,
    ) -> Self {
        Self { find, from, last, insert, update }
    }

    /// Looks nodes up: those of one block after each other cost one reading of it.
    pub(super) fn reader<'c>(&self, connection: &'c Connection) -> StoreResult<Reader<'c, W>> {
        Ok(Reader { find: connection.prepare_cached(self.find)?, number: -1, block: None })
    }

    /// Visits the nodes that have an entry, by node, from `from` on, for as long as `visit` says so.
    pub(super) fn each(
        &self,
        connection: &Connection,
        from: NodeId,
        visit: &mut dyn FnMut(NodeId, &[u8; W]) -> StoreResult<bool>,
    ) -> StoreResult<()> {
        let mut statement = connection.prepare_cached(self.from)?;
        let mut rows = statement.query([Self::place_of(from).map_or(0, |(number, _)| number)])?;
        while let Some(row) = rows.next()? {
            let (number, block) = Self::numbered_block(row)?;
            for (node, entry) in block.taken(number).filter(|(node, _)| *node >= from) {
                if !visit(node, entry)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The greatest node that has an entry.
    pub(super) fn last(&self, connection: &Connection) -> StoreResult<Option<NodeId>> {
        let mut statement = connection.prepare_cached(self.last)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (number, block) = Self::numbered_block(row)?;
            if let Some((node, _)) = block.taken(number).last() {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    pub(super) fn is_empty(&self, connection: &Connection) -> StoreResult<bool> {
        Ok(self.last(connection)?.is_none())
    }

    /// Puts entries in, in place of those that are there. Sorted by node, each block is written once. Returns how many were
    /// not there.
    pub(super) fn put(&self, connection: &Connection, entries: impl Iterator<Item = (NodeId, [u8; W])>) -> StoreResult<usize> {
        self.write(connection, entries.map(|(node, entry)| (node, Some(entry))))
    }

    /// Takes the entries of nodes out. Sorted, each block is written once. Returns how many there were.
    pub(super) fn remove(&self, connection: &Connection, nodes: impl Iterator<Item = NodeId>) -> StoreResult<usize> {
        self.write(connection, nodes.map(|node| (node, None)))
    }

    /// Returns how many places were taken that were free, or became free.
    fn write(&self, connection: &Connection, entries: impl Iterator<Item = (NodeId, Option<[u8; W]>)>) -> StoreResult<usize> {
        let mut changed = 0;
        let mut open: Option<Open<W>> = None;
        for (node, entry) in entries {
            let (number, place) = Self::place_of(node).ok_or_else(|| Error::bug(format!("node {} is negative", node.0)))?;
            let mut block = match open.take() {
                Some(block) if block.number == number => block,
                before => {
                    self.close(connection, before)?;
                    self.open(connection, number)?
                }
            };
            changed += usize::from(block.block.set(place, entry));
            open = Some(block);
        }
        self.close(connection, open)?;
        Ok(changed)
    }

    fn open(&self, connection: &Connection, number: i64) -> StoreResult<Open<W>> {
        let found = connection.prepare_cached(self.find)?.query_row([number], |row| row.get(0)).optional()?;
        let is_stored = found.is_some();
        Ok(Open { number, is_stored, block: found.map_or_else(|| Ok(Block::empty()), Block::of)? })
    }

    fn close(&self, connection: &Connection, open: Option<Open<W>>) -> StoreResult<()> {
        let Some(Open { number, is_stored, block: Block(body) }) = open else { return Ok(()) };
        let sql = if is_stored { self.update } else { self.insert };
        connection.prepare_cached(sql)?.execute(params![number, body])?;
        Ok(())
    }

    fn numbered_block(row: &Row<'_>) -> StoreResult<(i64, Block<W>)> {
        Ok((row.get(0)?, Block::of(row.get(1)?)?))
    }

    /// The number of a node's block, and its place there.
    fn place_of(node: NodeId) -> Option<(i64, usize)> {
        let node = u64::try_from(node.0).ok()?;
        let places = Self::PLACES as u64;
        Some((i64::try_from(node / places).ok()?, usize::try_from(node % places).ok()?))
    }
}

/// A block on its way into the file.
struct Open<const W: usize> {
    number: i64,
    is_stored: bool,
    block: Block<W>,
}

/// The body of a block.
struct Block<const W: usize>(Vec<u8>);

impl<const W: usize> Block<W> {
    fn empty() -> Self {
        Self(vec![0; Numbered::<W>::HEAD + Numbered::<W>::PLACES * W])
    }

    fn of(body: Vec<u8>) -> StoreResult<Self> {
        if body.len() == Numbered::<W>::HEAD + Numbered::<W>::PLACES * W { Ok(Self(body)) } else { Err(damaged()) }
    }

    fn parts(&self) -> (&[u8], &[[u8; W]]) {
        let (head, entries) = self.0.split_at_checked(Numbered::<W>::HEAD).unwrap_or_default();
        (head, entries.as_chunks().0)
    }

    fn get(&self, place: usize) -> Option<&[u8; W]> {
        let (head, entries) = self.parts();
        entries.get(place).filter(|_| is_taken(head, place))
    }

    /// The nodes that have an entry, of the block with this number.
    fn taken(&self, number: i64) -> impl Iterator<Item = (NodeId, &[u8; W])> {
        let (head, entries) = self.parts();
        let first = number.saturating_mul(Numbered::<W>::PLACES as i64);
        let entries = entries.iter().enumerate().filter(move |(place, _)| is_taken(head, *place));
        entries.map(move |(place, entry)| (NodeId(first.saturating_add(place as i64)), entry))
    }

    /// Returns whether a free place was taken, or a taken one became free.
    fn set(&mut self, place: usize, entry: Option<[u8; W]>) -> bool {
        let Some((head, entries)) = self.0.split_at_mut_checked(Numbered::<W>::HEAD) else { return false };
        let (Some(byte), Some(slot)) = (head.get_mut(place / 8), entries.as_chunks_mut().0.get_mut(place)) else { return false };
        let (bit, before) = (1 << (place % 8), *byte);
        *byte = if entry.is_some() { before | bit } else { before & !bit };
        *slot = entry.unwrap_or([0; W]);
        *byte != before
    }
}

fn is_taken(head: &[u8], place: usize) -> bool {
    head.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
}

/// Looks nodes up, and keeps the block of the last one.
pub(super) struct Reader<'c, const W: usize> {
    find: CachedStatement<'c>,
    number: i64,
    /// `None` = there is none with this number.
    block: Option<Block<W>>,
}

impl<const W: usize> Reader<'_, W> {
    /// The entry of a node.
    pub(super) fn get(&mut self, node: NodeId) -> StoreResult<Option<&[u8; W]>> {
        let Some((number, place)) = Numbered::<W>::place_of(node) else { return Ok(None) };
        if self.number != number {
            self.block = self.find.query_row([number], |row| row.get(0)).optional()?.map(Block::of).transpose()?;
            self.number = number;
        }
        Ok(self.block.as_ref().and_then(|block| block.get(place)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Eight to a block.
    const WIDTH: usize = 1_000;
    const NUMBERED: Numbered<WIDTH> = numbered!("trial");

    fn store() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE trial_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT").unwrap();
        connection
    }

    fn held_from(connection: &Connection, from: i64) -> Vec<(i64, u8)> {
        let mut held = Vec::new();
        let mut visit = |node: NodeId, entry: &[u8; WIDTH]| {
            held.push((node.0, entry[0]));
            Ok(true)
        };
        NUMBERED.each(connection, NodeId(from), &mut visit).unwrap();
        held
    }

    proptest! {
        #[test]
        fn entries_are_held_as_a_sorted_map_holds_them(
            changes in prop::collection::vec(prop::collection::vec((0..60_i64, prop::option::of(0..4_u8)), 0..20), 1..8),
            from in -2..60_i64,
        ) {
            let connection = store();
            let mut map: BTreeMap<i64, u8> = BTreeMap::new();
            for change in changes {
                let (new, gone): (Vec<_>, Vec<_>) = change.into_iter().partition(|(_, entry)| entry.is_some());
                let before = map.len();
                map.extend(new.iter().map(|(node, entry)| (*node, entry.unwrap())));
                let entries = new.iter().map(|(node, entry)| (NodeId(*node), [entry.unwrap(); WIDTH]));
                prop_assert_eq!(NUMBERED.put(&connection, entries).unwrap(), map.len() - before);
                let before = map.len();
                map.retain(|node, _| !gone.iter().any(|(other, _)| other == node));
                let nodes = gone.iter().map(|(node, _)| NodeId(*node));
                prop_assert_eq!(NUMBERED.remove(&connection, nodes).unwrap(), before - map.len());
            }
            prop_assert_eq!(held_from(&connection, from), map.range(from..).map(|(node, entry)| (*node, *entry)).collect::<Vec<_>>());
            prop_assert_eq!(NUMBERED.last(&connection).unwrap().map(|node| node.0), map.keys().next_back().copied());
            prop_assert_eq!(NUMBERED.is_empty(&connection).unwrap(), map.is_empty());
            let mut reader = NUMBERED.reader(&connection).unwrap();
            for node in -2..62 {
                prop_assert_eq!(reader.get(NodeId(node)).unwrap().map(|entry| entry[WIDTH - 1]), map.get(&node).copied());
            }
        }
    }

    #[test]
    fn a_node_with_a_negative_number_is_refused_and_found_nowhere() {
        let connection = store();
        assert!(NUMBERED.put(&connection, std::iter::once((NodeId(-1), [1; WIDTH]))).is_err());
        assert_eq!(NUMBERED.reader(&connection).unwrap().get(NodeId(-1)).unwrap(), None);
    }

    #[test]
    fn a_block_of_another_length_is_damage() {
        let connection = store();
        NUMBERED.put(&connection, std::iter::once((NodeId(3), [1; WIDTH]))).unwrap();
        connection.execute_batch("UPDATE trial_block SET body = x'00'").unwrap();
        assert!(NUMBERED.reader(&connection).unwrap().get(NodeId(3)).is_err());
        assert!(NUMBERED.last(&connection).is_err());
    }
}
