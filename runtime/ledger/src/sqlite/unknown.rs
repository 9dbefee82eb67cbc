//! What of a file's nodes and edges is news: a source that is read in full again mostly says what is known. Both sides are
//! sorted by the tables' keys, so that they are compared in one walk.

use std::cmp::Ordering;
use std::iter::Peekable;

use affluent_model::identity::{BlindIndex, Edge, NodeId};
use rusqlite::{Connection, OptionalExtension, Rows, params};

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

/// A stored edge: its key, when it was first and last seen.
type Stored = ((NodeId, u16, BlindIndex), [i64; 2]);

fn walk_edges(connection: &Connection, nodes: &[NodeId], edges: &[Edge], unknown: &mut Unknown) -> StoreResult<()> {
    let sql = "SELECT node, kind, value, first_seen_us, last_seen_us FROM edge WHERE node BETWEEN ?1 AND ?2
        ORDER BY node, kind, value";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(bounds(nodes))?;
    let mut stored = next_edge(&mut rows)?;
    let mut edges = edges.iter().peekable();
    while let Some(edge) = edges.peek() {
        let key = (edge.node, edge.kind, edge.value);
        match stored.as_ref().map_or(Ordering::Greater, |(stored, _)| stored.cmp(&key)) {
            Ordering::Less => stored = next_edge(&mut rows)?,
            Ordering::Equal => take(&mut edges, stored.map(|(_, seen)| seen), unknown),
            Ordering::Greater => take(&mut edges, None, unknown),
        }
    }
    Ok(())
}

fn next_edge(rows: &mut Rows<'_>) -> StoreResult<Option<Stored>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(((NodeId(row.get(0)?), row.get(1)?, row.get(2)?), [row.get(3)?, row.get(4)?])))
}

fn take<'e>(edges: &mut Peekable<impl Iterator<Item = &'e Edge>>, seen: Option<[i64; 2]>, unknown: &mut Unknown) {
    let Some(edge) = edges.next() else { return };
    put(edge, seen, unknown);
}

fn put(edge: &Edge, seen: Option<[i64; 2]>, unknown: &mut Unknown) {
    match seen {
        None => unknown.edges.push(*edge),
        Some([first, _]) if edge.seen_at_us < first => unknown.edges.push(*edge),
        Some([_, last]) if edge.seen_at_us > last => unknown.seen_again.push(*edge),
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
    let sql = "SELECT first_seen_us, last_seen_us FROM edge WHERE node = ?1 AND kind = ?2 AND value = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    for edge in edges {
        let find = params![edge.node.0, edge.kind, edge.value];
        put(edge, statement.query_row(find, |row| Ok([row.get(0)?, row.get(1)?])).optional()?, unknown);
    }
    Ok(())
}
