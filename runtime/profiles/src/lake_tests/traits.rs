//! What computed traits count.

use std::collections::BTreeMap;

use super::cases::{Case, aggregate, assignments, run, run_snapshot, sources, table};
use crate::order_rows::orders_query;
use crate::snapshot::{GIVEN, PreparedMeasure, PreparedTrait, snapshot_query, trait_columns};

const DAY_MS: u64 = 86_400_000;
const ORDER: &str = "_order_id _order_at _order_currency _order_net _order_status";

fn orders(name: &str, own: &str, rows: &str) -> Case {
    table(name, &format!("_seq _pk _node {ORDER} {own}\n{rows}"))
}

/// Two orders of profile A, one of B.
fn shop_orders() -> Case {
    orders(
        "shop.orders",
        "status",
        "1 o1 1 1001 10 EUR 5 paid open\n2 o2 2 1002 90 EUR 7 paid done\n3 o3 3 1003 80 USD 9 void open",
    )
}

fn computed(traits: &[PreparedTrait], cases: &[Case]) -> Vec<String> {
    let tables: Vec<Case> = cases.iter().filter(|case| case.source.stream != "assignments").cloned().collect();
    run_snapshot("*", snapshot_query(&sources(&tables), traits, &BTreeMap::new(), &BTreeMap::new()).unwrap(), cases)
}

#[test]
fn traits_see_the_canonical_columns_of_an_order() {
    let traits = [
        aggregate("spent", "orders", "sum(\"net\")"),
        aggregate("last", "orders", "max(\"at\")"),
        aggregate("paid", "orders", "count(*) FILTER (WHERE \"status\" = 'paid')"),
        aggregate("ids", "orders", "max(\"id\")"),
    ];

    let rows = computed(&traits, &[shop_orders(), assignments("1=A 2=A 3=B")]);

    assert_eq!(rows, ["A|12.000000|091|2|1002", "B|9.000000|081|0|1003"]);
}

#[test]
fn given_values_become_columns_beside_counted_ones() {
    let given = |name: &str| PreparedTrait {
        name: name.to_owned(),
        from: String::new(),
        measure: PreparedMeasure::Given,
        window_ms: None,
    };
    let values = table(GIVEN, "_seq _t0:integer _t2:text\n1 555 low\n2 - high\n3 - -");
    let traits = [given("rfm"), aggregate("orders", "orders", "count(*)"), given("churn")];
    let tables = [shop_orders()];
    let query = snapshot_query(&sources(&tables), &traits, &BTreeMap::new(), &BTreeMap::new()).unwrap();

    let rows = run_snapshot("*", query, &[shop_orders(), values, assignments("1=A 2=A 3=B 4=C")]);

    assert_eq!(rows, ["A|555|2|low", "B|-|1|high", "C|-|0|-"]);
}

#[test]
fn purchases_are_the_completed_orders_of_all_streams() {
    let shop = orders("shop.orders", "x", "1 o1 1 1001 10 EUR 5 paid -\n2 o2 2 1002 90 EUR 7 Voided -\n3 o3 3 1003 80 - 9 - -");
    let mart = orders("mart.sales", "x", "4 o1 4 77 50 USD -3 refund -\n5 o2 4 78 - USD 3 paid -");
    let people = table("shop.people", "_seq _pk _node\n1 p1 1");
    let cases = [shop, mart, people];

    let query = orders_query(&sources(&cases)).unwrap().unwrap();

    assert_eq!(
        run(&query, &cases),
        ["1|864000000000|5.000000|EUR", "3|6912000000000|9.000000|-", "4|4320000000000|-3.000000|USD"]
    );
    assert_eq!(orders_query(&sources(&cases[2..])).unwrap(), None);
}

#[test]
fn a_window_counts_only_recent_records() {
    let recent = PreparedTrait { window_ms: Some(15 * DAY_MS), ..aggregate("recent", "orders", "count(*)") };
    let traits = [recent, aggregate("all", "orders", "count(*)")];

    assert_eq!(computed(&traits, &[shop_orders(), assignments("1=A 2=A 3=B")]), ["A|1|2", "B|0|1"]);
}

