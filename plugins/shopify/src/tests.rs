//! The source against a played shop: what is asked, what becomes of each kind of answer, and that a reading stopped
//! anywhere goes on without loss.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use affluent_sdk::runtime::Level;
use affluent_sdk::{
    Columns, Error, ErrorKind, Limits, Page, Payload, Position, Result, Source, StreamSpec, SyncMode, testing, values,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Config, Reader};

const LIMITS: Limits = Limits { max_rows: 2_000, max_bytes: 16 << 20 };
const SECOND_US: i64 = 1_000_000;

fn config(extra: Value) -> Config {
    let mut config = json!({ "shop": "acme", "bulk_from": 0 });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn spec(name: &str, sync: SyncMode) -> StreamSpec {
    let spec = testing::spec::<Reader>(&config(json!({})), name, sync).unwrap();
    StreamSpec { lookback_ms: 120_000, ..spec }
}

fn open(name: &str, extra: Value, state: Option<Value>) -> Reader {
    let state = state.map(|state| state.to_string().into_bytes());
    Reader::open(config(extra), spec(name, SyncMode::Incremental), state).unwrap()
}

/// Answers each request with what the function makes of its body.
fn on_ask(mut answer: impl FnMut(&Value) -> Value + 'static) {
    testing::on_http(move |request| {
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        Ok(testing::response(200, &answer(&body).to_string()))
    });
}

fn page_of(nodes: &[Value]) -> Value {
    json!({ "data": { "page": { "nodes": nodes, "pageInfo": { "hasNextPage": false, "endCursor": "x" } } } })
}

fn next_error(name: &str) -> Error {
    open(name, json!({}), None).next(LIMITS).unwrap_err()
}

fn part<'a>(page: &'a Page, stream: &str) -> &'a Columns {
    let part = page.parts.iter().find(|part| part.stream == stream).unwrap();
    let Payload::Columns(columns) = &part.payload else { panic!("columns") };
    columns
}

fn ids(page: &Page, stream: &str) -> Vec<String> {
    let columns = part(page, stream);
    (0..columns.rows as usize).map(|row| columns.text("id").unwrap().get(row).unwrap().to_owned()).collect()
}

fn state(page: &Page) -> Value {
    serde_json::from_slice(page.state.as_deref().unwrap()).unwrap()
}

fn at(seconds: i64) -> String {
    let mut text = Vec::new();
    values::write_timestamp(seconds * SECOND_US, &mut text);
    String::from_utf8(text).unwrap()
}

fn customer(extra: Value) -> Value {
    let mut customer = json!({ "id": "gid://shopify/Customer/7", "updatedAt": "2026-06-01T00:00:00Z" });
    customer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    customer
}

fn order(id: u32, lines: u32, has_more_lines: bool) -> Value {
    let lines: Vec<Value> = (0..lines).map(|line| json!({ "id": format!("gid://shopify/LineItem/{id}0{line}") })).collect();
    let info = json!({ "hasNextPage": has_more_lines, "endCursor": "more" });
    json!({ "id": format!("gid://shopify/Order/{id}"), "updatedAt": at(0), "customer": null, "lineItems": { "nodes": lines, "pageInfo": info } })
}

