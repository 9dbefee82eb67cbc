//! The ledger in one SQLite file: one connection that writes, behind a lock, and as many that read as are asked for at
//! once. Every public method is one transaction. The modules beside this one each implement one trait of the contract.

mod audit;
mod blocks;
mod bordering;
mod bulk;
mod codec;
mod computed;
mod credentials;
mod dead_letters;
mod decisions;
mod edges;
mod erasure_calls;
mod erasures;
mod filter;
mod graph;
mod identity;
mod images;
mod ingest;
mod keys;
mod known_keys;
mod levels;
mod links;
mod nodes;
mod numbered;
mod numbering;
mod open;
mod outbox;
mod packing;
mod pieces;
mod plan;
mod plugin_values;
mod profiles;
mod relinking;
mod resolution;
mod runs;
mod schema;
mod seeking;
mod settle;
mod sorting;
mod suppressions;
mod unknown;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::contract::Ledger;
use crate::contract::runs::Lease;
use crate::error::{StoreError, StoreResult, lease_lost};

use known_keys::KnownKeys;

/// Idle readers that are kept open; each holds a cache of a few MiB.
const IDLE_READERS_MAX: usize = 4;

/// New nodes or edges of a transaction from which on it goes past the log: some ten megabytes.
const BULK_ROWS_MIN: usize = 50_000;

/// A ledger in one SQLite file. Cheap to share; several processes on one machine may open the same file.
pub struct SqliteLedger {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Locked after the writer, if both are.
    known_keys: Mutex<KnownKeys>,
}

impl SqliteLedger {
    /// Opens the ledger, or makes it where there is none; its directory must exist. The file is readable and writable for
    /// its owner only, and older versions are brought up to date.
    ///
    /// # Errors
    /// `E0700` the file is something else; `E0701` it was written by a newer version; `E0702` it is damaged; `E0704` another
    /// process keeps it busy; `E0710` it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let writer = open::open_writer(path)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(writer), readers: Mutex::default(), known_keys: Mutex::default() })
    }

    /// Runs `work` on one consistent state.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> StoreResult<T>) -> Result<T> {
        let mut reader = self.take_reader()?;
        let result = (|| {
            let transaction = reader.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&transaction)
        })();
        self.return_reader(reader);
        result.map_err(|error: StoreError| error.into_model(&self.path))
    }

    /// Runs `work` in one durable transaction: all of it or nothing.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        commit(&mut writer, work).map_err(|error| error.into_model(&self.path))
    }

    /// As [`Self::write`], and whatever it deletes or replaces is overwritten in the file.
    fn write_keys<T>(&self, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        let result = open::overwrite_deleted(&writer, true).and_then(|()| commit(&mut writer, work));
        let restored = open::overwrite_deleted(&writer, false);
        result.and_then(|value| restored.map(|()| value)).map_err(|error| error.into_model(&self.path))
    }

    /// As [`Self::write`], but only as durable as whatever is written next: should the power fail before that, it was not
    /// written. For what means nothing by itself, many times a second.
    fn write_ahead<T>(&self, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        let result = open::wait_for_disk(&writer, false).and_then(|()| commit(&mut writer, work));
        let restored = open::wait_for_disk(&writer, true);
        result.and_then(|value| restored.map(|()| value)).map_err(|error| error.into_model(&self.path))
    }

    /// As [`Self::write`], refused once the lease is lost.
    fn write_fenced<T>(&self, lease: &Lease, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> Result<T> {
        self.write(|transaction| {
            require_lease(transaction, lease)?;
            work(transaction)
        })
    }

    /// As [`Self::write_fenced`]; many `rows` go past the log, where nobody else has the file open.
    fn write_rows<T>(&self, lease: &Lease, rows: usize, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> Result<T> {
        if rows < BULK_ROWS_MIN {
            return self.write_fenced(lease, work);
        }
        let mut writer = self.lock_writer();
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let result = open::leave_log(&writer).and_then(|has_left| {
            let result = commit(&mut writer, |transaction| {
                require_lease(transaction, lease)?;
                work(transaction)
            });
            if has_left {
                // Where that fails, the next that opens the file or writes many rows sees to it; what was committed is there.
                open::keep_log(&writer).ok();
            }
            result
        });
        result.map_err(|error| error.into_model(&self.path))
    }

    /// A panic elsewhere cannot leave the connection in a transaction (it is rolled back on drop), so a poisoned lock is
    /// as good as any.
    fn lock_writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that writes, unless it is busy: that may take seconds.
    fn try_lock_writer(&self) -> Option<MutexGuard<'_, Connection>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock_known_keys(&self) -> MutexGuard<'_, KnownKeys> {
        self.known_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_reader(&self) -> Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open::open_reader(&self.path), Ok)
    }

    fn return_reader(&self, reader: Connection) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS_MAX {
            readers.push(reader);
        }
    }
}

impl Ledger for SqliteLedger {}

fn commit<T>(writer: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> StoreResult<T>) -> StoreResult<T> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn require_lease(transaction: &Transaction<'_>, lease: &Lease) -> StoreResult<()> {
    let held = transaction
        .prepare_cached("SELECT 1 FROM lease WHERE pipeline = ?1 AND run = ?2 AND fence = ?3 AND NOT is_released")?
        .exists(params![lease.pipeline, lease.run, signed(lease.fence)?])?;
    if held { Ok(()) } else { Err(lease_lost(lease).into()) }
}

/// The next value of a named counter, from 1, after adding `by`.
fn advance_counter(connection: &Connection, name: &str, by: i64) -> StoreResult<i64> {
    let sql = "INSERT INTO counter (name, value) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value";
    Ok(connection.prepare_cached(sql)?.query_row(params![name, by], |row| row.get(0))?)
}

/// The number that stands for a word that repeats in many rows; made when it is new.
fn word_number(connection: &Connection, text: &str) -> StoreResult<i64> {
    let found =
        connection.prepare_cached("SELECT word FROM word WHERE text = ?1")?.query_row([text], |row| row.get(0)).optional()?;
    if let Some(number) = found {
        return Ok(number);
    }
    connection.prepare_cached("INSERT INTO word (text) VALUES (?1)")?.execute([text])?;
    Ok(connection.last_insert_rowid())
}

/// A count as SQLite stores it.
fn signed(value: u64) -> StoreResult<i64> {
    i64::try_from(value).map_err(|_| Error::bug("a count over 2^63 cannot come from counting").into())
}

/// A column that holds a count.
fn count_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// How many rows at most, as SQLite takes it.
fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// All rows of a statement.
fn collect<T>(rows: impl Iterator<Item = rusqlite::Result<T>>) -> StoreResult<Vec<T>> {
    Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
}
