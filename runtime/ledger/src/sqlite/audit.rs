//! The audit trail; triggers of the file refuse changes and removals.

use affluent_model::Result;
use rusqlite::{Connection, Row, params};

use super::{SqliteLedger, collect, limit_of};
use crate::contract::audit::{Audit, AuditRow};
use crate::error::StoreResult;

impl Audit for SqliteLedger {
    fn audit(&self, at_us: i64, action: &str, detail: &str) -> Result<()> {
        self.write(|transaction| append(transaction, at_us, action, detail))
    }

    fn audit_rows(&self, limit: usize) -> Result<Vec<AuditRow>> {
        self.read(|connection| {
            let sql = "SELECT id, at_us, action, detail FROM audit ORDER BY id DESC LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([limit_of(limit)], audit_row)?)
        })
    }

    fn audit_rows_of(&self, action: &str, since_us: i64, limit: usize) -> Result<Vec<AuditRow>> {
        self.read(|connection| {
            let sql = "SELECT id, at_us, action, detail FROM audit WHERE action = ?1 AND at_us >= ?2 ORDER BY id DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map(params![action, since_us, limit_of(limit)], audit_row)?)
        })
    }
}

/// An entry in the transaction of what it tells.
pub(super) fn append(connection: &Connection, at_us: i64, action: &str, detail: &str) -> StoreResult<()> {
    let sql = "INSERT INTO audit (at_us, action, detail) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![at_us, action, detail])?;
    Ok(())
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow { id: row.get(0)?, at_us: row.get(1)?, action: row.get(2)?, detail: row.get(3)? })
}
