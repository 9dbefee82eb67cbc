//! Both ways against a played account: what is asked, what becomes of each kind of answer, and that no request could take a
//! suppression away or delete a contact that is not erased.

use std::cell::RefCell;
use std::rc::Rc;

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::testing::{self, LIMITS};
use affluent_sdk::{
    Batch, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, Plugin, Report, RowOp, Source, SyncMode,
};
use serde_json::{Value, json};

use crate::{Config, Reader, SendGrid, Writer};

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

fn config(more: Value) -> Config {
    serde_json::from_value(more).unwrap()
}

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://api.sendgrid.com/v3").unwrap());
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("key"));
        assert!(!(request.method == "DELETE" && what.contains("suppression")), "{what}");
        seen.borrow_mut().push((what.clone(), body));
        let (_, status, answer) = rules.iter().find(|(start, _, _)| what.starts_with(start)).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn told() -> (&'static str, u16, Value) {
    let custom = [("w1", "num_orders", "Number"), ("w2", "dob", "Date"), ("e3", "tier", "Text")];
    let custom = custom.map(|(id, name, kind)| json!({ "id": id, "name": name, "field_type": kind }));
    ("GET /marketing/field_definitions", 200, json!({ "custom_fields": custom, "reserved_fields": [] }))
}

fn taken() -> (&'static str, u16, Value) {
    ("PUT /marketing/contacts", 202, json!({ "job_id": "job1" }))
}

fn job(status: &str, refused: u32) -> (&'static str, u16, Value) {
    ("GET /marketing/contacts/imports/job1", 200, json!({ "status": status, "results": { "errored_count": refused } }))
}

fn target(mode: WriteMode, by: &[&str], fields: &[Field], list: Option<&str>) -> Target {
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let match_fields = by.iter().map(|name| (*name).to_owned()).collect();
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
    Writer::open(config(json!({})), target(mode, &["email"], fields, list)).unwrap().0
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
        let target = Writer::discover(&config(json!({ "create_fields": is_open }))).unwrap().remove(0);

        assert_eq!((target.name.as_str(), target.fields.len(), target.any_fields), ("contacts", 15, is_open));
        let kind = |name: &str| target.fields.iter().find(|field| field.name == name).map(|field| field.field_type);
        assert_eq!(
            (kind("num_orders"), kind("dob"), kind("country")),
            (Some(FieldType::Float), Some(FieldType::Timestamp), Some(FieldType::Text))
        );
    }
    assert!(Writer::open(config(json!({})), target(WriteMode::Upsert, &["email"], &texts(&["email", "ltv"]), None)).is_err());
    assert!(Writer::open(config(json!({})), target(WriteMode::Mirror, &["email"], &texts(&["email"]), None)).is_err());
}

#[test]
fn a_row_becomes_a_contact_and_only_texts_can_be_emptied() {
    let sent = serve(&[told(), taken()]);
    let fields = [
        Field::new("email", FieldType::Text),
        Field::new("external_id", FieldType::Integer),
        Field::new("city", FieldType::Text),
        Field::new("num_orders", FieldType::Integer),
        Field::new("dob", FieldType::Date),
        Field::new("tier", FieldType::Text),
    ];
    let rows: [&[Option<&str>]; 3] = [
        &[Some("a@x.test"), Some("7"), Some("Lyon"), Some("3"), Some("1990-01-31"), Some("gold")],
        &[Some("b@x.test"), None, None, None, None, None],
        &[None, None, Some("Nice"), None, None, None],
    ];

    token(writer(WriteMode::Upsert, &fields, None).write(batch(RowOp::Upsert, &fields, &rows)).unwrap());

    let first = json!({ "email": "a@x.test", "external_id": "7", "city": "Lyon",
        "custom_fields": { "w1": "3", "w2": "1990-01-31", "e3": "gold" } });
    let second = json!({ "email": "b@x.test", "city": "", "custom_fields": { "e3": "" } });
    assert_eq!(sent.borrow().last().unwrap().1, json!({ "contacts": [first, second] }));
}

