//! Look-ups by a random value, in two levels. A few rows that go into a large table touch a page of it each, and every page is
//! written twice, so rows go into a small table first and move to the large one when they are a good part of it. Readers see
//! both as one, under the name of the look-up.

use rusqlite::{Connection, OptionalExtension};

use super::advance_counter;
use super::bulk::{self, Binder, Insert};
use super::open::overwrite_deleted;
use crate::error::StoreResult;

/// Recent rows move once they are more than this part of those in the base.
const BASE_ROWS_PER_RECENT: i64 = 8;

/// A look-up: its two tables, which count their rows under their names.
pub(super) struct Levels {
    base: &'static str,
    recent: &'static str,
    insert_base: Insert,
    insert_recent: Insert,
    /// Moves all rows, in the order of the key.
    move_rows: &'static str,
}

/// Where rows went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Then the base may hold the same rows.
    Recent,
    /// Then there are no recent ones.
    Base,
}

macro_rules! levels {
    ($table:literal, $columns:literal, $count:literal) => {
        Levels {
            base: concat!($table, "_base"),
            recent: concat!($table, "_recent"),
            insert_base: Insert {
                into: concat!("INSERT OR IGNORE INTO ", $table, "_base (", $columns, ")"),
                columns: $count,
                then: "",
            },
            insert_recent: Insert {
                into: concat!("INSERT OR IGNORE INTO ", $table, "_recent (", $columns, ")"),
                columns: $count,
                then: "",
            },
            move_rows: concat!(
                "INSERT OR IGNORE INTO ",
                $table,
                "_base (",
                $columns,
                ") SELECT ",
                $columns,
                " FROM ",
                $table,
                "_recent ORDER BY ",
                $columns
            ),
        }
    };
}

/// Node keys → nodes.
pub(super) const NODE_BY_KEY: Levels = levels!("node_by_key", "key, node", 2);
/// Identifiers → nodes.
pub(super) const EDGE_BY_VALUE: Levels = levels!("edge_by_value", "kind, value, node", 3);
/// Profiles → nodes.
pub(super) const ASSIGNMENT_BY_PROFILE: Levels = levels!("assignment_by_profile", "profile, node", 2);

impl Levels {
    /// Inserts `rows`, which are sorted by the key; those that are in the table they go into stay as they are. Returns how many
    /// were not, and which table that is.
    pub(super) fn insert<T>(
        &self,
        connection: &Connection,
        rows: &[T],
        bind: impl Fn(&T, &mut Binder<'_, '_>) -> StoreResult<()>,
    ) -> StoreResult<(usize, Level)> {
        if rows.is_empty() {
            return Ok((0, Level::Recent));
        }
        let recent = rows_of(connection, self.recent)?;
        let all_recent = recent.saturating_add(i64::try_from(rows.len()).unwrap_or(i64::MAX));
        let is_recent = all_recent.saturating_mul(BASE_ROWS_PER_RECENT) <= rows_of(connection, self.base)?;
        let (table, insert, level) = if is_recent {
            (self.recent, &self.insert_recent, Level::Recent)
        } else {
            self.move_recent(connection, recent)?;
            (self.base, &self.insert_base, Level::Base)
        };
        let inserted = bulk::insert(connection, insert, rows, bind)?;
        advance_counter(connection, table, i64::try_from(inserted).unwrap_or(i64::MAX))?;
        Ok((inserted, level))
    }

    /// What an erasure deletes later must not be left behind in pages that become free here.
    fn move_recent(&self, connection: &Connection, recent: i64) -> StoreResult<()> {
        if recent == 0 {
            return Ok(());
        }
        let moved = connection.prepare_cached(self.move_rows)?.execute([])?;
        overwrite_deleted(connection, true)?;
        let emptied =
            connection.prepare_cached(&format!("DELETE FROM {}", self.recent)).and_then(|mut delete| delete.execute([]));
        overwrite_deleted(connection, false)?;
        emptied?;
        advance_counter(connection, self.base, i64::try_from(moved).unwrap_or(i64::MAX))?;
        advance_counter(connection, self.recent, -recent)?;
        Ok(())
    }

    /// Deletes from both tables where `condition` holds; rows stay counted, since nothing depends on the exact number.
    pub(super) fn delete(
        &self,
        connection: &Connection,
        condition: &str,
        parameters: impl rusqlite::Params + Copy,
    ) -> StoreResult<()> {
        for table in [self.base, self.recent] {
            connection.prepare_cached(&format!("DELETE FROM {table} WHERE {condition}"))?.execute(parameters)?;
        }
        Ok(())
    }
}

fn rows_of(connection: &Connection, table: &str) -> StoreResult<i64> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
}
