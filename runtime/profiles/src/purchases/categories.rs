//! Which categories are bought most: by orders, by units and by revenue, which are three different questions.

use std::collections::HashMap;

use super::metrics::money;
use super::orders::MICROS;

/// One line of an order; the caller numbers customers, categories and currencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub customer: u32,
    /// Tells the orders of one customer from each other.
    pub order: u32,
    pub category: u32,
    pub units: f64,
    /// In millionths of the currency.
    pub net_micros: i64,
    pub currency: u16,
}

/// Totals of one category.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoryTotals {
    pub category: u32,
    /// Orders with at least one line of it.
    pub orders: u64,
    /// Customers with at least one line of it.
    pub buyers: u64,
    pub units: f64,
    /// In each currency, by its number; one without lines of the category may be left out.
    pub revenue: Vec<f64>,
}

impl CategoryTotals {
    /// In the currency of a number.
    #[must_use]
    pub fn revenue_in(&self, currency: u16) -> f64 {
        self.revenue.get(usize::from(currency)).copied().unwrap_or(0.0)
    }
}

/// Counts lines one by one. Of a line stays who bought which category in which order, 12 bytes; values and units are added up,
/// in millionths, so that sums do not depend on the order of the lines.
#[derive(Debug, Default)]
pub struct CategoryCounts {
    /// Category, customer, order.
    held: Vec<[u32; 3]>,
    /// By the number of the category.
    sums: Vec<Sums>,
}

#[derive(Debug, Default, Clone)]
struct Sums {
    units_micros: i128,
    /// By the number of the currency.
    net_micros: Vec<i128>,
}

impl CategoryCounts {
    /// Counts a line.
    pub fn add(&mut self, line: &Line) {
        self.held.push([line.category, line.customer, line.order]);
        let category = usize::try_from(line.category).unwrap_or(usize::MAX);
        at(&mut self.sums, category, |sums| {
            sums.units_micros += micros(line.units);
            at(&mut sums.net_micros, usize::from(line.currency), |net| *net += i128::from(line.net_micros));
        });
    }

    /// The totals of every category, by its number, and (customer, category) of all who bought it, each once.
    #[must_use]
    pub fn finish(self) -> (Vec<CategoryTotals>, Vec<(u32, u32)>) {
        let Self { mut held, sums } = self;
        held.sort_unstable();
        held.dedup();
        let of = |group: &[[u32; 3]]| {
            let [category, ..] = *group.first()?;
            let sums = sums.get(usize::try_from(category).ok()?)?;
            Some(CategoryTotals {
                category,
                orders: length(group.len()),
                buyers: length(group.chunk_by(|[_, one, _], [_, next, _]| one == next).count()),
                units: money(sums.units_micros),
                revenue: sums.net_micros.iter().map(|net| money(*net)).collect(),
            })
        };
        let totals = held.chunk_by(|[one, ..], [next, ..]| one == next).filter_map(of).collect();
        held.dedup_by_key(|[category, customer, _]| (*category, *customer));
        (totals, held.into_iter().map(|[category, customer, _]| (customer, category)).collect())
    }
}

/// Changes the value at a place, with empty ones before it where there are none yet.
fn at<T: Default + Clone>(values: &mut Vec<T>, place: usize, change: impl FnOnce(&mut T)) {
    if values.len() <= place {
        values.resize(place + 1, T::default());
    }
    if let Some(value) = values.get_mut(place) {
        change(value);
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// In millionths; a number that is none is 0.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond 2^127 millionths is no number of units")]
fn micros(units: f64) -> i128 {
    (units * MICROS).round() as i128
}

/// What a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popularity {
    Orders,
    Units,
    /// In the currency of this number.
    Revenue(u16),
}

/// The categories, most popular first; ties by number.
#[must_use]
pub fn ranking(totals: &[CategoryTotals], by: Popularity) -> Vec<&CategoryTotals> {
    let measure = |one: &CategoryTotals| match by {
        Popularity::Orders => super::metrics::count(one.orders),
        Popularity::Units => one.units,
        Popularity::Revenue(currency) => one.revenue_in(currency),
    };
    let mut ranked: Vec<&CategoryTotals> = totals.iter().collect();
    ranked.sort_by(|a, b| measure(b).total_cmp(&measure(a)).then(a.category.cmp(&b.category)));
    ranked
}

/// The category in most orders of each customer; ties go by revenue, then by name.
#[must_use]
pub fn top_categories(lines: &[Line], names: &[String]) -> HashMap<u32, u32> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_unstable_by_key(|line| (line.customer, line.category, line.order));
    let name = |category: u32| usize::try_from(category).ok().and_then(|place| names.get(place));
    let mut top: HashMap<u32, (usize, i128, u32)> = HashMap::new();
    for group in sorted.chunk_by(|a, b| (a.customer, a.category) == (b.customer, b.category)) {
        let Some(first) = group.first() else { continue };
        let orders = group.chunk_by(|a, b| a.order == b.order).count();
        let net: i128 = group.iter().map(|line| i128::from(line.net_micros)).sum();
        let best = top.entry(first.customer).or_insert((orders, net, first.category));
        let is_better = (orders, net).cmp(&(best.0, best.1)).then_with(|| name(best.2).cmp(&name(first.category))).is_gt();
        if is_better {
            *best = (orders, net, first.category);
        }
    }
    top.into_iter().map(|(customer, (_, _, category))| (customer, category)).collect()
}
