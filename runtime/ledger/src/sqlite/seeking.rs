//! Looking many keys up in blocks: those that come in their order and lie in one block cost one reading of it.

use std::ops::Range;

use rusqlite::{CachedStatement, Connection};

use super::blocks::{Blocks, damaged, entries_of};
use crate::error::StoreResult;

/// Looks keys up, and keeps the block of the last one: of each part of the keys that is asked in turn.
pub(super) struct Seeker<'c, const W: usize> {
    key_bytes: usize,
    find: CachedStatement<'c>,
    begin: CachedStatement<'c>,
    parts: Vec<Held>,
}

/// A block that was read.
#[derive(Clone, Default)]
struct Held {
    body: Vec<u8>,
    /// The first key of the block behind; `None` = it is the last one.
    end: Option<Vec<u8>>,
}

impl<'c, const W: usize> Seeker<'c, W> {
    pub(super) fn new(blocks: &Blocks<W>, connection: &'c Connection) -> StoreResult<Self> {
        Self::of_parts(blocks, connection, 1)
    }

    pub(super) fn of_parts(blocks: &Blocks<W>, connection: &'c Connection, parts: usize) -> StoreResult<Self> {
        let (find, begin) = (connection.prepare_cached(blocks.find)?, connection.prepare_cached(blocks.begin)?);
        Ok(Self { key_bytes: blocks.key_bytes, find, begin, parts: vec![Held::default(); parts] })
    }

    /// Visits the entries that begin with `prefix`, a key or the beginning of one, in their order.
    pub(super) fn each(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8; W])) -> StoreResult<()> {
        self.each_of_part(0, prefix, visit)
    }

    /// The same; `prefix` is of the keys of a part.
    pub(super) fn each_of_part(&mut self, part: usize, prefix: &[u8], visit: &mut dyn FnMut(&[u8; W])) -> StoreResult<()> {
        let Some(held) = self.parts.get_mut(part) else { return Ok(()) };
        if !held.covers::<W>(prefix, self.key_bytes)? {
            held.load(&mut self.find, &mut self.begin, prefix)?;
        }
        loop {
            let entries = entries_of::<W>(&held.body)?;
            entries.get(range_of(entries, prefix)).unwrap_or_default().iter().for_each(&mut *visit);
            match held.end.take() {
                Some(next) if next.starts_with(prefix) => held.load(&mut self.find, &mut self.begin, &next)?,
                end => {
                    held.end = end;
                    return Ok(());
                }
            }
        }
    }
}

impl Held {
    /// Whether no entry that begins with `prefix` stands before the block.
    fn covers<const W: usize>(&self, prefix: &[u8], key_bytes: usize) -> StoreResult<bool> {
        let first = entries_of::<W>(&self.body)?.first().and_then(|first| first.get(..key_bytes));
        Ok(first.is_some_and(|key| key <= prefix) && self.end.as_ref().is_none_or(|end| prefix < end.as_slice()))
    }

    /// Reads the block that holds `key` in place of this one; the first one where none does.
    fn load(&mut self, find: &mut CachedStatement<'_>, begin: &mut CachedStatement<'_>, key: &[u8]) -> StoreResult<()> {
        if self.read(find, key)? {
            return Ok(());
        }
        match begin.query_row([], |row| row.get::<_, Option<Vec<u8>>>(0))? {
            Some(begin) => self.read(find, &begin).map(drop),
            None => {
                *self = Self::default();
                Ok(())
            }
        }
    }

    /// The same; false where none does. The memory of the block before is used again.
    fn read(&mut self, find: &mut CachedStatement<'_>, key: &[u8]) -> StoreResult<bool> {
        let mut rows = find.query([key])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        self.body.clear();
        self.body.extend_from_slice(row.get_ref(0)?.as_blob().map_err(|_| damaged())?);
        self.end = row.get(1)?;
        Ok(true)
    }
}

/// Places of the sorted entries that begin with `prefix`.
fn range_of<const W: usize>(entries: &[[u8; W]], prefix: &[u8]) -> Range<usize> {
    let begin = entries.partition_point(|entry| entry.as_slice() < prefix);
    let behind = entries.get(begin..).unwrap_or_default();
    begin..begin + behind.iter().take_while(|entry| entry.starts_with(prefix)).count()
}
