//! Who is a member of which segment.

use std::collections::BTreeMap;

use affluent_model::expression::{EventStep, SegmentCall};
use proptest::prelude::*;

use super::cases::{Case, assignments, run_segments, sources, table};
use crate::events::call_passes;
use crate::segment::{PreparedSegment, membership_sql};

fn segment(name: &str, condition: &str) -> PreparedSegment {
    let exclude = Vec::new();
    PreparedSegment { name: name.to_owned(), condition: condition.to_owned(), exclude, priority: None, calls: Vec::new() }
}

impl PreparedSegment {
    fn excluding(mut self, names: &[&str]) -> Self {
        self.exclude = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn at(mut self, list: &str, place: usize) -> Self {
        self.priority = Some((list.to_owned(), place));
        self
    }

    fn calling(mut self, calls: &[usize]) -> Self {
        self.calls = calls.to_vec();
        self
    }
}

/// `A|true|false`: profile, then one column per segment.
fn members(segments: &[PreparedSegment], calls: &[SegmentCall], cases: &[Case]) -> Vec<String> {
    let of_streams: Vec<Case> =
        cases.iter().filter(|case| !["profiles", "assignments"].contains(&case.name())).cloned().collect();
    let passes = call_passes(calls, &sources(&of_streams)).unwrap();
    run_segments(&membership_sql(segments, calls).unwrap(), passes, cases)
}

fn profiles(text: &str) -> Case {
    table("profiles", text)
}

#[test]
fn a_null_condition_makes_no_member_and_excludes_none() {
    let segments = [segment("many", "\"orders\" > 1").excluding(&["staff"]), segment("staff", "\"staff\"")];
    let people = profiles("_seq profile orders:integer staff:boolean\n0 A 2 -\n0 B 2 true\n0 C - false\n0 D 3 false");

    assert_eq!(members(&segments, &[], &[people]), ["A|true|false", "B|false|true", "C|false|false", "D|true|false"]);
}

#[test]
fn of_a_list_the_first_segment_that_fits_has_the_member() {
    let segments = [
        segment("good", "\"orders\" > 1").at("life", 1),
        segment("best", "\"orders\" > 2").at("life", 0).excluding(&["staff"]),
        segment("all", "true").at("life", 2),
        segment("staff", "\"staff\""),
    ];
    let people = profiles("_seq profile orders:integer staff:boolean\n0 A 3 false\n0 B 2 false\n0 C 1 false\n0 D 3 true");

    let expected =
        ["A|false|true|false|false", "B|true|false|false|false", "C|false|false|true|false", "D|true|false|false|true"];
    assert_eq!(members(&segments, &[], &[people]), expected);
}

#[test]
fn a_condition_may_ask_for_the_members_of_another_segment() {
    let calls = [SegmentCall::InSegment { segment: "good".to_owned() }];
    let segments = [
        segment("asks", "\"_call_0\" AND \"orders\" < 9").calling(&[0]),
        segment("good", "\"orders\" > 1").excluding(&["staff"]),
        segment("staff", "\"staff\""),
    ];
    let people = profiles("_seq profile orders:integer staff:boolean\n0 A 3 false\n0 B 1 false\n0 C 3 true\n0 D 9 false");

    let expected = ["A|true|true|false", "B|false|false|false", "C|false|false|true", "D|false|true|false"];
    assert_eq!(members(&segments, &calls, &[people]), expected);
}

#[test]
fn circles_and_unknown_names_are_refused() {
    let calls = [SegmentCall::InSegment { segment: "a".to_owned() }];
    let circles = [
        vec![segment("a", "x").excluding(&["b"]), segment("b", "x").excluding(&["a"])],
        vec![segment("a", "x").excluding(&["b"]), segment("b", "_call_0").calling(&[0])],
        vec![segment("a", "x").at("l", 0).excluding(&["b"]), segment("b", "x").at("l", 1)],
        vec![segment("a", "x").excluding(&["nobody"])],
    ];
    for circle in circles {
        assert_eq!(membership_sql(&circle, &calls).unwrap_err().code, "E0763", "{circle:?}");
    }
}

fn step(stream: &str, condition: Option<&str>) -> EventStep {
    EventStep { stream: stream.to_owned(), condition: condition.map(str::to_owned) }
}

const ORDERS: &str = "_seq _pk _node _order_id _order_at _order_currency _order_net _order_status";

#[test]
fn records_are_counted_by_condition_and_window_and_nobody_has_null() {
    let did = |condition, window_ms| SegmentCall::Did { step: step("orders", condition), window_ms };
    let calls = [did(None, None), did(Some("\"net\" > 5"), None), did(None, Some(10 * 86_400_000))];
    let segments = [
        segment("two", "\"_call_0\" = 2").calling(&[0]),
        segment("dear", "\"_call_1\" > 0").calling(&[1]),
        segment("not lately", "\"_call_2\" = 0").calling(&[2]),
    ];
    let orders = table(
        "shop.orders",
        &format!("{ORDERS}\n1 a 1 a 95 EUR 5 paid\n2 b 2 b 50 EUR 9 paid\n3 c 1 c 40 EUR 1 paid\n4 d - d 99 EUR 9 paid"),
    );
    let people = profiles("_seq profile\n0 A\n0 B\n0 C");

    let found = members(&segments, &calls, &[people, orders, assignments("1=A 2=B 3=C")]);

    assert_eq!(found, ["A|true|false|false", "B|false|true|true", "C|false|false|true"]);
}

#[test]
fn a_sequence_holds_where_each_step_is_later_and_the_last_in_time() {
    let day_ms = 86_400_000;
    let steps = vec![step("views", None), step("orders", Some("\"net\" > 5")), step("views", None)];
    let calls = [SegmentCall::Sequence { steps, window_ms: 10 * day_ms }];
    let segments = [segment("came back", "\"_call_0\"").calling(&[0])];
    let views = table(
        "shop.views",
        "_seq _pk _node _at\n1 a 1 10\n2 b 1 20\n3 c 2 10\n4 d 2 21\n5 e 3 10\n6 f 3 12\n7 g 4 15\n8 h 4 15\n9 i 5 1\n10 j 5 12\n11 k 5 22",
    );
    let orders = table(
        "shop.orders",
        &format!(
            "{ORDERS}\n1 a 1 a 15 EUR 9 paid\n2 b 2 b 15 EUR 9 paid\n3 c 3 c 11 EUR 2 paid\n4 d 4 d 15 EUR 9 paid\n5 e 5 e 20 EUR 9 paid"
        ),
    );
    let people = profiles("_seq profile\n0 A\n0 B\n0 C\n0 D\n0 E");

    let found = members(&segments, &calls, &[people, views, orders, assignments("1=A 2=B 3=C 4=D 5=E")]);

    // A: 10, 15, 20. B: a day too late. C: the order is too small. D: all at once. E: begun late enough the second time.
    assert_eq!(found, ["A|true", "B|false", "C|false", "D|false", "E|true"]);
}

#[test]
fn consent_is_that_of_all_identifiers_and_unknown_without_any() {
    let calls = [SegmentCall::Consent { purpose: "news".to_owned(), channel: None, scope: None }];
    let words = ["granted", "denied", "unknown"].map(|word| segment(word, &format!("\"_call_0\" = '{word}'")).calling(&[0]));
    let crm = table(
        "crm.people",
        "_seq _pk _node _id_email _consent_news _consent_at_news\n1 a 1 ann true 5\n2 b 2 bob true 5\n3 c 3 bea false 5\n4 d 4 eve - -",
    );
    let people = profiles("_seq profile\n0 A\n0 B\n0 E");

    let found = members(&words, &calls, &[people, crm, assignments("1=A 2=B 3=B 4=E")]);

    assert_eq!(found, ["A|true|false|false", "B|false|true|false", "E|false|false|true"]);
}

#[test]
fn a_consent_by_channel_and_scope_is_that_of_the_rows_that_reach_them() {
    let call = |channel: Option<&str>, scope: Option<&str>| SegmentCall::Consent {
        purpose: "news".to_owned(),
        channel: channel.map(str::to_owned),
        scope: scope.map(str::to_owned),
    };
    let calls = [
        call(None, None),
        call(Some("email"), None),
        call(Some("sms"), None),
        call(Some("sms"), Some("de")),
        call(Some("post"), Some("fr")),
    ];
    let granted: Vec<PreparedSegment> = (0..calls.len())
        .map(|place| segment(&format!("by{place}"), &format!("\"_call_{place}\" = 'granted'")).calling(&[place]))
        .collect();
    let crm = table(
        "crm.people",
        "_seq _pk _node _id_email _consent_news-email _consent_at_news-email _consent_news-sms-fr _consent_at_news-sms-fr\n\
         1 a 1 ann true 5 false 6\n2 b 2 bob true 5 true 5\n3 c 3 cy - - true 5\n4 d 4 di - - - -",
    );
    let people = profiles("_seq profile\n0 A\n0 B\n0 C\n0 D");

    let found = members(&granted, &calls, &[people, crm, assignments("1=A 2=B 3=C 4=D")]);

    // Nothing said that reaches a channel or a scope is no grant.
    let expected = [
        "A|false|true|false|false|false",
        "B|true|true|true|false|false",
        "C|true|false|true|false|false",
        "D|false|false|false|false|false",
    ];
    assert_eq!(found, expected);
}

/// Segments of lists, exclusions and memberships by chance; each may only name later ones, so that there is no circle.
fn random_segments() -> impl Strategy<Value = Vec<(u8, Option<u8>, Vec<usize>)>> {
    let one = (0_u8..6, proptest::option::of(0_u8..2), proptest::collection::vec(0_usize..8, 0..2));
    proptest::collection::vec(one, 1..8)
}

/// What the SQL must yield, by the words of the definition.
fn expected_members(segments: &[PreparedSegment], score: i64, least: &[i64]) -> Vec<bool> {
    let mut known: BTreeMap<usize, bool> = BTreeMap::new();
    fn fits(place: usize, segments: &[PreparedSegment], score: i64, least: &[i64], known: &mut BTreeMap<usize, bool>) -> bool {
        let excluded = segments[place].exclude.clone();
        let is_out = excluded.iter().any(|name| {
            let other = segments.iter().position(|segment| segment.name == *name).unwrap();
            is_member(other, segments, score, least, known)
        });
        score >= least[place] && !is_out
    }
    fn is_member(
        place: usize,
        segments: &[PreparedSegment],
        score: i64,
        least: &[i64],
        known: &mut BTreeMap<usize, bool>,
    ) -> bool {
        if let Some(member) = known.get(&place) {
            return *member;
        }
        let own = segments[place].priority.clone();
        let is_taken = (0..segments.len()).any(|other| {
            let earlier = match (&segments[other].priority, &own) {
                (Some((list, at)), Some((own_list, own_at))) => list == own_list && at < own_at,
                _ => false,
            };
            earlier && fits(other, segments, score, least, known)
        });
        let member = !is_taken && fits(place, segments, score, least, known);
        known.insert(place, member);
        member
    }
    (0..segments.len()).map(|place| is_member(place, segments, score, least, &mut known)).collect()
}

/// Sets of segments in one query: what costs is the query, not what is in it.
const SETS: u32 = 10;

/// Queries; `AFFLUENT_CASES=10000` sets is the long form.
fn queries_count() -> u32 {
    let sets = std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse::<u32>().ok()).unwrap_or(100);
    sets.div_ceil(SETS)
}

