//! RFM: each customer in bins by recency, frequency and value. Equal values share a bin; bins are cut at values, so that a
//! new customer can be placed without sorting all others again.

use serde::{Deserialize, Serialize};

use super::orders::History;

/// Bins of one measure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoints {
    /// The smallest value of the second bin, of the third, …; a bin that nobody is in has the value of the next one, and
    /// the list ends with the best bin that somebody is in.
    pub lower: Vec<i64>,
}

impl CutPoints {
    /// Cuts values into `bins` by `percent_rank`: the bin is `1 + ⌊bins × (values below) / (values − 1)⌋`, at most `bins`.
    #[must_use]
    pub fn new(mut values: Vec<i64>, bins: u8) -> Self {
        values.sort_unstable();
        let bins_count = usize::from(bins.max(1));
        let mut lower = Vec::with_capacity(bins_count - 1);
        for bin in 1..bins_count {
            // The first rank whose percent rank reaches the bin; a group of equals that begins before stays below.
            let rank = (bin * values.len().saturating_sub(1)).div_ceil(bins_count);
            let begins_here = rank > 0 && rank.checked_sub(1).and_then(|before| values.get(before)) != values.get(rank);
            let place = if begins_here { rank } else { next_group(&values, rank) };
            lower.extend(values.get(place).copied());
        }
        Self { lower }
    }

    /// The bin of a value, from 1.
    #[must_use]
    pub fn bin(&self, value: i64) -> u8 {
        let below = self.lower.iter().take_while(|lower| value >= **lower).count();
        u8::try_from(below + 1).unwrap_or(u8::MAX)
    }
}

/// The first place after the group of equals at `rank`.
fn next_group(values: &[i64], rank: usize) -> usize {
    let Some(value) = values.get(rank) else { return values.len() };
    values.partition_point(|other| other <= value)
}

/// The cut points of a base.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RfmCuts {
    pub bins: u8,
    /// Days since the last order; few days are a high bin.
    pub recency: CutPoints,
    /// Orders.
    pub frequency: CutPoints,
    /// Net revenue, in millionths of the currency.
    pub monetary: CutPoints,
}

/// The bins of one customer, each from 1 to the number of bins, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rfm {
    pub recency: u8,
    pub frequency: u8,
    pub monetary: u8,
}

impl Rfm {
    /// `100 R + 10 F + M`.
    #[must_use]
    pub fn cell(self) -> u32 {
        100 * u32::from(self.recency) + 10 * u32::from(self.frequency) + u32::from(self.monetary)
    }
}

/// Most bins per measure: a cell is three digits.
pub const BINS_MAX: u8 = 9;

/// Cut points with the day that recency is counted from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RfmFit {
    /// Days since 1970-01-01 UTC.
    pub end_day: i32,
    pub cuts: RfmCuts,
}

/// Days since the last order before `end_day`, orders, net revenue in millionths.
type Measures = [i64; 3];

fn measures(history: &History, end_day: i32) -> impl Iterator<Item = (u32, Measures)> + '_ {
    history.customers().filter_map(move |visits| {
        let last = visits.last()?;
        let orders = visits.iter().map(|visit| i64::from(visit.orders)).sum();
        let net = visits.iter().fold(0_i64, |net, visit| net.saturating_add(visit.net_micros));
        Some((last.customer, [i64::from(end_day) - i64::from(last.day), orders, net]))
    })
}

/// The bins of every customer who bought, with the customer's number; `bins` in 2..=[`BINS_MAX`].
#[must_use]
pub fn rfm(history: &History, bins: u8, end_day: i32) -> (RfmCuts, Vec<(u32, Rfm)>) {
    let bins = bins.clamp(2, BINS_MAX);
    let measures: Vec<(u32, Measures)> = measures(history, end_day).collect();
    let column = |which: usize| measures.iter().filter_map(|(_, values)| values.get(which).copied()).collect();
    let cuts = RfmCuts {
        bins,
        recency: CutPoints::new(column(0), bins),
        frequency: CutPoints::new(column(1), bins),
        monetary: CutPoints::new(column(2), bins),
    };
    let placed = measures.iter().map(|(customer, [days, orders, net])| (*customer, cuts.place(*days, *orders, *net)));
    let placed = placed.collect();
    (cuts, placed)
}

impl RfmFit {
    /// The bins of every customer who bought by cut points that were fitted before: as time goes by all recencies grow alike, so
    /// they are counted to the day of the fit.
    #[must_use]
    pub fn place_all(&self, history: &History) -> Vec<(u32, Rfm)> {
        let placed = measures(history, self.end_day);
        placed.map(|(customer, [days, orders, net])| (customer, self.cuts.place(days, orders, net))).collect()
    }
}

impl RfmCuts {
    /// The bins of a customer by days since the last order, orders and net revenue in millionths.
    #[must_use]
    pub fn place(&self, days: i64, orders: i64, net_micros: i64) -> Rfm {
        Rfm {
            recency: self.bins + 1 - self.recency.bin(days).min(self.bins),
            frequency: self.frequency.bin(orders),
            monetary: self.monetary.bin(net_micros),
        }
    }
}