#[test]
fn custom_fields_are_created_with_their_type_and_written_by_their_id() {
    let made = ("POST /marketing/field_definitions", 200, json!({ "id": "e9", "name": "ltv", "field_type": "Number" }));
    let sent = serve(&[told(), made, taken()]);
    let fields = [Field::new("email", FieldType::Text), Field::new("ltv", FieldType::Decimal)];
    let target = target(WriteMode::Upsert, &["email"], &fields, None);
    let mut writer = Writer::open(config(json!({ "create_fields": true })), target).unwrap().0;

    writer.write(batch(RowOp::Upsert, &fields, &[&[Some("a@x.test"), Some("12.5")]])).unwrap();

    let sent = sent.borrow();
    assert_eq!(sent[1].1, json!({ "name": "ltv", "field_type": "Number" }));
    assert_eq!(sent[2].1["contacts"][0]["custom_fields"], json!({ "e9": "12.5" }));
}

#[test]
fn an_import_that_refused_contacts_is_halved_and_one_that_came_to_nothing_is_sent_again() {
    let fields = texts(&["email"]);
    let rows: [&[Option<&str>]; 2] = [&[Some("a@x.test")], &[Some("b@x.test")]];
    let polled = |answer, count: usize| {
        serve(&[told(), taken(), answer]);
        let mut writer = writer(WriteMode::Upsert, &fields, None);
        let token = token(writer.write(batch(RowOp::Upsert, &fields, &rows[..count])).unwrap());
        assert!(!token.contains('@'));
        writer.poll(&token)
    };

    assert!(matches!(polled(job("pending", 0), 2), Ok(Outcome::Pending(_))));
    assert_eq!(done(polled(job("completed", 0), 2).unwrap()).accepted, 2);
    assert_eq!(polled(job("errored", 1), 2).unwrap_err().kind, ErrorKind::InvalidData);
    assert_eq!(polled(job("failed", 2), 2).unwrap_err().kind, ErrorKind::InvalidData);
    let alone = done(polled(job("errored", 1), 1).unwrap());
    assert_eq!(alone.failed[0].code, "sendgrid.import.refused");
    assert_eq!(done(polled(job("failed", 0), 2).unwrap()).retryable.len(), 2);
    assert_eq!(done(polled(("GET /marketing/contacts/imports/job1", 404, json!({})), 2).unwrap()).retryable.len(), 2);
}

const LIST: &str = "ca7a3796-e8a8-4029-9ccb-df8937940562";

#[test]
fn a_list_is_found_on_any_page_and_contacts_are_taken_off_it_and_never_deleted() {
    let page =
        |name: &str, next: Option<&str>| json!({ "result": [{ "id": LIST, "name": name }], "_metadata": { "next": next } });
    let second = "GET /marketing/lists?page_size=1000&page_token=b";
    let link = "https://api.sendgrid.com/v3/marketing/lists?page_size=1000&page_token=b";
    let found = json!({ "result": { "a@x.test": { "contact": { "id": "c1", "email": "a@x.test" } }, "b@x.test": { "error": "contact not found" } } });
    let sent = serve(&[
        told(),
        taken(),
        (second, 200, page("VIP & co", None)),
        ("GET /marketing/lists?page_size", 200, page("other", Some(link))),
        ("POST /marketing/contacts/search/identifiers/email", 200, found),
        ("DELETE /marketing/lists/", 202, json!({ "job_id": "j" })),
    ]);
    let fields = texts(&["email"]);
    let mut writer = writer(WriteMode::Mirror, &fields, Some("VIP & co"));

    writer.write(batch(RowOp::Upsert, &fields, &[&[Some("a@x.test")]])).unwrap();
    let left = writer.write(batch(RowOp::Delete, &fields, &[&[Some("A@x.test")], &[Some("b@x.test")]])).unwrap();

    assert_eq!(done(left).accepted, 2);
    let sent = sent.borrow();
    assert_eq!(sent[3].1["list_ids"], json!([LIST]));
    assert_eq!(sent[4].1, json!({ "identifiers": ["a@x.test", "b@x.test"] }));
    assert_eq!(sent.last().unwrap().0, format!("DELETE /marketing/lists/{LIST}/contacts?contact_ids=c1"));
}

