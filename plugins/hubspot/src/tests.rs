//! The source against a played account: what is asked, and what becomes of each kind of answer.

mod writing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use affluent_sdk::testing::{self, LIMITS, Record};
use affluent_sdk::{ErrorKind, FieldType, Page, Payload, PiiClass, Plugin, RowOp, Source, StreamSpec, SyncMode};
use serde_json::{Value, json};

use crate::{Api, Config, HubSpot};

type Reader = affluent_sdk::changes::ChangesSource<Api>;

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

fn config(more: Value) -> Config {
    serde_json::from_value(more).unwrap()
}

fn property(name: &str, kind: &str, more: Value) -> Value {
    let mut property = json!({ "name": name, "type": kind, "fieldType": "text" });
    property.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    property
}

fn properties() -> Value {
    json!({ "results": [
        property("email", "string", json!({})),
        property("member_no", "string", json!({ "hasUniqueValue": true })),
        property("computed", "string", json!({ "modificationMetadata": { "readOnlyValue": true } })),
        property("lastmodifieddate", "datetime", json!({})),
        property("hs_lastmodifieddate", "datetime", json!({})),
        property("hs_object_id", "number", json!({})),
        property("hs_merged_object_ids", "string", json!({ "hidden": true })),
        property("hs_email_optout", "bool", json!({})),
        property("hs_email_optout_77", "enumeration", json!({})),
        property("hs_analytics_source", "enumeration", json!({})),
        property("amount", "number", json!({ "showCurrencySymbol": true })),
        property("score", "number", json!({})),
        property("closed_on", "date", json!({})),
        property("Odd-Name", "string", json!({})),
        property("secret_note", "string", json!({ "hidden": true })),
        property("story", "string", json!({ "fieldType": "textarea" })),
        property("diagnosis", "string", json!({ "dataSensitivity": "highly_sensitive" })),
    ] })
}

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://api.hubapi.com/crm").unwrap());
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("token"));
        seen.borrow_mut().push((what.clone(), body));
        let known = rules.iter().find(|(start, _, _)| what.starts_with(start));
        let (_, status, answer) = known.unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn told() -> (&'static str, u16, Value) {
    ("GET /properties", 200, properties())
}

fn spec(stream: &str) -> StreamSpec {
    testing::spec::<Reader>(&config(json!({})), stream, SyncMode::Incremental).unwrap()
}

/// The state of a run whose high-water mark is 2026-06-01.
fn known() -> Option<Vec<u8>> {
    Some(json!({ "version": 1, "high_water_us": 1_780_272_000_000_000_i64, "place": null }).to_string().into_bytes())
}

/// The first page of a stream; the requests for it alone.
fn page(stream: &str, state: Option<Vec<u8>>, rules: &[(&'static str, u16, Value)]) -> (Page, Vec<(String, Value)>) {
    let all: Vec<_> = std::iter::once(told()).chain(rules.iter().cloned()).collect();
    let sent = serve(&all);
    let spec = spec(stream);
    sent.borrow_mut().clear();
    let page = Reader::open(config(json!({})), spec, state).unwrap().next(LIMITS).unwrap();
    let requests = sent.borrow().clone();
    (page, requests)
}

fn rows(page: &Page, stream: &str, op: RowOp) -> Vec<Record> {
    let part = page.parts.iter().find(|part| part.stream == stream && part.op == op);
    let Some(Payload::Columns(columns)) = part.map(|part| &part.payload) else { return Vec::new() };
    let rows = affluent_sdk::json_columns::JsonRows::of(columns).unwrap();
    (0..rows.rows()).map(|row| rows.record(row).unwrap().into_iter().filter(|(_, value)| !value.is_null()).collect()).collect()
}

fn contact(id: &str, more: Value) -> Value {
    let mut properties =
        json!({ "lastmodifieddate": "2026-06-02T10:00:00.500Z", "hs_lastmodifieddate": "2026-06-02T10:00:00.500Z" });
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "id": id, "properties": properties })
}

