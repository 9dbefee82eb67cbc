//! Waiting on a guest's behalf: ends when the run is being stopped, is not counted against the guest's deadline, and is
//! refused when it is so long that the engine should hold the checkpoint meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::deadline::CallTime;
use crate::options::HostOptions;

/// Longer waits are given back to the guest as `rate-limited`, so that the engine waits with its state stored.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the stop flag.
const SLICE: Duration = Duration::from_millis(100);

/// Waits for one instance.
#[derive(Clone)]
pub(crate) struct Waits {
    pub(crate) options: Arc<HostOptions>,
    pub(crate) time: Arc<CallTime>,
}

/// Why the host did not wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitRefused {
    TooLong(Duration),
    Cancelled,
}

impl Waits {
    pub(crate) async fn wait(&self, wait: Duration) -> Result<(), WaitRefused> {
        if wait > WAIT_MAX {
            return Err(WaitRefused::TooLong(wait));
        }
        self.time.push_back(wait);
        self.sleep(wait).await
    }

    /// Sleeps on the guest's own time.
    pub(crate) async fn sleep(&self, wait: Duration) -> Result<(), WaitRefused> {
        let mut rest = wait;
        loop {
            if self.is_cancelled() {
                return Err(WaitRefused::Cancelled);
            }
            if rest.is_zero() {
                return Ok(());
            }
            let slice = rest.min(SLICE);
            self.options.clock.sleep(slice).await;
            rest -= slice;
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.options.cancelled.load(Ordering::Relaxed)
    }
}
