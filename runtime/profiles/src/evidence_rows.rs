//! SQL of the records that evidence is read from: what the current records of a table say of their persons.

use std::fmt::Write as _;

use affluent_model::identity::NodeId;

use crate::source::TableSource;
use crate::sql::quoted;

/// Nodes that a query names; of more it takes all rows, and who reads them takes what they need.
const NODES_NAMED_MAX: usize = 1_000;

/// The query of the current records that belong to somebody: `_node`, `_at`, `_seq`, `_pk`, and these columns of the table as
/// `_0`, `_1` and so on, sealed ones as they are. It has all rows of `nodes`, and where they are many, others too.
#[must_use]
pub fn evidence_query(source: &TableSource, columns: &[&str], nodes: &[NodeId]) -> String {
    let mut taken = String::new();
    for (place, column) in columns.iter().enumerate() {
        // Writing to a text cannot fail.
        let _ = write!(taken, ", r.{} AS \"_{place}\"", quoted(column));
    }
    let mut named = String::new();
    if nodes.len() <= NODES_NAMED_MAX {
        let ids: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
        let _ = write!(named, " AND r.\"_node\" IN ({})", ids.join(", "));
    }
    let current = source.current_versions();
    format!("SELECT r.\"_node\", r.\"_at\", r.\"_seq\", r.\"_pk\"{taken} {current} AND r.\"_node\" IS NOT NULL{named}")
}
