//! SQL of the `profiles` snapshot: one row per profile with its attributes, their lineage and its computed traits.

use std::collections::BTreeMap;

use affluent_model::Result;
use affluent_model::plan::Survivorship;

use crate::source::{TableColumn, TableSource};

/// A computed trait whose expression the lake has parsed, checked and printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTrait {
    pub name: String,
    /// Stream whose records are counted.
    pub from: String,
    pub measure: PreparedMeasure,
    /// Only records of the last so many milliseconds.
    pub window_ms: Option<u64>,
}

/// What it computes; the texts are safe inside parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreparedMeasure {
    /// An aggregate. A count is 0 for a profile without records, anything else null.
    Aggregate { expression: String, is_count: bool },
    /// The value with the most records; ties: the smaller value. Null is not a value.
    MostFrequent { expression: String },
}

/// The columns that a trait over `stream` may use: the clear columns of the stream in all its connections, and the
/// canonical ones, which win over columns of the same name (`id`, `at`, `currency`, `net`, `status` of an order; `at`,
/// `currency`, `status` of the order in its lines; `at` elsewhere unless the stream has one).
///
/// # Errors
/// `E0760` when no source has the stream, `E0762` when a column has types that do not fit in one.
pub fn trait_columns(stream: &str, sources: &[TableSource]) -> Result<Vec<TableColumn>> {
    let _ = (stream, sources);
    Ok(Vec::new())
}

/// The query whose rows are the `profiles` snapshot, for the tables of `sources` and `assignments(node, profile)`.
///
/// Columns: `profile`, then per attribute (by name) its value and `<name>__from`, a struct of `table`, `record`, `node`,
/// `field`, `at` (null with the value), then the traits in their order. One row per profile of `assignments`.
///
/// # Errors
/// `E0760` a trait's stream is in no source, `E0761` an attribute is sealed in one table and clear in another, `E0762`
/// types that do not fit in one column, `E0764` two columns of one name, `E0765` a parent that is no source.
pub fn snapshot_sql(
    sources: &[TableSource],
    traits: &[PreparedTrait],
    survivorship: &BTreeMap<String, Survivorship>,
) -> Result<String> {
    let _ = (sources, traits, survivorship);
    Ok(String::new())
}
