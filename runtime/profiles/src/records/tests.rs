//! The rules over attributes, one test each. A row is id, email, phone, device, first name, last name, birth date, postcode.

use affluent_model::diagnostic::Location;
use affluent_model::identity::NodeId;
use affluent_model::matching::{AttributeForm, AttributeRule, Comparison, DateOrder, ScoreRule, Subject, Test, Veto};
use affluent_model::plan::{IdentifierRule, IdentityLimits, IdentityRules, MatchRule};

use super::Records;
use crate::resolve::Grouping;

pub(super) const HEADER: [&str; 8] = ["id", "email", "phone", "device", "first", "last", "born", "postcode"];
const KINDS: [&str; 3] = ["email", "phone", "device"];

pub(super) fn rule(name: &str, all: &[&str], compare: &[(&str, Test)]) -> MatchRule {
    let comparison = |(subject, test): &(&str, Test)| Comparison {
        subject: if *subject == "names" { Subject::Names } else { Subject::Attribute((*subject).to_owned()) },
        test: *test,
    };
    MatchRule {
        name: name.to_owned(),
        all: all.iter().map(|kind| (*kind).to_owned()).collect(),
        compare: compare.iter().map(comparison).collect(),
        score: None,
        at: Location::file_start("identity.yaml"),
    }
}

/// `device` is weak, a value may point to ten records, a profile has at most twenty.
pub(super) fn rules(rules: Vec<MatchRule>, veto: Option<Veto>) -> IdentityRules {
    let identifiers = (1..).zip(KINDS).map(|(priority, name)| IdentifierRule {
        name: name.to_owned(),
        priority,
        fanout_max: 10,
        weak: name == "device",
        ..IdentifierRule::default()
    });
    let attributes = [
        ("first", AttributeForm::GivenName),
        ("last", AttributeForm::FamilyName),
        ("born", AttributeForm::Date(DateOrder::YearFirst)),
        ("postcode", AttributeForm::Code),
    ];
    let attribute = |(name, form): (&str, AttributeForm)| AttributeRule { name: name.to_owned(), form };
    IdentityRules {
        identifiers: identifiers.collect(),
        attributes: attributes.map(attribute).to_vec(),
        rules,
        veto,
        limits: IdentityLimits { profile_nodes_max: 20, fanout_max: 10 },
        ..IdentityRules::default()
    }
}

pub(super) fn by_names_and_birth() -> Veto {
    Veto { is_by_names: true, attributes: vec!["born".to_owned()], share_max: 0.34 }
}

pub(super) fn load<'a>(rules: &'a IdentityRules, rows: &[impl AsRef<str>]) -> Records<'a> {
    let mut records = Records::new(rules, &HEADER).unwrap();
    for row in rows {
        let fields: Vec<&str> = row.as_ref().split(',').collect();
        records.push(|column| fields.get(column).copied().unwrap_or_default());
    }
    records
}

/// The groups as ids joined by `+`, in the order of their first record.
pub(super) fn named(records: &Records<'_>, grouping: &Grouping) -> Vec<String> {
    let mut named: Vec<(u32, String)> = Vec::new();
    for (id, group) in records.ids().zip(&grouping.group_of) {
        match named.iter_mut().find(|(known, _)| known == group) {
            Some((_, ids)) => *ids = format!("{ids}+{id}"),
            None => named.push((*group, id.to_owned())),
        }
    }
    named.into_iter().map(|(_, ids)| ids).collect()
}

#[track_caller]
fn check(rules: &IdentityRules, rows: &[&str], expected: &[&str]) {
    let records = load(rules, rows);
    assert_eq!(named(&records, &records.group(&[], &[])), expected);
}

#[test]
fn an_identifier_joins_those_whose_names_are_compatible() {
    let rules = rules(vec![rule("email", &["email"], &[("names", Test::Compatible)])], None);

    check(&rules, &["a,x@x.de,,,Rob,Allen", "b,x@x.de,,,Robert,Allen", "c,x@x.de,,,Anna,Allen"], &["a+b", "c"]);
}

#[test]
fn a_record_without_a_name_follows_its_identifier_unless_a_household_shares_it() {
    let rules = rules(vec![rule("email", &["email"], &[("names", Test::Compatible)])], None);

    check(&rules, &["a,x@x.de,,,Rob,Allen", "b,x@x.de"], &["a+b"]);
    check(&rules, &["a,x@x.de,,,Rob,Allen", "b,x@x.de", "c,x@x.de,,,Anna,Allen"], &["a", "b", "c"]);
}

#[test]
fn a_weak_identifier_joins_where_names_agree() {
    let rules = rules(vec![rule("device", &["device"], &[("names", Test::Agree)])], None);

    check(&rules, &["a,,,d1,Rob,Allen", "b,,,d1,R.,Allen", "c,,,d1"], &["a+b", "c"]);
}

#[test]
fn namesakes_join_by_what_they_share_without_any_identifier() {
    let rules = rules(vec![rule("house", &[], &[("names", Test::Same), ("postcode", Test::Exact)])], None);

    check(
        &rules,
        &["a,,,,Rob,Allen,,98596", "b,,,,Allen,Robert,,98596", "c,,,,Rob,Allen,,11111", "d,,,,,Allen,,98596"],
        &["a+b", "c", "d"],
    );
}

