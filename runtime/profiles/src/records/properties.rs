//! What holds for any records: the groups depend on nothing but the set of records, and no guard rail breaks.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::identity::NodeId;
use affluent_model::matching::{ScoreRule, Test};
use affluent_model::plan::{IdentityRules, MatchRule};
use proptest::prelude::*;

use super::tests::{by_names_and_birth, load, rule, rules};

const RECORDS: usize = 24;

fn all_rules() -> IdentityRules {
    let scored = MatchRule { score: Some(ScoreRule { attributes: Vec::new(), probability_min: 0.9 }), ..rule("score", &[], &[]) };
    let ordered = vec![
        rule("email", &["email"], &[("names", Test::Agree)]),
        rule("house", &[], &[("names", Test::Same), ("postcode", Test::Exact)]),
        rule("phone", &["phone"], &[("names", Test::Compatible)]),
        rule("device", &["device"], &[("names", Test::Compatible), ("born", Test::Compatible)]),
        scored,
    ];
    let mut rules = rules(ordered, Some(by_names_and_birth()));
    rules.limits.profile_nodes_max = 6;
    rules
}

/// Rows with values out of few, so that they meet, contradict and are missing.
fn rows() -> impl Strategy<Value = Vec<String>> {
    let word = |words: &'static [&'static str]| prop::sample::select(words);
    let row = (
        word(&["", "", "a@x.de", "b@x.de", "c@x.de"]),
        word(&["", "", "+33612345678", "+33612345679"]),
        word(&["", "", "d1", "d2", "d3"]),
        word(&["", "Rob", "Robert", "R.", "Anna", "Allen", "Ann"]),
        word(&["", "Allen", "Alen", "Smith", "Rob"]),
        word(&["", "", "1982-03-04", "1982-04-03", "1990-07-01"]),
        word(&["", "98596", "11111"]),
    );
    let row = row.prop_map(|(a, b, c, d, e, f, g)| format!("{a},{b},{c},{d},{e},{f},{g}"));
    let numbered = |rows: Vec<String>| (0..).zip(rows).map(|(at, row): (usize, String)| format!("r{at},{row}")).collect();
    prop::collection::vec(row, 2..RECORDS).prop_map(numbered)
}

type Links = [(usize, usize)];

/// Record → the records of its group.
fn partition(rules: &IdentityRules, rows: &[String], must: &Links, cannot: &Links) -> BTreeMap<String, BTreeSet<String>> {
    let records = load(rules, rows);
    let node = |record: usize| records.find(&[format!("r{record}").as_str()])[0];
    let nodes =
        |links: &Links| -> Vec<(NodeId, NodeId)> { links.iter().filter_map(|(a, b)| Some((node(*a)?, node(*b)?))).collect() };
    let grouping = records.group(&nodes(must), &nodes(cannot));
    let mut members: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (id, group) in records.ids().zip(&grouping.group_of) {
        members.entry(*group).or_default().insert(id.to_owned());
    }
    records.ids().zip(&grouping.group_of).map(|(id, group)| (id.to_owned(), members[group].clone())).collect()
}

/// `AFFLUENT_CASES=10000` is the long form.
fn cases() -> u32 {
    std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_do_not_depend_on_the_order_of_records(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        must in prop::collection::vec((0..RECORDS, 0..RECORDS), 0..3),
        cannot in prop::collection::vec((0..RECORDS, 0..RECORDS), 0..3),
    ) {
        let rules = all_rules();

        prop_assert_eq!(partition(&rules, &shuffled, &must, &cannot), partition(&rules, &rows, &must, &cannot));
    }

    #[test]
    fn groups_are_the_components_of_links_under_the_guard_rails(
        rows in rows(),
        cannot in prop::collection::vec((0..RECORDS, 0..RECORDS), 0..3),
    ) {
        let rules = all_rules();
        let found = partition(&rules, &rows, &[], &cannot);

        for (record, group) in &found {
            prop_assert!(group.len() <= rules.limits.profile_nodes_max as usize);
            prop_assert!(group.iter().all(|member| found[member] == *group), "{} is in two groups", record);
        }
        for (a, b) in cannot.iter().filter(|(a, b)| a != b).map(|(a, b)| (format!("r{a}"), format!("r{b}"))) {
            prop_assert!(!found.get(&a).is_some_and(|group| group.contains(&b)), "{} and {} are one", a, b);
        }
    }
}
