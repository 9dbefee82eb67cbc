//! Both ways against a played workspace: what is asked, what becomes of each kind of answer, and that nothing could give a consent.

use std::cell::RefCell;
use std::rc::Rc;

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::{
    Batch, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, Plugin, Report, RowOp, testing,
};
use serde_json::{Value, json};

use crate::{Config, Intercom, Reader, Writer};

type Sent = Rc<RefCell<Vec<(String, Value)>>>;

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://api.eu.intercom.io").unwrap());
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("token"));
        assert!(request.headers.contains(&("intercom-version".to_owned(), "2.15".to_owned())));
        seen.borrow_mut().push((what.clone(), body));
        let (_, status, answer) = rules.iter().find(|(start, _, _)| what.starts_with(start)).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn attributes() -> (&'static str, u16, Value) {
    let own =
        |name: &str, kind: &str, more: bool| json!({ "name": name, "data_type": kind, "custom": more, "api_writable": true });
    let data = [own("orders", "integer", true), own("since", "date", true), own("unsubscribed_from_emails", "boolean", false)];
    ("GET /data_attributes", 200, json!({ "data": data }))
}

fn known(contacts: Value) -> (&'static str, u16, Value) {
    ("POST /contacts/search", 200, json!({ "data": contacts }))
}

fn config(create: bool) -> Config {
    serde_json::from_value(json!({ "region": "eu", "create_attributes": create })).unwrap()
}

const FIELDS: [(&str, FieldType); 4] = [
    ("external_id", FieldType::Text),
    ("email", FieldType::Text),
    ("custom_attributes.orders", FieldType::Integer),
    ("custom_attributes.since", FieldType::Timestamp),
];

fn target(list: Option<&str>, names: &[&str]) -> Target {
    let fields = names.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let mode = if list.is_some() { WriteMode::Mirror } else { WriteMode::Upsert };
    Target { object: "contact".to_owned(), mode, match_fields: vec!["external_id".to_owned()], list, fields, run: String::new() }
}

fn writer(list: Option<&str>) -> Writer {
    Writer::open(config(false), target(list, &FIELDS.map(|(name, _)| name))).unwrap().0
}