#[test]
fn a_customer_becomes_a_flat_record() {
    let found = json!({ "email": { "emailAddress": "ada@x.test" }, "emailMarketing": { "marketingState": "SUBSCRIBED" }, "tags": ["vip"],
        "amountSpent": { "amount": "12.50", "currencyCode": "EUR" }, "numberOfOrders": "3", "defaultAddress": { "countryCodeV2": "FR" } });
    on_ask(move |_| page_of(&[customer(found.clone())]));

    let page = open("customers", json!({}), None).next(LIMITS).unwrap();

    let columns = part(&page, "customers");
    assert_eq!(columns.text("id").unwrap().get(0), Some("7"));
    assert_eq!(columns.text("email").unwrap().get(0), Some("ada@x.test"));
    assert_eq!(columns.text("email_marketing_state").unwrap().get(0), Some("SUBSCRIBED"));
    assert_eq!(columns.text("default_address_country_code").unwrap().get(0), Some("FR"));
    assert_eq!(columns.decimals("amount_spent").unwrap().get(0), Some("12.50"));
    assert_eq!(columns.integers("number_of_orders").unwrap().get(0), Some(3));
    assert_eq!(columns.json("tags").unwrap().get(0), Some(r#"["vip"]"#));
}

#[test]
fn the_consent_to_sms_is_read_from_both_versions() {
    for marketing in [json!({ "consent": { "state": "PENDING" } }), json!({ "state": "PENDING" })] {
        on_ask(move |_| page_of(&[customer(json!({ "smsMarketing": marketing, "phone": { "phoneNumber": "+33100000000" } }))]));

        let page = open("customers", json!({}), None).next(LIMITS).unwrap();

        assert_eq!(part(&page, "customers").text("sms_marketing_state").unwrap().get(0), Some("PENDING"));
    }
}

#[test]
fn a_consent_that_is_not_told_is_unknown_and_the_address_stays() {
    on_ask(|_| {
        let mut answer = page_of(&[customer(json!({ "email": { "emailAddress": "ada@x.test" }, "emailMarketing": null }))]);
        answer["errors"] =
            json!([{ "message": "no such value", "path": ["page", "nodes", 0, "emailMarketing", "marketingState"] }]);
        answer
    });

    let page = open("customers", json!({}), None).next(LIMITS).unwrap();

    assert_eq!(part(&page, "customers").text("email").unwrap().get(0), Some("ada@x.test"));
    assert_eq!(part(&page, "customers").text("email_marketing_state").unwrap().get(0), Some("UNKNOWN"));
}

#[test]
fn guest_orders_are_kept_and_lines_travel_with_their_order() {
    on_ask(|_| page_of(&[order(1, 2, false), order(2, 1, false)]));

    let page = open("orders", json!({}), None).next(LIMITS).unwrap();

    assert_eq!(ids(&page, "orders"), ["1", "2"]);
    assert_eq!(part(&page, "orders").text("customer_id").unwrap().get(0), None);
    let orders = part(&page, "order_lines").text("order_id").unwrap();
    assert_eq!([orders.get(0), orders.get(1), orders.get(2)], [Some("1"), Some("1"), Some("2")]);
}

#[test]
fn all_lines_of_an_order_are_fetched_before_the_page_is_given() {
    on_ask(|body| match body["variables"]["id"].as_str() {
        Some(_) => json!({ "data": { "order": { "lineItems": order(1, 3, false)["lineItems"] } } }),
        None => page_of(&[order(1, 10, true)]),
    });

    let page = open("orders", json!({}), None).next(LIMITS).unwrap();

    assert_eq!(part(&page, "order_lines").rows, 13);
}

#[test]
fn no_query_may_cost_more_than_a_single_one_is_allowed() {
    for (name, dearest) in [("customers", 994), ("orders", 962)] {
        testing::on_http(move |request| {
            assert_eq!(request.cost, Some(dearest));
            assert!(request.retry_safe);
            Ok(testing::response(200, &page_of(&[]).to_string()))
        });

        open(name, json!({}), None).next(LIMITS).unwrap();
    }
}

#[test]
fn a_query_that_is_too_dear_is_asked_again_for_half_as_many() {
    on_ask(|body| match body["variables"]["first"].as_u64() {
        Some(first) if first > 40 => {
            json!({ "data": null, "errors": [{ "message": "", "extensions": { "code": "MAX_COST_EXCEEDED" } }] })
        }
        _ => page_of(&[customer(json!({}))]),
    });

    let page = open("customers", json!({}), None).next(LIMITS).unwrap();

    assert_eq!(ids(&page, "customers"), ["7"]);
}

#[test]
fn a_refusal_becomes_the_error_that_makes_the_host_do_the_right_thing() {
    let cases = [
        (json!({ "path": ["page"], "extensions": { "code": "ACCESS_DENIED" } }), ErrorKind::Permission, "shopify.access_denied"),
        (json!({ "extensions": { "code": "THROTTLED" } }), ErrorKind::RateLimited, "shopify.throttled"),
        (json!({ "extensions": { "code": "INTERNAL_SERVER_ERROR" } }), ErrorKind::Transient, "shopify.unavailable"),
        (json!({ "message": "no field", "extensions": { "code": "undefinedField" } }), ErrorKind::Config, "shopify.query"),
        (json!({ "message": "ada@x.test", "path": ["page", "nodes", 0, "email"] }), ErrorKind::Internal, "shopify.field"),
    ];

    for (refusal, kind, code) in cases {
        on_ask(move |_| json!({ "data": { "page": null }, "errors": [refusal] }));
        let error = next_error("customers");
        assert_eq!((error.kind, error.code.as_str()), (kind, code));
        assert!(!error.message.contains("ada@x.test"), "{error}");
    }
}

#[test]
fn a_status_becomes_the_error_that_makes_the_host_do_the_right_thing() {
    let cases = [
        (401, ErrorKind::Auth),
        (402, ErrorKind::Permission),
        (403, ErrorKind::Permission),
        (404, ErrorKind::Config),
        (503, ErrorKind::Transient),
    ];

    for (status, kind) in cases {
        testing::on_http(move |_| Ok(testing::response(status, "")));
        assert_eq!(next_error("customers").kind, kind, "{status}");
    }
}

#[test]
fn an_answer_that_is_none_is_never_an_empty_page() {
    let broken = [
        "<html>busy</html>",
        r#"{"data":null}"#,
        r#"{"data":{"page":null}}"#,
        r#"{"data":{"page":{"nodes":[]}}}"#,
        r#"{"data":{"pa"#,
        "{}",
    ];

    for body in broken {
        testing::on_http(move |_| Ok(testing::response(200, body)));
        assert_eq!(next_error("customers").kind, ErrorKind::Transient, "{body}");
    }
}

#[test]
fn a_search_that_the_shop_does_not_understand_stops_the_run() {
    on_ask(|_| {
        let mut answer = page_of(&[customer(json!({}))]);
        answer["extensions"] = json!({ "search": [{ "warnings": [{ "field": "updatedat", "code": "invalid_field" }] }] });
        answer
    });

    let error = next_error("customers");

    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Config, "shopify.search_warning"));
}

