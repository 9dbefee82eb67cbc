//! The circuit breaker of a run: too many refused records mean that something is wrong with all of them.

use affluent_model::plan::ErrorPolicy;
use affluent_model::{Error, Result};

/// Counts refused records over windows of read ones.
pub(crate) struct Breaker {
    policy: ErrorPolicy,
    seen: u64,
    refused: u64,
}

impl Breaker {
    pub(crate) fn new(policy: ErrorPolicy) -> Self {
        Self { policy, seen: 0, refused: 0 }
    }

    /// Adds to the window and fails when it holds too many refused records.
    ///
    /// # Errors
    /// `E0803`; nothing since the last checkpoint is lost, the next run reads it again.
    pub(crate) fn check(&mut self, seen: u64, refused: u64) -> Result<()> {
        if self.seen >= self.policy.breaker_window {
            (self.seen, self.refused) = (0, 0);
        }
        self.seen += seen;
        self.refused += refused;
        if self.refused <= self.policy.breaker_max {
            return Ok(());
        }
        let message = format!("{} of {} records were refused, more than `errors.breaker.max`", self.refused, self.seen);
        Err(Error::external("E0803", message)
            .help("look at `affluent dead-letters list`, then mend the source or raise the limit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_stops_when_one_window_holds_too_many_refused_records() {
        let mut breaker = Breaker::new(ErrorPolicy { breaker_window: 100, breaker_max: 2 });
        assert!(breaker.check(50, 2).is_ok());
        assert!(breaker.check(50, 0).is_ok());
        assert!(breaker.check(10, 2).is_ok(), "a new window counts anew");
        assert!(breaker.check(10, 1).is_err());
    }
}
