//! One execution of a pipeline, from its lease to its report. The walk of a record starts here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use affluent_ledger::{Lease, RunEnd, RunStart};
use affluent_model::error::{Domain, Retry};
use affluent_model::limits::LEASE_MS;
use affluent_model::plan::{Pipeline, PipelineDestination, PipelineSource, Plan, StreamRead};
use affluent_model::report::{ActivationReport, ProfilesReport, RunOutcome, RunReport};
use affluent_model::{Error, Result};

use crate::activate::activate;
use crate::assignments::Assignments;
use crate::compute::time::depends_on_time;
use crate::compute::{compute, definition_hash};
use crate::engine::Engine;
use crate::ingest::ingest_stream;
use crate::pass_through::pass_stream;
use crate::streams::streams_of;
use crate::unify::unify;
use crate::withdrawals::suppress_withdrawn;

/// The lease under which profiles are unified and computed: one at a time, whatever pipelines run.
pub(crate) const PROFILES_LEASE: &str = "(profiles)";
/// Milliseconds between tries to get that lease.
const PROFILES_LEASE_WAIT_MS: u64 = 250;
/// Tries to get it: ten minutes.
const PROFILES_LEASE_TRIES: u32 = 2_400;

/// Age at which a snapshot that depends on the clock is computed anew.
const SNAPSHOT_AGE_US: i64 = 60_000_000;

/// How a pipeline is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Reads everything again, whatever the sync modes say.
    pub full: bool,
    /// Only these streams; empty = all.
    pub streams: Vec<String>,
    /// Stops each stream after about so many records; nothing older is dropped then.
    pub limit: Option<u64>,
    /// The slot of the schedule, microseconds UTC.
    pub scheduled_for_us: Option<i64>,
    /// Leaves unifying and computing to a later pipeline of the same run.
    pub leaves_profiles: bool,
}

/// The error of a run that goes on later by itself.
pub(crate) fn paused(cause: &Error, wait_ms: u64) -> Error {
    let minutes = wait_ms.div_ceil(60_000);
    Error::external("E0802", format!("paused for about {minutes} min: {}", cause.message))
        .retry(Retry::After(wait_ms))
        .help("run again later: it goes on where it stopped")
}

/// The pipelines of a plan so that each comes after those it names in `after`; else by name, readers before writers.
#[must_use]
pub fn order_of_pipelines(plan: &Plan) -> Vec<String> {
    let mut waiting: Vec<&Arc<Pipeline>> = plan.pipelines.values().collect();
    waiting.sort_by_key(|pipeline| matches!(pipeline.source, PipelineSource::Profiles { .. }));
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |pipeline: &Pipeline| {
            pipeline.schedule.iter().flat_map(|schedule| &schedule.after).all(|before| done.contains(before.as_str()))
        };
        let next = waiting.iter().position(|pipeline| is_ready(pipeline)).unwrap_or(0);
        let pipeline = waiting.remove(next);
        done.insert(&pipeline.name);
        order.push(pipeline.name.clone());
    }
    order
}

