//! What the records in a snapshot's list mean, which says of each profile where its values come from.

use std::collections::BTreeMap;

use affluent_model::{Error, Result};
use serde::{Deserialize, Serialize};

/// Column of a snapshot: of each profile its records that give anything, the newest first; structs of `source` (the number of the
/// table), `record` (its key), `node`, `at` and [`GIVES`].
pub const FROM: &str = "_from";

/// Bytes in which each attribute has a bit, the first one the lowest of the first byte: 1 where the record gives it.
pub const GIVES: &str = "gives";

/// Arrow metadata key of the column [`FROM`]: its [`Givers`].
pub const GIVERS_KEY: &str = "affluent.givers";

/// The attributes by their bits and the tables by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Givers {
    pub attributes: Vec<String>,
    pub tables: Vec<GivingTable>,
}

/// A table, and in which of its columns each attribute is that it gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivingTable {
    pub table: String,
    pub columns: BTreeMap<String, String>,
}

impl Givers {
    /// `None` for a text that is none of [`Givers::to_text`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// # Errors
    /// `E0001`.
    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::bug(error.to_string()))
    }

    /// The place of an attribute's bit.
    #[must_use]
    pub fn place_of(&self, attribute: &str) -> Option<usize> {
        self.attributes.iter().position(|name| name == attribute)
    }

    /// By the numbers of tables, table and column of the attribute at a place.
    #[must_use]
    pub fn fields_of(&self, place: usize) -> Vec<(String, String)> {
        let column = |table: &GivingTable| self.attributes.get(place).and_then(|name| table.columns.get(name)).cloned();
        self.tables.iter().map(|table| (table.table.clone(), column(table).unwrap_or_default())).collect()
    }
}
