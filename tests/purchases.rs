//! What is made of orders: traits per profile with their model cards, and insights over all.

use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("purchases: a profile shows what is predicted and by which model", a_profile_shows_predictions),
        rule("purchases: a shop that went silent gets no prediction and the reason", a_silent_shop_is_refused),
        rule("purchases: a profile is recommended what others have beside what it has", what_is_recommended),
        rule("insights: the sample shop has its published totals and cohorts", insights_are_the_published_ones),
        rule("insights: orders in several currencies are told by currency, or converted at their day", several_currencies),
        rule("insights: no figure sums over currencies, and the page lets the reader choose one", no_sum_over_currencies),
        rule("insights: what is wrong with rates is told by line", mistakes_in_rates),
        rule("insights: the page stands alone and shows every part", the_page_stands_alone),
    ]
}

const TRAITS: &str = "version: 1
traits:
  orders_count: { from: orders, sql: \"count(*)\" }
  rfm: { rfm: {} }
  orders_next: { predict: { horizon: 90d } }
  churn: { predict: { value: churn, horizon: 90d } }
  next_on: { predict: { value: next_order } }
  clv: { predict: { model: [mbg_nbd, gamma_gamma], horizon: 365d } }
";

const CONNECTION: &str = "version: 1
connection: shop
plugin: csv
files: { read: [orders.csv] }
config:
  streams:
    orders: { files: orders.csv, primary_key: [id], columns: { customer: { type: text }, total: { type: decimal } } }
";

const PIPELINE: &str = "version: 1
pipeline: shop_to_profiles
source: { connection: shop, streams: { orders: { sync: full_refresh } } }
destination:
  profiles:
    orders:
      subject: customer
      order: { id: id, at: ordered_at, currency: currency, net: total, status: status }
";

/// A project with the orders of the sample shop, the last of them on this day.
fn project(last_day: i64) -> Result<Project, Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: shop\n");
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n");
    project.write("profiles/traits.yaml", TRAITS).write("pipelines/shop.yaml", PIPELINE);
    project.write("connections/shop.yaml", CONNECTION);
    project.write("orders.csv", &orders(last_day)?);
    Ok(project)
}

fn what_is_recommended() -> Result<(), Failed> {
    let project = project(today()?)?;
    let traits = "version: 1\ntraits:\n  next: { from: orders, recommend: \"lower(category)\" }\n";
    project.write("profiles/traits.yaml", traits);
    let mut text = String::from("id,customer,ordered_at,total,currency,status,category\n");
    let mut buy = |customer: usize, category: &str, status: &str| {
        let row = format!("{customer}-{category},{customer},2026-01-01T09:00:00Z,9.00,USD,{status},{category}\n");
        text.push_str(&row);
    };
    for customer in 0..30 {
        let (one, other) = if customer % 2 == 0 { ("Tea", "Pot") } else { ("Coffee", "Mug") };
        buy(customer, one, "paid");
        buy(customer, other, "paid");
    }
    buy(30, "Tea", "paid");
    buy(31, "Mug", "paid");
    buy(31, "Coffee", "cancelled");
    project.write("orders.csv", &text);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    for (customer, expected) in [(30, Some("pot")), (31, Some("coffee")), (0, None)] {
        let (ended, view) = project.json(&["profile", "show", &format!("shop/{customer}")]);
        ended.expect(0)?;
        let values = view["values"].as_array().into_iter().flatten();
        let next = values.filter(|value| value["name"] == "next").filter_map(|value| value["value"].as_str()).next();
        same(&format!("customer {customer}"), next, expected)?;
    }
    Ok(())
}

fn today() -> Result<i64, Failed> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400)?)
}

/// The CDNOW sample, moved in time; one order more is cancelled.
fn orders(last_day: i64) -> Result<String, Failed> {
    let sample = include_str!("../runtime/profiles/testdata/cdnow_sample.txt");
    let mut rows: Vec<(String, i64, String)> = Vec::new();
    for line in sample.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [_, customer, date, _, value] = fields.as_slice() {
            rows.push(((*customer).to_owned(), day_of(date)?, (*value).to_owned()));
        }
    }
    let shift = last_day - rows.iter().map(|(_, day, _)| *day).max().unwrap_or(0);
    let mut text = String::from("id,customer,ordered_at,total,currency,status\n");
    for (place, (customer, day, value)) in rows.iter().enumerate() {
        text.push_str(&format!("o{place},{customer},{}T09:00:00Z,{value},USD,paid\n", date_of(day + shift)));
    }
    text.push_str(&format!("cancelled,0001,{}T09:00:00Z,900.00,USD,cancelled\n", date_of(last_day)));
    Ok(text)
}

