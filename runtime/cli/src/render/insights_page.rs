//! `affluent insights --html`: purchase behaviour as a page to hand around.

use affluent_profiles::purchases::insights::{
    Categories, CategoryLine, CohortLine, CurrencyInsights, Insights, MonthLine, RfmGrid,
};
use affluent_profiles::purchases::metrics::Totals;
use maud::{Markup, html};

use crate::render::insights::{amount, count_lines, currency_name, newest_cohorts, percent, value_lines};
use crate::render::page::chart::{self, Cell};
use crate::render::page::{CHOICES_MAX, Page, Section, chosen, facts, list, table};
use crate::render::profile::model_card;
use crate::render::screen::number;

/// Buyers of a cohort that the scale of colours goes by: in a smaller one, one buyer is a large part.
const COHORT_SIZE_MIN: u64 = 30;
/// Cohorts that are shown, the newest.
const COHORTS_MAX: usize = 36;
/// Categories per ranking.
const CATEGORIES_MAX: usize = 10;

/// The page. Where there are several currencies, the reader chooses in which one values are told; counts are over all.
pub(crate) fn page(project: &str, insights: &Insights) -> Page {
    let told = Told::of(insights);
    let mut sections = vec![overview(insights, &told)];
    if insights.totals.orders > 0 {
        sections.extend((told.choices.len() > 1).then(|| currencies(insights)));
        sections.extend([trend(&told), cohorts(insights), rfm(insights, &told)]);
        sections.extend(insights.categories.as_ref().map(|found| categories(found, &told)));
    }
    if !insights.models.is_empty() {
        sections.push(models(insights));
    }
    let subtitle = if insights.totals.orders == 0 {
        format!("No orders until {}", insights.end_on)
    } else {
        format!("Orders from {} to {}, seen on {}", insights.first_order_on, insights.last_order_on, insights.end_on)
    };
    Page { title: format!("Purchase behaviour · {project}"), subtitle, choices: told.choices, sections }
}

/// What is told by currency: of the whole base where there is one.
struct Told<'a> {
    /// Names of the currencies to choose from; none where there is one.
    choices: Vec<String>,
    of: Vec<Valued<'a>>,
}

/// Figures in one currency.
struct Valued<'a> {
    currency: &'a str,
    totals: &'a Totals,
    months: &'a [MonthLine],
    rfm: &'a RfmGrid,
    categories: &'a [CategoryLine],
}

impl<'a> Told<'a> {
    fn of(insights: &'a Insights) -> Self {
        if insights.by_currency.is_empty() {
            let categories = insights.categories.as_ref().map_or(&[][..], |found| &found.by_revenue);
            let Insights { currency, totals, months, rfm, .. } = insights;
            return Self { choices: Vec::new(), of: vec![Valued { currency, totals, months, rfm, categories }] };
        }
        let shown = insights.by_currency.iter().take(CHOICES_MAX);
        let choices = shown.clone().map(|one| currency_name(&one.currency).to_owned()).collect();
        let of = shown.map(|CurrencyInsights { currency, totals, months, rfm, categories_by_revenue: categories }| Valued {
            currency,
            totals,
            months,
            rfm,
            categories,
        });
        Self { choices, of: of.collect() }
    }