#[test]
fn a_list_that_was_deleted_is_told_from_a_bad_contact() {
    let refused = ("PUT /marketing/contacts", 400, json!({ "errors": [{ "field": "contacts", "message": "a@x.test is bad" }] }));
    for (is_there, kind) in [(404, ErrorKind::Transient), (200, ErrorKind::InvalidData)] {
        let made = ("POST /marketing/lists", 201, json!({ "id": LIST }));
        let one = ("GET /marketing/lists/ca7a", is_there, json!({}));
        serve(&[told(), refused.clone(), made, one, ("GET /marketing/lists?", 200, json!({ "result": [] }))]);
        let fields = texts(&["email"]);

        let error = writer(WriteMode::Mirror, &fields, Some("VIP")).write(batch(RowOp::Upsert, &fields, &[&[Some("a@x.test")]]));

        let error = error.unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(!error.message.contains('@'), "{error}");
    }
}

#[test]
fn a_persons_addresses_are_erased_and_the_contact_deleted() {
    let contact = json!({ "contact": { "id": "c1", "email": "known@x.test", "external_id": "7" } });
    let sent = serve(&[
        told(),
        ("POST /marketing/contacts/search/identifiers/external_id", 200, json!({ "result": { "7": contact } })),
        ("POST /marketing/contacts/search/identifiers/email", 404, json!({})),
        ("POST /recipients/erasejob", 202, json!({ "job_id": "e1" })),
        ("DELETE /marketing/contacts?ids=c1", 202, json!({ "job_id": "d1" })),
    ]);
    let fields = texts(&["email", "external_id"]);
    let by = ["email", "external_id"];
    let mut writer = Writer::open(config(json!({})), target(WriteMode::Erase, &by, &fields, None)).unwrap().0;
    let people = batch(RowOp::Delete, &fields, &[&[Some("A@x.test"), Some("7")], &[None, Some("8")]]);
    sent.borrow_mut().clear();

    let report = writer.erase(&people).unwrap();

    assert_eq!(report.remote_ids.first(), Some(&(0, "e1".to_owned())));
    let asked: Vec<Value> =
        sent.borrow().iter().filter(|(what, _)| what.contains("erasejob")).map(|(_, body)| body.clone()).collect();
    assert_eq!(asked[0], json!({ "email_addresses": ["a@x.test", "known@x.test"] }));
    assert_eq!(sent.borrow()[3].0, "DELETE /marketing/contacts?ids=c1");
    assert_eq!(writer.verify_erasure(&people).unwrap().retryable.len(), 1);
}

#[test]
fn who_said_no_is_read_by_page_and_then_since_the_newest() {
    let page = json!([{ "email": "a@x.test", "created": 1_780_272_000 }, { "email": "b@x.test", "created": 1_780_272_060 }]);
    let first = ("GET /suppression/unsubscribes?limit=500&offset=0", 200, page.clone());
    serve(&[first, ("GET /suppression/unsubscribes", 200, json!([]))]);
    testing::set_now_us(1_780_300_000_000_000);
    let ends = "end_time=1780300000&limit=500&offset=";
    let first = "GET /suppression/unsubscribes?end_time=1780300000&limit=500&offset=0";
    let sent = serve(&[(first, 200, page), ("GET /suppression/unsubscribes", 200, json!([]))]);
    testing::set_now_us(1_780_300_000_000_000);
    let spec = testing::spec::<Reader>(&config(json!({})), "unsubscribes", SyncMode::Incremental).unwrap();
    let mut reader = Reader::open(config(json!({})), spec.clone(), None).unwrap();

    let read = reader.next(LIMITS).unwrap();
    let last = reader.next(LIMITS).unwrap();
    Reader::open(config(json!({})), spec, last.state).unwrap().next(LIMITS).unwrap();

    let Payload::Columns(columns) = &read.parts[0].payload else { panic!("columns") };
    assert_eq!(columns.text("email").unwrap().get(1), Some("b@x.test"));
    assert_eq!(columns.timestamps("created").unwrap().get(1), Some(1_780_272_060_000_000));
    let asked: Vec<String> = sent.borrow().iter().map(|(what, _)| what.clone()).collect();
    let path = "GET /suppression/unsubscribes?";
    assert_eq!(asked, [format!("{path}{ends}0"), format!("{path}{ends}2"), format!("{path}start_time=1780272060&{ends}0")]);
}