/// Days from 1970-01-01 to `19970131`, by the civil calendar of Howard Hinnant.
fn day_of(date: &str) -> Result<i64, Failed> {
    let number: i64 = date.parse()?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + of_year;
    Ok(year / 400 * 146_097 + of_era - 719_468)
}

fn date_of(day: i64) -> String {
    let shifted = day + 719_468;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_place = (5 * of_year + 2) / 153;
    let month = if month_place < 10 { month_place + 3 } else { month_place - 9 };
    let year = year_of_era + shifted / 146_097 * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", of_year - (153 * month_place + 2) / 5 + 1)
}

fn value_of<'a>(view: &'a Value, name: &str) -> &'a str {
    let values = view["values"].as_array().into_iter().flatten();
    values.filter(|value| value["name"] == name).find_map(|value| value["value"].as_str()).unwrap_or("")
}

fn card_of<'a>(view: &'a Value, name: &str) -> &'a Value {
    view["cards"].as_array().into_iter().flatten().find(|card| card[0] == name).map_or(&Value::Null, |card| &card[1])
}

fn a_profile_shows_predictions() -> Result<(), Failed> {
    let project = project(today()? - 1)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;

    let (ended, view) = project.json(&["profile", "show", "shop/0001"]);
    ended.expect(0)?;

    same("orders, the cancelled one too", value_of(&view, "orders_count"), "5")?;
    holds(value_of(&view, "rfm").len() == 3, format!("{view}"))?;
    let number = |name: &str| value_of(&view, name).parse::<f64>();
    holds(number("orders_next")? > 0.0 && number("clv")? > 0.0, format!("{view}"))?;
    holds((0.0..=1.0).contains(&number("churn")?), format!("{view}"))?;
    let card = card_of(&view, "clv");
    same("buyers", card["buyers"].as_u64(), Some(2349))?;
    same(
        "models",
        (card["fits"][0]["model"].as_str(), card["fits"][1]["model"].as_str()),
        (Some("mbg_nbd"), Some("gamma_gamma")),
    )?;
    same("currency", card["currency"].as_str(), Some("USD"))?;
    holds(card["holdout"]["auc_recency"].as_f64().is_some_and(|auc| auc > 0.5), format!("{card}"))?;
    let text = project.affluent(&["profile", "show", "shop/0001"]).expect(0)?.stdout;
    holds(text.contains("mbg_nbd with a ") && text.contains("recency"), text)
}

fn a_silent_shop_is_refused() -> Result<(), Failed> {
    let project = project(today()? - 40)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;

    let (ended, view) = project.json(&["profile", "show", "shop/0001"]);
    ended.expect(0)?;

    same("no value", value_of(&view, "churn"), "")?;
    holds(value_of(&view, "rfm").len() == 3, "RFM needs no model")?;
    same("reason", card_of(&view, "churn")["refusal"].as_str(), Some("the last order is 40 days old, it may be 30"))
}

/// 28 years after the sample, when months and weekdays are the same again.
const LAST_DATE: &str = "20260630";

fn insights_are_the_published_ones() -> Result<(), Failed> {
    let project = project(day_of(LAST_DATE)?)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let dear = "CASE WHEN total > 20 THEN 'dear' ELSE 'cheap' END";
    let arguments = ["insights", "--as-of", "2026-06-30", "--count-free-orders", "--category", dear];

    let (ended, found) = project.json(&arguments);
    ended.expect(0)?;

    let totals = &found["totals"];
    same("orders and buyers", (totals["orders"].as_u64(), totals["buyers"].as_u64()), (Some(6919), Some(2357)))?;
    let revenue = totals["revenue"].as_f64().unwrap_or(0.0);
    holds((revenue - 244_091.94).abs() < 1e-6, format!("revenue {revenue}"))?;
    let first = &found["cohorts"][0];
    same("the first cohort", (first["month"].as_str(), first["size"].as_u64()), (Some("2025-01"), Some(781)))?;
    same("after one month", first["ordering"][0].as_u64(), Some(124))?;
    let customers = found["rfm"]["cells"].as_array().into_iter().flatten().filter_map(|cell| cell["customers"].as_u64());
    same("customers in cells", customers.sum::<u64>(), 2357)?;
    same("categories", found["categories"]["by_orders"].as_array().map(Vec::len), Some(2))?;
    let text = project.affluent(&arguments).expect(0)?.stdout;
    holds(text.contains("244,091.94 USD") && text.contains("the last order is"), text)?;
    project.affluent(&["insights", "--as-of", "30.06.2026"]).expect(2)?.says("E0829")?;
    Ok(())
}

