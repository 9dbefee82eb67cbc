//! The destination against a played account: what is sent, what becomes of each kind of answer, and that no request
//! could give a consent or delete a profile.

use std::cell::RefCell;
use std::rc::Rc;

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::{
    Batch, Columns, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, Plugin, Report, RowOp, testing,
};
use serde_json::{Value, json};

use crate::{Config, Klaviyo, Writer};

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    testing::on_hmac(|secret, data| {
        assert_eq!(secret, "api_key");
        let sum = data.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Ok(sum.to_le_bytes().repeat(4))
    });
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://a.klaviyo.com/api").unwrap());
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("key"));
        assert!(request.headers.contains(&("revision".to_owned(), "2026-07-15".to_owned())));
        seen.borrow_mut().push((what.clone(), body));
        let (_, status, answer) = rules.iter().find(|(start, _, _)| what.starts_with(start)).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn target(mode: WriteMode, fields: &[&str], list: Option<&str>) -> Target {
    let fields = fields.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
    let list = list.map(|name| TargetList { name: name.to_owned() });
    Target { object: "profile".to_owned(), mode, match_fields: vec!["email".to_owned()], list, fields, run: "1".to_owned() }
}

fn config() -> Config {
    serde_json::from_value(json!({})).unwrap()
}

fn writer(fields: &[&str], list: Option<&str>) -> Writer {
    Writer::open(config(), target(WriteMode::Upsert, fields, list)).unwrap().0
}

fn columns(fields: &[Field], rows: &[&[Option<&str>]]) -> Columns {
    let mut builder = ColumnsBuilder::new(fields);
    for row in rows {
        for (field, value) in fields.iter().zip(*row) {
            builder.set(&field.name, *value).unwrap();
        }
        builder.end_row();
    }
    builder.finish()
}

fn batch(op: RowOp, names: &[&str], rows: &[&[Option<&str>]]) -> Batch {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(columns(&fields, rows)) }
}

fn emails(count: u32) -> Batch {
    let all: Vec<String> = (0..count).map(|row| format!("p{row}@x.test")).collect();
    let rows: Vec<[Option<&str>; 1]> = all.iter().map(|email| [Some(email.as_str())]).collect();
    batch(RowOp::Upsert, &["email"], &rows.iter().map(<[_; 1]>::as_slice).collect::<Vec<_>>())
}

fn token(outcome: Outcome) -> String {
    let Outcome::Pending((token, _)) = outcome else { panic!("pending") };
    token
}

