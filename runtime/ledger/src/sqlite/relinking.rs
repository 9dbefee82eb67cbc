//! Replacing the links of nodes. Those of many nodes are replaced without those of before being read or written: the run of
//! the new ones has, for each node, a mark, and what older runs and the blocks say of links with a marked node at either end
//! is void. It goes when the runs move. Links of few nodes, and those of erased ones however many, leave the file at once.

use affluent_model::Result;
use affluent_model::identity::{Link, NodeId};
use rusqlite::Connection;

use super::edges::split;
use super::levels::{NODE_BYTES, RUNS_MAX, joined, node_of};
use super::links::{
    ENTRY_BYTES, Entry, LINK_ENDS, LINKS, Marks, PAIR_BYTES, Pair, Words, held_of, holds_key, is_mark, key, mark_of, node_at,
    pair, pairs, sorted, turned, turned_but,
};
use super::sorting;
use crate::error::StoreResult;

/// Nodes whose links are replaced at once.
const AT_ONCE_MAX: usize = 256;
/// Recent links and marks move once they are more than this part of the links that moved: until then each that is void is in
/// the file twice.
const MOVED_PER_RECENT: i64 = 1;

/// Replaces all links of `nodes` by `links`; one of other nodes that is there takes the verdict.
pub(super) fn replace(connection: &Connection, nodes: &[NodeId], links: &[Link]) -> StoreResult<()> {
    relink(connection, nodes, links, nodes.len() <= AT_ONCE_MAX)
}

/// Takes all links of `nodes` out of the file.
pub(super) fn forget(connection: &Connection, nodes: &[NodeId]) -> StoreResult<()> {
    relink(connection, nodes, &[], true)
}

/// See [`replace`]; `at_once` = no mark stands for what is void.
fn relink(connection: &Connection, nodes: &[NodeId], links: &[Link], at_once: bool) -> StoreResult<()> {
    let mut words = Words::new(connection);
    let mut entries = links.iter().map(|link| words.entry(link)).collect::<StoreResult<Vec<Entry>>>()?;
    sorting::sort(&mut entries);
    entries.dedup_by(|one, other| key(one) == key(other));
    if !LINKS.holds_any(connection)? {
        LINK_ENDS.insert(connection, &turned_but(&pairs(entries.iter()), &[]))?;
        return LINKS.insert(connection, &entries);
    }
    let nodes = sorted(nodes.to_vec());
    let is_theirs = |entry: &Entry| [0, NODE_BYTES].iter().any(|at| nodes.binary_search(&node_at(entry, *at)).is_ok());
    let (sought, marked) = if at_once { (nodes.as_slice(), [].as_slice()) } else { ([].as_slice(), nodes.as_slice()) };
    let others = entries.iter().filter(|entry| !is_theirs(entry)).map(pair);
    let held = held_of(connection, sought, others.collect())?;
    let is_named = |entry: &Entry| holds_key(&entries, key(entry));
    let stays = |entry: &Entry| entries.binary_search(entry).is_ok() || !is_theirs(entry) && !is_named(entry);
    let left: Vec<Entry> = held.iter().filter(|held| !held.is_void && stays(&held.entry)).map(|held| held.entry).collect();
    // Of one that stays there may be void ones, which stay void.
    let gone = held.iter().map(|held| key(&held.entry)).filter(|gone| !holds_key(&left, gone));
    let (before, after) = (pairs(held.iter().map(|held| &held.entry)), pairs(left.iter().chain(&entries)));
    let marked = linked(connection, marked)?;
    LINKS.remove(connection, &gone.collect::<Vec<_>>())?;
    LINK_ENDS.remove(connection, &turned_but(&before, &after))?;
    LINK_ENDS.append(connection, &turned_but(&after, &before))?;
    entries.retain(|entry| left.binary_search(entry).is_err());
    put(connection, marked, &entries)
}

