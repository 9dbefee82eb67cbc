//! Computing only the profiles that something new is about: each time the result is that of computing all.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, files_below, holds, rule, same, shared};
use crate::vendors::{Judge, write_shop};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("touched: profiles that something new is about are computed, and come out as when all are", come_out_alike),
        rule(
            "touched: the person of a record's earlier version is found, whoever it was by an earlier mapping",
            told_otherwise_before,
        ),
        rule("touched: a record that leaves its window by time alone is noticed", time_touches_profiles),
        rule("touched: RFM places new buyers by the cut points of the last fit", placed_by_the_last_fit),
        rule("touched: what cannot be told by single profiles is computed of all", all_are_computed),
        rule("touched: lines of orders come with the orders of those who are touched", lines_come_with_orders)
            .with_ignored_flag(shared().is_none()),
    ]
}

const CONNECTION: &str = "
version: 1
connection: shop
plugin: csv
files: { read: ['*.csv'] }
config:
  streams:
    customers: { files: 'customers*.csv', primary_key: [customer_id], cursor_field: changed_at, columns: { customer_id: { type: text }, phone: { type: text } } }
    orders: { files: 'orders*.csv', primary_key: [order_id], cursor_field: changed_at, columns: { order_id: { type: text }, customer_id: { type: text }, total: { type: decimal } } }
";

const PIPELINE: &str = "
version: 1
pipeline: shop
source: { connection: shop, streams: { customers: { sync: incremental }, orders: { sync: incremental } } }
destination:
  profiles:
    customers:
      subject: customer_id
      identifiers: { shop_customer: customer_id, email: email, phone: phone }
      attributes: { country: country }
      consent: { sms: { granted: sms, at: changed_at } }
    orders:
      subject: customer_id
      order: { id: order_id, at: ordered_at, currency: currency, net: total }
";

/// A phone joins nobody, so people may share one.
const IDENTITY: &str = "
version: 1
identifiers: { shop_customer: { priority: 1 }, email: { priority: 2 }, phone: { priority: 3, region: FR } }
rules:
  - { name: account, all: [shop_customer] }
  - { name: email, all: [email] }
";

const TRAITS: &str = "
version: 1
traits:
  orders_count: { from: orders, sql: count(*) }
  total_spent: { from: orders, sql: sum(net) }
  spent_lately: { from: orders, sql: sum(net), window: 30d }
  top_category: { from: orders, most_frequent: category }
";

