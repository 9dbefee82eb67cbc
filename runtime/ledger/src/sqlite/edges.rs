//! Edges as blocks of entries, by node: new nodes come last, so that a first load only appends.

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, Edge, NodeId};
use rusqlite::Connection;

use super::blocks::{Blocks, blocks};
use super::levels::{joined, node_bytes, node_of, value_prefix};
use super::seeking::Seeker;
use crate::error::StoreResult;

/// Node, kind and value.
const KEY_BYTES: usize = 6 + 2 + 17;
/// And when it was first and last seen.
const ENTRY_BYTES: usize = KEY_BYTES + 8 + 8;

type Entry = [u8; ENTRY_BYTES];

const EDGES: Blocks<ENTRY_BYTES> = blocks!("edge", KEY_BYTES);

/// An edge as it is stored.
pub(super) struct StoredEdge {
    /// With the time it was first seen at.
    pub(super) edge: Edge,
    pub(super) last_seen_us: i64,
}

/// Puts edges in, sorted by node, kind and value; of those that are there the times widen. Returns how many were not.
pub(super) fn put(connection: &Connection, edges: &[Edge]) -> StoreResult<usize> {
    // A node's number has its bytes, or nothing of these is stored.
    edges.iter().try_for_each(|edge| node_bytes(edge.node).map(drop))?;
    put_stored(connection, edges.iter().map(|edge| StoredEdge { edge: *edge, last_seen_us: edge.seen_at_us }))
}

/// The same with both times; a node's number has its bytes, as those in the file have.
pub(super) fn put_stored(connection: &Connection, edges: impl Iterator<Item = StoredEdge>) -> StoreResult<usize> {
    EDGES.merge(connection, edges.filter_map(|stored| entry_of(&stored).ok()), widen)
}

/// Visits the edges of the nodes from `first` on, by node, kind and value, for as long as `visit` says so.
pub(super) fn each_from(
    connection: &Connection,
    first: NodeId,
    visit: &mut dyn FnMut(&StoredEdge) -> StoreResult<bool>,
) -> StoreResult<()> {
    EDGES.each(connection, &node_bytes(first)?, &mut |entry| visit(&edge_of(entry)))
}

/// Looks edges up; those of nodes in their order cost least.
pub(super) struct Finder<'c>(Seeker<'c, ENTRY_BYTES>);

impl<'c> Finder<'c> {
    pub(super) fn new(connection: &'c Connection) -> StoreResult<Self> {
        Ok(Self(Seeker::new(&EDGES, connection)?))
    }

    /// Appends the edges of a node.
    pub(super) fn read(&mut self, node: NodeId, edges: &mut Vec<Edge>) -> StoreResult<()> {
        self.0.each(&node_bytes(node)?, &mut |entry| edges.push(edge_of(entry).edge))
    }

    /// One edge.
    pub(super) fn find(&mut self, node: NodeId, kind: u16, value: &BlindIndex) -> StoreResult<Option<StoredEdge>> {
        let mut found = None;
        self.0.each(&key_of(node, kind, value)?, &mut |entry| found = Some(edge_of(entry)))?;
        Ok(found)
    }
}

pub(super) fn is_empty(connection: &Connection) -> StoreResult<bool> {
    EDGES.is_empty(connection)
}

/// Takes out all edges of nodes, which are sorted.
pub(super) fn remove(connection: &Connection, nodes: &[NodeId]) -> StoreResult<()> {
    let nodes = nodes.iter().map(|node| node_bytes(*node)).collect::<Result<Vec<_>>>()?;
    EDGES.remove(connection, &nodes).map(drop)
}

/// Takes the times of another sight of an edge; true where they are news.
fn widen(known: &mut Entry, seen: &Entry) -> bool {
    let (first, last) = times_of(known);
    let (seen_first, seen_last) = times_of(seen);
    let is_news = seen_first < first || seen_last > last;
    let times = [first.min(seen_first), last.max(seen_last)].map(i64::to_be_bytes);
    known.iter_mut().skip(KEY_BYTES).zip(times.as_flattened()).for_each(|(to, from)| *to = *from);
    is_news
}

fn key_of(node: NodeId, kind: u16, value: &BlindIndex) -> Result<[u8; KEY_BYTES]> {
    joined([&node_bytes(node)?, &value_prefix(kind, value)?])
}

fn entry_of(StoredEdge { edge, last_seen_us }: &StoredEdge) -> Result<Entry> {
    let [first, last] = [edge.seen_at_us, *last_seen_us].map(i64::to_be_bytes);
    joined([&node_bytes(edge.node)?, &edge.kind.to_be_bytes(), &edge.value, &first, &last])
}

fn edge_of(entry: &Entry) -> StoredEdge {
    let (node, rest) = split(entry);
    let (kind, rest) = split(rest);
    let (value, _) = split(rest);
    let (seen_at_us, last_seen_us) = times_of(entry);
    StoredEdge { edge: Edge { node: node_of(node), kind: u16::from_be_bytes(kind), value, seen_at_us }, last_seen_us }
}

/// When an edge was first and last seen.
fn times_of(entry: &Entry) -> (i64, i64) {
    let (first, rest) = split(entry.get(KEY_BYTES..).unwrap_or_default());
    (i64::from_be_bytes(first), i64::from_be_bytes(split(rest).0))
}

/// The first bytes of an entry and what follows them.
pub(super) fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes.split_first_chunk().map_or(([0; N], &[]), |(part, rest)| (*part, rest))
}
