//! What conditions of segments ask beyond the profile's columns: counts and sequences of records, and consent. Each call is
//! answered once for all profiles ([`crate::call_table`]), as a function of the profile's number. Counts over the same stream
//! share one pass.

use affluent_model::Result;
use affluent_model::consent::{ConsentNeed, ConsentWord};
use affluent_model::expression::{EventStep, SegmentCall};
use affluent_model::schema::FieldType;

use crate::call_table::EVENT_TIME;
use crate::computed_traits::stream_rows;
use crate::consent::statements_sql;
use crate::source::{NUMBER_OF, TableSource, of_profiles};
use crate::sql::{any_of, cast, literal, quoted, union_all};

/// A pass that answers calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallPass {
    /// Rows of `_profile` (a number, null for nobody) and a truth value per call, with the window of each in milliseconds: each
    /// answer is how many are true. Where a call has a window, `_at` is the time of the record in microseconds.
    Records { calls: Vec<(usize, Option<u64>)>, sql: String },
    /// What was said about identifiers, and whose they are, kind by kind: the answer is the strictest word.
    Consent { call: usize, kinds: Vec<IdentifierKind> },
}

/// Two queries over the values of one kind of identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierKind {
    /// See [`statements_sql`].
    pub said: String,
    /// `_profile` (a number, null for nobody) and `value`.
    pub carriers: String,
}

/// The column of the call at a place.
pub(crate) fn call_column(place: usize) -> String {
    format!("_call_{place}")
}

/// The function of a query that gives the answer to the call at a place by the number of the profile; null where there is
/// none.
#[must_use]
pub fn call_function(place: usize) -> String {
    format!("call_{place}")
}

/// The query of the profiles with a column per call, memberships excepted.
pub(crate) fn profiles_with_calls(calls: &[SegmentCall]) -> String {
    let answers: Vec<String> = calls.iter().enumerate().filter_map(|(place, call)| answer(place, call)).collect();
    if answers.is_empty() {
        return "SELECT * FROM \"profiles\"".to_owned();
    }
    format!("SELECT b.*{} FROM (SELECT *, {NUMBER_OF}(\"profile\") AS \"{NUMBER}\" FROM \"profiles\") AS b", answers.concat())
}

/// The column of a profile's number beside the snapshot's columns.
const NUMBER: &str = "_number";

/// `, … AS "_call_0"`.
fn answer(place: usize, call: &SegmentCall) -> Option<String> {
    let (found, name) = (format!("{}(b.\"{NUMBER}\")", call_function(place)), call_column(place));
    Some(match call {
        SegmentCall::InSegment { .. } => return None,
        SegmentCall::Did { .. } => format!(", coalesce({found}, 0) AS \"{name}\""),
        SegmentCall::Sequence { .. } => format!(", ({found} IS NOT NULL) AS \"{name}\""),
        SegmentCall::Consent { .. } => {
            let words = ConsentWord::ALL.iter().map(|word| format!(" WHEN {} THEN {}", word.rank(), literal(word.as_str())));
            let words: String = words.collect();
            format!(", CASE {found}{words} ELSE 'unknown' END AS \"{name}\"")
        }
    })
}

/// The passes that answer all calls, memberships excepted.
///
/// # Errors
/// `E0760`, `E0762`, `E0765`.
pub fn call_passes(calls: &[SegmentCall], sources: &[TableSource]) -> Result<Vec<CallPass>> {
    let mut passes = Vec::new();
    let mut counted: Vec<&str> = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        match call {
            SegmentCall::Did { step, .. } if !counted.contains(&step.stream.as_str()) => {
                counted.push(&step.stream);
                passes.push(counts(&step.stream, calls, sources)?);
            }
            SegmentCall::Sequence { steps, window_ms } => passes.push(sequence(place, steps, *window_ms, sources)?),
            SegmentCall::Consent { purpose, channel, scope } => {
                let (channel, scope) = (channel.clone(), scope.clone());
                passes.push(consent(place, &ConsentNeed { channel, scope, ..ConsentNeed::of_purpose(purpose) }, sources));
            }
            SegmentCall::Did { .. } | SegmentCall::InSegment { .. } => {}
        }
    }
    Ok(passes)
}

/// All counts over one stream.
fn counts(stream: &str, calls: &[SegmentCall], sources: &[TableSource]) -> Result<CallPass> {
    let (mut places, mut columns, mut windows) = (Vec::new(), String::new(), Some(0));
    for (place, call) in calls.iter().enumerate() {
        let SegmentCall::Did { step, window_ms } = call else { continue };
        if step.stream != stream {
            continue;
        }
        let recent = window_ms.map(is_recent);
        let conditions: Vec<String> = recent.into_iter().chain(step.condition.as_ref().map(|text| format!("({text})"))).collect();
        let counts = if conditions.is_empty() { "true".to_owned() } else { format!("({}) IS TRUE", conditions.join(" AND ")) };
        columns.push_str(&format!(", {counts} AS \"{}\"", call_column(place)));
        places.push((place, *window_ms));
        windows = windows.zip(*window_ms).map(|(widest, window_ms)| window_ms.max(widest));
    }
    // Where every count has a window, older records need not be looked at.
    let older = windows.map_or_else(String::new, |widest| format!(" WHERE {}", is_recent(widest)));
    if places.iter().any(|(_, window_ms)| window_ms.is_some()) {
        columns.push_str(&format!(", CAST(\"at\" AS BIGINT) AS \"{EVENT_TIME}\""));
    }
    let rows = stream_rows(stream, sources)?;
    let sql = format!("SELECT \"_profile\"{columns} FROM ({rows}) AS {}{older}", quoted(stream));
    Ok(CallPass::Records { calls: places, sql })
}

fn is_recent(window_ms: u64) -> String {
    let since = cast(&format!("now() - INTERVAL '{window_ms} milliseconds'"), FieldType::Timestamp);
    format!("\"at\" >= {since}")
}

/// True for profiles with records for all steps, each later than the one before, within the window. `_start_n` of a record
/// for step n is the latest start of a chain that ends with it: a later start never makes a window longer.
fn sequence(place: usize, steps: &[EventStep], window_ms: u64, sources: &[TableSource]) -> Result<CallPass> {
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
    let (last, window_us) = (steps.len().saturating_sub(1), window_ms.saturating_mul(1_000));
    let sql =
        format!("SELECT \"_profile\", true AS \"holds\" FROM ({sql}) AS r WHERE \"_at\" - \"_start_{last}\" <= {window_us}");
    Ok(CallPass::Records { calls: vec![(place, None)], sql })
}

/// What was said about a purpose for the identifiers of each profile.
fn consent(call: usize, need: &ConsentNeed, sources: &[TableSource]) -> CallPass {
    let mut kinds: Vec<&String> = sources.iter().flat_map(|source| &source.identifiers).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kind = |kind: &String| {
        let value = quoted(&format!("_id_{kind}"));
        let carriers = sources.iter().filter(|source| source.identifiers.contains(kind)).map(|source| {
            format!("SELECT r.\"_node\", r.{value} AS \"value\" {} AND r.{value} IS NOT NULL", source.current_versions())
        });
        let carriers = of_profiles(&union_all(&carriers.collect::<Vec<_>>()), "_node");
        let carriers = format!("SELECT \"_profile\", \"value\" FROM ({carriers}) AS c");
        statements_sql(need, kind, sources).map(|said| IdentifierKind { said, carriers })
    };
    CallPass::Consent { call, kinds: kinds.into_iter().filter_map(of_kind).collect() }
}
