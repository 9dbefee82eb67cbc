//! What counts as consent.

use std::collections::BTreeMap;

use affluent_model::consent::{ConsentNeed, ConsentWord, LegalBasis, is_granted};
use proptest::prelude::*;

use super::cases::{Case, run, sources, table};
use crate::consent::{consent_sql, withdrawn_sql};

/// `ann:granted` for each address about which something is said that counts.
fn said_for(need: &ConsentNeed, cases: &[Case]) -> Vec<String> {
    let rows = run(&consent_sql(need, "email", &sources(cases)), cases);
    let shown = rows.iter().filter_map(|row| {
        let (value, rank) = row.split_once('|')?;
        let bytes: Vec<u8> =
            (0..value.len()).step_by(2).filter_map(|at| u8::from_str_radix(value.get(at..at + 2)?, 16).ok()).collect();
        Some(format!("{}:{}", String::from_utf8(bytes).ok()?, ConsentWord::from_rank(rank.parse().ok()?)?.as_str()))
    });
    shown.collect()
}

fn said(cases: &[Case]) -> Vec<String> {
    said_for(&ConsentNeed::of_purpose("news"), cases)
}

const HEAD: &str = "_seq _pk _node _id_email _consent_news _consent_at_news";

#[test]
fn the_latest_word_about_an_address_counts_wherever_it_was_said() {
    let shop = table("shop.customers", &format!("{HEAD}\n1 a 1 ann true 5\n2 b 2 bob false 5\n3 c 3 eve - 9"));
    let crm = table("crm.people", &format!("{HEAD}\n4 x 4 ann false 4\n5 y 5 bob true 6"));

    assert_eq!(said(&[shop, crm]), ["ann:granted", "bob:granted"]);
}

#[test]
fn at_the_same_time_the_stricter_word_wins() {
    let head = format!("{HEAD} _consentstatus_news _consentuntil_news");
    let shop = table(
        "shop.customers",
        &format!(
            "{head}\n1 a 1 ann true 5 granted -\n2 b 2 ann false 5 revoked -\n3 c 3 ann false 5 pending -\n\
             4 d 4 bob true 5 granted -\n5 e 5 bob false 5 pending -\n6 f 6 eve true 5 granted 7\n7 g 7 eve true 5 granted -"
        ),
    );

    assert_eq!(said(&[shop]), ["ann:denied", "bob:pending", "eve:expired"]);
}

#[test]
fn a_word_without_a_time_was_said_when_its_record_was() {
    let shop = table("shop.customers", &format!("{HEAD} _at\n1 a 1 ann true - 5\n2 b 2 ann false 4 9"));

    assert_eq!(said(&[shop]), ["ann:granted"]);
}

