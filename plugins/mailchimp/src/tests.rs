//! Both ways against a played audience: what is asked, what becomes of each kind of answer, and that no request could give a consent.

mod writing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use affluent_sdk::testing::{self, Record};
use affluent_sdk::{ErrorKind, FieldType, PiiClass, Plugin, Source, values};
use serde_json::{Value, json};

use crate::{Config, Mailchimp, Reader};

/// Requests as `METHOD path?query`, with their bodies.
type Sent = Rc<RefCell<Vec<(String, Value)>>>;

fn config(more: Value) -> Config {
    let mut config = json!({ "data_center": "us21", "audience": "a1" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn told() -> (&'static str, u16, Value) {
    let field = |tag: &str, kind: &str| json!({ "tag": tag, "type": kind });
    let fields = [
        field("FNAME", "text"),
        field("ADDRESS", "address"),
        field("SPENT", "number"),
        field("LAST", "date"),
        field("BORN", "birthday"),
    ];
    ("GET /lists/a1/merge-fields", 200, json!({ "merge_fields": fields }))
}

/// Answers by the first rule whose start matches `METHOD path`; anything else is a mistake of the test.
fn serve(rules: &[(&'static str, u16, Value)]) -> Sent {
    testing::reset();
    testing::on_hmac(|_, data| Ok(data.repeat(32)));
    let sent = Sent::default();
    let (seen, rules) = (Rc::clone(&sent), rules.to_vec());
    testing::on_http(move |request| {
        let own = request.url.strip_prefix("https://us21.api.mailchimp.com/3.0");
        // What is elsewhere is asked without the key, by its whole address.
        let what = own.map_or_else(|| request.url.clone(), |path| format!("{} {path}", request.method));
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap_or_default());
        assert_eq!(request.auth.as_deref(), own.map(|_| "key"));
        assert!(!body.to_string().contains("\"status\":"), "{body}");
        assert!(!what.contains("offset=") || what.contains("offset=0"), "{what}");
        seen.borrow_mut().push((what.clone(), body));
        let known = rules.iter().find(|(start, _, _)| what.starts_with(start)).cloned();
        let (_, status, answer) =
            known.or_else(|| Some(told()).filter(|(start, _, _)| what.starts_with(start))).unwrap_or_else(|| panic!("{what}"));
        Ok(testing::response(status, &answer.to_string()))
    });
    sent
}

#[test]
fn a_check_says_what_is_wrong() {
    let nowhere: Config = serde_json::from_value(json!({ "audience": "a1" })).unwrap();
    assert!(Mailchimp::check(&nowhere).unwrap_err().message.contains("data_center"));
    for (status, kind, word) in
        [(401, ErrorKind::Auth, "API key"), (403, ErrorKind::Permission, "manager"), (404, ErrorKind::NotFound, "audience")]
    {
        serve(&[("GET /lists/a1/merge-fields", status, json!({}))]);
        let error = Mailchimp::check(&config(json!({}))).unwrap_err();
        assert!(error.kind == kind && error.message.contains(word), "{error}");
    }
    serve(&[]);
    assert_eq!(Mailchimp::check(&config(json!({}))).unwrap().notes.len(), 1);
}

#[test]
fn a_key_has_ten_connections_and_two_are_left() {
    assert_eq!(Mailchimp::manifest().limits.concurrency, Some(8));
}

#[test]
fn columns_are_what_all_members_have_and_the_audiences_merge_fields() {
    serve(&[]);

    let streams = Reader::discover(&config(json!({}))).unwrap();

    let field = |name: &str| streams[0].fields.iter().find(|field| field.name == name).cloned().unwrap();
    let classes = ["email_address", "merge_fields_fname", "merge_fields_address", "merge_fields_born", "status"]
        .map(|name| field(name).pii);
    let expected = [Some(PiiClass::Email), Some(PiiClass::Name), Some(PiiClass::Address), Some(PiiClass::BirthDate), None];
    assert_eq!(classes, expected);
    assert_eq!(field("merge_fields_spent").field_type, FieldType::Float);
    assert_eq!(
        (streams[0].primary_key.as_slice(), streams[0].cursor_field.as_deref()),
        (&["id".to_owned()][..], Some("last_changed"))
    );
}

/// Members of the played audience: id → second of the last change. Somebody changes with every page that is read.
struct Audience {
    members: RefCell<Vec<(u32, i64)>>,
    pages: Cell<u32>,
    moves: bool,
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let value = url.split_once(&format!("{name}="))?.1.split('&').next()?;
    Some(value.replace("%3A", ":").replace("%2B", "+"))
}

fn member(id: u32, second: i64) -> Value {
    json!({ "contact_id": format!("c{id:05}"), "id": "md5 of the address", "email_address": format!("p{id}@x.test"),
        "status": if id.is_multiple_of(2) { "subscribed" } else { "unsubscribed" }, "vip": false, "tags": [],
        "merge_fields": { "FNAME": "Ann", "ADDRESS": { "city": "Lyon" }, "SPENT": "", "BORN": "01/31" },
        "last_changed": values::timestamp_text(second * 1_000_000).replace('Z', "+00:00") })
}

/// Plays an audience whose members changed at these seconds.
fn play(seconds: impl Iterator<Item = i64>, moves: bool) -> Rc<Audience> {
    testing::reset();
    let audience = Rc::new(Audience { members: RefCell::new((0..).zip(seconds).collect()), pages: Cell::new(0), moves });
    let played = Rc::clone(&audience);
    testing::on_http(move |request| {
        if request.url.contains("/merge-fields") {
            return Ok(testing::response(200, &told().2.to_string()));
        }
        let time = |name| parameter(&request.url, name).map(|text| values::parse_timestamp(&text).unwrap() / 1_000_000);
        let (since, before) = (time("since_last_changed").unwrap_or(i64::MIN), time("before_last_changed").unwrap_or(i64::MAX));
        let offset: usize = parameter(&request.url, "offset").unwrap().parse().unwrap();
        let mut members = played.members.borrow_mut();
        members.sort_by_key(|(id, second)| (*second, id.wrapping_mul(7_919) % 10_007));
        let wanted = members.iter().filter(|(_, second)| *second > since && *second < before).skip(offset).take(1_000);
        let page: Vec<Value> = wanted.map(|(id, second)| member(*id, *second)).collect();
        played.pages.set(played.pages.get() + 1);
        if played.moves {
            let last = members.iter().map(|(_, second)| *second).max().unwrap();
            members.first_mut().unwrap().1 = last + 1;
        }
        Ok(testing::response(200, &json!({ "members": page }).to_string()))
    });
    audience
}

fn ids(records: &[Record]) -> Vec<String> {
    let mut ids: Vec<String> = records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn nobody_is_passed_over_though_the_list_moves_while_it_is_read() {
    play((0..3_500).map(|place| 1_000 + place / 3), true);

    let read = testing::read_all::<Reader>(|| config(json!({})), "members").unwrap();

    let records: Vec<Record> = read.records("members").unwrap();
    assert_eq!(ids(&records).len(), 3_500);
    assert!(records.len() < 3_600, "{} records", records.len());
}

#[test]
fn more_members_than_a_page_holds_may_have_changed_in_one_second() {
    let audience = play((0..3_500).map(|place| if (200..2_900).contains(&place) { 5_000 } else { 2_000 + place }), false);

    let read = testing::read_all::<Reader>(|| config(json!({})), "members").unwrap();

    let records: Vec<Record> = read.records("members").unwrap();
    assert_eq!((records.len(), ids(&records).len()), (3_500, 3_500));
    assert!(audience.pages.get() < 25, "{} pages", audience.pages.get());
}

#[test]
fn a_read_that_was_stopped_anywhere_gives_the_rest() {
    play((0..1_300).map(|place| if (100..1_200).contains(&place) { 5_000 } else { 4_990 + place }), false);

    testing::assert_resumable::<Reader>(|| config(json!({})), "members").unwrap();
}

#[test]
fn changes_are_read_from_a_minute_before_the_newest_one() {
    let audience = play((0..1_200).map(|place| 10_000 + place), false);
    let state = testing::read_all::<Reader>(|| config(json!({})), "members").unwrap().state();
    audience.members.borrow_mut().iter_mut().filter(|(id, _)| *id == 7).for_each(|(_, second)| *second = 20_000);

    let read = testing::read_on::<Reader>(|| config(json!({})), "members", state).unwrap();

    let records: Vec<Record> = read.records("members").unwrap();
    assert_eq!((records.len(), records.last().unwrap()["id"].as_str()), (62, Some("c00007")));
}

#[test]
fn a_member_is_read_with_its_consent_and_without_the_hash_of_its_address() {
    play([1_000].into_iter(), false);

    let read = testing::read_all::<Reader>(|| config(json!({})), "members").unwrap();

    let [record] = &read.records::<Record>("members").unwrap()[..] else { panic!("one") };
    assert_eq!(
        (&record["id"], &record["status"], &record["merge_fields_spent"]),
        (&json!("c00000"), &json!("subscribed"), &Value::Null)
    );
    assert!(!json!(record).to_string().contains("md5"), "{record:?}");
}
