//! What counts as consent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cases::{Case, run, sources, table};
use crate::consent::{consent_sql, is_granted};

fn said(cases: &[Case]) -> Vec<String> {
    run(&consent_sql("news", "email", &sources(cases)), cases)
}

const HEAD: &str = "_seq _pk _node _id_email _consent_news _consent_at_news";

#[test]
fn the_latest_word_about_an_address_counts_wherever_it_was_said() {
    let shop = table("shop.customers", &format!("{HEAD}\n1 a 1 ann true 5\n2 b 2 bob false 5\n3 c 3 eve - 9"));
    let crm = table("crm.people", &format!("{HEAD}\n4 x 4 ann false 4\n5 y 5 bob true 6"));

    assert_eq!(said(&[shop, crm]), ["616e6e|true", "626f62|true"]);
}

#[test]
fn denied_wins_over_granted_at_the_same_time() {
    let shop = table("shop.customers", &format!("{HEAD}\n1 a 1 ann true 5\n2 b 2 ann false 5\n3 c 3 ann true 5"));

    assert_eq!(said(&[shop]), ["616e6e|false"]);
}

#[test]
fn a_word_without_a_time_was_said_when_its_record_was() {
    let shop = table("shop.customers", &format!("{HEAD} _at\n1 a 1 ann true - 5\n2 b 2 ann false 4 9"));

    assert_eq!(said(&[shop]), ["616e6e|true"]);
}

#[test]
fn a_grant_stays_with_the_address_it_was_given_for() {
    let shop = table("shop.customers", &format!("{HEAD}\n1 a 1 ann true 5\n2 b 1 amy - -"));

    assert_eq!(said(&[shop]), ["616e6e|true"]);
}

#[test]
fn what_an_older_version_or_a_deleted_record_said_is_forgotten() {
    let shop =
        table("shop.customers", &format!("{HEAD} _deleted\n1 a 1 ann true 5 false\n2 a 1 ann - - false\n3 b 2 bob true 5 true"));

    assert!(said(&[shop]).is_empty());
}

#[test]
fn nobody_consented_where_no_table_speaks_of_the_purpose() {
    let shop = table("shop.customers", "_seq _pk _node _id_email\n1 a 1 ann");

    assert!(said(&[shop]).is_empty());
}

#[test]
fn a_destination_needs_a_grant_for_every_identifier_it_uses() {
    let cases: [(&[Option<bool>], bool); 6] = [
        (&[], false),
        (&[None], false),
        (&[Some(true)], true),
        (&[Some(true), None], false),
        (&[Some(true), Some(false)], false),
        (&[Some(true), Some(true)], true),
    ];
    for (said, expected) in cases {
        assert_eq!(is_granted(said.iter().copied()), expected, "{said:?}");
    }
}

/// `AFFLUENT_CASES=10000` is the long form.
fn cases_count() -> u32 {
    std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases_count()))]

    #[test]
    fn nobody_is_sent_without_a_grant_that_no_later_word_took_back(
        statements in proptest::collection::vec((0_u8..4, any::<bool>(), 0_u8..4), 0..12),
        used in proptest::collection::vec(0_u8..5, 0..4),
    ) {
        let rows = statements.iter().enumerate().map(|(row, (who, granted, at))| format!("\n{row} k{row} {row} p{who} {granted} {at}"));
        let shop = table("shop.customers", &format!("{HEAD}{}", rows.collect::<String>()));
        let word = |who: u8| {
            let about = || statements.iter().filter(move |(of, _, _)| *of == who);
            let last = about().map(|(_, _, at)| *at).max()?;
            Some(about().filter(|(_, _, at)| *at == last).all(|(_, granted, _)| *granted))
        };

        let rows = said(&[shop]);

        // Blind indexes are shown in hex: `p0` is 7030.
        let known: BTreeMap<String, bool> =
            rows.iter().filter_map(|row| row.split_once('|')).map(|(value, granted)| (value.to_owned(), granted == "true")).collect();
        let found = is_granted(used.iter().map(|who| known.get(&format!("703{who}")).copied()));
        let expected = !used.is_empty() && used.iter().all(|who| word(*who) == Some(true));
        prop_assert_eq!(found, expected);
    }
}
