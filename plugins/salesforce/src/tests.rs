//! The source against a played org: what is asked, and what becomes of each kind of answer.

mod writing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use affluent_sdk::changes::ChangesSource;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::testing::{self, LIMITS};
use affluent_sdk::{ErrorKind, FieldType, Page, Payload, PiiClass, Plugin, Position, RowOp, Source, SyncMode};
use serde_json::{Value, json};

use crate::{Api, Config, Salesforce};

type Reader = ChangesSource<Api>;

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, String)>>>;
/// The start of a request, and its answer: status, headers, body.
type Rule = (&'static str, u16, &'static [(&'static str, &'static str)], Value);

const HIGH_WATER: i64 = 1_780_272_000_000_000;

fn config(more: Value) -> Config {
    let mut config = json!({ "domain": "acme", "objects": ["Contact"] });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn field(name: &str, kind: &str, more: Value) -> Value {
    let mut field = json!({ "name": name, "type": kind, "updateable": true });
    field.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    field
}

fn told() -> Rule {
    let read_only = || json!({ "updateable": false });
    let fields = [
        field("Id", "id", read_only()),
        field("IsDeleted", "boolean", read_only()),
        field("SystemModstamp", "datetime", read_only()),
        field("Email", "email", json!({})),
        field("LastName", "string", json!({ "compoundFieldName": "Name" })),
        field("Name", "string", json!({ "extraTypeInfo": "personname", "updateable": false })),
        field("MailingCity", "string", json!({ "compoundFieldName": "MailingAddress" })),
        field("MailingAddress", "address", read_only()),
        field("AssistantPhone", "phone", json!({})),
        field("Description", "textarea", json!({})),
        field("HasOptedOutOfEmail", "boolean", json!({})),
        field("DoNotCall", "boolean", json!({})),
        field("Spent__c", "currency", json!({})),
        field("Score__c", "double", json!({})),
        field("Cdp_Id__c", "string", json!({ "externalId": true })),
    ];
    ("GET /sobjects/Contact/describe", 200, &[], json!({ "fields": fields }))
}

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[Rule]) -> Sent {
    testing::reset();
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let path = request.url.strip_prefix("https://acme.my.salesforce.com/services/data/v66.0").unwrap();
        let what = format!("{} {path}", request.method).replace("%20", " ").replace("%2C", ",").replace("%27", "'");
        let what = what.replace("%3E", ">").replace("%3D", "=").replace("%3A", ":").replace("%28", "(").replace("%29", ")");
        assert_eq!(request.auth.as_deref(), Some("app"));
        let body = request.body.clone().map_or(String::new(), |body| String::from_utf8(body).unwrap());
        seen.borrow_mut().push((what.clone(), body));
        let known = rules.iter().find(|(start, ..)| what.starts_with(start));
        let (_, status, headers, answer) = known.unwrap_or_else(|| panic!("{what}"));
        let mut response = testing::response(*status, answer.as_str().unwrap_or(&answer.to_string()));
        response.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(response)
    });
    sent
}

fn reader(more: Value, state: Option<Vec<u8>>, rules: &[Rule]) -> (Reader, Sent) {
    let all: Vec<_> = std::iter::once(told()).chain(rules.iter().cloned()).collect();
    let sent = serve(&all);
    let spec = testing::spec::<Reader>(&config(json!({})), "contact", SyncMode::Incremental).unwrap();
    sent.borrow_mut().clear();
    (Reader::open(config(more), spec, state).unwrap(), sent)
}

/// The state of a run that read everything up to 2026-06-01.
fn known() -> Option<Vec<u8>> {
    Some(json!({ "version": 1, "high_water_us": HIGH_WATER, "place": null }).to_string().into_bytes())
}

fn rows(page: &Page, op: RowOp) -> Vec<Value> {
    let part = page.parts.iter().find(|part| part.op == op);
    let Some(Payload::Columns(columns)) = part.map(|part| &part.payload) else { return Vec::new() };
    let rows = JsonRows::of(columns).unwrap();
    (0..rows.rows()).map(|row| json!(rows.record(row).unwrap())).collect()
}

fn contact(id: &str, more: Value) -> Value {
    let mut contact = json!({ "attributes": { "type": "Contact" }, "Id": id, "SystemModstamp": "2026-06-02T10:00:00.000+0000" });
    contact.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    contact
}

