//! Both ways against a played account: what is asked, what becomes of each kind of answer, and that no request could subscribe
//! anybody or delete a contact that is not erased.

use std::cell::RefCell;
use std::rc::Rc;

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::testing;
use affluent_sdk::{
    Batch, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, PiiClass, Plugin, Report, RowOp,
};
use serde_json::{Value, json};

use crate::{ActiveCampaign, Config, Reader, Writer};

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

fn config(create_fields: bool) -> Config {
    serde_json::from_value(json!({ "account": "acme", "create_fields": create_fields })).unwrap()
}

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    testing::on_hmac(|_, data| Ok(data.iter().rev().cycle().take(32).copied().collect()));
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://acme.api-us1.com/api/3").unwrap());
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("key"));
        assert!(!body.to_string().contains("subscribe"), "{body}");
        seen.borrow_mut().push((what.clone(), body));
        let (_, status, answer) = rules.iter().find(|(start, _, _)| what.starts_with(start)).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn told() -> (&'static str, u16, Value) {
    let field = |id: &str, perstag: &str, kind: &str| json!({ "id": id, "perstag": perstag, "type": kind, "title": "x" });
    let fields = [field("7", "ORDERS_COUNT", "text"), field("8", "LAST_ORDER", "date"), field("9", "STORY", "textarea")];
    ("GET /fields", 200, json!({ "fields": fields }))
}

fn queued() -> (&'static str, u16, Value) {
    ("POST /import/bulk_import", 200, json!({ "Success": 1, "batchId": "b1" }))
}

fn stands(status: Value, refused: &[&str]) -> (&'static str, u16, Value) {
    ("GET /import/info?batchId=b1", 200, json!({ "status": status, "success": ["1"], "failure": refused }))
}

/// A field that only an import takes: rows with it go by one, however few they are.
const JOB_ALONE: &str = "customer_acct_name";

fn target(mode: WriteMode, fields: &[Field], list: Option<&str>) -> Target {
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let match_fields = vec!["email".to_owned()];
    Target { object: "contacts".to_owned(), mode, match_fields, list, fields: fields.to_vec(), run: String::new() }
}

fn texts(names: &[&str]) -> Vec<Field> {
    names.iter().map(|name| Field::new(*name, FieldType::Text)).collect()
}

