//! Rules of assessments, on records that are made for them.

use affluent_model::pii::PiiClass;
use affluent_model::schema::FieldType;
use proptest::prelude::*;

use super::column::Declared;
use super::personal::PersonalKind;
use super::propose::{ProposedSource, propose};
use super::report::{StreamAssessment, TimeRole};
use super::stream::StreamCount;

/// Customers of a shop: records of comma-separated values under a header.
const CUSTOMERS: &str = "customer_id,email,mobile,given_name,surname,dob,zip,plan,accepts_marketing,spent,updated_at,contact
c1,ann@x.de,+4915112345671,Ann,Lee,1971-06-24,01067,basic,true,10.50,2026-01-01T00:00:00Z,info@x.de
c2,bo@x.de,+4915112345672,Robert,Moss,1982-01-02,10115,basic,true,0,2026-01-02T00:00:00Z,ann@y.de
c3,cy@x.de,+4915112345673,Cynthia,Lee,1990-11-30,80331,pro,false,7.25,2026-01-03T00:00:00Z,test@test.com
c4,,n/a,David,Ford,1955-03-08,50667,basic,true,99.99,2026-01-04T00:00:00Z,bo@y.de
c5,ed@x.de,+4915112345675,Edward,Null,1968-08-15,20095,pro,true,12,2026-01-05T00:00:00Z,
c6,ed@x.de,00000000000,Frank,Hall,1977-02-27,04109,basic,false,3,2026-01-06T00:00:00Z,cy@y.de
c7,gus@x.de,+4915112345677,Gustav,Berg,1999-12-01,01069,basic,true,1,2026-01-07T00:00:00Z,dee@y.de
c8,hal@x.de,+4915112345678,Henry,Roth,2001-05-19,60311,pro,true,8,2026-01-08T00:00:00Z,ed@y.de
c9,ida@x.de,+4915112345679,Ida,Voss,1988-09-09,70173,basic,true,5,2026-01-09T00:00:00Z,fay@y.de
c10,jo@x.de,+4915112345670,Joseph,Kern,1963-04-04,90402,pro,true,6,2026-01-10T00:00:00Z,gus@y.de
";

fn assessed(text: &str) -> StreamAssessment {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split(',').map(Declared::text).collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let mut count = StreamCount::new("customers", header, 0);
    count.take(rows.len(), |field, row| rows[row].get(field).copied());
    count.assess(true)
}

fn column(name: &str, values: &[&str]) -> StreamAssessment {
    assessed(&format!("{name}\n{}\n", values.join("\n")))
}

#[test]
fn a_field_is_given_the_kind_that_its_name_or_its_values_speak_for() {
    let found = assessed(CUSTOMERS);
    let cases = [
        ("customer_id", None),
        ("email", Some(PersonalKind::Email)),
        ("mobile", Some(PersonalKind::Phone)),
        ("given_name", Some(PersonalKind::Name)),
        ("surname", Some(PersonalKind::Name)),
        ("dob", Some(PersonalKind::DateOfBirth)),
        ("zip", Some(PersonalKind::Postcode)),
        ("plan", None),
        ("accepts_marketing", None),
        ("spent", None),
        ("updated_at", None),
        ("contact", Some(PersonalKind::Email)),
    ];
    let kinds: Vec<_> =
        found.fields.iter().map(|field| (field.name.as_str(), field.personal.as_ref().map(|one| one.kind))).collect();
    assert_eq!(kinds, cases);
}

