//! Which categories are bought most: by orders, by units and by revenue, which are three different questions.

use std::collections::HashMap;

use serde::Serialize;

use super::metrics::money;

/// One line of an order; the caller numbers orders, customers and categories.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub customer: u32,
    pub order: u32,
    pub category: u32,
    pub units: f64,
    /// In millionths of the currency.
    pub net_micros: i64,
}

/// Totals of one category.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CategoryTotals {
    pub category: u32,
    /// Orders with at least one line of it.
    pub orders: u64,
    /// Customers with at least one line of it.
    pub buyers: u64,
    pub units: f64,
    /// In the currency.
    pub revenue: f64,
}

/// The totals of every category, by its number.
#[must_use]
pub fn totals_by_category(lines: &[Line]) -> Vec<CategoryTotals> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_unstable_by_key(|line| (line.category, line.customer, line.order));
    let groups = sorted.chunk_by(|a, b| a.category == b.category);
    groups
        .filter_map(|group| {
            let category = group.first()?.category;
            let different = |of: fn(&Line) -> u32| group.chunk_by(|a, b| of(a) == of(b)).count();
            let mut orders: Vec<u32> = group.iter().map(|line| line.order).collect();
            orders.sort_unstable();
            orders.dedup();
            let net: i128 = group.iter().map(|line| i128::from(line.net_micros)).sum();
            let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
            Some(CategoryTotals {
                category,
                orders: number(orders.len()),
                buyers: number(different(|line| line.customer)),
                units: group.iter().map(|line| line.units).sum(),
                revenue: money(net),
            })
        })
        .collect()
}

/// What a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popularity {
    Orders,
    Units,
    Revenue,
}

/// The categories, most popular first; ties by number.
#[must_use]
pub fn ranking(totals: &[CategoryTotals], by: Popularity) -> Vec<CategoryTotals> {
    let measure = |one: &CategoryTotals| match by {
        Popularity::Orders => super::metrics::count(one.orders),
        Popularity::Units => one.units,
        Popularity::Revenue => one.revenue,
    };
    let mut ranked = totals.to_vec();
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