impl Engine {
    /// Runs one pipeline. The report is complete also when the run failed; the error says why it did.
    ///
    /// # Errors
    /// Only what kept the run from being entered into the ledger at all.
    pub async fn run(&self, name: &str, options: &RunOptions) -> Result<(RunReport, Option<Error>)> {
        let pipeline = self.plan.pipelines.get(name).cloned();
        let pipeline = pipeline.ok_or_else(|| Error::bug(format!("pipeline `{name}` is not in the plan")))?;
        let started = Instant::now();
        let lease = self.take_lease(name, options.scheduled_for_us)?;
        let mut report = RunReport { pipeline: name.to_owned(), run: lease.run.to_string(), ..RunReport::default() };
        let renewal = self.keep_lease(&lease);
        // Before anything is read: what is told later may be about what this run has passed.
        let news = self.ledger.news()?.into_iter().find(|news| news.pipeline == name).map(|news| news.number);
        let timeout_ms = pipeline.schedule.as_ref().and_then(|schedule| schedule.timeout_ms);
        let done = match timeout_ms {
            Some(timeout_ms) => {
                let limit = Duration::from_millis(timeout_ms);
                match tokio::time::timeout(limit, self.execute(&pipeline, &lease, options, &mut report)).await {
                    Ok(done) => done,
                    Err(_) => {
                        Err(Error::external("E0812", format!("the run took longer than `schedule.timeout` ({timeout_ms} ms)")))
                    }
                }
            }
            None => self.execute(&pipeline, &lease, options, &mut report).await,
        };
        renewal.abort();
        let error = done.err();
        report.outcome = outcome_of(&report, error.as_ref());
        report.error = error.as_ref().map(|error| format!("error[{}]: {}", error.code, error.message));
        report.took_ms = milliseconds_since(started);
        let is_whole = options.limit.is_none() && options.streams.is_empty();
        let has_read = is_whole && matches!(report.outcome, RunOutcome::Succeeded | RunOutcome::Partial);
        self.write_down(&lease, &report, news.filter(|_| has_read))?;
        Ok((report, error))
    }

    async fn execute(&self, pipeline: &Pipeline, lease: &Lease, options: &RunOptions, report: &mut RunReport) -> Result<()> {
        match (&pipeline.source, &pipeline.destination) {
            (PipelineSource::Connection { connection, streams, .. }, PipelineDestination::Profiles { streams: mappings, .. }) => {
                for context in streams_of(self, connection, &chosen(streams, options)).await? {
                    report.streams.extend(ingest_stream(self, lease, pipeline, &context, mappings, options).await?);
                }
                if !options.leaves_profiles {
                    report.profiles = Some(self.refresh_profiles().await?);
                }
                Ok(())
            }
            (PipelineSource::Connection { connection, streams, .. }, PipelineDestination::Connection(plan)) => {
                for context in streams_of(self, connection, &chosen(streams, options)).await? {
                    report.streams.push(pass_stream(self, lease, pipeline, plan, &context, options).await?);
                }
                Ok(())
            }
            (PipelineSource::Profiles { .. }, PipelineDestination::Connection(_)) => {
                if self.profiles_are_stale()? {
                    report.profiles = Some(self.refresh_profiles().await?);
                }
                let mut activation = ActivationReport::default();
                let done = activate(self, lease, pipeline, &mut activation).await;
                report.activation = Some(activation);
                done.and_then(|()| self.settle_receipts(&pipeline.name))
            }
            (PipelineSource::Profiles { .. }, PipelineDestination::Profiles { .. }) => {
                Err(Error::bug("a pipeline from profiles into profiles passed validation"))
            }
        }
    }

    /// Unifies what is new and computes the snapshot and the segments.
    ///
    /// # Errors
    /// What ledger and lake report.
    pub async fn refresh_profiles(&self) -> Result<ProfilesReport> {
        let lease = self.wait_for_profiles_lease().await?;
        let renewal = self.keep_lease(&lease);
        let mut profiles = ProfilesReport::default();
        let started = Instant::now();
        let mut forgotten = Vec::new();
        let mut assignments = Assignments::default();
        let mut done = self.forget_persons(&lease).map(|persons| forgotten = persons);
        if done.is_ok() {
            done = unify(self, &lease, &mut profiles).await.map(|resolved| assignments = resolved);
        }
        profiles.unified_ms = milliseconds_since(started);
        if done.is_ok() {
            done = compute(self, &lease, (!forgotten.is_empty(), &assignments), &mut profiles).await;
            profiles.computed_ms = milliseconds_since(started) - profiles.unified_ms;
        }
        if done.is_ok() {
            done = suppress_withdrawn(self, &lease, &mut profiles).await;
        }
        if done.is_ok() {
            done = self.finish_forgetting(&lease, &forgotten);
        }
        renewal.abort();
        let report = RunReport {
            pipeline: PROFILES_LEASE.to_owned(),
            run: lease.run.to_string(),
            outcome: if done.is_ok() { RunOutcome::Succeeded } else { RunOutcome::Failed },
            profiles: done.is_ok().then(|| profiles.clone()),
            ..RunReport::default()
        };
        self.write_down(&lease, &report, None)?;
        done.map(|()| profiles)
    }