#[test]
fn content_alone_tells_personal_data_under_a_name_that_says_nothing() {
    let cases: [(&[&str], Option<PersonalKind>); 9] = [
        (&["ann@x.de", "bo@y.org"], Some(PersonalKind::Email)),
        (&["+49 151 12345671", "(503) 846-1976"], Some(PersonalKind::Phone)),
        (&["10.0.0.1", "2001:db8::1"], Some(PersonalKind::Ip)),
        (&["078-05-1120", "123-45-6789"], Some(PersonalKind::NationalId)),
        (&["Robert Moss", "Ann Lee", "Cynthia Ford"], Some(PersonalKind::Name)),
        (&["5456 Illinois Route 38", "9151 college ct"], Some(PersonalKind::Address)),
        (&["SW1A 1AA", "M1 1AE", "B33 8TH"], Some(PersonalKind::Postcode)),
        (&["12.50", "7", "19.99"], None),
        (&["Rock", "Jazz", "Metal"], None),
    ];
    for (values, kind) in cases {
        let found = column("value", values);
        assert_eq!(found.fields[0].personal.as_ref().map(|one| one.kind), kind, "{values:?}");
    }
}

#[test]
fn a_name_that_its_values_contradict_is_told_with_little_confidence() {
    let right = column("email", &["ann@x.de", "bo@x.de"]);
    let wrong = column("email", &["sent", "bounced"]);

    let confidence = |found: &StreamAssessment| found.fields[0].personal.as_ref().map(|one| one.confidence);
    assert_eq!(confidence(&right), Some(0.99));
    assert_eq!(confidence(&wrong), Some(0.3));
}

#[test]
fn what_the_source_says_of_a_class_stands() {
    let declared = Declared { name: "note".into(), kind: Some(FieldType::Text), pii: Some(PiiClass::Name) };
    let mut count = StreamCount::new("customers", vec![declared], 0);
    count.take(1, |_, _| Some("x"));

    let personal = count.assess(true).fields[0].personal.clone().unwrap();
    assert_eq!((personal.class, personal.confidence), (PiiClass::Name, 1.0));
}

#[test]
fn the_narrowest_type_that_holds_all_values_is_told() {
    let cases: [(&[&str], FieldType); 9] = [
        (&["1", "-20", "0"], FieldType::Integer),
        (&["1", "2.50"], FieldType::Decimal),
        (&["true", "FALSE"], FieldType::Boolean),
        (&["2026-01-31", "2026-02-01"], FieldType::Date),
        (&["2026-01-31T10:00:00Z"], FieldType::Timestamp),
        (&["007", "12"], FieldType::Text),
        (&["1", "null", "2"], FieldType::Integer),
        (&["1", "x"], FieldType::Text),
        (&[], FieldType::Text),
    ];
    for (values, kind) in cases {
        assert_eq!(column("value", values).fields[0].kind, kind, "{values:?}");
    }
}

#[test]
fn junk_is_counted_by_preset_and_does_not_fill_a_field() {
    let found = column("email", &["ann@x.de", "test@test.com", "info@x.de", "N/A", ""]);
    let field = &found.fields[0];

    let junk: Vec<(&str, u64)> = field.junk.iter().map(|junk| (junk.preset, junk.records)).collect();
    assert_eq!(junk, [("junk", 2), ("role_mailboxes", 1)]);
    assert_eq!((field.empty, field.fill_rate), (1, 0.4));
}

#[test]
fn zero_and_no_are_values_of_numbers_and_truths_and_junk_of_texts() {
    let junk = |values: &[&str]| column("value", values).fields[0].junk.iter().map(|junk| junk.records).sum::<u64>();

    assert_eq!(junk(&["0", "1", "2"]), 0);
    assert_eq!(junk(&["yes", "no", "no"]), 0);
    assert_eq!(junk(&["a7", "0", "no"]), 2);
}

#[test]
fn no_value_of_a_personal_field_or_an_identifier_is_told() {
    let found = serde_json::to_string(&assessed(&CUSTOMERS.repeat(10).replace("customer_id,", "id,"))).unwrap();

    let secrets = CUSTOMERS.lines().skip(1).flat_map(|line| line.split(',')).filter(|value| value.len() > 4);
    let open = ["basic", "false", "99.99", "10.50"];
    for value in secrets.filter(|value| !open.contains(value) && !value.starts_with("2026")) {
        assert!(!found.contains(value), "{value} is told");
    }
    assert!(found.contains("basic"), "few values of a field that is not personal are told");
}

