//! Profiles that exist, as blocks of ids. New ids come last, since they begin with the time; how many there are is counted.

use rusqlite::{Connection, OptionalExtension};

use super::blocks::{Blocks, blocks};
use super::{advance_counter, count_at};
use crate::error::StoreResult;

const PROFILES: Blocks<16> = blocks!("profile", 16);
const COUNTER: &str = "profiles";

/// Adds ids, which are sorted; those that are there stay.
pub(super) fn add(connection: &Connection, ids: impl Iterator<Item = [u8; 16]>) -> StoreResult<()> {
    let added = PROFILES.merge(connection, ids, |_, _| false)?;
    advance_counter(connection, COUNTER, i64::try_from(added).unwrap_or(i64::MAX)).map(drop)
}

/// Takes ids out, which are sorted.
pub(super) fn remove(connection: &Connection, ids: &[[u8; 16]]) -> StoreResult<()> {
    let removed = PROFILES.remove(connection, ids)?;
    advance_counter(connection, COUNTER, -i64::try_from(removed).unwrap_or(i64::MAX)).map(drop)
}

pub(super) fn count(connection: &Connection) -> StoreResult<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([COUNTER], |row| count_at(row, 0)).optional()?.unwrap_or(0))
}
