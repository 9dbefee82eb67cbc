//! The outbox and the image: reading them, taking batches. Plans are in `plan`, outcomes in `settle`.

use std::collections::BTreeMap;

use affluent_model::identity::ProfileId;
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::bulk::{self, Insert};
use super::computed::{profile_bytes, profile_of};
use super::pieces::{self, Piece, PieceOf, PieceState, operation_at, operation_number};
use super::{SqliteLedger, count_at, images, plan, settle, word_number};
use crate::contract::outbox::{
    BatchRelease, ImageMove, ImageRow, NewOutboxRow, Outbox, OutboxBatch, OutboxCounts, OutboxPlan, OutboxRow, RefusalRow,
    RowOutcome, TakeBatch,
};
use crate::contract::runs::Lease;
use crate::error::{StoreError, StoreResult, check_bytes};

/// Bytes of the token of an import: an id or a URL of a remote system, as large as a state at most.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Pieces looked at for one batch; small ones are the rests of splits and retries.
const PIECES_PER_BATCH_MAX: i64 = 256;

impl Outbox for SqliteLedger {
    fn image(&self, sync: &str, visit: &mut dyn FnMut(ImageRow) -> Result<()>) -> Result<()> {
        self.read(|connection| match find_sync(connection, sync)? {
            Some(sync) => visit_image(connection, sync, visit),
            None => Ok(()),
        })
    }

    fn absorbed_images(&self, sync: &str) -> Result<Vec<(ProfileId, ProfileId)>> {
        self.read(|connection| images::absorbed(connection, find_sync(connection, sync)?))
    }

    fn move_images(&self, lease: &Lease, moves: &[ImageMove]) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sync = word_number(transaction, &lease.pipeline)?;
            images::shift(transaction, sync, moves)
        })
    }

    fn refusals(&self, sync: &str, visit: &mut dyn FnMut(RefusalRow) -> Result<()>) -> Result<()> {
        self.read(|connection| {
            let sql = "SELECT key, operation, hash, attempts, is_skip, code, message, at_us FROM refusal
                WHERE sync = ?1 ORDER BY key";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([find_sync(connection, sync)?])?;
            while let Some(row) = rows.next()? {
                visit(refusal_row(row)?)?;
            }
            Ok(())
        })
    }

    fn forget_refusals(&self, sync: &str) -> Result<u64> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM refusal WHERE sync = ?1")?;
            Ok(statement.execute([find_sync(transaction, sync)?])? as u64)
        })
    }

    fn begin_plan(&self, lease: &Lease, batch_rows: usize) -> Result<OutboxPlan> {
        plan::begin(self, lease, batch_rows)
    }

    fn add_plan_rows(&self, lease: &Lease, plan: &OutboxPlan, rows: &[NewOutboxRow]) -> Result<()> {
        plan::add_rows(self, lease, plan, rows)
    }

    fn commit_plan(&self, lease: &Lease, plan: OutboxPlan) -> Result<u64> {
        plan::commit(self, lease, &plan)
    }

    fn in_flight(&self, sync: &str) -> Result<Vec<OutboxBatch>> {
        self.read(|connection| {
            let sql = "SELECT batch, operation, token, attempts, taken_at_us FROM outbox_batch WHERE sync = ?1 ORDER BY batch";
            let mut statement = connection.prepare_cached(sql)?;
            let batches = super::collect(statement.query_map([find_sync(connection, sync)?], batch_row)?)?;
            batches.into_iter().map(|batch| with_rows(connection, batch)).collect()
        })
    }

    fn take_batch(&self, lease: &Lease, take: &TakeBatch) -> Result<Option<OutboxBatch>> {
        self.write_fenced(lease, |transaction| {
            let sync = word_number(transaction, &lease.pipeline)?;
            let due = pieces::due_pieces(transaction, sync, take.operation, take.now_us, PIECES_PER_BATCH_MAX)?;
            if due.is_empty() {
                return Ok(None);
            }
            let batch = insert_batch(transaction, sync, take)?;
            let rows = move_into_batch(transaction, sync, batch, take, &due)?;
            let TakeBatch { operation, now_us: taken_at_us, .. } = *take;
            Ok(Some(OutboxBatch { batch, operation, rows, token: None, attempts: 1, taken_at_us }))
        })
    }

    fn mark_resent(&self, lease: &Lease, batch: i64) -> Result<u32> {
        self.write_fenced(lease, |transaction| {
            require_batch(transaction, lease, batch)?;
            let sql = "UPDATE outbox_batch SET attempts = attempts + 1 WHERE batch = ?1 RETURNING attempts";
            Ok(transaction.prepare_cached(sql)?.query_row([batch], |row| row.get(0))?)
        })
    }

    fn set_token(&self, lease: &Lease, batch: i64, token: &str) -> Result<()> {
        check_bytes("the token of an import", token.len(), TOKEN_BYTES_MAX)?;
        self.write_fenced(lease, |transaction| {
            require_batch(transaction, lease, batch)?;
            let sql = "UPDATE outbox_batch SET token = ?2 WHERE batch = ?1";
            transaction.prepare_cached(sql)?.execute(params![batch, token])?;
            Ok(())
        })
    }

    fn acknowledge(&self, lease: &Lease, batch: i64, outcomes: &[RowOutcome], now_us: i64) -> Result<()> {
        settle::acknowledge(self, lease, batch, outcomes, now_us)
    }

    fn release_batch(&self, lease: &Lease, batch: i64, release: &BatchRelease) -> Result<()> {
        settle::release(self, lease, batch, release)
    }

    fn outbox_counts(&self, sync: &str) -> Result<OutboxCounts> {
        self.read(|connection| {
            let Some(sync) = find_sync(connection, sync)? else {
                return Ok(OutboxCounts::default());
            };
            let sql = "SELECT coalesce(sum(rows) FILTER (WHERE state IN (?2, ?3)), 0), coalesce(sum(rows) FILTER (WHERE state = ?4), 0),
                    (SELECT count(*) FROM refusal WHERE sync = ?1),
                    (SELECT count(*) FROM image WHERE sync = ?1 AND hash IS NOT NULL)
                FROM outbox_piece WHERE sync = ?1";
            let [pending, waiting, in_flight] =
                [PieceState::Pending, PieceState::Waiting, PieceState::InFlight].map(PieceState::number);
            Ok(connection.prepare_cached(sql)?.query_row([sync, pending, waiting, in_flight], |row| {
                let [pending, in_flight] = [count_at(row, 0)?, count_at(row, 1)?];
                Ok(OutboxCounts { pending, in_flight, refused: count_at(row, 2)?, image: count_at(row, 3)? })
            })?)
        })
    }

    fn next_retry_at(&self, sync: &str) -> Result<Option<i64>> {
        self.read(|connection| {
            let sql = "SELECT min(retry_at_us) FROM outbox_piece WHERE sync = ?1 AND state = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let pending = PieceState::Pending.number();
            Ok(statement.query_row(params![find_sync(connection, sync)?, pending], |row| row.get(0))?)
        })
    }

    fn reset_sync(&self, lease: &Lease) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sync = word_number(transaction, &lease.pipeline)?;
            if transaction.prepare_cached("SELECT 1 FROM outbox_batch WHERE sync = ?1")?.exists([sync])? {
                return Err(Error::bug("a sync is only reset when all its batches are settled").into());
            }
            for table in ["image", "refusal"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE sync = ?1"), [sync])?;
            }
            let sql = "DELETE FROM outbox_body WHERE piece IN (SELECT piece FROM outbox_piece WHERE sync = ?1)";
            transaction.execute(sql, [sync])?;
            transaction.execute("DELETE FROM outbox_piece WHERE sync = ?1", [sync])?;
            Ok(())
        })
    }
}

