//! Look-ups by a random value, in two levels. A few entries that go into many blocks touch one each, and every page is
//! written twice, so they become a run of blocks of their own and move into the many when they are a good part of them.
//! Readers see all as one.

use affluent_model::identity::{BlindIndex, NodeId, NodeKey};
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension};

use super::blocks::Blocks;
use super::open::overwrite_deleted;
use super::seeking::Seeker;
use super::{advance_counter, sorting};
use crate::error::StoreResult;

/// Recent entries move once they are more than this part of those that moved.
const BASE_ROWS_PER_RECENT: i64 = 8;
/// Runs of recent entries: each is one more place to look in.
pub(super) const RUNS_MAX: i64 = 16;
/// Bytes of a node's number in an entry.
pub(super) const NODE_BYTES: usize = 6;

/// A look-up by entries of `W` bytes; `R` is one more, for the number of the run. Entries of both levels, and runs, are
/// counted under their names.
pub(super) struct Levels<const W: usize, const R: usize> {
    blocks: Blocks<W>,
    recent_blocks: Blocks<R>,
    base: &'static str,
    recent: &'static str,
    runs: &'static str,
    empty_recent: &'static str,
}

macro_rules! levels {
    ($table:literal, $recent:literal, $key_bytes:expr) => {
        $crate::sqlite::levels::Levels::new(
            $crate::sqlite::blocks::blocks!($table, $key_bytes),
            $crate::sqlite::blocks::blocks!($recent, 1 + $key_bytes),
            [concat!($table, "_base"), $recent, concat!($table, "_runs")],
            concat!("DELETE FROM ", $recent, "_block; DELETE FROM ", $recent, "_first"),
        )
    };
}
pub(super) use levels;

/// A key and its node.
pub(super) type KeyEntry = [u8; 17 + NODE_BYTES];
/// A kind, a value and a node that carries it.
pub(super) type ValueEntry = [u8; 2 + 17 + NODE_BYTES];
/// A profile and a node of it.
pub(super) type MemberEntry = [u8; 16 + NODE_BYTES];

/// Node keys → nodes.
pub(super) const NODE_BY_KEY: Levels<{ 17 + NODE_BYTES }, { 18 + NODE_BYTES }> = levels!("node_by_key", "node_by_key_recent", 17);
/// Identifiers → nodes.
pub(super) const EDGE_BY_VALUE: Levels<{ 19 + NODE_BYTES }, { 20 + NODE_BYTES }> =
    levels!("edge_by_value", "edge_by_value_recent", 19 + NODE_BYTES);
/// Profiles → nodes.
pub(super) const ASSIGNMENT_BY_PROFILE: Levels<{ 16 + NODE_BYTES }, { 17 + NODE_BYTES }> =
    levels!("assignment_by_profile", "assignment_by_profile_recent", 16 + NODE_BYTES);