    /// A body for each currency.
    fn each(&self, body: impl Fn(&Valued<'_>) -> Markup) -> Markup {
        match self.of.as_slice() {
            [one] if self.choices.is_empty() => body(one),
            all => chosen(&self.choices, |place| all.get(place).map(&body).unwrap_or_default()),
        }
    }

    /// The second sentence where there are several currencies.
    fn note(&self, one: &str, several: &str) -> String {
        if self.choices.is_empty() { one.to_owned() } else { several.to_owned() }
    }
}

fn overview(insights: &Insights, told: &Told<'_>) -> Section {
    let other = insights.orders_in_other_currencies;
    let note = match told.choices.len() {
        0 if other > 0 => {
            format!(
                "Values are in {}; {} orders that could not be converted count without their value.",
                insights.currency,
                number(other)
            )
        }
        0 => "An order counts when it is completed and not free; refunds lower its value.".to_owned(),
        _ => "Counts are over the orders in all currencies. Values are never summed over currencies: they are of the orders and \
              buyers in the chosen one."
            .to_owned(),
    };
    let body = html! {
        (facts(&count_lines(insights)))
        div.values { (told.each(|one| facts(&value_lines(one.totals, one.currency)))) }
    };
    Section { heading: "At a glance".to_owned(), note, body }
}

fn currencies(insights: &Insights) -> Section {
    let rows: Vec<Vec<String>> = insights
        .by_currency
        .iter()
        .map(|CurrencyInsights { currency, totals, .. }| {
            vec![
                currency_name(currency).to_owned(),
                number(totals.orders),
                percent(share(totals.orders, insights.totals.orders)),
                number(totals.buyers),
                amount(totals.revenue, currency),
                amount(totals.average_order_value, currency),
                amount(totals.customer_value, currency),
            ]
        })
        .collect();
    let head = ["currency", "orders", "of all", "buyers", "net revenue", "average order", "revenue per buyer"];
    Section {
        heading: "By currency".to_owned(),
        note:
            "Who paid in two currencies is a buyer in both. With rates (money, in affluent.yaml) values are converted at the day \
               of the order instead."
                .to_owned(),
        body: table(&head, &rows),
    }
}

fn trend(told: &Told<'_>) -> Section {
    let note = told.note("", " Orders, buyers and revenue in the chosen currency.");
    Section {
        heading: "Month by month".to_owned(),
        note: format!("The last month may be unfinished.{note}"),
        body: told.each(|one| trend_of(one.months, one.currency)),
    }
}

fn trend_of(months: &[MonthLine], currency: &str) -> Markup {
    let bars: Vec<(String, f64, String)> = months
        .iter()
        .map(|one| {
            let value = amount(one.revenue, currency);
            let tip =
                format!("{}: {value}, {} orders, {} buyers, {} of them new", one.month, one.orders, one.buyers, one.new_buyers);
            (one.month.clone(), one.revenue.max(0.0), tip)
        })
        .collect();
    let new: Vec<f64> = months.iter().map(|one| share(one.new_buyers, one.buyers)).collect();
    let rows: Vec<Vec<String>> = months
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
    let revenue = format!("revenue {currency}");
    html! {
        (chart::key(&format!("net revenue {currency}"), "new buyers, of the buyers of the month (0 to 100 %)"))
        (chart::bars(&bars, Some(&new), compact))
        details { summary { "All months" } (table(&["month", revenue.trim_end(), "orders", "buyers", "new", "new %"], &rows)) }
    }
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

fn rfm(insights: &Insights, told: &Told<'_>) -> Section {
    let is_several = !told.choices.is_empty();
    let body = html! {
        @if is_several { (grid(&insights.rfm, None)) h3 { "by the orders in one currency alone, with their revenue" } }
        (told.each(|one| grid(one.rfm, Some(one.currency))))
    };
    let what = told.note("Customers and their revenue", "Customers");
    Section {
        heading: "Recency and frequency".to_owned(),
        note: format!(
            "{what} by last order (R, the latest on top) and number of orders (F, the most at the right). Equal values share a \
             bin, so bins differ in size."
        ),
        body,
    }
}

/// The cells with what their customers are worth, where that is told in a currency.
fn grid(grid: &RfmGrid, currency: Option<&str>) -> Markup {
    let bins = grid.cuts.bins;
    let all: u64 = grid.cells.iter().map(|cell| cell.customers).sum();
    let most = grid.cells.iter().map(|cell| cell.customers).max().unwrap_or(0);
    let head: Vec<String> = std::iter::once(String::new()).chain((1..=bins).map(|frequency| format!("F {frequency}"))).collect();
    let rows: Vec<(Vec<String>, Vec<Option<Cell>>)> = (1..=bins)
        .rev()
        .map(|recency| {
            let cells = (1..=bins).map(|frequency| {
                let found = grid.cells.iter().find(|cell| (cell.recency, cell.frequency) == (recency, frequency))?;
                let worth = currency.map_or_else(String::new, |name| format!(", {} of revenue", amount(found.revenue, name)));
                Some(Cell {
                    share: share(found.customers, most),
                    text: number(found.customers),
                    detail: currency.map_or_else(String::new, |_| amount(found.revenue, "")),
                    tip: format!(
                        "R {recency}, F {frequency}: {} customers ({}){worth}",
                        number(found.customers),
                        percent(share(found.customers, all)),
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
    html! { (chart::heat_map(&head, &rows)) (list(&lines)) }
}

fn categories(categories: &Categories, told: &Told<'_>) -> Section {
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
            div {
                (told.each(|one| html! {
                    h3 { (format!("by revenue {}", one.currency).trim_end()) }
                    (ranking(one.categories, |line| (line.revenue, compact(line.revenue))))
                }))
            }
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
