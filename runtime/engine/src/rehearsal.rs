//! Runs the inline tests of pipelines: the real engine on empty stores, its sources played from given records, its
//! destinations replaced by ones that remember what they are sent. What came is compared with what was expected, and
//! every difference is told; further runs of the same test must change nothing.

mod compare;
pub(crate) mod records;
mod stage;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_ledger::DeadLetterFilter;
use affluent_model::batch::RowOperation;
use affluent_model::consent::{ConsentNeed, ConsentWord};
use affluent_model::identity::ProfileId;
use affluent_model::pipeline_test::{ExpectedDeadLetters, ExpectedDelivery, ExpectedProfile, PipelineTest, PlacedValue};
use affluent_model::plan::{PipelineDestination, PipelineSource};
use affluent_model::report::{ProfilesReport, RunReport};
use affluent_model::{Error, Result};
use affluent_profiles::consent::consent_sql;
use affluent_profiles::source::TableSource;
use serde::Serialize;

use crate::consent::take_consent;
use crate::engine::Engine;
use crate::run::{RunOptions, order_of_pipelines};
use crate::tables::profile_tables;

pub use stage::{GivenRecords, Record, Stage};

/// Dead letters that are looked at.
const DEAD_LETTERS_MAX: usize = 10_000;

/// One difference between what was expected and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mismatch {
    /// What was looked at: "profile email:ann@x.test, attribute country".
    pub what: String,
    pub expected: String,
    pub found: String,
}

impl Mismatch {
    fn new(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), found: found.into() }
    }
}

impl Engine {
    /// Runs a test and compares; empty when it passes. The engine's stores are empty and its connectors are `stage`.
    ///
    /// # Errors
    /// Those of the stores; a pipeline that fails is a mismatch.
    pub async fn rehearse(&self, stage: &Stage, pipeline: &str, test: &PipelineTest) -> Result<Vec<Mismatch>> {
        let names = self.walk(stage, pipeline, test);
        let (reports, mut found) = self.round(&names).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        for unread in stage.unread() {
            found.push(Mismatch::new(format!("given `{unread}`"), "to be read", "no pipeline of this test reads it"));
        }
        found.extend(self.compare_profiles(&test.expect.profiles).await?);
        for delivery in &test.expect.deliveries {
            found.extend(compare_delivery(stage, pipeline, delivery));
        }
        found.extend(self.compare_dead_letters(&test.expect.dead_letters)?);
        found.extend(compare_counts(stage, &reports, &test.expect.counts));
        for round in 2..=test.times {
            if found.is_empty() {
                found.extend(self.repeat(stage, &names, test, round).await?);
            }
        }
        Ok(found)
    }

    /// The pipelines that a test runs, in their order.
    fn walk(&self, stage: &Stage, pipeline: &str, test: &PipelineTest) -> Vec<String> {
        let from_profiles =
            |name: &str| self.plan.pipelines.get(name).is_some_and(|one| matches!(one.source, PipelineSource::Profiles { .. }));
        let feeds_profiles = |name: &str| {
            self.plan.pipelines.get(name).is_some_and(|one| match (&one.source, &one.destination) {
                (PipelineSource::Connection { streams, .. }, PipelineDestination::Profiles { .. }) => {
                    stage.is_live() || streams.iter().any(|read| stage.gives(name, &read.name))
                }
                _ => false,
            })
        };
        let expected = |name: &str| {
            let mut senders = test.expect.deliveries.iter().filter_map(|delivery| delivery.pipeline.as_ref());
            senders.any(|sender| sender.name == name)
        };
        let is_run = |name: &String| name == pipeline || expected(name) || from_profiles(pipeline) && feeds_profiles(name);
        order_of_pipelines(&self.plan).into_iter().filter(is_run).collect()
    }

    async fn round(&self, names: &[String]) -> Result<(Vec<RunReport>, Vec<Mismatch>)> {
        let mut reports = Vec::new();
        for name in names {
            let (report, error) = self.run(name, &RunOptions::default()).await?;
            if let Some(error) = error {
                let found = format!("error[{}]: {}", error.code, error.message);
                return Ok((reports, vec![Mismatch::new(format!("pipeline {name}"), "to run to its end", found)]));
            }
            reports.push(report);
        }
        Ok((reports, Vec::new()))
    }

