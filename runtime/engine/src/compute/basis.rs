//! What the next snapshot needs to go on from the one before.

use std::collections::BTreeSet;

use affluent_lake::LakeTable;
use affluent_ledger::{FileRow, SnapshotRow};
use affluent_model::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{PROFILES, definition_hash, snapshot_table};
use crate::admit::{NODE_BY, RECORD_KEY};
use crate::engine::Engine;
use crate::purchases::Fits;
use crate::tables::ProfileTable;

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
    /// The tables in all whose files, of those that it has seen, a record's key says whose it is.
    #[serde(default)]
    pub(super) by_key: BTreeSet<String>,
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
        let nothing =
            Basis { inputs: String::new(), as_of_us: 0, complete_at_us: 0, fits: Fits::default(), by_key: BTreeSet::new() };
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
    pub(super) fn is_of_today(&self, engine: &Engine, tables: &[ProfileTable]) -> Result<bool> {
        let is_same = self.row.definition_hash == definition_hash(engine)?;
        Ok(is_same && self.basis.inputs == inputs_hash(engine, tables, self.row.input_sequence)?)
    }
}

/// Of the files of all tables of profiles, up to a sequence.
///
/// # Errors
/// Those of the stores.
pub(super) fn inputs_hash(engine: &Engine, tables: &[ProfileTable], input_sequence: i64) -> Result<String> {
    let mut names = Vec::new();
    for one in tables {
        let files = engine.ledger.files(&one.table.name)?.into_iter().filter(|file| file.sequence <= input_sequence);
        names.extend(files.map(|file| file.name));
    }
    names.sort_unstable();
    let hash = engine.vault.blind_indexer("profile-inputs")?.index(names.join("\n").as_bytes());
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The tables in all whose files, up to a sequence, a record's key says whose it is; of the files that `before` has seen it knows.
///
/// # Errors
/// Those of the stores.
pub(super) fn tables_by_key(
    engine: &Engine,
    tables: &[ProfileTable],
    (before, input_sequence): (Option<&Before>, i64),
) -> Result<BTreeSet<String>> {
    let mut by_key = BTreeSet::new();
    for ProfileTable { table, .. } in tables {
        let mut files = engine.ledger.files(&table.name)?;
        files.retain(|file| file.sequence <= input_sequence);
        if are_by_key(engine, before, (&table.name, &files))? {
            by_key.insert(table.name.clone());
        }
    }
    Ok(by_key)
}

/// Whether a record's key says whose it is in all these files of a table.
///
/// # Errors
/// Those of the lake.
pub(super) fn are_by_key(engine: &Engine, before: Option<&Before>, (table, files): (&str, &[FileRow])) -> Result<bool> {
    let is_known = |file: &FileRow| before.is_some_and(|before| file.sequence <= before.row.input_sequence);
    if files.iter().any(is_known) && !before.is_some_and(|before| before.basis.by_key.contains(table)) {
        return Ok(false);
    }
    for file in files.iter().filter(|file| !is_known(file)) {
        let schema = engine.lake.file_schema(&file.name)?;
        let node_by = schema.field_with_name("_node").ok().and_then(|field| field.metadata().get(NODE_BY));
        if node_by.is_none_or(|column| column != RECORD_KEY) {
            return Ok(false);
        }
    }
    Ok(true)
}