fn batch(op: RowOp, fields: &[Field], rows: &[&[Option<&str>]]) -> Batch {
    let mut builder = ColumnsBuilder::new(fields);
    for row in rows {
        for (field, value) in fields.iter().zip(*row) {
            builder.set(&field.name, *value).unwrap();
        }
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

fn writer(mode: WriteMode, fields: &[Field], list: Option<&str>) -> Writer {
    Writer::open(config(false), target(mode, fields, list)).unwrap().0
}

fn token(outcome: Outcome) -> String {
    let Outcome::Pending((token, _)) = outcome else { panic!("pending") };
    token
}

fn done(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

#[test]
fn the_object_has_the_accounts_custom_fields_and_is_open_only_on_request() {
    serve(&[told()]);
    for is_open in [false, true] {
        let target = Writer::discover(&config(is_open)).unwrap().remove(0);

        assert_eq!((target.name.as_str(), target.fields.len(), target.any_fields), ("contacts", 8, is_open));
        let field = |name: &str| target.fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!((field("last_order").field_type, field("story").pii), (FieldType::Date, Some(PiiClass::FreeText)));
    }
    assert!(Writer::open(config(false), target(WriteMode::Upsert, &texts(&["email", "ltv"]), None)).is_err());
    assert!(Writer::open(config(false), target(WriteMode::Mirror, &texts(&["email"]), None)).is_err());
}

#[test]
fn fields_are_read_page_by_page_and_created_with_their_type() {
    let full: Vec<Value> =
        (0..100).map(|id| json!({ "id": id.to_string(), "perstag": format!("F{id}"), "type": "text" })).collect();
    let second = json!({ "fields": [{ "id": "100", "perstag": "SINCE", "type": "date" }] });
    let sent = serve(&[
        ("GET /fields?limit=100&offset=100", 200, second),
        ("GET /fields", 200, json!({ "fields": full })),
        ("POST /fields", 201, json!({ "fields": [] })),
    ]);
    assert_eq!(Writer::discover(&config(false)).unwrap()[0].fields.len(), 5 + 101);

    let fields = [Field::new("email", FieldType::Text), Field::new("ends_on", FieldType::Date)];
    let error = Writer::open(config(true), target(WriteMode::Upsert, &fields, None)).unwrap_err();

    assert_eq!(error.code, "activecampaign.field");
    let made = sent.borrow().iter().find(|(what, _)| what == "POST /fields").unwrap().1.clone();
    assert_eq!(made, json!({ "field": { "title": "ends_on", "perstag": "ENDS_ON", "type": "date", "visible": true } }));
}

#[test]
fn a_row_becomes_a_contact_with_the_tag_and_no_subscription() {
    let tags = json!({ "tags": [
        { "id": "3", "tag": "VIP & co", "tagType": "template" }, { "id": "4", "tag": "VIP & co", "tagType": "contact" } ] });
    let sent = serve(&[told(), queued(), ("GET /tags?filters%5Bsearch%5D%5Beq%5D=VIP%20%26%20co", 200, tags)]);
    let fields = [
        Field::new("email", FieldType::Text),
        Field::new("first_name", FieldType::Text),
        Field::new("orders_count", FieldType::Integer),
        Field::new("last_order", FieldType::Date),
        Field::new(JOB_ALONE, FieldType::Text),
    ];
    let rows: [&[Option<&str>]; 3] = [
        &[Some("a@x.test"), Some("Ada"), Some("3"), Some("2026-01-31"), Some("Acme")],
        &[Some("b@x.test"), None, None, None, None],
        &[None, Some("Nobody"), None, None, None],
    ];

    token(writer(WriteMode::Mirror, &fields, Some("VIP & co")).write(batch(RowOp::Upsert, &fields, &rows)).unwrap());

    let first = json!({ "email": "a@x.test", "first_name": "Ada", "customer_acct_name": "Acme", "tags": ["VIP & co"],
        "fields": [{ "id": 8, "value": "2026-01-31" }, { "id": 7, "value": "3" }] });
    let second = json!({ "email": "b@x.test", "first_name": "", "customer_acct_name": "", "tags": ["VIP & co"],
        "fields": [{ "id": 8, "value": "" }, { "id": 7, "value": "" }] });
    assert_eq!(sent.borrow().last().unwrap().1, json!({ "contacts": [first, second] }));
}

#[test]
fn who_an_import_refused_is_found_by_address() {
    let fields = texts(&["email", JOB_ALONE]);
    let rows: [&[Option<&str>]; 3] = [&[Some("a@x.test"), None], &[Some("b@x.test"), None], &[None, None]];
    let polled = |answer| {
        serve(&[told(), queued(), answer]);
        let mut writer = writer(WriteMode::Upsert, &fields, None);
        let token = token(writer.write(batch(RowOp::Upsert, &fields, &rows)).unwrap());
        assert!(!token.contains('@'));
        writer.poll(&token)
    };

    for running in [json!(false), json!("waiting"), json!("claimed"), json!("active")] {
        assert!(matches!(polled(stands(running, &[])), Ok(Outcome::Pending(_))));
    }
    let report = done(polled(stands(json!("completed"), &["B@x.test"])).unwrap());
    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(failed, [(2, "activecampaign.no_email"), (1, "activecampaign.import.refused")]);
    assert_eq!(report.accepted, 1);
    assert_eq!(polled(stands(json!("completed"), &["c@x.test"])).unwrap_err().kind, ErrorKind::InvalidData);
    for lost in ["failed", "interrupted"] {
        assert_eq!(done(polled(stands(json!(lost), &[])).unwrap()).retryable.len(), 2);
    }
}

#[test]
fn a_few_rows_go_one_by_one_and_each_tells_what_became_of_it() {
    let contact = |id: &str| json!({ "contact": { "id": id }, "fieldValues": [] });
    let refused = json!({ "errors": [{ "title": "Email address is invalid." }] });
    let sent = serve(&[
        told(),
        ("GET /tags", 200, json!({ "tags": [{ "id": "4", "tag": "VIP", "tagType": "contact" }] })),
        ("POST /contact/sync", 201, contact("17")),
        ("POST /contactTags", 201, json!({})),
    ]);
    let fields = [
        Field::new("email", FieldType::Text),
        Field::new("first_name", FieldType::Text),
        Field::new("orders_count", FieldType::Integer),
    ];
    let rows: [&[Option<&str>]; 3] =
        [&[Some("A@x.test"), Some("Ada"), Some("2")], &[None, None, None], &[Some("a@x.test"), None, Some("3")]];

    let report = done(writer(WriteMode::Mirror, &fields, Some("VIP")).write(batch(RowOp::Upsert, &fields, &rows)).unwrap());

    assert_eq!((report.accepted, report.failed.len()), (2, 1));
    assert_eq!(report.remote_ids, [(2, "17".to_owned()), (0, "17".to_owned())]);
    let written: Vec<(String, Value)> = sent.borrow().iter().filter(|(what, _)| what.starts_with("POST")).cloned().collect();
    let synced = json!({ "contact": { "email": "a@x.test", "firstName": "", "fieldValues": [{ "field": "7", "value": "3" }] } });
    let tagged = json!({ "contactTag": { "contact": 17, "tag": 4 } });
    assert_eq!(written, [("POST /contact/sync".to_owned(), synced), ("POST /contactTags".to_owned(), tagged)]);

    serve(&[told(), ("POST /contact/sync", 422, refused)]);
    let rows: [&[Option<&str>]; 2] = [&[Some("b@x.test"), None, None], &[Some("c@x.test"), None, None]];
    let report = done(writer(WriteMode::Upsert, &fields, None).write(batch(RowOp::Upsert, &fields, &rows)).unwrap());
    assert_eq!((report.accepted, report.failed.len(), report.retryable.len()), (0, 2, 0));
}

#[test]
fn ten_rows_are_an_import() {
    let fields = texts(&["email"]);
    let emails: Vec<String> = (0..10).map(|place| format!("p{place}@x.test")).collect();
    let rows: Vec<[Option<&str>; 1]> = emails.iter().map(|email| [Some(email.as_str())]).collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(|row| &row[..]).collect();
    for (count, path) in [(9, "POST /contact/sync"), (10, "POST /import/bulk_import")] {
        let sent = serve(&[told(), queued(), ("POST /contact/sync", 201, json!({ "contact": { "id": "1" } }))]);

        writer(WriteMode::Upsert, &fields, None).write(batch(RowOp::Upsert, &fields, &rows[..count])).unwrap();

        let mut posts: Vec<String> =
            sent.borrow().iter().map(|(what, _)| what.clone()).filter(|what| what.starts_with("POST")).collect();
        posts.dedup();
        assert_eq!(posts, [path]);
    }
}

#[test]
fn who_leaves_loses_the_tag_alone() {
    let contact = json!({ "contacts": [{ "id": "17", "email": "a@x.test" }, { "id": "18", "email": "aa@x.test" }] });
    let tags = json!({ "contactTags": [{ "id": "5", "tag": "3", "contact": "17" }, { "id": "6", "tag": "4", "contact": "17" }] });
    let sent = serve(&[
        told(),
        ("GET /tags", 200, json!({ "tags": [{ "id": "4", "tag": "VIP", "tagType": "contact" }] })),
        ("GET /contacts/17/contactTags", 200, tags),
        ("GET /contacts?email=a%40x.test", 200, contact),
        ("GET /contacts?email=b%40x.test", 200, json!({ "contacts": [] })),
        ("DELETE /contactTags/6", 200, json!({})),
    ]);
    let fields = texts(&["email"]);
    let rows: [&[Option<&str>]; 2] = [&[Some("a@x.test")], &[Some("b@x.test")]];

    let left = writer(WriteMode::Mirror, &fields, Some("VIP")).write(batch(RowOp::Delete, &fields, &rows)).unwrap();

    assert_eq!(done(left).accepted, 2);
    let deleted: Vec<String> =
        sent.borrow().iter().map(|(what, _)| what.clone()).filter(|what| what.starts_with("DELETE")).collect();
    assert_eq!(deleted, ["DELETE /contactTags/6"]);
}

#[test]
fn only_the_contact_with_the_very_address_is_erased_and_looked_for() {
    let contacts = json!({ "contacts": [{ "id": "17", "email": "A@x.test" }, { "id": "18", "email": "aa@x.test" }] });
    let sent = serve(&[told(), ("GET /contacts", 200, contacts), ("DELETE /contacts/17", 404, json!({}))]);
    let fields = texts(&["email"]);
    let people = batch(RowOp::Delete, &fields, &[&[Some("a@x.test")], &[Some("b@x.test")]]);
    let mut writer = writer(WriteMode::Erase, &fields, None);

    let report = writer.erase(&people).unwrap();

    assert_eq!((report.accepted, report.remote_ids), (2, vec![(0, "17".to_owned())]));
    assert_eq!(sent.borrow().iter().filter(|(what, _)| what.starts_with("DELETE")).count(), 1);
    assert_eq!(writer.verify_erasure(&people).unwrap().retryable.len(), 1);
}

#[test]
fn who_unsubscribed_is_read_in_the_order_of_ids() {
    let page = json!({ "contacts": [{ "id": "1", "email": "a@x.test", "udate": "2018-09-12T17:00:00-05:00", "ip": "0" }] });
    let first = "GET /contacts?status=2&orders%5Bid%5D=ASC&limit=100&offset=0";
    serve(&[(first, 200, page), ("GET /contacts?status=2", 200, json!({ "contacts": [] }))]);

    assert_eq!(testing::read_all::<Reader>(|| config(false), "unsubscribes").unwrap().rows("unsubscribes"), 1);
}

#[test]
fn a_refusal_makes_the_host_do_the_right_thing() {
    let limit = json!({ "success": 0, "message": "Rate limit exceeded.", "failureReasons": ["Up to 100 imports"] });
    let bad = json!({ "success": 0, "message": "JSON payload did not pass validation.", "failureReasons": [{ "contact": 1 }] });
    for (status, body, kind, wait_ms) in [
        (400, limit, ErrorKind::RateLimited, Some(60_000)),
        (400, bad, ErrorKind::InvalidData, None),
        (403, json!({ "message": "no" }), ErrorKind::Auth, None),
        (503, json!({}), ErrorKind::Transient, None),
    ] {
        serve(&[told(), ("POST /import", status, body)]);
        let fields = texts(&["email", JOB_ALONE]);

        let error = writer(WriteMode::Upsert, &fields, None).write(batch(RowOp::Upsert, &fields, &[&[Some("a@x.test"), None]]));

        let error = error.unwrap_err();
        assert_eq!((error.kind, error.retry_after_ms), (kind, wait_ms), "{status}");
    }
    serve(&[("GET /fields", 403, json!({}))]);
    assert_eq!(ActiveCampaign::check(&config(false)).unwrap_err().kind, ErrorKind::Auth);
}

#[test]
fn the_asked_for_rates_stay_below_what_the_vendor_allows_in_any_window() {
    for (limit, (requests, window_ms)) in ActiveCampaign::manifest().rate_limits.iter().zip([(5, 1_000), (100, 60_000)]) {
        let next = u64::from(requests + 1 - limit.burst.unwrap());
        assert!(next * limit.per_ms / u64::from(limit.requests) > window_ms, "{limit:?}");
    }
}
