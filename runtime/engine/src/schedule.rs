//! Runs pipelines when their schedules say so, and after those they wait for. Every process may run one: a slot is claimed
//! in the ledger, so nobody leads. News of a source, which
//! the ledger keeps until a run has read them, make its pipelines due at once. A run that a remote's limit paused goes on when the limit ends. On a stop, nothing new starts and what runs ends at its next safe point.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use affluent_config::cron::Cron;
use affluent_model::error::Retry;
use affluent_model::plan::{CatchUp, Overlap, Pipeline, Schedule};
use affluent_model::report::{RunOutcome, RunReport};
use affluent_model::{Error, Result};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::run::RunOptions;

/// Milliseconds between looks at the clock.
const TICK_MS: u64 = 250;
/// Missed slots looked at per pipeline; older ones are not caught up.
const MISSED_SLOTS_MAX: usize = 1_000;
/// Starts of a schedule among which the shortest interval is looked for.
const STARTS_COMPARED: usize = 25;

/// Microseconds after which a pipeline with news is tried again that another process runs, or whose run failed; four times as long
/// after each failure that follows, up to the longest.
const NEWS_AGAIN_US: i64 = 5_000_000;
const NEWS_AGAIN_MAX_US: i64 = 900_000_000;
/// The ledger's word for that.
const RUN_ELSEWHERE: &str = "E0705";

/// Told of every run that ended.
pub(crate) type RunEnded = Arc<dyn Fn(&RunReport, Option<&Error>) + Send + Sync>;

/// A pipeline's name and how its run ended.
type Ended = (String, Result<(RunReport, Option<Error>)>);

/// The scheduler of one process.
pub struct Scheduler {
    engine: Arc<Engine>,
    /// Slots before this are missed ones: when this process began.
    started_us: i64,
    running: JoinSet<Ended>,
    names_running: BTreeSet<String>,
    /// Due, waiting for the run before or for one named in `after`: at most one per pipeline, with its slot.
    queued: BTreeMap<String, Option<i64>>,
    /// The number of the newest news for which each was made due, until a run has read them: however often it was told, one more
    /// run reads it all.
    begun_for: BTreeMap<String, i64>,
    /// With news that the last run did not read, since it failed or another process has it, which may have read past them: when to
    /// look again, microseconds UTC.
    news_again_us: BTreeMap<String, i64>,
    /// Runs in a row that failed, of pipelines with news.
    failures: BTreeMap<String, u32>,
    /// Paused by a remote's limit: when each goes on, microseconds UTC.
    resumes_at_us: BTreeMap<String, i64>,
    /// The slot looked at last, per pipeline.
    looked_at_us: BTreeMap<String, i64>,
    /// Pipelines that succeeded since the given one ran: for `after`.
    finished_for: BTreeMap<String, BTreeSet<String>>,
    on_end: RunEnded,
}

impl Scheduler {
    #[must_use]
    pub fn new(engine: Arc<Engine>, on_end: RunEnded) -> Self {
        let started_us = engine.now_us();
        Self {
            engine,
            started_us,
            running: JoinSet::new(),
            names_running: BTreeSet::new(),
            queued: BTreeMap::new(),
            begun_for: BTreeMap::new(),
            news_again_us: BTreeMap::new(),
            failures: BTreeMap::new(),
            resumes_at_us: BTreeMap::new(),
            looked_at_us: BTreeMap::new(),
            finished_for: BTreeMap::new(),
            on_end,
        }
    }

    /// Runs until the engine is cancelled, then waits for what still runs.
    ///
    /// # Errors
    /// What the ledger reports about slots.
    pub async fn serve(mut self) -> Result<()> {
        while !self.engine.is_cancelled() {
            self.start_due()?;
            tokio::select! {
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    if let Ok((name, ended)) = ended {
                        self.finished(&name, ended);
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(TICK_MS)) => {}
            }
        }
        while let Some(ended) = self.running.join_next().await {
            if let Ok((name, ended)) = ended {
                self.report(&name, &ended);
            }
        }
        Ok(())
    }

    /// Starts everything that is due now.
    fn start_due(&mut self) -> Result<()> {
        let now_us = self.engine.now_us();
        let plan = Arc::clone(&self.engine.plan);
        for pipeline in plan.pipelines.values() {
            let Some(schedule) = &pipeline.schedule else { continue };
            for slot_us in self.due_slots(pipeline, schedule, now_us)? {
                if self.engine.ledger.claim_slot(&pipeline.name, slot_us, now_us)? {
                    self.begin(&pipeline.name, schedule.overlap, Some(slot_us));
                }
            }
        }
        let resumed: Vec<String> =
            self.resumes_at_us.iter().filter(|(_, at)| **at <= now_us).map(|(name, _)| name.clone()).collect();
        for name in resumed {
            self.begin(&name, Overlap::Skip, None);
        }
        self.begin_for_news(now_us)?;
        let ready: Vec<String> = self.queued.keys().filter(|name| !self.must_wait(name)).cloned().collect();
        for name in ready {
            let slot_us = self.queued.remove(&name).flatten();
            self.spawn(&name, slot_us);
        }
        Ok(())
    }