/// The segments of a set, with the least score of each; names and lists carry the number of the set.
fn set_of(number: usize, random: &[(u8, Option<u8>, Vec<usize>)]) -> (Vec<PreparedSegment>, Vec<i64>) {
    let mut segments = Vec::new();
    for (place, (score, list, excluded)) in random.iter().enumerate() {
        // Whoever stands in a list excludes nobody of a list, and others only those after them.
        let excluded: Vec<String> = excluded
            .iter()
            .filter(|other| **other > place && random.get(**other).is_some_and(|(_, list, _)| list.is_none()))
            .map(|other| format!("s{number}x{other}"))
            .collect();
        let names: Vec<&str> = excluded.iter().map(String::as_str).collect();
        let mut one = segment(&format!("s{number}x{place}"), &format!("\"score\" >= {score}")).excluding(&names);
        if let Some(list) = list {
            one = one.at(&format!("l{number}x{list}"), random.len() - place);
        }
        segments.push(one);
    }
    (segments, random.iter().map(|(score, _, _)| i64::from(*score)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(queries_count()))]

    #[test]
    fn memberships_of_a_list_never_overlap(random in proptest::collection::vec(random_segments(), SETS as usize)) {
        let sets: Vec<(Vec<PreparedSegment>, Vec<i64>)> =
            random.iter().enumerate().map(|(number, random)| set_of(number, random)).collect();
        let all: Vec<PreparedSegment> = sets.iter().flat_map(|(segments, _)| segments.clone()).collect();
        let rows: String = (0..6).map(|score| format!("\n0 P{score} {score}")).collect();
        let people = profiles(&format!("_seq profile score:integer{rows}"));

        let found = members(&all, &[], &[people]);

        for (score, row) in (0_i64..).zip(&found) {
            let cells: Vec<bool> = row.split('|').skip(1).map(|cell| cell == "true").collect();
            let mut cells = cells.as_slice();
            for (number, (segments, least)) in sets.iter().enumerate() {
                let (is_member, rest) = cells.split_at(segments.len());
                cells = rest;
                prop_assert_eq!(is_member, &expected_members(segments, score, least));
                for list in [format!("l{number}x0"), format!("l{number}x1")] {
                    let in_list = |one: &PreparedSegment| one.priority.as_ref().is_some_and(|(name, _)| *name == list);
                    let of_list = segments.iter().zip(is_member).filter(|(one, _)| in_list(one));
                    prop_assert!(of_list.filter(|(_, member)| **member).count() <= 1);
                }
            }
        }
    }
}