#[test]
fn each_test_passes_what_it_names() {
    let cases = [
        (("first", Test::Nickname), "Rob,Allen", "Robert,Smith", true),
        (("first", Test::Nickname), "Rob,Allen", "Anna,Allen", false),
        (("first", Test::Initial), "R,Allen", "Robert,Smith", true),
        (("names", Test::Swapped), "Rob,Allen", "Allen,Rob", true),
        (("names", Test::Exact), "Rob,Allen", "Allen,Rob", false),
        (("born", Test::Swapped), "A,B,1982-03-04", "C,D,1982-04-03", true),
        (("born", Test::WithinDays(1)), "A,B,1982-02-28", "C,D,1982-03-01", true),
        (("born", Test::WithinDays(1)), "A,B,1982-02-28", "C,D,1982-03-02", false),
        (("born", Test::Compatible), "A,B,1982-02-28", "C,D,1983-02-28", true),
        (("born", Test::Compatible), "A,B,1982-02-28", "C,D,1990-07-01", false),
        (("last", Test::JaroWinkler(0.9)), "A,Gonzalez", "B,Gonzales", true),
        (("last", Test::Damerau(2)), "A,Gonzalez", "B,Ganzales", true),
        (("last", Test::Damerau(1)), "A,Gonzalez", "B,Ganzales", false),
        (("postcode", Test::Exact), "A,B,,", "C,D,,", false),
    ];
    for (test, one, other, expected) in cases {
        let rules = rules(vec![rule("test", &["email"], &[test])], None);
        let records = load(&rules, &[format!("a,x@x.de,,,{one}"), format!("b,x@x.de,,,{other}")]);
        assert_eq!(records.group(&[], &[]).groups == 1, expected, "{test:?} {one} {other}");
    }
}

#[test]
fn contradicting_names_keep_two_sides_apart_whatever_they_share() {
    let exact = || vec![rule("email", &["email"], &[]), rule("phone", &["phone"], &[])];
    let rows = ["a,x@x.de,1,,Rob,Allen", "b,x@x.de,+33612345678", "c,,+33612345678,,Anna,Smith"];

    check(&rules(exact(), None), &rows, &["a+b+c"]);
    check(&rules(exact(), Some(by_names_and_birth())), &rows, &["a+b", "c"]);
}

#[test]
fn a_person_decides_over_every_rule() {
    let rules = rules(vec![rule("email", &["email"], &[])], Some(by_names_and_birth()));
    let rows = ["a,x@x.de,,,Rob,Allen", "b,x@x.de,,,Rob,Allen", "c,x@x.de,,,Rob,Allen", "d,,,,Anna,Smith"];
    let records = load(&rules, &rows);
    let pair = |a, b| (NodeId(a), NodeId(b));

    let grouping = records.group(&[pair(0, 3)], &[pair(1, 2)]);

    assert_eq!(named(&records, &grouping), ["a+d", "b", "c"], "a and d contradict: the veto keeps the others away");
    assert_eq!(named(&records, &records.group(&[], &[pair(1, 2)])).len(), 3, "a+b or a+c, c or b, d");
    assert_eq!(grouping.joined.last(), Some(&("must link".to_owned(), 1)));
}

#[test]
fn one_device_on_very_many_records_joins_nobody() {
    let rules = rules(vec![rule("device", &["device"], &[("names", Test::Compatible)])], None);
    let rows: Vec<String> = (0..5_000).map(|at| format!("r{at},,,kiosk")).collect();

    let grouping = load(&rules, &rows).group(&[], &[]);

    assert_eq!((grouping.groups, grouping.blocked.len()), (5_000, 1));
}

#[test]
fn what_the_file_lacks_is_told_by_name() {
    let mut rules = rules(Vec::new(), None);
    rules.records.columns.insert("email".to_owned(), "mail".to_owned());

    let missing = Records::new(&rules, &["id", "phone", "device", "first", "last"]).err().unwrap();

    let columns: Vec<(&str, &str)> = missing.iter().map(|one| (one.name.as_str(), one.column.as_str())).collect();
    assert_eq!(columns, [("email", "mail"), ("born", "born"), ("postcode", "postcode")]);
}

#[test]
fn evidence_is_learnt_without_labels() {
    let scored =
        MatchRule { score: Some(ScoreRule { attributes: Vec::new(), probability_min: 0.9 }), ..rule("evidence", &[], &[]) };
    let rules = rules(vec![scored], None);
    let mut state = 7_u64;
    // A generator by Lehmer, so that the persons are always the same.
    let mut below = |bound: u64| {
        state = state * 48_271 % 2_147_483_647;
        state / 16 % bound
    };
    let syllables = ["ka", "ro", "mi", "lu", "te", "bo", "shi", "wen", "dra", "gol", "pe", "fy"];
    let mut rows = Vec::new();
    for person in 0..150 {
        let mut word = |count: u64| (0..count).map(|_| syllables[below(12) as usize]).collect::<String>();
        let (given, family) = (word(2), word(3));
        let (born, postcode) = (format!("19{}-{:02}-{:02}", 40 + below(60), 1 + below(12), 1 + below(28)), 10_000 + below(90));
        rows.push(format!("{person}a,,,,{given},{family},{born},{postcode}"));
        rows.push(match person % 3 {
            0 => format!("{person}b,,,,{given},{family},{born},"),
            1 => format!("{person}b,,,,{given},x{family},{born},{postcode}"),
            _ => format!("{person}b,,,,{family},{given},,{postcode}"),
        });
    }
    let records = load(&rules, &rows);

    let grouping = records.group(&[], &[]);

    let truth: Vec<(u32, u32)> = (0..300_u32).map(|row| row / 2).zip(grouping.group_of.iter().copied()).collect();
    let scores = crate::measure::score(&truth);
    assert!(scores.precision > 0.99 && scores.recall > 0.9, "{scores:?}");
    let expected = grouping.models[0].matches_expected;
    assert!((100.0..225.0).contains(&expected), "150 pairs match, {expected} were expected");
}
