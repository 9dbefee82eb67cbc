//! SQL of what conditions of segments ask beyond the profile's columns: counts and sequences of records, and consent. Counts
//! over the same stream share one pass.

use affluent_model::Result;
use affluent_model::consent::{ConsentNeed, ConsentWord};
use affluent_model::expression::{EventStep, SegmentCall};
use affluent_model::schema::FieldType;

use crate::computed_traits::stream_rows;
use crate::consent::consent_sql;
use crate::source::{NUMBER_OF, TableSource, of_profiles};
use crate::sql::{any_of, cast, literal, null, quoted, union_all};

/// The column of the call at a place.
pub(crate) fn call_column(place: usize) -> String {
    format!("_call_{place}")
}

/// The query of the profiles with a column per call, memberships excepted.
///
/// # Errors
/// `E0760`, `E0762`, `E0765`.
pub(crate) fn profiles_with_calls(calls: &[SegmentCall], sources: &[TableSource]) -> Result<String> {
    let answers = answers(calls, sources)?;
    if answers.is_empty() {
        return Ok("SELECT * FROM \"profiles\"".to_owned());
    }
    let mut sql = format!("SELECT b.*, {NUMBER_OF}(b.\"profile\") AS \"{NUMBER}\" FROM \"profiles\" AS b");
    for answers in answers {
        // The narrow side first: it is the one that is held in memory. Each join has a `SELECT` of its own.
        let columns: String =
            answers.columns.iter().map(|(name, absent)| format!(", coalesce(t.\"{name}\", {absent}) AS \"{name}\"")).collect();
        sql = format!(
            "SELECT b.*{columns} FROM ({}) AS t RIGHT JOIN ({sql}) AS b ON t.\"profile\" = b.\"{NUMBER}\"",
            answers.query
        );
    }
    Ok(sql)
}

/// The column of a profile's number beside the snapshot's columns.
const NUMBER: &str = "_number";

/// A query with `profile` (a number) and columns, and what each is for a profile without a row.
struct Answers {
    query: String,
    columns: Vec<(String, String)>,
}

fn answers(calls: &[SegmentCall], sources: &[TableSource]) -> Result<Vec<Answers>> {
    let mut found = Vec::new();
    let mut counted: Vec<&str> = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        match call {
            SegmentCall::Did { step, .. } if !counted.contains(&step.stream.as_str()) => {
                counted.push(&step.stream);
                found.push(counts(&step.stream, calls, sources)?);
            }
            SegmentCall::Sequence { steps, window_ms } => found.push(sequence(place, steps, *window_ms, sources)?),
            SegmentCall::Consent { purpose } => found.push(consent(place, purpose, sources)),
            SegmentCall::Did { .. } | SegmentCall::InSegment { .. } => {}
        }
    }
    Ok(found)
}

/// All counts over one stream.
fn counts(stream: &str, calls: &[SegmentCall], sources: &[TableSource]) -> Result<Answers> {
    let of_stream = calls.iter().enumerate().filter_map(|(place, call)| match call {
        SegmentCall::Did { step, window_ms } if step.stream == stream => Some((place, step, *window_ms)),
        _ => None,
    });
    let (mut columns, mut aggregates, mut windows) = (Vec::new(), String::new(), Some(0));
    for (place, step, window_ms) in of_stream {
        let name = call_column(place);
        let recent = window_ms.map(is_recent);
        let conditions: Vec<String> = recent.into_iter().chain(step.condition.as_ref().map(|text| format!("({text})"))).collect();
        let filter = if conditions.is_empty() { String::new() } else { format!(" FILTER (WHERE {})", conditions.join(" AND ")) };
        aggregates.push_str(&format!(", count(*){filter} AS \"{name}\""));
        columns.push((name, "0".to_owned()));
        windows = windows.zip(window_ms).map(|(widest, window_ms)| window_ms.max(widest));
    }
    // Where every count has a window, older records need not be grouped.
    let older = windows.map_or_else(String::new, |widest| format!(" WHERE {}", is_recent(widest)));
    let rows = stream_rows(stream, sources)?;
    let query = format!(
        "SELECT \"_profile\" AS \"profile\"{aggregates} FROM ({rows}) AS {}{older} GROUP BY \"_profile\"",
        quoted(stream)
    );
    Ok(Answers { query, columns })
}

