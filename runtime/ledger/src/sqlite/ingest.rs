//! Checkpoints, nodes and the manifest. [`Ingest::commit_epoch`] is the one place where records become visible.

use std::collections::HashSet;

use affluent_model::identity::{NodeId, NodeKey};
use affluent_model::limits::STATE_BYTES_MAX;
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::dead_letters::insert_dead_letters;
use super::filter::Filter;
use super::known_keys::{KEY_COMMITS, State};
use super::levels::{NODE_BY_KEY, key_entry};
use super::nodes::{self, NODE_KEYS, NODES};
use super::{SqliteLedger, advance_counter, collect, count_at, signed, sorting};
use crate::contract::identity::FoundNode;
use crate::contract::ingest::{Checkpoint, EpochCommit, FileRow, Ingest, NewFile, NewNode};
use crate::contract::runs::Lease;
use crate::error::{StoreResult, check_bytes, node_conflict};

const FILE_COLUMNS: &str = "id, lake_table, name, rows, bytes, sequence, generation, is_resolved";

impl Ingest for SqliteLedger {
    fn checkpoint(&self, pipeline: &str, stream: &str) -> Result<Option<Checkpoint>> {
        self.read(|connection| find_checkpoint(connection, pipeline, stream))
    }

    fn begin_generation(&self, lease: &Lease, stream: &str, now_us: i64) -> Result<u64> {
        self.write_fenced(lease, |transaction| {
            let sql = "INSERT INTO stream (pipeline, stream, generation, is_complete, records, updated_at_us,
                    read, filtered, rejected, admitted)
                VALUES (?1, ?2, 1, 0, 0, ?3, 0, 0, 0, 0)
                ON CONFLICT (pipeline, stream) DO UPDATE SET generation = generation + 1, state = NULL, is_complete = 0,
                    records = 0, updated_at_us = excluded.updated_at_us
                RETURNING generation";
            let mut statement = transaction.prepare_cached(sql)?;
            Ok(statement.query_row(params![lease.pipeline, stream, now_us], |row| count_at(row, 0))?)
        })
    }

    fn next_sequence(&self, lease: &Lease) -> Result<i64> {
        self.write_fenced(lease, |transaction| advance_counter(transaction, "sequence", 1))
    }

    fn reserve_nodes(&self, count: u64) -> Result<NodeId> {
        self.write_ahead(|transaction| {
            let count = signed(count)?;
            let last = advance_counter(transaction, "node", count)?;
            Ok(NodeId(last - count + 1))
        })
    }

    fn find_nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<FoundNode>>> {
        let mut found = vec![None; keys.len()];
        let (places, state) = self.places_to_look_up(keys)?;
        if places.is_empty() {
            return Ok(found);
        }
        let asked: Vec<NodeKey> = places.iter().filter_map(|place| keys.get(*place)).copied().collect();
        let answers = self.read(|connection| find_nodes(connection, &asked))?;
        let missed = asked.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(key, _)| *key);
        self.lock_known_keys().note_missed(state, missed);
        for (place, answer) in places.into_iter().zip(answers) {
            if let Some(slot) = found.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(found)
    }

    fn commit_epoch(&self, lease: &Lease, epoch: &EpochCommit) -> Result<()> {
        check_epoch(epoch)?;
        let number = self.write_rows(lease, epoch.new_nodes.len(), |transaction| {
            // Here, where nobody else writes or makes the filter, so that none is made without them.
            let mut known = self.lock_known_keys();
            known.renew(transaction)?;
            insert_nodes(transaction, &epoch.new_nodes, |key| known.may_hold(key))?;
            // Where most are met again, as in orders, looking up costs more than moving what was read before.
            if epoch.admitted / 2 > epoch.new_nodes.len() as u64 {
                Filter::keep(transaction, &NODE_BY_KEY.settle(transaction)?)?;
            }
            known.add(epoch.new_nodes.iter().map(|new| &new.key));
            drop(known);
            advance_stream(transaction, lease, epoch)?;
            if epoch.drops_older_generations {
                drop_older_files(transaction, lease, epoch)?;
            }
            insert_files(transaction, lease, epoch)?;
            insert_dead_letters(transaction, lease, epoch.dead_letters.iter())?;
            let has_keys = !epoch.new_nodes.is_empty();
            has_keys.then(|| advance_counter(transaction, KEY_COMMITS, 1)).transpose()
        })?;
        number.into_iter().for_each(|number| self.lock_known_keys().note_commit(number));
        Ok(())
    }

    fn files(&self, table: &str) -> Result<Vec<FileRow>> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE lake_table = ?1 ORDER BY sequence, id");
        self.read(|connection| collect(connection.prepare_cached(&sql)?.query_map([table], file_row)?))
    }

    fn tables(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT lake_table FROM file ORDER BY lake_table")?;
            collect(statement.query_map([], |row| row.get(0))?)
        })
    }

    fn unresolved_files(&self) -> Result<Vec<FileRow>> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE NOT is_resolved ORDER BY sequence, id");
        self.read(|connection| collect(connection.prepare_cached(&sql)?.query_map([], file_row)?))
    }

    fn has_unresolved_files(&self) -> Result<bool> {
        self.read(|connection| Ok(connection.prepare_cached("SELECT 1 FROM file WHERE NOT is_resolved LIMIT 1")?.exists([])?))
    }

    fn file_names(&self) -> Result<HashSet<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT name FROM file UNION ALL SELECT name FROM snapshot_file")?;
            let names = statement.query_map([], |row| row.get(0))?;
            Ok(names.collect::<rusqlite::Result<HashSet<String>>>()?)
        })
    }

    fn last_sequence(&self) -> Result<i64> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = 'sequence'")?;
            Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
        })
    }
}

