//! The step to version 9: nodes, their keys and their labels, which were rows, stand at the places of their numbers, and the
//! other end of links has a table that is written in its order.

use affluent_model::identity::{BlindIndex, NodeId, NodeKey, WrappedKey};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::collect;
use super::links::{self, Entry};
use super::nodes::{ASSIGNMENTS, NODE_KEYS, NODES, node_entry};
use super::open::overwrite_deleted;
use super::packing::each_row;
use crate::error::StoreResult;

const TABLES: &str = "
-- Entries of one width at the place of their node's number: block n holds nodes from n times its places on.
CREATE TABLE node_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE node_key_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE assignment_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- Links by both of their nodes in turn, as blocks of sorted entries.
CREATE TABLE link_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE link_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE link_end_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE link_end_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO word (text) SELECT DISTINCT refused_by FROM link WHERE refused_by IS NOT NULL;
";

const LINKS: &str = "SELECT l.node_a, l.node_b, l.rule, l.kind, l.value, coalesce(w.word, 0)
    FROM link l LEFT JOIN word w ON w.text = l.refused_by";

const ROWS_DROPPED: &str = "DROP TABLE node; DROP TABLE node_key; DROP TABLE assignment; DROP TABLE link;";

/// Lays them out anew, streaming. Of the keys, and of what an erasure deletes later, nothing is left behind in pages that
/// become free here.
pub(super) fn number(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch(TABLES)?;
    let sql = "SELECT node, key, source, first_seen_us FROM node ORDER BY node";
    let node = |row: &Row<'_>| {
        let key: NodeKey = row.get(1)?;
        Ok((NodeId(row.get(0)?), node_entry(&key, row.get(2)?, row.get(3)?)?))
    };
    each_row(connection, sql, node, |entries| NODES.put(connection, entries).map(drop))?;
    let sql = "SELECT node, wrapped FROM node_key ORDER BY node";
    let key = |row: &Row<'_>| Ok((NodeId(row.get(0)?), row.get::<_, WrappedKey>(1)?));
    each_row(connection, sql, key, |entries| NODE_KEYS.put(connection, entries).map(drop))?;
    let sql = "SELECT node, profile FROM assignment ORDER BY node";
    let label = |row: &Row<'_>| Ok((NodeId(row.get(0)?), row.get::<_, [u8; 16]>(1)?));
    each_row(connection, sql, label, |entries| ASSIGNMENTS.put(connection, entries).map(drop))?;
    let mut links = collect(connection.prepare(LINKS)?.query_map([], link)?)?;
    links.sort_unstable();
    links::pack(connection, &links)?;
    overwrite_deleted(connection, true)?;
    let dropped = connection.execute_batch(ROWS_DROPPED);
    overwrite_deleted(connection, false)?;
    Ok(dropped?)
}

fn link(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let nodes = [NodeId(row.get(0)?), NodeId(row.get(1)?)];
    let value: BlindIndex = row.get(4)?;
    links::entry_of(nodes, row.get(2)?, (row.get(3)?, &value), row.get(5)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(error)))
}
