//! Opening the file: its mode, its identity, its version and how SQLite is to keep it.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use affluent_model::Result;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::schema::{APPLICATION_ID, MIGRATIONS, Step};
use crate::error::{self, StoreError, StoreResult};

/// How long a transaction waits for that of another process: longer than the largest commit, shorter than a lease.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// And how long until it is tried again where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Prepared statements kept per connection: all that this crate has.
const STATEMENTS_MAX: usize = 160;
/// KiB of pages a connection keeps (negative, as SQLite takes it). Blocks are read and written in their order, so that little
/// is asked for again but which block is next; every page more is one that is faulted in. The writer's are written before the
/// end of its transaction once they are more.
const WRITER_CACHE_KIB: i64 = -8_192;
const READER_CACHE_KIB: i64 = -2_048;
/// Past the log a page that leaves memory before the end is written, and most that become free are taken up again.
const BULK_CACHE_KIB: i64 = -65_536;
/// Bytes of a page: a quarter of the calls of SQLite's usual 4 KiB for the bulk writes, and still little to rewrite for one
/// row. Files made with another size keep it.
const PAGE_BYTES: i64 = 16_384;
/// Pages in the write-ahead log before it is copied into the file: an epoch touches many pages of the index of node
/// keys, and a page touched by several epochs is copied once.
const CHECKPOINT_PAGES: i64 = (64 << 20) / PAGE_BYTES;
/// Bytes to which the log is cut back after it was copied.
const LOG_BYTES_MAX: i64 = 64 << 20;

/// Opens or makes the file, brings it up to date and returns the connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    claim_file(path)?;
    let mut connection = connect(path, WRITER_CACHE_KIB)?;
    prepare(&mut connection, path).map_err(|error| error.into_model(path))?;
    Ok(connection)
}

/// A connection that reads, of a file that is open already.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = connect(path, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| StoreError::from(error).into_model(path))?;
    Ok(connection)
}

/// Makes the file for its owner alone before SQLite sees it; the log and its index inherit its mode.
fn claim_file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => return Ok(()),
        Err(failure) if failure.kind() == ErrorKind::AlreadyExists => {}
        Err(failure) => return Err(error::unreachable(path, &failure.to_string())),
    }
    let metadata = fs::metadata(path).map_err(|failure| error::unreachable(path, &failure.to_string()))?;
    if !metadata.is_file() {
        return Err(error::foreign(path, "it is not a file"));
    }
    restrict(path, &metadata)
}

/// Takes the rights of everybody else away.
#[cfg(unix)]
fn restrict(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|failure| error::unreachable(path, &format!("others may read it, and that cannot be changed: {failure}")))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: &fs::Metadata) -> Result<()> {
    Ok(())
}

fn connect(path: &Path, cache_kib: i64) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    (|| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.pragma_update(None, "cache_size", cache_kib)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(connection)
    })()
    .map_err(|error: rusqlite::Error| StoreError::from(error).into_model(path))
}

