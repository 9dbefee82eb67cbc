//! Links by both of their nodes in turn: new nodes are linked with any others, so either end may be anywhere, and both are
//! look-ups of two levels.

use std::collections::HashMap;

use affluent_model::identity::{BlindIndex, Link, LinkVerdict, NodeId};
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension};

use super::edges::split;
use super::levels::{Levels, NODE_BYTES, joined, levels, node_bytes, node_of};
use super::{sorting, word_number};
use crate::error::StoreResult;

const PAIR_BYTES: usize = 2 * NODE_BYTES;
/// Both nodes, the number of the rule, kind and value.
const KEY_BYTES: usize = PAIR_BYTES + 4 + 2 + 17;
/// And the number of what refused it, 0 where it joined.
const ENTRY_BYTES: usize = KEY_BYTES + 4;

pub(super) type Entry = [u8; ENTRY_BYTES];
type Pair = [u8; PAIR_BYTES];

const LINKS: Levels<ENTRY_BYTES, { 1 + ENTRY_BYTES }> = levels!("link", "link_recent", KEY_BYTES);
/// The second node of linked nodes before the first.
const LINK_ENDS: Levels<PAIR_BYTES, { 1 + PAIR_BYTES }> = levels!("link_end", "link_end_recent", PAIR_BYTES);

/// Replaces all links of `nodes` by `links`; one of other nodes that is there takes the verdict.
pub(super) fn replace(connection: &Connection, nodes: &[NodeId], links: &[Link]) -> StoreResult<()> {
    let mut words = Words::new(connection);
    let mut entries = links.iter().map(|link| words.entry(link)).collect::<StoreResult<Vec<Entry>>>()?;
    sorting::sort(&mut entries);
    entries.dedup_by(|one, other| key(one) == key(other));
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    let is_theirs = |entry: &Entry| [0, NODE_BYTES].iter().any(|at| nodes.binary_search(&node_at(entry, *at)).is_ok());
    let mut held = Vec::new();
    if LINKS.holds_any(connection)? {
        let others = entries.iter().filter(|entry| !is_theirs(entry)).map(pair);
        held = held_of(connection, &nodes, others.collect())?;
    }
    let is_named = |entry: &Entry| entries.binary_search_by(|other| key(other).cmp(key(entry))).is_ok();
    let stays = |entry: &Entry| entries.binary_search(entry).is_ok() || !is_theirs(entry) && !is_named(entry);
    let (left, gone): (Vec<Entry>, Vec<Entry>) = held.iter().partition(|entry| stays(entry));
    let (before, after) = (pairs(held.iter()), pairs(left.iter().chain(&entries)));
    LINKS.remove(connection, &gone.iter().map(key).collect::<Vec<_>>())?;
    LINK_ENDS.remove(connection, &turned_but(&before, &after))?;
    LINK_ENDS.insert(connection, &turned_but(&after, &before))?;
    entries.retain(|entry| held.binary_search(entry).is_err());
    LINKS.insert(connection, &entries)
}

/// Puts sorted links into a ledger that has none.
pub(super) fn pack(connection: &Connection, entries: &[Entry]) -> StoreResult<()> {
    let ends = turned_but(&pairs(entries.iter()), &[]);
    LINKS.pack(connection, entries.iter().copied())?;
    LINK_ENDS.pack(connection, ends.into_iter())
}

/// The links with one of the nodes at either end, each once, by both nodes.
pub(super) fn of(connection: &Connection, nodes: &[NodeId]) -> StoreResult<Vec<Link>> {
    let mut words = Words::new(connection);
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    held_of(connection, &nodes, Vec::new())?.iter().map(|entry| words.link(entry)).collect()
}

/// Visits the refused links: both nodes and the number of what refused it.
pub(super) fn each_refused(
    connection: &Connection,
    visit: &mut dyn FnMut(NodeId, NodeId, i64) -> StoreResult<()>,
) -> StoreResult<()> {
    LINKS.each(connection, &mut |entry| {
        let (node_a, node_b, refused_by) = (node_at(entry, 0), node_at(entry, NODE_BYTES), refused_by(entry));
        if refused_by > 0 { visit(node_a, node_b, refused_by).map(|()| true) } else { Ok(true) }
    })
}

/// The text of a word that a link names by its number.
pub(super) fn word(connection: &Connection, number: i64) -> StoreResult<String> {
    let text =
        connection.prepare_cached("SELECT text FROM word WHERE word = ?1")?.query_row([number], |row| row.get(0)).optional()?;
    Ok(text.ok_or_else(|| Error::bug("a link names a word that is not there"))?)
}

