//! Which attributes a profile shows, and from where.

use std::collections::BTreeMap;

use affluent_model::survivorship::{Strategy, Survivorship};

use super::cases::{Case, aggregate, assignments, pins, run_snapshot, sources, table};
use crate::snapshot::snapshot_query;

/// `profile|value…` without lineage.
fn values(attributes: &[&str], cases: &[Case], survivorship: &BTreeMap<String, Survivorship>) -> Vec<String> {
    let tables: Vec<Case> = cases.iter().filter(|case| case.source.stream != "assignments").cloned().collect();
    let snapshot = snapshot_query(&sources(&tables), &[], survivorship, &BTreeMap::new()).unwrap();
    let columns: String = attributes.iter().map(|name| format!(", \"{name}\"")).collect();
    run_snapshot(&format!("\"profile\"{columns}"), snapshot, cases)
}

fn most_recent(attributes: &[&str], cases: &[Case]) -> Vec<String> {
    values(attributes, cases, &BTreeMap::new())
}

#[test]
fn the_latest_version_of_a_record_counts_unless_it_is_deleted() {
    let customers = "_seq _pk _node _deleted country
                     1    a   1     false    FR
                     2    a   1     false    DE
                     3    b   2     false    IT
                     4    b   2     true     IT";
    let cases = [table("shop.customers", customers).with_attributes(&["country"]), assignments("1=A 2=B")];

    assert_eq!(most_recent(&["country"], &cases), ["A|DE", "B|-"]);
}

#[test]
fn rows_that_are_listed_as_void_do_not_count() {
    let customers = "_seq _pk _node _deleted country
                     1    a   1     false    FR
                     2    a   1     false    DE
                     3    b   2     false    IT
                     4    b   2     true     IT";
    let void = table("void", "_seq\n1\n3\n4");
    let customers = table("shop.customers", customers).with_attributes(&["country"]).with_superseded("void");
    let snapshot = snapshot_query(&sources(std::slice::from_ref(&customers)), &[], &BTreeMap::new(), &BTreeMap::new()).unwrap();

    let rows = run_snapshot("\"profile\", \"country\"", snapshot, &[customers, void, assignments("1=A 2=B")]);

    assert_eq!(rows, ["A|DE", "B|-"]);
}

#[test]
fn a_value_that_a_record_took_back_does_not_come_back_from_an_older_version() {
    let customers = "_seq _pk _node country
                     1    a   1     FR
                     2    a   1     -";
    let cases = [table("shop.customers", customers).with_attributes(&["country"]), assignments("1=A")];

    assert_eq!(most_recent(&["country"], &cases), ["A|-"]);
}

#[test]
fn each_attribute_shows_its_most_recent_value_that_is_not_null() {
    let shop = "_seq _pk _node _at country size:integer
                1    a   1     5   FR      38
                2    b   2     7   -       40";
    let crm = "_seq _pk _node _at country
               3    x   3     6   DE
               4    y   9     9   US";
    let cases = [
        table("shop.customers", shop).with_attributes(&["country", "size"]),
        table("crm.people", crm).with_attributes(&["country"]),
        assignments("1=A 2=A 3=A"),
    ];

    assert_eq!(most_recent(&["country", "size"], &cases), ["A|DE|40"]);
}

#[test]
fn of_values_said_at_the_same_time_the_later_read_wins() {
    let shop = "_seq _pk _node _at country
                8    a   1     5   FR
                7    b   2     5   DE";
    let cases = [table("shop.customers", shop).with_attributes(&["country"]), assignments("1=A 2=A")];

    assert_eq!(most_recent(&["country"], &cases), ["A|FR"]);
}

#[test]
fn a_preferred_connection_wins_over_a_more_recent_one() {
    let row = |sequence: i64, country: &str| format!("_seq _pk _node country\n{sequence} a {sequence} {country}");
    let cases = [
        table("web.visits", &row(3, "US")).with_attributes(&["country"]),
        table("shop.customers", &row(2, "FR")).with_attributes(&["country"]),
        table("crm.people", &row(1, "-")).with_attributes(&["country"]),
        assignments("1=A 2=A 3=A"),
    ];
    let prefer = Survivorship::prefer(vec!["crm".to_owned(), "shop".to_owned()]);

    assert_eq!(values(&["country"], &cases, &BTreeMap::from([("country".to_owned(), prefer)])), ["A|FR"]);
}

