//! Refusals on their way to the audit. A plugin that asks for the same again and again must not be able to fill the
//! audit with it: beyond a number per minute its refusals are counted and told as one (security B-27).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::options::{AuditCallback, AuditEvent, Clock};

/// Refusals of one kind, of one plugin on one connection, that are written down in a minute.
const EVENTS_PER_MINUTE_MAX: u32 = 100;
const MINUTE: Duration = Duration::from_secs(60);

/// The events of one kind, of one plugin on one connection, within a minute.
#[derive(Debug, Default)]
struct Window {
    since: Duration,
    events: u32,
    dropped: u64,
}

impl Window {
    /// Whether another event is written down; with those that were only counted in the minute before.
    fn admit(&mut self, now: Duration) -> (bool, u64) {
        let mut dropped = 0;
        if now.saturating_sub(self.since) >= MINUTE {
            dropped = std::mem::take(&mut self.dropped);
            self.since = now;
            self.events = 0;
        }
        self.events = self.events.saturating_add(1);
        let admitted = self.events <= EVENTS_PER_MINUTE_MAX;
        self.dropped += u64::from(!admitted);
        (admitted, dropped)
    }
}

/// The same callback, called at most [`EVENTS_PER_MINUTE_MAX`] times a minute for each plugin, connection and kind.
pub(crate) fn limited(audit: AuditCallback, clock: Arc<dyn Clock>) -> AuditCallback {
    let windows: Mutex<HashMap<(String, String, &'static str), Window>> = Mutex::default();
    Arc::new(move |event: AuditEvent| {
        let key = (event.plugin.clone(), event.connection.clone(), event.action);
        let now = clock.monotonic();
        let (admitted, dropped) = windows.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().admit(now);
        if dropped > 0 {
            let reason = format!("{dropped} refusals over {EVENTS_PER_MINUTE_MAX} in a minute were counted only");
            audit(AuditEvent { object: String::new(), reason, ..event.clone() });
        }
        if admitted {
            audit(event);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::JumpingClock;

    fn event(plugin: &str) -> AuditEvent {
        let (connection, pipeline) = ("c".to_owned(), "p".to_owned());
        let (object, reason) = ("evil.test".to_owned(), "not granted".to_owned());
        AuditEvent { plugin: plugin.to_owned(), connection, pipeline, action: "egress", object, reason }
    }

    #[test]
    fn a_flood_of_refusals_is_cut_counted_and_hides_nobody_elses() {
        let clock = Arc::new(JumpingClock::default());
        let written: Arc<Mutex<Vec<AuditEvent>>> = Arc::default();
        let kept = Arc::clone(&written);
        let audit = limited(Arc::new(move |event| kept.lock().unwrap().push(event)), clock.clone());

        (0..250).for_each(|_| audit(event("flood")));
        audit(event("quiet"));
        assert_eq!(written.lock().unwrap().len(), 101);

        drop(clock.sleep(MINUTE));
        audit(event("flood"));
        let reasons: Vec<String> = written.lock().unwrap().iter().skip(101).map(|event| event.reason.clone()).collect();
        assert_eq!(reasons, ["150 refusals over 100 in a minute were counted only", "not granted"]);
    }
}
