//! Look-ups by a random value, in two levels. A few entries that go into large blocks touch one each, and every page is
//! written twice, so they go into a small table first and move into the blocks when they are a good part of them. Readers see
//! both as one.

use affluent_model::identity::{BlindIndex, NodeId, NodeKey};
use affluent_model::{Error, Result};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::advance_counter;
use super::blocks::{Blocks, blocks};
use super::bulk::{self, Insert};
use super::open::overwrite_deleted;
use super::seeking::Seeker;
use crate::error::StoreResult;

/// Recent entries move once they are more than this part of those in blocks.
const BASE_ROWS_PER_RECENT: i64 = 8;
/// Bytes of a node's number in an entry.
pub(super) const NODE_BYTES: usize = 6;

/// A look-up; the small table and the blocks count their entries under `recent` and `base`.
pub(super) struct Levels<const W: usize> {
    blocks: Blocks<W>,
    base: &'static str,
    recent: &'static str,
    insert_recent: Insert,
    read_recent: &'static str,
    find_recent: &'static str,
    empty_recent: &'static str,
    remove_recent: &'static str,
}

macro_rules! levels {
    ($table:literal, $key_bytes:expr) => {
        Levels {
            blocks: blocks!($table, $key_bytes),
            base: concat!($table, "_base"),
            recent: concat!($table, "_recent"),
            insert_recent: Insert { into: concat!("INSERT OR IGNORE INTO ", $table, "_recent (entry)"), columns: 1, then: "" },
            read_recent: concat!("SELECT entry FROM ", $table, "_recent WHERE entry >= ?1 ORDER BY entry"),
            find_recent: concat!("SELECT entry FROM ", $table, "_recent WHERE entry BETWEEN ?1 AND ?2 ORDER BY entry"),
            empty_recent: concat!("DELETE FROM ", $table, "_recent"),
            remove_recent: concat!("DELETE FROM ", $table, "_recent WHERE entry BETWEEN ?1 AND ?2"),
        }
    };
}

/// A key and its node.
pub(super) type KeyEntry = [u8; 17 + NODE_BYTES];
/// A kind, a value and a node that carries it.
pub(super) type ValueEntry = [u8; 2 + 17 + NODE_BYTES];
/// A profile and a node of it.
pub(super) type MemberEntry = [u8; 16 + NODE_BYTES];

/// Node keys → nodes.
pub(super) const NODE_BY_KEY: Levels<{ 17 + NODE_BYTES }> = levels!("node_by_key", 17);
/// Identifiers → nodes.
pub(super) const EDGE_BY_VALUE: Levels<{ 2 + 17 + NODE_BYTES }> = levels!("edge_by_value", 2 + 17 + NODE_BYTES);
/// Profiles → nodes.
pub(super) const ASSIGNMENT_BY_PROFILE: Levels<{ 16 + NODE_BYTES }> = levels!("assignment_by_profile", 16 + NODE_BYTES);

impl<const W: usize> Levels<W> {
    /// Puts entries in, which are sorted and are not there.
    pub(super) fn insert(&self, connection: &Connection, entries: &[[u8; W]]) -> StoreResult<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let recent = rows_of(connection, self.recent)?;
        let all_recent = recent.saturating_add(i64::try_from(entries.len()).unwrap_or(i64::MAX));
        if all_recent.saturating_mul(BASE_ROWS_PER_RECENT) <= rows_of(connection, self.base)? {
            let inserted = bulk::insert(connection, &self.insert_recent, entries, |entry, row| Ok(row.put(entry)?))?;
            return advance_counter(connection, self.recent, i64::try_from(inserted).unwrap_or(i64::MAX)).map(drop);
        }
        self.move_recent(connection, recent)?;
        self.pack(connection, entries.iter().copied())
    }

    /// Visits entries in their order, from the first that is not below `from`, for as long as `visit` says so.
    pub(super) fn each(
        &self,
        connection: &Connection,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8; W]) -> StoreResult<bool>,
    ) -> StoreResult<()> {
        let mut statement = connection.prepare_cached(self.read_recent)?;
        let mut rows = statement.query([from])?;
        let mut next = || -> StoreResult<Option<[u8; W]>> { Ok(rows.next()?.map(|row| row.get(0)).transpose()?) };
        let mut recent = next()?;
        let mut goes_on = true;
        self.blocks.each(connection, from, &mut |entry| {
            while let Some(one) = recent.filter(|one| one < entry) {
                goes_on = visit(&one)?;
                if !goes_on {
                    return Ok(false);
                }
                recent = next()?;
            }
            goes_on = visit(entry)?;
            Ok(goes_on)
        })?;
        while let Some(one) = recent.filter(|_| goes_on) {
            goes_on = visit(&one)?;
            recent = next()?;
        }
        Ok(())
    }

    /// Looks prefixes up; those that come in their order cost least.
    pub(super) fn finder<'c>(&self, connection: &'c Connection) -> StoreResult<Finder<'c, W>> {
        let blocks = Seeker::new(&self.blocks, connection)?;
        let has_recent = rows_of(connection, self.recent)? > 0;
        let recent = has_recent.then(|| connection.prepare_cached(self.find_recent)).transpose()?;
        Ok(Finder { blocks, recent })
    }

    /// Visits the nodes of the entries that begin with `prefix`.
    pub(super) fn each_node(&self, connection: &Connection, prefix: &[u8], visit: impl FnMut(NodeId)) -> StoreResult<()> {
        self.finder(connection)?.each_node(prefix, visit)
    }

    /// Whether there is any entry.
    pub(super) fn holds_any(&self, connection: &Connection) -> StoreResult<bool> {
        let mut holds = false;
        self.each(connection, &[], &mut |_| {
            holds = true;
            Ok(false)
        })?;
        Ok(holds)
    }

    /// Takes the entries out that begin with one of `prefixes`, which are sorted; they stay counted, since nothing depends on
    /// the exact number.
    pub(super) fn remove(&self, connection: &Connection, prefixes: &[impl AsRef<[u8]>]) -> StoreResult<()> {
        self.blocks.remove(connection, prefixes)?;
        let mut recent = connection.prepare_cached(self.remove_recent)?;
        for prefix in prefixes.iter().map(AsRef::as_ref) {
            recent.execute(params![prefix, last_of::<W>(prefix)])?;
        }
        Ok(())
    }

    /// Puts sorted entries into the blocks.
    pub(super) fn pack(&self, connection: &Connection, entries: impl Iterator<Item = [u8; W]>) -> StoreResult<()> {
        let packed = self.blocks.merge(connection, entries, |_, _| false)?;
        advance_counter(connection, self.base, i64::try_from(packed).unwrap_or(i64::MAX)).map(drop)
    }

    /// What an erasure deletes later must not be left behind in pages that become free here.
    fn move_recent(&self, connection: &Connection, recent: i64) -> StoreResult<()> {
        if recent == 0 {
            return Ok(());
        }
        let entries: Vec<[u8; W]> =
            super::collect(connection.prepare_cached(self.read_recent)?.query_map([[].as_slice()], |row| row.get(0))?)?;
        let moved = self.blocks.merge(connection, entries.into_iter(), |_, _| false)?;
        overwrite_deleted(connection, true)?;
        let emptied = connection.prepare_cached(self.empty_recent).and_then(|mut delete| delete.execute([]));
        overwrite_deleted(connection, false)?;
        emptied?;
        advance_counter(connection, self.base, i64::try_from(moved).unwrap_or(i64::MAX))?;
        advance_counter(connection, self.recent, -recent)?;
        Ok(())
    }
}

