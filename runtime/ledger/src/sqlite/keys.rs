//! Wrapped keys. Node keys have a table of their own, and whatever is removed from it is overwritten in the file.

use affluent_model::identity::{NodeId, WrappedKey};
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::nodes::{NODE_KEYS, NODES};
use super::{SqliteLedger, advance_counter, collect, signed};
use crate::contract::keys::{Keys, StoredKeyRow};
use crate::contract::runs::Lease;
use crate::error::{StoreError, StoreResult, log_not_emptied};

impl Keys for SqliteLedger {
    fn stored_keys(&self) -> Result<Vec<StoredKeyRow>> {
        self.read(|connection| {
            let sql = "SELECT purpose, key_id, version, wrapped FROM stored_key ORDER BY purpose, key_id";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([], |row| {
                Ok(StoredKeyRow {
                    purpose: row.get(0)?,
                    key_id: number_of(row.get(1)?),
                    version: row.get(2)?,
                    wrapped: row.get(3)?,
                })
            })?)
        })
    }

    fn add_stored_keys(&self, rows: &[StoredKeyRow]) -> Result<()> {
        self.write_keys(|transaction| {
            let sql = "INSERT OR REPLACE INTO stored_key (purpose, key_id, version, wrapped) VALUES (?1, ?2, ?3, ?4)";
            let mut statement = transaction.prepare_cached(sql)?;
            for row in rows {
                statement.execute(params![row.purpose, key_number(row.key_id), row.version, row.wrapped])?;
            }
            Ok(())
        })
    }

    fn is_empty(&self) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM file) AND NOT EXISTS (SELECT 1 FROM stream)";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))? && NODES.is_empty(connection)?)
        })
    }

    fn wrapped_keys(&self, nodes: &[NodeId]) -> Result<Vec<Option<WrappedKey>>> {
        self.read(|connection| {
            let mut keys = NODE_KEYS.reader(connection)?;
            nodes.iter().map(|node| Ok(keys.get(*node)?.copied())).collect()
        })
    }

    fn wrapped_keys_after(&self, after: NodeId, limit: usize) -> Result<Vec<(NodeId, WrappedKey)>> {
        self.read(|connection| {
            let mut found = Vec::new();
            NODE_KEYS.each(connection, NodeId(after.0.saturating_add(1)), &mut |node, wrapped| {
                found.extend((found.len() < limit).then_some((node, *wrapped)));
                Ok(found.len() < limit)
            })?;
            Ok(found)
        })
    }

    fn rewrap_keys(&self, rows: &[(NodeId, WrappedKey)]) -> Result<()> {
        self.write_keys(|transaction| {
            let mut rows = rows.to_vec();
            rows.sort_unstable();
            let mut keys = NODE_KEYS.reader(transaction)?;
            let mut held = Vec::with_capacity(rows.len());
            for (node, wrapped) in rows {
                held.extend(keys.get(node)?.map(|_| (node, wrapped)));
            }
            NODE_KEYS.put(transaction, held.into_iter()).map(drop)
        })
    }

    fn erase_keys(&self, nodes: &[NodeId]) -> Result<u64> {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        let erased = self.write_keys(|transaction| NODE_KEYS.remove(transaction, nodes.into_iter()))?;
        self.empty_log()?;
        Ok(erased as u64)
    }

    fn next_run_key_id(&self) -> Result<u64> {
        let id = self.write(|transaction| advance_counter(transaction, "run key", 1))?;
        u64::try_from(id).map_err(|_| Error::bug("a counter that starts at 1 and grows cannot be negative"))
    }

    fn add_run_key(&self, lease: &Lease, key_id: u64, wrapped: &[u8]) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sql = "INSERT INTO run_key (key_id, run, wrapped) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![signed(key_id)?, lease.run, wrapped])?;
            Ok(())
        })
    }

    fn run_key(&self, key_id: u64) -> Result<Option<Vec<u8>>> {
        self.read(|connection| find_run_key(connection, key_id))
    }
}

impl SqliteLedger {
    /// Copies the whole log into the file and cuts it to nothing, so that erased bytes are in neither.
    fn empty_log(&self) -> Result<()> {
        let writer = self.lock_writer();
        let is_busy: rusqlite::Result<bool> = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match is_busy {
            Ok(false) => Ok(()),
            Ok(true) => Err(log_not_emptied(&self.path)),
            Err(error) => Err(StoreError::from(error).into_model(&self.path)),
        }
    }
}

fn find_run_key(connection: &Connection, key_id: u64) -> StoreResult<Option<Vec<u8>>> {
    let Ok(key_id) = i64::try_from(key_id) else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached("SELECT wrapped FROM run_key WHERE key_id = ?1")?;
    Ok(statement.query_row([key_id], |row| row.get(0)).optional()?)
}

/// Key ids of the vault use all 64 bits; SQLite has signed numbers, so the bits are kept and not the value.
pub(super) fn key_number(key_id: u64) -> i64 {
    i64::from_ne_bytes(key_id.to_ne_bytes())
}

pub(super) fn number_of(stored: i64) -> u64 {
    u64::from_ne_bytes(stored.to_ne_bytes())
}