fn the_page_stands_alone() -> Result<(), Failed> {
    let project = project(day_of(LAST_DATE)?)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let page = project.path().join("page.html");

    project
        .affluent(&["insights", "--as-of", "2026-06-30", "--category", "currency", "--html", &page.to_string_lossy()])
        .expect(0)?;

    let html = project.read("page.html");
    for part in ["At a glance", "Month by month", "Who comes back", "Recency and frequency", "What is bought", "Predictions"] {
        holds(html.contains(part), format!("the page lacks `{part}`"))?;
    }
    holds(html.contains("<svg") && html.contains("prefers-color-scheme: dark"), "charts in light and dark")?;
    let remote = ["http:", "https:", "<script", "<link", "@import", "url("].iter().find(|word| html.contains(**word));
    same("remote or active parts", remote, None)
}

/// Three buyers who paid in two currencies, and one in a third.
fn currencies() -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: shop\n");
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n");
    project.write("pipelines/shop.yaml", PIPELINE).write("connections/shop.yaml", CONNECTION);
    project.write(
        "orders.csv",
        "id,customer,ordered_at,currency,total,status,category
1,a,2026-01-10T00:00:00Z,EUR,100,paid,tea
2,a,2026-02-10T00:00:00Z,USD,100,paid,tea
3,b,2026-03-10T00:00:00Z,usd,50,paid,pots
4,c,2026-01-05T00:00:00Z,EUR,30,paid,pots
5,c,2026-03-05T00:00:00Z,GBP,10,paid,tea
6,b,2026-04-10T00:00:00Z,EUR,20,paid,tea
",
    );
    project
}

const RATES: &str = "date,currency,rate\n2026-01-01,USD,0.90\n2026-03-01,USD,0.80\n2026-04-01,GBP,1.2\n";

fn several_currencies() -> Result<(), Failed> {
    let project = currencies();
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (ended, plain) = project.json(&["insights", "--as-of", "2026-06-30"]);
    ended.expect(0)?;
    same("currency", plain["currency"].as_str(), Some("EUR"))?;
    same("revenue in it", plain["totals"]["revenue"].as_f64(), Some(150.0))?;
    let by: Vec<(Option<&str>, Option<f64>, Option<u64>)> = plain["by_currency"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["currency"].as_str(), one["totals"]["revenue"].as_f64(), one["totals"]["buyers"].as_u64()))
        .collect();
    let expected =
        vec![(Some("EUR"), Some(150.0), Some(3)), (Some("USD"), Some(150.0), Some(2)), (Some("GBP"), Some(10.0), Some(1))];
    same("by currency", by, expected)?;

    project
        .write("affluent.yaml", "version: 1\nproject: shop\nmoney: { currency: EUR, rates: [rates.csv] }\n")
        .write("rates.csv", RATES);
    let (ended, converted) = project.json(&["insights", "--as-of", "2026-06-30"]);
    ended.expect(0)?;
    // 150 in euro, 100 at 0.90, 50 at 0.80; the pounds came before their first rate.
    same("revenue", converted["totals"]["revenue"].as_f64(), Some(280.0))?;
    same("orders", converted["totals"]["orders"].as_u64(), Some(6))?;
    same("without a rate", converted["without_rate"].to_string().as_str(), r#"{"GBP":1}"#)?;
    same("by currency", &converted["by_currency"], &Value::Null)?;
    let told = project.affluent(&["insights", "--as-of", "2026-06-30"]).expect(0)?;
    holds(told.stdout.contains("1 orders in GBP have no rate for their day or one before"), told.stdout)
}