#[test]
fn lineage_names_the_record_that_a_value_comes_from() {
    let shop = "_seq _pk _node _at mail:sealed
                1    a   1     5   secret";
    let crm = "_seq _pk _node _at mail:sealed
               2    x   2     4   other";
    let mut crm = table("crm.people", crm).with_attributes(&["mail"]);
    crm.source.attributes[0].column = "mail".to_owned();
    let cases = [table("shop.customers", shop).with_attributes(&["mail"]), crm, assignments("1=A 2=A 3=B")];
    let snapshot = snapshot_query(&sources(&cases[..2]), &[], &BTreeMap::new(), &BTreeMap::new()).unwrap();

    let lineage = "[{source: 0, record: a, node: 1, at: 006, gives: 01}]";
    assert_eq!(run_snapshot("*", snapshot, &cases), [format!("A|736563726574|{lineage}"), "B|-|[]".to_owned()]);
}

#[test]
fn types_that_differ_between_tables_meet_in_the_wider_one() {
    let cases = [
        table("shop.customers", "_seq _pk _node points:integer\n1 a 1 7").with_attributes(&["points"]),
        table("crm.people", "_seq _pk _node points:decimal\n2 a 2 9").with_attributes(&["points"]),
        assignments("1=A 2=B"),
    ];

    assert_eq!(most_recent(&["points"], &cases), ["A|7.000000", "B|9.000000"]);
}

#[test]
fn a_profile_without_records_is_a_row_too() {
    let orders =
        table("shop.orders", "_seq _pk _node _order_id _order_at _order_currency _order_net _order_status\n1 a 1 a 1 EUR 5 paid");
    let traits = [aggregate("orders", "orders", "count(*)"), aggregate("spent", "orders", "sum(\"net\")")];
    let snapshot = snapshot_query(&sources(std::slice::from_ref(&orders)), &traits, &BTreeMap::new(), &BTreeMap::new()).unwrap();

    assert_eq!(run_snapshot("*", snapshot, &[orders, assignments("1=A 2=B")]), ["A|1|5.000000", "B|0|-"]);
}

#[test]
fn many_tables_attributes_and_traits_are_one_snapshot() {
    let names: Vec<String> = (0..12).map(|number| format!("a{number}")).collect();
    let attributes: Vec<&str> = names.iter().map(String::as_str).collect();
    let head = format!("_seq _pk _node _order_id _order_at _order_currency _order_net _order_status {}", attributes.join(" "));
    let row = format!("1 a 1 a 1 EUR 5 paid {}", "x ".repeat(attributes.len()));
    let shop = |number: i64| table(&format!("shop{number}.orders"), &format!("{head}\n{row}")).with_attributes(&attributes);
    let lines = |number: i64| {
        let orders = format!("shop{number}.orders");
        table(&format!("shop{number}.lines"), "_seq _pk _node order_id\n2 l - a").with_parent(&orders, "order_id")
    };
    let mut cases: Vec<Case> = (0..8).flat_map(|number| [shop(number), lines(number)]).collect();
    let traits = [aggregate("orders", "orders", "count(*)"), aggregate("lines", "lines", "count(*)")];
    let snapshot = snapshot_query(&sources(&cases), &traits, &BTreeMap::new(), &BTreeMap::new()).unwrap();
    cases.push(assignments("1=A"));

    assert_eq!(run_snapshot("\"orders\", \"lines\", \"a7\"", snapshot, &cases), ["8|8|x"]);
}

