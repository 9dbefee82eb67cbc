//! The destination against a played account: what is sent, and that no request could give a consent or delete a contact.

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::{Batch, ColumnsBuilder, Destination, Field, Outcome, Report};

use super::*;
use crate::Api;

type Writer = affluent_sdk::upserts::UpsertDestination<Api>;

fn target(object: &str, mode: WriteMode, by: &str, fields: &[Field]) -> Target {
    let list = (mode == WriteMode::Mirror).then(|| TargetList { name: "VIP & co".to_owned() });
    Target {
        object: object.to_owned(),
        mode,
        match_fields: vec![by.to_owned()],
        list,
        fields: fields.to_vec(),
        run: String::new(),
    }
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

fn report(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

#[test]
fn what_can_be_written_is_what_the_account_lets_and_never_consent() {
    serve(&[told()]);
    for (create, is_open) in [(false, false), (true, true)] {
        let targets = Writer::discover(&config(json!({ "create_properties": create }))).unwrap();

        assert_eq!(targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["contacts", "companies"]);
        assert_eq!(targets[0].match_fields, ["email", "member_no"]);
        assert_eq!(targets[0].any_fields, is_open);
        let names: Vec<&str> = targets[0].fields.iter().map(|field| field.name.as_str()).collect();
        assert!(names.contains(&"story") && !names.contains(&"computed"), "{names:?}");
        assert!(names.iter().all(|name| !name.starts_with("hs_email_optout")), "{names:?}");
        for name in ["hs_email_optout", "hs_email_optout_77", "hs_legal_basis", "computed"] {
            let target = target("contacts", WriteMode::Upsert, "email", &texts(&["email", name]));
            let error = Writer::open(config(json!({ "create_properties": create })), target).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{name}");
        }
    }
}

#[test]
fn rows_become_records_by_their_key_with_texts_and_what_is_null_is_cleared() {
    let answer = json!({ "results": [{ "id": "17", "objectWriteTraceId": "row 0", "properties": {} }],
        "errors": [{ "category": "VALIDATION_ERROR", "message": "b@x.test is bad", "context": { "objectWriteTraceId": ["row 1"] } }] });
    let sent = serve(&[told(), ("POST /objects", 207, answer)]);
    let fields =
        [Field::new("email", FieldType::Text), Field::new("amount", FieldType::Decimal), Field::new("story", FieldType::Text)];
    let mut writer = Writer::open(config(json!({})), target("contacts", WriteMode::Upsert, "email", &fields)).unwrap().0;

    let rows = batch(RowOp::Upsert, &fields, &[&[Some("a@x.test"), Some("12.50"), None], &[Some("b@x.test"), None, Some("x")]]);
    let report = report(writer.write(rows).unwrap());

    let (what, body) = sent.borrow().last().unwrap().clone();
    assert_eq!(what, "POST /objects/2026-09/contacts/batch/upsert");
    let first = json!({ "idProperty": "email", "id": "a@x.test", "objectWriteTraceId": "row 0",
        "properties": { "amount": "12.5", "story": "" } });
    assert_eq!(body["inputs"][0], first);
    assert_eq!((report.accepted, report.remote_ids.as_slice()), (1, &[(0, "17".to_owned())][..]));
    assert_eq!((report.failed[0].row, report.failed[0].code.as_str()), (1, "hubspot.VALIDATION_ERROR"));
    assert!(!report.failed[0].message.contains("b@x.test"));
}

#[test]
fn properties_that_the_account_lacks_are_created_only_where_the_connection_says_so() {
    let fields =
        [Field::new("email", FieldType::Text), Field::new("spent", FieldType::Decimal), Field::new("is_vip", FieldType::Boolean)];
    let sent = serve(&[told(), ("POST /properties", 201, json!({ "results": [] }))]);
    let open = |create: bool| {
        let target = target("contacts", WriteMode::Upsert, "email", &fields);
        Writer::open(config(json!({ "create_properties": create })), target).map(drop)
    };

    let error = open(false).unwrap_err();
    assert!(error.message.contains("`spent`"), "{error}");
    assert!(sent.borrow().iter().all(|(what, _)| what.starts_with("GET")));
    open(true).unwrap();

    let (what, body) = sent.borrow().last().unwrap().clone();
    assert_eq!(what, "POST /properties/2026-09/contacts/batch/create");
    let told: Vec<(&str, &str, usize)> = body["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            (input["name"].as_str().unwrap(), input["type"].as_str().unwrap(), input["options"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(told, [("spent", "number", 0), ("is_vip", "bool", 2)]);
}

#[test]
fn a_list_is_kept_by_the_ids_of_its_contacts() {
    let fields = texts(&["email"]);
    let results = json!({ "results": [{ "id": "17", "properties": { "email": "a@x.test" } }] });
    let sent = serve(&[
        told(),
        ("POST /objects", 200, results),
        ("GET /lists", 404, json!({})),
        ("POST /lists", 200, json!({ "list": { "listId": "L7" } })),
        ("PUT /lists", 200, json!({})),
    ]);
    let mut writer = Writer::open(config(json!({})), target("contacts", WriteMode::Mirror, "email", &fields)).unwrap().0;
    sent.borrow_mut().clear();

    let added = report(writer.write(batch(RowOp::Upsert, &fields, &[&[Some("a@x.test")]])).unwrap());
    let removed = report(writer.write(batch(RowOp::Delete, &fields, &[&[Some("a@x.test")]])).unwrap());

    assert_eq!((added.remote_ids.as_slice(), removed.accepted), (&[(0, "17".to_owned())][..], 1));
    let asked: Vec<(String, Value)> = sent.borrow().iter().filter(|(what, _)| what.contains("/lists")).cloned().collect();
    assert_eq!(asked[0].0, "GET /lists/2026-09/object-type-id/0-1/name/VIP%20%26%20co");
    assert_eq!(
        asked[1],
        ("POST /lists/2026-09".to_owned(), json!({ "name": "VIP & co", "objectTypeId": "0-1", "processingType": "MANUAL" }))
    );
    assert_eq!(asked[2], ("PUT /lists/2026-09/L7/memberships/add".to_owned(), json!(["17"])));
    assert_eq!(asked[3], ("PUT /lists/2026-09/L7/memberships/remove".to_owned(), json!(["17"])));
}

#[test]
fn a_person_is_erased_by_address_and_looked_for_afterwards() {
    let fields = texts(&["email"]);
    let sent = serve(&[
        told(),
        ("POST /objects/2026-09/contacts/gdpr-delete", 204, Value::Null),
        ("POST /objects", 207, json!({ "errors": [{}] })),
    ]);
    let people = batch(RowOp::Delete, &fields, &[&[Some("a@x.test")]]);
    let mut writer = Writer::open(config(json!({})), target("contacts", WriteMode::Erase, "email", &fields)).unwrap().0;

    assert_eq!(writer.erase(&people).unwrap().accepted, 1);
    assert_eq!(writer.verify_erasure(&people).unwrap().accepted, 1);

    let sent = sent.borrow();
    let [.., (erased, body), (looked, _)] = sent.as_slice() else { panic!("two requests") };
    assert_eq!(
        (erased.as_str(), body),
        ("POST /objects/2026-09/contacts/gdpr-delete", &json!({ "objectId": "a@x.test", "idProperty": "email" }))
    );
    assert_eq!(looked, "POST /objects/2026-09/contacts/batch/read");
}
