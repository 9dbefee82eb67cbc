//! Looking many keys up in blocks: those that come in their order and lie in one block cost one reading of it.

use std::ops::Range;

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::blocks::{Blocks, entries_of};
use crate::error::StoreResult;

/// Looks keys up, and keeps the block of the last one.
pub(super) struct Seeker<'c, const W: usize> {
    key_bytes: usize,
    find: CachedStatement<'c>,
    begin: CachedStatement<'c>,
    body: Vec<u8>,
    /// The first key of the block behind; `None` = it is the last one.
    end: Option<Vec<u8>>,
}

impl<'c, const W: usize> Seeker<'c, W> {
    pub(super) fn new(blocks: &Blocks<W>, connection: &'c Connection) -> StoreResult<Self> {
        let (find, begin) = (connection.prepare_cached(blocks.find)?, connection.prepare_cached(blocks.begin)?);
        Ok(Self { key_bytes: blocks.key_bytes, find, begin, body: Vec::new(), end: None })
    }

    /// Visits the entries that begin with `prefix`, a key or the beginning of one, in their order.
    pub(super) fn each(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8; W])) -> StoreResult<()> {
        if !self.covers(prefix)? {
            self.load(prefix)?;
        }
        loop {
            let entries = entries_of::<W>(&self.body)?;
            entries.get(range_of(entries, prefix)).unwrap_or_default().iter().for_each(&mut *visit);
            match &self.end {
                Some(end) if end.starts_with(prefix) => {
                    let next = end.clone();
                    self.load(&next)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether no entry that begins with `prefix` stands before the block.
    fn covers(&self, prefix: &[u8]) -> StoreResult<bool> {
        let first = entries_of::<W>(&self.body)?.first();
        let is_behind = first.and_then(|first| first.get(..self.key_bytes)).is_some_and(|key| key <= prefix);
        Ok(is_behind && self.end.as_ref().is_none_or(|end| prefix < end.as_slice()))
    }

    /// Reads the block that holds `key`; the first one where none does.
    fn load(&mut self, key: &[u8]) -> StoreResult<()> {
        let find = &mut self.find;
        let mut read = |key: &[u8]| find.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let found = match read(key)? {
            Some(found) => Some(found),
            None => match self.begin.query_row([], |row| row.get::<_, Option<Vec<u8>>>(0))? {
                Some(begin) => read(&begin)?,
                None => None,
            },
        };
        (self.body, self.end) = found.unwrap_or_default();
        Ok(())
    }
}

/// Places of the sorted entries that begin with `prefix`.
fn range_of<const W: usize>(entries: &[[u8; W]], prefix: &[u8]) -> Range<usize> {
    let begin = entries.partition_point(|entry| entry.as_slice() < prefix);
    let behind = entries.get(begin..).unwrap_or_default();
    begin..begin + behind.iter().take_while(|entry| entry.starts_with(prefix)).count()
}
