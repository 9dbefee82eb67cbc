//! Nodes, their wrapped keys and their labels, each at the place of its number. Keys stand apart from the nodes, so that
//! erasing touches nothing else.

use std::sync::Arc;

use affluent_model::identity::{NodeId, NodeKey, WrappedKey};
use affluent_model::{Error, Result};
use rusqlite::{CachedStatement, Connection};

use super::computed::profile_of;
use super::edges::split;
use super::levels::joined;
use super::numbered::{Numbered, Reader, numbered};
use super::word_number;
use crate::contract::identity::NodeRow;
use crate::contract::ingest::NewNode;
use crate::error::StoreResult;

/// Key, number of the connection, and when it was first seen.
const NODE_BYTES: usize = 17 + 4 + 8;
const PROFILE_BYTES: usize = 16;

pub(super) type NodeEntry = [u8; NODE_BYTES];

/// Nodes; none ever leaves.
pub(super) const NODES: Numbered<NODE_BYTES> = numbered!("node");
/// Wrapped keys; a node that was erased has none.
pub(super) const NODE_KEYS: Numbered<{ size_of::<WrappedKey>() }> = numbered!("node_key");
/// Profiles of nodes; a node that was not resolved has none.
pub(super) const ASSIGNMENTS: Numbered<PROFILE_BYTES> = numbered!("assignment");

/// Stores nodes with their keys.
pub(super) fn insert(connection: &Connection, nodes: &[NewNode]) -> StoreResult<()> {
    let mut last: Option<(&str, i64)> = None;
    let mut entries: Vec<(NodeId, NodeEntry)> = Vec::with_capacity(nodes.len());
    for new in nodes {
        let source = match last {
            Some((source, number)) if *source == *new.source => number,
            _ => word_number(connection, &new.source)?,
        };
        last = Some((&new.source, source));
        entries.push((new.node, node_entry(&new.key, source, new.first_seen_us)?));
    }
    let put = NODES.put(connection, entries.into_iter())?;
    let keyed = NODE_KEYS.put(connection, nodes.iter().map(|new| (new.node, new.wrapped_key)))?;
    if put == nodes.len() && keyed == put { Ok(()) } else { Err(Error::bug("a node has the number of another").into()) }
}

/// A node as entries hold it; `source` is the number of a word.
pub(super) fn node_entry(key: &NodeKey, source: i64, first_seen_us: i64) -> Result<NodeEntry> {
    let source = u32::try_from(source).map_err(|_| Error::bug("there are not that many connections"))?;
    joined([key.as_slice(), &source.to_be_bytes(), &first_seen_us.to_be_bytes()])
}

/// Nodes whose labels are known, looked up in their order.
pub(super) struct Rows<'c> {
    nodes: Reader<'c, NODE_BYTES>,
    sources: Sources<'c>,
}

impl<'c> Rows<'c> {
    pub(super) fn new(connection: &'c Connection) -> StoreResult<Self> {
        Ok(Self { nodes: NODES.reader(connection)?, sources: Sources::new(connection)? })
    }

    /// `None` where there is no such node.
    pub(super) fn get(&mut self, node: NodeId, label: Option<[u8; PROFILE_BYTES]>) -> StoreResult<Option<NodeRow>> {
        self.nodes.get(node)?.map(|entry| self.sources.row(node, entry, label)).transpose()
    }
}

/// Nodes with their labels, looked up in their order.
pub(super) struct Labelled<'c> {
    nodes: Reader<'c, NODE_BYTES>,
    labels: Labels<'c>,
}

impl<'c> Labelled<'c> {
    pub(super) fn new(connection: &'c Connection) -> StoreResult<Self> {
        Ok(Self { nodes: NODES.reader(connection)?, labels: Labels::new(connection)? })
    }

    /// `None` where there is no such node.
    pub(super) fn get(&mut self, node: NodeId) -> StoreResult<Option<NodeRow>> {
        self.nodes.get(node)?.map(|entry| self.labels.row(node, entry)).transpose()
    }
}

/// Labels of nodes, looked up in their order.
pub(super) struct Labels<'c> {
    sources: Sources<'c>,
    assignments: Reader<'c, PROFILE_BYTES>,
}

impl<'c> Labels<'c> {
    pub(super) fn new(connection: &'c Connection) -> StoreResult<Self> {
        Ok(Self { sources: Sources::new(connection)?, assignments: ASSIGNMENTS.reader(connection)? })
    }

    /// A node as it is stored, with its label.
    pub(super) fn row(&mut self, node: NodeId, entry: &NodeEntry) -> StoreResult<NodeRow> {
        let label = self.assignments.get(node)?.copied();
        self.sources.row(node, entry, label)
    }
}

/// Names of connections by their number, shared by all rows that name one.
struct Sources<'a> {
    statement: CachedStatement<'a>,
    known: Vec<(i64, Arc<str>)>,
}

impl<'a> Sources<'a> {
    fn new(connection: &'a Connection) -> StoreResult<Self> {
        let statement = connection.prepare_cached("SELECT text FROM word WHERE word = ?1")?;
        Ok(Self { statement, known: Vec::new() })
    }

    /// A node as it is stored.
    fn row(&mut self, node: NodeId, entry: &NodeEntry, label: Option<[u8; PROFILE_BYTES]>) -> StoreResult<NodeRow> {
        let (key, rest) = split(entry);
        let (source, rest) = split(rest);
        let (first_seen_us, _) = split(rest);
        let source = self.name(i64::from(u32::from_be_bytes(source)))?;
        Ok(NodeRow { node, key, source, first_seen_us: i64::from_be_bytes(first_seen_us), profile: label.map(profile_of) })
    }

    fn name(&mut self, number: i64) -> rusqlite::Result<Arc<str>> {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(name));
        }
        let name: String = self.statement.query_row([number], |row| row.get(0))?;
        let name: Arc<str> = name.into();
        self.known.push((number, Arc::clone(&name)));
        Ok(name)
    }
}
