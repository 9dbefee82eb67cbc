//! `affluent insights` as text.

use affluent_profiles::purchases::insights::{CategoryLine, CohortLine, Insights};
use affluent_profiles::purchases::metrics::Totals;

use crate::render::profile::model_card;
use crate::render::screen::{number, table};

/// Months and cohorts that are shown as text, the newest.
const LINES_MAX: usize = 13;
/// Months of a cohort.
const COHORT_MONTHS_MAX: usize = 12;
/// Categories and pairs.
const CATEGORIES_MAX: usize = 10;

/// Everything, as tables.
pub(crate) fn insights(insights: &Insights) -> String {
    let mut text = format!("purchase behaviour until {}\n\n", insights.end_on);
    let width = fact_lines(insights).iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in fact_lines(insights) {
        text.push_str(&format!("{name:<width$}  {value}\n"));
    }
    if insights.orders_in_other_currencies > 0 {
        let orders = number(insights.orders_in_other_currencies);
        let currency = currency_name(&insights.currency);
        text.push_str(&format!("{orders} orders are not in {currency}: they count, their values are left out\n"));
    }
    for (currency, orders) in &insights.without_rate {
        text.push_str(&format!("{} orders in {currency} have no rate for their day or one before\n", number(*orders)));
    }
    if !insights.by_currency.is_empty() {
        text.push_str(&format!("\nby currency\n{}\n", currencies(insights)));
    }
    if insights.totals.orders > 0 {
        text.push_str(&format!("\n{}\n", months(insights)));
        text.push_str(&format!("\nordering again, months after the first order\n{}\n", cohorts(insights)));
        text.push_str(&format!("\ncustomers by last order (R) and number of orders (F)\n{}\n", grid(insights)));
        text.push_str(&categories(insights));
    }
    for (name, card) in &insights.models {
        text.push_str(&format!("\n{name}\n  {}\n", model_card(card).join("\n  ")));
    }
    text
}

fn currencies(insights: &Insights) -> String {
    let mut rows = table(&["currency", "orders", "buyers", "revenue", "average order", "revenue per buyer"]);
    for one in &insights.by_currency {
        let currency = one.currency.as_str();
        rows.add_row([
            currency_name(currency).to_owned(),
            number(one.totals.orders),
            number(one.totals.buyers),
            amount(one.totals.revenue, currency),
            amount(one.totals.average_order_value, currency),
            amount(one.totals.customer_value, currency),
        ]);
    }
    rows.to_string()
}

/// How a currency is called; orders may say none.
pub(crate) fn currency_name(currency: &str) -> &str {
    if currency.is_empty() { "(no currency)" } else { currency }
}

/// The values of a base, or of the orders in one currency: name and value.
pub(crate) fn value_lines(totals: &Totals, currency: &str) -> Vec<(String, String)> {
    let line = |name: &str, value: f64| (name.to_owned(), amount(value, currency));
    vec![
        line("net revenue", totals.revenue),
        line("average order", totals.average_order_value),
        line("revenue per buyer", totals.customer_value),
    ]
}

/// The figures of the whole base: name and value. Where there are several currencies, values are of the orders in one and
/// say so.
fn fact_lines(insights: &Insights) -> Vec<(String, String)> {
    let is_of_one = !insights.by_currency.is_empty();
    let values = value_lines(&insights.totals, &insights.currency).into_iter().map(|(name, value)| {
        let name = if is_of_one { format!("{name}, of orders in {}", currency_name(&insights.currency)) } else { name };
        (name, value)
    });
    let mut lines = count_lines(insights);
    lines.splice(2..2, values);
    lines
}

/// The counts of the whole base, over all currencies: name and value.
pub(crate) fn count_lines(insights: &Insights) -> Vec<(String, String)> {
    let totals = &insights.totals;
    let line = |name: &str, value: String| (name.to_owned(), value);
    let mut lines = vec![
        line("buyers", number(totals.buyers)),
        line("orders", number(totals.orders)),
        line("orders per buyer", format!("{:.2}", totals.purchase_frequency)),
        line("bought again", percent(totals.repeat_rate)),
    ];
    let within = insights.repeat_within.iter().map(|one| line(&format!("again in {} days", one.days), percent(one.rate)));
    lines.extend(within);
    lines.push(line("median gap", format!("{:.0} days", insights.gaps.median_days)));
    lines.push(line("mean gap", format!("{:.1} days", insights.gaps.mean_days)));
    if let Some(rate) = insights.retention_of_a_year {
        lines.push(line("kept for a year", percent(rate)));
    }
    lines
}