#[test]
fn another_version_in_the_answer_is_warned_of_once() {
    testing::reset();
    testing::on_http(|_| {
        let mut response = testing::response(200, &page_of(&[]).to_string());
        response.headers.push(("X-Shopify-API-Version".to_owned(), "2027-01".to_owned()));
        Ok(response)
    });

    open("customers", json!({}), None).next(LIMITS).unwrap();

    assert!(matches!(testing::logs().as_slice(), [(Level::Warn, text)] if text.contains("2027-01")));
}

#[test]
fn the_next_run_begins_the_lookback_before_the_high_water_mark_and_never_moves_it_back() {
    on_ask(|body| {
        assert_eq!(body["variables"]["query"], format!("updated_at:>='{}'", at(880)));
        page_of(&[customer(json!({ "updatedAt": at(900) }))])
    });
    let high_water_us = 1_000 * SECOND_US;

    let page = open("customers", json!({}), Some(json!({ "version": 1, "high_water_us": high_water_us }))).next(LIMITS).unwrap();

    assert_eq!(state(&page), json!({ "version": 1, "high_water_us": high_water_us, "place": null }));
}

#[test]
fn test_orders_are_read_unless_the_configuration_says_no() {
    for (include, search) in [(true, Value::Null), (false, json!("test:false"))] {
        on_ask(move |body| {
            assert_eq!(body["variables"]["query"], search);
            page_of(&[])
        });

        open("orders", json!({ "include_test_orders": include }), None).next(LIMITS).unwrap();
    }
}

