//! The destination and the source against a played workspace: what is sent, what becomes of each kind of answer, and that no request
//! could give a consent or delete a user.

mod reading;

use std::cell::RefCell;
use std::rc::Rc;

use affluent_sdk::manifest::{Target, TargetList, WriteMode};
use affluent_sdk::{
    Batch, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, Plugin, Report, RowOp, testing,
};
use serde_json::{Value, json};

use crate::{Braze, Config, Writer};

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    testing::on_hmac(|secret, data| {
        assert_eq!(secret, "api_key");
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        Ok(data.iter().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes().repeat(4))
    });
    play(rules)
}

/// As [`serve`], with what the plugin remembers.
fn play(rules: &[(&'static str, u16, Value)]) -> Sent {
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://rest.fra-01.braze.eu").unwrap());
        let attributes = "GET /custom_attributes";
        if what == attributes && rules.iter().all(|(start, _, _)| *start != attributes) {
            return Ok(testing::response(403, "{}"));
        }
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        assert_eq!(request.auth.as_deref(), Some("token"));
        seen.borrow_mut().push((what.clone(), body));
        let (_, status, answer) = rules.iter().find(|(start, _, _)| what.starts_with(start)).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(*status, &answer.to_string()))
    });
    sent
}

fn success() -> (&'static str, u16, Value) {
    ("POST /users/track", 201, json!({ "message": "success", "attributes_processed": 1 }))
}

