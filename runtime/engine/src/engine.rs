//! Everything a run needs, handed in once: the plan, the connectors, the stores, the keys, the clock. No global state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use affluent_lake::{Expressions, Lake};
use affluent_ledger::Ledger;
use affluent_model::connector::Connectors;
use affluent_model::plan::Plan;
use affluent_model::{Error, Result};
use affluent_vault::{OsRandom, Random, Vault};

/// The wall clock, a parameter so that tests own time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    fn now_us(&self) -> i64;

    /// True when this time does not pass, as in a replay: waits are over at once then.
    fn is_standing(&self) -> bool {
        false
    }
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A plugin is being made ready for this machine, which is done once.
    Compiling {
        plugin: String,
    },
    /// Records of a stream read so far.
    Reading {
        pipeline: String,
        stream: String,
        records: u64,
    },
    Unifying {
        records: u64,
    },
    Computing {
        step: String,
    },
    /// Rows of a destination sent so far, of so many.
    Sending {
        pipeline: String,
        sent: u64,
        of: u64,
    },
    /// A wait that a person would wonder about: throttling, back-off, a remote import.
    Waiting {
        reason: String,
        for_ms: u64,
    },
}

/// Receives [`Event`]s; must return at once.
pub trait Observer: Send + Sync {
    fn notice(&self, event: Event);
}

/// Hears nothing.
pub struct SilentObserver;

impl Observer for SilentObserver {
    fn notice(&self, _event: Event) {}
}

/// The means of a run.
pub struct Engine {
    pub plan: Arc<Plan>,
    pub connectors: Arc<dyn Connectors>,
    pub ledger: Arc<dyn Ledger>,
    pub lake: Arc<dyn Lake>,
    pub expressions: Arc<Expressions>,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn Observer>,
    /// Set from outside to stop at the next safe point.
    pub cancelled: Arc<AtomicBool>,
    /// Who holds leases: host name and process id.
    pub holder: String,
    /// True when a holder of that form is known to have ended, so that its lease need not be waited for.
    pub is_dead: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Engine {
    #[must_use]
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn notice(&self, event: Event) {
        self.observer.notice(event);
    }

    /// An unguessable name for a lake file.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn file_name(&self, kind: &str) -> Result<String> {
        let mut bytes = [0u8; 16];
        OsRandom::new().fill(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{kind}-{hex}"))
    }

    /// Waits, unless the run is being stopped.
    ///
    /// # Errors
    /// [`cancelled`] as soon as the run is being stopped.
    pub(crate) async fn wait(&self, reason: &str, for_ms: u64) -> Result<()> {
        if for_ms >= 1_000 {
            self.notice(Event::Waiting { reason: reason.to_owned(), for_ms });
        }
        let mut left_ms = if self.clock.is_standing() { 0 } else { for_ms };
        tokio::task::yield_now().await;
        while left_ms > 0 {
            if self.is_cancelled() {
                return Err(cancelled());
            }
            let slice_ms = left_ms.min(100);
            tokio::time::sleep(std::time::Duration::from_millis(slice_ms)).await;
            left_ms -= slice_ms;
        }
        Ok(())
    }
}

/// The error of a run that was asked to stop.
pub(crate) fn cancelled() -> Error {
    Error::external("E0801", "the run was asked to stop").help("run it again: it goes on from its last checkpoint")
}
