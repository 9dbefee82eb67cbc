//! Retention by the month of the first order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calendar::{Month, month_of};
use super::orders::{History, Visit};

/// Customers whose first order is in one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cohort {
    /// `year × 12 + month − 1`.
    pub month: Month,
    pub size: u64,
    /// Members who ordered in the first month after it, in the second, …; as long as the data goes.
    pub ordering: Vec<u64>,
    /// Members who ordered in that month or in a later one: rolling retention.
    pub ordering_since: Vec<u64>,
}

/// The cohorts, oldest first; `end_day` says until which month they are followed.
#[must_use]
pub fn cohorts(history: &History, end_day: i32) -> Vec<Cohort> {
    let last = month_of(end_day);
    let mut cohorts: BTreeMap<Month, Cohort> = BTreeMap::new();
    for visits in history.customers() {
        let Some(first) = visits.first().map(|visit| month_of(visit.day)).filter(|month| *month <= last) else { continue };
        let followed = usize::try_from(last - first).unwrap_or(0);
        let empty = || Cohort { month: first, size: 0, ordering: vec![0; followed], ordering_since: vec![0; followed] };
        let cohort = cohorts.entry(first).or_insert_with(empty);
        cohort.size += 1;
        follow(cohort, visits);
    }
    cohorts.into_values().collect()
}

fn follow(cohort: &mut Cohort, visits: &[Visit]) {
    let mut seen = 0;
    for visit in visits {
        let after = usize::try_from(month_of(visit.day) - cohort.month).unwrap_or(0);
        if after > seen
            && let Some(ordering) = cohort.ordering.get_mut(after - 1)
        {
            *ordering += 1;
            seen = after;
        }
    }
    for since in cohort.ordering_since.iter_mut().take(seen) {
        *since += 1;
    }
}