#[test]
fn fields_have_types_and_what_they_say_about_a_person_and_compound_ones_are_left_to_their_parts() {
    serve(&[told()]);

    let found = Reader::discover(&config(json!({}))).unwrap();

    let fields: BTreeMap<&str, (FieldType, Option<PiiClass>)> =
        found[0].fields.iter().map(|field| (field.name.as_str(), (field.field_type, field.pii))).collect();
    let expected = [
        ("id", FieldType::Text, None),
        ("systemmodstamp", FieldType::Timestamp, None),
        ("email", FieldType::Text, Some(PiiClass::Email)),
        ("lastname", FieldType::Text, Some(PiiClass::Name)),
        ("name", FieldType::Text, Some(PiiClass::Name)),
        ("mailingcity", FieldType::Text, Some(PiiClass::Address)),
        ("assistantphone", FieldType::Text, Some(PiiClass::Phone)),
        ("description", FieldType::Text, Some(PiiClass::FreeText)),
        ("hasoptedoutofemail", FieldType::Boolean, None),
        ("donotcall", FieldType::Boolean, None),
        ("spent__c", FieldType::Decimal, None),
        ("score__c", FieldType::Float, None),
        ("cdp_id__c", FieldType::Text, None),
    ];
    assert_eq!(fields, expected.into_iter().map(|(name, kind, pii)| (name, (kind, pii))).collect());
}

#[test]
fn an_object_that_the_user_does_not_see_is_not_offered_and_the_check_names_it() {
    let both = || config(json!({ "objects": ["Contact", "Lead"] }));
    serve(&[told(), ("GET /sobjects/Lead", 404, &[], json!([{ "errorCode": "NOT_FOUND" }]))]);

    assert_eq!(Reader::discover(&both()).unwrap().len(), 1);
    let notes = Salesforce::check(&both()).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("`Lead`")), "{notes:?}");
    serve(&[("GET /sobjects", 404, &[], json!([]))]);
    let error = Salesforce::check(&both()).unwrap_err();
    assert!(error.kind == ErrorKind::Permission && error.message.contains("`Contact`"), "{error}");
}

#[test]
fn few_records_are_read_by_id_each_page_from_the_last_one() {
    let full: Vec<Value> = (0..2_000).map(|number| contact(&format!("003{number:04}"), json!({}))).collect();
    let (mut reader, sent) = reader(
        json!({}),
        None,
        &[
            ("GET /query?q=SELECT COUNT", 200, &[], json!({ "totalSize": 2_001 })),
            (
                "GET /query?q=SELECT Id, SystemModstamp, email, lastname, name, mailingcity, assistantphone, description, hasoptedoutofemail, donotcall, spent__c, score__c, cdp_id__c FROM Contact WHERE Id > '0000",
                200,
                &[],
                json!({ "records": full }),
            ),
            ("GET /query", 200, &[], json!({ "records": [] })),
        ],
    );

    let page = reader.next(LIMITS).unwrap();

    assert_eq!((rows(&page, RowOp::Upsert).len(), page.position), (2_000, Position::More));
    reader.next(LIMITS).unwrap();
    let sent = sent.borrow();
    assert_eq!(sent[0].0, "GET /query?q=SELECT COUNT() FROM Contact");
    assert!(sent[1].0.ends_with("FROM Contact WHERE Id > '000000000000000' ORDER BY Id LIMIT 2000"), "{}", sent[1].0);
    assert!(sent[2].0.ends_with("WHERE Id > '0031999' ORDER BY Id LIMIT 2000"), "{}", sent[2].0);
}

/// A job that runs at the first question.
fn job(state: &'static str) -> [Rule; 3] {
    [
        ("GET /query?q=SELECT COUNT", 200, &[], json!({ "totalSize": 10_000 })),
        ("POST /jobs/query", 200, &[("date", "Mon, 01 Jun 2026 00:00:00 GMT")], json!({ "id": "750A" })),
        ("GET /jobs/query/750A?", 200, &[], json!({ "state": state })),
    ]
}

#[test]
fn many_records_are_a_job_whose_state_is_kept_before_it_is_asked_after() {
    let csv = "Id,SystemModstamp,LastName,Spent__c\n003A,2026-06-01T00:00:00.000Z,\"Line\nbreak, \"\"quoted\"\"\",1.25E7\n";
    let [count, start, _] = job("");
    let results = |locator| -> Rule { ("GET /jobs/query/750A/results", 200, locator, json!(csv)) };
    let (mut reader, _) = reader(json!({}), None, &[count.clone(), start.clone()]);

    let begun = reader.next(LIMITS).unwrap();

    let state = String::from_utf8(begun.state.clone().unwrap()).unwrap();
    assert!(begun.parts.is_empty() && state.contains("750A"), "{state}");
    let running: Rule = ("GET /jobs/query/750A", 200, &[], json!({ "state": "InProgress" }));
    let (mut later, _) = self::reader(json!({}), begun.state, &[running]);
    let waiting = later.next(LIMITS).unwrap();
    assert_eq!((waiting.position, testing::slept_ms()), (Position::More, 500));
    let complete: Rule = ("GET /jobs/query/750A", 200, &[], json!({ "state": "JobComplete" }));
    let last = results(&[("Sforce-Locator", "null"), ("Sforce-NumberOfRecords", "1")]);
    let (mut last, sent) = self::reader(json!({}), waiting.state, &[last, complete]);
    let page = last.next(LIMITS).unwrap();
    let row = &rows(&page, RowOp::Upsert)[0];
    assert_eq!((&row["lastname"], &row["spent__c"]), (&json!("Line\nbreak, \"quoted\""), &json!(12_500_000)));
    assert_eq!(page.position, Position::End);
    let mark: Value = serde_json::from_slice(&page.state.unwrap()).unwrap();
    assert_eq!(mark["high_water_us"], HIGH_WATER);
    assert_eq!(sent.borrow()[1].0, "GET /jobs/query/750A/results?maxRecords=5000");
}

