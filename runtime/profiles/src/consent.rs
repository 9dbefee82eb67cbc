//! SQL of consent (delivery.md §7). The subject of a row is an identifier value on the record that says it, not the
//! profile, so a merge cannot spread a grant to another address.
//!
//! Rows with different scopes or channels do not replace each other: of each scope and channel the latest row counts, and
//! of those that reach the destination the strictest. At the same time, denied wins over pending, pending over expired,
//! expired over granted.

use affluent_model::consent::{ConsentNeed, ConsentTerms, ConsentWord};
use affluent_model::schema::FieldType;

use crate::source::TableSource;
use crate::sql::{any_of, cast, literal, null, quoted, union_all};

/// A row that records of a table say; which columns beside `_consent_<name>` and `_consent_at_<name>` the table has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentSource {
    pub name: String,
    pub terms: ConsentTerms,
    /// `_consentstatus_<name>`.
    pub has_status: bool,
    /// `_consentuntil_<name>`.
    pub has_expiry: bool,
    /// `_consentin_<name>`.
    pub has_jurisdiction: bool,
}

impl ConsentSource {
    /// True when it may say something about identifiers of this kind.
    #[must_use]
    pub fn is_about(&self, kind: &str) -> bool {
        self.terms.identifier.as_deref().is_none_or(|about| about == kind)
    }

    /// True when what it says reaches a destination with this need.
    fn reaches(&self, need: &ConsentNeed) -> bool {
        let meets = |own: &Option<String>, needed: &Option<String>| own.is_none() || needed.is_none() || own == needed;
        self.terms.purpose == need.purpose && meets(&self.terms.scope, &need.scope) && meets(&self.terms.channel, &need.channel)
    }

    /// What was said, as text: the status where there is one, else by the truth value.
    fn said(&self) -> String {
        let granted = format!("r.{}", quoted(&format!("_consent_{}", self.name)));
        let by_truth = format!("CASE WHEN {granted} THEN 'granted' WHEN NOT {granted} THEN 'denied' END");
        if self.has_status {
            format!("coalesce(r.{}, {by_truth})", quoted(&format!("_consentstatus_{}", self.name)))
        } else {
            by_truth
        }
    }

    /// When it was said, microseconds.
    fn at(&self) -> String {
        let at = cast(&format!("r.{}", quoted(&format!("_consent_at_{}", self.name))), FieldType::Timestamp);
        format!("coalesce(CAST({at} AS BIGINT), CAST(r.\"_at\" AS BIGINT), 0)")
    }

    /// Times, microseconds or null, each of which ends a grant.
    fn ends(&self) -> Vec<String> {
        let until = self.has_expiry.then(|| {
            let until = cast(&format!("r.{}", quoted(&format!("_consentuntil_{}", self.name))), FieldType::Timestamp);
            format!("CAST({until} AS BIGINT)")
        });
        let after = self.terms.expires_after_ms.map(|ms| format!("({} + {})", self.at(), ms.saturating_mul(1_000)));
        until.into_iter().chain(after).collect()
    }

    /// Conditions each of which ends a grant by time.
    fn expiries(&self) -> Vec<String> {
        self.ends().iter().map(|end| format!("coalesce({end} <= {NOW_US}, false)")).collect()
    }

    /// The next time at which what it says changes by itself, microseconds; null where there is none.
    fn turns(&self) -> String {
        let times = std::iter::once(self.at()).chain(self.ends());
        let to_come: Vec<String> = times.map(|time| format!("CASE WHEN {time} > {NOW_US} THEN {time} END")).collect();
        format!("least({})", to_come.join(", "))
    }

    /// Conditions each of which keeps a person out for where the law is of.
    fn exclusions(&self, need: &ConsentNeed) -> Vec<String> {
        if need.not_in.is_empty() {
            return Vec::new();
        }
        if !self.has_jurisdiction {
            return vec!["true".to_owned()];
        }
        let place = format!("upper(trim(r.{}))", quoted(&format!("_consentin_{}", self.name)));
        let within = need.not_in.iter().map(|place_out| {
            let place_out = place_out.to_uppercase();
            format!("({place} = {} OR starts_with({place}, {}))", literal(&place_out), literal(&format!("{place_out}-")))
        });
        std::iter::once(format!("coalesce({place}, '') = ''")).chain(within).collect()
    }

    /// How strict what it says is, by [`ConsentWord::rank`]; null where it does not count.
    fn rank(&self, need: &ConsentNeed) -> String {
        let counts = need.legal_bases.is_empty() || self.terms.legal_basis.is_some_and(|own| need.legal_bases.contains(&own));
        let [granted, expired, pending, denied] = ConsentWord::ALL.map(ConsentWord::rank);
        let of_grant = if counts {
            format!(
                "CASE WHEN {} THEN {denied} WHEN {} THEN {expired} WHEN {} > {NOW_US} THEN {pending} ELSE {granted} END",
                any_of(&self.exclusions(need)),
                any_of(&self.expiries()),
                self.at()
            )
        } else {
            "NULL".to_owned()
        };
        let said = self.said();
        format!("CASE {said} WHEN 'granted' THEN {of_grant} WHEN 'pending' THEN {pending} ELSE {denied} END")
    }
}

/// The time of the query, microseconds.
const NOW_US: &str = "CAST(arrow_cast(now(), 'Timestamp(Microsecond, Some(\"UTC\"))') AS BIGINT)";

