//! `affluent insights --html`: purchase behaviour as a page to hand around.

use affluent_profiles::purchases::insights::{Categories, CategoryLine, CohortLine, Insights};
use maud::{Markup, html};

use crate::render::insights::{amount, fact_lines, newest_cohorts, percent};
use crate::render::page::chart::{self, Cell};
use crate::render::page::{Page, Section, facts, list, table};
use crate::render::profile::model_card;
use crate::render::screen::number;

/// Buyers of a cohort that the scale of colours goes by: in a smaller one, one buyer is a large part.
const COHORT_SIZE_MIN: u64 = 30;
/// Cohorts that are shown, the newest.
const COHORTS_MAX: usize = 36;
/// Categories per ranking.
const CATEGORIES_MAX: usize = 10;

/// The page.
pub(crate) fn page(project: &str, insights: &Insights) -> Page {
    let mut sections = vec![overview(insights)];
    if insights.totals.orders > 0 {
        sections.extend([trend(insights), cohorts(insights), rfm(insights)]);
        sections.extend(insights.categories.as_ref().map(categories));
    }
    if !insights.models.is_empty() {
        sections.push(models(insights));
    }
    let subtitle = if insights.totals.orders == 0 {
        format!("No orders until {}", insights.end_on)
    } else {
        format!("Orders from {} to {}, seen on {}", insights.first_order_on, insights.last_order_on, insights.end_on)
    };
    Page { title: format!("Purchase behaviour · {project}"), subtitle, sections }
}

fn overview(insights: &Insights) -> Section {
    let lines = fact_lines(insights);
    let pairs: Vec<(&str, String)> = lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let other = insights.orders_in_other_currencies;
    let note = if other > 0 {
        format!("Values are in {}; {} orders in other currencies count without their value.", insights.currency, number(other))
    } else {
        "An order counts when it is completed and not free; refunds lower its value.".to_owned()
    };
    Section { heading: "At a glance".to_owned(), note, body: facts(&pairs) }
}

fn trend(insights: &Insights) -> Section {
    let bars: Vec<(String, f64, String)> = insights
        .months
        .iter()
        .map(|one| {
            let value = amount(one.revenue, &insights.currency);
            let tip =
                format!("{}: {value}, {} orders, {} buyers, {} of them new", one.month, one.orders, one.buyers, one.new_buyers);
            (one.month.clone(), one.revenue.max(0.0), tip)
        })
        .collect();
    let new: Vec<f64> = insights.months.iter().map(|one| share(one.new_buyers, one.buyers)).collect();
    let rows: Vec<Vec<String>> = insights
        .months
        .iter()
        .rev()
        .map(|one| {
            vec![
                one.month.clone(),
                amount(one.revenue, ""),
                number(one.orders),
                number(one.buyers),
                number(one.new_buyers),
                percent(share(one.new_buyers, one.buyers)),
            ]
        })
        .collect();
    let body = html! {
        (chart::key(&format!("net revenue {}", insights.currency), "new buyers, of the buyers of the month (0 to 100 %)"))
        (chart::bars(&bars, Some(&new), compact))
        details { summary { "All months" } (table(&["month", "revenue", "orders", "buyers", "new", "new %"], &rows)) }
    };
    Section { heading: "Month by month".to_owned(), note: "The last month may be unfinished.".to_owned(), body }
}

fn cohorts(insights: &Insights) -> Section {
    let (shown, months, head) = newest_cohorts(insights, COHORTS_MAX);
    let largest = shown.iter().map(|one| one.size).max().unwrap_or(0);
    let telling = shown.iter().filter(|one| one.size >= COHORT_SIZE_MIN.min(largest));
    let strongest = telling.flat_map(|one| one.ordering.iter().take(months).map(|members| share(*members, one.size)));
    let strongest = strongest.fold(0.0, f64::max);
    let map = |of: fn(&CohortLine) -> &Vec<u64>, strongest: f64| {
        let rows: Vec<(Vec<String>, Vec<Option<Cell>>)> = shown
            .iter()
            .map(|one| {
                let cell = |(place, members): (usize, &u64)| {
                    let part = share(*members, one.size);
                    Some(Cell {
                        share: if strongest > 0.0 { part / strongest } else { 0.0 },
                        text: percent(part),
                        detail: String::new(),
                        tip: format!("{} of {} who came in {}, month +{}", members, one.size, one.month, place + 1),
                    })
                };
                let cells = of(one).iter().take(months).enumerate().map(cell).collect();
                (vec![one.month.clone(), number(one.size)], cells)
            })
            .collect();
        chart::heat_map(&head, &rows)
    };
    let body = html! {
        (map(|one| &one.ordering, strongest))
        details { summary { "Rolling: ordering in that month or later" } (map(|one| &one.ordering_since, 1.0)) }
    };
    Section {
        heading: "Who comes back".to_owned(),
        note: "Each row is the buyers of one month; each cell the part of them who ordered again so many months later."
            .to_owned(),
        body,
    }
}

