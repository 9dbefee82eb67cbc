//! How often a failed call is tried again and how long is waited: the retry table of the delivery rules, for the calls
//! that the host could not mend itself.

use affluent_model::Result;
use affluent_model::connector::{BoxFuture, Failure, FailureKind};
use affluent_model::limits::{ATTEMPTS_MAX, BACKOFF_FIRST_MS, BACKOFF_LONGEST_MS, RETRY_AFTER_MS_MAX, TRAPS_MAX};

use crate::engine::Engine;
use crate::run::paused;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait so many milliseconds, then call again.
    Retry(u64),
    /// The instance is gone: open a new one from the last checkpoint.
    Reopen,
    /// Split the batch and try the halves.
    Bisect,
    /// The remote limit is spent: end the run as paused, to go on after so many milliseconds.
    Pause(u64),
    /// Nothing helps.
    Fail,
}

/// Waits longer than this end the run as paused instead of holding its lease.
const WAIT_MS_MAX: u64 = 300_000;

/// Counts the attempts at one thing.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    transient: u32,
    rate_limited: u32,
    traps: u32,
}

impl Attempts {
    /// Something worked: the next failure starts counting anew. Traps keep counting for the whole run.
    pub(crate) fn succeeded(&mut self) {
        self.transient = 0;
        self.rate_limited = 0;
    }

    /// Decides what a failure asks for. `jitter` is in 0..=1.
    pub(crate) fn judge(&mut self, failure: &Failure, jitter: f64) -> Verdict {
        match failure.kind {
            FailureKind::RateLimited => {
                self.rate_limited += 1;
                let wait_ms = failure.retry_after_ms.unwrap_or(BACKOFF_FIRST_MS).min(RETRY_AFTER_MS_MAX);
                match wait_ms {
                    _ if self.rate_limited > ATTEMPTS_MAX => Verdict::Pause(wait_ms.max(BACKOFF_LONGEST_MS)),
                    WAIT_MS_MAX.. => Verdict::Pause(wait_ms),
                    _ => Verdict::Retry(wait_ms.max(1)),
                }
            }
            FailureKind::Transient => {
                self.transient += 1;
                if self.transient >= ATTEMPTS_MAX { Verdict::Fail } else { Verdict::Retry(self.backoff_ms(failure, jitter)) }
            }
            FailureKind::Trap => {
                self.traps += 1;
                if self.traps >= TRAPS_MAX { Verdict::Fail } else { Verdict::Reopen }
            }
            FailureKind::InvalidData => Verdict::Bisect,
            FailureKind::Config
            | FailureKind::Auth
            | FailureKind::Permission
            | FailureKind::NotFound
            | FailureKind::Unsupported
            | FailureKind::Internal
            | FailureKind::CursorLoop
            | FailureKind::Cancelled => Verdict::Fail,
        }
    }

    /// Full jitter between nothing and a doubling ceiling, never below what the remote asked for.
    fn backoff_ms(&self, failure: &Failure, jitter: f64) -> u64 {
        let ceiling = BACKOFF_FIRST_MS.saturating_mul(1 << self.transient.min(10)).min(BACKOFF_LONGEST_MS);
        let share = (jitter.clamp(0.0, 1.0) * 1_000.0).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=1000 by the clamp above")]
        let permille = share as u64;
        let waited = ceiling.saturating_mul(permille) / 1_000;
        waited.max(failure.retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX))
    }
}

/// What a run begins with, of a plugin: what it offers, an open stream or object. A short limit is waited for.
///
/// # Errors
/// `E0802` when the remote's limit is spent; `E0801` when the run is being stopped; what the plugin reports.
pub(crate) async fn begun<'a, T>(engine: &Engine, begin: impl Fn() -> BoxFuture<'a, Result<T, Failure>> + Send) -> Result<T> {
    let mut attempts = Attempts::default();
    loop {
        let failure = match begin().await {
            Ok(begun) => return Ok(begun),
            Err(failure) if failure.kind == FailureKind::RateLimited => failure,
            // Host and plugin tried the others again, as far as that helps.
            Err(failure) => return Err(failure.error),
        };
        match attempts.judge(&failure, 1.0) {
            Verdict::Retry(wait_ms) => engine.wait(&failure.error.message, wait_ms).await?,
            Verdict::Pause(wait_ms) => return Err(paused(&failure.error, wait_ms)),
            Verdict::Reopen | Verdict::Bisect | Verdict::Fail => return Err(failure.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use affluent_model::Error;

    use super::*;

    fn failure(kind: FailureKind, retry_after_ms: Option<u64>) -> Failure {
        Failure { kind, plugin_code: "x".into(), retry_after_ms, error: Error::external("E0401", "x") }
    }

    #[test]
    fn a_transient_failure_is_tried_again_a_bounded_number_of_times() {
        let mut attempts = Attempts::default();
        let verdicts: Vec<Verdict> =
            (0..ATTEMPTS_MAX).map(|_| attempts.judge(&failure(FailureKind::Transient, None), 1.0)).collect();
        assert!(verdicts[..verdicts.len() - 1].iter().all(|verdict| matches!(verdict, Verdict::Retry(_))));
        assert_eq!(verdicts.last(), Some(&Verdict::Fail));
    }

    #[test]
    fn waits_grow_to_a_ceiling_and_honour_what_the_remote_asked_for() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.judge(&failure(FailureKind::Transient, None), 1.0), Verdict::Retry(1_000));
        assert_eq!(attempts.judge(&failure(FailureKind::Transient, None), 1.0), Verdict::Retry(2_000));
        assert_eq!(attempts.judge(&failure(FailureKind::Transient, Some(9_000)), 0.0), Verdict::Retry(9_000));
    }

    #[test]
    fn a_long_rate_limit_pauses_the_run_and_a_short_one_is_waited_for() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.judge(&failure(FailureKind::RateLimited, Some(2_000)), 0.5), Verdict::Retry(2_000));
        assert_eq!(attempts.judge(&failure(FailureKind::RateLimited, Some(3_000_000)), 0.5), Verdict::Pause(3_000_000));
    }

    #[test]
    fn a_remote_that_says_wait_for_ever_pauses_the_run() {
        let mut attempts = Attempts::default();
        let verdicts: Vec<Verdict> =
            (0..=ATTEMPTS_MAX).map(|_| attempts.judge(&failure(FailureKind::RateLimited, Some(10)), 0.5)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Pause(BACKOFF_LONGEST_MS)));
    }

    #[test]
    fn the_third_trap_fails_the_run_even_when_pages_came_between() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.judge(&failure(FailureKind::Trap, None), 0.5), Verdict::Reopen);
        attempts.succeeded();
        assert_eq!(attempts.judge(&failure(FailureKind::Trap, None), 0.5), Verdict::Reopen);
        assert_eq!(attempts.judge(&failure(FailureKind::Trap, None), 0.5), Verdict::Fail);
    }

    #[test]
    fn a_refused_credential_is_never_tried_again() {
        assert_eq!(Attempts::default().judge(&failure(FailureKind::Auth, None), 0.5), Verdict::Fail);
    }
}