/// Puts links in, which are sorted and are not there; those of `marked` that are there are void.
fn put(connection: &Connection, marked: &[NodeId], entries: &[Entry]) -> StoreResult<()> {
    let added = marked.len() + entries.len();
    if added == 0 {
        return Ok(());
    }
    let is_full = i64::from(LINKS.run_count(connection)?) >= RUNS_MAX;
    if is_full || !LINKS.are_at_most(connection, added, MOVED_PER_RECENT)? {
        return move_runs(connection, marked, entries);
    }
    add_run(connection, marked, entries)
}

/// Of sorted nodes those that may have links.
fn linked<'n>(connection: &Connection, nodes: &'n [NodeId]) -> StoreResult<&'n [NodeId]> {
    let [first, second] = [LINKS.last(connection)?.map(|entry| pair(&entry)), LINK_ENDS.last(connection)?];
    let last = first.max(second).map(|pair| node_of(split(&pair).0));
    let count = nodes.partition_point(|node| last.is_some_and(|last| *node <= last));
    Ok(nodes.get(..count).unwrap_or(nodes))
}

/// Adds a run of marks and links, both sorted.
fn add_run(connection: &Connection, marked: &[NodeId], entries: &[Entry]) -> StoreResult<()> {
    let marks = marked.iter().map(|node| joined([&mark_of(*node)?, [0; ENTRY_BYTES - PAIR_BYTES].as_slice()]));
    let marks = marks.collect::<Result<Vec<Entry>>>()?;
    let (mut marks, mut links) = (marks.iter().peekable(), entries.iter().peekable());
    let next = || marks.next_if(|mark| links.peek().is_none_or(|link| mark < link)).or_else(|| links.next()).copied();
    LINKS.add_run(connection, std::iter::from_fn(next))
}

