//! The consent rows of a record (delivery.md §7), for people to look at: one per identifier that it says something about.

use std::collections::BTreeMap;

use affluent_profiles::consent::ConsentSource;
use affluent_profiles::source::TableSource;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use crate::mapping::{
    consent_at_column, consent_column, consent_evidence_column, consent_in_column, consent_status_column, consent_until_column,
    identifier_column,
};

/// What stands for a value that was not opened.
pub(crate) const SEALED: &str = "‹sealed›";

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConsentRow {
    /// Identifier kind, and its value or `‹sealed›`.
    pub subject: (String, String),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// As the record says it: `granted`, `denied`, `revoked`, `pending` or a word of the source.
    pub status: String,
    /// True for `granted`, also when its time is over.
    pub granted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    /// RFC 3339.
    pub obtained_at: String,
    /// RFC 3339: when a grant ends, the earlier of the stated time and the end of the mapping's term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_ref: Option<String>,
    /// Connection and stream.
    pub source: String,
}

/// The rows that a record's columns say; `identifiers` are those that were opened, `record_at` is when the record changed.
pub(crate) fn consent_rows(
    source: &TableSource,
    identifiers: &[(String, String)],
    record_at: &str,
    values: &BTreeMap<String, String>,
) -> Vec<ConsentRow> {
    let has_subject = |kind: &&String| values.contains_key(&identifier_column(kind));
    let subjects: Vec<&String> = source.identifiers.iter().filter(has_subject).collect();
    let mut rows = Vec::new();
    for one in &source.consent {
        let Some(row) = row_of(source, one, record_at, values) else { continue };
        for kind in subjects.iter().filter(|kind| one.is_about(kind)) {
            let opened = identifiers.iter().find(|(known, _)| known == *kind);
            let value = opened.map_or_else(|| SEALED.to_owned(), |(_, value)| value.clone());
            rows.push(ConsentRow { subject: ((*kind).clone(), value), ..row.clone() });
        }
    }
    rows
}

fn row_of(source: &TableSource, one: &ConsentSource, record_at: &str, values: &BTreeMap<String, String>) -> Option<ConsentRow> {
    let (name, terms) = (&one.name, &one.terms);
    let by_truth = || values.get(&consent_column(name)).map(|truth| if truth == "true" { "granted" } else { "denied" });
    let stated = if one.has_status { values.get(&consent_status_column(name)).map(String::as_str) } else { None };
    let status = stated.or_else(by_truth)?.to_owned();
    let obtained_at = values.get(&consent_at_column(name)).map_or(record_at, String::as_str);
    let obtained = instant(obtained_at);
    let until = values.get(&consent_until_column(name)).and_then(|text| instant(text));
    let term = terms.expires_after_ms.and_then(|ms| Some(obtained? + TimeDelta::milliseconds(i64::try_from(ms).ok()?)));
    let expires = until.into_iter().chain(term).min().filter(|_| status == "granted");
    let shown = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    Some(ConsentRow {
        subject: (String::new(), String::new()),
        scope: terms.scope.clone(),
        purpose: terms.purpose.clone(),
        channel: terms.channel.clone(),
        granted: status == "granted",
        status,
        legal_basis: terms.legal_basis.map(|basis| basis.as_str()),
        jurisdiction: values.get(&consent_in_column(name)).cloned(),
        obtained_at: obtained.map_or_else(|| obtained_at.to_owned(), shown),
        expires_at: expires.map(shown),
        evidence_ref: values.get(&consent_evidence_column(name)).cloned(),
        source: source.table.clone(),
    })
}

/// A stored time as the lake writes it, with or without its zone; UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}Z")));
    zoned.ok().map(|time| time.with_timezone(&Utc))
}