/// The number of a sync that has been planned or written to.
pub(super) fn find_sync(connection: &Connection, sync: &str) -> StoreResult<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT word FROM word WHERE text = ?1")?;
    Ok(statement.query_row([sync], |row| row.get(0)).optional()?)
}

/// The batch, if it is in flight for the lease's sync.
pub(super) fn require_batch(connection: &Connection, lease: &Lease, batch: i64) -> StoreResult<OutboxBatch> {
    let sql = "SELECT batch, operation, token, attempts, taken_at_us FROM outbox_batch
        WHERE batch = ?1 AND sync = (SELECT word FROM word WHERE text = ?2)";
    let found = connection.prepare_cached(sql)?.query_row(params![batch, lease.pipeline], batch_row).optional()?;
    found.ok_or_else(|| StoreError::from(Error::bug(format!("batch `{batch}` is not in flight for `{}`", lease.pipeline))))
}

fn visit_image(connection: &Connection, sync: i64, visit: &mut dyn FnMut(ImageRow) -> Result<()>) -> StoreResult<()> {
    let mut in_flight = rows_in_flight(connection, sync)?;
    let sql = "SELECT key, hash, version, remote_id, match_sealed FROM image WHERE sync = ?1 ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([sync])?;
    while let Some(row) = rows.next()? {
        let mut image = image_row(row)?;
        while let Some(sent) = in_flight.first_entry().filter(|sent| *sent.key() < image.key) {
            visit(doubtful(sent.remove()))?;
        }
        if in_flight.remove(&image.key).is_some() {
            image.hash = None;
        }
        visit(image)?;
    }
    for sent in in_flight.into_values() {
        visit(doubtful(sent))?;
    }
    Ok(())
}

fn rows_in_flight(connection: &Connection, sync: i64) -> StoreResult<BTreeMap<ProfileId, OutboxRow>> {
    let mut in_flight = BTreeMap::new();
    for piece in pieces::pieces_in(connection, sync, PieceState::InFlight)? {
        in_flight.extend(pieces::read_rows(connection, &piece)?.into_iter().map(|row| (row.key, row)));
    }
    Ok(in_flight)
}