fn no_sum_over_currencies() -> Result<(), Failed> {
    let project = currencies();
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (ended, found) = project.json(&["insights", "--as-of", "2026-06-30"]);
    ended.expect(0)?;
    let totals = &found["totals"];
    same("orders and buyers over all", (totals["orders"].as_u64(), totals["buyers"].as_u64()), (Some(6), Some(3)))?;
    let values = |name: &str| totals[name].as_f64();
    same("values of an order in euro", (values("average_order_value"), values("customer_value")), (Some(50.0), Some(50.0)))?;
    let revenue = |found: &Value, name: &str| {
        let lines = found.as_array().into_iter().flatten();
        lines.filter(|line| line["category"] == name).find_map(|line| line["revenue"].as_f64())
    };
    let (by_orders, by_currency) = (&found["categories"]["by_orders"], &found["by_currency"]);
    same("orders of tea over all", by_orders[0]["orders"].as_u64(), Some(4))?;
    same("tea in euro", revenue(&found["categories"]["by_revenue"], "tea"), Some(120.0))?;
    let of = |place: usize| revenue(&by_currency[place]["categories_by_revenue"], "tea");
    same("tea by currency", [of(0), of(1), of(2)], [Some(120.0), Some(100.0), Some(10.0)])?;
    same("pots in pounds", revenue(&by_currency[2]["categories_by_revenue"], "pots"), None)?;
    same("dollars of March", by_currency[1]["months"][1]["revenue"].as_f64(), Some(50.0))?;
    let customers =
        |cells: &Value| cells.as_array().into_iter().flatten().filter_map(|cell| cell["customers"].as_u64()).sum::<u64>();
    same("who paid in dollars", customers(&by_currency[1]["rfm"]["cells"]), 2)?;
    same("customers", customers(&found["rfm"]["cells"]), 3)?;

    let text = project.affluent(&["insights", "--as-of", "2026-06-30"]).expect(0)?.stdout;
    for expected in ["net revenue, of orders in EUR", "150.00 USD", "by revenue EUR", "revenue EUR"] {
        holds(text.contains(expected), format!("`{expected}` is not in\n{text}"))?;
    }
    let page = project.path().join("page.html");
    project.affluent(&["insights", "--as-of", "2026-06-30", "--html", &page.to_string_lossy()]).expect(0)?;
    let html = project.read("page.html");
    for expected in ["By currency", "never summed over currencies", "by revenue GBP", "net revenue USD", ">75.00 USD<"] {
        holds(html.contains(expected), format!("the page lacks `{expected}`"))?;
    }
    same("choices", html.matches("<input class=\"choice\" type=\"radio\"").count(), 3)?;
    same("a script", html.contains("<script"), false)
}

fn mistakes_in_rates() -> Result<(), Failed> {
    let money = "version: 1\nproject: shop\nmoney: { currency: EUR, rates: [rates.csv] }\n";
    let cases = [
        (money, "date,currency,rate\n2026-01-01,USD,0.9\n31.1.2026,USD,0.9\n", "rates.csv:3:", "`31.1.2026` is no date"),
        (money, "date,currency,rate\n2026-01-01,USD,0.9\n2026-02-01,USD,0\n", "rates.csv:3:", "`0` is no rate"),
        (money, "date,currency,rate\n2026-01-01,USD,0.9\n2026-01-01,USD,0.8\n", "rates.csv:3:", "two rates from 2026-01-01"),
        (money, "date,currency,rate\n2026-01-01,EUR,1\n", "rates.csv:2:", "`EUR` is no other currency"),
        (money, "day,currency,rate\n", "rates.csv", "has the columns date, currency, rate"),
        (&money.replace("EUR", "euro"), RATES, "affluent.yaml:3:", "`euro` is no code of a currency"),
        (&money.replace("rates.csv", "none.csv"), RATES, "affluent.yaml:3:", "`none.csv` cannot be read"),
    ];
    for (file, rates, place, expected) in cases {
        let project = currencies();
        project.write("affluent.yaml", file).write("rates.csv", rates);
        let ended = project.affluent(&["validate"]).expect(2)?.says(expected)?;
        holds(ended.stderr.contains(place), ended.stderr)?;
    }
    let project = currencies();
    project.write("affluent.yaml", money).write("rates.csv", RATES);
    project.write("pipelines/shop.yaml", &PIPELINE.replace("currency: currency", "currency: \"'CHF'\""));
    let ended = project.affluent(&["validate"]).expect(2)?.says("E0218")?.says("orders are in `CHF`, which has no rate")?;
    holds(ended.stderr.contains("shop.yaml:8:"), ended.stderr)
}