#[test]
fn a_grant_stays_with_the_address_it_was_given_for() {
    let shop = table("shop.customers", &format!("{HEAD}\n1 a 1 ann true 5\n2 b 1 amy - -"));

    assert_eq!(said(&[shop]), ["ann:granted"]);
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
fn only_the_four_statuses_are_known_and_any_other_is_no_grant() {
    let head = format!("{HEAD} _consentstatus_news");
    let rows = ["a granted", "b denied", "c revoked", "d pending", "e subscribed"];
    let rows: String = rows
        .iter()
        .enumerate()
        .filter_map(|(row, text)| text.split_once(' ').map(|(who, status)| format!("\n{row} {who} {row} {who} - 5 {status}")))
        .collect();

    let found = said(&[table("shop.customers", &format!("{head}{rows}"))]);

    assert_eq!(found, ["a:granted", "b:denied", "c:denied", "d:pending", "e:denied"]);
}

/// Queries run on day 100.
#[test]
fn a_grant_ends_at_its_time_and_one_of_a_day_to_come_has_not_begun() {
    let rows = "\n1 a 1 ann true 5 100\n2 b 2 bob true 5 101\n3 c 3 eve true 101 -";
    let mut shop = table("shop.customers", &format!("{HEAD} _consentuntil_news{rows}"));
    assert_eq!(said(std::slice::from_ref(&shop)), ["ann:expired", "bob:granted", "eve:pending"]);

    shop.source.consent[0].terms.expires_after_ms = Some(95 * 86_400_000);
    assert_eq!(said(&[shop]), ["ann:expired", "bob:expired", "eve:pending"]);
}

#[test]
fn words_about_different_channels_and_scopes_stand_beside_each_other() {
    let head = "_seq _pk _node _id_email _consent_news _consent_at_news _consent_news-sms _consent_at_news-sms _consent_news--shop _consent_at_news--shop";
    let shop = table(
        "shop.customers",
        &format!("{head}\n1 a 1 ann true 5 false 9 - -\n2 b 2 bob - - true 5 - -\n3 c 3 eve true 5 - - false 4"),
    );
    let need = |channel: Option<&str>, scope: Option<&str>| ConsentNeed {
        channel: channel.map(str::to_owned),
        scope: scope.map(str::to_owned),
        ..ConsentNeed::of_purpose("news")
    };
    let cases = [
        ((None, None), vec!["ann:denied", "bob:granted", "eve:denied"]),
        ((Some("email"), None), vec!["ann:granted", "eve:denied"]),
        ((Some("sms"), Some("shop")), vec!["ann:denied", "bob:granted", "eve:denied"]),
        ((Some("email"), Some("crm")), vec!["ann:granted", "eve:granted"]),
    ];
    for ((channel, scope), expected) in cases {
        assert_eq!(said_for(&need(channel, scope), std::slice::from_ref(&shop)), expected, "{channel:?} {scope:?}");
    }
}

#[test]
fn a_need_looks_at_the_basis_and_the_place_of_a_grant() {
    let head = format!("{HEAD} _consentin_news");
    let rows = "\n1 a 1 ann true 5 FR\n2 b 2 bob true 5 us-ca\n3 c 3 eve true 5 -\n4 d 4 joe false 5 FR";
    let mut shop = table("shop.customers", &format!("{head}{rows}"));
    shop.source.consent[0].terms.legal_basis = Some(LegalBasis::LegitimateInterests);
    let need = |bases: &[LegalBasis], places: &[&str]| ConsentNeed {
        legal_bases: bases.to_vec(),
        not_in: places.iter().map(|place| (*place).to_owned()).collect(),
        ..ConsentNeed::of_purpose("news")
    };
    let found = |need: ConsentNeed| said_for(&need, std::slice::from_ref(&shop));

    assert_eq!(found(need(&[], &["US"])), ["ann:granted", "bob:denied", "eve:denied", "joe:denied"]);
    assert_eq!(found(need(&[], &["US-NY"])), ["ann:granted", "bob:granted", "eve:denied", "joe:denied"]);
    assert_eq!(found(need(&[LegalBasis::Consent], &[])), ["joe:denied"]);
}

#[test]
fn a_row_about_one_identifier_says_nothing_of_the_others() {
    let mut shop = table("shop.customers", &format!("{HEAD} _id_phone\n1 a 1 ann true 5 +331"));
    shop.source.consent[0].terms.identifier = Some("phone".to_owned());

    assert!(said(&[shop]).is_empty());
}

#[test]
fn a_destination_needs_a_grant_for_every_identifier_it_uses() {
    use ConsentWord::{Denied, Expired, Granted, Pending};
    let cases: [(&[Option<ConsentWord>], bool); 8] = [
        (&[], false),
        (&[None], false),
        (&[Some(Granted)], true),
        (&[Some(Granted), None], false),
        (&[Some(Granted), Some(Denied)], false),
        (&[Some(Granted), Some(Expired)], false),
        (&[Some(Pending)], false),
        (&[Some(Granted), Some(Granted)], true),
    ];
    for (said, expected) in cases {
        assert_eq!(is_granted(said.iter().copied()), expected, "{said:?}");
    }
}

/// Histories in one query: what costs is the query, not the rows.
const HISTORIES: u32 = 100;

/// Queries; `AFFLUENT_CASES=10000` histories is the long form.
fn queries_count() -> u32 {
    let histories = std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse::<u32>().ok()).unwrap_or(1_000);
    histories.div_ceil(HISTORIES)
}