impl<const W: usize, const R: usize> Levels<W, R> {
    pub(super) const fn new(
        blocks: Blocks<W>,
        recent_blocks: Blocks<R>,
        [base, recent, runs]: [&'static str; 3],
        empty_recent: &'static str,
    ) -> Self {
        Self { blocks, recent_blocks, base, recent, runs, empty_recent }
    }

    /// Puts entries in, which are sorted, each once, and are not there.
    pub(super) fn insert(&self, connection: &Connection, entries: &[[u8; W]]) -> StoreResult<()> {
        if self.are_few(connection, entries.len())? {
            return self.append(connection, entries).map(drop);
        }
        let mut all = self.take_recent(connection)?;
        if all.is_empty() {
            return self.pack_all(connection, entries);
        }
        all.extend(entries);
        sorting::sort(&mut all);
        all.dedup();
        self.pack_all(connection, &all)
    }

    /// The same, and they become a run however many they are: they move when [`Self::settle`] is called, or runs are many.
    /// Returns the recent entries that moved.
    pub(super) fn append(&self, connection: &Connection, entries: &[[u8; W]]) -> StoreResult<Vec<[u8; W]>> {
        let mut moved = Vec::new();
        if entries.is_empty() {
            return Ok(moved);
        }
        if count_of(connection, self.runs)? >= RUNS_MAX {
            let all = self.take_recent(connection)?;
            if self.are_few(connection, all.len())? {
                self.append(connection, &all)?;
            } else {
                self.pack_all(connection, &all)?;
                moved = all;
            }
        }
        self.add_run(connection, entries.iter().copied())?;
        Ok(moved)
    }

    /// Makes a run of sorted entries: the last one so far, behind all others.
    pub(super) fn add_run(&self, connection: &Connection, entries: impl Iterator<Item = [u8; W]>) -> StoreResult<()> {
        let run = self.run_count(connection)?;
        let mut in_run = entries.map(|entry| in_run(run, &entry)).peekable();
        let mut added = 0;
        let mut block: Vec<[u8; R]> = Vec::with_capacity(Blocks::<R>::ENTRIES_MAX);
        while in_run.peek().is_some() {
            block.clear();
            block.extend(in_run.by_ref().take(Blocks::<R>::ENTRIES_MAX));
            added += block.len();
            self.recent_blocks.append_all(connection, &block)?;
        }
        advance_counter(connection, self.runs, 1)?;
        advance_counter(connection, self.recent, i64::try_from(added).unwrap_or(i64::MAX)).map(drop)
    }

    /// How many runs there are.
    pub(super) fn run_count(&self, connection: &Connection) -> StoreResult<u8> {
        Ok(u8::try_from(count_of(connection, self.runs)?).unwrap_or(u8::MAX))
    }

    /// Moves recent entries that are many, and returns them.
    pub(super) fn settle(&self, connection: &Connection) -> StoreResult<Vec<[u8; W]>> {
        if self.are_few(connection, 0)? {
            return Ok(Vec::new());
        }
        let all = self.take_recent(connection)?;
        self.pack_all(connection, &all)?;
        Ok(all)
    }

    /// Visits entries in their order for as long as `visit` says so; recent ones are in memory for that long.
    pub(super) fn each(&self, connection: &Connection, visit: &mut dyn FnMut(&[u8; W]) -> StoreResult<bool>) -> StoreResult<()> {
        let mut recent = self.recent_entries(connection)?.into_iter().peekable();
        let mut goes_on = true;
        self.blocks.each(connection, &[], &mut |entry| {
            while let Some(one) = recent.next_if(|one| goes_on && one < entry) {
                goes_on = visit(&one)?;
            }
            goes_on = goes_on && visit(entry)?;
            Ok(goes_on)
        })?;
        while let Some(one) = recent.next_if(|_| goes_on) {
            goes_on = visit(&one)?;
        }
        Ok(())
    }

    /// Looks prefixes up; those that come in their order cost least.
    pub(super) fn finder<'c>(&self, connection: &'c Connection) -> StoreResult<Finder<'c, W, R>> {
        let runs = self.run_count(connection)?;
        let recent = Seeker::of_parts(&self.recent_blocks, connection, usize::from(runs))?;
        Ok(Finder { blocks: Seeker::new(&self.blocks, connection)?, recent, runs })
    }

    /// Visits the nodes of the entries that begin with `prefix`.
    pub(super) fn each_node(&self, connection: &Connection, prefix: &[u8], visit: impl FnMut(NodeId)) -> StoreResult<()> {
        self.finder(connection)?.each_node(prefix, visit)
    }

    /// Visits the entries that moved, in their order.
    pub(super) fn each_moved(
        &self,
        connection: &Connection,
        mut visit: impl FnMut(&[u8; W]) -> StoreResult<()>,
    ) -> StoreResult<()> {
        self.blocks.each(connection, &[], &mut |entry| visit(entry).map(|()| true))
    }

    /// Visits the entries that did not move, each with its level ([`Finder::each_of_level`]): run by run, in their order.
    pub(super) fn each_recent(
        &self,
        connection: &Connection,
        mut visit: impl FnMut(u8, &[u8; W]) -> StoreResult<()>,
    ) -> StoreResult<()> {
        self.recent_blocks.each(connection, &[], &mut |in_run| {
            let visited = in_run.first().zip(in_run.last_chunk()).map(|(run, entry)| visit(level_of(*run), entry));
            visited.transpose().map(|_| true)
        })
    }

    /// The greatest entry of all.
    pub(super) fn last(&self, connection: &Connection) -> StoreResult<Option<[u8; W]>> {
        let mut last = self.blocks.last_below(connection, &[u8::MAX; W])?;
        for run in 0..self.run_count(connection)? {
            let of_run: Option<[u8; R]> = self.recent_blocks.last_below(connection, &in_run(run, &[u8::MAX; W]))?;
            last = last.max(of_run.and_then(|entry| entry.last_chunk().copied()));
        }
        Ok(last)
    }

    /// About how many entries moved.
    pub(super) fn moved_count(&self, connection: &Connection) -> StoreResult<usize> {
        Ok(usize::try_from(count_of(connection, self.base)?).unwrap_or(0))
    }

    /// Whether there is any entry.
    pub(super) fn holds_any(&self, connection: &Connection) -> StoreResult<bool> {
        Ok(!self.blocks.is_empty(connection)? || !self.recent_blocks.is_empty(connection)?)
    }

    /// Takes the entries out that begin with one of `prefixes`, which are sorted; they stay counted, since nothing depends on
    /// the exact number.
    pub(super) fn remove(&self, connection: &Connection, prefixes: &[impl AsRef<[u8]>]) -> StoreResult<()> {
        self.blocks.remove(connection, prefixes)?;
        for run in 0..count_of(connection, self.runs)? {
            let run = u8::try_from(run).unwrap_or(u8::MAX);
            let prefixes: Vec<Vec<u8>> = prefixes.iter().map(|prefix| [&[run], prefix.as_ref()].concat()).collect();
            self.recent_blocks.remove(connection, &prefixes)?;
        }
        Ok(())
    }

    /// Takes entries that moved out, those that `stays` refuses, which sees all in their order.
    pub(super) fn retain_moved(&self, connection: &Connection, stays: impl FnMut(&[u8; W]) -> bool) -> StoreResult<()> {
        let removed = self.blocks.retain(connection, stays)?;
        advance_counter(connection, self.base, -i64::try_from(removed).unwrap_or(i64::MAX)).map(drop)
    }

    /// Puts entries into the blocks, which are sorted and are not there.
    pub(super) fn pack_all(&self, connection: &Connection, entries: &[[u8; W]]) -> StoreResult<()> {
        if !self.blocks.is_empty(connection)? {
            return self.pack(connection, entries.iter().copied());
        }
        self.blocks.append_all(connection, entries)?;
        advance_counter(connection, self.base, i64::try_from(entries.len()).unwrap_or(i64::MAX)).map(drop)
    }

    /// Puts sorted entries into the blocks.
    pub(super) fn pack(&self, connection: &Connection, entries: impl Iterator<Item = [u8; W]>) -> StoreResult<()> {
        let packed = self.blocks.merge(connection, entries, |_, _| false)?;
        advance_counter(connection, self.base, i64::try_from(packed).unwrap_or(i64::MAX)).map(drop)
    }

    /// Whether recent entries, with as many more, are a small part of all.
    pub(super) fn are_few(&self, connection: &Connection, more: usize) -> StoreResult<bool> {
        self.are_at_most(connection, more, BASE_ROWS_PER_RECENT)
    }

    /// Whether for each recent entry, with as many more, there are so many that moved.
    pub(super) fn are_at_most(&self, connection: &Connection, more: usize, base_rows_per_recent: i64) -> StoreResult<bool> {
        let recent = count_of(connection, self.recent)?.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
        Ok(recent.saturating_mul(base_rows_per_recent) <= count_of(connection, self.base)?)
    }

    /// Entries that did not move, sorted, each once.
    pub(super) fn recent_entries(&self, connection: &Connection) -> StoreResult<Vec<[u8; W]>> {
        let mut entries = Vec::new();
        self.each_recent(connection, |_, entry| {
            entries.push(*entry);
            Ok(())
        })?;
        sorting::sort(&mut entries);
        entries.dedup();
        Ok(entries)
    }

    fn take_recent(&self, connection: &Connection) -> StoreResult<Vec<[u8; W]>> {
        let entries = self.recent_entries(connection)?;
        self.drop_runs(connection)?;
        Ok(entries)
    }

    /// Takes all runs out. What an erasure deletes later must not be left behind in pages that become free here.
    pub(super) fn drop_runs(&self, connection: &Connection) -> StoreResult<()> {
        overwrite_deleted(connection, true)?;
        let emptied = connection.execute_batch(self.empty_recent);
        overwrite_deleted(connection, false)?;
        emptied?;
        for counter in [self.recent, self.runs] {
            advance_counter(connection, counter, -count_of(connection, counter)?)?;
        }
        Ok(())
    }
}

