//! Pieces of the outbox: rows of one sync, operation and state that are stored together. A row moves between states by
//! moving its piece, or by being written into another one.

use affluent_model::Error;
use affluent_model::batch::RowOperation;
use rusqlite::{Connection, Row, params};

use super::codec::{self, Head};
use super::collect;
use crate::contract::outbox::OutboxRow;
use crate::error::{StoreError, StoreResult};

/// Bytes of payloads in a piece: a thousand rows of a kilobyte.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Where the rows of a piece stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceState {
    /// Of a plan that is not in force yet.
    Staged,
    Pending,
    /// Behind a row of the same key that is in flight.
    Waiting,
    InFlight,
}

/// A piece without its rows.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) piece: i64,
    pub(super) operation: RowOperation,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// What a piece to be written belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceOf {
    pub(super) sync: i64,
    pub(super) state: PieceState,
    pub(super) operation: RowOperation,
    pub(super) batch: Option<i64>,
    pub(super) retry_at_us: Option<i64>,
}

const COLUMNS: &str = "piece, operation, rows, bytes";

impl PieceState {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Staged => 0,
            Self::Pending => 1,
            Self::Waiting => 2,
            Self::InFlight => 3,
        }
    }
}

/// Pieces of a sync in a state, oldest first.
pub(super) fn pieces_in(connection: &Connection, sync: i64, state: PieceState) -> StoreResult<Vec<Piece>> {
    let sql = format!("SELECT {COLUMNS} FROM outbox_piece WHERE sync = ?1 AND state = ?2 ORDER BY piece");
    collect(connection.prepare_cached(&sql)?.query_map([sync, state.number()], piece_row)?)
}

/// Up to `limit` pending pieces of one operation that may be sent now, oldest first.
pub(super) fn due_pieces(
    connection: &Connection,
    sync: i64,
    operation: RowOperation,
    now_us: i64,
    limit: i64,
) -> StoreResult<Vec<Piece>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox_piece
        WHERE sync = ?1 AND state = ?2 AND operation = ?3 AND (retry_at_us IS NULL OR retry_at_us <= ?4)
        ORDER BY piece LIMIT ?5"
    );
    let wanted = params![sync, PieceState::Pending.number(), operation_number(operation), now_us, limit];
    collect(connection.prepare_cached(&sql)?.query_map(wanted, piece_row)?)
}

/// Pieces of a batch, in the order of its rows.
pub(super) fn pieces_of_batch(connection: &Connection, batch: i64) -> StoreResult<Vec<Piece>> {
    let sql = format!("SELECT {COLUMNS} FROM outbox_piece WHERE batch = ?1 ORDER BY piece");
    collect(connection.prepare_cached(&sql)?.query_map([batch], piece_row)?)
}

/// The rows of a piece.
pub(super) fn read_rows(connection: &Connection, piece: &Piece) -> StoreResult<Vec<OutboxRow>> {
    with_body(connection, piece, |body| codec::decode(body, piece.operation))
}

/// What a plan compares of the rows of a piece.
pub(super) fn read_heads(connection: &Connection, piece: &Piece) -> StoreResult<Vec<Head>> {
    with_body(connection, piece, codec::decode_heads)
}

/// Writes rows into new pieces of at most `rows_per_piece` rows.
pub(super) fn write_rows(connection: &Connection, of: PieceOf, rows: &[OutboxRow], rows_per_piece: usize) -> StoreResult<()> {
    let mut rest = rows;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at_checked(piece_end(rest, rows_per_piece)).unwrap_or((rest, &[]));
        write_piece(connection, of, piece)?;
        rest = after;
    }
    Ok(())
}

/// Replaces the rows of a piece; without rows it is removed.
pub(super) fn rewrite_piece(connection: &Connection, piece: &Piece, rows: &[OutboxRow]) -> StoreResult<()> {
    if rows.is_empty() {
        return delete_piece(connection, piece.piece);
    }
    let sql = "UPDATE outbox_piece SET rows = ?2, bytes = ?3 WHERE piece = ?1";
    connection.prepare_cached(sql)?.execute(params![piece.piece, rows.len() as i64, payload_bytes(rows) as i64])?;
    let sql = "UPDATE outbox_body SET body = ?2 WHERE piece = ?1";
    connection.prepare_cached(sql)?.execute(params![piece.piece, codec::encode(rows)?])?;
    Ok(())
}