#[test]
fn a_stream_of_two_connections_is_counted_as_one() {
    let other = orders("mart.orders", "channel", "4 o1 4 77 50 EUR 3 paid web");
    let traits = [aggregate("spent", "orders", "sum(\"net\")"), aggregate("web", "orders", "count(\"channel\")")];

    let rows = computed(&traits, &[shop_orders(), other, assignments("1=A 2=B 3=B 4=A")]);

    assert_eq!(rows, ["A|8.000000|1", "B|16.000000|0"]);
}

#[test]
fn a_stream_without_orders_is_dated_by_its_records() {
    let visits = table("web.visits", "_seq _pk _node page\n95 a 1 x\n20 b 1 y");
    let recent = PreparedTrait { window_ms: Some(10 * DAY_MS), ..aggregate("recent", "visits", "count(*)") };

    assert_eq!(computed(&[recent], &[visits, assignments("1=A")]), ["A|1"]);
}

/// Order o1 was read twice: its lines of epoch 1 are of an older version.
fn with_lines() -> [Case; 3] {
    let rows = "1 o1 1 - 1 EUR 5 paid 1\n9 o1 1 - 7 EUR 5 paid 2\n2 o2 1 - 1 EUR 5 paid 1\n3 o3 3 - 1 EUR 5 paid 1";
    let orders = table("shop.orders", &format!("_seq _pk _node {ORDER} _epoch\n{rows}"));
    let lines = "_seq _pk _node _epoch order_id category quantity:integer
                 4    l1  -     1      o1       hats     9
                 5    l2  -     1      o1       hats     9
                 10   l1  -     2      o1       shoes    1
                 6    l3  -     1      o2       hats     1
                 7    l4  -     1      o3       bags     2
                 8    l5  -     1      o9       bags     2";
    let lines = table("shop.order_lines", lines).with_parent("shop.orders", "order_id");
    [orders, lines, assignments("1=A 3=B 4=C")]
}

#[test]
fn lines_count_for_the_owner_of_the_current_version_of_their_order() {
    let traits = [aggregate("items", "order_lines", "sum(\"quantity\")"), aggregate("last", "order_lines", "max(\"at\")")];

    assert_eq!(computed(&traits, &with_lines()), ["A|2|008", "B|2|002", "C|-|-"]);
}

#[test]
fn the_most_frequent_value_wins_and_of_equals_the_smaller() {
    let measure = PreparedMeasure::MostFrequent { expression: "\"category\"".to_owned() };
    let top = PreparedTrait { name: "top".to_owned(), from: "order_lines".to_owned(), measure, window_ms: None };

    assert_eq!(computed(&[top], &with_lines()), ["A|hats", "B|bags", "C|-"]);
}

#[test]
fn of_equally_frequent_values_the_one_of_more_revenue_wins() {
    let measure = PreparedMeasure::MostFrequent { expression: "\"category\"".to_owned() };
    let top = PreparedTrait { name: "top".to_owned(), from: "lines".to_owned(), measure, window_ms: None };
    let lines = table(
        "shop.lines",
        "_seq _pk _node category line_total:integer\n1 a 1 hats 5\n2 b 1 shoes 9\n3 c 2 hats 4\n4 d 2 bags 4\n5 e 3 hats 1\n6 f 3 hats 1\n7 g 3 bags 9\n8 h 4 hats -\n9 i 4 shoes 1",
    );

    assert_eq!(computed(&[top], &[lines, assignments("1=A 2=B 3=C 4=D")]), ["A|shoes", "B|bags", "C|hats", "D|shoes"]);
}

#[test]
fn in_a_stream_without_a_key_every_row_counts() {
    let visits = table("web.visits", "_seq _pk _node\n1 a 1\n2 a 1\n3 a 1").without_key();

    assert_eq!(computed(&[aggregate("visits", "visits", "count(*)")], &[visits, assignments("1=A")]), ["A|3"]);
}

#[test]
fn a_sealed_column_is_not_offered_to_traits() {
    let people = table("crm.people", "_seq _pk _node mail:sealed country\n1 a 1 x FR");

    let names: Vec<String> = trait_columns("people", &[people.source]).unwrap().into_iter().map(|column| column.name).collect();

    assert_eq!(names, ["at", "country"]);
}