/// One row of a history: who, status, when, until, channel.
type Statement = (u8, u8, u8, Option<u8>, bool);

const STATUSES: [&str; 4] = ["granted", "denied", "revoked", "pending"];
/// Days on which something is said or ends; queries run on day 100.
const DAYS: [u8; 4] = [97, 98, 99, 101];

/// By the words of the rules: what is granted of this address, for mail.
fn is_granted_by_the_rules(history: &[Statement], who: u8) -> bool {
    let mut is_any = false;
    for by_channel in [false, true] {
        let about: Vec<&Statement> = history.iter().filter(|row| row.0 == who && row.4 == by_channel).collect();
        let Some(last) = about.iter().map(|row| row.2).max() else { continue };
        let holds = |row: &&&Statement| {
            let is_over = row.3.is_some_and(|until| DAYS[usize::from(until)] <= 100);
            row.1 == 0 && !is_over && DAYS[usize::from(row.2)] <= 100
        };
        let latest = about.iter().filter(|row| row.2 == last);
        if !latest.clone().all(|row| holds(&row)) {
            return false;
        }
        is_any = true;
    }
    is_any
}

fn statement() -> impl Strategy<Value = Statement> {
    (0_u8..4, 0_u8..4, 0_u8..4, proptest::option::of(0_u8..4), any::<bool>())
}

/// What was said about four addresses, in any order, and which of five a profile has that was merged of some of them.
fn history() -> impl Strategy<Value = (Vec<Statement>, Vec<u8>)> {
    (proptest::collection::vec(statement(), 0..12), proptest::collection::vec(0_u8..5, 0..4))
}

/// A table of the rows of all histories; an address carries the number of its history.
fn table_of(histories: &[(Vec<Statement>, Vec<u8>)]) -> Case {
    let head = "_seq _pk _node _id_email _consent_news _consent_at_news _consentstatus_news _consentuntil_news \
                _consent_news-mail _consent_at_news-mail _consentstatus_news-mail _consentuntil_news-mail";
    let rows = histories.iter().enumerate().flat_map(|(number, (history, _))| history.iter().map(move |row| (number, row)));
    let lines = rows.enumerate().map(|(row, (number, (who, status, at, until, by_channel)))| {
        let day = |place: u8| DAYS[usize::from(place)].to_string();
        let cells = format!("- {} {} {}", day(*at), STATUSES[usize::from(*status)], until.map_or("-".to_owned(), day));
        let (plain, mail) = if *by_channel { ("- - - -", cells.as_str()) } else { (cells.as_str(), "- - - -") };
        format!("\n{row} k{row} {row} p{number}x{who} {plain} {mail}")
    });
    table("shop.customers", &format!("{head}{}", lines.collect::<String>()))
}

/// `ann:5` for each address for which everything was taken back, with the day.
fn withdrawn(cases: &[Case]) -> Vec<String> {
    let Some(sql) = withdrawn_sql("email", &sources(cases)) else { return Vec::new() };
    let shown = run(&sql, cases).into_iter().filter_map(|row| {
        let mut cells = row.split('|');
        let (value, _, at) = (cells.next()?, cells.next()?, cells.next()?.parse::<i64>().ok()?);
        let bytes: Vec<u8> =
            (0..value.len()).step_by(2).filter_map(|at| u8::from_str_radix(value.get(at..at + 2)?, 16).ok()).collect();
        Some(format!("{}:{}", String::from_utf8(bytes).ok()?, at / 86_400_000_000))
    });
    shown.collect()
}