/// Moves a piece as it is.
pub(super) fn move_piece(connection: &Connection, piece: i64, state: PieceState, batch: Option<i64>) -> StoreResult<()> {
    let sql = "UPDATE outbox_piece SET state = ?2, batch = ?3, retry_at_us = NULL WHERE piece = ?1";
    connection.prepare_cached(sql)?.execute(params![piece, state.number(), batch])?;
    Ok(())
}

pub(super) fn delete_piece(connection: &Connection, piece: i64) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM outbox_body WHERE piece = ?1")?.execute([piece])?;
    connection.prepare_cached("DELETE FROM outbox_piece WHERE piece = ?1")?.execute([piece])?;
    Ok(())
}

/// How many rows, from the first, stay within the limits; at least one.
pub(super) fn rows_within(rows: &[OutboxRow], rows_max: usize, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fitting = rows.iter().take(rows_max).take_while(|row| {
        bytes += row_bytes(row);
        bytes <= bytes_max
    });
    fitting.count()
}

pub(super) fn operation_number(operation: RowOperation) -> i64 {
    match operation {
        RowOperation::Upsert => 0,
        RowOperation::Delete => 1,
    }
}

pub(super) fn operation_at(row: &Row<'_>, column: usize) -> rusqlite::Result<RowOperation> {
    match row.get(column)? {
        0 => Ok(RowOperation::Upsert),
        1 => Ok(RowOperation::Delete),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(column, other)),
    }
}

fn piece_end(rows: &[OutboxRow], rows_per_piece: usize) -> usize {
    rows_within(rows, rows_per_piece, PIECE_BYTES_MAX).max(1)
}

fn write_piece(connection: &Connection, of: PieceOf, rows: &[OutboxRow]) -> StoreResult<()> {
    let sql = "INSERT INTO outbox_piece (sync, state, operation, batch, retry_at_us, rows, bytes)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let PieceOf { sync, state, operation, batch, retry_at_us } = of;
    let (rows_count, bytes) = (rows.len() as i64, payload_bytes(rows) as i64);
    let new = params![sync, state.number(), operation_number(operation), batch, retry_at_us, rows_count, bytes];
    connection.prepare_cached(sql)?.execute(new)?;
    let piece = connection.last_insert_rowid();
    let sql = "INSERT INTO outbox_body (piece, body) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![piece, codec::encode(rows)?])?;
    Ok(())
}

fn payload_bytes(rows: &[OutboxRow]) -> usize {
    rows.iter().map(row_bytes).sum()
}

fn row_bytes(row: &OutboxRow) -> usize {
    row.payload_sealed.len() + row.match_sealed.len()
}

fn with_body<T>(connection: &Connection, piece: &Piece, read: impl FnOnce(&[u8]) -> Option<Vec<T>>) -> StoreResult<Vec<T>> {
    let mut statement = connection.prepare_cached("SELECT body FROM outbox_body WHERE piece = ?1")?;
    let rows = statement.query_row([piece.piece], |row| Ok(read(row.get_ref(0)?.as_blob()?)))?;
    match rows {
        Some(rows) if rows.len() == piece.rows => Ok(rows),
        _ => Err(damaged_piece(piece)),
    }
}

/// Reported as damage of the file: only this crate writes bodies.
fn damaged_piece(piece: &Piece) -> StoreError {
    let what = Error::bug(format!("piece `{}` of the outbox does not hold the rows that were written", piece.piece));
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(what)).into()
}

fn piece_row(row: &Row<'_>) -> rusqlite::Result<Piece> {
    Ok(Piece { piece: row.get(0)?, operation: operation_at(row, 1)?, rows: size_at(row, 2)?, bytes: size_at(row, 3)? })
}

fn size_at(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    let value: i64 = row.get(column)?;
    usize::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
