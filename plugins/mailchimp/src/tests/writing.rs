//! The destination against a played audience.

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::{Batch, ColumnsBuilder, Destination, Field, Outcome, Payload, Report, RowOp};

use super::*;
use crate::Writer;

/// Of `ann@x.test`.
const HASH: &str = "ddfb97efd93ca3019049ed7ddc4bf6a9";

fn target(mode: WriteMode, fields: &[Field], list: Option<&str>) -> Target {
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let match_fields = vec!["email_address".to_owned()];
    Target { object: "members".to_owned(), mode, match_fields, list, fields: fields.to_vec(), run: String::new() }
}

fn texts(names: &[&str]) -> Vec<Field> {
    names.iter().map(|name| Field::new(*name, FieldType::Text)).collect()
}

fn batch(op: RowOp, fields: &[Field], rows: &[Vec<Option<&str>>]) -> Batch {
    let mut builder = ColumnsBuilder::new(fields);
    for row in rows {
        for (field, value) in fields.iter().zip(row) {
            builder.set(&field.name, *value).unwrap();
        }
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

/// Rows of addresses alone; tokens where nothing else is said.
fn emails(op: RowOp, emails: &[&str]) -> Batch {
    batch(op, &texts(&["email_address"]), &emails.iter().map(|email| vec![Some(*email)]).collect::<Vec<_>>())
}

fn tokens(count: usize) -> Vec<String> {
    let letter = |place: usize| char::from(b'a' + u8::try_from(place % 26).unwrap());
    (0..count).map(|place| format!("pii0zq{}{}{}", "a".repeat(22), letter(place / 26), letter(place))).collect()
}

fn writer(more: Value, list: Option<&str>) -> Writer {
    Writer::open(config(more), target(WriteMode::Upsert, &texts(&["email_address"]), list)).unwrap().0
}

fn done(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

fn pending(outcome: Outcome) -> String {
    let Outcome::Pending((token, _)) = outcome else { panic!("pending") };
    token
}

fn put() -> (&'static str, u16, Value) {
    ("PUT /lists/a1/members/", 200, json!({ "contact_id": "c1", "status": "unsubscribed" }))
}

fn tag() -> (&'static str, u16, Value) {
    ("GET /lists/a1/segments?", 200, json!({ "segments": [{ "id": 7, "name": "VIP" }] }))
}

fn tagged() -> (&'static str, u16, Value) {
    ("POST /lists/a1/segments/7", 200, json!({ "errors": [] }))
}

fn codes(report: &Report) -> Vec<(u32, &str, Option<&str>)> {
    report.failed.iter().map(|error| (error.row, error.code.as_str(), error.field.as_deref())).collect()
}

#[test]
fn what_can_be_written_is_the_address_a_few_marks_and_merge_fields_never_a_status() {
    serve(&[]);
    let names = |more| {
        let target = Writer::discover(&config(more)).unwrap().remove(0);
        (target.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>(), target.open_fields)
    };

    let (fields, open) = names(json!({}));

    assert_eq!(fields[..4], ["email_address", "email_type", "language", "merge_fields.FNAME"]);
    assert!(fields.contains(&"merge_fields.ADDRESS.city".to_owned()) && !fields.contains(&"merge_fields.ADDRESS".to_owned()));
    assert!(!fields.contains(&"status".to_owned()) && open.is_empty());
    assert_eq!(names(json!({ "create_merge_fields": true })).1, ["merge_fields."]);
    for wrong in ["status", "timestamp_opt", "merge_fields.FNAM", "interests"] {
        let opened = Writer::open(config(json!({})), target(WriteMode::Upsert, &texts(&[wrong]), None));
        assert_eq!(opened.unwrap_err().kind, ErrorKind::Config, "{wrong}");
    }
    assert!(Writer::open(config(json!({})), target(WriteMode::Mirror, &texts(&["email_address"]), None)).is_err());
}

#[test]
fn a_merge_field_is_created_where_the_connection_says_so() {
    let sent = serve(&[("POST /lists/a1/merge-fields", 200, json!({}))]);
    let fields = [Field::new("merge_fields.ORDERS", FieldType::Integer), Field::new("merge_fields.SEEN", FieldType::Timestamp)];

    Writer::open(config(json!({ "create_merge_fields": true })), target(WriteMode::Upsert, &fields, None)).unwrap();

    let kinds: Vec<String> = sent.borrow()[1..].iter().map(|(_, body)| format!("{} {}", body["tag"], body["type"])).collect();
    assert_eq!(kinds, [r#""ORDERS" "number""#, r#""SEEN" "date""#]);
    let long = texts(&["merge_fields.LONGER_THAN_TEN"]);
    let opened = Writer::open(config(json!({ "create_merge_fields": true })), target(WriteMode::Upsert, &long, None));
    assert!(opened.unwrap_err().message.contains("at most 10"));
}

#[test]
fn a_row_becomes_a_member_under_the_hash_of_its_address() {
    let sent = serve(&[put()]);
    let named = [
        ("email_address", FieldType::Text),
        ("language", FieldType::Text),
        ("merge_fields.FNAME", FieldType::Text),
        ("merge_fields.SPENT", FieldType::Decimal),
        ("merge_fields.LAST", FieldType::Timestamp),
        ("merge_fields.ADDRESS.city", FieldType::Text),
    ];
    let fields = named.map(|(name, field_type)| Field::new(name, field_type));
    let rows = [
        vec![Some("ann@x.test"), None, None, Some("120.50"), Some("2026-01-31T10:20:30Z"), Some("Lyon")],
        vec![Some("pii0zqaaaaaaaaaaaaaaaaaaaaaaaa"), Some("fr"), Some("pii0zqaaaaaaaaaaaaaaaaaaaaaaab"), None, None, None],
    ];

    let (mut writer, info) = Writer::open(config(json!({})), target(WriteMode::Upsert, &fields, None)).unwrap();
    let report = done(writer.write(batch(RowOp::Upsert, &fields, &rows)).unwrap());

    let sent = sent.borrow();
    let ann = json!({ "email_address": "ann@x.test", "status_if_new": "transactional",
        "merge_fields": { "FNAME": "", "SPENT": "120.5", "LAST": "2026-01-31", "ADDRESS": { "city": "Lyon" } } });
    assert_eq!(sent[1], (format!("PUT /lists/a1/members/{HASH}"), ann));
    let blind = json!({ "email_address": "pii0zqaaaaaaaaaaaaaaaaaaaaaaaa", "status_if_new": "transactional", "language": "fr",
        "merge_fields": { "FNAME": "pii0zqaaaaaaaaaaaaaaaaaaaaaaab", "SPENT": "", "LAST": "", "ADDRESS": "" } });
    assert_eq!(sent[2], ("PUT /lists/a1/members/pii0zqaaaaaaaaaaaaaaaaaaaaaaaa.lower.md5".to_owned(), blind));
    assert_eq!((report.accepted, report.remote_ids.len(), info.max_rows), (2, 2, Some(500)));
}

#[test]
fn refusals_are_rejected_rows_and_never_forced() {
    let refused =
        |title: &str| json!({ "title": title, "detail": "ann@x.test", "errors": [{ "field": "FNAME", "message": "ann" }] });
    for (title, code) in [
        ("Member In Compliance State", "mailchimp.compliance_state"),
        ("Forgotten Email Not Subscribed", "mailchimp.forgotten"),
        ("Invalid Resource", "mailchimp.refused"),
    ] {
        let sent = serve(&[("PUT /lists/a1/members/ddfb97", 400, refused(title)), put()]);

        let report =
            done(writer(json!({}), None).write(emails(RowOp::Upsert, &["ann@x.test", "bo@x.test", "Ann@x.test", ""])).unwrap());

        assert_eq!(codes(&report), [(3, "row.no_key", None), (2, code, Some("FNAME")), (0, code, Some("FNAME"))]);
        assert!(report.failed.iter().all(|error| !error.message.contains("ann")));
        assert_eq!((report.accepted, sent.borrow().len()), (1, 3));
    }
}

#[test]
fn a_bad_moment_is_the_rows_own_and_a_bad_key_the_batchs() {
    serve(&[("PUT /lists/a1/members/ddfb97", 503, json!({})), put()]);
    let report = done(writer(json!({}), None).write(emails(RowOp::Upsert, &["ann@x.test", "bo@x.test"])).unwrap());
    assert_eq!((report.retryable.len(), report.accepted), (1, 1));

    for (status, kind) in [(401, ErrorKind::Auth), (429, ErrorKind::RateLimited), (404, ErrorKind::NotFound)] {
        serve(&[("PUT", status, json!({}))]);
        let error = writer(json!({}), None).write(emails(RowOp::Upsert, &["ann@x.test", "bo@x.test"])).unwrap_err();
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn who_is_archived_is_not_sent_where_new_members_are_subscribed_or_asked() {
    for status in ["subscribed", "pending"] {
        let archived = ("GET /lists/a1/members/ddfb97", 200, json!({ "status": "archived" }));
        let sent = serve(&[archived, ("GET /lists/a1/members/", 404, json!({})), put()]);

        let mut writer = writer(json!({ "new_members": status }), None);
        let report = done(writer.write(emails(RowOp::Upsert, &["ann@x.test", "bo@x.test"])).unwrap());

        assert_eq!((codes(&report), report.accepted), (vec![(0, "mailchimp.archived", None)], 1));
        let puts: Vec<Value> =
            sent.borrow().iter().filter(|(what, _)| what.starts_with("PUT")).map(|(_, body)| body.clone()).collect();
        assert_eq!(puts, [json!({ "email_address": "bo@x.test", "status_if_new": status, "merge_fields": {} })]);
    }
}

#[test]
fn many_rows_are_one_batch_and_tagged_when_it_is_finished() {
    let started = ("POST /batches", 200, json!({ "id": "b1" }));
    let sent = serve(&[
        started.clone(),
        tag(),
        tagged(),
        ("GET /batches/b1", 200, json!({ "status": "finished", "errored_operations": 0 })),
    ]);
    let mut addresses = tokens(500);
    addresses.push(addresses[0].clone());
    let texts: Vec<&str> = addresses.iter().map(String::as_str).collect();

    let ticket = pending(writer(json!({}), Some("VIP")).write(emails(RowOp::Upsert, &texts)).unwrap());
    // In another process.
    let report = done(writer(json!({}), Some("VIP")).poll(&ticket).unwrap());

    assert_eq!((report.accepted, ticket.len() < 64 << 10), (501, true));
    let sent = sent.borrow();
    let find = |what: &str| &sent.iter().find(|(known, _)| known.starts_with(what)).unwrap().1;
    let operations = find("POST /batches")["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 500);
    let last = &operations[499];
    assert_eq!(last["path"], format!("/lists/a1/members/{}.lower.md5", addresses[0]));
    let body: Value = serde_json::from_str(last["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["email_address"], format!("{}.json", addresses[0]));
    assert_eq!(find("POST /lists/a1/segments/7")["members_to_add"].as_array().map(Vec::len), Some(500));
}

/// A batch that is finished, with failures, as it stands in another process.
fn finished_badly(archive: &str) -> (&'static str, u16, Value) {
    ("GET /batches/b1", 200, json!({ "status": "finished", "errored_operations": 2, "response_body_url": archive }))
}

const ARCHIVE: &str = "https://mailchimp-api-batch.s3.amazonaws.com/b1-response.tar.gz?Expires=1&Signature=s%3D";

#[test]
fn a_batch_with_failures_tells_by_its_archive_which_and_why() {
    let started = ("POST /batches", 200, json!({ "id": "b1" }));
    let addresses = tokens(50);
    let texts: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let sent = serve(&[started]);
    let ticket = pending(writer(json!({}), Some("VIP")).write(emails(RowOp::Upsert, &texts)).unwrap());
    let operations = sent.borrow().last().unwrap().1["operations"].as_array().cloned().unwrap();
    assert_eq!(operations[7]["operation_id"], "row 7");
    let entry = |row: usize| {
        let (status, answer) = match row {
            7 => (400, json!({ "title": "Member In Compliance State", "detail": addresses[7] })),
            9 => (400, json!({ "title": "Invalid Resource", "errors": [{ "field": "FNAME", "message": addresses[9] }] })),
            11 => (500, json!({})),
            _ => (200, json!({ "contact_id": format!("c{row}"), "email_address": addresses[row] })),
        };
        json!({ "status_code": status, "operation_id": format!("row {row}"), "response": answer.to_string() })
    };
    // What the host makes of the archive: a list of what its files hold.
    let (first, second): (Vec<usize>, Vec<usize>) = (0..50).partition(|row| *row % 3 == 0);
    let told: Vec<Vec<Value>> = [second, first].map(|rows| rows.into_iter().map(entry).collect()).to_vec();

    let sent = serve(&[finished_badly(ARCHIVE), (ARCHIVE, 200, json!(told)), tag(), tagged()]);
    let report = done(writer(json!({}), Some("VIP")).poll(&ticket).unwrap());

    assert_eq!(codes(&report), [(7, "mailchimp.compliance_state", None), (9, "mailchimp.refused", Some("FNAME"))]);
    assert_eq!((report.retryable.iter().map(|error| error.row).collect::<Vec<_>>(), report.accepted), (vec![11], 47));
    assert!(report.failed.iter().all(|error| !error.message.contains("pii0zq")));
    assert_eq!((report.remote_ids.len(), report.remote_ids.contains(&(12, "c12".to_owned()))), (47, true));
    assert_eq!(sent.borrow().last().unwrap().1["members_to_add"].as_array().map(Vec::len), Some(47));
}

#[test]
fn a_batch_whose_archive_is_gone_is_halved_until_its_rows_are_put_one_by_one() {
    let started = ("POST /batches", 200, json!({ "id": "b1" }));
    let addresses = tokens(50);
    let texts: Vec<&str> = addresses.iter().map(String::as_str).collect();
    serve(std::slice::from_ref(&started));
    let ticket = pending(writer(json!({}), None).write(emails(RowOp::Upsert, &texts)).unwrap());

    for rules in [&[finished_badly("")][..], &[finished_badly(ARCHIVE), (ARCHIVE, 403, json!({}))]] {
        serve(rules);
        assert_eq!(writer(json!({}), None).poll(&ticket).unwrap_err().code, "mailchimp.batch.untold");
    }
    serve(&[put()]);
    let report = done(writer(json!({}), None).write(emails(RowOp::Upsert, &texts[..49])).unwrap());
    assert_eq!(report.accepted, 49);

    serve(&[started, ("GET /batches/b1", 404, json!({}))]);
    assert_eq!(done(writer(json!({}), None).poll(&ticket).unwrap()).retryable.len(), 50);
}

#[test]
fn addresses_in_the_clear_are_kept_in_no_ticket() {
    serve(&[put()]);
    let addresses: Vec<String> = (0..100).map(|place| format!("p{place}@x.test")).collect();
    let texts: Vec<&str> = addresses.iter().map(String::as_str).collect();

    assert_eq!(done(writer(json!({}), None).write(emails(RowOp::Upsert, &texts)).unwrap()).accepted, 100);
}

#[test]
fn a_tag_is_found_or_made_and_who_does_not_take_it_is_told() {
    let answer =
        json!({ "errors": [{ "email_addresses": ["bo@x.test", "stranger@x.test"], "error": "bo@x.test is not on the list" }] });
    let refusing = ("POST /lists/a1/segments/8", 200, answer);
    let sent = serve(&[tag(), put(), refusing, ("POST /lists/a1/segments", 200, json!({ "id": 8 }))]);
    let mut writer = writer(json!({}), Some("New"));

    let report = done(writer.write(emails(RowOp::Upsert, &["ann@x.test", "bo@x.test"])).unwrap());

    assert_eq!((codes(&report), report.accepted), (vec![(1, "list.refused", None)], 1));
    let left = done(writer.write(emails(RowOp::Delete, &["ann@x.test", ""])).unwrap());
    assert_eq!(left.accepted, 2);
    assert_eq!(sent.borrow().last().unwrap().1, json!({ "members_to_remove": ["ann@x.test"] }));
    assert_eq!(sent.borrow().iter().filter(|(what, _)| what.starts_with("GET /lists/a1/segments")).count(), 1);

    serve(&[tag(), put(), ("POST /lists/a1/segments/7", 404, json!({}))]);
    let error = super::writing::writer(json!({}), Some("VIP")).write(emails(RowOp::Upsert, &["ann@x.test"])).unwrap_err();
    assert_eq!(error.code, "list.gone");
}

#[test]
fn a_person_is_erased_by_the_address_and_looked_up_by_it() {
    let gone = ("POST /lists/a1/members/ddfb97efd93ca3019049ed7ddc4bf6a9/actions/delete-permanent", 204, Value::Null);
    serve(&[
        gone,
        ("POST /lists/a1/members/", 404, json!({})),
        ("GET /lists/a1/members/ddfb97", 200, json!({ "contact_id": "c1" })),
        ("GET /lists/a1/members/", 404, json!({})),
    ]);
    let people = emails(RowOp::Delete, &["ann@x.test", "bo@x.test"]);
    let open = |mode| Writer::open(config(json!({})), target(mode, &texts(&["email_address"]), None));

    let report = open(WriteMode::Erase).map(|(mut writer, _)| writer.erase(&people)).unwrap().unwrap();
    let looked = open(WriteMode::VerifyErasure).map(|(mut writer, _)| writer.verify_erasure(&people)).unwrap().unwrap();

    assert_eq!((report.accepted, report.failed.len()), (2, 0));
    assert_eq!(looked.retryable.iter().map(|error| error.row).collect::<Vec<_>>(), [0]);
}