/// Moves all runs, and one more of `marked` and `entries`, into the blocks, with what is void left out; into a run of their own
/// where they are few.
fn move_runs(connection: &Connection, marked: &[NodeId], entries: &[Entry]) -> StoreResult<()> {
    let mut marks = Marks::read(connection)?;
    let level = LINKS.run_count(connection)?.saturating_add(1);
    marked.iter().for_each(|node| marks.put(*node, level));
    let (mut valid, mut gone): (Vec<Entry>, Vec<Pair>) = (Vec::new(), Vec::new());
    LINKS.each_recent(connection, |level, entry| {
        match (is_mark(entry), marks.void(level, entry)) {
            (true, _) => {}
            (_, true) => gone.push(pair(entry)),
            (_, false) => valid.push(*entry),
        }
        Ok(())
    })?;
    valid.extend(entries);
    // Made of some that are sorted.
    valid.sort();
    LINKS.drop_runs(connection)?;
    if LINKS.are_few(connection, marks.0.len() + valid.len())? {
        let mut moved = LINKS.finder(connection)?;
        let mut stale = turned_but(&sorted(gone), &pairs(valid.iter()));
        for end in std::mem::take(&mut stale) {
            stale.extend((!moved.holds(&turned(&end))?).then_some(end));
        }
        LINK_ENDS.remove(connection, &stale)?;
        return add_run(connection, &sorted(marks.0.into_keys().collect()), &valid);
    }
    let mut is_held = vec![false; valid.len()];
    LINKS.retain_moved(connection, |entry| {
        if !marks.void(0, entry) {
            return true;
        }
        let place = valid.binary_search(entry).ok().and_then(|place| is_held.get_mut(place));
        let stays = place.is_some();
        place.into_iter().for_each(|is_held| *is_held = true);
        gone.extend((!stays).then(|| pair(entry)));
        stays
    })?;
    LINK_ENDS.remove(connection, &turned_but(&sorted(gone), &pairs(valid.iter())))?;
    let mut is_held = is_held.into_iter();
    valid.retain(|_| !is_held.next().unwrap_or(false));
    LINKS.pack_all(connection, &valid)?;
    LINK_ENDS.settle(connection).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use affluent_model::identity::{BlindIndex, LinkVerdict};
    use proptest::prelude::*;

    use super::super::edges::split;
    use super::super::levels::count_of;
    use super::super::links::{each_refused, of};
    use super::super::open::{open_writer, overwrite_deleted};
    use super::*;

    const NODES: i64 = 40;

    type Key = ([i64; 2], u8);

    fn value(([node_a, node_b], value): Key) -> BlindIndex {
        let mut bytes = [value; 17];
        bytes[..16].copy_from_slice(&[node_a.to_be_bytes(), node_b.to_be_bytes()].concat());
        bytes
    }

    fn link(key: Key, is_refused: bool) -> Link {
        let ([node_a, node_b], _) = key;
        let verdict = if is_refused { LinkVerdict::Refused("many".to_owned()) } else { LinkVerdict::Joined };
        Link { node_a: NodeId(node_a), node_b: NodeId(node_b), rule: "email".to_owned(), kind: 0, value: value(key), verdict }
    }

    fn links_of<'k>(links: impl IntoIterator<Item = (&'k Key, &'k bool)>) -> Vec<Link> {
        links.into_iter().map(|(key, is_refused)| link(*key, *is_refused)).collect()
    }

    fn ids(nodes: &[i64]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// A row of joined links, from each node to the next.
    fn row(nodes: std::ops::Range<i64>) -> Vec<Link> {
        nodes.map(|node| link(([node, node + 1], 0), false)).collect()
    }

    #[derive(Debug, Clone)]
    enum Change {
        Replace { nodes: Vec<i64>, links: BTreeMap<Key, bool>, at_once: bool },
        Forget(Vec<i64>),
    }

    fn replace_by(nodes: usize, links: usize) -> impl Strategy<Value = Change> {
        let node = || 1..NODES;
        let key = (node(), node(), 0..3_u8).prop_map(|(one, other, value)| ([one.min(other), one.max(other)], value));
        let links = prop::collection::btree_map(key, any::<bool>(), 0..links);
        (prop::collection::vec(node(), 0..nodes), links, any::<bool>()).prop_map(|(nodes, links, at_once)| Change::Replace {
            nodes,
            links,
            at_once,
        })
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let forget = prop::collection::vec(1..NODES, 0..3).prop_map(Change::Forget);
        let change = prop_oneof![12 => replace_by(6, 12), 1 => replace_by(20, 120), 2 => forget];
        (replace_by(2, 900), prop::collection::vec(change, 1..40))
            .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect())
    }

    /// Links as they stand in the file, void ones, too.
    fn stored(connection: &Connection) -> Vec<Entry> {
        let mut stored: Vec<Entry> = Vec::new();
        LINKS
            .each_recent(connection, |_, entry| {
                stored.extend((!is_mark(entry)).then_some(*entry));
                Ok(())
            })
            .unwrap();
        LINKS
            .each_moved(connection, |entry| {
                stored.push(*entry);
                Ok(())
            })
            .unwrap();
        stored
    }

    /// The pairs that ends stand for, each once, sorted.
    fn ends_of(connection: &Connection) -> Vec<Pair> {
        let mut ends = Vec::new();
        LINK_ENDS.finder(connection).unwrap().each(&[], |end| ends.push(turned(end))).unwrap();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn links_are_replaced_as_in_a_map_and_found_from_both_ends(changes in changes()) {
            let folder = tempfile::tempdir().unwrap();
            let connection = open_writer(&folder.path().join("ledger")).unwrap();
            connection.execute_batch("BEGIN").unwrap();
            let mut map: BTreeMap<Key, bool> = BTreeMap::new();
            for change in changes {
                let (nodes, links, at_once) = match change {
                    Change::Replace { nodes, links, at_once } => (nodes, Some(links), at_once),
                    Change::Forget(nodes) => (nodes, None, true),
                };
                match &links {
                    Some(links) => relink(&connection, &ids(&nodes), &links_of(links), at_once).unwrap(),
                    None => forget(&connection, &ids(&nodes)).unwrap(),
                }
                let theirs = |(ends, _): &Key| ends.iter().any(|end| nodes.contains(end));
                let gone: Vec<Key> = map.keys().copied().filter(theirs).collect();
                map.retain(|key, _| !theirs(key));
                map.extend(links.iter().flatten());
                if at_once {
                    let values: BTreeSet<BlindIndex> = stored(&connection).iter().map(|entry| split(&entry[PAIR_BYTES + 6..]).0).collect();
                    let gone = gone.into_iter().filter(|key| !map.contains_key(key)).find(|key| values.contains(&value(*key)));
                    prop_assert_eq!(gone, None, "it is in the file");
                }
                for node in 0..NODES {
                    let theirs = map.iter().filter(|((ends, _), _)| ends.contains(&node));
                    prop_assert_eq!(of(&connection, &[NodeId(node)]).unwrap(), links_of(theirs), "{}", node);
                }
                prop_assert_eq!(of(&connection, &ids(&(0..NODES).collect::<Vec<_>>())).unwrap(), links_of(&map));
                let mut refused = Vec::new();
                each_refused(&connection, &mut |node_a, node_b, _| { refused.push([node_a.0, node_b.0]); Ok(()) }).unwrap();
                refused.sort_unstable();
                prop_assert_eq!(refused, map.iter().filter(|(_, is_refused)| **is_refused).map(|((ends, _), _)| *ends).collect::<Vec<_>>());
                prop_assert!(count_of(&connection, "link_runs").unwrap() <= RUNS_MAX);
                prop_assert_eq!(ends_of(&connection), pairs(stored(&connection).iter()), "ends are those of the links in the file");
            }
        }
    }

    fn packed(folder: &Path, last: i64) -> Connection {
        let connection = open_writer(&folder.join("ledger")).unwrap();
        replace(&connection, &[], &row(1..last)).unwrap();
        connection
    }

    #[test]
    fn links_of_many_nodes_are_replaced_without_touching_what_is_packed_until_they_are_a_good_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let connection = packed(folder.path(), 10_000);
        let packed = |table: &str| -> Vec<(i64, Vec<u8>)> {
            let mut statement = connection.prepare(&format!("SELECT block, body FROM {table}_block ORDER BY block")).unwrap();
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        let before = [packed("link"), packed("link_end")];
        let nodes: Vec<i64> = (2_000..3_000).collect();

        replace(&connection, &ids(&nodes), &row(2_000..2_500)).unwrap();

        assert_eq!([packed("link"), packed("link_end")], before);
        assert_eq!(of(&connection, &ids(&nodes)).unwrap(), row(2_000..2_500));
        assert_eq!(of(&connection, &[NodeId(1_999)]).unwrap(), row(1_998..1_999));
        assert_eq!(of(&connection, &[NodeId(3_000)]).unwrap(), row(3_000..3_001));

        for (last, runs) in [(2_600, 2), (2_500, 3), (2_600, 4), (2_500, 5), (2_600, 6), (2_500, 0)] {
            replace(&connection, &ids(&nodes), &row(2_000..last)).unwrap();
            assert_eq!(count_of(&connection, "link_runs").unwrap(), runs);
        }

        assert_eq!(count_of(&connection, "link_base").unwrap(), 9_498);
        assert_eq!(of(&connection, &ids(&(1..=10_000).collect::<Vec<_>>())).unwrap().len(), 9_498);
    }

    #[test]
    fn links_of_erased_nodes_are_in_no_byte_of_the_file_also_where_they_are_void() {
        let folder = tempfile::tempdir().unwrap();
        let connection = packed(folder.path(), 10_000);
        let erased: Vec<i64> = (2_000..2_400).collect();
        replace(&connection, &ids(&erased), &row(2_000..2_300)).unwrap();
        let file = || {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            std::fs::read(folder.path().join("ledger")).unwrap()
        };
        let held = |file: &[u8]| -> Vec<i64> {
            let starts: std::collections::HashSet<&[u8]> = file.windows(17).collect();
            (1..10_000).filter(|node| starts.contains(value(([*node, node + 1], 0)).as_slice())).collect()
        };
        assert_eq!(held(&file()).len(), 9_999);

        overwrite_deleted(&connection, true).unwrap();
        forget(&connection, &ids(&erased)).unwrap();

        assert_eq!(held(&file()), (1..1_999).chain(2_400..10_000).collect::<Vec<_>>());
    }
}