    /// Makes pipelines due for which news was told since they were made due last, by this process or before it began. After a run that
    /// failed they are due again a while later, ever longer.
    fn begin_for_news(&mut self, now_us: i64) -> Result<()> {
        for news in self.engine.ledger.news()? {
            let has_schedule = self.engine.plan.pipelines.get(&news.pipeline).is_some_and(|one| one.schedule.is_some());
            let is_begun = self.begun_for.get(&news.pipeline).is_some_and(|number| *number >= news.number);
            let is_early = self.news_again_us.get(&news.pipeline).is_some_and(|again_us| *again_us > now_us);
            if !has_schedule || is_begun || is_early {
                continue;
            }
            self.news_again_us.remove(&news.pipeline);
            // One that goes on later reads them then.
            if !self.resumes_at_us.contains_key(&news.pipeline) {
                self.begin(&news.pipeline, Overlap::Queue, None);
            }
            self.begun_for.insert(news.pipeline, news.number);
        }
        Ok(())
    }

    /// True while the pipeline itself, or one that it comes after, is running.
    fn must_wait(&self, name: &str) -> bool {
        let schedule = self.engine.plan.pipelines.get(name).and_then(|pipeline| pipeline.schedule.as_ref());
        let mut after = schedule.iter().flat_map(|schedule| &schedule.after);
        self.names_running.contains(name) || after.any(|before| self.names_running.contains(before))
    }

    /// Slots of a pipeline that are due and that nobody claimed, by its policy for missed ones.
    fn due_slots(&mut self, pipeline: &Pipeline, schedule: &Schedule, now_us: i64) -> Result<Vec<i64>> {
        let Some(cron) = schedule.cron.as_deref().and_then(|text| Cron::parse(text).ok()) else { return Ok(Vec::new()) };
        let since_us = match self.looked_at_us.get(&pipeline.name) {
            Some(looked) => *looked,
            None => self.engine.ledger.last_slot(&pipeline.name)?.unwrap_or(self.started_us),
        };
        let mut slots = Vec::new();
        let mut slot_us = since_us;
        while let Some(next_us) = cron.next_after(slot_us, &schedule.timezone) {
            if next_us + delay_us(&pipeline.name, next_us, schedule.jitter_ms) > now_us {
                break;
            }
            slots.push(next_us);
            slot_us = next_us;
            if slots.len() > MISSED_SLOTS_MAX {
                slots.remove(0);
            }
        }
        self.looked_at_us.insert(pipeline.name.clone(), slot_us);
        Ok(kept(slots, self.started_us, schedule.catch_up))
    }

    fn begin(&mut self, name: &str, overlap: Overlap, slot_us: Option<i64>) {
        if !self.must_wait(name) {
            self.spawn(name, slot_us);
        } else if overlap == Overlap::Queue || !self.names_running.contains(name) {
            let waiting = self.queued.entry(name.to_owned()).or_default();
            *waiting = slot_us.or(*waiting);
        }
    }

    fn spawn(&mut self, name: &str, scheduled_for_us: Option<i64>) {
        self.finished_for.remove(name);
        self.resumes_at_us.remove(name);
        self.names_running.insert(name.to_owned());
        let (engine, name) = (Arc::clone(&self.engine), name.to_owned());
        self.running.spawn(async move {
            let options = RunOptions { scheduled_for_us, ..RunOptions::default() };
            let ended = engine.run(&name, &options).await;
            (name, ended)
        });
    }

    fn report(&self, name: &str, ended: &Result<(RunReport, Option<Error>)>) {
        match ended {
            Ok((report, error)) => (self.on_end)(report, error.as_ref()),
            Err(error) => {
                let report = RunReport { pipeline: name.to_owned(), outcome: RunOutcome::Failed, ..RunReport::default() };
                (self.on_end)(&report, Some(error));
            }
        }
    }

