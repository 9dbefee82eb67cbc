//! Links as blocks of entries, by both of their nodes in turn: new nodes are linked with any others, so either end may be
//! anywhere, and both are written sorted.

use std::collections::HashMap;

use affluent_model::identity::{BlindIndex, Link, LinkVerdict, NodeId};
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension};

use super::blocks::{Blocks, blocks};
use super::edges::split;
use super::levels::{NODE_BYTES, joined, node_bytes, node_of};
use super::seeking::Seeker;
use super::{sorting, word_number};
use crate::error::StoreResult;

const PAIR_BYTES: usize = 2 * NODE_BYTES;
/// Both nodes, the number of the rule, kind and value.
const KEY_BYTES: usize = PAIR_BYTES + 4 + 2 + 17;
/// And the number of what refused it, 0 where it joined.
const ENTRY_BYTES: usize = KEY_BYTES + 4;

pub(super) type Entry = [u8; ENTRY_BYTES];
type Pair = [u8; PAIR_BYTES];

const LINKS: Blocks<ENTRY_BYTES> = blocks!("link", KEY_BYTES);
/// The second node of linked nodes before the first.
const LINK_ENDS: Blocks<PAIR_BYTES> = blocks!("link_end", PAIR_BYTES);

/// Replaces all links of `nodes` by `links`.
pub(super) fn replace(connection: &Connection, nodes: &[NodeId], links: &[Link]) -> StoreResult<()> {
    let mut words = Words::new(connection);
    let mut entries = links.iter().map(|link| words.entry(link)).collect::<StoreResult<Vec<Entry>>>()?;
    sorting::sort(&mut entries);
    entries.dedup_by(|one, other| key(one) == key(other));
    if !LINKS.is_empty(connection)? {
        let held = held(connection, nodes)?;
        let has = |begin: &[u8]| {
            let at = entries.partition_point(|entry| entry.as_slice() < begin);
            entries.get(at).is_some_and(|entry| entry.starts_with(begin))
        };
        let gone: Vec<&[u8]> = held.iter().map(key).filter(|key| !has(key)).collect();
        LINKS.remove(connection, &gone)?;
        let mut parted: Vec<Pair> = held.iter().filter(|entry| !has(pair(*entry))).map(turned).collect();
        parted.sort_unstable();
        LINK_ENDS.remove(connection, &parted)?;
        entries.retain(|entry| held.binary_search(entry).is_err());
    }
    put(connection, &entries)
}

/// Puts sorted links in; one that is there takes the verdict.
pub(super) fn put(connection: &Connection, entries: &[Entry]) -> StoreResult<()> {
    let mut ends: Vec<Pair> = entries.iter().map(turned).collect();
    sorting::sort(&mut ends);
    LINKS.merge(connection, entries.iter().copied(), |known, new| {
        let is_news = known != new;
        *known = *new;
        is_news
    })?;
    LINK_ENDS.merge(connection, ends.into_iter(), |_, _| false).map(drop)
}

/// The links with one of the nodes at either end, each once, by both nodes.
pub(super) fn of(connection: &Connection, nodes: &[NodeId]) -> StoreResult<Vec<Link>> {
    let mut words = Words::new(connection);
    held(connection, nodes)?.iter().map(|entry| words.link(entry)).collect()
}

/// Visits the refused links: both nodes and the number of what refused it.
pub(super) fn each_refused(
    connection: &Connection,
    visit: &mut dyn FnMut(NodeId, NodeId, i64) -> StoreResult<()>,
) -> StoreResult<()> {
    LINKS.each(connection, &[], &mut |entry| {
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

/// Entries with one of the nodes at either end, sorted.
fn held(connection: &Connection, nodes: &[NodeId]) -> StoreResult<Vec<Entry>> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    let (mut links, mut ends) = (Seeker::new(&LINKS, connection)?, Seeker::new(&LINK_ENDS, connection)?);
    let (mut held, mut pairs): (Vec<Entry>, Vec<Pair>) = Default::default();
    for node in nodes {
        let node = node_bytes(node)?;
        links.each(&node, &mut |entry| held.push(*entry))?;
        ends.each(&node, &mut |end| pairs.push(turned(end)))?;
    }
    pairs.sort_unstable();
    for pair in pairs {
        links.each(&pair, &mut |entry| held.push(*entry))?;
    }
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

fn key(entry: &Entry) -> &[u8] {
    entry.get(..KEY_BYTES).unwrap_or(entry)
}

fn pair(entry: &[u8]) -> &[u8] {
    entry.get(..PAIR_BYTES).unwrap_or(entry)
}

/// The nodes of what begins with a pair, the other way round.
fn turned<const W: usize>(entry: &[u8; W]) -> Pair {
    let mut turned: Pair = entry.first_chunk().copied().unwrap_or_default();
    turned.rotate_left(NODE_BYTES);
    turned
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
