//! Counts over the whole base: order value, frequency, customer value, repeat rate, gaps, retention, months.

use serde::Serialize;

use super::calendar::{Month, month_of};
use super::orders::{History, MICROS};

/// The base in one line. `N` orders of `C` buyers are worth `V`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// `N`.
    pub orders: u64,
    /// `C`.
    pub buyers: u64,
    /// `V`, in the currency.
    pub revenue: f64,
    /// `V / N`.
    pub average_order_value: f64,
    /// `N / C`.
    pub purchase_frequency: f64,
    /// `V / C`.
    pub customer_value: f64,
    /// Buyers with at least two orders, of all buyers.
    pub repeat_rate: f64,
}

/// Totals of all orders of the history.
#[must_use]
pub fn totals(history: &History) -> Totals {
    let (mut orders, mut buyers, mut repeaters, mut net) = (0_u64, 0_u64, 0_u64, 0_i128);
    for visits in history.customers() {
        let own: u64 = visits.iter().map(|visit| u64::from(visit.orders)).sum();
        net += visits.iter().map(|visit| i128::from(visit.net_micros)).sum::<i128>();
        orders += own;
        buyers += 1;
        repeaters += u64::from(own >= 2);
    }
    let revenue = money(net);
    Totals {
        orders,
        buyers,
        revenue,
        average_order_value: ratio(revenue, count(orders)),
        purchase_frequency: ratio(count(orders), count(buyers)),
        customer_value: ratio(revenue, count(buyers)),
        repeat_rate: ratio(count(repeaters), count(buyers)),
    }
}

/// Buyers who ordered again within `days` of their first order, of those whose first order is at least `days` before
/// `end_day`; 0 when there are none.
#[must_use]
pub fn repeat_rate_within(history: &History, days: i32, end_day: i32) -> f64 {
    let (mut buyers, mut repeaters) = (0_u64, 0_u64);
    for visits in history.customers() {
        let Some(first) = visits.first() else { continue };
        if first.day.saturating_add(days) > end_day {
            continue;
        }
        let again = |day: i32| day - first.day <= days;
        buyers += 1;
        repeaters += u64::from(first.orders >= 2 || visits.get(1).is_some_and(|visit| again(visit.day)));
    }
    ratio(count(repeaters), count(buyers))
}

/// Days between consecutive days with orders of the same customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Gaps {
    pub gaps: u64,
    pub mean_days: f64,
    pub lower_quartile_days: f64,
    pub median_days: f64,
    pub upper_quartile_days: f64,
}

/// The gaps of all customers.
#[must_use]
pub fn gaps(history: &History) -> Gaps {
    let mut days: Vec<i32> = history.customers().flat_map(gaps_of).collect();
    days.sort_unstable();
    let sum: i64 = days.iter().map(|day| i64::from(*day)).sum();
    let gaps = u64::try_from(days.len()).unwrap_or(u64::MAX);
    Gaps {
        gaps,
        mean_days: ratio(signed(sum), count(gaps)),
        lower_quartile_days: quantile(&days, 0.25),
        median_days: quantile(&days, 0.5),
        upper_quartile_days: quantile(&days, 0.75),
    }
}

/// The gaps of one customer, in days, oldest first.
pub fn gaps_of(visits: &[super::orders::Visit]) -> impl Iterator<Item = i32> + '_ {
    visits.iter().zip(visits.iter().skip(1)).map(|(one, next)| next.day - one.day)
}

/// The quantile of sorted values, between neighbours where it falls between (type 7 of Hyndman and Fan); 0 for none.
#[must_use]
pub fn quantile(sorted: &[i32], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = part * number(last);
    let value = |index: usize| sorted.get(index.min(last)).map_or(0.0, |value| f64::from(*value));
    let (below, share) = (floor_index(place), place.fract());
    value(below) + share * (value(below + 1) - value(below))
}

/// Classic retention of a period, `(E − A) / S`: of the customers at its start, who is one at its end. Churn is 1 minus it.
/// `None` without customers at the start.
#[must_use]
pub fn retention_rate(at_start: u64, acquired: u64, at_end: u64) -> Option<f64> {
    (at_start > 0).then(|| ratio(count(at_end) - count(acquired), count(at_start)))
}

/// What was bought in one month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MonthTotals {
    /// `year × 12 + month − 1`.
    pub month: Month,
    pub orders: u64,
    pub buyers: u64,
    /// Buyers whose first order is in this month.
    pub new_buyers: u64,
    /// In the currency.
    pub revenue: f64,
}

/// Every month from the first order to the last one, also those without orders.
#[must_use]
pub fn months(history: &History) -> Vec<MonthTotals> {
    let Some((first, last)) = history.days() else { return Vec::new() };
    let from = month_of(first);
    let mut months: Vec<(MonthTotals, i128)> = (from..=month_of(last))
        .map(|month| (MonthTotals { month, orders: 0, buyers: 0, new_buyers: 0, revenue: 0.0 }, 0))
        .collect();
    for visits in history.customers() {
        let mut seen = None;
        for visit in visits {
            let month = month_of(visit.day);
            let place = usize::try_from(month - from).unwrap_or(usize::MAX);
            let Some((totals, net)) = months.get_mut(place) else { continue };
            totals.orders += u64::from(visit.orders);
            totals.buyers += u64::from(seen != Some(month));
            totals.new_buyers += u64::from(seen.is_none());
            *net += i128::from(visit.net_micros);
            seen = Some(month);
        }
    }
    months.into_iter().map(|(totals, net)| MonthTotals { revenue: money(net), ..totals }).collect()
}

/// Millionths as a number of the currency.
#[expect(clippy::cast_precision_loss, reason = "money beyond 2^53 millionths is rounded to a part in 10^15")]
pub(super) fn money(micros: i128) -> f64 {
    micros as f64 / MICROS
}

/// A count as a number.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not occur")]
pub(super) fn count(count: u64) -> f64 {
    count as f64
}

/// A length or an index as a number.
pub(super) fn number(length: usize) -> f64 {
    count(u64::try_from(length).unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "days beyond 2^53 do not occur")]
fn signed(sum: i64) -> f64 {
    sum as f64
}

/// The index below a place in a list; 0 for what is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list in memory, never negative")]
pub(super) fn floor_index(place: f64) -> usize {
    place.max(0.0) as usize
}

/// `a / b`, 0 where `b` is 0.
pub(super) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}
