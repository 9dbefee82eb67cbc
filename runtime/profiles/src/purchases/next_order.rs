//! When a customer is likely to order next: her own rhythm, drawn to that of all where she has shown little of it.

use serde::Serialize;

use super::metrics::{Gaps, count, gaps_of, quantile};
use super::orders::Visit;

/// The rhythm of all weighs like this many gaps of her own.
const GAPS_OF_ALL: f64 = 3.0;
/// Below this probability of being alive, a date that has passed is not given.
const ALIVE_MIN: f64 = 0.3;

/// Days since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NextOrder {
    pub day: i32,
    /// By the lower quartile of the gaps.
    pub earliest_day: i32,
    /// By the upper quartile.
    pub latest_day: i32,
}

/// `last + (n · own + k · all) / (n + k)` with `k = 3`, over `n` gaps between her days with orders. `None` without a gap,
/// and when the date has passed and she has probably stopped.
#[must_use]
pub fn next_order(visits: &[Visit], all: &Gaps, alive: f64, end_day: i32) -> Option<NextOrder> {
    let last = visits.last()?.day;
    let mut own: Vec<i32> = gaps_of(visits).collect();
    own.sort_unstable();
    let gaps = count(u64::try_from(own.len()).ok().filter(|gaps| *gaps > 0)?);
    let after = |part: f64, of_all: f64| {
        let days = (gaps * quantile(&own, part) + GAPS_OF_ALL * of_all) / (gaps + GAPS_OF_ALL);
        last.saturating_add(whole_days(days))
    };
    let next = NextOrder {
        day: after(0.5, all.median_days),
        earliest_day: after(0.25, all.lower_quartile_days),
        latest_day: after(0.75, all.upper_quartile_days),
    };
    (next.day >= end_day || alive >= ALIVE_MIN).then_some(next)
}

#[expect(clippy::cast_possible_truncation, reason = "a gap between two days of a calendar, rounded")]
fn whole_days(days: f64) -> i32 {
    days.round() as i32
}
