//! Which answers are worth another try, and how long to wait before it (delivery.md §4).

use std::time::Duration;

use affluent_model::limits::RETRY_AFTER_MS_MAX;

use crate::options::{Backoff, RandomSource};

/// True for the statuses that a repetition may cure.
pub(crate) fn is_worth_repeating(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// When the window of a rate limit ends: `RateLimit-Reset` (draft-ietf-httpapi-ratelimit-headers), and the older name.
const WINDOW_ENDS: [&str; 2] = ["ratelimit-reset", "x-ratelimit-reset"];
/// Such a number is an instant, in seconds since the epoch (from 2001 on): no window is that long.
const EPOCH_SECONDS_MIN: f64 = 1e9;

/// The wait that an answer asks for by its headers (lower-case name → value): that of `Retry-After`, else of a 429 until the
/// window of the limit ends.
pub(crate) fn asked_for<'a>(status: u16, header: impl Fn(&str) -> Option<&'a str>, now_us: i64) -> Option<Duration> {
    let asked = header("retry-after").and_then(|value| retry_after(value, now_us));
    asked.or_else(|| {
        let ends = WINDOW_ENDS.iter().find_map(|name| header(name)).filter(|_| status == 429);
        ends.and_then(|value| until_reset(value, now_us))
    })
}

/// The wait until a window ends, given in seconds from now or since the epoch. The latter is another clock's, and whole: a second
/// at least.
fn until_reset(value: &str, now_us: i64) -> Option<Duration> {
    let seconds: f64 = value.trim().parse().ok()?;
    if seconds < EPOCH_SECONDS_MIN {
        return retry_after(value, now_us);
    }
    let now = Duration::from_micros(u64::try_from(now_us).unwrap_or(0));
    let end = Duration::try_from_secs_f64(seconds).ok()?;
    let longest = Duration::from_millis(RETRY_AFTER_MS_MAX);
    Some(end.saturating_sub(now).clamp(Duration::from_secs(1), longest))
}

/// The wait of a `Retry-After`: seconds (fractions allowed) or an HTTP date; garbage gives `None`.
fn retry_after(value: &str, now_us: i64) -> Option<Duration> {
    let value = value.trim();
    let longest = Duration::from_millis(RETRY_AFTER_MS_MAX);
    if let Ok(seconds) = value.parse::<f64>() {
        return if seconds.is_finite() && seconds >= 0.0 {
            Some(Duration::from_secs_f64(seconds.min(longest.as_secs_f64())))
        } else {
            None
        };
    }
    let at = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_micros(u64::try_from(now_us).unwrap_or(0));
    Some(at.saturating_sub(now).min(longest))
}

/// Full jitter: anything between nothing and a ceiling that doubles with each attempt.
pub(crate) fn backoff(backoff: &Backoff, attempt: u32, random: &RandomSource) -> Duration {
    let doubled = backoff.first_ms.saturating_mul(1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX));
    let ceiling_ms = doubled.min(backoff.longest_ms);
    let mut bytes = [0u8; 8];
    random(&mut bytes);
    let drawn = u64::from_le_bytes(bytes).checked_rem(ceiling_ms.saturating_add(1)).unwrap_or(0);
    Duration::from_millis(drawn)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_date_and_clamped() {
        let now_us = 784_111_777_000_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let cases = [
            ("3", Some(3_000)),
            (" 1.5 ", Some(1_500)),
            ("99999999", Some(3_600_000)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3_600_000)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, now_us), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_429_without_retry_after_waits_until_its_window_ends() {
        let now_us = 1_700_000_000_500_000;
        let cases = [
            (429, &[("retry-after", "3"), ("x-ratelimit-reset", "1700000009")][..], Some(3_000)),
            (429, &[("x-ratelimit-reset", "1700000009")], Some(8_500)),
            (429, &[("x-ratelimit-reset", "1700000000")], Some(1_000)),
            (429, &[("x-ratelimit-reset", "9700000000")], Some(3_600_000)),
            (429, &[("ratelimit-reset", "12")], Some(12_000)),
            (429, &[("x-ratelimit-reset", "inf")], None),
            (429, &[("x-ratelimit-reset", "soon")], None),
            (503, &[("retry-after", "2")], Some(2_000)),
            (503, &[("x-ratelimit-reset", "1700000009")], None),
        ];
        for (status, headers, expected) in cases {
            let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            assert_eq!(asked_for(status, header, now_us), expected.map(Duration::from_millis), "{headers:?}");
        }
    }

    #[test]
    fn waits_stay_under_a_doubling_ceiling() {
        let highest: RandomSource = Arc::new(|buffer| buffer.fill(0));
        assert_eq!(backoff(&Backoff::default(), 1, &highest), Duration::ZERO);

        let settings = Backoff { first_ms: 500, longest_ms: 60_000, attempts_max: 8 };
        for (attempt, ceiling_ms) in [(1, 500), (2, 1_000), (8, 60_000), (200, 60_000)] {
            for byte in 0..=255 {
                let random: RandomSource = Arc::new(move |buffer| buffer.fill(byte));
                assert!(backoff(&settings, attempt, &random) <= Duration::from_millis(ceiling_ms));
            }
        }
    }
}
