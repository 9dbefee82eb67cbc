//! `runtime`: log, progress, metrics, time, randomness and the stop flag. Lines are bounded, escaped, cleared of known
//! secrets and limited per second (security B-28).

use std::time::Duration;

use crate::bindings::affluent::plugin::runtime::{Host, Level};
use crate::egress::wait::Waits;
use crate::failure::clean_text;
use crate::limits::{LOG_FIELDS_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_PER_S_MAX, RANDOM_BYTES_MAX};
use crate::options::{LogEvent, LogLevel};
use crate::state::State;
use crate::trap::Forbidden;

const SECOND: Duration = Duration::from_secs(1);
const NAME_BYTES_MAX: usize = 128;

/// Counts lines within a second.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    since: Duration,
    lines: u32,
    dropped: u64,
}

impl LogLimiter {
    /// Whether another line may pass; with the lines dropped before it when a new second began.
    fn admit(&mut self, now: Duration) -> (bool, u64) {
        let mut dropped = 0;
        if now.saturating_sub(self.since) >= SECOND {
            dropped = std::mem::take(&mut self.dropped);
            self.since = now;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        let admitted = self.lines <= LOG_LINES_PER_S_MAX;
        self.dropped += u64::from(!admitted);
        (admitted, dropped)
    }
}

impl State {
    fn emit(&mut self, level: LogLevel, event: impl FnOnce(&Self) -> LogEvent) {
        let now = self.services.options.clock.monotonic();
        let (admitted, dropped) = self.services.log_limiter.admit(now);
        let caller = self.services.caller();
        if dropped > 0 {
            caller.log(LogLevel::Warn, LogEvent::Host { text: format!("{dropped} lines over 100 per second were dropped") });
        }
        if admitted {
            caller.log(level, event(self));
        }
    }

    /// A guest's text as it may be shown.
    fn show(&self, text: &str, bytes_max: usize) -> String {
        clean_text(&self.services.clean(text), bytes_max)
    }

    fn show_pairs(&self, pairs: &[(String, String)]) -> Vec<(String, String)> {
        let mut left = LOG_LINE_BYTES_MAX;
        let mut shown = Vec::new();
        for (name, value) in pairs.iter().take(LOG_FIELDS_MAX) {
            let (name, value) = (self.show(name, NAME_BYTES_MAX), self.show(value, left));
            left = left.saturating_sub(name.len() + value.len());
            shown.push((name, value));
        }
        shown
    }
}

impl Host for State {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.emit(level, |state| LogEvent::Message {
            text: state.show(&message, LOG_LINE_BYTES_MAX),
            fields: state.show_pairs(&fields),
        });
        Ok(())
    }

    fn progress(&mut self, done: u64, total: Option<u64>, note: Option<String>) -> wasmtime::Result<()> {
        let show = |state: &Self| note.as_deref().map(|note| state.show(note, LOG_LINE_BYTES_MAX));
        self.emit(LogLevel::Info, |state| LogEvent::Progress { done, total, note: show(state) });
        Ok(())
    }

    fn metric(&mut self, name: String, value: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.emit(LogLevel::Debug, |state| {
            let (name, labels) = (state.show(&name, NAME_BYTES_MAX), state.show_pairs(&labels));
            LogEvent::Metric { name, value, labels }
        });
        Ok(())
    }

    fn now_us(&mut self) -> wasmtime::Result<i64> {
        Ok(self.services.options.clock.now_us())
    }

    async fn sleep_ms(&mut self, ms: u32) -> wasmtime::Result<()> {
        let waits = Waits { options: self.services.options.clone(), time: self.time.clone() };
        // A stopped run ends the sleep; the guest sees it by `cancelled`.
        drop(waits.sleep(Duration::from_millis(u64::from(ms))).await);
        Ok(())
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.services.options.cancelled.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn random_bytes(&mut self, n: u32) -> wasmtime::Result<Vec<u8>> {
        if n > RANDOM_BYTES_MAX {
            return Err(Forbidden("`random-bytes` for more than 64 KiB at once").into());
        }
        let mut bytes = vec![0u8; usize::try_from(n).unwrap_or(0)];
        (self.services.options.random)(&mut bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let mut limiter = LogLimiter::default();
        let now = Duration::from_secs(5);

        let admitted = (0..250).filter(|_| limiter.admit(now).0).count();

        assert_eq!(admitted, 100);
        assert_eq!(limiter.admit(now + SECOND), (true, 150));
        assert_eq!(limiter.admit(now + SECOND), (true, 0));
    }
}
