//! The rate budget of one connection, shared by every instance and pipeline that uses it: several windows at once, a cap
//! on requests in flight, buckets of points, and the pauses that the remote asks for.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use affluent_model::manifest::{Manifest, RateLimit};
use affluent_model::plan::{Connection, ConnectionLimits};
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
    /// The manifest's limits and, as one more window, the connection's: the stricter of them rules at any time.
    fn new(connection: &Connection, manifest: &Manifest) -> Self {
        let ConnectionLimits { rate, burst, concurrency } = &connection.limits;
        let mut limits = manifest.rate_limits.clone();
        if let Some((requests, per_ms)) = *rate {
            limits.push(RateLimit { requests, per_ms, burst: *burst, matches: None, cost: None });
        }
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

/// Leave to send one request; give it back with [`Budget::settle`].
pub(crate) struct Leave<'a> {
    _slot: SemaphorePermit<'a>,
    points: Vec<f64>,
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
        let mut points = Vec::with_capacity(self.costs.len());
        for bucket in &self.costs {
            let taken = loop {
                match bucket.take(f64::from(ask.cost.max(1)), self.clock.monotonic()) {
                    Ok(taken) => break taken,
                    Err(wait) => waits.wait(wait).await?,
                }
            };
            points.push(taken);
        }
        Ok(Leave { _slot: slot, points })
    }

    /// Ends a request. A throttled answer gives the time to wait before the next try.
    pub(crate) fn settle(&self, leave: Leave<'_>, body: Option<&[u8]>) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut wait = None;
        for (bucket, taken) in self.costs.iter().zip(&leave.points) {
            let answer: Option<CostAnswer> = body.map(|body| bucket.read(body));
            bucket.settle(*taken, answer.as_ref(), now);
            if let Some(answer) = answer.filter(|answer| answer.throttled) {
                wait = wait.max(Some(bucket.wait_for(*taken, &answer, now)));
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
