//! Links by both of their nodes in turn: new nodes are linked with any others, so either end may be anywhere, and both are
//! look-ups of two levels. How links of nodes are replaced is in `relinking`.

use std::collections::{BTreeSet, HashMap};

use affluent_model::identity::{BlindIndex, Link, LinkVerdict, NodeId};
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension};

use super::edges::split;
use super::levels::{Levels, NODE_BYTES, joined, levels, node_bytes, node_of};
use super::{sorting, word_number};
use crate::error::StoreResult;

pub(super) const PAIR_BYTES: usize = 2 * NODE_BYTES;
/// Both nodes, the number of the rule, kind and value.
const KEY_BYTES: usize = PAIR_BYTES + 4 + 2 + 17;
/// And the number of what refused it, 0 where it joined.
pub(super) const ENTRY_BYTES: usize = KEY_BYTES + 4;
pub(super) type Entry = [u8; ENTRY_BYTES];
pub(super) type Pair = [u8; PAIR_BYTES];

pub(super) const LINKS: Levels<ENTRY_BYTES, { 1 + ENTRY_BYTES }> = levels!("link", "link_recent", KEY_BYTES);
/// The second node of linked nodes before the first, of void links, too; those in a run may be in another.
pub(super) const LINK_ENDS: Levels<PAIR_BYTES, { 1 + PAIR_BYTES }> = levels!("link_end", "link_end_recent", PAIR_BYTES);

/// Puts sorted links into a ledger that has none.
pub(super) fn pack(connection: &Connection, entries: &[Entry]) -> StoreResult<()> {
    let ends = turned_but(&pairs(entries.iter()), &[]);
    LINKS.pack(connection, entries.iter().copied())?;
    LINK_ENDS.pack(connection, ends.into_iter())
}

/// The links with one of the nodes at either end, each once, by both nodes.
pub(super) fn of(connection: &Connection, nodes: &[NodeId]) -> StoreResult<Vec<Link>> {
    let mut words = Words::new(connection);
    let nodes = sorted(nodes.to_vec());
    let held = held_of(connection, &nodes, Vec::new())?;
    held.iter().filter(|held| !held.is_void).map(|held| words.link(&held.entry)).collect()
}

/// Visits the refused links: both nodes and the number of what refused it.
pub(super) fn each_refused(
    connection: &Connection,
    visit: &mut dyn FnMut(NodeId, NodeId, i64) -> StoreResult<()>,
) -> StoreResult<()> {
    let marks = Marks::read(connection)?;
    let mut visit = |level: u8, entry: &Entry| match refused_by(entry) {
        refused_by if refused_by > 0 && !marks.void(level, entry) => {
            visit(node_at(entry, 0), node_at(entry, NODE_BYTES), refused_by)
        }
        _ => Ok(()),
    };
    LINKS.each_moved(connection, |entry| visit(0, entry))?;
    LINKS.each_recent(connection, visit)
}

/// The text of a word that a link names by its number.
pub(super) fn word(connection: &Connection, number: i64) -> StoreResult<String> {
    let text =
        connection.prepare_cached("SELECT text FROM word WHERE word = ?1")?.query_row([number], |row| row.get(0)).optional()?;
    Ok(text.ok_or_else(|| Error::bug("a link names a word that is not there"))?)
}

/// Sorted, each once.
pub(super) fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}

/// Since which level links of a node are not void.
#[derive(Default)]
pub(super) struct Marks(pub(super) HashMap<NodeId, u8>);

impl Marks {
    /// All there are.
    pub(super) fn read(connection: &Connection) -> StoreResult<Self> {
        let mut marks = Self::default();
        LINKS.each_recent(connection, |level, entry| {
            if is_mark(entry) {
                marks.put(node_at(entry, 0), level);
            }
            Ok(())
        })?;
        Ok(marks)
    }

    pub(super) fn put(&mut self, node: NodeId, level: u8) {
        let mark = self.0.entry(node).or_default();
        *mark = level.max(*mark);
    }

    /// Whether a link of a level is void.
    pub(super) fn void(&self, level: u8, entry: &Entry) -> bool {
        let nodes = [0, NODE_BYTES].map(|at| node_at(entry, at));
        nodes.iter().any(|node| self.0.get(node).is_some_and(|mark| level < *mark))
    }
}

/// A link as it stands in the file.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) is_void: bool,
}

/// Links with one of the nodes, which are sorted, at either end, and those of `pairs`, sorted.
pub(super) fn held_of(connection: &Connection, nodes: &[NodeId], mut pairs: Vec<Pair>) -> StoreResult<Vec<Held>> {
    let (mut links, mut ends) = (LINKS.finder(connection)?, LINK_ENDS.finder(connection)?);
    let mut found: Vec<(u8, Entry)> = Vec::new();
    let mut find = |level: u8, entry: &Entry| found.extend((!is_mark(entry)).then_some((level, *entry)));
    for node in nodes {
        let node = node_bytes(*node)?;
        links.each_of_level(&node, &mut find)?;
        ends.each(&node, |end| pairs.push(turned(end)))?;
    }
    for pair in sorted(pairs) {
        links.each_of_level(&pair, &mut find)?;
    }
    let mut marks = Marks::default();
    for node in found.iter().flat_map(|(_, entry)| [0, NODE_BYTES].map(|at| node_at(entry, at))).collect::<BTreeSet<_>>() {
        links.each_recent(&mark_of(node)?, |level, _| marks.put(node, level))?;
    }
    let held: Vec<Held> = found.iter().map(|(level, entry)| Held { entry: *entry, is_void: marks.void(*level, entry) }).collect();
    Ok(sorted(held))
}

/// What stands for the links of a node: no link has node 0.
pub(super) fn mark_of(node: NodeId) -> Result<Pair> {
    joined([&node_bytes(node)?, [0; NODE_BYTES].as_slice()])
}

pub(super) fn is_mark(entry: &Entry) -> bool {
    node_at(entry, NODE_BYTES) == NodeId(0)
}

pub(super) fn key(entry: &Entry) -> &[u8] {
    entry.get(..KEY_BYTES).unwrap_or(entry)
}

/// Whether one of sorted entries has a key.
pub(super) fn holds_key(entries: &[Entry], sought: &[u8]) -> bool {
    entries.binary_search_by(|entry| key(entry).cmp(sought)).is_ok()
}

/// The nodes of a link.
pub(super) fn pair(entry: &Entry) -> Pair {
    entry.first_chunk().copied().unwrap_or_default()
}

/// The nodes of links, each pair once, sorted.
pub(super) fn pairs<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Pair> {
    sorted(entries.map(pair).collect())
}

pub(super) fn turned(pair: &Pair) -> Pair {
    let mut turned = *pair;
    turned.rotate_left(NODE_BYTES);
    turned
}

/// Sorted pairs but those of `others`, which are sorted, each turned, sorted.
pub(super) fn turned_but(pairs: &[Pair], others: &[Pair]) -> Vec<Pair> {
    let mut left: Vec<Pair> = pairs.iter().filter(|pair| others.binary_search(pair).is_err()).map(turned).collect();
    sorting::sort(&mut left);
    left
}

pub(super) fn node_at(entry: &Entry, at: usize) -> NodeId {
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
pub(super) struct Words<'c> {
    connection: &'c Connection,
    numbers: HashMap<String, i64>,
    texts: HashMap<i64, String>,
}

impl<'c> Words<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, numbers: HashMap::new(), texts: HashMap::new() }
    }

    pub(super) fn entry(&mut self, link: &Link) -> StoreResult<Entry> {
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
