//! The errors of the ledger: which failure of the store means what to the person who must act. One page per code in
//! `schemas/errors/`. Messages name files, pipelines and runs, never a value of a record.

use std::path::Path;

use affluent_model::error::Retry;
use affluent_model::{Error, Result};
use rusqlite::ErrorCode;

use crate::contract::runs::{Lease, LeaseRow};

/// Milliseconds before a busy ledger is worth another try.
const BUSY_RETRY_MS: u64 = 1_000;

/// A failure inside this crate: of the driver, or a refusal of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Driver(#[from] rusqlite::Error),
    #[error(transparent)]
    Refused(#[from] Error),
}

pub(crate) type StoreResult<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// The failure as the rest of the runtime sees it; `path` = the ledger's file.
    pub(crate) fn into_model(self, path: &Path) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Driver(error) => driver_error(&error, path),
        }
    }
}

/// `E0700`: the file is something else.
pub(crate) fn foreign(path: &Path, why: &str) -> Error {
    Error::configuration("E0700", format!("`{}` is not a ledger of Affluent: {why}", path.display()))
        .help("point `ledger` in affluent.yaml at another file, or move this one away")
}

/// `E0701`: the file was written by a later version.
pub(crate) fn newer(path: &Path, found: i64, known: i64) -> Error {
    let message = format!("`{}` has ledger version `{found}`, this program knows up to `{known}`", path.display());
    Error::configuration("E0701", message)
        .help("use the newer affluent that wrote it; a ledger is never taken back to an older version")
}

/// `E0702`: the file is damaged.
pub(crate) fn damaged(path: &Path, what: &str) -> Error {
    Error::external("E0702", format!("the ledger `{}` is damaged: {what}", path.display()))
        .retry(Retry::Never)
        .help("restore the ledger from a backup taken together with the lake; nothing was written")
}

/// `E0710`: the file cannot be opened, read or written.
pub(crate) fn unreachable(path: &Path, what: &str) -> Error {
    Error::external("E0710", format!("the ledger `{}` cannot be used: {what}", path.display()))
        .help("check that the directory exists, that this user may write to it and that the disk is well")
}

/// `E0705`: another run of the pipeline is alive.
pub(crate) fn already_running(pipeline: &str, held: &LeaseRow, now_us: i64) -> Error {
    let left_ms = u64::try_from(held.expires_at_us.saturating_sub(now_us) / 1_000).unwrap_or(0);
    let since_s = now_us.saturating_sub(held.taken_at_us) / 1_000_000;
    let holder = &held.holder;
    Error::external("E0705", format!("pipeline `{pipeline}` is run by `{holder}` since {since_s} s (run `{}`)", held.run))
        .retry(Retry::After(left_ms))
        .help(format!("wait for it to end; if that process is gone, its lease ends in {} s", left_ms / 1_000))
}

/// `E0706`: a newer run took the pipeline.
pub(crate) fn lease_lost(lease: &Lease) -> Error {
    let Lease { run, pipeline, fence } = lease;
    Error::external("E0706", format!("run `{run}` of pipeline `{pipeline}` no longer holds its lease (fence `{fence}`)"))
        .retry(Retry::Never)
        .help("a later run took the pipeline because this one did not renew its lease in time; nothing of this step was written")
}

/// `E0707`: erased, but an older copy may still be in the log.
pub(crate) fn log_not_emptied(path: &Path) -> Error {
    let message = format!("keys were erased, but the log of `{}` is in use by a reader and could not be emptied", path.display());
    Error::external("E0707", message).retry(Retry::After(BUSY_RETRY_MS)).help("repeat the erasure when other commands have ended")
}

/// `E0708`: a value is over its limit.
pub(crate) fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Error {
    Error::external("E0708", format!("{what} has `{bytes}` bytes, at most `{bytes_max}` are kept"))
        .retry(Retry::Never)
        .help("the plugin must keep less; report it to its author")
}

/// `E0709`: the numbers of identifier kinds are used up.
pub(crate) fn too_many_kinds() -> Error {
    Error::configuration("E0709", format!("the ledger has `{}` identifier kinds, there is no number for another", u16::MAX))
        .help("use fewer kinds of identifiers in profiles/identity.yaml")
}

/// `E0711`: another pipeline stored the same subject first.
pub(crate) fn node_conflict() -> Error {
    Error::external("E0711", "another pipeline stored the same subject in the meantime; nothing of this epoch was written")
        .help("run the pipeline again: it goes on from its last checkpoint")
}

/// The size, unless it is over its limit.
pub(crate) fn check_bytes(what: &str, bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes > bytes_max { Err(too_large(what, bytes, bytes_max)) } else { Ok(()) }
}

fn driver_error(error: &rusqlite::Error, path: &Path) -> Error {
    let text = error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::NotADatabase => foreign(path, "it is not a database of SQLite"),
            ErrorCode::DatabaseCorrupt => damaged(path, &text),
            ErrorCode::DiskFull => disk_full(path),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => busy(path),
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::FileLockingProtocolFailed => unreachable(path, &text),
            _ => Error::bug(format!("the ledger refused a statement: {text}")),
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => damaged(path, &text),
        _ => Error::bug(format!("the ledger was asked wrongly: {text}")),
    }
}

/// `E0703`.
fn disk_full(path: &Path) -> Error {
    Error::external("E0703", format!("the disk of the ledger `{}` is full; nothing of this step was written", path.display()))
        .help("free some space, then run the command again: it goes on from the last checkpoint")
}

/// `E0704`.
fn busy(path: &Path) -> Error {
    Error::external("E0704", format!("another process keeps the ledger `{}` busy", path.display()))
        .retry(Retry::After(BUSY_RETRY_MS))
        .help("run again when the other command has ended; several machines on one ledger need PostgreSQL")
}