/// What the destination may hold of a row that was never accepted.
fn doubtful(sent: OutboxRow) -> ImageRow {
    ImageRow { key: sent.key, hash: None, version: sent.version, remote_id: None, match_sealed: sent.match_sealed }
}

fn with_rows(connection: &Connection, mut batch: OutboxBatch) -> StoreResult<OutboxBatch> {
    for piece in pieces::pieces_of_batch(connection, batch.batch)? {
        batch.rows.append(&mut pieces::read_rows(connection, &piece)?);
    }
    Ok(batch)
}

fn insert_batch(connection: &Connection, sync: i64, take: &TakeBatch) -> StoreResult<i64> {
    let sql = "INSERT INTO outbox_batch (sync, operation, attempts, taken_at_us) VALUES (?1, ?2, 1, ?3)";
    connection.prepare_cached(sql)?.execute([sync, operation_number(take.operation), take.now_us])?;
    Ok(connection.last_insert_rowid())
}

/// Fills a batch from the oldest pieces; the last one is split where the limits say so.
fn move_into_batch(
    connection: &Connection,
    sync: i64,
    batch: i64,
    take: &TakeBatch,
    due: &[Piece],
) -> StoreResult<Vec<OutboxRow>> {
    let mut taken: Vec<OutboxRow> = Vec::new();
    let mut bytes = 0;
    for piece in due {
        let (rows_left, bytes_left) = (take.rows_max.saturating_sub(taken.len()), take.bytes_max.saturating_sub(bytes));
        let mut rows = pieces::read_rows(connection, piece)?;
        if piece.rows <= rows_left && piece.bytes <= bytes_left {
            pieces::move_piece(connection, piece.piece, PieceState::InFlight, Some(batch))?;
            bytes += piece.bytes;
            taken.append(&mut rows);
            continue;
        }
        let at_least = usize::from(taken.is_empty());
        let rest = rows.split_off(pieces::rows_within(&rows, rows_left, bytes_left).max(at_least));
        let of = PieceOf { sync, state: PieceState::InFlight, operation: take.operation, batch: Some(batch), retry_at_us: None };
        pieces::write_rows(connection, of, &rows, usize::MAX)?;
        if !rows.is_empty() {
            pieces::rewrite_piece(connection, piece, &rest)?;
        }
        taken.append(&mut rows);
        break;
    }
    Ok(taken)
}

/// Rows that were accepted, with the remote ids they were given, by key.
pub(super) fn put_images(
    connection: &Connection,
    sync: i64,
    rows: &[(&OutboxRow, Option<&str>)],
    now_us: i64,
) -> StoreResult<()> {
    let insert = Insert {
        into: "INSERT INTO image (sync, key, hash, version, remote_id, match_sealed, acknowledged_at_us)",
        columns: 7,
        then: "ON CONFLICT (sync, key) DO UPDATE SET hash = excluded.hash, version = excluded.version,
            remote_id = coalesce(excluded.remote_id, remote_id), match_sealed = excluded.match_sealed,
            acknowledged_at_us = excluded.acknowledged_at_us",
    };
    bulk::insert(connection, &insert, rows, |(sent, remote_id), row| {
        row.put(sync)?;
        row.put(profile_bytes(sent.key))?;
        row.put(sent.payload_hash)?;
        row.put(super::signed(sent.version)?)?;
        row.put(remote_id)?;
        row.put(&sent.match_sealed)?;
        Ok(row.put(now_us)?)
    })?;
    Ok(())
}

/// From now on it is not known what the destination holds under the key.
pub(super) fn put_in_doubt(connection: &Connection, sync: i64, row: &OutboxRow, now_us: i64) -> StoreResult<()> {
    let sql = "INSERT INTO image (sync, key, version, match_sealed, acknowledged_at_us) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (sync, key) DO UPDATE SET hash = NULL";
    let new = params![sync, profile_bytes(row.key), super::signed(row.version)?, row.match_sealed, now_us];
    connection.prepare_cached(sql)?.execute(new)?;
    Ok(())
}

fn batch_row(row: &Row<'_>) -> rusqlite::Result<OutboxBatch> {
    Ok(OutboxBatch {
        batch: row.get(0)?,
        operation: operation_at(row, 1)?,
        rows: Vec::new(),
        token: row.get(2)?,
        attempts: row.get(3)?,
        taken_at_us: row.get(4)?,
    })
}

fn image_row(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    Ok(ImageRow {
        key: profile_of(row.get(0)?),
        hash: row.get(1)?,
        version: count_at(row, 2)?,
        remote_id: row.get(3)?,
        match_sealed: row.get(4)?,
    })
}

fn refusal_row(row: &Row<'_>) -> rusqlite::Result<RefusalRow> {
    Ok(RefusalRow {
        key: profile_of(row.get(0)?),
        operation: operation_at(row, 1)?,
        payload_hash: row.get(2)?,
        attempts: row.get(3)?,
        is_skip: row.get(4)?,
        code: row.get(5)?,
        message: row.get(6)?,
        at_us: row.get(7)?,
    })
}
