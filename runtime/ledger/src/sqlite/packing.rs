//! The step to version 7: edges, profiles and look-ups, which were rows, become entries in blocks. The step to version 10:
//! so do recent entries of look-ups. The step to version 11: links have two levels, and a filter of node keys is kept.

use affluent_model::identity::{BlindIndex, Edge, NodeId, NodeKey};
use rusqlite::{Connection, Row};

use super::edges::{self, StoredEdge};
use super::filter::Filter;
use super::levels::{
    ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, KeyEntry, Levels, MemberEntry, NODE_BY_KEY, ValueEntry, key_entry, member_entry,
    value_entry,
};
use super::open::overwrite_deleted;
use super::{collect, profiles};
use crate::error::StoreResult;

const TABLES: &str = "
-- Sorted entries of one width in blocks, and the key of the first entry of each.
ALTER TABLE edge RENAME TO edge_row;
CREATE TABLE edge_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE edge_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE profile RENAME TO profile_row;
CREATE TABLE profile_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE profile_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
DELETE FROM counter WHERE name GLOB '*_base' OR name GLOB '*_recent';
DROP VIEW node_by_key;
ALTER TABLE node_by_key_recent RENAME TO node_by_key_few;
CREATE TABLE node_by_key_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE node_by_key_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE node_by_key_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
DROP VIEW edge_by_value;
ALTER TABLE edge_by_value_recent RENAME TO edge_by_value_few;
CREATE TABLE edge_by_value_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE edge_by_value_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE edge_by_value_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
DROP VIEW assignment_by_profile;
ALTER TABLE assignment_by_profile_recent RENAME TO assignment_by_profile_few;
CREATE TABLE assignment_by_profile_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE assignment_by_profile_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE assignment_by_profile_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
";

const ROWS_DROPPED: &str = "
DROP TABLE edge_row;
DROP TABLE profile_row;
DROP TABLE node_by_key_base;
DROP TABLE node_by_key_few;
DROP TABLE edge_by_value_base;
DROP TABLE edge_by_value_few;
DROP TABLE assignment_by_profile_base;
DROP TABLE assignment_by_profile_few;
";

/// Lays them out anew, streaming. What an erasure deletes later must not be left behind in pages that become free here.
pub(super) fn pack(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch(TABLES)?;
    let sql = "SELECT node, kind, value, first_seen_us, last_seen_us FROM edge_row ORDER BY node, kind, value";
    each_row(connection, sql, edge_of, |rows| edges::put_stored(connection, rows).map(drop))?;
    let sql = "SELECT profile FROM profile_row ORDER BY profile";
    each_row(connection, sql, |row| Ok(row.get(0)?), |ids| profiles::add(connection, ids))?;
    for part in ["base", "few"] {
        let sql = format!("SELECT key, node FROM node_by_key_{part} ORDER BY key");
        pack_level(connection, &NODE_BY_KEY, &sql, key_of)?;
        let sql = format!("SELECT kind, value, node FROM edge_by_value_{part} ORDER BY kind, value, node");
        pack_level(connection, &EDGE_BY_VALUE, &sql, value_of)?;
        let sql = format!("SELECT profile, node FROM assignment_by_profile_{part} ORDER BY profile, node");
        pack_level(connection, &ASSIGNMENT_BY_PROFILE, &sql, member_of)?;
    }
    overwrite_deleted(connection, true)?;
    let dropped = connection.execute_batch(ROWS_DROPPED);
    overwrite_deleted(connection, false)?;
    Ok(dropped?)
}

/// Makes a run of the recent entries of each look-up.
pub(super) fn pack_recent(connection: &Connection) -> StoreResult<()> {
    pack_run(connection, &NODE_BY_KEY, "node_by_key_recent")?;
    pack_run(connection, &EDGE_BY_VALUE, "edge_by_value_recent")?;
    pack_run(connection, &ASSIGNMENT_BY_PROFILE, "assignment_by_profile_recent")
}

const MORE_TABLES: &str = "
-- Links have two levels as other look-ups have.
CREATE TABLE link_recent_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE link_recent_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE link_end_recent_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE link_end_recent_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT OR REPLACE INTO counter (name, value)
    SELECT 'link_base', coalesce(sum(length(body)) / 39, 0) FROM link_block
    UNION ALL SELECT 'link_end_base', coalesce(sum(length(body)) / 12, 0) FROM link_end_block;
-- The filter of node_by_key_block, in parts.
CREATE TABLE node_by_key_filter (part INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
";

/// Makes two levels of links, and the filter of the keys that moved.
pub(super) fn pack_more(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch(MORE_TABLES)?;
    Filter::make(connection)
}

fn pack_run<const W: usize, const R: usize>(connection: &Connection, level: &Levels<W, R>, table: &str) -> StoreResult<()> {
    let sql = format!("SELECT entry FROM {table} ORDER BY entry");
    let entries: Vec<[u8; W]> = collect(connection.prepare(&sql)?.query_map([], |row| row.get(0))?)?;
    overwrite_deleted(connection, true)?;
    let dropped = connection.execute_batch(&format!("DROP TABLE {table}"));
    overwrite_deleted(connection, false)?;
    dropped?;
    connection.execute("DELETE FROM counter WHERE name = ?1", [table])?;
    connection.execute_batch(&format!(
        "CREATE TABLE {table}_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
        CREATE TABLE {table}_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    ))?;
    level.append(connection, &entries).map(drop)
}

fn pack_level<const W: usize, const R: usize>(
    connection: &Connection,
    level: &Levels<W, R>,
    sql: &str,
    entry_of: impl Fn(&Row<'_>) -> StoreResult<[u8; W]>,
) -> StoreResult<()> {
    each_row(connection, sql, entry_of, |entries| level.pack(connection, entries))
}

/// Gives the rows of a query to `take` for as long as there are any and they can be read.
pub(super) fn each_row<T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> StoreResult<T>,
    take: impl FnOnce(&mut dyn Iterator<Item = T>) -> StoreResult<()>,
) -> StoreResult<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut failure = None;
    let mut read_next = || rows.next()?.map(&read).transpose();
    let mut read = std::iter::from_fn(|| {
        read_next().unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    take(&mut read)?;
    failure.map_or(Ok(()), Err)
}

fn edge_of(row: &Row<'_>) -> StoreResult<StoredEdge> {
    let edge = Edge { node: NodeId(row.get(0)?), kind: row.get(1)?, value: row.get(2)?, seen_at_us: row.get(3)? };
    Ok(StoredEdge { edge, last_seen_us: row.get(4)? })
}

fn key_of(row: &Row<'_>) -> StoreResult<KeyEntry> {
    let key: NodeKey = row.get(0)?;
    Ok(key_entry(&key, NodeId(row.get(1)?))?)
}

fn value_of(row: &Row<'_>) -> StoreResult<ValueEntry> {
    let value: BlindIndex = row.get(1)?;
    Ok(value_entry(row.get(0)?, &value, NodeId(row.get(2)?))?)
}

fn member_of(row: &Row<'_>) -> StoreResult<MemberEntry> {
    let profile: [u8; 16] = row.get(0)?;
    Ok(member_entry(&profile, NodeId(row.get(1)?))?)
}
