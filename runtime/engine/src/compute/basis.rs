//! What the next snapshot needs to go on from the one before.

use affluent_lake::LakeTable;
use affluent_ledger::SnapshotRow;
use affluent_model::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{PROFILES, definition_hash, snapshot_table};
use crate::engine::Engine;
use crate::purchases::Fits;
use crate::tables::profile_tables;

/// Kept with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Basis {
    /// Of the files that it has seen: where one is gone since, so are records.
    pub(super) inputs: String,
    /// When its computation began, microseconds UTC: what changes by time from then on is yet to come.
    pub(super) as_of_us: i64,
    /// When all profiles were computed, microseconds UTC.
    pub(super) complete_at_us: i64,
    pub(super) fits: Fits,
}

impl Basis {
    pub(super) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::bug(error.to_string()))
    }
}

/// The snapshot before.
pub(super) struct Before {
    pub(super) row: SnapshotRow,
    pub(super) table: LakeTable,
    pub(super) basis: Basis,
    /// Profiles in its files after the first.
    pub(super) rows_later: u64,
}

impl Before {
    /// `None` while there is no snapshot; one without a basis that can be read has an empty one, from which nothing goes on.
    ///
    /// # Errors
    /// Those of the stores.
    pub(super) fn read(engine: &Engine) -> Result<Option<Self>> {
        let Some(row) = engine.ledger.snapshot()? else { return Ok(None) };
        let Some(table) = snapshot_table(engine, &row)? else { return Ok(None) };
        let nothing = Basis { inputs: String::new(), as_of_us: 0, complete_at_us: 0, fits: Fits::default() };
        let basis = serde_json::from_str(&row.basis).unwrap_or(nothing);
        let rows_later = row.files.iter().filter(|file| file.table == PROFILES).skip(1).map(|file| file.rows).sum();
        Ok(Some(Self { row, table, basis, rows_later }))
    }

    /// Its files of a table.
    pub(super) fn files(&self, table: &str) -> Vec<String> {
        self.row.files.iter().filter(|file| file.table == table).map(|file| file.name.clone()).collect()
    }

    /// True when it was computed by the same definitions, of files that are all there.
    ///
    /// # Errors
    /// Those of the stores.
    pub(super) async fn is_of_today(&self, engine: &Engine) -> Result<bool> {
        let is_same = self.row.definition_hash == definition_hash(engine)?;
        Ok(is_same && self.basis.inputs == inputs_hash(engine, self.row.input_sequence).await?)
    }
}

/// Of the files of all tables of profiles, up to a sequence.
///
/// # Errors
/// Those of the stores.
pub(super) async fn inputs_hash(engine: &Engine, input_sequence: i64) -> Result<String> {
    let mut names = Vec::new();
    for one in profile_tables(engine).await? {
        let files = engine.ledger.files(&one.table.name)?.into_iter().filter(|file| file.sequence <= input_sequence);
        names.extend(files.map(|file| file.name));
    }
    names.sort_unstable();
    let hash = engine.vault.blind_indexer("profile-inputs")?.index(names.join("\n").as_bytes());
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
