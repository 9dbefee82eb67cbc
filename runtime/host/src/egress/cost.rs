//! A bucket of points that refills with time and is corrected by what each answer says about it (vendors.md, GraphQL
//! cost). Shared by all instances on a connection; requests in flight keep their points reserved.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use affluent_model::manifest::{CostFeedback, RateLimit};

use super::pointers::{Scalar, find_scalars};

/// The bucket of one `rate_limits` entry that has `cost`.
#[derive(Debug)]
pub(crate) struct CostBucket {
    feedback: CostFeedback,
    level: Mutex<Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    available: f64,
    capacity: f64,
    restore_per_s: f64,
    /// Points of requests whose answer has not come.
    reserved: f64,
    at: Duration,
}

/// What an answer said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CostAnswer {
    available: Option<f64>,
    restore_per_s: Option<f64>,
    capacity: Option<f64>,
    requested: Option<f64>,
    pub(crate) throttled: bool,
}

impl CostBucket {
    /// `None` for an entry that counts requests.
    pub(crate) fn new(limit: &RateLimit, now: Duration) -> Option<Self> {
        let feedback = limit.cost.clone()?;
        let per_s = f64::from(limit.requests) * 1_000.0 / limit.per_ms.max(1).min(u64::from(u32::MAX)) as f64;
        let capacity = f64::from(limit.burst.unwrap_or(limit.requests)).max(1.0);
        let level = Level { available: capacity, capacity, restore_per_s: per_s.max(0.001), reserved: 0.0, at: now };
        Some(Self { feedback, level: Mutex::new(level) })
    }

    /// Takes points, or says how long until there are enough. Gives what was really taken: never more than the bucket holds.
    pub(crate) fn take(&self, points: f64, now: Duration) -> Result<f64, Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.refill(now);
        let points = points.min(level.capacity);
        if level.available >= points {
            level.available -= points;
            level.reserved += points;
            return Ok(points);
        }
        Err(level.time_for(points))
    }

    /// Gives back a reservation, with the answer if there was one.
    pub(crate) fn settle(&self, taken: f64, answer: Option<&CostAnswer>, now: Duration) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.refill(now);
        level.reserved = (level.reserved - taken).max(0.0);
        let Some(answer) = answer else { return };
        let sound = |number: &f64| number.is_finite() && *number > 0.0;
        level.capacity = answer.capacity.filter(sound).unwrap_or(level.capacity);
        level.restore_per_s = answer.restore_per_s.filter(sound).unwrap_or(level.restore_per_s);
        if let Some(available) = answer.available.filter(|number| number.is_finite()) {
            // The remote may not have counted what is still in flight.
            level.available = (available - level.reserved).clamp(-level.capacity, level.capacity);
        }
    }

    /// How long until a refused request fits: (requested − available) / restore.
    pub(crate) fn wait_for(&self, points: f64, answer: &CostAnswer, now: Duration) -> Duration {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.refill(now);
        let points = answer.requested.unwrap_or(points).min(level.capacity);
        level.time_for(points)
    }

    pub(crate) fn read(&self, body: &[u8]) -> CostAnswer {
        let feedback = &self.feedback;
        let marker = feedback.throttled.as_ref();
        let pointers = [
            feedback.available.as_str(),
            feedback.restore_per_s.as_deref().unwrap_or_default(),
            feedback.capacity.as_deref().unwrap_or_default(),
            feedback.requested.as_deref().unwrap_or_default(),
            marker.map_or("", |marker| marker.pointer.as_str()),
        ];
        let mut found = find_scalars(body, &pointers).into_iter();
        let mut number = || match found.next().flatten() {
            Some(Scalar::Number(number)) => Some(number),
            _ => None,
        };
        let (available, restore_per_s, capacity, requested) = (number(), number(), number(), number());
        let marked = found.next().flatten();
        let throttled = marker.is_some_and(|marker| marked == Some(Scalar::Text(marker.equals.clone())));
        CostAnswer { available, restore_per_s, capacity, requested, throttled }
    }
}

impl Level {
    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.available = (self.available + elapsed * self.restore_per_s).min(self.capacity);
    }

    fn time_for(&self, points: f64) -> Duration {
        let seconds = (points - self.available).max(0.0) / self.restore_per_s;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).saturating_add(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bucket() -> CostBucket {
        let limit = json!({"requests": 100, "per_ms": 1000, "burst": 1000, "cost": {
            "available": "/t/left", "restore_per_s": "/t/rate", "capacity": "/t/max", "requested": "/t/asked",
            "throttled": {"pointer": "/errors/0/code", "equals": "THROTTLED"}}});
        CostBucket::new(&serde_json::from_value(limit).unwrap(), Duration::ZERO).unwrap()
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn points_are_taken_and_come_back_with_time() {
        let bucket = bucket();

        assert_eq!(bucket.take(900.0, seconds(0.0)), Ok(900.0));
        assert_eq!(bucket.take(300.0, seconds(0.0)), Err(seconds(2.001)));
        assert_eq!(bucket.take(300.0, seconds(2.0)), Ok(300.0));
    }

    #[test]
    fn a_request_dearer_than_the_bucket_takes_all_of_it() {
        assert_eq!(bucket().take(5_000.0, seconds(0.0)), Ok(1_000.0));
    }

    #[test]
    fn the_answer_corrects_the_bucket_but_keeps_what_is_in_flight() {
        let bucket = bucket();
        let first = bucket.take(100.0, seconds(0.0)).unwrap();
        bucket.take(100.0, seconds(0.0)).unwrap();

        let answer = bucket.read(br#"{"t": {"left": 150, "rate": 50, "max": 2000}}"#);
        bucket.settle(first, Some(&answer), seconds(0.0));

        assert_eq!(bucket.take(100.0, seconds(0.0)), Err(seconds(1.001)));
        assert_eq!(bucket.take(2_500.0, seconds(39.0)), Ok(2_000.0));
    }

    #[test]
    fn a_throttled_answer_says_how_long_to_wait() {
        let bucket = bucket();
        let taken = bucket.take(10.0, seconds(0.0)).unwrap();
        let answer = bucket.read(br#"{"errors": [{"code": "THROTTLED"}], "t": {"left": 100, "asked": 400}}"#);
        bucket.settle(taken, Some(&answer), seconds(0.0));

        assert!(answer.throttled);
        assert_eq!(bucket.wait_for(10.0, &answer, seconds(0.0)), seconds(3.001));
    }

    #[test]
    fn numbers_that_make_no_sense_are_left_out() {
        let bucket = bucket();
        let answer = bucket.read(br#"{"t": {"left": -1e300, "rate": 0, "max": -5}}"#);
        bucket.settle(0.0, Some(&answer), seconds(0.0));

        assert_eq!(bucket.take(100.0, seconds(0.0)), Err(seconds(11.001)));
    }
}
