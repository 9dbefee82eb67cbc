//! SQL that compares two snapshots of profiles, for reports.

use crate::sql::quoted;

/// The query with one row: `created`, `changed`, `removed` (Int64), profiles of table `current` against table `previous`.
/// `columns` are those compared; both tables have them. Lineage is not compared unless named.
#[must_use]
pub fn changed_sql(previous: &str, current: &str, columns: &[String]) -> String {
    let differences = columns.iter().map(|column| format!(" OR b.{0} IS DISTINCT FROM n.{0}", quoted(column)));
    format!(
        "SELECT count(*) FILTER (WHERE b.\"profile\" IS NULL) AS \"created\", \
         count(*) FILTER (WHERE b.\"profile\" IS NOT NULL AND n.\"profile\" IS NOT NULL AND (false{})) AS \"changed\", \
         count(*) FILTER (WHERE n.\"profile\" IS NULL) AS \"removed\" \
         FROM {} AS b FULL JOIN {} AS n ON b.\"profile\" = n.\"profile\"",
        differences.collect::<String>(),
        quoted(previous),
        quoted(current)
    )
}
