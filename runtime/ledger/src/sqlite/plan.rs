//! Plans of the outbox: staged in pieces that nobody sees, then made the truth by one small transaction. What an older plan
//! left is withdrawn, kept or replaced, row by row; nothing is compared when nothing was left.

use std::collections::HashMap;

use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::Head;
use super::pieces::{self, Piece, PieceOf, PieceState};
use super::{SqliteLedger, count_at, signed, word_number};
use crate::contract::outbox::{NewOutboxRow, OutboxPlan, OutboxRow};
use crate::contract::runs::Lease;
use crate::error::StoreResult;

/// Rows in a piece, whatever the batches of a destination are: a split rewrites the rest of a piece.
const PIECE_ROWS_MAX: usize = 1_000;

/// What identifies the desired state of a key.
type Desired = (RowOperation, [u8; 16]);

pub(super) fn begin(ledger: &SqliteLedger, lease: &Lease, batch_rows: usize) -> Result<OutboxPlan> {
    ledger.write_fenced(lease, |transaction| {
        let sync = word_number(transaction, &lease.pipeline)?;
        for piece in pieces::pieces_in(transaction, sync, PieceState::Staged)? {
            pieces::delete_piece(transaction, piece.piece)?;
        }
        let sql = "INSERT INTO sync (sync, planned, committed) VALUES (?1, 1, 0)
            ON CONFLICT (sync) DO UPDATE SET planned = planned + 1 RETURNING planned";
        let version = transaction.prepare_cached(sql)?.query_row([sync], |row| count_at(row, 0))?;
        Ok(OutboxPlan { version, sync, rows_per_piece: batch_rows.clamp(1, PIECE_ROWS_MAX) })
    })
}

pub(super) fn add_rows(ledger: &SqliteLedger, lease: &Lease, plan: &OutboxPlan, rows: &[NewOutboxRow]) -> Result<()> {
    ledger.write_fenced(lease, |transaction| {
        require_open(transaction, plan)?;
        for operation in [RowOperation::Upsert, RowOperation::Delete] {
            let rows: Vec<OutboxRow> =
                rows.iter().filter(|row| row.operation == operation).map(|row| staged_row(row, plan.version)).collect();
            let of = PieceOf { sync: plan.sync, state: PieceState::Staged, operation, batch: None, retry_at_us: None };
            pieces::write_rows(transaction, of, &rows, plan.rows_per_piece)?;
        }
        Ok(())
    })
}

pub(super) fn commit(ledger: &SqliteLedger, lease: &Lease, plan: &OutboxPlan) -> Result<u64> {
    ledger.write_fenced(lease, |transaction| {
        require_open(transaction, plan)?;
        let in_flight = desired_in_flight(transaction, plan.sync)?;
        let mut older = Older::load(transaction, plan.sync)?;
        if in_flight.is_empty() && older.pieces.is_empty() {
            publish_all(transaction, plan.sync)?;
        } else {
            for piece in pieces::pieces_in(transaction, plan.sync, PieceState::Staged)? {
                publish(transaction, plan, &piece, &in_flight, &mut older)?;
            }
            older.withdraw(transaction)?;
        }
        let sql = "UPDATE sync SET committed = planned WHERE sync = ?1";
        transaction.prepare_cached(sql)?.execute([plan.sync])?;
        let sql = "SELECT coalesce(sum(rows), 0) FROM outbox_piece WHERE sync = ?1 AND state IN (?2, ?3)";
        let states = params![plan.sync, PieceState::Pending.number(), PieceState::Waiting.number()];
        Ok(transaction.prepare_cached(sql)?.query_row(states, |row| count_at(row, 0))?)
    })
}

fn require_open(connection: &Connection, plan: &OutboxPlan) -> StoreResult<()> {
    let sql = "SELECT planned = ?2 AND committed < ?2 FROM sync WHERE sync = ?1";
    let version = signed(plan.version)?;
    let is_open = connection.prepare_cached(sql)?.query_row([plan.sync, version], |row| row.get(0)).optional()?;
    if is_open == Some(true) {
        return Ok(());
    }
    Err(Error::bug(format!("plan `{version}` of the outbox is not the one that was begun last")).into())
}

