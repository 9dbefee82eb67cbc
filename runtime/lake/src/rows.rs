//! The row programs of ingest: filters and mappings compiled once and applied to every batch.

/// One step of a row program; expressions are SQL over the columns as they are before the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowStep {
    /// Keeps the rows for which the condition is true; null is not true.
    Filter(String),
    /// Column → expression. All expressions see the values before this step; an existing column is replaced in its
    /// place, a new one is appended.
    Set(Vec<(String, String)>),
    /// Removes these columns.
    Drop(Vec<String>),
    /// Keeps these columns only, in this order.
    Keep(Vec<String>),
}
