//! What the orders of a base say as a whole: the values of `affluent insights`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::affinity::{G2_MIN, TOGETHER_MIN, pairs};
use super::calendar::{day_text, month_text};
use super::card::ModelCard;
use super::categories::{CategoryCounts, CategoryTotals, Popularity, ranking};
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
///
/// Values are never summed over currencies. Where there are several and the project does not convert, counts are of all orders,
/// and every value is of the orders in [`Self::currency`] alone; those of the other currencies stand in [`Self::by_currency`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Insights {
    /// Dates as `2026-05-31`; the first two are empty without orders.
    pub first_order_on: String,
    pub last_order_on: String,
    pub end_on: String,
    /// Of all values: that of the project, else that of most orders; empty where orders have none.
    pub currency: String,
    /// Orders in other currencies: they count, their values do not.
    pub orders_in_other_currencies: u64,
    /// Of these, orders whose currency has no rate for their day or one before, by currency; only where the project converts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without_rate: BTreeMap<String, u64>,
    pub totals: Totals,
    /// The orders of each currency by themselves, where there are several and the project does not convert; that of
    /// [`Self::currency`] first, then by orders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_currency: Vec<CurrencyInsights>,
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

/// The orders of one currency by themselves: counts are of its orders and buyers alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CurrencyInsights {
    /// ISO 4217; empty for orders that say none.
    pub currency: String,
    pub totals: Totals,
    pub months: Vec<MonthLine>,
    pub rfm: RfmGrid,
    /// Categories by revenue in it; empty where no column of categories is known.
    pub categories_by_revenue: Vec<CategoryLine>,
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

/// Counted lines of orders, and the names of their categories by number.
#[derive(Debug, Default)]
pub struct Lines {
    pub counts: CategoryCounts,
    pub categories: Vec<String>,
}

/// What is to be known of a history that was read until `end_day`; `bins` of RFM.
#[must_use]
pub fn insights(history: &History, end_day: i32, bins: u8) -> Insights {
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
        ..Insights::default()
    }
}

/// What is to be known of the orders of one currency, by their history until `end_day`.
#[must_use]
pub fn insights_of_currency(currency: &str, history: &History, end_day: i32, bins: u8) -> CurrencyInsights {
    CurrencyInsights {
        currency: currency.to_owned(),
        totals: totals(history),
        months: month_lines(history),
        rfm: grid(history, bins, end_day),
        categories_by_revenue: Vec::new(),
    }
}

impl Insights {
    /// Tells each currency by itself; values over all are those of the first one, by its own orders and buyers.
    pub fn tell_by_currency(&mut self, by_currency: Vec<CurrencyInsights>) {
        if let Some(CurrencyInsights { totals, .. }) = by_currency.first() {
            self.totals.revenue = totals.revenue;
            self.totals.average_order_value = totals.average_order_value;
            self.totals.customer_value = totals.customer_value;
        }
        self.by_currency = by_currency;
    }

    /// Tells what was bought. Currencies of the lines have the numbers of [`Self::by_currency`].
    pub fn tell_categories(&mut self, lines: Lines) {
        let (totals, held) = lines.counts.finish();
        let names = lines.categories;
        for (currency, one) in (0..).zip(&mut self.by_currency) {
            let is_sold = |line: &CategoryTotals| line.revenue_in(currency) != 0.0;
            let sold: Vec<CategoryTotals> = totals.iter().filter(|line| is_sold(line)).cloned().collect();
            one.categories_by_revenue = shown(&sold, Popularity::Revenue(currency), &names);
        }
        self.categories = Some(categories(&totals, held, &names));
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

/// The most popular ones; revenue is in the currency that the ranking goes by, else in the first one.
fn shown(totals: &[CategoryTotals], by: Popularity, names: &[String]) -> Vec<CategoryLine> {
    let currency = if let Popularity::Revenue(currency) = by { currency } else { 0 };
    let line = |one: &CategoryTotals| CategoryLine {
        category: name_of(one.category, names),
        orders: one.orders,
        buyers: one.buyers,
        units: one.units,
        revenue: one.revenue_in(currency),
    };
    ranking(totals, by).into_iter().take(SHOWN_MAX).map(line).collect()
}

fn name_of(category: u32, names: &[String]) -> String {
    usize::try_from(category).ok().and_then(|place| names.get(place)).cloned().unwrap_or_default()
}

fn categories(totals: &[CategoryTotals], held: Vec<(u32, u32)>, names: &[String]) -> Categories {
    let strong = pairs(held, TOGETHER_MIN).into_iter().filter(|pair| pair.lift > 1.0 && pair.g2 >= G2_MIN);
    let pairs = strong.take(SHOWN_MAX).map(|pair| PairLine {
        one: name_of(pair.a, names),
        other: name_of(pair.b, names),
        customers: pair.together,
        support: pair.support,
        lift: pair.lift,
        g2: pair.g2,
        p_value: pair.p_value,
    });
    Categories {
        count: u64::try_from(totals.len()).unwrap_or(u64::MAX),
        by_orders: shown(totals, Popularity::Orders, names),
        by_units: shown(totals, Popularity::Units, names),
        by_revenue: shown(totals, Popularity::Revenue(0), names),
        pairs: pairs.collect(),
    }
}
