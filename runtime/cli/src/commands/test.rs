//! `affluent test`: runs the inline tests of pipelines, each on empty stores of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use affluent_engine::{Clock, GivenRecords, Mismatch, Record, SilentObserver, Stage};
use affluent_host::{Exchanges, Repeats, Replay};
use affluent_lake::Expressions;
use affluent_model::Error;
use affluent_model::connector::Connectors;
use affluent_model::pipeline_test::{GivenRows, PipelineTest};
use affluent_model::plan::Plan;
use serde::Serialize;
use serde_json::Map;

use crate::arguments::{PipelineTestArguments, Shared};
use crate::commands::run::chosen;
use crate::failure::{Exit, Failure, Outcome};
use crate::fixtures;
use crate::project;
use crate::render::diagnostics;
use crate::render::screen::{Screen, complain, duration};
use crate::wire;
use crate::world::{FixedClock, Scratch, World};

/// How one test ended.
#[derive(Debug, Serialize)]
struct Tested {
    pipeline: String,
    name: String,
    passed: bool,
    took_ms: u64,
    mismatches: Vec<Mismatch>,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &PipelineTestArguments) -> Outcome {
    let project = project::load_to_check(shared).await?;
    let names = chosen(&project.plan, &arguments.pipelines)?;
    let host = wire::host(&project.plan, None, Arc::new(AtomicBool::new(false)))?;
    let warnings = project::validate_offline(&project, &host, &Expressions::new()).await?;
    if !warnings.is_empty() {
        complain(&diagnostics::mistakes(screen, &warnings));
    }
    let tests = selected(&project.plan, &names, arguments)?;
    let mut tested = Vec::new();
    for (pipeline, test) in tests {
        let one = run_one(&project.plan, pipeline, test).await?;
        screen.say(&line(&one));
        tested.push(one);
    }
    let failed = tested.iter().filter(|one| !one.passed).count();
    screen.result(&tested, || summary(tested.len(), failed))?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Refused })
}

/// The tests asked for.
fn selected<'a>(
    plan: &'a Plan,
    names: &'a [String],
    arguments: &PipelineTestArguments,
) -> Result<Vec<(&'a str, &'a PipelineTest)>, Failure> {
    let pipelines = names.iter().filter_map(|name| plan.pipelines.get(name));
    let all = pipelines.flat_map(|pipeline| pipeline.tests.iter().map(|test| (pipeline.name.as_str(), test)));
    let is_meant = |test: &PipelineTest| arguments.name.as_ref().is_none_or(|part| test.name.contains(part.as_str()));
    let tests: Vec<_> = all.filter(|(_, test)| is_meant(test)).collect();
    if tests.is_empty() && (arguments.name.is_some() || !arguments.pipelines.is_empty()) {
        return Err(Error::configuration("E0926", "there is no such test")
            .help("tests stand under `tests` of a pipeline; `affluent test` runs all of them")
            .into());
    }
    Ok(tests)
}

async fn run_one(plan: &Arc<Plan>, pipeline: &str, test: &PipelineTest) -> Result<Tested, Failure> {
    let started = Instant::now();
    let replay = match &test.recording {
        Some(folder) => Some(Arc::new(Replay::open(&plan.project.root.join(folder), Repeats::LastAnswer)?)),
        None => None,
    };
    let given = if replay.is_some() { None } else { Some(given(&plan.project.root, test)?) };
    let data = plan.project.data_dir.join("test");
    let scratch = Scratch::at(&data)?;
    let now_us = test.now_us.or(replay.as_ref().map(|replay| replay.recorded_at_us()));
    let world = World {
        exchanges: replay.as_ref().map_or(Exchanges::Live, |replay| Exchanges::Replay(Arc::clone(replay))),
        clock: Arc::new(FixedClock(now_us.unwrap_or_else(|| wire::SystemClock.now_us()))),
        output_root: Some(data.join("out")),
        ..World::live(plan)
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let (mut engine, host, ..) = wire::assemble(Arc::new(scratch.hold(plan)), world, Arc::new(SilentObserver), cancelled)?;
    let stage = Arc::new(Stage::new(host as Arc<dyn Connectors>, given));
    engine.connectors = Arc::clone(&stage) as Arc<dyn Connectors>;
    let place = |error: Error| error.at(format!("pipeline {pipeline}, test {}", test.name));
    let mut mismatches = engine.rehearse(&stage, pipeline, test).await.map_err(place)?;
    if let Some(Err(error)) = replay.map(|replay| replay.check()) {
        mismatches.push(Mismatch {
            what: "recording".to_owned(),
            expected: "all that is asked".to_owned(),
            found: error.message,
        });
    }
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (pipeline, name) = (pipeline.to_owned(), test.name.clone());
    Ok(Tested { pipeline, name, passed: mismatches.is_empty(), took_ms, mismatches })
}

/// The records that a test gives.
fn given(root: &Path, test: &PipelineTest) -> Result<GivenRecords, Failure> {
    let mut given = GivenRecords::new();
    for stream in &test.given {
        let records = match &stream.rows {
            GivenRows::Fixture(file) => fixtures::read(root, file)
                .map_err(|error| error.at(format!("{}:{}", stream.at.file.display(), stream.at.line)))?,
            GivenRows::Rows(rows) => {
                let record = |row: &Vec<affluent_model::pipeline_test::PlacedValue>| -> Record {
                    row.iter().map(|value| (value.name.clone(), value.value.clone())).collect::<Map<_, _>>()
                };
                rows.iter().map(record).collect()
            }
        };
        given.entry((stream.pipeline.clone(), stream.stream.clone())).or_default().extend(records);
    }
    Ok(given)
}

fn line(one: &Tested) -> String {
    let mark = if one.passed { '✓' } else { '✗' };
    let mut text = format!("{mark} {} · {} ({})", one.pipeline, one.name, duration(one.took_ms));
    for mismatch in &one.mismatches {
        let Mismatch { what, expected, found, .. } = mismatch;
        text.push_str(&format!("\n    {what}\n      - expected {expected}\n      + found    {found}"));
    }
    text
}

fn summary(count: usize, failed: usize) -> String {
    let plural = if count == 1 { "test" } else { "tests" };
    match (count, failed) {
        (0, _) => "this project has no tests: write them under `tests` of a pipeline".to_owned(),
        (_, 0) => format!("{count} {plural} passed"),
        _ => format!("{failed} of {count} {plural} failed"),
    }
}