/// The query with columns `value` (Binary, blind index) and `word` (Int64, [`ConsentWord::rank`]), one row per value of
/// identifier `kind` about which a current record says something that counts for `need`.
#[must_use]
pub fn consent_sql(need: &ConsentNeed, kind: &str, sources: &[TableSource]) -> String {
    let Some(said) = statements_sql(need, kind, sources) else {
        return format!("SELECT {} AS \"value\", {} AS \"word\" WHERE false", null(FieldType::Binary), null(FieldType::Integer));
    };
    format!(
        "SELECT \"value\", max(\"last\" & 3) AS \"word\" FROM (\
         SELECT \"value\", \"reach\", max(\"last\") AS \"last\" FROM ({said}) AS s GROUP BY \"value\", \"reach\") AS l GROUP BY \"value\""
    )
}

/// The query of everything that current records say of values of identifier `kind` and that counts for `need`: `value` (Binary,
/// blind index), `reach` (Int64, of the same scope and channel), `last` (Int64: greater where later and, at the same time, where
/// stricter; its last two bits are the [`ConsentWord::rank`]), `turns` (Int64, microseconds: when it next says something else by
/// itself, null for never). Of each value and reach the greatest counts, and of those the strictest. `None` where no table can
/// say anything.
#[must_use]
pub fn statements_sql(need: &ConsentNeed, kind: &str, sources: &[TableSource]) -> Option<String> {
    let mut reaches: Vec<(&Option<String>, &Option<String>)> = Vec::new();
    let mut said = Vec::new();
    for source in sources.iter().filter(|source| source.identifiers.iter().any(|known| known == kind)) {
        for row in source.consent.iter().filter(|row| row.is_about(kind) && row.reaches(need)) {
            let reach = (&row.terms.scope, &row.terms.channel);
            let place = reaches.iter().position(|known| *known == reach).unwrap_or_else(|| {
                reaches.push(reach);
                reaches.len() - 1
            });
            said.push(statements(need, kind, source, row, place));
        }
    }
    (!said.is_empty()).then(|| union_all(&said))
}

/// The query with columns `value` (Binary, blind index), `node` (Int64, of a record that carries it) and `at` (Int64,
/// microseconds), one row per value of identifier `kind` for which everything was taken back: some purpose was revoked, and no
/// other is granted or asked for, on any channel and scope. `None` where no mapping says what was revoked: a consent that is
/// false may never have been given.
#[must_use]
pub fn withdrawn_sql(kind: &str, sources: &[TableSource]) -> Option<String> {
    let of_kind = sources.iter().filter(|source| source.identifiers.iter().any(|known| known == kind));
    let rows: Vec<(&TableSource, &ConsentSource)> =
        of_kind.flat_map(|source| source.consent.iter().filter(|row| row.is_about(kind)).map(move |row| (source, row))).collect();
    if !rows.iter().any(|(_, row)| row.has_status) {
        return None;
    }
    let said: Vec<String> = rows.into_iter().map(|(source, row)| decisions(kind, source, row)).collect();
    // As in `consent_sql`: of each purpose, channel and scope the greatest number is the last word, at the same time the stricter.
    Some(format!(
        "SELECT \"value\", min(\"node\") AS \"node\", \
         max((\"last\" - (\"last\" & 3)) / 4) FILTER (WHERE (\"last\" & 3) = {REVOKED}) AS \"at\" FROM (\
         SELECT \"value\", \"purpose\", \"scope\", \"channel\", min(\"node\") AS \"node\", max(\"at\" * 4 + \"code\") AS \"last\" \
         FROM ({}) AS s GROUP BY \"value\", \"purpose\", \"scope\", \"channel\") AS l \
         GROUP BY \"value\" HAVING min(\"last\" & 3) > {HOLDS} AND max(\"last\" & 3) = {REVOKED}",
        union_all(&said)
    ))
}

/// Codes of a decision: it holds or is asked for, was refused or is over, was taken back.
const HOLDS: u8 = 0;
const REFUSED: u8 = 1;
const REVOKED: u8 = 2;

fn decisions(kind: &str, source: &TableSource, row: &ConsentSource) -> String {
    let value = quoted(&format!("_id_{kind}"));
    let text = |word: &Option<String>| literal(word.as_deref().unwrap_or_default());
    let said = row.said();
    let of_grant = format!("CASE WHEN {} THEN {REFUSED} ELSE {HOLDS} END", any_of(&row.expiries()));
    let code = format!(
        "CASE {said} WHEN 'granted' THEN {of_grant} WHEN 'pending' THEN {HOLDS} WHEN 'revoked' THEN {REVOKED} ELSE {REFUSED} END"
    );
    format!(
        "SELECT r.{value} AS \"value\", {} AS \"purpose\", {} AS \"scope\", {} AS \"channel\", CAST(r.\"_node\" AS BIGINT) AS \"node\", \
         {} AS \"at\", CAST({code} AS BIGINT) AS \"code\" {} AND r.{value} IS NOT NULL AND {said} IS NOT NULL",
        literal(&row.terms.purpose),
        text(&row.terms.scope),
        text(&row.terms.channel),
        row.at(),
        source.current_versions()
    )
}

/// What the current records of one table say.
fn statements(need: &ConsentNeed, kind: &str, source: &TableSource, row: &ConsentSource, reach: usize) -> String {
    let value = quoted(&format!("_id_{kind}"));
    let (said, rank) = (row.said(), row.rank(need));
    format!(
        "SELECT \"value\", CAST({reach} AS BIGINT) AS \"reach\", \"at\" * 4 + \"rank\" AS \"last\", \"turns\" FROM (\
         SELECT r.{value} AS \"value\", {} AS \"at\", CAST({rank} AS BIGINT) AS \"rank\", CAST({} AS BIGINT) AS \"turns\" {} \
         AND r.{value} IS NOT NULL AND {said} IS NOT NULL) AS t WHERE \"rank\" IS NOT NULL",
        row.at(),
        row.turns(),
        source.current_versions()
    )
}