impl SqliteLedger {
    /// Places of the keys that somebody may have, and the state of which that is true.
    fn places_to_look_up(&self, keys: &[NodeKey]) -> Result<(Vec<usize>, Option<State>)> {
        let Some(writer) = self.try_lock_writer() else {
            return Ok(((0..keys.len()).collect(), None));
        };
        let mut known = self.lock_known_keys();
        known.refresh(&writer, keys.len()).map_err(|error| error.into_model(&self.path))?;
        drop(writer);
        let may_hold = (0..).zip(keys).filter(|(_, key)| known.may_hold(key));
        Ok((may_hold.map(|(place, _)| place).collect(), Some(known.state())))
    }
}

fn find_checkpoint(connection: &Connection, pipeline: &str, stream: &str) -> StoreResult<Option<Checkpoint>> {
    let sql = "SELECT state, generation, is_complete, records, updated_at_us FROM stream WHERE pipeline = ?1 AND stream = ?2";
    let checkpoint = connection.prepare_cached(sql)?.query_row([pipeline, stream], |row| {
        Ok(Checkpoint {
            state: row.get(0)?,
            generation: count_at(row, 1)?,
            is_complete: row.get(2)?,
            records: count_at(row, 3)?,
            updated_at_us: row.get(4)?,
        })
    });
    Ok(checkpoint.optional()?)
}

/// Looks keys up in the order of the index, then wrapped keys in the order of the nodes: neighbours are on the same page.
fn find_nodes(connection: &Connection, keys: &[NodeKey]) -> StoreResult<Vec<Option<FoundNode>>> {
    let mut found = vec![None; keys.len()];
    if NODES.is_empty(connection)? {
        return Ok(found);
    }
    let mut slots: Vec<(&NodeKey, &mut Option<FoundNode>)> = keys.iter().zip(found.iter_mut()).collect();
    slots.sort_unstable_by_key(|(key, _)| *key);
    let mut known: Vec<&mut FoundNode> = Vec::with_capacity(keys.len());
    let mut finder = NODE_BY_KEY.finder(connection)?;
    for (key, slot) in slots {
        let mut node = None;
        finder.each_node(key, |found| node = Some(found))?;
        known.extend(node.map(|node| slot.insert(FoundNode { node, wrapped_key: None })));
    }
    known.sort_unstable_by_key(|found| found.node);
    let mut keys = NODE_KEYS.reader(connection)?;
    for found in known {
        found.wrapped_key = keys.get(found.node)?.copied();
    }
    Ok(found)
}