#[test]
fn properties_become_fields_with_types_and_what_they_say_about_a_person() {
    serve(&[told()]);
    let found = Reader::discover(&config(json!({ "properties": ["secret_note"] }))).unwrap();

    let names: Vec<&str> = found.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["contacts", "merged_contacts", "companies", "deals", "deal_contacts"]);
    let fields: BTreeMap<&str, (FieldType, Option<PiiClass>)> =
        found[0].fields.iter().map(|field| (field.name.as_str(), (field.field_type, field.pii))).collect();
    let expected = [
        ("id", FieldType::Text, None),
        ("email", FieldType::Text, Some(PiiClass::Email)),
        ("member_no", FieldType::Text, None),
        ("computed", FieldType::Text, None),
        ("lastmodifieddate", FieldType::Timestamp, None),
        ("hs_lastmodifieddate", FieldType::Timestamp, None),
        ("hs_merged_object_ids", FieldType::Text, None),
        ("hs_email_optout", FieldType::Boolean, None),
        ("hs_email_optout_77", FieldType::Text, None),
        ("amount", FieldType::Decimal, None),
        ("score", FieldType::Float, None),
        ("closed_on", FieldType::Date, None),
        ("secret_note", FieldType::Text, None),
        ("story", FieldType::Text, Some(PiiClass::FreeText)),
        ("diagnosis", FieldType::Text, Some(PiiClass::FreeText)),
    ];
    assert_eq!(fields, expected.into_iter().map(|(name, kind, pii)| (name, (kind, pii))).collect());
}

