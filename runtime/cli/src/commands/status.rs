//! `affluent status`: runs, streams, segments and what waits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{Engine, RequestView, SegmentAlert, SilentObserver};
use affluent_model::Result;
use affluent_model::plan::PipelineSource;
use chrono::DateTime;
use serde::Serialize;

use crate::arguments::Shared;
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::screen::{Screen, number, table};
use crate::render::{report, requests};
use crate::wire;

#[derive(Serialize)]
struct Status {
    profiles: u64,
    pipelines: Vec<PipelineStatus>,
    segments: Vec<(String, u64)>,
    /// Segments whose size changed too much when they were last decided.
    alerts: Vec<SegmentAlert>,
    /// What services ask of a person and nobody has answered.
    requests: Vec<RequestView>,
    dead_letters: u64,
}

#[derive(Serialize)]
struct PipelineStatus {
    pipeline: String,
    last_run: Option<String>,
    outcome: String,
    /// Stream → records kept.
    streams: Vec<(String, u64)>,
    pending: u64,
    in_flight: u64,
    at_destination: u64,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen) -> Outcome {
    let project = project::load(shared)?;
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let status = status(&wired.engine)?;
    screen.result(&status, || text(&status))?;
    Ok(Exit::Done)
}

fn status(engine: &Engine) -> Result<Status> {
    let ledger = &engine.ledger;
    let mut pipelines = Vec::new();
    for pipeline in engine.plan.pipelines.values() {
        let last = ledger.runs(Some(&pipeline.name), 1)?.into_iter().next();
        let counts = ledger.outbox_counts(&pipeline.name)?;
        let mut streams = Vec::new();
        if let PipelineSource::Connection { streams: reads, .. } = &pipeline.source {
            for read in reads {
                let records = ledger.checkpoint(&pipeline.name, &read.name)?.map_or(0, |checkpoint| checkpoint.records);
                streams.push((read.name.clone(), records));
            }
        }
        pipelines.push(PipelineStatus {
            pipeline: pipeline.name.clone(),
            last_run: last.as_ref().map(|run| instant(run.started_at_us)),
            outcome: last.map_or_else(|| "never ran".to_owned(), |run| run.outcome.unwrap_or_else(|| "running".to_owned())),
            streams,
            pending: counts.pending,
            in_flight: counts.in_flight,
            at_destination: counts.image,
        });
    }
    let sizes = ledger.segment_sizes()?;
    let of = |name: &str| sizes.iter().find(|size| size.segment == name).map_or(0, |size| size.members);
    let segments = engine.plan.segments.iter().map(|segment| (segment.name.clone(), of(&segment.name))).collect();
    let dead_letters = ledger.dead_letter_counts()?.iter().map(|one| one.count).sum();
    let alerts = engine.segment_alerts()?;
    let requests = engine.requests(false)?;
    Ok(Status { profiles: ledger.profile_count()?, pipelines, segments, alerts, requests, dead_letters })
}

fn text(status: &Status) -> String {
    let mut rows = table(&["pipeline", "last run", "outcome", "records", "waiting", "at destination"]);
    for pipeline in &status.pipelines {
        let streams: Vec<String> =
            pipeline.streams.iter().map(|(name, records)| format!("{name} {}", number(*records))).collect();
        rows.add_row([
            pipeline.pipeline.clone(),
            pipeline.last_run.clone().unwrap_or_default(),
            pipeline.outcome.clone(),
            streams.join(", "),
            number(pipeline.pending + pipeline.in_flight),
            number(pipeline.at_destination),
        ]);
    }
    let mut text = format!("{rows}\n\nprofiles      {}", number(status.profiles));
    for (name, members) in &status.segments {
        text.push_str(&format!("\nsegment       {name}: {} members", number(*members)));
    }
    for alert in &status.alerts {
        let told = report::size_alert(&alert.segment, alert.members_before, alert.members);
        text.push_str(&format!("\nalert         {told}"));
    }
    for request in &status.requests {
        text.push_str(&format!("\nrequest       {}", requests::line(request)));
    }
    text.push_str(&format!("\ndead letters  {}", number(status.dead_letters)));
    text
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn instant(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