#[test]
fn the_only_filled_field_without_repeats_is_the_key() {
    let found = assessed(CUSTOMERS);

    let keys: Vec<&[String]> = found.keys.iter().map(|key| key.fields.as_slice()).collect();
    assert!(keys.contains(&["customer_id".to_owned()].as_slice()), "{keys:?}");
    assert!(!keys.contains(&["email".to_owned()].as_slice()), "an address is missing and one is repeated");
    assert_eq!(found.subject.as_deref(), Some("customer_id"));
}

#[test]
fn a_pair_of_fields_is_the_key_where_none_is_alone() {
    let rows: Vec<String> = (0..60).map(|row| format!("{},{},x", row / 6, row % 6)).collect();
    let found = assessed(&format!("order_id,line,state\n{}\n", rows.join("\n")));

    let keys: Vec<&[String]> = found.keys.iter().map(|key| key.fields.as_slice()).collect();
    assert_eq!(keys, [["order_id".to_owned(), "line".to_owned()].as_slice()]);
}

#[test]
fn identifiers_come_with_the_records_per_value_that_show_a_till() {
    let mut rows: Vec<String> = (0..40).map(|row| format!("d{row}")).collect();
    rows.extend(std::iter::repeat_n("till".to_owned(), 60));
    let found = assessed(&format!("device_id\n{}\n", rows.join("\n")));

    let device = &found.identifiers[0];
    assert_eq!((device.distinct, device.records_per_value_max), (41, 60));
    assert!(device.is_of_person);
}

#[test]
fn times_and_consents_are_found_by_name_and_values() {
    let found = assessed(CUSTOMERS);

    assert_eq!((found.times[0].field.as_str(), found.times[0].role), ("updated_at", TimeRole::Changed));
    assert_eq!(found.consents[0].granted, "accepts_marketing");
    let status = column("status", &["subscribed", "unsubscribed", "subscribed"]);
    let expected = "CASE WHEN status IN ('subscribed') THEN true WHEN status IN ('unsubscribed') THEN false END";
    assert_eq!(status.consents[0].granted, expected);
    let refused = column("opt_out", &["true", "false"]);
    assert_eq!(refused.consents[0].granted, "NOT opt_out");
}

#[test]
fn a_pipeline_is_proposed_with_classes_identifiers_and_consent() {
    let source = ProposedSource::File { plugin: "csv".into(), path: "exports/customers.csv".into(), delimiter: Some(',') };
    let proposal = propose("customers", &source, &[assessed(CUSTOMERS)], &["email".to_owned()]);

    for line in ["subject: customer_id", "email: email", "phone: mobile", "dob: birth_date", "primary_key: [customer_id]"] {
        assert!(proposal.pipeline.contains(line), "{line} is not in\n{}", proposal.pipeline);
    }
    let identity = proposal.identity.unwrap();
    assert!(identity.contains("customer_id:") && !identity.contains("email:"), "{identity}");
}

#[test]
fn space_around_is_counted_in_each_record_of_a_value() {
    let found = column("city", &["Bern", " Bern", "Bern ", "Chur"]);

    let padded = found.fields[0].formats.iter().find(|format| format.name == "space around");
    assert_eq!(padded.map(|format| format.share), Some(0.5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_texts_are_counted_completely_whatever_their_order(mut values in proptest::collection::vec(".{0,12}|[ab \t]{0,3}", 0..12)) {
        let assess = |values: &[String]| {
            let mut count = StreamCount::new("values", vec![Declared::text("value")], 0);
            count.take(values.len(), |_, row| values.get(row).map(String::as_str));
            count.assess(true)
        };
        let found = assess(&values);
        values.reverse();

        let field = &found.fields[0];
        prop_assert!(field.nulls + field.empty <= found.records);
        prop_assert!(field.fill_rate <= 1.0 && field.distinct <= found.records);
        prop_assert_eq!(assess(&values), found);
    }
}
