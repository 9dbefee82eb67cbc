//! SQL of consent: what was last said about a purpose for each value of an identifier. The subject is the identifier
//! value on the record that says it, not the profile, so a merge cannot spread a grant to another address.

use affluent_model::schema::FieldType;

use crate::source::TableSource;
use crate::sql::{cast, null, quoted, union_all};

/// The query with columns `value` (Binary, blind index) and `granted` (Boolean), one row per value of identifier `kind`
/// for which a current record says something about `purpose`. The latest word counts (`_at` where it has no time of its
/// own); at the same time, denied wins.
#[must_use]
pub fn consent_sql(purpose: &str, kind: &str, sources: &[TableSource]) -> String {
    let speaks = |source: &&TableSource| {
        source.consent.iter().any(|known| known == purpose) && source.identifiers.iter().any(|known| known == kind)
    };
    let said: Vec<String> = sources.iter().filter(speaks).map(|source| statements(purpose, kind, source)).collect();
    if said.is_empty() {
        return format!(
            "SELECT {} AS \"value\", {} AS \"granted\" WHERE false",
            null(FieldType::Binary),
            null(FieldType::Boolean)
        );
    }
    // One number per statement, later ones greater and, at the same time, denied greater than granted: a plain maximum.
    format!(
        "SELECT \"value\", max(\"at\" * 2 + CASE WHEN \"granted\" THEN 0 ELSE 1 END) % 2 = 0 AS \"granted\" FROM ({}) AS s \
         GROUP BY \"value\"",
        union_all(&said)
    )
}

/// True when consent was granted for every identifier that a destination uses (delivery.md §7, strictest): nothing said
/// about one of them (`None`) is no grant, and neither is no identifier at all.
#[must_use]
pub fn is_granted(said: impl IntoIterator<Item = Option<bool>>) -> bool {
    let mut is_any = false;
    for word in said {
        if word != Some(true) {
            return false;
        }
        is_any = true;
    }
    is_any
}

/// What the current records of one table say: `value`, `granted`, `at` in microseconds.
fn statements(purpose: &str, kind: &str, source: &TableSource) -> String {
    let value = quoted(&format!("_id_{kind}"));
    let granted = quoted(&format!("_consent_{purpose}"));
    let at = cast(&format!("r.{}", quoted(&format!("_consent_at_{purpose}"))), FieldType::Timestamp);
    format!(
        "SELECT r.{value} AS \"value\", r.{granted} AS \"granted\", coalesce(CAST({at} AS BIGINT), CAST(r.\"_at\" AS BIGINT), 0) AS \"at\" \
         {} AND r.{value} IS NOT NULL AND r.{granted} IS NOT NULL",
        source.current_versions()
    )
}
