//! Runs, leases and slots. The lease row of a pipeline is the only place where a fence is counted.

use affluent_model::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::webhooks::news_is_read;
use super::{SqliteLedger, count_at, limit_of, signed};
use crate::contract::runs::{Lease, LeaseRow, RunEnd, RunRow, RunStart, Runs};
use crate::error::{StoreResult, already_running, lease_lost};

const RUN_COLUMNS: &str = "run, pipeline, holder, fence, scheduled_for_us, started_at_us, ended_at_us, outcome, report_json";

impl Runs for SqliteLedger {
    fn begin_run(&self, start: &RunStart) -> Result<Lease> {
        self.write(|transaction| {
            let held = find_lease(transaction, &start.pipeline)?;
            if let Some(held) = &held {
                take_over(transaction, start, held)?;
            }
            let fence = held.map_or(0, |held| held.fence) + 1;
            let run = insert_run(transaction, start, fence)?;
            store_lease(transaction, start, run, fence)?;
            Ok(Lease { run, pipeline: start.pipeline.clone(), fence })
        })
    }

    fn renew_lease(&self, lease: &Lease, now_us: i64, lease_ms: u64) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE lease SET expires_at_us = ?4 WHERE pipeline = ?1 AND run = ?2 AND fence = ?3 AND NOT is_released";
            let renewed = transaction.prepare_cached(sql)?.execute(params![
                lease.pipeline,
                lease.run,
                signed(lease.fence)?,
                expiry(now_us, lease_ms)
            ])?;
            if renewed == 1 { Ok(()) } else { Err(lease_lost(lease).into()) }
        })
    }

    fn finish_run(&self, lease: &Lease, end: &RunEnd) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sql = "UPDATE run SET ended_at_us = ?2, outcome = ?3, report_json = ?4 WHERE run = ?1";
            transaction.prepare_cached(sql)?.execute(params![lease.run, end.now_us, end.outcome, end.report_json])?;
            let sql = "UPDATE lease SET is_released = 1 WHERE pipeline = ?1";
            transaction.prepare_cached(sql)?.execute([&lease.pipeline])?;
            end.news_read.map_or(Ok(()), |number| news_is_read(transaction, &lease.pipeline, number))
        })
    }

    fn lease(&self, pipeline: &str) -> Result<Option<LeaseRow>> {
        self.read(|connection| find_lease(connection, pipeline))
    }

    fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<RunRow>> {
        let of_pipeline = if pipeline.is_some() { "WHERE pipeline = ?1" } else { "WHERE ?1 IS NULL" };
        let sql = format!("SELECT {RUN_COLUMNS} FROM run {of_pipeline} ORDER BY run DESC LIMIT ?2");
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            super::collect(statement.query_map(params![pipeline, limit_of(limit)], run_row)?)
        })
    }

    fn claim_slot(&self, pipeline: &str, scheduled_for_us: i64, now_us: i64) -> Result<bool> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO slot (pipeline, scheduled_for_us, claimed_at_us) VALUES (?1, ?2, ?3)";
            Ok(transaction.prepare_cached(sql)?.execute(params![pipeline, scheduled_for_us, now_us])? == 1)
        })
    }

    fn last_slot(&self, pipeline: &str) -> Result<Option<i64>> {
        self.read(|connection| {
            let sql = "SELECT max(scheduled_for_us) FROM slot WHERE pipeline = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([pipeline], |row| row.get(0))?)
        })
    }
}

fn find_lease(connection: &Connection, pipeline: &str) -> StoreResult<Option<LeaseRow>> {
    let sql = "SELECT run, fence, holder, taken_at_us, expires_at_us, is_released FROM lease WHERE pipeline = ?1";
    let lease = connection.prepare_cached(sql)?.query_row([pipeline], |row| {
        Ok(LeaseRow {
            run: row.get(0)?,
            fence: count_at(row, 1)?,
            holder: row.get(2)?,
            taken_at_us: row.get(3)?,
            expires_at_us: row.get(4)?,
            is_released: row.get(5)?,
        })
    });
    Ok(lease.optional()?)
}

/// Refuses while the holder is alive; otherwise its run is over.
fn take_over(connection: &Connection, start: &RunStart, held: &LeaseRow) -> StoreResult<()> {
    if held.is_released {
        return Ok(());
    }
    if held.expires_at_us > start.now_us && start.replaces_fence != Some(held.fence) {
        return Err(already_running(&start.pipeline, held, start.now_us).into());
    }
    let sql = "UPDATE run SET outcome = 'abandoned', ended_at_us = ?2 WHERE run = ?1 AND ended_at_us IS NULL";
    connection.prepare_cached(sql)?.execute(params![held.run, start.now_us])?;
    Ok(())
}

fn insert_run(connection: &Connection, start: &RunStart, fence: u64) -> StoreResult<i64> {
    let sql = "INSERT INTO run (pipeline, holder, fence, scheduled_for_us, started_at_us) VALUES (?1, ?2, ?3, ?4, ?5)";
    let RunStart { pipeline, holder, scheduled_for_us, now_us, .. } = start;
    connection.prepare_cached(sql)?.execute(params![pipeline, holder, signed(fence)?, scheduled_for_us, now_us])?;
    Ok(connection.last_insert_rowid())
}

fn store_lease(connection: &Connection, start: &RunStart, run: i64, fence: u64) -> StoreResult<()> {
    let sql = "INSERT INTO lease (pipeline, run, fence, holder, taken_at_us, expires_at_us, is_released)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)
        ON CONFLICT (pipeline) DO UPDATE SET run = excluded.run, fence = excluded.fence, holder = excluded.holder,
            taken_at_us = excluded.taken_at_us, expires_at_us = excluded.expires_at_us, is_released = 0";
    let RunStart { pipeline, holder, now_us, lease_ms, .. } = start;
    let expires_at_us = expiry(*now_us, *lease_ms);
    connection.prepare_cached(sql)?.execute(params![pipeline, run, signed(fence)?, holder, now_us, expires_at_us])?;
    Ok(())
}

fn expiry(now_us: i64, lease_ms: u64) -> i64 {
    now_us.saturating_add(i64::try_from(lease_ms).unwrap_or(i64::MAX).saturating_mul(1_000))
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        run: row.get(0)?,
        pipeline: row.get(1)?,
        holder: row.get(2)?,
        fence: count_at(row, 3)?,
        scheduled_for_us: row.get(4)?,
        started_at_us: row.get(5)?,
        ended_at_us: row.get(6)?,
        outcome: row.get(7)?,
        report_json: row.get(8)?,
    })
}