fn prepare(connection: &mut Connection, path: &Path) -> StoreResult<()> {
    require_ours(connection, path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode = wait_to_keep_log(connection)?;
    if mode != "wal" {
        return Err(error::unreachable(path, &format!("its file system allows only journal mode `{mode}`")).into());
    }
    wait_for_disk(connection, true)?;
    overwrite_deleted(connection, false)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    migrate(connection, path)
}

/// Leaves the log: until [`keep_log`] a transaction goes into the file at once, and what it replaces there into a journal, by
/// which whoever opens the file next undoes it if it is cut off. Where much is appended that is half of what the log costs:
/// everything is written once, and not written, read and written again. Others wait for the end of the transaction, so nobody
/// else may have the file open: false where somebody has.
pub(super) fn leave_log(connection: &Connection) -> StoreResult<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let mode = connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match mode {
        Ok(mode) if mode == "delete" => {
            connection.pragma_update(None, "cache_size", BULK_CACHE_KIB)?;
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(error) if is_busy(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Keeps a log again. Whoever opens the file does, too.
pub(super) fn keep_log(connection: &Connection) -> rusqlite::Result<String> {
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
}

/// The same, after whoever writes past the log: SQLite does not wait for one that in turn waits for readers, as this one is, to
/// leave.
fn wait_to_keep_log(connection: &Connection) -> rusqlite::Result<String> {
    let began = Instant::now();
    loop {
        match keep_log(connection) {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT => std::thread::sleep(BUSY_PAUSE),
            kept => return kept,
        }
    }
}

/// Whether a transaction is on the disk before its commit returns. Else it gets there with the next one that waits, since
/// both are in one log, and in that order.
pub(super) fn wait_for_disk(connection: &Connection, waits: bool) -> StoreResult<()> {
    Ok(connection.pragma_update(None, "synchronous", if waits { "full" } else { "normal" })?)
}

/// How far deleted rows are overwritten: always where their page is written anyway, and with `everywhere` also in pages that
/// become free as a whole. Only keys need that; for sent payloads, which are sealed, it would double what is written.
pub(super) fn overwrite_deleted(connection: &Connection, everywhere: bool) -> StoreResult<()> {
    let setting = if everywhere { "on" } else { "fast" };
    Ok(connection.pragma_update(None, "secure_delete", setting)?)
}

/// A file of another program is left alone; an empty one becomes ours.
fn require_ours(connection: &Connection, path: &Path) -> StoreResult<()> {
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != 0 || objects != 0 {
        return Err(error::foreign(path, "it is a database of another program").into());
    }
    Ok(())
}

/// Applies the steps that the file has not seen, each counted by its version, in one transaction.
fn migrate(connection: &mut Connection, path: &Path) -> StoreResult<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(error::newer(path, found, known).into());
    }
    let applied = usize::try_from(found).map_err(|_| error::damaged(path, "its version is negative"))?;
    for step in MIGRATIONS.iter().skip(applied) {
        match step {
            Step::Sql(sql) => transaction.execute_batch(sql)?,
            Step::Rows(lay_out) => lay_out(&transaction)?,
        }
    }
    if found < known {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &Path) -> i64 {
        let connection = open_writer(path).unwrap();
        connection.query_row("SELECT count(*) FROM word", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn many_rows_that_are_cut_off_past_the_log_are_undone_by_who_opens_the_file_next() {
        let folder = tempfile::tempdir().unwrap();
        let [path, cut_off] = ["ledger", "cut_off"].map(|name| folder.path().join(name));
        let connection = open_writer(&path).unwrap();
        connection.execute_batch("INSERT INTO word (text) VALUES ('before')").unwrap();
        assert!(leave_log(&connection).unwrap());
        // More than the connection keeps in memory, so that most of it is in the file before the end.
        let many = "BEGIN IMMEDIATE; UPDATE word SET text = 'other';
            WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 6000)
            INSERT INTO word (text) SELECT n || hex(zeroblob(4000)) FROM number";
        connection.execute_batch(many).unwrap();
        for (from, to) in [("ledger", "cut_off"), ("ledger-journal", "cut_off-journal")] {
            fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
        }
        assert!(fs::metadata(&cut_off).unwrap().len() > 10 << 20, "nothing was written before the end");

        assert_eq!(rows(&cut_off), 1);
        let text: String = Connection::open(&cut_off).unwrap().query_row("SELECT text FROM word", [], |row| row.get(0)).unwrap();
        assert_eq!(text, "before");
        connection.execute_batch("COMMIT").unwrap();
        assert_eq!(keep_log(&connection).unwrap(), "wal");
        assert_eq!(rows(&path), 6_001);
    }

    #[test]
    fn the_log_is_kept_where_somebody_else_has_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let connection = open_writer(&path).unwrap();
        let other = open_writer(&path).unwrap();
        assert!(!leave_log(&connection).unwrap());
        drop(other);
        assert!(leave_log(&connection).unwrap());
    }
}