#[test]
fn each_strategy_shows_its_value_and_the_default_is_for_the_others() {
    let customers = "_seq _pk _node _at tier
                     1    a   1     1   gold
                     2    b   1     2   silver
                     3    c   1     3   tin
                     4    d   1     4   gold
                     5    e   1     5   iron";
    let cases = [table("shop.customers", customers).with_attributes(&["tier"]), assignments("1=A")];
    let strategies = [
        (Strategy::MostRecent, "A|iron"),
        (Strategy::FirstSeen, "A|gold"),
        (Strategy::MostFrequent, "A|gold"),
        (Strategy::Longest, "A|silver"),
        (Strategy::Min, "A|gold"),
        (Strategy::Max, "A|tin"),
        (Strategy::Union, "A|gold, iron, silver, tin"),
    ];
    for (strategy, expected) in strategies {
        for name in ["tier", "default"] {
            let rule = Survivorship { strategy, ..Survivorship::default() };
            let found = values(&["tier"], &cases, &BTreeMap::from([(name.to_owned(), rule)]));
            assert_eq!(found, [expected], "{strategy:?} under {name}");
        }
    }
}

#[test]
fn sealed_values_are_not_compared_whatever_the_file_says() {
    let customers = "_seq _pk _node _at mail:sealed
                     1    a   1     1   secret";
    let cases = [table("shop.customers", customers).with_attributes(&["mail"])];
    let longest = || Survivorship { strategy: Strategy::Longest, ..Survivorship::default() };

    let own = snapshot_query(&sources(&cases), &[], &BTreeMap::from([("mail".to_owned(), longest())]), &BTreeMap::new());
    assert_eq!(own.unwrap_err().code, "E0767");
    let all = snapshot_query(&sources(&cases), &[], &BTreeMap::from([("default".to_owned(), longest())]), &BTreeMap::new());
    assert!(all.is_ok(), "a default is for the attributes that it can choose for");
}

#[test]
fn values_of_several_connections_are_combined_in_the_type_that_holds_all() {
    let cases = [
        table("shop.customers", "_seq _pk _node points:integer tags:json\n1 a 1 7 [\"vip\",\"new\"]\n2 b 1 5 \"vip\"")
            .with_attributes(&["points", "tags"]),
        table("crm.people", "_seq _pk _node points:decimal\n3 x 2 9").with_attributes(&["points"]),
        assignments("1=A 2=A"),
    ];
    let rule = |strategy| Survivorship { strategy, ..Survivorship::default() };
    let rules = [("points", rule(Strategy::Sum)), ("tags", rule(Strategy::Union))];
    let all = rules.clone().map(|(name, rule)| (name.to_owned(), rule));
    let crm = ("points".to_owned(), Survivorship { prefer: vec!["crm".to_owned()], ..rule(Strategy::Sum) });

    assert_eq!(values(&["points", "tags"], &cases, &BTreeMap::from(all)), ["A|21.000000|[\"new\",\"vip\"]"]);
    assert_eq!(values(&["points"], &cases, &BTreeMap::from([crm])), ["A|9.000000"]);
}

#[test]
fn no_connection_and_no_age_hides_a_no_from_the_strictest() {
    let cases = [
        table("shop.customers", "_seq _pk _node news:boolean\n1 a 1 false").with_attributes(&["news"]),
        table("crm.people", "_seq _pk _node news:boolean\n99 x 2 true").with_attributes(&["news"]),
        assignments("1=A 2=A"),
    ];
    let strategy = Strategy::ConsentStrictest;
    let rule = Survivorship { strategy, prefer: vec!["crm".to_owned()], max_age_ms: Some(86_400_000), ..Survivorship::default() };

    assert_eq!(values(&["news"], &cases, &BTreeMap::from([("default".to_owned(), rule)])), ["A|false"]);
}