#[test]
fn a_new_search_begins_before_the_paging_ends() {
    on_ask(|_| {
        let mut answer = page_of(&[customer(json!({ "updatedAt": at(500) }))]);
        answer["data"]["page"]["pageInfo"]["hasNextPage"] = json!(true);
        answer
    });
    let place = json!({ "pages": { "search": "", "after": "a", "records": 24_800 } });

    let page = open("customers", json!({}), Some(json!({ "version": 1, "place": place }))).next(LIMITS).unwrap();

    let search = format!("updated_at:>='{}'", at(500));
    assert_eq!(state(&page)["place"], json!({ "pages": { "search": search, "after": null, "records": 0 } }));
}

/// The records of a played shop, by id: when each was updated, in seconds.
type Shop = Rc<RefCell<BTreeMap<u32, i64>>>;

/// Serves the shop in the order of updates, with cursors that stay valid when records move.
fn serve(shop: Shop) {
    on_ask(move |body| {
        let variables = &body["variables"];
        let search = variables["query"].as_str().unwrap_or_default();
        let from = search
            .strip_prefix("updated_at:>='")
            .map_or(i64::MIN, |text| values::parse_timestamp(text.trim_end_matches('\'')).unwrap() / SECOND_US);
        let after = variables["after"].as_str().map(|cursor| serde_json::from_str::<(i64, u32)>(cursor).unwrap());
        let mut found: Vec<(i64, u32)> = shop.borrow().iter().map(|(id, at)| (*at, *id)).collect();
        found.sort_unstable();
        found.retain(|place| place.0 >= from && after.is_none_or(|after| *place > after));
        let first = usize::try_from(variables["first"].as_u64().unwrap()).unwrap();
        let nodes: Vec<Value> = found
            .iter()
            .take(first)
            .map(|(seconds, id)| customer(json!({ "id": format!("gid://x/{id}"), "updatedAt": at(*seconds) })))
            .collect();
        let cursor = found.get(..first.min(found.len())).and_then(<[_]>::last).map(|last| json!(last).to_string());
        json!({ "data": { "page": { "nodes": nodes, "pageInfo": { "hasNextPage": found.len() > first, "endCursor": cursor } } } })
    });
}

/// Reads up to `pages_max` pages; the versions read go into `seen`, the state is that of the last page.
fn read(state: Option<Vec<u8>>, pages_max: usize, seen: &mut BTreeMap<String, i64>) -> Result<Option<Vec<u8>>> {
    let mut reader = Reader::open(config(json!({ "page_size": 2 })), spec("customers", SyncMode::Incremental), state.clone())?;
    let mut last = state;
    for _ in 0..pages_max {
        let page = reader.next(LIMITS)?;
        for columns in page.parts.iter().map(|_| part(&page, "customers")) {
            let (id, updated) = (columns.text("id")?, columns.timestamps("updated_at")?);
            seen.extend(
                (0..columns.rows as usize).map(|row| (id.get(row).unwrap().to_owned(), updated.get(row).unwrap() / SECOND_US)),
            );
        }
        last = page.state;
        if page.position == Position::End {
            break;
        }
    }
    Ok(last)
}

proptest! {
    #[test]
    fn a_run_stopped_anywhere_and_records_changed_meanwhile_lose_nothing(
        records in prop::collection::btree_map(0u32..40, 0i64..1_000, 1..20),
        stops in prop::collection::vec(1usize..4, 0..4),
        changed in prop::collection::vec(0u32..40, 0..4),
    ) {
        let shop: Shop = Rc::new(RefCell::new(records));
        serve(Rc::clone(&shop));
        let (mut seen, mut state) = (BTreeMap::new(), None);

        for (turn, pages_max) in stops.into_iter().enumerate() {
            state = read(state, pages_max, &mut seen).unwrap();
            if let Some(id) = changed.get(turn) {
                shop.borrow_mut().insert(*id, 1_000 + i64::try_from(turn).unwrap());
            }
        }
        read(state, usize::MAX, &mut seen).unwrap();

        let truth: BTreeMap<String, i64> = shop.borrow().iter().map(|(id, at)| (id.to_string(), *at)).collect();
        prop_assert_eq!(seen, truth);
    }
}

mod bulk;