fn rfm(insights: &Insights) -> Section {
    let grid = &insights.rfm;
    let bins = grid.cuts.bins;
    let all: u64 = grid.cells.iter().map(|cell| cell.customers).sum();
    let most = grid.cells.iter().map(|cell| cell.customers).max().unwrap_or(0);
    let head: Vec<String> = std::iter::once(String::new()).chain((1..=bins).map(|frequency| format!("F {frequency}"))).collect();
    let rows: Vec<(Vec<String>, Vec<Option<Cell>>)> = (1..=bins)
        .rev()
        .map(|recency| {
            let cells = (1..=bins).map(|frequency| {
                let found = grid.cells.iter().find(|cell| (cell.recency, cell.frequency) == (recency, frequency))?;
                Some(Cell {
                    share: share(found.customers, most),
                    text: number(found.customers),
                    detail: amount(found.revenue, ""),
                    tip: format!(
                        "R {recency}, F {frequency}: {} customers ({}), {} of revenue",
                        number(found.customers),
                        percent(share(found.customers, all)),
                        amount(found.revenue, &insights.currency)
                    ),
                })
            });
            (vec![format!("R {recency}")], cells.collect())
        })
        .collect();
    let cuts = |name: &str, lower: &[i64]| {
        format!("{name}: bins begin at {}", lower.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
    };
    let lines = [
        cuts("Days since the last order, the fewest first", &grid.cuts.recency.lower),
        cuts("Orders", &grid.cuts.frequency.lower),
    ];
    let body = html! { (chart::heat_map(&head, &rows)) (list(&lines)) };
    Section {
        heading: "Recency and frequency".to_owned(),
        note:
            "Customers and their revenue by last order (R, the latest on top) and number of orders (F, the most at the right). \
               Equal values share a bin, so bins differ in size."
                .to_owned(),
        body,
    }
}

fn categories(categories: &Categories) -> Section {
    let ranking = |lines: &[CategoryLine], of: fn(&CategoryLine) -> (f64, String)| {
        let rows: Vec<(String, f64, String)> = lines
            .iter()
            .take(CATEGORIES_MAX)
            .map(|line| {
                let (length, text) = of(line);
                (line.category.clone(), length, text)
            })
            .collect();
        chart::ranking(&rows)
    };
    let pairs: Vec<Vec<String>> = categories
        .pairs
        .iter()
        .map(|pair| {
            let name = format!("{} and {}", pair.one, pair.other);
            vec![name, number(pair.customers), percent(pair.support), format!("{:.2}", pair.lift), format!("{:.0}", pair.g2)]
        })
        .collect();
    let body = html! {
        div.columns {
            div { h3 { "by orders" } (ranking(&categories.by_orders, |line| (float(line.orders), number(line.orders)))) }
            div { h3 { "by units" } (ranking(&categories.by_units, |line| (line.units, compact(line.units)))) }
            div { h3 { "by revenue" } (ranking(&categories.by_revenue, |line| (line.revenue, compact(line.revenue)))) }
        }
        (affinity(&pairs))
    };
    let note = format!("{} categories. Most bought, most units and most money are three questions.", number(categories.count));
    Section { heading: "What is bought".to_owned(), note, body }
}

fn affinity(pairs: &[Vec<String>]) -> Markup {
    html! {
        h3 { "bought by the same customers" }
        @if pairs.is_empty() {
            p.note { "No two categories are bought together more often than chance explains (G² test, p < 0.001)." }
        } @else {
            (table(&["pair", "customers", "of all", "lift", "G²"], pairs))
        }
    }
}

fn models(insights: &Insights) -> Section {
    let body = html! {
        @for (name, card) in &insights.models { h3 { (name) } (list(&model_card(card))) }
    };
    Section {
        heading: "Predictions".to_owned(),
        note: "What each predicted trait was fitted to, and how it was judged.".to_owned(),
        body,
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not occur")]
fn float(count: u64) -> f64 {
    count as f64
}

/// 1234567 → `1.2 M`.
fn compact(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{:.1} bn", value / 1e9),
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e5 => format!("{:.0} k", value / 1e3),
        size if size >= 1e3 => format!("{:.1} k", value / 1e3),
        size if size < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
