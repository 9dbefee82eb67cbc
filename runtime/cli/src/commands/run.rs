//! `affluent run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use affluent_engine::{Engine, RunOptions, order_of_pipelines, run_each};
use affluent_model::Error;
use affluent_model::plan::Plan;

use crate::arguments::{RunArguments, Shared};
use crate::failure::{Exit, Failure, Outcome};
use crate::lock_file;
use crate::project;
use crate::render::progress::Progress;
use crate::render::screen::{Screen, complain};
use crate::render::{diagnostics, report};
use crate::wire;
use crate::world;

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &RunArguments) -> Outcome {
    let project = project::load_to_check(shared).await?;
    let names = chosen(&project.plan, &arguments.pipelines)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(Progress::new(screen));
    let (world, entered) = world::enter(&project.plan, arguments)?;
    let wired = wire::open_in(Arc::clone(&entered.plan), world, progress.clone(), Arc::clone(&cancelled))?;
    entered.check_begins_from_nothing(wired.engine.ledger.is_empty()?)?;
    let warnings = project::validate_to_run(&project, &*wired.connectors, &wired.engine.expressions).await?;
    if !warnings.is_empty() {
        complain(&diagnostics::mistakes(screen, &warnings));
    }
    for note in &wired.notes {
        screen.say(note);
    }
    lock_file::follow(&wired.policy, &project.plan, screen)?;
    stop_on_signals(Arc::clone(&cancelled));
    let options = RunOptions {
        full: arguments.full,
        streams: arguments.streams.clone(),
        limit: arguments.limit,
        scheduled_for_us: None,
        leaves_profiles: false,
    };
    let is_recorded = arguments.record.is_some() || arguments.replay.is_some();
    let (reports, mut errors) = run_each(&wired.engine, &names, &options, is_recorded).await?;
    progress.clear();
    match entered.leave() {
        Ok(notes) => notes.iter().for_each(|note| screen.say(note)),
        Err(error) => errors.push(error),
    }
    for error in &errors {
        complain(&diagnostics::error(error));
    }
    screen.result(&reports, || report::reports(&reports))?;
    let is_whole = arguments.pipelines.is_empty() && errors.is_empty() && arguments.replay.is_none();
    if is_whole {
        screen.say(&next_commands(shared, &wired.engine)?);
    }
    let outcome = reports.iter().fold(Exit::Done, |exit, report| exit.and(Exit::of_outcome(report.outcome)));
    Ok(errors.iter().fold(outcome, |exit, error| exit.and(Exit::of_error(error))))
}

/// The pipelines asked for, in an order in which each comes after those it waits for.
pub(crate) fn chosen(plan: &Plan, asked: &[String]) -> Result<Vec<String>, Failure> {
    for name in asked {
        if !plan.pipelines.contains_key(name) {
            let known: Vec<&str> = plan.pipelines.keys().map(String::as_str).collect();
            return Err(Error::configuration("E0820", format!("there is no pipeline `{name}`"))
                .help(format!("this project has {}", known.join(", ")))
                .into());
        }
    }
    Ok(order_of_pipelines(plan).into_iter().filter(|name| asked.is_empty() || asked.contains(name)).collect())
}

/// The first signal stops at the next safe point, the second at once; both leave everything so that it can go on.
pub(crate) fn stop_on_signals(cancelled: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    tokio::spawn(async move {
        for round in 0.. {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if round == 0 {
                complain("stopping at the next safe point; once more stops at once");
                cancelled.store(true, Ordering::Relaxed);
            } else {
                end_at_once();
            }
        }
    });
}

/// Ends the process without waiting: what is committed stays, the rest is done again by the next run.
#[expect(clippy::exit, reason = "a second signal asks for exactly this")]
pub(crate) fn end_at_once() {
    std::process::exit(Exit::Interrupted as i32);
}

/// Commands worth trying on what is there now.
fn next_commands(shared: &Shared, engine: &Engine) -> Result<String, Failure> {
    let project = shared.project.as_ref().map_or_else(String::new, |folder| format!(" --project {}", folder.display()));
    let mut lines = vec!["try next:".to_owned()];
    if let Some(segment) = engine.plan.segments.first() {
        if let Some(member) = engine.ledger.members(&segment.name)?.first() {
            lines.push(format!("  affluent profile show {member}{project}"));
        }
        lines.push(format!("  affluent segment size {}{project}", segment.name));
    }
    lines.push(format!("  affluent status{project}"));
    lines.push(format!("  affluent run{project}        again: only what changed is sent"));
    Ok(lines.join("\n"))
}
