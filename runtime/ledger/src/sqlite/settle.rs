//! What becomes of the rows of a batch. One transaction moves them to the image, to the refusals or back to the pending
//! rows, and lets go of newer rows that waited behind them.

use std::collections::{BTreeMap, HashMap, HashSet};

use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;
use affluent_model::{Error, Result};
use rusqlite::{Connection, params};

use super::computed::profile_bytes;
use super::dead_letters::insert_dead_letters;
use super::outbox::{put_images, put_in_doubt, require_batch};
use super::pieces::{self, PieceOf, PieceState, operation_number};
use super::{SqliteLedger, images, word_number};
use crate::contract::outbox::{BatchRelease, OutboxBatch, OutboxRow, RowOutcome, RowResult};
use crate::contract::runs::Lease;
use crate::error::StoreResult;

/// What to do with one row.
#[derive(Debug, Clone, Copy)]
enum Verdict<'a> {
    Accepted {
        remote_id: Option<&'a str>,
    },
    Refused {
        is_skip: bool,
        code: &'a str,
        message: &'a str,
    },
    /// `was_sent`: counts as an attempt, and the key is in doubt.
    Again {
        at_us: i64,
        was_sent: bool,
    },
    /// No answer yet: stays in flight.
    Open,
}

pub(super) fn acknowledge(ledger: &SqliteLedger, lease: &Lease, batch: i64, outcomes: &[RowOutcome], now_us: i64) -> Result<()> {
    let by_key: HashMap<ProfileId, &RowResult> = outcomes.iter().map(|outcome| (outcome.key, &outcome.result)).collect();
    ledger.write_fenced(lease, |transaction| {
        let settlement = Settlement::load(transaction, lease, batch, now_us)?;
        settlement.require_keys(outcomes)?;
        settlement.settle(&|row| by_key.get(&row.key).map_or(Verdict::Open, |result| verdict_of(result)))?;
        let letters = outcomes.iter().filter_map(|outcome| match &outcome.result {
            RowResult::Failed { dead_letter } => Some(dead_letter),
            _ => None,
        });
        insert_dead_letters(transaction, lease, letters)
    })
}

pub(super) fn release(ledger: &SqliteLedger, lease: &Lease, batch: i64, release: &BatchRelease) -> Result<()> {
    let BatchRelease { retry_at_us: at_us, was_sent } = *release;
    ledger.write_fenced(lease, |transaction| {
        let settlement = Settlement::load(transaction, lease, batch, at_us)?;
        settlement.settle(&|_| Verdict::Again { at_us, was_sent })
    })
}

fn verdict_of(result: &RowResult) -> Verdict<'_> {
    match result {
        RowResult::Accepted { remote_id } => Verdict::Accepted { remote_id: remote_id.as_deref() },
        RowResult::Skipped { code, message } => Verdict::Refused { is_skip: true, code, message },
        RowResult::Failed { dead_letter } => {
            Verdict::Refused { is_skip: false, code: &dead_letter.code, message: &dead_letter.message }
        }
        RowResult::Retry { at_us } => Verdict::Again { at_us: *at_us, was_sent: true },
    }
}

/// A batch being settled.
struct Settlement<'a> {
    connection: &'a Connection,
    sync: i64,
    batch: OutboxBatch,
    /// The pieces that held its rows.
    pieces: Vec<i64>,
    has_refusals: bool,
    now_us: i64,
}

impl<'a> Settlement<'a> {
    fn load(connection: &'a Connection, lease: &Lease, batch: i64, now_us: i64) -> StoreResult<Self> {
        let mut batch = require_batch(connection, lease, batch)?;
        let sync = word_number(connection, &lease.pipeline)?;
        let mut held = Vec::new();
        for piece in pieces::pieces_of_batch(connection, batch.batch)? {
            batch.rows.append(&mut pieces::read_rows(connection, &piece)?);
            held.push(piece.piece);
        }
        let has_refusals = connection.prepare_cached("SELECT 1 FROM refusal WHERE sync = ?1 LIMIT 1")?.exists([sync])?;
        Ok(Self { connection, sync, batch, pieces: held, has_refusals, now_us })
    }

    fn require_keys(&self, outcomes: &[RowOutcome]) -> StoreResult<()> {
        let keys: HashSet<ProfileId> = self.batch.rows.iter().map(|row| row.key).collect();
        match outcomes.iter().find(|outcome| !keys.contains(&outcome.key)) {
            None => Ok(()),
            Some(outcome) => Err(Error::bug(format!("profile `{}` is not in batch `{}`", outcome.key, self.batch.batch)).into()),
        }
    }