#[test]
fn everything_is_taken_back_when_something_was_and_nothing_else_holds() {
    let head = "_seq _pk _node _id_email _consent_news _consent_at_news _consentstatus_news _consentuntil_news \
                _consent_ads _consent_at_ads _consentstatus_ads";
    let shop = table(
        "shop.customers",
        &format!(
            "{head}\n1 a 1 ann - 5 revoked - - - -\n2 b 2 bob - 5 revoked - true 4 -\n3 c 3 cy - 5 revoked - false 6 -\n\
             4 d 4 di false 5 - - false 5 -\n5 e 5 ed - 5 revoked - - 7 pending\n6 f 6 flo - 5 revoked - - - -\n\
             7 g 7 flo - 6 granted - - - -\n8 h 8 gil - 5 granted 50 - 7 revoked\n9 i 9 hal - 5 granted - - - -\n\
             10 j 10 hal - 5 revoked - - - -"
        ),
    );

    // Bob's other purpose holds, Di never granted anything, Ed is asked, Flo granted again; Gil's other grant ended.
    assert_eq!(withdrawn(&[shop]), ["ann:5", "cy:5", "gil:7", "hal:5"]);
}

#[test]
fn where_nothing_can_be_revoked_nobody_is_looked_for() {
    assert_eq!(withdrawn_sql("email", &sources(&[table("shop.customers", &format!("{HEAD}\n1 a 1 ann false 5"))])), None);
}

/// By the words of the rules: this address took something back, and nothing else holds or is asked for.
fn is_withdrawn_by_the_rules(history: &[Statement], who: u8) -> bool {
    let mut is_any = false;
    for by_channel in [false, true] {
        let about: Vec<&Statement> = history.iter().filter(|row| row.0 == who && row.4 == by_channel).collect();
        let Some(last) = about.iter().map(|row| row.2).max() else { continue };
        let latest: Vec<&&Statement> = about.iter().filter(|row| row.2 == last).collect();
        let is_revoked = latest.iter().any(|row| row.1 == 2);
        let is_refused =
            latest.iter().any(|row| row.1 == 1 || row.1 == 0 && row.3.is_some_and(|until| DAYS[usize::from(until)] <= 100));
        if !is_revoked && !is_refused {
            return false;
        }
        is_any |= is_revoked;
    }
    is_any
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(queries_count()))]

    #[test]
    fn who_took_everything_back_is_found_and_nobody_else(
        histories in proptest::collection::vec(history(), HISTORIES as usize),
    ) {
        let found = withdrawn(&[table_of(&histories)]);
        let found: std::collections::BTreeSet<&str> = found.iter().filter_map(|row| row.split(':').next()).collect();

        for (number, (history, _)) in histories.iter().enumerate() {
            for who in 0_u8..5 {
                let is_found = found.contains(format!("p{number}x{who}").as_str());
                prop_assert_eq!(is_found, is_withdrawn_by_the_rules(history, who), "{:?} {}", history, who);
            }
        }
    }


    #[test]
    fn nobody_is_sent_without_a_grant_that_holds(
        histories in proptest::collection::vec(history(), HISTORIES as usize),
    ) {
        let need = ConsentNeed { channel: Some("mail".to_owned()), ..ConsentNeed::of_purpose("news") };
        let rows = said_for(&need, &[table_of(&histories)]);
        let known: BTreeMap<&str, bool> =
            rows.iter().filter_map(|row| row.split_once(':')).map(|(value, word)| (value, word == "granted")).collect();

        for (number, (history, used)) in histories.iter().enumerate() {
            let word = |who: &u8| {
                let granted = *known.get(format!("p{number}x{who}").as_str())?;
                Some(if granted { ConsentWord::Granted } else { ConsentWord::Denied })
            };
            let expected = !used.is_empty() && used.iter().all(|who| is_granted_by_the_rules(history, *who));
            prop_assert_eq!(is_granted(used.iter().map(word)), expected, "{:?} {:?}", history, used);
        }
    }
}