const SEGMENTS: &str = "
version: 1
segments:
  french: { where: \"country = 'FR'\" }
  lately: { where: \"did('orders', '30d') >= 1\" }
  may_text: { where: \"consent('sms') = 'granted' AND orders_count >= 1\", exclude: [french] }
";

/// Customers, each with as many orders as its number has ones in base two; a phone is that of all whose number has as many digits.
const CUSTOMERS: u32 = 150;

fn shop() -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: shop\n").write("connections/shop.yaml", CONNECTION);
    project.write("pipelines/shop.yaml", PIPELINE).write("profiles/identity.yaml", IDENTITY);
    project.write("profiles/traits.yaml", TRAITS).write("profiles/segments.yaml", SEGMENTS);
    let customers = (0..CUSTOMERS).map(|n| (format!("c{n}"), ["FR", "DE", "IT"][n as usize % 3], n % 2 == 0));
    let customers: Vec<String> =
        customers.map(|(id, country, sms)| format!("{id},{id}@x.test,061234{:04},{country},{sms}", id.len())).collect();
    read(&project, "customers", 0, &customers.iter().map(String::as_str).collect::<Vec<_>>());
    let orders = (0..CUSTOMERS).flat_map(|n| (0..n.count_ones()).map(move |k| (n, k)));
    let orders: Vec<String> = orders
        .map(|(n, k)| {
            format!("o{n}-{k},c{n},{},{},{}", 10 + n, ["shoes", "hats"][(n + k) as usize % 2], days_ago(20 + i64::from(k) * 8))
        })
        .collect();
    read(&project, "orders", 0, &orders.iter().map(String::as_str).collect::<Vec<_>>());
    project
}

fn days_ago(days: i64) -> String {
    instant(Utc::now() - Duration::days(days))
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Adds an export of a stream; later rounds have later times of change.
fn read(project: &Project, stream: &str, round: u32, rows: &[&str]) {
    let (header, changed) = match stream {
        "customers" => ("customer_id,email,phone,country,sms,changed_at", format!("2026-01-01T00:{round:02}:00Z")),
        _ => ("order_id,customer_id,total,category,ordered_at,currency,changed_at", format!("EUR,2026-01-01T00:{round:02}:00Z")),
    };
    let rows: String = rows.iter().map(|row| format!("{row},{changed}\n")).collect();
    project.write(&format!("{stream}-{round:02}.csv"), &format!("{header}\n{rows}"));
}

/// What a run reports of profiles.
fn run(project: &Project) -> Result<Value, Failed> {
    let (ended, reports) = project.json(&["run"]);
    ended.expect(0)?;
    Ok(reports[0]["profiles"].clone())
}

/// How many profiles a run computes.
fn computed(project: &Project) -> Result<u64, Failed> {
    Ok(run(project)?["computed"].as_u64().unwrap_or_default())
}

/// Computing all profiles now changes none and moves nobody: tried in a twin, which reads its files again.
fn is_as_when_all_are(project: &Project) -> Result<(), Failed> {
    changes_nothing_where_all_are_computed(&project.twin())
}

fn changes_nothing_where_all_are_computed(project: &Project) -> Result<(), Failed> {
    let traits = project.read("profiles/traits.yaml");
    project.write("profiles/traits.yaml", &format!("{traits}  another: {{ from: orders, sql: max(net) }}\n"));
    let report = run(project)?;
    same("of all", report["computed"].as_u64(), report["profiles"].as_u64())?;
    same("profiles that come out otherwise", report["changed"].as_u64(), Some(0))?;
    for (segment, counts) in report["segments"].as_object().into_iter().flatten() {
        same(&format!("who moves in {segment}"), (counts["entered"].as_u64(), counts["left"].as_u64()), (Some(0), Some(0)))?;
    }
    Ok(())
}

fn come_out_alike() -> Result<(), Failed> {
    let project = shop();
    same("computed at first", computed(&project)?, u64::from(CUSTOMERS))?;
    let today = days_ago(0);
    // (what, stream, rows, profiles)
    let rounds: [(&str, &str, Vec<String>, u64); 8] = [
        ("new orders", "orders", vec![format!("n1,c1,99,hats,{today}"), format!("n2,c2,1,hats,{today}")], 2),
        ("a changed order", "orders", vec![format!("n1,c1,0.5,shoes,{today}")], 1),
        ("an order that is another's", "orders", vec![format!("n2,c3,1,hats,{today}")], 2),
        ("a customer without the phone of ten", "customers", vec!["c4,c4@x.test,,PT,true".to_owned()], 10),
        ("a new customer", "customers", vec!["c990,c990@x.test,,PT,true".to_owned()], 1),
        ("two who are one", "customers", vec!["c991,c5@x.test,,FR,true".to_owned(), "c990,c5@x.test,,FR,true".to_owned()], 2),
        ("an opt-out for a phone that ten had", "customers", vec!["c6,c6@x.test,0612340002,FR,false".to_owned()], 10),
        ("a phone of very many", "customers", vec!["c7,c7@x.test,0612340003,DE,true".to_owned()], u64::from(CUSTOMERS)),
    ];
    for (round, (what, stream, rows, expected)) in (1..).zip(rounds) {
        read(&project, stream, round, &rows.iter().map(String::as_str).collect::<Vec<_>>());
        same(what, computed(&project)?, expected)?;
        if [3, 4, 7].contains(&round) {
            is_as_when_all_are(&project).map_err(|failed| format!("{what}: {failed:?}"))?;
        }
    }
    read(&project, "orders", 9, &[&format!("n9,nobody-known,1,hats,{today}")]);
    same("an order of somebody new", computed(&project)?, 1)
}

fn told_otherwise_before() -> Result<(), Failed> {
    let project = shop();
    let by_email = PIPELINE.replace("shop_customer: customer_id, email: email, phone: phone", "email: email");
    project.write("pipelines/shop.yaml", &by_email.replacen("subject: customer_id", "subject: \"'old ' || customer_id\"", 1));
    run(&project)?;
    project.write("pipelines/shop.yaml", &by_email);
    read(&project, "customers", 1, &["c3,c3@x.test,,DE,true"]);
    let all = computed(&project)?;
    holds(all >= u64::from(CUSTOMERS), format!("another mapping is about all, not {all}"))?;

    read(&project, "customers", 2, &["c4,new4@x.test,,PT,true"]);
    same("the new person and the one before", computed(&project)?, 2)?;
    changes_nothing_where_all_are_computed(&project)
}

fn time_touches_profiles() -> Result<(), Failed> {
    let project = shop();
    let leaves_at = Utc::now() + Duration::seconds(12);
    let in_window = instant(leaves_at - Duration::days(30));
    read(&project, "orders", 1, &[&format!("soon,c0,5,hats,{in_window}")]);
    let report = run(&project)?;
    let before = report["segments"]["lately"]["members"].as_u64();
    while Utc::now() <= leaves_at {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    read(&project, "orders", 2, &[&format!("new,c1,5,hats,{}", days_ago(0))]);
    let report = run(&project)?;
    same("computed", report["computed"].as_u64(), Some(2))?;
    let lately = &report["segments"]["lately"];
    same("who left", (lately["left"].as_u64(), lately["members"].as_u64()), (Some(1), before.map(|before| before - 1)))?;
    is_as_when_all_are(&project)
}

fn placed_by_the_last_fit() -> Result<(), Failed> {
    let project = shop();
    project.write("profiles/traits.yaml", &format!("{TRAITS}  rfm: {{ rfm: {{ bins: 4 }} }}\n"));
    run(&project)?;
    let today = days_ago(0);
    read(&project, "orders", 1, &[&format!("n1,c0,100000,hats,{today}")]);
    same("computed", run(&project)?["computed"].as_u64(), Some(1))?;
    let (ended, shown) = project.json(&["profile", "show", "email:c0@x.test"]);
    ended.expect(0)?;
    // The latest, bought once as no one else in the lowest quarter, and the most valuable.
    holds(shown.to_string().contains("414"), shown.to_string())
}

fn all_are_computed() -> Result<(), Failed> {
    let clock = format!("{TRAITS}  is_idle: {{ from: orders, sql: \"max(at) < now()\" }}\n");
    let cases = [
        ("an expression that reads the clock", "profiles/traits.yaml", clock),
        ("a rule of identity", "profiles/identity.yaml", IDENTITY.replace("priority: 3", "priority: 4")),
        ("a segment", "profiles/segments.yaml", SEGMENTS.replace("'FR'", "'DE'")),
    ];
    for (what, file, text) in cases {
        let project = shop();
        run(&project)?;
        project.write(file, &text);
        read(&project, "orders", 1, &[&format!("n1,c0,1,hats,{}", days_ago(0))]);
        same(what, computed(&project)?, u64::from(CUSTOMERS))?;
    }
    Ok(())
}

fn lines_come_with_orders() -> Result<(), Failed> {
    let shopify = Judge::start("shopify", &[])?;
    let project = Project::copy_of("shopify-to-klaviyo");
    write_shop(&project, &shopify);
    project.write("affluent.yaml", "version: 1\nproject: shop\n");
    for part in ["pipelines", "connections"] {
        for file in files_below(&project.path().join(part)).iter().filter(|file| file.to_string_lossy().contains("klaviyo")) {
            std::fs::remove_file(file)?;
        }
    }
    let pipeline = project.read("pipelines/shopify_to_profiles.yaml");
    let without_tests = pipeline.split_once("\ntests:").ok_or("the example has tests")?.0;
    project.write("pipelines/shopify_to_profiles.yaml", without_tests);
    let traits = "
version: 1
traits:
  orders_count: { from: orders, sql: count(*) }
  orders_90d: { from: orders, sql: count(*), window: 90d }
  items: { from: order_lines, sql: count(*) }
  favourite_sku: { from: order_lines, most_frequent: sku }
";
    project.write("profiles/traits.yaml", traits);
    project.write("profiles/segments.yaml", "version: 1\nsegments: { buyers: { where: \"did('order_lines') >= 1\" } }\n");
    let all = computed(&project)?;
    for customer in 0..3 {
        shopify.request("POST", &format!("/__judge/touch?i={customer}&lastName=New"))?;
    }
    let some = computed(&project)?;
    holds((1..all / 5).contains(&some), format!("{some} of {all} were computed"))?;
    is_as_when_all_are(&project)
}