/// The level of a run's entries; those that moved have level 0.
fn level_of(run: u8) -> u8 {
    run.saturating_add(1)
}

/// An entry of a run.
fn in_run<const W: usize, const R: usize>(run: u8, entry: &[u8; W]) -> [u8; R] {
    let mut in_run = [run; R];
    if let Some(behind) = in_run.last_chunk_mut() {
        *behind = *entry;
    }
    in_run
}

/// Looks entries up in each run.
pub(super) struct Finder<'c, const W: usize, const R: usize> {
    blocks: Seeker<'c, W>,
    recent: Seeker<'c, R>,
    runs: u8,
}

impl<const W: usize, const R: usize> Finder<'_, W, R> {
    /// Visits the nodes of the entries that begin with `prefix`: those in blocks, then recent ones.
    pub(super) fn each_node(&mut self, prefix: &[u8], mut visit: impl FnMut(NodeId)) -> StoreResult<()> {
        self.each(prefix, |entry| visit(node_at_end(entry)))
    }

    /// Visits the entries that begin with `prefix`: those in blocks, then recent ones.
    pub(super) fn each(&mut self, prefix: &[u8], mut visit: impl FnMut(&[u8; W])) -> StoreResult<()> {
        self.each_of_level(prefix, |_, entry| visit(entry))
    }

    /// The same, each with its level: 0 of those in blocks, from 1 on of those of runs, whose later ones have greater ones.
    pub(super) fn each_of_level(&mut self, prefix: &[u8], mut visit: impl FnMut(u8, &[u8; W])) -> StoreResult<()> {
        self.blocks.each(prefix, &mut |entry| visit(0, entry))?;
        self.each_recent(prefix, visit)
    }

    /// The same of recent ones alone.
    pub(super) fn each_recent(&mut self, prefix: &[u8], mut visit: impl FnMut(u8, &[u8; W])) -> StoreResult<()> {
        let mut in_run = [0; R];
        in_run.iter_mut().skip(1).zip(prefix).for_each(|(to, from)| *to = *from);
        for run in 0..self.runs {
            in_run.iter_mut().take(1).for_each(|number| *number = run);
            let prefix = in_run.get(..=prefix.len()).unwrap_or(&in_run);
            let mut visit = |entry: &[u8; R]| entry.last_chunk().into_iter().for_each(|entry| visit(level_of(run), entry));
            self.recent.each_of_part(run.into(), prefix, &mut visit)?;
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
#[inline]
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
#[inline]
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

/// What a counter has come to; 0 at first.
pub(super) fn count_of(connection: &Connection, counter: &str) -> StoreResult<i64> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([counter], |row| row.get(0)).optional()?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Wide, so that there are many blocks: what a number is followed by in a key.
    const WIDE: [u8; 24] = [7; 24];
    const WIDTH: usize = 2 + WIDE.len() + NODE_BYTES;
    const LEVELS: Levels<WIDTH, { 1 + WIDTH }> = levels!("trial", "trial_recent", WIDTH);

    const TABLES: &str = "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE trial_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
        CREATE TABLE trial_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE trial_recent_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
        CREATE TABLE trial_recent_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

    fn entry(number: u16) -> [u8; WIDTH] {
        joined([&number.to_be_bytes(), &WIDE, &node_bytes(NodeId(number.into())).unwrap()]).unwrap()
    }

    #[derive(Debug, Clone)]
    enum Change {
        Insert(BTreeSet<u16>),
        Append(BTreeSet<u16>),
        Settle,
        Remove(BTreeSet<u16>),
    }

    fn change() -> impl Strategy<Value = Change> {
        let some = |most: usize| prop::collection::btree_set(0..3_000_u16, 0..most);
        prop_oneof![
            2 => some(500).prop_map(Change::Insert),
            6 => some(20).prop_map(Change::Insert),
            6 => some(60).prop_map(Change::Append),
            1 => Just(Change::Settle),
            2 => some(60).prop_map(Change::Remove),
        ]
    }

    proptest! {
        #[test]
        fn both_levels_hold_as_one_what_a_sorted_set_holds(changes in prop::collection::vec(change(), 1..40)) {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(TABLES).unwrap();
            let mut set: BTreeSet<u16> = BTreeSet::new();
            for change in changes {
                let news = |numbers: BTreeSet<u16>, set: &mut BTreeSet<u16>| -> Vec<_> {
                    numbers.into_iter().filter(|number| set.insert(*number)).map(entry).collect()
                };
                match change {
                    Change::Insert(numbers) => LEVELS.insert(&connection, &news(numbers, &mut set)).unwrap(),
                    Change::Append(numbers) => drop(LEVELS.append(&connection, &news(numbers, &mut set)).unwrap()),
                    Change::Settle => drop(LEVELS.settle(&connection).unwrap()),
                    Change::Remove(numbers) => {
                        let prefixes: Vec<[u8; 2]> = numbers.iter().map(|number| number.to_be_bytes()).collect();
                        LEVELS.remove(&connection, &prefixes).unwrap();
                        set.retain(|number| !numbers.contains(number));
                    }
                }
                prop_assert!(count_of(&connection, LEVELS.runs).unwrap() <= RUNS_MAX);
            }
            let mut held = Vec::new();
            LEVELS.each(&connection, &mut |entry| { held.push(*entry); Ok(true) }).unwrap();
            prop_assert_eq!(held, set.iter().copied().map(entry).collect::<Vec<_>>());
            prop_assert_eq!(LEVELS.holds_any(&connection).unwrap(), !set.is_empty());
            let mut finder = LEVELS.finder(&connection).unwrap();
            for number in (0..3_000_u16).rev().step_by(7).chain(0..3_000) {
                let mut found = Vec::new();
                finder.each_node(&number.to_be_bytes(), |node| found.push(node)).unwrap();
                prop_assert_eq!(found, set.get(&number).map(|number| NodeId((*number).into())).into_iter().collect::<Vec<_>>());
            }
        }
    }
}
