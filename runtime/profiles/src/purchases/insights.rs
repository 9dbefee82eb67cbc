//! What the orders of a base say as a whole: the values of `affluent insights`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::affinity::{G2_MIN, TOGETHER_MIN, pairs};
use super::calendar::{day_text, month_text};
use super::card::ModelCard;
use super::categories::{CategoryTotals, Line, Popularity, ranking, totals_by_category};
use super::cohorts::cohorts;
use super::metrics::{Gaps, Totals, gaps, money, months, repeat_rate_within, retention_rate, totals};
use super::orders::History;
use super::rfm::{RfmCuts, rfm};

/// Days within which a second order is looked for.
const WITHIN_DAYS: [i32; 3] = [30, 90, 365];
/// A customer is one who ordered in so many days.
const CUSTOMER_DAYS: i32 = 365;
/// Categories and pairs that are shown.
const SHOWN_MAX: usize = 20;

/// Purchase behaviour of a base, on the evening of `end_on`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Insights {
    /// Dates as `2026-05-31`; the first two are empty without orders.
    pub first_order_on: String,
    pub last_order_on: String,
    pub end_on: String,
    /// Of all values: that of most orders; empty where orders have none.
    pub currency: String,
    /// Orders in other currencies: they count, their values do not.
    pub orders_in_other_currencies: u64,
    /// Of these, orders whose currency has no rate for their day or one before, by currency; only where the project converts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without_rate: BTreeMap<String, u64>,
    pub totals: Totals,
    /// The orders of each currency by themselves, where there are several and the project does not convert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_currency: Vec<CurrencyTotals>,
    pub repeat_within: Vec<RepeatWithin>,
    pub gaps: Gaps,
    /// Of the customers of a year before (who ordered in the 365 days until then), the part that ordered since; `None`
    /// without any.
    pub retention_of_a_year: Option<f64>,
    pub months: Vec<MonthLine>,
    pub cohorts: Vec<CohortLine>,
    pub rfm: RfmGrid,
    /// `None` where no column of categories is known.
    pub categories: Option<Categories>,
    /// Model cards of predicted traits, by trait.
    pub models: Vec<(String, ModelCard)>,
}

/// The orders of one currency by themselves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurrencyTotals {
    pub currency: String,
    pub totals: Totals,
}

/// Buyers who ordered again so soon after their first order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RepeatWithin {
    pub days: i32,
    pub rate: f64,
}

/// One month of the trend; the last one may be unfinished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonthLine {
    /// `2026-05`.
    pub month: String,
    pub orders: u64,
    pub buyers: u64,
    pub new_buyers: u64,
    pub revenue: f64,
}

/// Buyers by the month of their first order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CohortLine {
    /// `2026-05`.
    pub month: String,
    pub size: u64,
    /// Members who ordered in the first month after it, the second, …
    pub ordering: Vec<u64>,
    /// Members who ordered in that month or later.
    pub ordering_since: Vec<u64>,
}

/// Customers by their bins of recency and frequency.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RfmGrid {
    pub cuts: RfmCuts,
    /// Cells with customers, the best first.
    pub cells: Vec<RfmCell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RfmCell {
    pub recency: u8,
    pub frequency: u8,
    pub customers: u64,
    /// Of all their orders.
    pub revenue: f64,
}

/// Categories in three rankings, and pairs of them that the same customers buy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Categories {
    /// Categories in all.
    pub count: u64,
    pub by_orders: Vec<CategoryLine>,
    pub by_units: Vec<CategoryLine>,
    pub by_revenue: Vec<CategoryLine>,
    /// By lift, without those that chance explains.
    pub pairs: Vec<PairLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoryLine {
    pub category: String,
    pub orders: u64,
    pub buyers: u64,
    pub units: f64,
    pub revenue: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairLine {
    pub one: String,
    pub other: String,
    /// Customers who bought both.
    pub customers: u64,
    /// Of all customers.
    pub support: f64,
    pub lift: f64,
    pub g2: f64,
    pub p_value: f64,
}

/// Lines of orders and the names of their categories, by number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    pub lines: Vec<Line>,
    pub categories: Vec<String>,
}