fn check_epoch(epoch: &EpochCommit) -> Result<()> {
    if epoch.drops_older_generations && !epoch.is_complete {
        return Err(Error::bug("an incomplete generation must not drop the one before"));
    }
    if epoch.read != epoch.filtered + epoch.rejected + epoch.admitted {
        return Err(Error::bug("the counters of an epoch must add up: read = filtered + rejected + admitted"));
    }
    let state_bytes = epoch.state.as_ref().map_or(0, Vec::len);
    check_bytes(&format!("the state of stream `{}`", epoch.stream), state_bytes, STATE_BYTES_MAX)
}

/// Stores nodes with their keys, and the look-up by key; `may_hold` says whether a key may be in the ledger already.
fn insert_nodes(connection: &Connection, nodes: &[NewNode], may_hold: impl Fn(&NodeKey) -> bool) -> StoreResult<()> {
    let mut keys = nodes.iter().map(|new| key_entry(&new.key, new.node)).collect::<Result<Vec<_>>>()?;
    sorting::sort(&mut keys);
    let mut finder = NODE_BY_KEY.finder(connection)?;
    let mut before = None;
    for entry in &keys {
        let key = entry.first_chunk().copied().unwrap_or_default();
        if before == Some(key) || may_hold(&key) && finder.holds(&key)? {
            return Err(node_conflict().into());
        }
        before = Some(key);
    }
    drop(finder);
    nodes::insert(connection, nodes)?;
    Filter::keep(connection, &NODE_BY_KEY.append(connection, &keys)?)
}

/// Moves the checkpoint; the row is made by the first epoch of a stream that was never refreshed in full.
fn advance_stream(connection: &Connection, lease: &Lease, epoch: &EpochCommit) -> StoreResult<()> {
    let sql = "INSERT INTO stream (pipeline, stream, generation, state, is_complete, records, updated_at_us,
            read, filtered, rejected, admitted)
        VALUES (?1, ?2, ?3, ?4, ?5, ?9, ?6, ?7, ?8, ?10, ?9)
        ON CONFLICT (pipeline, stream) DO UPDATE SET state = coalesce(excluded.state, state),
            is_complete = excluded.is_complete, records = records + excluded.records,
            updated_at_us = excluded.updated_at_us, read = read + excluded.read, filtered = filtered + excluded.filtered,
            rejected = rejected + excluded.rejected, admitted = admitted + excluded.admitted
        WHERE generation = excluded.generation";
    let advanced = connection.prepare_cached(sql)?.execute(params![
        lease.pipeline,
        epoch.stream,
        signed(epoch.generation)?,
        epoch.state,
        epoch.is_complete,
        epoch.now_us,
        signed(epoch.read)?,
        signed(epoch.filtered)?,
        signed(epoch.admitted)?,
        signed(epoch.rejected)?,
    ])?;
    if advanced == 1 {
        return Ok(());
    }
    Err(Error::bug(format!("stream `{}` has begun a generation after `{}`", epoch.stream, epoch.generation)).into())
}

fn drop_older_files(connection: &Connection, lease: &Lease, epoch: &EpochCommit) -> StoreResult<()> {
    let sql = "DELETE FROM file WHERE pipeline = ?1 AND stream = ?2 AND generation < ?3";
    connection.prepare_cached(sql)?.execute(params![lease.pipeline, epoch.stream, signed(epoch.generation)?])?;
    Ok(())
}

fn insert_files(connection: &Connection, lease: &Lease, epoch: &EpochCommit) -> StoreResult<()> {
    let sql = "INSERT INTO file (pipeline, stream, lake_table, name, rows, bytes, sequence, generation, is_resolved)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)";
    let mut statement = connection.prepare_cached(sql)?;
    for NewFile { table, name, rows, bytes, sequence } in &epoch.files {
        let (rows, bytes, generation) = (signed(*rows)?, signed(*bytes)?, signed(epoch.generation)?);
        statement.execute(params![lease.pipeline, epoch.stream, table, name, rows, bytes, sequence, generation])?;
    }
    Ok(())
}

fn file_row(row: &Row<'_>) -> rusqlite::Result<FileRow> {
    Ok(FileRow {
        id: row.get(0)?,
        table: row.get(1)?,
        name: row.get(2)?,
        rows: count_at(row, 3)?,
        bytes: count_at(row, 4)?,
        sequence: row.get(5)?,
        generation: count_at(row, 6)?,
        is_resolved: row.get(7)?,
    })
}
