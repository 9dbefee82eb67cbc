//! How long a call of a guest may take: a limit of wall time that is pushed back while the host itself waits for a rate
//! budget, and a budget of computing time counted in epoch ticks.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{CALL_WAIT_MAX, EPOCH_TICK};

/// The time of the current call, shared between the call and the host functions it calls.
#[derive(Debug, Default)]
pub(crate) struct CallTime {
    /// What the host has waited, or announced to wait, in this call.
    waited_ms: AtomicU64,
    /// Of the call, without what was waited.
    limit_ms: AtomicU64,
    ticks: AtomicU64,
    ticks_max: AtomicU64,
    /// Values put into the plugin's store.
    puts: AtomicU32,
}

/// The call did not end in time.
#[derive(Debug)]
pub(crate) struct TimedOut;

impl CallTime {
    pub(crate) fn start(&self, limit: Duration) {
        self.waited_ms.store(0, Ordering::Relaxed);
        self.ticks.store(0, Ordering::Relaxed);
        self.puts.store(0, Ordering::Relaxed);
        self.limit_ms.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let ticks_max = limit.as_millis() / EPOCH_TICK.as_millis();
        self.ticks_max.store(u64::try_from(ticks_max).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// Pushes the deadline back, before the host waits this long on the guest's behalf.
    pub(crate) fn push_back(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.waited_ms.fetch_add(wait_ms, Ordering::Relaxed);
    }

    /// How long one request may take, so that a slow remote is a time-out for the guest and not the end of its call.
    pub(crate) fn request_limit(&self) -> Duration {
        let limit_ms = self.limit_ms.load(Ordering::Relaxed);
        if limit_ms == 0 { Duration::MAX } else { Duration::from_millis(limit_ms / 4 * 3).max(Duration::from_millis(1)) }
    }

    /// Counts a tick of computing; false when there were too many.
    pub(crate) fn tick(&self) -> bool {
        self.ticks.fetch_add(1, Ordering::Relaxed) < self.ticks_max.load(Ordering::Relaxed)
    }

    /// Counts a put; false when there were too many in this call.
    pub(crate) fn count_put(&self, puts_max: u32) -> bool {
        self.puts.fetch_add(1, Ordering::Relaxed) < puts_max
    }

    fn waited(&self) -> Duration {
        Duration::from_millis(self.waited_ms.load(Ordering::Relaxed)).min(CALL_WAIT_MAX)
    }
}

/// Runs a call under its limit.
pub(crate) async fn within<F: Future>(time: &Arc<CallTime>, limit: Duration, call: F) -> Result<F::Output, TimedOut> {
    let started = Instant::now();
    let mut call = std::pin::pin!(call);
    loop {
        let deadline = started + limit + time.waited();
        if let Ok(output) = tokio::time::timeout_at(deadline, &mut call).await {
            return Ok(output);
        }
        if started + limit + time.waited() <= deadline {
            return Err(TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_call_that_does_not_return_is_given_up() {
        let time = Arc::new(CallTime::default());

        assert!(within(&time, LIMIT, std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test]
    async fn waiting_for_the_budget_does_not_count() {
        let time = Arc::new(CallTime::default());
        let call = async {
            time.push_back(Duration::from_secs(10));
            tokio::time::sleep(LIMIT * 2).await;
        };

        assert!(within(&time, LIMIT, call).await.is_ok());
    }

    #[test]
    fn computing_has_a_budget_of_its_own() {
        let time = CallTime::default();
        time.start(EPOCH_TICK * 2);

        assert_eq!([time.tick(), time.tick(), time.tick()], [true, true, false]);
    }
}