fn done(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

fn started() -> (&'static str, u16, Value) {
    ("POST /profile-bulk-import-jobs", 202, json!({ "data": { "id": "job1" } }))
}

fn job(status: &str, failed: u32) -> (&'static str, u16, Value) {
    ("GET /profile-bulk-import-jobs/job1", 200, json!({ "data": { "attributes": { "status": status, "failed_count": failed } } }))
}

fn lists(names: &[(&str, &str)]) -> (&'static str, u16, Value) {
    let data: Vec<Value> = names.iter().map(|(id, name)| json!({ "id": id, "attributes": { "name": name } })).collect();
    ("GET /lists", 200, json!({ "data": data }))
}

#[test]
fn a_row_becomes_a_profile_with_typed_properties_and_nulls_that_clear() {
    let sent = serve(&[started()]);
    let field = Field::new;
    let fields = [
        field("email", FieldType::Text),
        field("external_id", FieldType::Integer),
        field("first_name", FieldType::Text),
        field("location.city", FieldType::Text),
        field("properties.ltv", FieldType::Decimal),
        field("properties.vip", FieldType::Boolean),
        field("properties.tags", FieldType::Json),
        field("properties.gone", FieldType::Text),
    ];
    let row = [Some("ada@x.test"), Some("7"), None, Some("Lyon"), Some("12.500000"), Some("true"), Some(r#"["a"]"#), None];
    let payload = Payload::Columns(columns(&fields, &[&row]));

    writer(&["email"], None).write(Batch { idempotency_key: "k".to_owned(), op: RowOp::Upsert, payload }).unwrap();

    let attributes = json!({ "email": "ada@x.test", "external_id": "7", "first_name": null, "location": { "city": "Lyon" },
        "properties": { "ltv": 12.5, "vip": true, "tags": ["a"], "gone": null } });
    let profiles = json!({ "data": [{ "type": "profile", "attributes": attributes }] });
    let expected = json!({ "data": { "type": "profile-bulk-import-job", "attributes": { "profiles": profiles } } });
    assert_eq!(sent.borrow().first().unwrap().1, expected);
}

#[test]
fn the_list_is_found_by_name_or_made_and_then_remembered() {
    let made = ("POST /lists", 201, json!({ "data": { "id": "new" } }));
    for (found, id, requests) in [(lists(&[("other", "VIP 2"), ("old", "VIP")]), "old", 3), (lists(&[]), "new", 4)] {
        let sent = serve(&[started(), found, made.clone()]);
        let mut writer = writer(&["email"], Some("VIP"));

        writer.write(emails(1)).unwrap();
        writer.write(emails(1)).unwrap();

        let sent = sent.borrow();
        assert_eq!(sent.len(), requests);
        assert_eq!(sent.last().unwrap().1["data"]["relationships"]["lists"]["data"], json!([{ "type": "list", "id": id }]));
    }
}

#[test]
fn a_list_that_was_deleted_is_looked_for_again() {
    let sent = serve(&[("POST /profile-bulk-import-jobs", 404, json!({})), lists(&[("a", "VIP")])]);
    let mut writer = writer(&["email"], Some("VIP"));

    for _ in 0..2 {
        assert_eq!(writer.write(emails(1)).unwrap_err().kind, ErrorKind::Transient);
    }

    assert_eq!(sent.borrow().iter().filter(|(what, _)| what.starts_with("GET /lists")).count(), 2);
}

#[test]
fn rows_that_would_be_refused_do_not_take_their_batch_with_them() {
    let sent = serve(&[started(), job("complete", 0)]);
    let large = "x".repeat(100_000);
    let rows: [&[Option<&str>]; 5] = [
        &[Some("a@x.test"), Some("+33123456780"), None],
        &[Some("b@x.test"), Some("+33123456789"), None],
        &[None, None, Some("x")],
        &[Some("c@x.test"), None, Some(&large)],
        &[Some("d@x.test"), None, None],
    ];
    let names = ["email", "phone_number", "properties.note"];
    let mut writer = writer(&names, None);

    let token = token(writer.write(batch(RowOp::Upsert, &names, &rows)).unwrap());
    let report = done(writer.poll(&token).unwrap());

    assert_eq!(sent.borrow()[0].1["data"]["attributes"]["profiles"]["data"].as_array().unwrap().len(), 3);
    let failed: Vec<(u32, &str)> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(failed, [(2, "klaviyo.no_identifier"), (3, "klaviyo.profile_too_large")]);
    assert_eq!(report.accepted, 3);
}

#[test]
fn an_import_is_asked_after_until_it_is_complete_also_by_a_later_process() {
    serve(&[started(), job("processing", 0)]);
    let first = token(writer(&["email"], None).write(emails(2)).unwrap());

    assert_eq!(token(writer(&["email"], None).poll(&first).unwrap()), first);

    serve(&[job("complete", 0)]);
    assert_eq!(done(writer(&["email"], None).poll(&first).unwrap()).accepted, 2);
}

#[test]
fn errors_of_an_import_find_their_rows_by_place_or_by_person_and_show_no_words_of_the_vendor() {
    let place = json!({ "attributes": { "code": "invalid", "detail": "p0@x.test is bad", "source": { "pointer": "/data/attributes/profiles/data/0/attributes/email" } } });
    let person = json!({ "attributes": { "code": "duplicate", "source": { "pointer": "/data" }, "original_payload": { "email": "P2@x.test" } } });
    let errors = ("GET /profile-bulk-import-jobs/job1/import-errors", 200, json!({ "data": [place, person] }));
    let profiles = ("GET /profile-bulk-import-jobs/job1/profiles", 200, json!({ "data": [] }));
    serve(&[started(), lists(&[("a", "VIP")]), errors, profiles, job("complete", 2)]);
    let mut writer = writer(&["email"], Some("VIP"));

    let token = token(writer.write(emails(3)).unwrap());
    let report = done(writer.poll(&token).unwrap());

    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.code.as_str(), error.field.as_deref())).collect();
    assert_eq!(failed, [(0, "klaviyo.import.invalid", Some("email")), (2, "klaviyo.import.duplicate", None)]);
    assert!(report.failed.iter().all(|error| !error.message.contains('@')));
    assert_eq!(report.accepted, 1);
}

#[test]
fn refusals_that_are_not_told_halve_the_batch_until_the_row_is_alone() {
    let errors =
        ("GET /profile-bulk-import-jobs/job1/import-errors", 200, json!({ "data": [{ "attributes": { "code": "invalid" } }] }));
    serve(&[started(), errors, job("complete", 1)]);
    let mut writer = writer(&["email"], None);

    let several = token(writer.write(emails(2)).unwrap());
    let one = token(writer.write(emails(1)).unwrap());

    assert_eq!(writer.poll(&several).unwrap_err().kind, ErrorKind::InvalidData);
    assert_eq!(done(writer.poll(&one).unwrap()).failed.len(), 1);
}

#[test]
fn ids_of_profiles_are_found_by_person_and_strangers_are_passed_over() {
    let profile = |id: &str, email: &str| json!({ "id": id, "attributes": { "email": email } });
    let first = json!({ "data": [profile("X", "stranger@x.test"), profile("B", "P1@x.test")], "links": { "next": "http://elsewhere.test/?page%5Bcursor%5D=c%3D" } });
    let last = json!({ "data": [profile("A", "p0@x.test")], "links": { "next": "http://elsewhere.test" } });
    let start =
        "GET /profile-bulk-import-jobs/job1/profiles?page%5Bsize%5D=100&fields%5Bprofile%5D=email%2Cphone_number%2Cexternal_id";
    let second = "GET /profile-bulk-import-jobs/job1/profiles?page%5Bsize%5D=100&fields%5Bprofile%5D=email%2Cphone_number%2Cexternal_id&page%5Bcursor%5D=c%3D";
    serve(&[started(), lists(&[("a", "VIP")]), (second, 200, last), (start, 200, first), job("complete", 0)]);
    let mut writer = writer(&["email"], Some("VIP"));

    let token = token(writer.write(emails(2)).unwrap());

    assert_eq!(done(writer.poll(&token).unwrap()).remote_ids, [(1, "B".to_owned()), (0, "A".to_owned())]);
}

#[test]
fn a_token_holds_nothing_personal_and_fits_the_ledger() {
    serve(&[started(), lists(&[("a", "VIP")])]);

    let small = token(writer(&["email"], Some("VIP")).write(emails(1_000)).unwrap());
    let large = token(writer(&["email"], Some("VIP")).write(emails(9_999)).unwrap());

    for token in [small, large] {
        assert!(!token.contains('@') && token.len() < 64 << 10, "{} bytes", token.len());
    }
}

#[test]
fn an_import_that_is_gone_or_cancelled_is_sent_again() {
    for answer in [job("cancelled", 0), ("GET /profile-bulk-import-jobs/job1", 404, json!({}))] {
        serve(&[started(), answer]);
        let mut writer = writer(&["email"], None);

        let token = token(writer.write(emails(2)).unwrap());

        assert_eq!(done(writer.poll(&token).unwrap()).retryable.len(), 2);
    }
}

#[test]
fn who_leaves_is_taken_off_the_list_by_known_or_looked_up_id() {
    let found = (
        "GET /profiles?filter=any%28email%2C%5B%22b%40x.test%22%5D%29",
        200,
        json!({ "data": [{ "id": "B", "attributes": { "email": "b@x.test" } }] }),
    );
    let removed = ("DELETE /lists/l/relationships/profiles", 204, Value::Null);
    let sent = serve(&[found, removed, lists(&[("l", "VIP")]), ("GET /profiles", 200, json!({ "data": [] }))]);
    let rows: [&[Option<&str>]; 2] = [&[Some("a@x.test"), Some("A")], &[Some("B@x.test"), None]];

    let report = done(writer(&["email"], Some("VIP")).write(batch(RowOp::Delete, &["email", "_remote_id"], &rows)).unwrap());

    assert_eq!(report.accepted, 2);
    assert_eq!(
        sent.borrow().last().unwrap().1,
        json!({ "data": [{ "type": "profile", "id": "A" }, { "type": "profile", "id": "B" }] })
    );
}

#[test]
fn who_is_unknown_and_a_list_that_is_not_there_need_no_removal() {
    let nobody = ("GET /profiles", 200, json!({ "data": [] }));
    for found in [lists(&[("l", "VIP")]), lists(&[])] {
        let sent = serve(&[found, nobody.clone()]);

        let report =
            done(writer(&["email"], Some("VIP")).write(batch(RowOp::Delete, &["email"], &[&[Some("a@x.test")]])).unwrap());

        assert_eq!(report.accepted, 1);
        assert!(sent.borrow().iter().all(|(what, _)| what.starts_with("GET ")));
    }
}

#[test]
fn a_profile_that_is_gone_is_found_by_halving_and_then_counts_as_removed() {
    serve(&[("DELETE /lists", 404, json!({})), lists(&[("l", "VIP")])]);
    let mut writer = writer(&["email"], Some("VIP"));
    let rows: [&[Option<&str>]; 2] = [&[Some("a@x.test"), Some("A")], &[Some("b@x.test"), Some("B")]];
    let leaving = |count: usize| batch(RowOp::Delete, &["email", "_remote_id"], &rows[..count]);

    assert_eq!(writer.write(leaving(2)).unwrap_err().kind, ErrorKind::InvalidData);
    assert_eq!(done(writer.write(leaving(1)).unwrap()).accepted, 1);
}

#[test]
fn a_target_that_cannot_be_kept_is_refused_when_it_is_opened() {
    let cases = [
        target(WriteMode::Insert, &["email"], None),
        target(WriteMode::Update, &["email"], None),
        target(WriteMode::Mirror, &["email"], None),
        target(WriteMode::Upsert, &["emial"], None),
        Target { object: "event".to_owned(), ..target(WriteMode::Upsert, &["email"], None) },
        Target { match_fields: vec!["first_name".to_owned()], ..target(WriteMode::Upsert, &["email"], None) },
    ];

    for case in cases {
        assert_eq!(Writer::open(config(), case).unwrap_err().kind, ErrorKind::Config);
    }
}

#[test]
fn a_batch_that_the_host_may_hand_over_fits_one_import() {
    let fields: Vec<String> = (0..30).map(|number| format!("properties.a_rather_long_name_{number}")).collect();
    let names: Vec<&str> = std::iter::once("email").chain(fields.iter().map(String::as_str)).collect();
    let (mut writer, info) = Writer::open(config(), target(WriteMode::Upsert, &names, None)).unwrap();
    serve(&[started()]);
    let rows_max = info.max_rows.unwrap() as usize;
    let room = usize::try_from(info.max_bytes.unwrap()).unwrap() / rows_max / names.len();
    let value = "v".repeat(room);
    let row = vec![Some(value.as_str()); names.len()];

    let written = writer.write(batch(RowOp::Upsert, &names, &vec![row.as_slice(); rows_max]));

    assert!(matches!(written, Ok(Outcome::Pending(_))));
}

#[test]
fn a_refusal_becomes_the_error_that_makes_the_host_do_the_right_thing() {
    let cases = [
        (400, ErrorKind::InvalidData),
        (401, ErrorKind::Auth),
        (403, ErrorKind::Permission),
        (413, ErrorKind::InvalidData),
        (429, ErrorKind::RateLimited),
        (503, ErrorKind::Transient),
    ];

    for (status, kind) in cases {
        let answer =
            json!({ "errors": [{ "code": "invalid", "detail": "p0@x.test", "source": { "pointer": "/data/attributes" } }] });
        serve(&[("POST /profile-bulk-import-jobs", status, answer)]);
        let error = writer(&["email"], None).write(emails(1)).unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
        assert!(!error.message.contains('@'), "{error}");
    }
}

#[test]
fn the_check_names_the_scope_that_is_missing() {
    serve(&[lists(&[]), ("GET /profiles", 403, json!({}))]);

    let error = Klaviyo::check(&config()).unwrap_err();

    assert!(error.kind == ErrorKind::Permission && error.message.contains("profiles:read"), "{error}");
}

#[test]
fn the_asked_for_rates_stay_below_the_vendors_fixed_windows() {
    for limit in Klaviyo::manifest().rate_limits {
        let is_slow = !limit.matches.as_deref().is_some_and(|prefix| prefix == "GET /api/lists" || prefix == "GET /api/profiles");
        let is_erasure = limit.matches.as_deref().is_some_and(|prefix| prefix.contains("data-privacy"));
        let (a_second, a_minute) = if is_erasure {
            (3, 60)
        } else if is_slow {
            (10, 150)
        } else {
            (75, 750)
        };
        let burst = limit.burst.unwrap();
        assert!(burst + limit.requests.div_ceil(60) <= a_second && burst + limit.requests <= a_minute, "{limit:?}");
    }
}

#[test]
fn a_person_is_erased_by_address_or_number_and_looked_up_by_it() {
    let fields = ["email", "phone_number", "external_id", "_remote_id"];
    let person = json!({ "id": "01P", "attributes": { "external_id": "7" } });
    let found = ("GET /profiles?filter=any%28external_id", 200, json!({ "data": [person] }));
    let held = json!({ "id": "01A", "attributes": { "email": "a@x.test" } });
    let sent = serve(&[
        ("POST /data-privacy-deletion-jobs", 202, Value::Null),
        found,
        ("GET /profiles?filter=any%28email", 200, json!({ "data": [held] })),
        ("GET /profiles", 200, json!({ "data": [] })),
    ]);
    let by = ["email", "phone_number", "external_id"].map(str::to_owned).to_vec();
    let open = |mode| Writer::open(config(), Target { match_fields: by.clone(), ..target(mode, &fields, None) }).unwrap().0;
    let rows: [&[Option<&str>]; 3] = [
        &[Some("a@x.test"), Some("+33123456789"), None, Some("01A")],
        &[None, None, Some("7"), None],
        &[None, None, Some("8"), Some("01B")],
    ];
    let people = batch(RowOp::Delete, &fields, &rows);

    let report = open(WriteMode::Erase).erase(&people).unwrap();

    let deleted: Vec<Value> = sent
        .borrow()
        .iter()
        .filter(|(what, _)| what.starts_with("POST"))
        .map(|(_, body)| body["data"]["attributes"]["profile"]["data"].clone())
        .collect();
    let expected = [
        json!({ "type": "profile", "attributes": { "email": "a@x.test" } }),
        json!({ "type": "profile", "attributes": { "phone_number": "+33123456789" } }),
        json!({ "type": "profile", "attributes": {}, "id": "01P" }),
        json!({ "type": "profile", "attributes": {}, "id": "01B" }),
    ];
    assert_eq!(deleted, expected);
    let ids = [(0, "01A".to_owned()), (1, "01P".to_owned()), (2, "01B".to_owned())];
    assert_eq!((report.accepted, report.remote_ids), (3, ids.to_vec()));

    let looked = open(WriteMode::VerifyErasure).verify_erasure(&people).unwrap();

    assert_eq!(looked.retryable.iter().map(|error| error.row).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(looked.accepted, 1);
}