#[test]
fn a_pinned_record_wins_over_every_rule_while_it_says_something() {
    let shop = "_seq _pk _node _at city
                1    a   1     1   Lyon
                2    b   2     2   -
                3    c   4     9   Nice";
    let crm = "_seq _pk _node _at city
               4    x   3     3   Lille
               5    y   3     4   Lens";
    let tables = [table("shop.customers", shop).with_attributes(&["city"]), table("crm.people", crm).with_attributes(&["city"])];
    let (prefer, max_age_ms) = (vec!["crm".to_owned()], Some(86_400_000 * 97));
    let rule = |strategy| Survivorship { strategy, prefer: prefer.clone(), max_age_ms, counts_empty: false };
    let cases = [
        ("city: 9", Strategy::MostRecent, "A|Lens"),
        ("city: 1", Strategy::MostRecent, "A|Lyon"),
        ("city: 2", Strategy::MostRecent, "A|Lens"),
        ("city: 2 1", Strategy::MostRecent, "A|Lyon"),
        ("city: 4 1", Strategy::MostRecent, "A|Nice"),
        ("city: 1 4", Strategy::Union, "A|Lyon"),
        ("city: 3", Strategy::Union, "A|Lens, Lille"),
    ];
    for (pinned, strategy, expected) in cases {
        let rules = BTreeMap::from([("city".to_owned(), rule(strategy))]);
        let counts = BTreeMap::from([("city".to_owned(), pinned.split_whitespace().count() - 1)]);
        let snapshot = snapshot_query(&sources(&tables), &[], &rules, &counts).unwrap();
        let given = [tables.to_vec(), vec![pins(pinned), assignments("1=A 2=A 3=A 4=A")]].concat();

        assert_eq!(run_snapshot("\"profile\", \"city\"", snapshot, &given), [expected], "{pinned} {strategy:?}");
    }
}

#[test]
fn a_record_that_says_nothing_is_passed_over_unless_it_counts() {
    let shop = "_seq _pk _node _at city  tags:json
                1    a   1     1   Lyon  [\"vip\"]
                2    b   2     2   ''    []
                3    c   3     3   -     null";
    let crm = "_seq _pk _node _at size\n4 x 4 9 40";
    let cases = [
        table("shop.customers", shop).with_attributes(&["city", "tags"]),
        table("crm.people", crm).with_attributes(&["size"]),
        assignments("1=A 2=A 3=A 4=A"),
    ];
    let found = |counts_empty: bool, prefer: &str, max_age_ms: Option<u64>| {
        let prefer = prefer.split_whitespace().map(str::to_owned).collect();
        let rule = Survivorship { counts_empty, prefer, max_age_ms, ..Survivorship::default() };
        values(&["city", "tags"], &cases, &BTreeMap::from([("default".to_owned(), rule)]))
    };
    assert_eq!(found(false, "", None), ["A|Lyon|[\"vip\"]"]);
    assert_eq!(found(true, "", None), ["A|-|null"]);
    assert_eq!(found(true, "crm shop", None), ["A|-|null"]);
    assert_eq!(found(true, "", Some(1)), ["A|-|-"]);
}

#[test]
fn what_belongs_together_comes_from_the_most_complete_record() {
    let shop = "_seq _pk _node _at street city code:sealed other
                1    a   1     1   Main   Lyon 69001       x
                2    b   2     2   High   Nice 06000       -
                3    c   3     3   Broad  Nice 06100       -
                4    d   4     4   Low    ''   -           y";
    let crm = "_seq _pk _node _at street\n5 x 5 5 Side";
    let tables = [
        table("shop.customers", shop).with_attributes(&["street", "city", "code", "other"]),
        table("crm.people", crm).with_attributes(&["street"]),
    ];
    let cases = [
        ("", false, "street: 9", "A|Broad|Nice|3036313030|y"),
        ("crm", false, "street: 9", "A|Side|Nice|3036313030|y"),
        ("crm", true, "street: 9", "A|Side|Nice|3036313030|y"),
        ("", true, "street: 4", "A|Low|Nice|3036313030|y"),
    ];
    for (prefer, counts_empty, pinned, expected) in cases {
        let prefer: Vec<String> = prefer.split_whitespace().map(str::to_owned).collect();
        let rule = Survivorship { strategy: Strategy::MostCompleteRecord, prefer, max_age_ms: None, counts_empty };
        let rules = ["street", "city", "code"].map(|name| (name.to_owned(), rule.clone())).into();
        let counts = pinned.split_once(':').map(|(name, places)| (name.to_owned(), places.split_whitespace().count()));
        let snapshot = snapshot_query(&sources(&tables), &[], &rules, &counts.into_iter().collect()).unwrap();
        let given = [tables.to_vec(), vec![pins(pinned), assignments("1=A 2=A 3=A 4=A 5=A")]].concat();

        let columns = "\"profile\", \"street\", \"city\", \"code\", \"other\"";
        assert_eq!(run_snapshot(columns, snapshot, &given), [expected], "{pinned} {counts_empty}");
    }
}
