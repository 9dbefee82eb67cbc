//! What counts as consent.

use super::cases::{Case, run, sources, table};
use crate::consent::consent_sql;

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
