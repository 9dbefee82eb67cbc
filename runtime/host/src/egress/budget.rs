//! The rate budget of one connection, shared by every instance and pipeline that uses it: several windows at once, a cap
//! on requests in flight, buckets of points, and the pauses that the remote asks for.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use affluent_model::manifest::{Manifest, RateLimit};
use affluent_model::plan::Connection;
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::cost::{CostAnswer, CostBucket};
use super::wait::{WaitRefused, Waits};
use crate::options::Clock;

/// Requests in flight when neither the manifest nor the connection says.
const CONCURRENCY: u32 = 8;
/// Most requests in flight on one connection.
const CONCURRENCY_MAX: u32 = 64;

/// The budgets by connection name.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<HashMap<String, Arc<Budget>>>);

impl Budgets {
    /// The connection's budget; a new one when its limits have changed since.
    pub(crate) fn get(&self, connection: &Connection, manifest: &Manifest, clock: &Arc<dyn Clock>) -> Arc<Budget> {
        let settings = Settings::new(connection, manifest);
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match budgets.get(&connection.name) {
            Some(budget) if budget.settings == settings => Arc::clone(budget),
            _ => {
                let budget = Arc::new(Budget::new(settings, Arc::clone(clock)));
                budgets.insert(connection.name.clone(), Arc::clone(&budget));
                budget
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Settings {
    limits: Vec<RateLimit>,
    concurrency: u32,
}

impl Settings {
    /// All limits that hold: the strictest of them rules at any time.
    fn new(connection: &Connection, manifest: &Manifest) -> Self {
        let (limits, concurrency) = (manifest.limits_on(&connection.limits), connection.limits.concurrency);
        let asked = manifest.limits.concurrency.unwrap_or(CONCURRENCY);
        let concurrency = concurrency.map_or(asked, |lower| lower.min(manifest.limits.concurrency.unwrap_or(lower)));
        Self { limits, concurrency: concurrency.clamp(1, CONCURRENCY_MAX) }
    }
}

/// One connection's budget.
pub(crate) struct Budget {
    settings: Settings,
    windows: Vec<Window>,
    costs: Vec<CostBucket>,
    slots: Semaphore,
    /// Nothing leaves before this time of the clock, in milliseconds.
    paused_until_ms: AtomicU64,
    clock: Arc<dyn Clock>,
}

struct Window {
    matches: Option<String>,
    limiter: RateLimiter<NotKeyed, InMemoryState, BudgetClock, NoOpMiddleware<Duration>>,
    burst: NonZeroU32,
}

/// The injected clock, as governor reads it.
#[derive(Clone)]
struct BudgetClock(Arc<dyn Clock>);

impl GovernorClock for BudgetClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// What a request needs of the budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    /// Points, or requests where no limit counts points.
    pub(crate) cost: u32,
}

/// Leave to send one request; [`Budget::settle`] gives it back with the answer. When it is dropped instead (the call ran
/// into its deadline), its reservation ends all the same.
pub(crate) struct Leave<'a> {
    budget: &'a Budget,
    _slot: SemaphorePermit<'a>,
    points: Vec<f64>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let now = self.budget.clock.monotonic();
        self.budget.costs.iter().zip(&self.points).for_each(|(bucket, taken)| bucket.settle(*taken, None, now));
    }
}

impl Budget {
    fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic();
        let windows = settings.limits.iter().filter_map(|limit| Window::new(limit, &clock)).collect();
        let costs = settings.limits.iter().filter_map(|limit| CostBucket::new(limit, now)).collect();
        let slots = Semaphore::new(usize::try_from(settings.concurrency).unwrap_or(1));
        Self { settings, windows, costs, slots, paused_until_ms: AtomicU64::new(0), clock }
    }