fn config(more: &Value) -> Config {
    let mut config = json!({ "instance": "fra-01.braze.eu" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn target(by: &str, list: Option<&str>, fields: &[&str]) -> Target {
    let fields = fields.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let mode = if list.is_some() { WriteMode::Mirror } else { WriteMode::Upsert };
    Target { object: "user".to_owned(), mode, match_fields: vec![by.to_owned()], list, fields, run: String::new() }
}

fn writer(by: &str, list: Option<&str>, fields: &[&str]) -> Writer {
    Writer::open(config(&json!({ "alias_label": "shop" })), target(by, list, fields)).unwrap().0
}

fn batch(op: RowOp, fields: &[(&str, FieldType)], rows: &[&[Option<&str>]]) -> Batch {
    let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, *kind)).collect();
    let mut builder = ColumnsBuilder::new(&fields);
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

const ID: (&str, FieldType) = ("external_id", FieldType::Text);
const NAME: (&str, FieldType) = ("first_name", FieldType::Text);
const ORDERS: (&str, FieldType) = ("custom_attributes.orders", FieldType::Integer);

#[test]
fn a_row_becomes_an_object_with_typed_custom_attributes_and_nulls_that_clear() {
    let sent = serve(&[success()]);
    let fields = [
        ("external_id", FieldType::Integer),
        ("email", FieldType::Text),
        ("dob", FieldType::Date),
        NAME,
        ORDERS,
        ("custom_attributes.spent", FieldType::Decimal),
        ("custom_attributes.tags", FieldType::Json),
        ("_remote_id", FieldType::Text),
    ];
    let row = [Some("7"), Some("a@x.test"), Some("1980-12-21"), None, Some("3"), Some("12.50"), Some(r#"["a"]"#), Some("r")];
    let mut writer = writer("external_id", None, &["external_id", "email", "dob", "first_name", "custom_attributes.orders"]);

    assert_eq!(report(writer.write(batch(RowOp::Upsert, &fields, &[&row])).unwrap()).accepted, 1);

    let object = json!({ "external_id": "7", "email": "a@x.test", "dob": "1980-12-21", "first_name": null, "orders": 3,
        "spent": 12.5, "tags": ["a"], "_update_existing_only": false });
    assert_eq!(*sent.borrow(), [("POST /users/track".to_owned(), json!({ "attributes": [object] }))]);
}

#[test]
fn custom_attributes_are_those_of_the_workspace_unless_they_may_be_made_or_are_not_told() {
    let attribute = |name: &str, kind: &str, status: &str| json!({ "name": name, "data_type": kind, "status": status });
    let listed = [
        attribute("orders", "Number (Automatically Detected)", "Active"),
        attribute("seen at", "Date", "Active"),
        attribute("old", "String", "Blocklisted"),
        attribute("email", "String", "Active"),
    ];
    let known = ("GET /custom_attributes", 200, json!({ "attributes": listed }));
    for (rules, create, takes_new) in [(vec![known.clone()], false, false), (vec![known], true, true), (vec![], false, true)] {
        serve(&rules);
        let config = || config(&json!({ "create_attributes": create }));
        let offered = Writer::discover(&config()).unwrap().remove(0);
        let kind = |name: &str| offered.fields.iter().find(|field| field.name == name).map(|field| field.field_type);
        if !rules.is_empty() {
            assert_eq!(kind("custom_attributes.orders"), Some(FieldType::Float));
            assert_eq!(kind("custom_attributes.seen at"), Some(FieldType::Timestamp));
        }
        assert_eq!((kind("custom_attributes.old"), kind("custom_attributes.email")), (None, None));
        let opened = Writer::open(config(), target("external_id", Some("vip"), &["external_id", "custom_attributes.new"]));
        assert_eq!(opened.is_ok(), takes_new, "{rules:?} {create}");
    }
}

#[test]
fn only_attributes_that_changed_are_sent_unless_all_are_wanted() {
    let fields = [ID, NAME, ORDERS];
    let rows: [&[Option<&str>]; 2] = [&[Some("7"), Some("Ada"), Some("1")], &[Some("8"), Some("Bo"), Some("1")]];
    let changed: [&[Option<&str>]; 2] = [&[Some("7"), Some("Ada"), Some("2")], &[Some("8"), Some("Bo"), Some("1")]];
    for (all, expected) in [(false, json!({ "orders": 2 })), (true, json!({ "orders": 2, "first_name": "Ada" }))] {
        let sent = serve(&[success()]);
        let open = || {
            let target = target("external_id", None, &["external_id", "first_name", "custom_attributes.orders"]);
            Writer::open(config(&json!({ "send_unchanged": all })), target).unwrap().0
        };
        open().write(batch(RowOp::Upsert, &fields, &rows)).unwrap();
        assert_eq!(sent.borrow()[0].1["attributes"].as_array().unwrap().len(), 2);

        let outcome = report(open().write(batch(RowOp::Upsert, &fields, &changed)).unwrap());

        assert_eq!(outcome.accepted, 2);
        let objects = sent.borrow()[1].1["attributes"].as_array().unwrap().clone();
        assert_eq!(objects.len(), if all { 2 } else { 1 });
        let mut first = objects[0].as_object().unwrap().clone();
        assert_eq!((first.remove("external_id"), first.remove("_update_existing_only")), (Some(json!("7")), Some(json!(false))));
        assert_eq!(json!(first), expected);
    }
}

#[test]
fn what_was_refused_is_told_by_row_and_field_and_sent_again_whole() {
    let words = "The value 'ada@x' provided for the 'first_name' field is not valid.";
    let refusal = json!({ "message": "success", "errors": [{ "type": words, "input_array": "attributes", "index": 1 }] });
    let fields = [ID, NAME];
    let rows: [&[Option<&str>]; 4] =
        [&[Some("a"), Some("Ada")], &[None, Some("Nobody")], &[Some("B"), Some("bad")], &[Some("b"), Some("Bo")]];
    serve(&[("POST /users/track", 201, refusal)]);

    let outcome = report(writer("external_id", None, &["first_name"]).write(batch(RowOp::Upsert, &fields, &rows)).unwrap());

    let failed: Vec<_> = outcome.failed.iter().map(|error| (error.row, error.code.as_str(), error.field.as_deref())).collect();
    assert_eq!(failed, [(1, "braze.no_identifier", None), (2, "braze.refused", Some("first_name"))]);
    assert!(!format!("{:?}", outcome.failed).contains("ada@x"));
    let sent = play(&[success()]);
    writer("external_id", None, &["first_name"]).write(batch(RowOp::Upsert, &fields, &rows)).unwrap();
    let again = json!([{ "external_id": "B", "first_name": "bad", "_update_existing_only": false }]);
    assert_eq!(sent.borrow()[0].1["attributes"], again);
}

#[test]
fn a_request_that_is_refused_as_a_whole_is_halved_by_the_host() {
    let refusal = json!({ "message": "no", "errors": [{ "type": "ada@x", "index": 0 }] });
    for (status, kind) in [(400, ErrorKind::InvalidData), (401, ErrorKind::Auth), (403, ErrorKind::Permission)] {
        serve(&[("POST /users/track", status, refusal.clone())]);

        let rows: [&[Option<&str>]; 1] = [&[Some("a"), Some("Ada")]];
        let error = writer("external_id", None, &["first_name"]).write(batch(RowOp::Upsert, &[ID, NAME], &rows)).unwrap_err();

        assert_eq!(error.kind, kind);
        assert!(!error.message.contains("ada@x"));
    }
}

#[test]
fn an_audience_is_a_boolean_and_nobody_is_made_to_leave_it() {
    let sent = serve(&[success()]);
    let mut writer = writer("email", Some("is_vip"), &["email", "first_name"]);
    let fields = [("email", FieldType::Text), NAME];
    let twice: [&[Option<&str>]; 2] = [&[Some("A@x.test"), Some("Old")], &[Some("a@x.test "), Some("Ada")]];

    assert_eq!(report(writer.write(batch(RowOp::Upsert, &fields, &twice)).unwrap()).accepted, 2);
    writer.write(batch(RowOp::Delete, &fields[..1], &[&[Some("a@x.test")]])).unwrap();
    writer.write(batch(RowOp::Upsert, &fields, &twice)).unwrap();

    let bodies: Vec<Value> = sent.borrow().iter().map(|(_, body)| body["attributes"].clone()).collect();
    let joined = json!([{ "email": "a@x.test", "first_name": "Ada", "is_vip": true, "_update_existing_only": false }]);
    let left = json!([{ "email": "a@x.test", "is_vip": false, "_update_existing_only": true }]);
    assert_eq!(bodies, [joined.clone(), left, joined]);
}

#[test]
fn an_address_beside_an_id_is_an_attribute_and_counts_where_there_is_no_id() {
    let sent = serve(&[success()]);
    let both = vec!["email".to_owned(), "external_id".to_owned()];
    let target = Target { match_fields: both, ..target("email", Some("vip"), &["email", "external_id"]) };
    let mut writer = Writer::open(config(&json!({})), target).unwrap().0;
    let fields = [("email", FieldType::Text), ID];
    let rows: [&[Option<&str>]; 3] = [&[Some("a@x.test"), Some("7")], &[Some("b@x.test"), None], &[None, Some("8")]];

    writer.write(batch(RowOp::Upsert, &fields, &rows)).unwrap();
    writer.write(batch(RowOp::Delete, &fields, &rows[..1])).unwrap();

    let joined = json!([{ "external_id": "7", "email": "a@x.test", "vip": true, "_update_existing_only": false },
        { "email": "b@x.test", "vip": true, "_update_existing_only": false },
        { "external_id": "8", "email": null, "vip": true, "_update_existing_only": false }]);
    assert_eq!(sent.borrow()[0].1["attributes"], joined);
    let left = json!([{ "external_id": "7", "vip": false, "_update_existing_only": true }]);
    assert_eq!(sent.borrow()[1].1["attributes"], left);
}

#[test]
fn a_user_alias_has_the_label_of_the_connection() {
    let sent = serve(&[success()]);
    let rows: [&[Option<&str>]; 1] = [&[Some("c7"), Some("Ada")]];
    writer("user_alias", None, &["first_name"])
        .write(batch(RowOp::Upsert, &[("user_alias", FieldType::Text), NAME], &rows))
        .unwrap();

    let alias = json!({ "alias_name": "c7", "alias_label": "shop" });
    assert_eq!(sent.borrow()[0].1["attributes"][0]["user_alias"], alias);
    let without = Writer::open(config(&json!({})), target("user_alias", None, &["user_alias"])).unwrap_err();
    assert_eq!(without.kind, ErrorKind::Config);
}

#[test]
fn consent_and_what_braze_itself_knows_is_never_written_under_any_name() {
    let never = ["email_subscribe", "push_subscribe", "subscription_groups", "braze_id", "_update_existing_only", "email", "$x"];
    serve(&[]);
    let offered = &Writer::discover(&config(&json!({}))).unwrap()[0];
    for name in never {
        let custom = format!("custom_attributes.{name}");
        for target in
            [target("external_id", None, &["external_id", &custom]), target("external_id", Some(name), &["external_id"])]
        {
            let error = Writer::open(config(&json!({})), target).unwrap_err();
            assert!(error.kind == ErrorKind::Config && error.message.contains(name), "{error}");
        }
        assert!(name == "email" || name.starts_with('_') || !offered.has_field(name), "{name}");
    }
    let clash = target("external_id", Some("vip"), &["external_id", "custom_attributes.vip"]);
    let two = target("email", None, &["email", "external_id"]);
    let bare = Target { list: None, ..target("external_id", Some("vip"), &["external_id"]) };
    let many = Target { match_fields: vec!["user_alias".into(), "external_id".into()], ..target("email", None, &["email"]) };
    for (target, told) in [
        (clash, "`vip` is the list"),
        (two, "whom a row is about"),
        (bare, "needs a `list`"),
        (many, "not matched by `user_alias`"),
    ] {
        let error = Writer::open(config(&json!({})), target).unwrap_err();
        assert!(error.message.contains(told), "{error}");
    }
}

#[test]
fn people_are_erased_by_what_they_are_matched_by_and_looked_for() {
    let user = |email: &str| {
        json!({ "braze_id": "b1", "external_id": "7", "email": email,
        "user_aliases": [{ "alias_name": "c7", "alias_label": "shop" }, { "alias_name": "c8", "alias_label": "other" }] })
    };
    let cases = [
        ("external_id", "7", json!({ "external_ids": ["7"] }), "8"),
        ("user_alias", "c7", json!({ "user_aliases": [{ "alias_name": "c7", "alias_label": "shop" }] }), "c8"),
        ("email", "A@x.test", json!({ "braze_ids": ["b1"] }), "b@x.test"),
    ];
    for (by, value, deleted, other) in cases {
        let found = json!({ "message": "success", "users": [user("a@x.test")] });
        let sent =
            serve(&[("POST /users/delete", 201, json!({ "deleted": 1 })), ("POST /users/export/ids", 201, found), success()]);
        let fields = [(by, FieldType::Text)];
        let mut writer = writer(by, None, &[by]);
        writer.write(batch(RowOp::Upsert, &fields, &[&[Some(value)]])).unwrap();
        let people = batch(RowOp::Delete, &fields, &[&[Some(value)], &[None]]);

        assert_eq!(writer.erase(&people).unwrap().accepted, 2);
        let (what, body) = sent.borrow().last().unwrap().clone();
        assert_eq!((what.as_str(), body), ("POST /users/delete", deleted));

        let looked = writer.verify_erasure(&batch(RowOp::Delete, &fields, &[&[Some(value)], &[Some(other)]])).unwrap();
        assert_eq!((looked.retryable[0].row, looked.retryable.len(), looked.accepted), (0, 1, 1), "{by}");
        // What was sent is forgotten: somebody who comes again is sent whole.
        let before = sent.borrow().len();
        writer.write(batch(RowOp::Upsert, &fields, &[&[Some(value)]])).unwrap();
        assert_eq!(sent.borrow().len(), before + 1);
    }
}

#[test]
fn who_cannot_be_looked_for_counts_as_there() {
    serve(&[("POST /users/export/ids", 200, json!({ "message": "queued" }))]);
    let people = batch(RowOp::Delete, &[ID], &[&[Some("7")]]);

    let error = writer("external_id", None, &["external_id"]).verify_erasure(&people).unwrap_err();

    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Transient, "page.no_list"));
}

#[test]
fn the_check_names_the_permission_that_is_missing() {
    let denied = || json!({ "message": "denied" });
    let nothing = ("POST /users/track", 400, json!({ "message": "Valid data must be provided" }));
    let users = ("POST /users/export/ids", 201, json!({ "users": [] }));
    let emails = ("GET /email/", 200, json!({ "emails": [] }));
    let attributes = ("GET /custom_attributes", 200, json!({ "attributes": [] }));
    serve(&[nothing.clone(), users.clone(), emails.clone(), attributes]);
    assert_eq!(Braze::check(&config(&json!({}))).unwrap().notes.len(), 1);

    serve(&[nothing, ("POST /users/export/ids", 401, denied()), ("GET /email/", 403, denied())]);
    let notes = Braze::check(&config(&json!({}))).unwrap().notes;
    assert_eq!(notes[0], "the credential may lack the scope users.export.ids");
    assert_eq!(notes[1], "the credential may lack the scope email.unsubscribe");
    assert_eq!(notes[2], "the credential may lack the scope email.hard_bounces");
    assert!(notes[3].contains("custom_attributes.get"), "{}", notes[3]);

    serve(&[("POST /users/track", 401, denied()), users, emails]);
    assert_eq!(Braze::check(&config(&json!({}))).unwrap_err().kind, ErrorKind::Auth);
}