#[test]
fn the_next_part_of_a_result_is_asked_for_by_its_locator_and_a_part_that_breaks_off_is_none() {
    let at = |after: Value| {
        let place = json!({ "job": { "job": { "id": "750A", "begun_us": 1, "questions": 2 }, "after": after, "skip": 0 } });
        Some(json!({ "version": 1, "high_water_us": null, "place": place }).to_string().into_bytes())
    };
    let part: Rule = ("GET /jobs/query/750A/results", 200, &[("Sforce-NumberOfRecords", "2")], json!("Id\n003A\n"));
    let (mut reader, sent) = reader(json!({}), at(json!("MTA=")), &[part]);

    assert_eq!(reader.next(LIMITS).unwrap_err().code, "csv.broken");
    assert_eq!(sent.borrow()[0].0, "GET /jobs/query/750A/results?maxRecords=5000&locator=MTA=");
}

#[test]
fn a_job_that_came_to_nothing_is_replaced_by_pages() {
    let place = json!({ "job": { "job": { "id": "750A", "begun_us": 7, "questions": 2 }, "after": null, "skip": 0 } });
    let state = json!({ "version": 1, "high_water_us": null, "place": place }).to_string().into_bytes();
    let aborted: Rule = ("GET /jobs/query/750A", 200, &[], json!({ "state": "Aborted" }));
    let gone: Rule = ("GET /jobs/query/750A", 404, &[], json!([]));
    for job in [aborted, gone] {
        let page: Rule = ("GET /query?q=SELECT Id", 200, &[], json!({ "records": [contact("003A", json!({}))] }));
        let (mut reader, _) = reader(json!({}), Some(state.clone()), &[job, page]);

        reader.next(LIMITS).unwrap();
        let page = reader.next(LIMITS).unwrap();

        assert_eq!((rows(&page, RowOp::Upsert).len(), page.position), (1, Position::End));
        assert_eq!(serde_json::from_slice::<Value>(&page.state.unwrap()).unwrap()["high_water_us"], 7);
    }
}

#[test]
fn later_reads_search_five_minutes_back_and_deleted_records_are_gone() {
    let records = [contact("003A", json!({ "IsDeleted": false })), contact("003B", json!({ "IsDeleted": true }))];
    let (mut reader, sent) = reader(json!({}), known(), &[("GET /queryAll", 200, &[], json!({ "records": records }))]);

    let page = reader.next(LIMITS).unwrap();

    assert_eq!((rows(&page, RowOp::Upsert).len(), &rows(&page, RowOp::Delete)[0]["id"]), (1, &json!("003B")));
    let asked = &sent.borrow()[0].0;
    assert!(asked.starts_with("GET /queryAll?q=SELECT Id, SystemModstamp, IsDeleted, email, "), "{asked}");
    assert!(asked.ends_with("WHERE SystemModstamp >= 2026-05-31T23:55:00Z ORDER BY SystemModstamp LIMIT 2000"), "{asked}");
}

#[test]
fn what_was_modified_at_one_instant_is_read_by_id() {
    let place = json!({ "changed": { "from_us": 1_780_000_000_123_000_i64, "after_id": "003B", "since_us": 0, "skip": 0 } });
    let state = json!({ "version": 1, "high_water_us": 0, "place": place }).to_string().into_bytes();
    let (mut reader, sent) = reader(json!({}), Some(state), &[("GET /queryAll", 200, &[], json!({ "records": [] }))]);

    reader.next(LIMITS).unwrap();

    let asked = &sent.borrow()[0].0;
    assert!(asked.contains("WHERE SystemModstamp = 2026-05-28T20:26:40.123Z AND Id > '003B' ORDER BY Id"), "{asked}");
}

