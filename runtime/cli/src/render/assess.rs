//! `affluent assess` as text and JSON.

use affluent_profiles::assess::propose::Proposal;
use affluent_profiles::assess::report::{
    Assessment, FieldAssessment, IdentifierCandidate, MatchForecast, Share, StreamAssessment, TimeRole,
};
use serde_json::{Value, json};

use crate::render::screen::{number, table};

/// Letters of a bar.
const BAR: usize = 10;
/// Shapes and values of a field that are shown.
const SHARES_MAX: usize = 3;

/// Everything, for machines.
pub(crate) fn json(found: &Assessment, proposal: Option<&Proposal>) -> Value {
    let mut value = json!(found);
    if let (Value::Object(object), Some(proposal)) = (&mut value, proposal) {
        object.insert("proposal".to_owned(), json!({ "pipeline": proposal.pipeline, "identity": proposal.identity }));
    }
    value
}

/// Everything, for people.
pub(crate) fn assessment(found: &Assessment, proposal: Option<&Proposal>) -> String {
    let mut parts: Vec<String> = found.streams.iter().map(stream).collect();
    parts.extend(proposal.map(|proposed| format!("proposed pipeline\n\n{}", self::proposal(proposed))));
    parts.join("\n\n")
}

/// The proposed files: the pipeline, and as a comment what `profiles/identity.yaml` lacks for it.
pub(crate) fn proposal(proposal: &Proposal) -> String {
    let mut text = proposal.pipeline.clone();
    if let Some(identity) = &proposal.identity {
        text.push_str("\n# profiles/identity.yaml has to know these identifiers:\n");
        identity.lines().for_each(|line| text.push_str(&format!("# {line}\n")));
    }
    text
}

fn stream(stream: &StreamAssessment) -> String {
    let more = if stream.is_whole { "" } else { ", and there are more" };
    let rejected = if stream.rejected > 0 { format!(", {} unreadable", number(stream.rejected)) } else { String::new() };
    let mut parts = vec![format!("{}: {} records{rejected}{more}", stream.stream, number(stream.records)), fields(stream)];
    parts.extend((!stream.identifiers.is_empty()).then(|| identifiers(stream)));
    parts.push(roles(stream).join("\n"));
    parts.extend(stream.matches.as_ref().map(|matches| match_lines(matches).join("\n")));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn fields(stream: &StreamAssessment) -> String {
    let mut rows = table(&["field", "type", "filled", "", "distinct", "junk", "personal", "shapes or values"]);
    for field in &stream.fields {
        rows.add_row([
            field.name.clone(),
            field.kind.as_str().to_owned(),
            bar(field.fill_rate),
            percent(field.fill_rate),
            distinct(field),
            junk(field),
            personal(field),
            shares(field),
        ]);
    }
    rows.to_string()
}

fn identifiers(stream: &StreamAssessment) -> String {
    let is_compared = stream.identifiers.iter().any(|one| !one.known.is_empty());
    let mut head = vec!["identifier", "as", "distinct", "records per value", "most", "junk"];
    head.extend(is_compared.then_some("known"));
    let mut rows = table(&head);
    for one in &stream.identifiers {
        let mut row = vec![
            one.field.clone(),
            one.kind.clone(),
            number(one.distinct),
            format!("{:.2}", one.records_per_value),
            number(one.records_per_value_max),
            percent(one.junk_share),
        ];
        row.extend(is_compared.then(|| known(one)));
        rows.add_row(row);
    }
    rows.to_string()
}

/// What is known of the values of an identifier already, kinds without any left out.
pub(super) fn known(one: &IdentifierCandidate) -> String {
    let told = one.known.iter().filter(|known| known.known > 0 || known.kind == one.kind);
    let shown: Vec<String> =
        told.map(|known| format!("{} of {} as {}", percent(known.share), number(known.values), known.kind)).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

/// Keys, subject, times and consents in sentences.
pub(super) fn roles(stream: &StreamAssessment) -> Vec<String> {
    let mut lines = Vec::new();
    for key in &stream.keys {
        let certain = if key.is_exact { "" } else { ", as far as a sample tells" };
        lines.push(format!("key: {}{certain}", key.fields.join(" + ")));
    }
    if stream.keys.is_empty() {
        lines.push("key: no field, and no pair of fields, tells the records apart".to_owned());
    }
    lines.extend(stream.subject.as_ref().map(|subject| format!("subject: {subject}")));
    for time in &stream.times {
        let role = match time.role {
            TimeRole::Changed => "last change, fit for incremental reads",
            TimeRole::Created => "creation",
            TimeRole::Event => "time",
        };
        lines.push(format!("{role}: {} ({})", time.field, time.format));
    }
    lines.extend(stream.consents.iter().map(|consent| format!("consent to {}: {}", consent.purpose, consent.granted)));
    lines
}

/// The forecast in sentences.
pub(super) fn match_lines(matches: &MatchForecast) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} of {} records would join {} profiles that exist ({})",
            number(matches.joining),
            number(matches.records),
            number(matches.profiles_met),
            percent(matches.match_rate)
        ),
        format!("the others would make {} profiles", number(matches.profiles_made)),
    ];
    if matches.profiles_merged > 0 {
        lines.push(format!("{} profiles that exist would become part of others", number(matches.profiles_merged)));
    }
    if matches.without_identifier > 0 {
        lines.push(format!("{} records have no usable identifier", number(matches.without_identifier)));
    }
    if matches.leaves_out_comparisons {
        lines.push("rules that compare names, dates or addresses have no part in this forecast".to_owned());
    }
    lines
}

pub(super) fn distinct(field: &FieldAssessment) -> String {
    if field.distinct_is_exact { number(field.distinct) } else { format!("~{}", number(field.distinct)) }
}

pub(super) fn junk(field: &FieldAssessment) -> String {
    field.junk.iter().map(|junk| format!("{} {}", number(junk.records), junk.preset)).collect::<Vec<_>>().join(", ")
}

pub(super) fn personal(field: &FieldAssessment) -> String {
    let told = field.personal.as_ref();
    told.map_or_else(String::new, |personal| format!("{} {:.0} %", personal.kind.as_str(), personal.confidence * 100.0))
}

/// Values where they may be told, else bounds, else shapes.
pub(super) fn shares(field: &FieldAssessment) -> String {
    let listed = |shares: &[Share]| {
        let shown = shares.iter().take(SHARES_MAX).map(|one| format!("{} {}", one.name, percent(one.share)));
        shown.collect::<Vec<_>>().join(" · ")
    };
    match (&field.minimum, &field.maximum) {
        _ if !field.values.is_empty() => listed(&field.values),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => listed(&field.shapes),
    }
}

fn bar(share: f64) -> String {
    let filled = (0..BAR).filter(|step| share * as_float(BAR) > as_float(*step) + 0.5).count();
    format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled))
}

#[expect(clippy::cast_precision_loss, reason = "letters of a bar")]
fn as_float(count: usize) -> f64 {
    count as f64
}

/// 0.123 → `12 %`; small shares keep a digit.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 || percent > 99.0 && percent < 100.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}
