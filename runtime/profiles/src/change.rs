//! SQL that compares two snapshots of profiles, for reports.

use crate::sql::{any_of, quoted};

/// The query with one row: `created`, `changed`, `removed` (Int64), profiles of table `current` against table `previous`.
/// `columns` are those compared; both tables have them. Lineage is not compared unless named.
#[must_use]
pub fn changed_sql(previous: &str, current: &str, columns: &[String]) -> String {
    // In parentheses: the parser takes all that follows `IS DISTINCT FROM` for its right side.
    let differences: Vec<String> =
        columns.iter().map(|column| format!("(b.{0} IS DISTINCT FROM n.{0})", quoted(column))).collect();
    format!(
        "SELECT count(*) FILTER (WHERE b.\"profile\" IS NULL) AS \"created\", \
         count(*) FILTER (WHERE b.\"profile\" IS NOT NULL AND n.\"profile\" IS NOT NULL AND ({})) AS \"changed\", \
         count(*) FILTER (WHERE n.\"profile\" IS NULL) AS \"removed\" \
         FROM {} AS b FULL JOIN {} AS n ON b.\"profile\" = n.\"profile\"",
        any_of(&differences),
        quoted(previous),
        quoted(current)
    )
}
