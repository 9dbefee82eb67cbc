//! SQL of lineage: which current records of a profile give a value of an attribute, the one that survived or not.

pub mod givers;
pub mod rule;

use affluent_model::identity::NodeId;

use crate::attributes::said;
use crate::source::TableSource;

/// The query with columns `record` (the record's key), `node`, `at` and, by place of the source's attributes, `has_<place>`
/// (Boolean): one row per current record of the nodes. `None` where the table gives no attribute.
#[must_use]
pub fn lineage_sql(source: &TableSource, nodes: &[NodeId]) -> Option<String> {
    if source.attributes.is_empty() || nodes.is_empty() {
        return None;
    }
    let has = source.attributes.iter().enumerate();
    let has: String =
        has.map(|(place, attribute)| format!(", {} IS NOT NULL AS \"has_{place}\"", said(attribute, "r"))).collect();
    let nodes: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    Some(format!(
        "SELECT r.\"_pk\" AS \"record\", r.\"_node\" AS \"node\", r.\"_at\" AS \"at\"{has} {} AND r.\"_node\" IN ({})",
        source.current_versions(),
        nodes.join(", ")
    ))
}
