//! What the models know of a customer: how often she came back, when last, and since when she is a customer.

use super::metrics::{count, money};
use super::orders::{History, Visit};

/// Days in a week, the unit of time of the models.
const WEEK_DAYS: f64 = 7.0;

/// One customer as the models see her. Orders of one day are one order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub customer: u32,
    /// `x`: days with orders after the first.
    pub repeats: u32,
    /// `t_x`: from the first order to the last, in days.
    pub recency_days: u32,
    /// `T`: from the first order to the end of the data, in days.
    pub age_days: u32,
    /// `m̄`: mean value of the repeat days, in the currency; 0 without any.
    pub mean_repeat_value: f64,
    /// Days since 1970-01-01 UTC of the last order.
    pub last_day: i32,
}

/// `x`, `t_x` and `T`, in weeks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pattern {
    pub repeats: f64,
    pub recency_weeks: f64,
    pub age_weeks: f64,
}

/// A pattern and how many customers have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    pub pattern: Pattern,
    pub customers: f64,
}

impl Summary {
    /// `None` when the first of the visits is after `end_day`, or there is none; visits after it are not looked at.
    #[must_use]
    pub fn of(visits: &[Visit], end_day: i32) -> Option<Self> {
        let visits = visits.get(..visits.partition_point(|visit| visit.day <= end_day))?;
        let (first, last) = (visits.first()?, visits.last()?);
        let days = |from: i32, to: i32| u32::try_from(i64::from(to) - i64::from(from)).unwrap_or(0);
        let repeats = u32::try_from(visits.len() - 1).unwrap_or(u32::MAX);
        let net: i128 = visits.iter().skip(1).map(|visit| i128::from(visit.net_micros)).sum();
        Some(Self {
            customer: first.customer,
            repeats,
            recency_days: days(first.day, last.day),
            age_days: days(first.day, end_day),
            mean_repeat_value: if repeats == 0 { 0.0 } else { money(net) / f64::from(repeats) },
            last_day: last.day,
        })
    }

    /// In the unit of the models.
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        Pattern {
            repeats: f64::from(self.repeats),
            recency_weeks: f64::from(self.recency_days) / WEEK_DAYS,
            age_weeks: f64::from(self.age_days) / WEEK_DAYS,
        }
    }
}

/// Days in the unit of the models.
#[must_use]
pub fn weeks(days: u32) -> f64 {
    f64::from(days) / WEEK_DAYS
}

/// The summaries of all who bought until `end_day`, by customer.
#[must_use]
pub fn summaries(history: &History, end_day: i32) -> Vec<Summary> {
    history.customers().filter_map(|visits| Summary::of(visits, end_day)).collect()
}

/// The different patterns, by repeats: a likelihood looks at each once, however many customers have it.
#[must_use]
pub fn weighted_patterns<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Vec<Weighted> {
    let mut keys: Vec<(u32, u32, u32)> = summaries.map(|one| (one.repeats, one.recency_days, one.age_days)).collect();
    keys.sort_unstable();
    let groups = keys.chunk_by(|a, b| a == b);
    groups
        .filter_map(|group| {
            let (repeats, recency, age) = group.first()?;
            let pattern = Pattern { repeats: f64::from(*repeats), recency_weeks: weeks(*recency), age_weeks: weeks(*age) };
            Some(Weighted { pattern, customers: count(u64::try_from(group.len()).unwrap_or(u64::MAX)) })
        })
        .collect()
}
