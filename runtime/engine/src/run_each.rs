//! Pipelines run once, each after those it waits for. What is read into profiles is read one after the other; what is sent goes out
//! at once, so that a destination that fails, and is tried again for minutes, holds up no other (delivery.md R10).

use std::collections::BTreeSet;
use std::sync::Arc;

use affluent_model::limits::DELIVERIES_AT_ONCE_MAX;
use affluent_model::plan::PipelineDestination;
use affluent_model::report::{RunOutcome, RunReport};
use affluent_model::{Error, Result};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::run::RunOptions;

/// A pipeline's place in the order, and how its run ended.
type Ended = (usize, Result<(RunReport, Option<Error>)>);

/// Runs pipelines in the order of [`crate::order_of_pipelines`]; those that wait for one that failed are left out. Where
/// `one_by_one`, nothing runs beside another: for recordings, which tell what came in which order. Reports and errors are in the
/// order of the pipelines.
///
/// # Errors
/// Only what kept a run from being entered into the ledger at all, after what was running beside it has ended.
pub async fn run_each(
    engine: &Arc<Engine>,
    names: &[String],
    options: &RunOptions,
    one_by_one: bool,
) -> Result<(Vec<RunReport>, Vec<Error>)> {
    let at_once_max = if one_by_one { 1 } else { DELIVERIES_AT_ONCE_MAX };
    let mut runs = Runs::of(engine, names, options);
    loop {
        while let Some(place) = runs.next(at_once_max) {
            runs.start(place);
        }
        let Some(ended) = runs.running.join_next().await else { break };
        let (place, ended) = ended.map_err(|error| Error::bug(format!("a run ended without a report: {error}")))?;
        runs.finished(place, ended);
    }
    if let Some(error) = runs.fatal {
        return Err(error);
    }
    runs.reports.sort_by_key(|(place, _)| *place);
    runs.errors.sort_by_key(|(place, _)| *place);
    let reports = runs.reports.into_iter().map(|(_, report)| report).collect();
    Ok((reports, runs.errors.into_iter().map(|(_, error)| error).collect()))
}

/// What runs, and what is still to come.
struct Runs<'a> {
    engine: &'a Arc<Engine>,
    names: &'a [String],
    options: &'a RunOptions,
    waiting: BTreeSet<usize>,
    running: JoinSet<Ended>,
    places_running: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    reports: Vec<(usize, RunReport)>,
    errors: Vec<(usize, Error)>,
    /// Nothing more is started.
    is_stopped: bool,
    fatal: Option<Error>,
}

impl<'a> Runs<'a> {
    fn of(engine: &'a Arc<Engine>, names: &'a [String], options: &'a RunOptions) -> Self {
        Self {
            engine,
            names,
            options,
            waiting: (0..names.len()).collect(),
            running: JoinSet::new(),
            places_running: BTreeSet::new(),
            failed: BTreeSet::new(),
            reports: Vec::new(),
            errors: Vec::new(),
            is_stopped: false,
            fatal: None,
        }
    }

    /// The first that may start now; those that must be left out are.
    fn next(&mut self, at_once_max: usize) -> Option<usize> {
        for place in self.waiting.clone() {
            if self.is_stopped || self.places_running.len() >= at_once_max {
                return None;
            }
            let after = self.after(place);
            if let Some(before) = after.iter().find(|before| self.failed.contains(before)) {
                let (name, before) = (self.name(place), self.name(*before));
                let text = format!("pipeline `{name}` was left out, because `{before}` did not end well");
                self.errors.push((place, Error::external("E0821", text)));
                self.failed.insert(place);
                self.waiting.remove(&place);
                continue;
            }
            let is_open = |one: &usize| self.waiting.contains(one) || self.places_running.contains(one);
            let reads = self.reads_into_profiles(place);
            if reads && (self.waiting.first() != Some(&place) || !self.places_running.is_empty()) {
                // What follows it is about what it reads.
                return None;
            }
            if !after.iter().any(is_open) && !self.places_running.iter().any(|one| self.reads_into_profiles(*one)) {
                return Some(place);
            }
        }
        None
    }

    fn start(&mut self, place: usize) {
        self.waiting.remove(&place);
        self.places_running.insert(place);
        let leaves_profiles = place + 1 < self.names.len() && self.reads_into_profiles(place + 1);
        let options = RunOptions { leaves_profiles, ..self.options.clone() };
        let (engine, name) = (Arc::clone(self.engine), self.name(place).to_owned());
        self.running.spawn(async move { (place, engine.run(&name, &options).await) });
    }

    fn finished(&mut self, place: usize, ended: Result<(RunReport, Option<Error>)>) {
        self.places_running.remove(&place);
        match ended {
            Ok((report, error)) => {
                self.is_stopped |= report.outcome == RunOutcome::Cancelled;
                self.failed.extend(error.is_some().then_some(place));
                self.errors.extend(error.map(|error| (place, error)));
                self.reports.push((place, report));
            }
            Err(error) => {
                self.is_stopped = true;
                self.fatal = self.fatal.take().or(Some(error));
            }
        }
    }

    fn name(&self, place: usize) -> &'a str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// Those of the chosen ones that a pipeline waits for.
    fn after(&self, place: usize) -> Vec<usize> {
        let schedule = self.engine.plan.pipelines.get(self.name(place)).and_then(|pipeline| pipeline.schedule.as_ref());
        let after = schedule.iter().flat_map(|schedule| &schedule.after);
        after.filter_map(|before| self.names.iter().position(|name| name == before)).collect()
    }

    fn reads_into_profiles(&self, place: usize) -> bool {
        let pipeline = self.engine.plan.pipelines.get(self.name(place));
        pipeline.is_some_and(|pipeline| matches!(pipeline.destination, PipelineDestination::Profiles { .. }))
    }
}