#[test]
fn group_unsubscribes_and_bounces_keep_what_they_are_about() {
    let group = json!([{ "email": "a@x.test", "group_id": 7, "group_name": "News", "created_at": 1_410_986_704 }]);
    let bounce = json!([{ "email": "a@x.test", "created": 1_250_337_600, "reason": "550 no such user", "status": "5.1.1" }]);
    serve(&[
        ("GET /asm/suppressions", 200, group),
        ("GET /suppression/bounces?end_time=0&limit=500&offset=0", 200, bounce),
        ("GET /suppression/bounces", 200, json!([])),
    ]);
    let rows = |stream| testing::read_all::<Reader>(|| config(json!({})), stream).unwrap().rows(stream);

    assert_eq!((rows("group_unsubscribes"), rows("bounces")), (1, 1));
}

#[test]
fn the_check_names_what_the_key_lacks_and_the_account_in_the_eu_has_a_host_of_its_own() {
    serve(&[told(), ("GET /suppression", 403, json!({})), ("GET /asm/groups", 200, json!([]))]);
    let notes = SendGrid::check(&config(json!({}))).unwrap().notes;
    assert!(notes[0].contains("suppression.read") && notes.len() == 2, "{notes:?}");

    serve(&[("GET /marketing/field_definitions", 401, json!({}))]);
    assert_eq!(SendGrid::check(&config(json!({}))).unwrap_err().kind, ErrorKind::Auth);
    testing::on_http(|request| {
        assert!(request.url.starts_with("https://api.eu.sendgrid.com/v3/"), "{}", request.url);
        Ok(testing::response(403, "{}"))
    });
    assert_eq!(SendGrid::check(&config(json!({ "eu": true }))).unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn a_batch_that_the_host_may_hand_over_fits_one_import() {
    serve(&[told(), taken()]);
    let fields = texts(&["email", "first_name", "address_line_1", "state_province_region"]);
    let target = target(WriteMode::Upsert, &["email"], &fields, None);
    let (mut writer, info) = Writer::open(config(json!({})), target).unwrap();
    let rows_max = info.max_rows.unwrap() as usize;
    let value = "v".repeat(usize::try_from(info.max_bytes.unwrap()).unwrap() / rows_max / fields.len() - 6);
    let all: Vec<String> = (0..rows_max).map(|row| format!("{row:06}{value}")).collect();
    let rows: Vec<[Option<&str>; 4]> = all.iter().map(|text| [Some(text.as_str()); 4]).collect();

    let written = writer.write(batch(RowOp::Upsert, &fields, &rows.iter().map(<[_; 4]>::as_slice).collect::<Vec<_>>()));

    assert!(matches!(written, Ok(Outcome::Pending(_))));
}

#[test]
fn the_asked_for_rates_stay_below_what_the_vendor_allows_in_any_window() {
    // So many requests at once and then evenly, each of which may come a little late.
    for (limit, (requests, window_ms)) in SendGrid::manifest().rate_limits.iter().zip([(600, 60_000), (3, 2_000), (100, 60_000)])
    {
        let next = u64::from(requests + 1 - limit.burst.unwrap());
        assert!(next * limit.per_ms / u64::from(limit.requests) > window_ms, "{limit:?}");
    }
}
