//! What of a file's nodes and edges is news: a source that is read in full again mostly says what is known. Both sides are
//! sorted by the tables' keys, so that they are compared in one walk.

use affluent_model::identity::{Edge, NodeId};
use rusqlite::Connection;

use super::edges::{self, StoredEdge};
use super::nodes::ASSIGNMENTS;
use crate::contract::identity::Unknown;
use crate::error::StoreResult;

/// A look-up costs as much as reading this many rows in order.
const ROWS_PER_LOOK_UP: i64 = 16;

/// See [`crate::Identity::unknown`].
pub(super) fn unknown(connection: &Connection, nodes: Vec<NodeId>, edges: Vec<Edge>) -> StoreResult<Unknown> {
    if ASSIGNMENTS.is_empty(connection)? && edges::is_empty(connection)? {
        return Ok(Unknown { nodes, edges, seen_again: Vec::new() });
    }
    find(connection, &nodes, &edges)
}

fn find(connection: &Connection, nodes: &[NodeId], edges: &[Edge]) -> StoreResult<Unknown> {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(Unknown::default()) };
    let span = last.0.saturating_sub(first.0) / ROWS_PER_LOOK_UP;
    let mut unknown = Unknown::default();
    let mut assignments = ASSIGNMENTS.reader(connection)?;
    for node in nodes {
        unknown.nodes.extend(assignments.get(*node)?.is_none().then_some(*node));
    }
    if i64::try_from(nodes.len()).unwrap_or(i64::MAX) > span {
        walk_edges(connection, nodes, edges, &mut unknown)?;
    } else {
        find_edges(connection, edges, &mut unknown)?;
    }
    Ok(unknown)
}

fn walk_edges(connection: &Connection, nodes: &[NodeId], edges: &[Edge], unknown: &mut Unknown) -> StoreResult<()> {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(()) };
    let mut edges = edges.iter().peekable();
    edges::each_from(connection, *first, &mut |stored| {
        let key = |edge: &Edge| (edge.node, edge.kind, edge.value);
        let known = key(&stored.edge);
        while let Some(edge) = edges.next_if(|edge| key(edge) <= known) {
            put(edge, (key(edge) == known).then_some(stored), unknown);
        }
        Ok(stored.edge.node <= *last && edges.peek().is_some())
    })?;
    edges.for_each(|edge| put(edge, None, unknown));
    Ok(())
}

fn put(edge: &Edge, known: Option<&StoredEdge>, unknown: &mut Unknown) {
    match known {
        None => unknown.edges.push(*edge),
        Some(known) if edge.seen_at_us < known.edge.seen_at_us => unknown.edges.push(*edge),
        Some(known) if edge.seen_at_us > known.last_seen_us => unknown.seen_again.push(*edge),
        Some(_) => {}
    }
}

fn find_edges(connection: &Connection, edges: &[Edge], unknown: &mut Unknown) -> StoreResult<()> {
    let mut finder = edges::Finder::new(connection)?;
    for edge in edges {
        put(edge, finder.find(edge.node, edge.kind, &edge.value)?.as_ref(), unknown);
    }
    Ok(())
}