    /// True when something was read since the snapshot, its definitions changed, or time alone may have changed it.
    fn profiles_are_stale(&self) -> Result<bool> {
        let Some(snapshot) = self.ledger.snapshot()? else { return Ok(true) };
        if !self.ledger.erasures(true)?.is_empty() {
            return Ok(true);
        }
        let is_behind = snapshot.input_sequence < self.ledger.last_sequence()? || self.ledger.has_unresolved_files()?;
        let is_old = depends_on_time(self)? && self.now_us() - snapshot.computed_at_us > SNAPSHOT_AGE_US;
        Ok(is_behind || is_old || snapshot.definition_hash != definition_hash(self)?)
    }

    fn take_lease(&self, pipeline: &str, scheduled_for_us: Option<i64>) -> Result<Lease> {
        let holder = self.ledger.lease(pipeline)?.filter(|lease| !lease.is_released);
        let replaces_fence = holder.filter(|lease| (self.is_dead)(&lease.holder)).map(|lease| lease.fence);
        self.ledger.begin_run(&RunStart {
            pipeline: pipeline.to_owned(),
            holder: self.holder.clone(),
            scheduled_for_us,
            now_us: self.now_us(),
            lease_ms: LEASE_MS,
            replaces_fence,
        })
    }

    pub(crate) async fn wait_for_profiles_lease(&self) -> Result<Lease> {
        for _ in 0..PROFILES_LEASE_TRIES {
            match self.take_lease(PROFILES_LEASE, None) {
                Err(error) if error.code == "E0705" => {
                    self.wait("another run computes the profiles", PROFILES_LEASE_WAIT_MS).await?;
                }
                lease => return lease,
            }
        }
        self.take_lease(PROFILES_LEASE, None)
    }

    /// Renews a lease until it is aborted. Losing it is found out by the next write.
    pub(crate) fn keep_lease(&self, lease: &Lease) -> tokio::task::JoinHandle<()> {
        let (ledger, clock, lease) = (Arc::clone(&self.ledger), Arc::clone(&self.clock), lease.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(LEASE_MS / 3)).await;
                if ledger.renew_lease(&lease, clock.now_us(), LEASE_MS).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn write_down(&self, lease: &Lease, report: &RunReport, news_read: Option<i64>) -> Result<()> {
        let report_json = serde_json::to_string(report).map_err(|error| Error::bug(error.to_string()))?;
        let outcome = serde_json::to_value(report.outcome).ok().and_then(|word| word.as_str().map(str::to_owned));
        let end = RunEnd { outcome: outcome.unwrap_or_default(), report_json, now_us: self.now_us(), news_read };
        self.ledger.finish_run(lease, &end)
    }
}

fn milliseconds_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn chosen(streams: &[StreamRead], options: &RunOptions) -> Vec<StreamRead> {
    let is_chosen = |stream: &&StreamRead| options.streams.is_empty() || options.streams.contains(&stream.name);
    streams.iter().filter(is_chosen).cloned().collect()
}

fn outcome_of(report: &RunReport, error: Option<&Error>) -> RunOutcome {
    match error {
        Some(error) if error.code == "E0801" => RunOutcome::Cancelled,
        Some(error) if error.code == "E0802" => RunOutcome::Paused,
        Some(error) if error.domain == Domain::Held => RunOutcome::Held,
        Some(_) => RunOutcome::Failed,
        None => {
            let refused = report.streams.iter().map(|stream| stream.rejected).sum::<u64>();
            let open = |sent: &ActivationReport| sent.failed + sent.retryable + sent.erasures_refused;
            let failed = report.activation.as_ref().map_or(0, open);
            let alerts = report.profiles.iter().flat_map(|profiles| profiles.segments.values()).any(|segment| segment.is_alert);
            if alerts || refused + failed > 0 { RunOutcome::Partial } else { RunOutcome::Succeeded }
        }
    }
}