    /// Runs once more: nothing may change.
    async fn repeat(&self, stage: &Stage, names: &[String], test: &PipelineTest, round: u32) -> Result<Vec<Mismatch>> {
        let sent_before = stage.sent().len();
        let (reports, mut found) = self.round(names).await?;
        for sent in stage.sent().iter().skip(sent_before) {
            let rows = format!("{} {}", sent.operation.as_str(), compare::shown_rows(&sent.rows));
            found.push(Mismatch::new(format!("run {round}, pipeline {}", sent.pipeline), "nothing sent", rows));
        }
        for profiles in reports.iter().filter_map(|report| report.profiles.as_ref()) {
            let changed = changes(profiles);
            if !changed.is_empty() {
                found.push(Mismatch::new(format!("run {round}, profiles"), "no change", changed.join(", ")));
            }
        }
        for mismatch in self.compare_profiles(&test.expect.profiles).await? {
            found.push(Mismatch { what: format!("run {round}, {}", mismatch.what), ..mismatch });
        }
        Ok(found)
    }

    async fn compare_profiles(&self, expected: &[ExpectedProfile]) -> Result<Vec<Mismatch>> {
        let mut found = Vec::new();
        for profile in expected {
            found.extend(self.compare_profile(profile).await?);
        }
        Ok(found)
    }

    async fn compare_profile(&self, expected: &ExpectedProfile) -> Result<Vec<Mismatch>> {
        let mut ids: Vec<(String, ProfileId)> = Vec::new();
        for identifier in &expected.identifiers {
            let reference = format!("{}:{}", identifier.name, compare::text_of(&identifier.value));
            match self.find_profile(&reference) {
                Ok(id) => ids.push((reference, id)),
                Err(error) if error.code == "E0813" => {
                    return Ok(vec![Mismatch::new(format!("profile {reference}"), "one profile", error.message)]);
                }
                Err(error) => return Err(error),
            }
        }
        let Some((what, id)) = ids.first().cloned() else { return Err(Error::bug("an expected profile has no identifier")) };
        if let Some((other, _)) = ids.iter().find(|(_, other)| *other != id) {
            return Ok(vec![Mismatch::new(format!("profile {what}"), format!("the one of {other}"), "another profile")]);
        }
        let view = self.profile(id, true).await?;
        let what = format!("profile {what}");
        let value = |name: &str| view.values.iter().find(|value| value.name == name).map(|value| value.value.as_str());
        let mut found = compare::values(&what, "attribute", &expected.attributes, value);
        found.extend(compare::values(&what, "trait", &expected.traits, value));
        found.extend(compare::segments(&what, expected.segments.as_deref(), &view.segments));
        for consent in &expected.consent {
            let said = self.consent(&consent.name, &expected.identifiers).await?;
            if consent.value.as_str() != Some(said) {
                let what = format!("{what}, consent {}", consent.name);
                found.push(Mismatch::new(what, compare::text_of(&consent.value), said));
            }
        }
        Ok(found)
    }