    /// Waits for leave.
    ///
    /// # Errors
    /// When the wait would be too long, or the run is being stopped.
    pub(crate) async fn acquire(&self, ask: Ask<'_>, waits: &Waits) -> Result<Leave<'_>, WaitRefused> {
        let slot = loop {
            // Never closed; without a slot the loop would only wait again.
            if let Ok(slot) = self.slots.acquire().await {
                break slot;
            }
        };
        while let Some(rest) = self.pause_left() {
            waits.wait(rest).await?;
        }
        let requests = if self.costs.is_empty() { ask.cost.max(1) } else { 1 };
        for window in self.windows.iter().filter(|window| window.covers(ask)) {
            while let Err(wait) = window.take(requests) {
                waits.wait(wait).await?;
            }
        }
        let mut leave = Leave { budget: self, _slot: slot, points: Vec::with_capacity(self.costs.len()) };
        for bucket in &self.costs {
            let taken = loop {
                match bucket.take(f64::from(ask.cost.max(1)), self.clock.monotonic()) {
                    Ok(taken) => break taken,
                    Err(wait) => waits.wait(wait).await?,
                }
            };
            leave.points.push(taken);
        }
        Ok(leave)
    }

    /// Ends a request. A throttled answer gives the time to wait before the next try.
    pub(crate) fn settle(&self, mut leave: Leave<'_>, body: Option<&[u8]>) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut wait = None;
        for (bucket, taken) in self.costs.iter().zip(std::mem::take(&mut leave.points)) {
            let answer: Option<CostAnswer> = body.map(|body| bucket.read(body));
            bucket.settle(taken, answer.as_ref(), now);
            if let Some(answer) = answer.filter(|answer| answer.throttled) {
                wait = wait.max(Some(bucket.wait_for(taken, &answer, now)));
            }
        }
        wait
    }

    /// Holds every request on the connection back for this long.
    pub(crate) fn pause_for(&self, wait: Duration) {
        let until = self.clock.monotonic().saturating_add(wait).as_millis();
        self.paused_until_ms.fetch_max(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn pause_left(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.paused_until_ms.load(Ordering::Relaxed));
        until.checked_sub(self.clock.monotonic()).filter(|rest| !rest.is_zero())
    }
}

impl Window {
    fn new(limit: &RateLimit, clock: &Arc<dyn Clock>) -> Option<Self> {
        if limit.cost.is_some() {
            return None;
        }
        let requests = limit.requests.max(1);
        let period = Duration::from_millis(limit.per_ms.max(1)).checked_div(requests).filter(|period| !period.is_zero())?;
        let burst = NonZeroU32::new(limit.burst.unwrap_or(requests)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period)?.allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, BudgetClock(Arc::clone(clock)));
        Some(Self { matches: limit.matches.clone(), limiter, burst })
    }

    /// `matches` is `METHOD /path` prefix, a bare path prefix, or absent for every request.
    fn covers(&self, ask: Ask<'_>) -> bool {
        let Some(matches) = &self.matches else { return true };
        match matches.split_once(' ') {
            Some((method, path)) => method.eq_ignore_ascii_case(ask.method) && ask.path.starts_with(path),
            None => ask.path.starts_with(matches.as_str()),
        }
    }

    fn take(&self, requests: u32) -> Result<(), Duration> {
        let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN).min(self.burst);
        match self.limiter.check_n(requests) {
            // Cannot be refused for want of capacity: the burst bounds it.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => {
                let now = governor::clock::Clock::now(self.limiter.clock());
                Err(not_until.wait_time_from(now).max(Duration::from_millis(1)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::{Recorded, TestHost, connection};

    const GET: Ask<'_> = Ask { method: "GET", path: "/a/b", cost: 1 };

    fn manifest(limits: serde_json::Value, concurrency: u32) -> Manifest {
        let manifest = json!({"manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {},
            "rate_limits": limits, "limits": {"concurrency": concurrency}});
        serde_json::from_value(manifest).unwrap()
    }

    fn waits() -> (Waits, Recorded) {
        let (options, recorded) = TestHost::new().split();
        (Waits { options: Arc::new(options), time: Arc::default() }, recorded)
    }

    fn budget(waits: &Waits, limits: serde_json::Value, concurrency: u32) -> Arc<Budget> {
        Budgets::default().get(&connection("p", json!({})), &manifest(limits, concurrency), &waits.options.clock)
    }

    async fn take(budget: &Budget, waits: &Waits, times: usize) {
        for _ in 0..times {
            budget.settle(budget.acquire(GET, waits).await.ok().unwrap(), None);
        }
    }

    #[tokio::test]
    async fn the_stricter_window_rules() {
        let (waits, recorded) = waits();
        let limits = json!([{"requests": 10, "per_ms": 1000, "burst": 10}, {"requests": 60, "per_ms": 60000, "burst": 20}]);
        let budget = budget(&waits, limits, 4);

        take(&budget, &waits, 20).await;
        assert!((900..1_200).contains(&recorded.clock.elapsed().as_millis()), "{:?}", recorded.clock.elapsed());
        take(&budget, &waits, 10).await;
        assert!((9_900..11_200).contains(&recorded.clock.elapsed().as_millis()), "{:?}", recorded.clock.elapsed());
    }

    #[tokio::test]
    async fn a_window_for_other_requests_costs_nothing() {
        let (waits, recorded) = waits();
        let limits = json!([{"requests": 1, "per_ms": 60000, "matches": "POST /a"}, {"requests": 1, "per_ms": 60000, "matches": "GET /b"}]);

        take(&budget(&waits, limits, 4), &waits, 50).await;

        assert_eq!(recorded.clock.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn requests_in_flight_are_capped() {
        let (waits, _) = waits();
        let budget = budget(&waits, json!([]), 2);
        let (_first, _second) =
            (budget.acquire(GET, &waits).await.ok().unwrap(), budget.acquire(GET, &waits).await.ok().unwrap());

        assert!(tokio::time::timeout(Duration::from_millis(20), budget.acquire(GET, &waits)).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_frees_its_points() {
        let (waits, recorded) = waits();
        let limits = json!([{"requests": 1, "per_ms": 1000, "burst": 10, "cost": {"available": "/left"}}]);
        let budget = budget(&waits, limits, 2);
        let ask = Ask { cost: 5, ..GET };

        drop(budget.acquire(ask, &waits).await.ok().unwrap());
        let leave = budget.acquire(ask, &waits).await.ok().unwrap();
        budget.settle(leave, Some(br#"{"left": 10}"#));
        take(&budget, &waits, 10).await;

        assert_eq!(recorded.clock.elapsed(), Duration::ZERO);
    }

    #[test]
    fn connections_share_a_budget_by_name_until_their_limits_change() {
        let (waits, _) = waits();
        let (budgets, clock) = (Budgets::default(), &waits.options.clock);
        let mut connection = connection("p", json!({}));
        let first = budgets.get(&connection, &manifest(json!([]), 4), clock);
        let same = budgets.get(&connection, &manifest(json!([]), 4), clock);
        connection.limits.rate = Some((1, 1_000));
        let changed = budgets.get(&connection, &manifest(json!([]), 4), clock);

        assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &changed));
    }

    #[test]
    fn the_connection_may_lower_the_concurrency_and_not_raise_it() {
        let mut connection = connection("p", json!({}));
        for (asked, expected) in [(Some(2), 2), (Some(50), 4), (None, 4), (Some(0), 1)] {
            connection.limits.concurrency = asked;
            assert_eq!(Settings::new(&connection, &manifest(json!([]), 4)).concurrency, expected, "{asked:?}");
        }
    }
}