fn batch(op: RowOp, rows: &[[Option<&str>; 4]]) -> Batch {
    let mut builder = ColumnsBuilder::new(&FIELDS.map(|(name, kind)| Field::new(name, kind)));
    for row in rows {
        for ((name, _), value) in FIELDS.iter().zip(row) {
            builder.set(name, *value).unwrap();
        }
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

fn report(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

fn ada(id: &str) -> [Option<&str>; 4] {
    [Some(id), Some("a@x.test"), Some("3"), Some("2026-01-31T10:20:30Z")]
}

#[test]
fn who_is_known_is_updated_and_who_is_not_is_created_with_typed_attributes() {
    let sent = serve(&[
        attributes(),
        known(json!([{ "id": "i7", "external_id": "7" }])),
        ("PUT /contacts/i7", 200, json!({ "id": "i7" })),
        ("POST /contacts", 200, json!({ "id": "new" })),
    ]);

    let report = report(writer(None).write(batch(RowOp::Upsert, &[ada("7"), [Some("8"), None, None, None]])).unwrap());

    assert_eq!(report.remote_ids, [(0, "i7".to_owned()), (1, "new".to_owned())]);
    let sent = sent.borrow();
    let query = json!({ "field": "external_id", "operator": "IN", "value": ["7", "8"] });
    assert_eq!(sent[1].1["query"], query);
    let own = json!({ "orders": 3, "since": 1_769_854_830 });
    assert_eq!(sent[2].1, json!({ "external_id": "7", "email": "a@x.test", "custom_attributes": own }));
    let none = json!({ "orders": null, "since": null });
    assert_eq!(sent[3].1, json!({ "external_id": "8", "role": "user", "custom_attributes": none }));
}

#[test]
fn who_is_there_though_the_search_does_not_show_it_yet_is_updated() {
    let conflict = |words: &str| json!({ "type": "error.list", "errors": [{ "code": "conflict", "message": words }] });
    let put = ("PUT /contacts/5ba6", 200, json!({ "id": "5ba6" }));
    let there = conflict("A contact matching those details already exists with id=5ba6.");
    serve(&[attributes(), known(json!([])), put, ("POST /contacts", 409, there)]);
    let done = report(writer(None).write(batch(RowOp::Upsert, &[ada("7")])).unwrap());
    assert_eq!(done.remote_ids, [(0, "5ba6".to_owned())]);

    serve(&[attributes(), known(json!([])), ("POST /contacts", 409, conflict("a@x.test is archived"))]);
    let refused = report(writer(None).write(batch(RowOp::Upsert, &[ada("7")])).unwrap());
    assert_eq!(refused.failed[0].code, "intercom.conflict");
    assert!(!format!("{refused:?}").contains("a@x.test"));
}

#[test]
fn a_contact_that_is_refused_harms_no_other_and_trouble_leaves_the_rest_for_later() {
    let both = json!([{ "id": "i7", "external_id": "7" }, { "id": "i8", "external_id": "8" }]);
    let bad = json!({ "errors": [{ "code": "parameter_invalid", "field": "email", "message": "a@x.test" }] });
    let ok = ("PUT /contacts/i8", 200, json!({ "id": "i8" }));
    serve(&[attributes(), known(both.clone()), ("PUT /contacts/i7", 400, bad), ok.clone()]);
    let rows = [ada("7"), ada("8")];
    let refused = report(writer(None).write(batch(RowOp::Upsert, &rows)).unwrap());
    let failed = &refused.failed[0];
    assert_eq!((failed.row, failed.code.as_str(), failed.field.as_deref()), (0, "intercom.parameter_invalid", Some("email")));
    assert_eq!(refused.accepted, 1);

    serve(&[attributes(), known(both.clone()), ("PUT /contacts/i7", 200, json!({ "id": "i7" })), ("PUT", 500, json!({}))]);
    let halved = report(writer(None).write(batch(RowOp::Upsert, &rows)).unwrap());
    assert_eq!((halved.accepted, halved.retryable[0].row), (1, 1));
    serve(&[attributes(), known(both), ("PUT", 401, json!({}))]);
    assert_eq!(writer(None).write(batch(RowOp::Upsert, &rows)).unwrap_err().kind, ErrorKind::Auth);
}

#[test]
fn a_tag_is_kept_and_given_to_nobody_who_has_it() {
    let tagged = json!({ "id": "i7", "external_id": "7", "tags": { "data": [{ "id": "t1" }] } });
    let sent = serve(&[
        attributes(),
        known(json!([tagged, { "id": "i8", "external_id": "8" }])),
        ("PUT /contacts/i7", 200, tagged),
        ("PUT /contacts/i8", 200, json!({ "id": "i8" })),
        ("GET /tags", 200, json!({ "data": [{ "id": "t0", "name": "other" }, { "id": "t1", "name": "vip" }] })),
        ("POST /contacts/i8/tags", 200, json!({ "id": "t1" })),
        ("DELETE /contacts/i7/tags/t1", 200, json!({ "id": "t1" })),
        ("DELETE /contacts/i8/tags/t1", 404, json!({})),
    ]);
    let mut writer = writer(Some("VIP"));

    writer.write(batch(RowOp::Upsert, &[ada("7"), ada("8")])).unwrap();
    writer.write(batch(RowOp::Delete, &[ada("7"), ada("8")])).unwrap();

    let tags: Vec<String> = sent.borrow().iter().map(|(what, _)| what.clone()).filter(|what| what.contains("/tags")).collect();
    assert_eq!(tags, ["GET /tags", "POST /contacts/i8/tags", "DELETE /contacts/i7/tags/t1", "DELETE /contacts/i8/tags/t1"]);
}

#[test]
fn consent_is_never_written_and_attributes_are_created_only_on_request() {
    let sent = serve(&[attributes(), ("POST /data_attributes", 200, json!({}))]);
    let offered = Writer::discover(&config(false)).unwrap();
    assert!(offered[0].has_field("custom_attributes.orders") && !offered[0].has_field("unsubscribed_from_emails"));
    for name in ["unsubscribed_from_emails", "role", "custom_attributes.new"] {
        assert_eq!(Writer::open(config(false), target(None, &[name])).unwrap_err().kind, ErrorKind::Config, "{name}");
    }
    let error = Writer::open(config(true), target(None, &["unsubscribed_from_emails"])).unwrap_err();
    assert!(error.message.contains("never written"), "{error}");
    assert!(sent.borrow().iter().all(|(what, _)| what.starts_with("GET")));

    Writer::open(config(true), target(None, &["custom_attributes.new"])).unwrap();

    let made = json!({ "name": "new", "model": "contact", "data_type": "string" });
    assert_eq!(sent.borrow().last().unwrap().1, made);
}

#[test]
fn people_are_deleted_however_many_there_are_and_looked_for() {
    let two = json!([{ "id": "i7", "external_id": "7" }, { "id": "i9", "external_id": "7" }]);
    let sent =
        serve(&[attributes(), known(two), ("DELETE /contacts/i7", 200, json!({})), ("DELETE /contacts/i9", 404, json!({}))]);
    let people = batch(RowOp::Delete, &[ada("7")]);
    let mut writer = writer(None);

    assert_eq!(writer.erase(&people).unwrap().accepted, 1);
    assert_eq!(sent.borrow().iter().filter(|(what, _)| what.starts_with("DELETE")).count(), 2);
    assert_eq!(writer.verify_erasure(&people).unwrap().retryable.len(), 1);
}

#[test]
fn contacts_are_read_to_the_last_page_with_who_unsubscribed() {
    let one = |id: &str| json!({ "id": id, "role": "user", "email": "a@x.test", "unsubscribed_from_emails": true, "updated_at": 1_769_854_830 });
    let read = || {
        testing::on_http(move |request| {
            let is_last = request.url.contains("starting_after=c2");
            let next = if is_last { Value::Null } else { json!({ "per_page": 150, "starting_after": "c2" }) };
            let data = if is_last { vec![one("3")] } else { vec![one("1"), one("2")] };
            Ok(testing::response(200, &json!({ "data": data, "pages": { "next": next } }).to_string()))
        });
    };
    read();
    assert_eq!(testing::read_all::<Reader>(|| config(false), "contacts").unwrap().rows("contacts"), 3);
    testing::assert_resumable::<Reader>(|| config(false), "contacts").unwrap();
}

#[test]
fn after_the_list_contacts_that_changed_are_searched_for_from_days_before() {
    let one = |id: &str| json!({ "id": id, "email": "a@x.test", "updated_at": 1_769_854_830 });
    let pages = |next: Option<&str>| json!({ "next": next.map(|next| json!({ "starting_after": next })) });
    let list = ("GET /contacts", 200, json!({ "data": [one("1")], "pages": pages(None) }));
    serve(&[list]);
    testing::set_now_us(1_770_000_000_000_000);
    let first = testing::read_all::<Reader>(|| config(false), "contacts").unwrap();
    let sent = Sent::default();
    let seen = Rc::clone(&sent);
    testing::on_http(move |request| {
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        let next = body["pagination"]["starting_after"].is_null().then_some("c2");
        seen.borrow_mut().push((request.url.clone(), body));
        Ok(testing::response(200, &json!({ "data": [one("1"), one("2")], "pages": pages(next) }).to_string()))
    });

    let changed = testing::read_on::<Reader>(|| config(false), "contacts", first.state()).unwrap();

    assert_eq!((changed.rows("contacts"), changed.rejected()), (4, 0));
    let query = json!({ "field": "updated_at", "operator": ">", "value": 1_770_000_000 - 3 * 86_400 });
    let bodies: Vec<Value> = sent.borrow().iter().map(|(_, body)| body.clone()).collect();
    let next = json!({ "query": query, "pagination": { "per_page": 150, "starting_after": "c2" } });
    assert_eq!(bodies, [json!({ "query": query, "pagination": { "per_page": 150 } }), next]);
}

#[test]
fn the_check_names_the_permission_that_is_missing() {
    serve(&[("GET /contacts", 200, json!({})), ("GET /data", 200, json!({})), ("GET /tags", 403, json!({}))]);
    let notes = Intercom::check(&config(false)).unwrap().notes;
    assert_eq!(notes, ["the credential lacks one of the scopes Read tags"]);
    serve(&[("GET /contacts", 401, json!({}))]);
    assert_eq!(Intercom::check(&config(false)).unwrap_err().kind, ErrorKind::Auth);
}