#[test]
fn a_scope_that_is_missing_takes_its_stream_away_and_the_check_names_it() {
    let forbidden = |path| (path, 403, json!({ "category": "MISSING_SCOPES" }));
    serve(&[
        forbidden("GET /properties/2026-09/deals"),
        forbidden("GET /objects/2026-09/deals"),
        told(),
        ("GET /objects", 200, json!({})),
    ]);

    let found = Reader::discover(&config(json!({}))).unwrap();
    let report = HubSpot::check(&config(json!({}))).unwrap();

    assert!(found.iter().all(|stream| !stream.name.starts_with("deal")));
    assert!(report.notes.iter().any(|note| note.contains("crm.objects.deals.read")), "{:?}", report.notes);
    serve(&[forbidden("GET /")]);
    let error = HubSpot::check(&config(json!({}))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permission);
    assert!(error.message.contains("crm.objects.contacts.read"));
    assert_eq!(Reader::discover(&config(json!({}))).unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn the_first_read_is_a_plain_list_of_the_properties_that_are_fields() {
    let listed = json!({ "results": [contact("7", json!({ "email": "ada@x.test", "amount": "12.50", "score": "1E3", "closed_on": "",
        "hs_email_optout": "true", "hs_merged_object_ids": "3;4" }))], "paging": { "next": { "after": "7" } } });

    let (page, requests) = page("contacts", None, &[("GET /objects", 200, listed)]);

    let names = "email%2Cmember_no%2Ccomputed%2Clastmodifieddate%2Chs_lastmodifieddate%2Chs_merged_object_ids%2Chs_email_optout%2Chs_email_optout_77%2C\
        amount%2Cscore%2Cclosed_on%2Cstory%2Cdiagnosis";
    assert_eq!(requests[0].0, format!("GET /objects/2026-09/contacts?limit=100&properties={names}"));
    let row = &rows(&page, "contacts", RowOp::Upsert)[0];
    assert_eq!((&row["id"], &row["amount"], &row["score"]), (&json!("7"), &json!(12.5), &json!(1000.0)));
    assert_eq!((&row["hs_email_optout"], row.get("closed_on")), (&json!(true), None));
    let merged: Vec<Value> = rows(&page, "merged_contacts", RowOp::Upsert).into_iter().map(|row| json!(row)).collect();
    assert_eq!(merged, [json!({ "id": "3", "record_id": "7" }), json!({ "id": "4", "record_id": "7" })]);
    assert!(rows(&page, "contacts", RowOp::Delete).is_empty());
}

#[test]
fn more_properties_than_a_url_holds_are_read_in_a_batch() {
    let many: Vec<Value> =
        (0..400).map(|number| property(&format!("a_property_of_our_own_{number}"), "string", json!({}))).collect();
    let all = [many, vec![property("lastmodifieddate", "datetime", json!({}))]].concat();
    let many = json!({ "results": all });
    let whole = json!({ "results": [contact("7", json!({ "a_property_of_our_own_399": "x" }))] });
    let sent = serve(&[
        ("GET /properties", 200, many),
        ("GET /objects", 200, json!({ "results": [{ "id": "7" }] })),
        ("POST /objects/2026-09/contacts/batch/read", 200, whole),
    ]);

    let read = testing::read_all::<Reader>(|| config(json!({})), "contacts").unwrap();

    assert_eq!(read.rows("contacts"), 1);
    let sent = sent.borrow();
    let (what, body) = sent.last().unwrap();
    assert_eq!((what.as_str(), &body["inputs"]), ("POST /objects/2026-09/contacts/batch/read", &json!([{ "id": "7" }])));
    assert_eq!(body["properties"].as_array().unwrap().len(), 401);
}

#[test]
fn later_reads_search_for_what_was_modified_a_minute_earlier_in_its_order() {
    let (page, requests) = page("companies", known(), &[("POST /objects", 200, json!({ "results": [contact("7", json!({}))] }))]);

    let (what, body) = &requests[0];
    assert_eq!(what, "POST /objects/2026-09/companies/search");
    assert_eq!(
        body["filterGroups"],
        json!([{ "filters": [{ "propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": "1780271940000" }] }])
    );
    assert_eq!(body["sorts"], json!([{ "propertyName": "hs_lastmodifieddate", "direction": "ASCENDING" }]));
    assert_eq!((&body["limit"], body.get("after")), (&json!(200), None));
    assert_eq!(rows(&page, "companies", RowOp::Upsert).len(), 1);
}

#[test]
fn what_was_modified_at_one_instant_is_read_by_id() {
    let place = json!({ "changed": { "from_us": 1_780_000_000_123_000_i64, "after_id": "41", "since_us": 0, "skip": 0 } });
    let state = json!({ "version": 1, "high_water_us": 0, "place": place }).to_string().into_bytes();

    let (_, requests) = page("contacts", Some(state), &[("POST /objects", 200, json!({ "results": [] }))]);

    let filters = json!([{ "propertyName": "lastmodifieddate", "operator": "EQ", "value": "1780000000123" },
        { "propertyName": "hs_object_id", "operator": "GT", "value": "41" }]);
    assert_eq!(requests[0].1["filterGroups"], json!([{ "filters": filters }]));
    assert_eq!(requests[0].1["sorts"][0]["propertyName"], "hs_object_id");
}

#[test]
fn merged_and_newly_archived_records_are_gone() {
    let changed = json!({ "results": [contact("7", json!({ "hs_merged_object_ids": "3;4" }))] });
    let archived = json!({ "results": [{ "id": "8", "archivedAt": "2026-06-03T00:00:00Z" },
        { "id": "9", "archivedAt": "2026-01-01T00:00:00Z" }, { "id": "10" }] });
    let sent = serve(&[told(), ("POST /objects", 200, changed), ("GET /objects", 200, archived)]);

    let read = testing::read_on::<Reader>(|| config(json!({})), "contacts", known()).unwrap();

    let gone: Vec<Value> =
        read.pages.iter().flat_map(|page| rows(page, "contacts", RowOp::Delete)).map(|row| row["id"].clone()).collect();
    assert_eq!(gone, ["3", "4", "8", "10"]);
    let last = sent.borrow().last().unwrap().0.clone();
    assert_eq!(last, "GET /objects/2026-09/contacts?limit=100&archived=true&properties=hs_object_id");
}

#[test]
fn deals_come_with_their_contacts() {
    let associated = json!({ "results": [{ "from": { "id": "1" }, "to": [{ "toObjectId": 6 }, { "toObjectId": "5" }] }] });
    let rules = [
        ("GET /objects", 200, json!({ "results": [contact("1", json!({})), contact("2", json!({}))] })),
        ("POST /associations", 207, associated),
    ];

    let (page, requests) = page("deals", None, &rules);

    assert_eq!(requests[1].0, "POST /associations/2026-09/deals/contacts/batch/read");
    assert_eq!(requests[1].1, json!({ "inputs": [{ "id": "1" }, { "id": "2" }] }));
    let contacts: Vec<Option<Value>> =
        rows(&page, "deals", RowOp::Upsert).iter().map(|deal| deal.get("contact_id").cloned()).collect();
    assert_eq!(contacts, [Some(json!("6")), None]);
    let pairs: Vec<Value> = rows(&page, "deal_contacts", RowOp::Upsert).into_iter().map(|row| json!(row)).collect();
    assert_eq!(pairs, ["6", "5"].map(|contact| json!({ "deal_id": "1", "contact_id": contact })));
}

#[test]
fn a_refusal_makes_the_host_do_the_right_thing() {
    for (status, body, kind, wait_ms) in [
        (429, json!({ "policyName": "DAILY" }), ErrorKind::RateLimited, Some(3_600_000)),
        (429, json!({ "policyName": "SECONDLY" }), ErrorKind::RateLimited, Some(1_000)),
        (401, json!({}), ErrorKind::Auth, None),
        (403, json!({}), ErrorKind::Permission, None),
        (503, json!({}), ErrorKind::Transient, None),
        (200, json!({}), ErrorKind::Transient, None),
    ] {
        serve(&[told()]);
        let spec = spec("contacts");
        serve(&[("GET /objects", status, body)]);

        let error = Reader::open(config(json!({})), spec, None).unwrap().next(LIMITS).unwrap_err();

        assert_eq!((error.kind, error.retry_after_ms), (kind, wait_ms), "{status}");
    }
}
