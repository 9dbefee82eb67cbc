//! `affluent dead-letters list`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::SilentObserver;
use affluent_ledger::DeadLetterFilter;
use serde::Serialize;

use crate::arguments::{DeadLettersCommand, Shared};
use crate::commands::status::instant;
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::screen::{Screen, table};
use crate::wire;

#[derive(Serialize)]
struct Listed {
    id: i64,
    at: String,
    pipeline: String,
    stream: String,
    stage: &'static str,
    place: String,
    code: String,
    message: String,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &DeadLettersCommand) -> Outcome {
    let DeadLettersCommand::List { pipeline, limit } = command;
    let project = project::load(shared)?;
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let filter = DeadLetterFilter { pipeline: pipeline.clone(), ..DeadLetterFilter::default() };
    let rows = wired.engine.ledger.dead_letters(&filter, *limit)?;
    let listed: Vec<Listed> = rows
        .into_iter()
        .map(|row| Listed {
            id: row.id,
            at: instant(row.letter.at_us),
            pipeline: row.pipeline,
            stream: row.letter.stream,
            stage: row.letter.stage.as_str(),
            place: row.letter.place,
            code: row.letter.code,
            message: row.letter.message,
        })
        .collect();
    screen.result(&listed, || text(&listed))?;
    Ok(Exit::Done)
}

fn text(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "no record was refused".to_owned();
    }
    let mut rows = table(&["id", "at", "pipeline", "stream", "stage", "place", "reason"]);
    for one in listed {
        rows.add_row([
            one.id.to_string(),
            one.at.clone(),
            one.pipeline.clone(),
            one.stream.clone(),
            one.stage.to_owned(),
            one.place.clone(),
            format!("{} ({})", one.message, one.code),
        ]);
    }
    rows.to_string()
}
