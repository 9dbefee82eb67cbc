//! Time that jumps: a sleep ends at once and moves the clock forward, so that waits are tested in no time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use affluent_host::Clock;
use affluent_model::connector::BoxFuture;

/// Only sleeps move it.
#[derive(Debug, Default)]
pub(super) struct JumpingClock(AtomicU64);

impl Clock for JumpingClock {
    fn now_us(&self) -> i64 {
        784_111_777_000_000 + i64::try_from(self.monotonic().as_micros()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(u64::try_from(duration.as_nanos()).unwrap(), Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }
}
