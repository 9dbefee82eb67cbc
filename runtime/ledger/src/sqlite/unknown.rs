//! What of a file's nodes and edges is news: a source that is read in full again mostly says what is known. Both sides are
//! sorted by the tables' keys, so that they are compared in one walk.

use affluent_model::identity::{Edge, NodeId};
use rusqlite::{Connection, Rows};

use super::edges::{self, StoredEdge};
use crate::contract::identity::Unknown;
use crate::error::StoreResult;

/// A look-up costs as much as reading this many rows in order.
const ROWS_PER_LOOK_UP: i64 = 16;

/// See [`crate::Identity::unknown`].
pub(super) fn unknown(connection: &Connection, nodes: &[NodeId], edges: &[Edge]) -> StoreResult<Unknown> {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(Unknown::default()) };
    let span = last.0.saturating_sub(first.0) / ROWS_PER_LOOK_UP;
    let mut unknown = Unknown::default();
    if i64::try_from(nodes.len()).unwrap_or(i64::MAX) > span {
        walk_nodes(connection, nodes, &mut unknown)?;
        walk_edges(connection, nodes, edges, &mut unknown)?;
    } else {
        find_nodes(connection, nodes, &mut unknown)?;
        find_edges(connection, edges, &mut unknown)?;
    }
    Ok(unknown)
}

fn walk_nodes(connection: &Connection, nodes: &[NodeId], unknown: &mut Unknown) -> StoreResult<()> {
    let mut statement = connection.prepare_cached("SELECT node FROM assignment WHERE node BETWEEN ?1 AND ?2 ORDER BY node")?;
    let mut rows = statement.query(bounds(nodes))?;
    let mut labelled = next_node(&mut rows)?;
    for node in nodes {
        while labelled.is_some_and(|labelled| labelled < *node) {
            labelled = next_node(&mut rows)?;
        }
        if labelled != Some(*node) {
            unknown.nodes.push(*node);
        }
    }
    Ok(())
}

fn bounds(nodes: &[NodeId]) -> [i64; 2] {
    [nodes.first().map_or(0, |node| node.0), nodes.last().map_or(-1, |node| node.0)]
}

fn next_node(rows: &mut Rows<'_>) -> StoreResult<Option<NodeId>> {
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?.map(NodeId))
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

fn find_nodes(connection: &Connection, nodes: &[NodeId], unknown: &mut Unknown) -> StoreResult<()> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM assignment WHERE node = ?1")?;
    for node in nodes {
        if !statement.exists([node.0])? {
            unknown.nodes.push(*node);
        }
    }
    Ok(())
}

fn find_edges(connection: &Connection, edges: &[Edge], unknown: &mut Unknown) -> StoreResult<()> {
    for edge in edges {
        put(edge, edges::find(connection, edge.node, edge.kind, &edge.value)?.as_ref(), unknown);
    }
    Ok(())
}