fn months(insights: &Insights) -> String {
    let revenue = format!("revenue {}", insights.currency);
    let mut rows = table(&["month", revenue.trim_end(), "orders", "buyers", "new"]);
    for one in insights.months.iter().rev().take(LINES_MAX) {
        let revenue = amount(one.revenue, "");
        rows.add_row([one.month.clone(), revenue, number(one.orders), number(one.buyers), number(one.new_buyers)]);
    }
    rows.to_string()
}

/// The newest cohorts, how many of their months are shown, and the head of their table.
pub(super) fn newest_cohorts(insights: &Insights, cohorts_max: usize) -> (&[CohortLine], usize, Vec<String>) {
    let skipped = insights.cohorts.len().saturating_sub(cohorts_max);
    let shown = insights.cohorts.get(skipped..).unwrap_or_default();
    let months = shown.iter().map(|one| one.ordering.len()).max().unwrap_or(0).min(COHORT_MONTHS_MAX);
    let named = ["first order".to_owned(), "buyers".to_owned()];
    (shown, months, named.into_iter().chain((1..=months).map(|month| format!("+{month}"))).collect())
}

fn cohorts(insights: &Insights) -> String {
    let (shown, months, head) = newest_cohorts(insights, LINES_MAX);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut rows = table(&head);
    for one in shown {
        let mut row = vec![one.month.clone(), number(one.size)];
        row.extend(one.ordering.iter().take(months).map(|members| number(*members)));
        row.resize(head.len(), String::new());
        rows.add_row(row);
    }
    rows.to_string()
}

fn grid(insights: &Insights) -> String {
    let bins = insights.rfm.cuts.bins;
    let head: Vec<String> = std::iter::once(String::new()).chain((1..=bins).map(|frequency| format!("F {frequency}"))).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut rows = table(&head);
    for recency in (1..=bins).rev() {
        let customers = |frequency: u8| {
            let cell = insights.rfm.cells.iter().find(|cell| (cell.recency, cell.frequency) == (recency, frequency));
            cell.map_or_else(String::new, |cell| number(cell.customers))
        };
        rows.add_row(std::iter::once(format!("R {recency}")).chain((1..=bins).map(customers)));
    }
    rows.to_string()
}

fn categories(insights: &Insights) -> String {
    let Some(categories) = &insights.categories else {
        return "\nno categories: no column of a usual name; name it with `--category`\n".to_owned();
    };
    let revenue = format!("by revenue {}", insights.currency);
    let mut rows = table(&["by orders", "", "by units", "", revenue.trim_end(), ""]);
    let by = [&categories.by_orders, &categories.by_units, &categories.by_revenue];
    for place in 0..CATEGORIES_MAX.min(categories.by_orders.len()) {
        let cells = by.iter().zip([0, 1, 2]).flat_map(|(lines, which)| match lines.get(place) {
            Some(line) => [line.category.clone(), measure(line, which)],
            None => [String::new(), String::new()],
        });
        rows.add_row(cells.collect::<Vec<_>>());
    }
    let mut text = format!("\ncategories\n{rows}\n");
    if !categories.pairs.is_empty() {
        let mut pairs = table(&["bought by the same customers", "customers", "lift", "G²"]);
        for pair in categories.pairs.iter().take(CATEGORIES_MAX) {
            let name = format!("{} and {}", pair.one, pair.other);
            pairs.add_row([name, number(pair.customers), format!("{:.2}", pair.lift), format!("{:.0}", pair.g2)]);
        }
        text.push_str(&format!("\n{pairs}\n"));
    }
    text
}

fn measure(line: &CategoryLine, which: u8) -> String {
    match which {
        0 => number(line.orders),
        1 => format!("{:.0}", line.units),
        _ => amount(line.revenue, ""),
    }
}

/// 0.4832 → `48.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// 244091.94 → `244,091.94 USD`.
pub(crate) fn amount(value: f64, currency: &str) -> String {
    let text = format!("{:.2}", value.abs());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let whole = whole.parse::<u64>().map_or_else(|_| whole.to_owned(), number);
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{whole}.{cents} {currency}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_grouped_and_keep_their_cents() {
        let cases = [(244_091.94, "USD", "244,091.94 USD"), (0.5, "", "0.50"), (-1_234.0, "EUR", "−1,234.00 EUR")];
        for (value, currency, expected) in cases {
            assert_eq!(amount(value, currency), expected);
        }
    }
}