    fn settle<'v>(&self, verdict: &dyn Fn(&OutboxRow) -> Verdict<'v>) -> StoreResult<()> {
        let mut rows: Vec<(&OutboxRow, Verdict<'v>)> = self.batch.rows.iter().map(|row| (row, verdict(row))).collect();
        let open: Vec<OutboxRow> =
            rows.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Open)).map(|(row, _)| (*row).clone()).collect();
        let superseded = self.release_waiting(&rows)?;
        self.send_again(&rows, &superseded)?;
        rows.sort_unstable_by_key(|(row, _)| row.key);
        let mut held: Vec<(&OutboxRow, Option<&str>)> = Vec::new();
        for (row, verdict) in rows {
            if let (RowOperation::Upsert, Verdict::Accepted { remote_id }) = (row.operation, verdict) {
                held.push((row, remote_id));
            }
            self.apply(row, verdict)?;
        }
        put_images(self.connection, self.sync, &held, self.now_us)?;
        for piece in &self.pieces {
            pieces::delete_piece(self.connection, *piece)?;
        }
        if open.is_empty() {
            let mut statement = self.connection.prepare_cached("DELETE FROM outbox_batch WHERE batch = ?1")?;
            statement.execute([self.batch.batch])?;
            return Ok(());
        }
        self.write(PieceState::InFlight, self.batch.operation, None, &open)
    }

    /// Makes the newer rows of settled keys pending and returns their keys.
    fn release_waiting(&self, rows: &[(&OutboxRow, Verdict<'_>)]) -> StoreResult<HashSet<ProfileId>> {
        let waiting = pieces::pieces_in(self.connection, self.sync, PieceState::Waiting)?;
        let mut released = HashSet::new();
        if waiting.is_empty() {
            return Ok(released);
        }
        let is_settled = |(_, verdict): &&(&OutboxRow, Verdict<'_>)| !matches!(verdict, Verdict::Open);
        let settled: HashSet<ProfileId> = rows.iter().filter(is_settled).map(|(row, _)| row.key).collect();
        for piece in waiting {
            let rows = pieces::read_rows(self.connection, &piece)?;
            let (free, held): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| settled.contains(&row.key));
            if free.is_empty() {
                continue;
            }
            released.extend(free.iter().map(|row| row.key));
            self.write(PieceState::Pending, piece.operation, None, &free)?;
            pieces::rewrite_piece(self.connection, &piece, &held)?;
        }
        Ok(released)
    }

    /// Puts rows back, unless a newer one took their place.
    fn send_again(&self, rows: &[(&OutboxRow, Verdict<'_>)], superseded: &HashSet<ProfileId>) -> StoreResult<()> {
        let mut by_time: BTreeMap<i64, Vec<OutboxRow>> = BTreeMap::new();
        for (row, verdict) in rows {
            if let Verdict::Again { at_us, was_sent } = verdict
                && !superseded.contains(&row.key)
            {
                let mut again = (*row).clone();
                again.attempts = again.attempts.saturating_add(u32::from(*was_sent));
                by_time.entry(*at_us).or_default().push(again);
            }
        }
        for (at_us, rows) in by_time {
            self.write(PieceState::Pending, self.batch.operation, Some(at_us), &rows)?;
        }
        Ok(())
    }

    fn write(&self, state: PieceState, operation: RowOperation, retry_at_us: Option<i64>, rows: &[OutboxRow]) -> StoreResult<()> {
        let batch = (state == PieceState::InFlight).then_some(self.batch.batch);
        let of = PieceOf { sync: self.sync, state, operation, batch, retry_at_us };
        pieces::write_rows(self.connection, of, rows, usize::MAX)
    }

    fn apply(&self, row: &OutboxRow, verdict: Verdict<'_>) -> StoreResult<()> {
        match verdict {
            Verdict::Accepted { .. } => self.accept(row),
            Verdict::Refused { is_skip, code, message } => self.refuse(row, is_skip, code, message),
            Verdict::Again { was_sent: true, .. } => put_in_doubt(self.connection, self.sync, row, self.now_us),
            Verdict::Again { was_sent: false, .. } => self.doubt_earlier(row),
            Verdict::Open => Ok(()),
        }
    }

    /// Of a row that is held, the image is written with those of the whole batch.
    fn accept(&self, row: &OutboxRow) -> StoreResult<()> {
        if self.has_refusals {
            let mut statement = self.connection.prepare_cached("DELETE FROM refusal WHERE sync = ?1 AND key = ?2")?;
            statement.execute(params![self.sync, profile_bytes(row.key)])?;
        }
        if row.operation == RowOperation::Delete {
            images::remove(self.connection, self.sync, row.key)?;
        }
        Ok(())
    }

    fn refuse(&self, row: &OutboxRow, is_skip: bool, code: &str, message: &str) -> StoreResult<()> {
        let sql = "INSERT OR REPLACE INTO refusal (sync, key, operation, hash, attempts, is_skip, code, message, at_us)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let (key, operation, attempts) =
            (profile_bytes(row.key), operation_number(row.operation), row.attempts.saturating_add(1));
        let new = params![self.sync, key, operation, row.payload_hash, attempts, is_skip, code, message, self.now_us];
        self.connection.prepare_cached(sql)?.execute(new)?;
        self.doubt_earlier(row)
    }

    /// The answer is to the last hand-over; what became of the ones before it nobody has heard.
    fn doubt_earlier(&self, row: &OutboxRow) -> StoreResult<()> {
        if self.batch.attempts > 1 { put_in_doubt(self.connection, self.sync, row, self.now_us) } else { Ok(()) }
    }
}