#[test]
fn a_share_that_is_used_up_pauses_the_run_after_the_page_that_told_it() {
    let used = &[("Sforce-Limit-Info", "api-usage=40/100; per-app-api-usage=1/9(appName=x)")];
    let records: Vec<Value> = (0..2_000).map(|number| contact(&format!("003{number:04}"), json!({}))).collect();
    for (share, is_paused) in [(40, true), (41, false)] {
        let page: Rule = ("GET /query?q=SELECT Id", 200, used, json!({ "records": records.clone() }));
        let (mut reader, _) = reader(json!({ "bulk_read_from": 0, "api_share": share }), None, &[page]);

        assert_eq!(rows(&reader.next(LIMITS).unwrap(), RowOp::Upsert).len(), 2_000);
        let then = reader.next(LIMITS);

        assert_eq!(then.as_ref().is_err_and(|error| error.code == "salesforce.share"), is_paused, "{share}");
        assert!(!is_paused || then.is_err_and(|error| error.retry_after_ms == Some(900_000)));
    }
}

#[test]
fn a_refusal_makes_the_host_do_the_right_thing() {
    for (status, code, kind, wait_ms) in [
        (403, "REQUEST_LIMIT_EXCEEDED", ErrorKind::RateLimited, Some(900_000)),
        (403, "INSUFFICIENT_ACCESS", ErrorKind::Permission, None),
        (401, "INVALID_SESSION_ID", ErrorKind::Auth, None),
        (400, "INVALID_FIELD", ErrorKind::InvalidData, None),
        (503, "SERVER_UNAVAILABLE", ErrorKind::Transient, None),
        (200, "", ErrorKind::Transient, None),
    ] {
        let answer = json!([{ "errorCode": code, "message": "ada@x.test", "fields": ["Email"] }]);
        let (mut reader, _) = reader(json!({ "bulk_read_from": 0 }), None, &[("GET /query", status, &[], answer)]);

        let error = reader.next(LIMITS).unwrap_err();

        assert_eq!((error.kind, error.retry_after_ms), (kind, wait_ms), "{status} {code}");
        assert!(!error.message.contains('@'), "{error}");
    }
}

#[test]
fn a_record_that_was_merged_is_gone_and_its_id_is_the_survivors_where_the_object_tells_it() {
    let merges = field("MasterRecordId", "reference", json!({ "updateable": false }));
    let (path, status, headers, mut described) = told();
    described["fields"].as_array_mut().unwrap().push(merges);
    let gone = contact("003B", json!({ "IsDeleted": true, "MasterRecordId": "003A", "Email": null }));
    let deleted = contact("003C", json!({ "IsDeleted": true, "MasterRecordId": null, "Email": null }));
    let found = json!({ "done": true, "records": [gone, deleted] });
    let rules = [(path, status, headers, described), ("GET /queryAll", 200, &[][..], found)];
    let sent = serve(&rules);
    let streams = Reader::discover(&config(json!({}))).unwrap();
    let alias = streams.iter().find(|stream| stream.name == "merged_contact").unwrap();
    assert_eq!(alias.parent.as_ref().map(|parent| parent.stream.as_str()), Some("contact"));

    let mut spec = testing::spec::<Reader>(&config(json!({})), "contact", SyncMode::Incremental).unwrap();
    spec.children = vec![alias.clone()];
    let page = Reader::open(config(json!({})), spec, known()).unwrap().next(LIMITS).unwrap();

    let part = |stream: &str, op| page.parts.iter().find(|part| part.stream == stream && part.op == op).map(|part| &part.payload);
    let Some(Payload::Columns(aliases)) = part("merged_contact", RowOp::Upsert) else { panic!("{page:?}") };
    let aliases = JsonRows::of(aliases).unwrap();
    assert_eq!((aliases.rows(), json!(aliases.record(0).unwrap())), (1, json!({ "id": "003B", "record_id": "003A" })));
    assert_eq!(rows(&page, RowOp::Delete), [json!({ "id": "003B" }), json!({ "id": "003C" })]);
    assert!(sent.borrow().iter().any(|(path, _)| path.contains("masterrecordid")), "{sent:?}");
}

#[test]
fn a_user_logs_in_where_the_domain_says_and_an_app_or_a_person_otherwise() {
    for (more, slot) in [
        (json!({}), "app"),
        (json!({ "refresh": true }), "person"),
        (json!({ "user": "etl@acme.test" }), "user"),
        (json!({ "user": "etl@acme.test", "domain": "acme--uat.sandbox" }), "user_of_sandbox"),
    ] {
        testing::reset();
        testing::on_http(move |request| {
            assert_eq!(request.auth.as_deref(), Some(slot));
            Ok(testing::response(200, r#"{"fields": []}"#))
        });

        assert!(Salesforce::check(&config(more)).is_ok(), "{slot}");
    }
}