fn is_recent(window_ms: u64) -> String {
    let since = cast(&format!("now() - INTERVAL '{window_ms} milliseconds'"), FieldType::Timestamp);
    format!("\"at\" >= {since}")
}

/// True for profiles with records for all steps, each later than the one before, within the window. `_start_n` of a record
/// for step n is the latest start of a chain that ends with it: a later start never makes a window longer.
fn sequence(place: usize, steps: &[EventStep], window_ms: u64, sources: &[TableSource]) -> Result<Answers> {
    let mut streams: Vec<&str> = steps.iter().map(|step| step.stream.as_str()).collect();
    streams.sort_unstable();
    streams.dedup();
    let flags: Vec<String> = (0..steps.len()).map(|step| format!("\"_step_{step}\"")).collect();
    let mut branches = Vec::new();
    for stream in streams {
        let of_stream: String = steps
            .iter()
            .zip(&flags)
            .map(|(step, flag)| {
                let holds = match &step.condition {
                    _ if step.stream != stream => "false".to_owned(),
                    Some(condition) => format!("(({condition}) IS TRUE)"),
                    None => "true".to_owned(),
                };
                format!(", {holds} AS {flag}")
            })
            .collect();
        let rows = stream_rows(stream, sources)?;
        branches.push(format!(
            "SELECT \"_profile\", CAST(\"at\" AS BIGINT) AS \"_at\"{of_stream} FROM ({rows}) AS {} WHERE \"at\" IS NOT NULL",
            quoted(stream)
        ));
    }
    let mut sql = format!(
        "SELECT *, CASE WHEN {} THEN \"_at\" END AS \"_start_0\" FROM ({}) AS r WHERE {}",
        flags.first().map_or("false", String::as_str),
        union_all(&branches),
        any_of(&flags)
    );
    for (step, flag) in flags.iter().enumerate().skip(1) {
        sql = format!(
            "SELECT *, CASE WHEN {flag} THEN max(\"_start_{}\") OVER (PARTITION BY \"_profile\" ORDER BY \"_at\" \
             RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) END AS \"_start_{step}\" FROM ({sql}) AS r{step}",
            step - 1
        );
    }
    let (name, last) = (call_column(place), steps.len().saturating_sub(1));
    let window_us = window_ms.saturating_mul(1_000);
    let query = format!(
        "SELECT DISTINCT \"_profile\" AS \"profile\", true AS \"{name}\" FROM ({sql}) AS r WHERE \"_at\" - \"_start_{last}\" <= {window_us}"
    );
    Ok(Answers { query, columns: vec![(name, "false".to_owned())] })
}

/// What was said about a purpose for the identifiers of each profile: the strictest of them counts.
fn consent(place: usize, purpose: &str, sources: &[TableSource]) -> Answers {
    let (name, need) = (call_column(place), ConsentNeed::of_purpose(purpose));
    let mut kinds: Vec<&String> = sources.iter().flat_map(|source| &source.identifiers).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let said: Vec<String> = kinds
        .into_iter()
        .map(|kind| {
            let value = quoted(&format!("_id_{kind}"));
            let carriers = sources.iter().filter(|source| source.identifiers.contains(kind)).map(|source| {
                format!("SELECT r.\"_node\", r.{value} AS \"value\" {} AND r.{value} IS NOT NULL", source.current_versions())
            });
            let carriers = union_all(&carriers.collect::<Vec<_>>());
            format!(
                "SELECT v.\"_node\", c.\"word\" FROM ({}) AS c JOIN ({carriers}) AS v ON c.\"value\" = v.\"value\"",
                consent_sql(&need, kind, sources)
            )
        })
        .collect();
    let words: String =
        ConsentWord::ALL.iter().map(|word| format!(" WHEN {} THEN {}", word.rank(), literal(word.as_str()))).collect();
    let query = if said.is_empty() {
        format!("SELECT {} AS \"profile\", {} AS \"{name}\" WHERE false", null(FieldType::Integer), literal("unknown"))
    } else {
        format!(
            "SELECT \"_profile\" AS \"profile\", CASE max(\"word\"){words} END AS \"{name}\" FROM ({}) AS s GROUP BY \"_profile\"",
            of_profiles(&union_all(&said), "_node")
        )
    };
    Answers { query, columns: vec![(name, literal("unknown"))] }
}