/// What is to be known of a history that was read until `end_day`; `bins` of RFM.
#[must_use]
pub fn insights(history: &History, lines: Option<&Lines>, end_day: i32, bins: u8) -> Insights {
    let days = history.days();
    let text = |day: i32| day_text(day);
    Insights {
        first_order_on: days.map_or_else(String::new, |(first, _)| text(first)),
        last_order_on: days.map_or_else(String::new, |(_, last)| text(last)),
        end_on: text(end_day),
        totals: totals(history),
        repeat_within: WITHIN_DAYS.map(|days| RepeatWithin { days, rate: repeat_rate_within(history, days, end_day) }).to_vec(),
        gaps: gaps(history),
        retention_of_a_year: retention(history, end_day),
        months: month_lines(history),
        cohorts: cohort_lines(history, end_day),
        rfm: grid(history, bins, end_day),
        categories: lines.map(categories),
        ..Insights::default()
    }
}

/// `(E − A) / S` over the last [`CUSTOMER_DAYS`]: a customer at a time is who ordered in as many days until then.
fn retention(history: &History, end_day: i32) -> Option<f64> {
    let begin = end_day - CUSTOMER_DAYS;
    let (mut at_start, mut acquired, mut at_end) = (0, 0, 0);
    for visits in history.customers() {
        let ordered = |from: i32, to: i32| visits.iter().any(|visit| visit.day > from && visit.day <= to);
        let was_customer = ordered(begin - CUSTOMER_DAYS, begin);
        let is_customer = ordered(begin, end_day);
        at_start += u64::from(was_customer);
        at_end += u64::from(is_customer);
        acquired += u64::from(is_customer && !was_customer);
    }
    retention_rate(at_start, acquired, at_end)
}

fn month_lines(history: &History) -> Vec<MonthLine> {
    let lines = months(history).into_iter().map(|one| MonthLine {
        month: month_text(one.month),
        orders: one.orders,
        buyers: one.buyers,
        new_buyers: one.new_buyers,
        revenue: one.revenue,
    });
    lines.collect()
}

fn cohort_lines(history: &History, end_day: i32) -> Vec<CohortLine> {
    let lines = cohorts(history, end_day).into_iter().map(|one| CohortLine {
        month: month_text(one.month),
        size: one.size,
        ordering: one.ordering,
        ordering_since: one.ordering_since,
    });
    lines.collect()
}

fn grid(history: &History, bins: u8, end_day: i32) -> RfmGrid {
    let (cuts, placed) = rfm(history, bins, end_day);
    let mut cells: BTreeMap<(u8, u8), (u64, i128)> = BTreeMap::new();
    for ((_, rfm), visits) in placed.iter().zip(history.customers()) {
        let (customers, net) = cells.entry((rfm.recency, rfm.frequency)).or_default();
        *customers += 1;
        *net += visits.iter().map(|visit| i128::from(visit.net_micros)).sum::<i128>();
    }
    let cells = cells.into_iter().rev().map(|((recency, frequency), (customers, net))| RfmCell {
        recency,
        frequency,
        customers,
        revenue: money(net),
    });
    RfmGrid { cuts, cells: cells.collect() }
}

fn categories(lines: &Lines) -> Categories {
    let totals = totals_by_category(&lines.lines);
    let name = |category: u32| {
        let name = usize::try_from(category).ok().and_then(|place| lines.categories.get(place));
        name.cloned().unwrap_or_default()
    };
    let shown = |by: Popularity| -> Vec<CategoryLine> {
        let line = |one: CategoryTotals| CategoryLine {
            category: name(one.category),
            orders: one.orders,
            buyers: one.buyers,
            units: one.units,
            revenue: one.revenue,
        };
        ranking(&totals, by).into_iter().take(SHOWN_MAX).map(line).collect()
    };
    let held = lines.lines.iter().map(|line| (line.customer, line.category)).collect();
    let strong = pairs(held, TOGETHER_MIN).into_iter().filter(|pair| pair.lift > 1.0 && pair.g2 >= G2_MIN);
    let pairs = strong.take(SHOWN_MAX).map(|pair| PairLine {
        one: name(pair.a),
        other: name(pair.b),
        customers: pair.together,
        support: pair.support,
        lift: pair.lift,
        g2: pair.g2,
        p_value: pair.p_value,
    });
    Categories {
        count: u64::try_from(totals.len()).unwrap_or(u64::MAX),
        by_orders: shown(Popularity::Orders),
        by_units: shown(Popularity::Units),
        by_revenue: shown(Popularity::Revenue),
        pairs: pairs.collect(),
    }
}
