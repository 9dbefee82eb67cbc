//! `affluent serve`: schedules, until it is stopped.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use affluent_engine::{Scheduler, SilentObserver, WebhookAddress, Webhooks};
use affluent_model::Error;
use affluent_model::limits::DRAIN_MS_MAX;
use affluent_model::report::RunReport;
use affluent_model::webhook::Asked;

use crate::arguments::{ServeArguments, Shared};
use crate::commands::run::{end_at_once, stop_on_signals};
use crate::failure::{Exit, Outcome};
use crate::lock_file;
use crate::project;
use crate::render::screen::{Screen, complain, duration};
use crate::render::{diagnostics, report};
use crate::secrets;
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &ServeArguments) -> Outcome {
    let project = project::load_to_check(shared).await?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::clone(&cancelled))?;
    project::validate_to_run(&project, &*wired.connectors, &wired.engine.expressions).await?;
    for note in &wired.notes {
        screen.say(note);
    }
    lock_file::follow(&wired.policy, &project.plan, screen)?;
    let scheduled = project.plan.pipelines.values().filter(|pipeline| pipeline.schedule.is_some()).count();
    let listener = affluent_server::listen(&arguments.listen).await?;
    screen
        .say(&format!("serving {scheduled} schedules of {}; status on http://{}/", project.plan.project.name, arguments.listen));
    let quiet = screen.quiet;
    let on_end = move |report: &RunReport, error: Option<&Error>| told(report, error, quiet);
    let scheduler = Scheduler::new(Arc::clone(&wired.engine), Arc::new(on_end));
    let webhooks = Webhooks::open(Arc::clone(&wired.engine), Box::new(asked)).await?;
    for address in webhooks.addresses() {
        secrets::resolve(&project.plan.project.root, &address.connection, &address.secret)?;
        screen.say(&answers(address, &arguments.listen));
    }
    stop_on_signals(Arc::clone(&cancelled));
    let page = tokio::spawn(affluent_server::serve(listener, Arc::clone(&wired.engine), webhooks));
    end_when_drained_too_long(cancelled);
    scheduler.serve().await?;
    page.abort();
    Ok(Exit::Done)
}

/// What still runs when the time to drain is over is ended; the next process goes on from its checkpoints.
fn end_when_drained_too_long(cancelled: Arc<AtomicBool>) {
    tokio::spawn(async move {
        while !cancelled.load(std::sync::atomic::Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(DRAIN_MS_MAX - 500)).await;
        complain("what still runs is ended; it goes on from its last checkpoint");
        end_at_once();
    });
}

/// Where webhooks of a connection come in, and what they start.
fn answers(address: &WebhookAddress, listen: &str) -> String {
    let connection = &address.connection;
    let public = connection.webhook_url.as_ref().map_or(String::new(), |url| format!(", behind {url}"));
    let starts = match address.pipelines.as_slice() {
        [] => "start nothing: no pipeline with a schedule reads it".to_owned(),
        pipelines => format!("start {}", pipelines.join(", ")),
    };
    format!("webhooks of {0} at http://{listen}/webhooks/{0}{public}: {starts}", connection.name)
}

/// Not only where talk is wanted: a person must act, and within the time that the law gives.
fn asked(connection: &str, asked: &Asked) {
    let about = asked.about.as_ref().map_or(String::new(), |id| format!(" about {id}"));
    complain(&format!(
        "the service of {connection} asks: {}{about}; `affluent requests list` shows it until it is closed",
        asked.topic
    ));
}

fn told(run: &RunReport, error: Option<&Error>, quiet: bool) {
    if let Some(error) = error {
        complain(&diagnostics::error(error));
    }
    if !quiet {
        let records: u64 = run.streams.iter().map(|stream| stream.admitted).sum();
        let sent = run.activation.as_ref().map_or(0, |sent| sent.accepted + sent.removed);
        let took = duration(run.took_ms);
        complain(&format!("{}: {} in {took}, {records} records read, {sent} rows sent", run.pipeline, report::word(run.outcome)));
    }
}