/// Entries with one of the nodes, which are sorted, at either end, and those of `pairs`, sorted.
fn held_of(connection: &Connection, nodes: &[NodeId], mut pairs: Vec<Pair>) -> StoreResult<Vec<Entry>> {
    let (mut links, mut ends) = (LINKS.finder(connection)?, LINK_ENDS.finder(connection)?);
    let mut held: Vec<Entry> = Vec::new();
    for node in nodes {
        let node = node_bytes(*node)?;
        links.each(&node, |entry| held.push(*entry))?;
        ends.each(&node, |end| pairs.push(turned(end)))?;
    }
    pairs.sort_unstable();
    for pair in pairs {
        links.each(&pair, |entry| held.push(*entry))?;
    }
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

fn key(entry: &Entry) -> &[u8] {
    entry.get(..KEY_BYTES).unwrap_or(entry)
}

/// The nodes of a link.
fn pair(entry: &Entry) -> Pair {
    entry.first_chunk().copied().unwrap_or_default()
}

/// The nodes of links, each pair once, sorted.
fn pairs<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = entries.map(pair).collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

fn turned(pair: &Pair) -> Pair {
    let mut turned = *pair;
    turned.rotate_left(NODE_BYTES);
    turned
}

/// Sorted pairs but those of `others`, which are sorted, each turned, sorted.
fn turned_but(pairs: &[Pair], others: &[Pair]) -> Vec<Pair> {
    let mut left: Vec<Pair> = pairs.iter().filter(|pair| others.binary_search(pair).is_err()).map(turned).collect();
    sorting::sort(&mut left);
    left
}

fn node_at(entry: &Entry, at: usize) -> NodeId {
    node_of(split(entry.get(at..).unwrap_or_default()).0)
}

fn refused_by(entry: &Entry) -> i64 {
    u32::from_be_bytes(entry.last_chunk().copied().unwrap_or_default()).into()
}

/// A link as it is stored; `refused_by` is 0 where it joined.
pub(super) fn entry_of(nodes: [NodeId; 2], rule: i64, (kind, value): (u16, &BlindIndex), refused_by: i64) -> Result<Entry> {
    let number = |word: i64| u32::try_from(word).map_err(|_| Error::bug("there are not that many words"));
    let (rule, refused_by) = (number(rule)?.to_be_bytes(), number(refused_by)?.to_be_bytes());
    let [node_a, node_b] = nodes;
    joined([&node_bytes(node_a)?, &node_bytes(node_b)?, &rule, &kind.to_be_bytes(), value, &refused_by])
}

/// Words that were asked for, both ways.
struct Words<'c> {
    connection: &'c Connection,
    numbers: HashMap<String, i64>,
    texts: HashMap<i64, String>,
}

impl<'c> Words<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { connection, numbers: HashMap::new(), texts: HashMap::new() }
    }

    fn entry(&mut self, link: &Link) -> StoreResult<Entry> {
        let rule = self.number(&link.rule)?;
        let refused_by = match &link.verdict {
            LinkVerdict::Joined => 0,
            LinkVerdict::Refused(by) => self.number(by)?,
        };
        Ok(entry_of([link.node_a, link.node_b], rule, (link.kind, &link.value), refused_by)?)
    }

    fn number(&mut self, text: &str) -> StoreResult<i64> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        let number = word_number(self.connection, text)?;
        self.numbers.insert(text.to_owned(), number);
        Ok(number)
    }

    fn link(&mut self, entry: &Entry) -> StoreResult<Link> {
        let (rule, rest) = split(entry.get(PAIR_BYTES..).unwrap_or_default());
        let (kind, rest) = split(rest);
        let verdict = match refused_by(entry) {
            0 => LinkVerdict::Joined,
            by => LinkVerdict::Refused(self.text(by)?),
        };
        Ok(Link {
            node_a: node_at(entry, 0),
            node_b: node_at(entry, NODE_BYTES),
            rule: self.text(u32::from_be_bytes(rule).into())?,
            kind: u16::from_be_bytes(kind),
            value: split(rest).0,
            verdict,
        })
    }

    fn text(&mut self, number: i64) -> StoreResult<String> {
        if let Some(text) = self.texts.get(&number) {
            return Ok(text.clone());
        }
        let text = word(self.connection, number)?;
        self.texts.insert(number, text.clone());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::open::open_writer;
    use super::*;

    type Key = ([i64; 2], u8);

    fn link(([node_a, node_b], value): Key, is_refused: bool) -> Link {
        let verdict = if is_refused { LinkVerdict::Refused("many".to_owned()) } else { LinkVerdict::Joined };
        Link { node_a: NodeId(node_a), node_b: NodeId(node_b), rule: "email".to_owned(), kind: 0, value: [value; 17], verdict }
    }

    fn change() -> impl Strategy<Value = (Vec<i64>, Vec<(Key, bool)>)> {
        let node = || 1..40_i64;
        let key = (node(), node(), 0..3_u8).prop_map(|(one, other, value)| ([one.min(other), one.max(other)], value));
        (prop::collection::vec(node(), 0..6), prop::collection::vec((key, any::<bool>()), 0..120))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn links_are_replaced_as_in_a_map_and_found_from_both_ends(changes in prop::collection::vec(change(), 1..10)) {
            let folder = tempfile::tempdir().unwrap();
            let connection = open_writer(&folder.path().join("ledger")).unwrap();
            connection.execute_batch("BEGIN").unwrap();
            let mut map: BTreeMap<Key, bool> = BTreeMap::new();
            for (nodes, links) in changes {
                let new: BTreeMap<Key, bool> = links.into_iter().collect();
                let links: Vec<Link> = new.iter().map(|(key, is_refused)| link(*key, *is_refused)).collect();
                replace(&connection, &nodes.iter().copied().map(NodeId).collect::<Vec<_>>(), &links).unwrap();
                map.retain(|(ends, _), _| !ends.iter().any(|end| nodes.contains(end)));
                map.extend(new);
                for node in 0..40 {
                    let theirs = map.iter().filter(|((ends, _), _)| ends.contains(&node));
                    let expected: Vec<Link> = theirs.map(|(key, is_refused)| link(*key, *is_refused)).collect();
                    prop_assert_eq!(of(&connection, &[NodeId(node)]).unwrap(), expected, "{}", node);
                }
                let all: Vec<NodeId> = (0..40).map(NodeId).collect();
                prop_assert_eq!(of(&connection, &all).unwrap().len(), map.len());
                let mut refused = 0;
                each_refused(&connection, &mut |_, _, _| { refused += 1; Ok(()) }).unwrap();
                prop_assert_eq!(refused, map.values().filter(|is_refused| **is_refused).count());
            }
        }
    }
}