/// Looks entries up, and keeps the block of the last one.
pub(super) struct Finder<'c, const W: usize> {
    blocks: Seeker<'c, W>,
    /// `None` = there are no recent ones.
    recent: Option<CachedStatement<'c>>,
}

impl<const W: usize> Finder<'_, W> {
    /// Visits the nodes of the entries that begin with `prefix`: those in blocks, then recent ones.
    pub(super) fn each_node(&mut self, prefix: &[u8], mut visit: impl FnMut(NodeId)) -> StoreResult<()> {
        self.blocks.each(prefix, &mut |entry| visit(node_at_end(entry)))?;
        if let Some(recent) = &mut self.recent {
            let mut rows = recent.query(params![prefix, last_of::<W>(prefix)])?;
            while let Some(row) = rows.next()? {
                visit(node_at_end::<W>(&row.get(0)?));
            }
        }
        Ok(())
    }

    /// Whether an entry begins with `prefix`.
    pub(super) fn holds(&mut self, prefix: &[u8]) -> StoreResult<bool> {
        let mut holds = false;
        self.each_node(prefix, |_| holds = true)?;
        Ok(holds)
    }
}

/// The last entry that could begin with `prefix`.
fn last_of<const W: usize>(prefix: &[u8]) -> [u8; W] {
    let mut last = [u8::MAX; W];
    last.iter_mut().zip(prefix).for_each(|(to, from)| *to = *from);
    last
}

pub(super) fn key_entry(key: &NodeKey, node: NodeId) -> Result<KeyEntry> {
    joined([key.as_slice(), &node_bytes(node)?])
}

pub(super) fn value_entry(kind: u16, value: &BlindIndex, node: NodeId) -> Result<ValueEntry> {
    joined([kind.to_be_bytes().as_slice(), value, &node_bytes(node)?])
}

/// What the entries of a value begin with.
pub(super) fn value_prefix(kind: u16, value: &BlindIndex) -> Result<[u8; 2 + 17]> {
    joined([kind.to_be_bytes().as_slice(), value])
}

/// The kind and value of an entry.
pub(super) fn value_of(entry: &ValueEntry) -> (u16, BlindIndex) {
    let [high, low, rest @ ..] = entry;
    (u16::from_be_bytes([*high, *low]), rest.first_chunk().copied().unwrap_or_default())
}

pub(super) fn member_entry(profile: &[u8; 16], node: NodeId) -> Result<MemberEntry> {
    joined([profile.as_slice(), &node_bytes(node)?])
}

/// A node's number as entries hold it: they sort as nodes do.
pub(super) fn node_bytes(node: NodeId) -> Result<[u8; NODE_BYTES]> {
    let [0, 0, bytes @ ..] = node.0.to_be_bytes() else {
        return Err(Error::bug(format!("node {} is over 2^48 or negative", node.0)));
    };
    Ok(bytes)
}

pub(super) fn node_of([a, b, c, d, e, f]: [u8; NODE_BYTES]) -> NodeId {
    NodeId(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

pub(super) fn node_at_end<const W: usize>(entry: &[u8; W]) -> NodeId {
    node_of(entry.last_chunk().copied().unwrap_or_default())
}

/// The parts one after the other, which have `W` bytes in all.
pub(super) fn joined<const W: usize, const N: usize>(parts: [&[u8]; N]) -> Result<[u8; W]> {
    let mut entry = [0; W];
    let mut rest = entry.as_mut_slice();
    for part in parts {
        let (to, after) =
            rest.split_at_mut_checked(part.len()).ok_or_else(|| Error::bug("an entry has the bytes of its parts"))?;
        to.copy_from_slice(part);
        rest = after;
    }
    Ok(entry)
}

fn rows_of(connection: &Connection, table: &str) -> StoreResult<i64> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
}