    /// What was said about a purpose for these identifiers: the strictest of them.
    async fn consent(&self, purpose: &str, identifiers: &[PlacedValue]) -> Result<&'static str> {
        let (sources, tables): (Vec<TableSource>, Vec<LakeTable>) =
            profile_tables(self).await?.into_iter().map(|one| (one.source, one.table)).unzip();
        let mut strictest: Option<ConsentWord> = None;
        for identifier in identifiers {
            let rule = self.plan.identity.identifiers.iter().find(|rule| rule.name == identifier.name);
            let text = compare::text_of(&identifier.value);
            let Some((rule, value)) = rule.and_then(|rule| Some((rule, rule.canonical(&text)?))) else {
                continue;
            };
            let sql = consent_sql(&ConsentNeed::of_purpose(purpose), &rule.name, &sources);
            let query = LakeQuery::new(sql, tables.clone(), self.now_us());
            let mut said = std::collections::HashMap::new();
            self.lake.stream(query, &mut |batch| take_consent(&batch, &mut said)).await?;
            let word = said.get(&self.vault.blind_indexer(&rule.name)?.index(value.as_bytes()));
            strictest = strictest.max(word.copied());
        }
        Ok(strictest.map_or("unknown", ConsentWord::as_str))
    }

    /// Each refused record is expected, and each expected one is there.
    fn compare_dead_letters(&self, expected: &[ExpectedDeadLetters]) -> Result<Vec<Mismatch>> {
        let mut rows = self.ledger.dead_letters(&DeadLetterFilter::default(), DEAD_LETTERS_MAX)?;
        rows.reverse();
        let mut found = Vec::new();
        for one in expected {
            let is_meant = |code: &str, stream: &str| {
                one.code.as_deref().is_none_or(|expected| expected == code)
                    && one.stream.as_ref().is_none_or(|expected| expected.name == stream)
            };
            let mut taken = 0;
            rows.retain(|row| {
                let is_taken = taken < one.count && is_meant(&row.letter.code, &row.letter.stream);
                taken += u64::from(is_taken);
                !is_taken
            });
            if taken != one.count {
                let code = one.code.as_deref().unwrap_or("any code");
                let stream = one.stream.as_ref().map_or("any stream", |stream| &stream.name);
                let what = format!("dead letters ({code}, {stream})");
                found.push(Mismatch::new(what, one.count.to_string(), taken.to_string()));
            }
        }
        for row in rows {
            let refused = format!("{}: {} ({})", row.letter.code, row.letter.message, row.letter.place);
            found.push(Mismatch::new(format!("dead letters of {}", row.letter.stream), "no other", refused));
        }
        Ok(found)
    }
}

fn compare_delivery(stage: &Stage, own: &str, expected: &ExpectedDelivery) -> Vec<Mismatch> {
    let pipeline = expected.pipeline.as_ref().map_or(own, |pipeline| &pipeline.name);
    let mut found = Vec::new();
    for (operation, rows) in [(RowOperation::Upsert, &expected.upserts), (RowOperation::Delete, &expected.removes)] {
        let Some(rows) = rows else { continue };
        let sent = stage.sent();
        let sent = sent.iter().filter(|sent| sent.pipeline == pipeline && sent.operation == operation);
        let sent: Vec<Record> = sent.flat_map(|sent| sent.rows.iter().cloned()).collect();
        found.extend(compare::rows(&format!("{pipeline} {}", operation.as_str()), rows, &sent));
    }
    found
}

fn compare_counts(stage: &Stage, reports: &[RunReport], expected: &[PlacedValue]) -> Vec<Mismatch> {
    let streams = || reports.iter().flat_map(|report| &report.streams);
    let activations = || reports.iter().filter_map(|report| report.activation.as_ref());
    let rows = |operation: RowOperation| -> u64 {
        let sent = stage.sent();
        let counts = sent.iter().filter(|sent| sent.operation == operation).map(|sent| sent.rows.len());
        u64::try_from(counts.sum::<usize>()).unwrap_or(u64::MAX)
    };
    let mut found = Vec::new();
    for count in expected {
        let came: u64 = match count.name.as_str() {
            "profiles" => reports.iter().filter_map(|report| report.profiles.as_ref()).next_back().map_or(0, |one| one.profiles),
            "read" => streams().map(|stream| stream.read).sum(),
            "filtered" => streams().map(|stream| stream.filtered).sum(),
            "refused" => streams().map(|stream| stream.rejected).sum(),
            "kept" => streams().map(|stream| stream.admitted).sum(),
            "upserts" => rows(RowOperation::Upsert),
            "removes" => rows(RowOperation::Delete),
            "without_consent" => activations().map(|sent| sent.without_consent).sum(),
            "without_match" => activations().map(|sent| sent.without_match).sum(),
            _ => 0,
        };
        if count.value.as_u64() != Some(came) {
            let what = format!("count {}", count.name);
            found.push(Mismatch::new(what, compare::text_of(&count.value), came.to_string()));
        }
    }
    found
}

/// What a run did to profiles, in words.
fn changes(profiles: &ProfilesReport) -> Vec<String> {
    let mut counts = vec![("created", profiles.created), ("merged away", profiles.merged), ("split", profiles.split)];
    for (name, segment) in &profiles.segments {
        counts.extend([(name.as_str(), segment.entered + segment.left)]);
    }
    let changed = counts.into_iter().filter(|(_, count)| *count > 0);
    changed.map(|(what, count)| format!("{count} {what}")).collect()
}
