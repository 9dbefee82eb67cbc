//! When a customer is likely to order next: her own rhythm, drawn to that of her category where she has shown little of it.

use std::collections::HashMap;

use serde::Serialize;

use super::metrics::{Gaps, count, gaps, gaps_of, quantile};
use super::orders::{History, Visit};

/// The rhythm of others weighs like this many gaps of her own.
const GAPS_OF_OTHERS: f64 = 3.0;
/// A category with fewer gaps has no rhythm of its own: that of all customers counts.
const CATEGORY_GAPS_MIN: u64 = 20;
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

/// The rhythms that customers are drawn to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rhythms {
    all: Gaps,
    by_category: HashMap<u32, Gaps>,
    category_of: HashMap<u32, u32>,
}

impl Rhythms {
    /// Of a history, where `category_of` says which category a customer buys most; customers without one, and those of a
    /// category with few gaps, are drawn to all.
    #[must_use]
    pub fn new(history: &History, category_of: &HashMap<u32, u32>) -> Self {
        let by_category = history.by_group(category_of).into_iter().filter_map(|(category, own)| {
            let gaps = gaps(&own);
            (gaps.gaps >= CATEGORY_GAPS_MIN).then_some((category, gaps))
        });
        Self { all: gaps(history), by_category: by_category.collect(), category_of: category_of.clone() }
    }

    /// That of a customer's category, else that of all.
    #[must_use]
    pub fn of(&self, customer: u32) -> &Gaps {
        let own = self.category_of.get(&customer).and_then(|category| self.by_category.get(category));
        own.unwrap_or(&self.all)
    }

    /// Categories that have a rhythm of their own.
    #[must_use]
    pub fn categories(&self) -> usize {
        self.by_category.len()
    }
}

/// `last + (n · own + k · others) / (n + k)` with `k = 3`, over `n` gaps between her days with orders. `None` without a gap,
/// and when the date has passed and she has probably stopped.
#[must_use]
pub fn next_order(visits: &[Visit], others: &Gaps, alive: f64, end_day: i32) -> Option<NextOrder> {
    let last = visits.last()?.day;
    let mut own: Vec<i32> = gaps_of(visits).collect();
    own.sort_unstable();
    let gaps = count(u64::try_from(own.len()).ok().filter(|gaps| *gaps > 0)?);
    let after = |part: f64, of_others: f64| {
        let days = (gaps * quantile(&own, part) + GAPS_OF_OTHERS * of_others) / (gaps + GAPS_OF_OTHERS);
        last.saturating_add(whole_days(days))
    };
    let next = NextOrder {
        day: after(0.5, others.median_days),
        earliest_day: after(0.25, others.lower_quartile_days),
        latest_day: after(0.75, others.upper_quartile_days),
    };
    (next.day >= end_day || alive >= ALIVE_MIN).then_some(next)
}

#[expect(clippy::cast_possible_truncation, reason = "a gap between two days of a calendar, rounded")]
fn whole_days(days: f64) -> i32 {
    days.round() as i32
}