fn staged_row(new: &NewOutboxRow, version: u64) -> OutboxRow {
    OutboxRow {
        key: new.key,
        operation: new.operation,
        payload_hash: new.payload_hash,
        idempotency_key: new.idempotency_key,
        payload_sealed: new.payload_sealed.clone(),
        match_sealed: new.match_sealed.clone(),
        version,
        attempts: new.attempts_before,
    }
}

fn desired_in_flight(connection: &Connection, sync: i64) -> StoreResult<HashMap<ProfileId, Desired>> {
    let mut desired = HashMap::new();
    for piece in pieces::pieces_in(connection, sync, PieceState::InFlight)? {
        let heads = pieces::read_heads(connection, &piece)?;
        desired.extend(heads.into_iter().map(|head| (head.key, (piece.operation, head.payload_hash))));
    }
    Ok(desired)
}

fn publish_all(connection: &Connection, sync: i64) -> StoreResult<()> {
    let sql = "UPDATE outbox_piece SET state = ?3 WHERE sync = ?1 AND state = ?2";
    let (staged, pending) = (PieceState::Staged.number(), PieceState::Pending.number());
    connection.prepare_cached(sql)?.execute([sync, staged, pending])?;
    Ok(())
}

/// Makes one staged piece pending, without the rows that are under way or planned already, and apart from those that wait.
fn publish(
    connection: &Connection,
    plan: &OutboxPlan,
    piece: &Piece,
    in_flight: &HashMap<ProfileId, Desired>,
    older: &mut Older,
) -> StoreResult<()> {
    let mut pending = Vec::with_capacity(piece.rows);
    let mut waiting = Vec::new();
    for row in pieces::read_rows(connection, piece)? {
        let desired = (row.operation, row.payload_hash);
        let under_way = in_flight.get(&row.key);
        if under_way == Some(&desired) || older.keep(row.key, desired) {
            continue;
        }
        if under_way.is_some() { waiting.push(row) } else { pending.push(row) }
    }
    let of = PieceOf { sync: plan.sync, state: PieceState::Waiting, operation: piece.operation, batch: None, retry_at_us: None };
    pieces::write_rows(connection, of, &waiting, plan.rows_per_piece)?;
    if pending.len() < piece.rows {
        pieces::rewrite_piece(connection, piece, &pending)?;
    }
    pieces::move_piece(connection, piece.piece, PieceState::Pending, None)
}

/// What older plans left to be sent, and which of it the new plan keeps.
struct Older {
    pieces: Vec<(Piece, Vec<bool>)>,
    /// Key → its desired state, piece and row.
    rows: HashMap<ProfileId, (Desired, usize, usize)>,
}

impl Older {
    fn load(connection: &Connection, sync: i64) -> StoreResult<Self> {
        let mut older = Self { pieces: Vec::new(), rows: HashMap::new() };
        for state in [PieceState::Pending, PieceState::Waiting] {
            for piece in pieces::pieces_in(connection, sync, state)? {
                let heads = pieces::read_heads(connection, &piece)?;
                older.add(piece, &heads);
            }
        }
        Ok(older)
    }

    fn add(&mut self, piece: Piece, heads: &[Head]) {
        let position = self.pieces.len();
        for (row, head) in heads.iter().enumerate() {
            self.rows.insert(head.key, ((piece.operation, head.payload_hash), position, row));
        }
        self.pieces.push((piece, vec![false; heads.len()]));
    }

    /// True when the key is planned with this very state already: that row stays, with its version and attempts.
    fn keep(&mut self, key: ProfileId, desired: Desired) -> bool {
        let Some((planned, piece, row)) = self.rows.get(&key) else {
            return false;
        };
        if *planned != desired {
            return false;
        }
        let kept = self.pieces.get_mut(*piece).and_then(|(_, kept)| kept.get_mut(*row));
        kept.is_some_and(|kept| {
            *kept = true;
            true
        })
    }

    /// Removes the rows that the new plan does not keep.
    fn withdraw(&self, connection: &Connection) -> StoreResult<()> {
        for (piece, kept) in &self.pieces {
            if kept.iter().all(|kept| *kept) {
                continue;
            }
            let rows = pieces::read_rows(connection, piece)?;
            let rows: Vec<OutboxRow> = rows.into_iter().zip(kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
            pieces::rewrite_piece(connection, piece, &rows)?;
        }
        Ok(())
    }
}