    /// Reports a run that ended and starts those that waited for it.
    fn finished(&mut self, name: &str, ended: Result<(RunReport, Option<Error>)>) {
        self.names_running.remove(name);
        let is_run_elsewhere = ended.as_ref().is_err_and(|error| error.code == RUN_ELSEWHERE);
        if is_run_elsewhere && self.begun_for.remove(name).is_some() {
            self.news_again_us.insert(name.to_owned(), self.engine.now_us().saturating_add(NEWS_AGAIN_US));
            return;
        }
        self.report(name, &ended);
        if let Ok((RunReport { outcome: RunOutcome::Paused, .. }, Some(Error { retry: Retry::After(wait_ms), .. }))) = &ended {
            let wait_us = i64::try_from(wait_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
            self.resumes_at_us.insert(name.to_owned(), self.engine.now_us().saturating_add(wait_us));
        }
        let is_paused = self.resumes_at_us.contains_key(name);
        let is_good = ended.is_ok_and(|(report, _)| matches!(report.outcome, RunOutcome::Succeeded | RunOutcome::Partial));
        if is_good {
            self.failures.remove(name);
            self.news_again_us.remove(name);
        } else if !is_paused && self.begun_for.contains_key(name) {
            let failures = self.failures.entry(name.to_owned()).or_default();
            self.news_again_us.insert(name.to_owned(), self.engine.now_us().saturating_add(after_failure_us(*failures)));
            *failures = failures.saturating_add(1);
        }
        if !is_paused && !self.queued.contains_key(name) {
            self.begun_for.remove(name);
        }
        if !is_good || self.engine.is_cancelled() {
            return;
        }
        let plan = Arc::clone(&self.engine.plan);
        for pipeline in plan.pipelines.values() {
            let Some(schedule) = pipeline.schedule.as_ref().filter(|schedule| schedule.after.iter().any(|one| one == name))
            else {
                continue;
            };
            let done = self.finished_for.entry(pipeline.name.clone()).or_default();
            done.insert(name.to_owned());
            if schedule.cron.is_none() && schedule.after.iter().all(|one| done.contains(one)) {
                self.begin(&pipeline.name, Overlap::Queue, None);
            }
        }
    }
}

/// How long news wait after a run that failed, and so many in a row before it.
fn after_failure_us(failures: u32) -> i64 {
    NEWS_AGAIN_US.saturating_mul(4_i64.saturating_pow(failures)).min(NEWS_AGAIN_MAX_US)
}

/// Milliseconds between two starts of a pipeline, the shortest of the next ones; `None` without a schedule of its own.
pub(crate) fn shortest_interval_ms(schedule: &Schedule, now_us: i64) -> Option<u64> {
    let cron = Cron::parse(schedule.cron.as_deref()?).ok()?;
    let starts = std::iter::successors(Some(now_us), |at_us| cron.next_after(*at_us, &schedule.timezone));
    let starts: Vec<i64> = starts.skip(1).take(STARTS_COMPARED).collect();
    let gaps = starts.iter().zip(starts.iter().skip(1)).map(|(one, next)| next - one);
    gaps.min().and_then(|us| u64::try_from(us / 1_000).ok())
}

/// The slots that are run: those since the process began, and of the missed ones what `catch_up` says.
fn kept(slots: Vec<i64>, started_us: i64, catch_up: CatchUp) -> Vec<i64> {
    let (missed, current): (Vec<i64>, Vec<i64>) = slots.into_iter().partition(|slot| *slot < started_us);
    let keep = match catch_up {
        CatchUp::None => 0,
        CatchUp::Last => usize::from(current.is_empty()),
        CatchUp::All(most) => usize::try_from(most).unwrap_or(usize::MAX),
    };
    let first = missed.len().saturating_sub(keep);
    missed.into_iter().skip(first).chain(current).collect()
}

/// The same delay for the same slot of a pipeline, in every process; spreads pipelines that share a minute.
fn delay_us(pipeline: &str, slot_us: i64, jitter_ms: u64) -> i64 {
    if jitter_ms == 0 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    (pipeline, slot_us).hash(&mut hasher);
    i64::try_from(hasher.finish() % jitter_ms).unwrap_or(0) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_missed_slots_only_the_last_is_caught_up_by_default() {
        assert_eq!(kept(vec![1, 2, 3], 10, CatchUp::Last), [3]);
        assert_eq!(kept(vec![1, 2, 3], 10, CatchUp::None), Vec::<i64>::new());
        assert_eq!(kept(vec![1, 2, 3], 10, CatchUp::All(2)), [2, 3]);
    }

    #[test]
    fn a_slot_of_this_process_stands_for_the_missed_ones_before_it() {
        assert_eq!(kept(vec![1, 2, 11], 10, CatchUp::Last), [11]);
        assert_eq!(kept(vec![11, 12], 10, CatchUp::None), [11, 12]);
    }

    #[test]
    fn news_wait_ever_longer_after_runs_that_failed() {
        let waits: Vec<i64> = (0..6).map(|failures| after_failure_us(failures) / 1_000_000).collect();
        assert_eq!(waits, [5, 20, 80, 320, 900, 900]);
        assert_eq!(after_failure_us(u32::MAX), NEWS_AGAIN_MAX_US);
    }

    #[test]
    fn the_delay_of_a_slot_is_always_the_same_and_below_the_jitter() {
        let first = delay_us("shop", 60_000_000, 60_000);
        assert_eq!(first, delay_us("shop", 60_000_000, 60_000));
        assert!((0..60_000_000).contains(&first));
        assert_eq!(delay_us("shop", 60_000_000, 0), 0);
    }
}
