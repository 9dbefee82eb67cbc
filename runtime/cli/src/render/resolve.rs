//! What `affluent resolve` tells: for people a few tables, for machines everything.

use std::time::Duration;

use affluent_model::plan::IdentityRules;
use affluent_profiles::measure::Scores;
use affluent_profiles::records::Records;
use affluent_profiles::resolve::Grouping;
use affluent_profiles::weigh::{AttributeModel, ScoreModel};
use serde_json::{Value, json};

use super::screen::{duration, number, table};

/// Everything that is told.
pub(crate) struct Report<'a> {
    rules: &'a IdentityRules,
    grouping: &'a Grouping,
    records: u64,
    /// Records in the largest group.
    largest: u64,
    scores: Option<Scores>,
    elapsed_ms: u64,
    /// `None` where the system does not tell.
    memory_peak_bytes: Option<u64>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        rules: &'a IdentityRules,
        records: &Records<'_>,
        grouping: &'a Grouping,
        scores: Option<Scores>,
        elapsed: Duration,
    ) -> Self {
        let mut sizes = vec![0_u64; grouping.groups as usize];
        for group in &grouping.group_of {
            sizes.get_mut(*group as usize).into_iter().for_each(|size| *size += 1);
        }
        Self {
            rules,
            grouping,
            records: records.len() as u64,
            largest: sizes.into_iter().max().unwrap_or(0),
            scores,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            memory_peak_bytes: memory_peak_bytes(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let counted = |counts: &[(String, u64)], name: &str| -> Vec<Value> {
            counts.iter().map(|(text, links)| json!({ name: text, "links": links })).collect()
        };
        let blocked: Vec<Value> = self
            .grouping
            .blocked
            .iter()
            .map(|blocked| json!({ "identifier": self.kind(blocked.kind), "reason": blocked.reason, "records": blocked.nodes }))
            .collect();
        json!({
            "records": self.records,
            "profiles": self.grouping.groups,
            "largest": self.largest,
            "joined": counted(&self.grouping.joined, "rule"),
            "refused": counted(&self.grouping.refused, "reason"),
            "identifiers_refused": self.grouping.demoted.iter().map(|(reason, count)| json!({ "reason": reason, "identifiers": count })).collect::<Vec<_>>(),
            "blocked": blocked,
            "scores": self.scores.map(|scores| scores_json(&scores)),
            "models": self.grouping.models.iter().map(model_json).collect::<Vec<_>>(),
            "elapsed_ms": self.elapsed_ms,
            "memory_peak_bytes": self.memory_peak_bytes,
        })
    }

    fn kind(&self, kind: u16) -> &str {
        self.rules.identifiers.get(usize::from(kind)).map_or("", |rule| rule.name.as_str())
    }
}

/// The report for people.
pub(crate) fn text(report: &Report<'_>) -> String {
    let mut parts = vec![summary(report)];
    if let Some(scores) = &report.scores {
        parts.push(scores_text(scores));
    }
    parts.push(links_text(report));
    parts.extend(report.grouping.models.iter().map(model_text));
    parts.join("\n\n")
}

fn summary(report: &Report<'_>) -> String {
    let memory = report.memory_peak_bytes.map_or_else(String::new, |bytes| format!(", {} MB", number(bytes / 1_000_000)));
    format!(
        "{} records are {} profiles, the largest of {} ({}{memory})",
        number(report.records),
        number(report.grouping.groups.into()),
        number(report.largest),
        duration(report.elapsed_ms)
    )
}

fn scores_text(scores: &Scores) -> String {
    let mut rows = table(&["", "precision", "recall", "F1"]);
    let four = |share: f64| format!("{share:.4}");
    rows.add_row(["pairs".to_owned(), four(scores.precision), four(scores.recall), four(scores.f1)]);
    rows.add_row(["B-cubed".to_owned(), four(scores.b3_precision), four(scores.b3_recall), four(scores.b3_f1)]);
    format!(
        "{rows}\n{} persons, the largest of {}; {} pairs are joined wrongly, {} are missed",
        number(scores.persons),
        number(scores.largest_person),
        number(scores.false_pairs),
        number(scores.missed_pairs)
    )
}

fn links_text(report: &Report<'_>) -> String {
    let mut rows = table(&["rule", "links"]);
    for (rule, links) in &report.grouping.joined {
        rows.add_row([rule.clone(), number(*links)]);
    }
    for (reason, links) in &report.grouping.refused {
        rows.add_row([format!("refused: {reason}"), number(*links)]);
    }
    for (reason, identifiers) in &report.grouping.demoted {
        rows.add_row([format!("identifiers left out: {reason}"), number(*identifiers)]);
    }
    for (kind, rule) in (0..).zip(&report.rules.identifiers) {
        let values = report.grouping.blocked.iter().filter(|blocked| blocked.kind == kind).count() as u64;
        if values > 0 {
            rows.add_row([format!("values of {} on too many records, left out", rule.name), number(values)]);
        }
    }
    rows.to_string()
}

fn model_text(model: &ScoreModel) -> String {
    let mut rows = table(&["attribute", "agreement", "of matches", "of strangers", "bits"]);
    for attribute in &model.attributes {
        for (at, level) in attribute.levels.iter().rev().enumerate() {
            let name = if at == 0 { attribute.name.clone() } else { String::new() };
            let bits = (level.among_matches / level.among_strangers).log2();
            rows.add_row([
                name,
                level.level.to_owned(),
                format!("{:.2} %", level.among_matches * 100.0),
                format!("{:.2} %", level.among_strangers * 100.0),
                format!("{bits:+.1}"),
            ]);
        }
    }
    format!("{}: about {:.0} pairs match\n{rows}", model.rule, model.matches_expected)
}

fn scores_json(scores: &Scores) -> Value {
    json!({
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "b3_precision": scores.b3_precision,
        "b3_recall": scores.b3_recall,
        "b3_f1": scores.b3_f1,
        "records": scores.records,
        "persons": scores.persons,
        "largest_person": scores.largest_person,
        "false_pairs": scores.false_pairs,
        "missed_pairs": scores.missed_pairs,
    })
}

fn model_json(model: &ScoreModel) -> Value {
    let attribute = |attribute: &AttributeModel| {
        let levels: Vec<Value> = attribute
            .levels
            .iter()
            .map(|level| {
                json!({
                    "level": level.level,
                    "among_matches": level.among_matches,
                    "among_strangers": level.among_strangers,
                })
            })
            .collect();
        json!({ "attribute": attribute.name, "levels": levels })
    };
    json!({
        "rule": model.rule,
        "matches_expected": model.matches_expected,
        "attributes": model.attributes.iter().map(attribute).collect::<Vec<_>>(),
    })
}

/// The most memory this process ever held (`VmHWM` of Linux).
fn memory_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
