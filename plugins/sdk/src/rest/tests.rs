//! Lists of a played service: how each kind of paging goes on and ends, what is asked of it, and what is wrong with answers.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Manifest, PluginKind};
use crate::paging::Paging;
use crate::plugin::{Limits, Source};
use crate::rows::Timestamp;
use crate::stream::SyncMode;
use crate::testing::{self, LIMITS};

#[derive(Clone, Deserialize, JsonSchema)]
struct Config {
    kind: usize,
}

#[derive(Debug, PartialEq, Deserialize, serde::Serialize, JsonSchema)]
struct Item {
    id: i64,
    at: Option<Timestamp>,
}

use schemars::JsonSchema;

struct Service;

/// One list for each way of paging over ten records, two a page.
const PAGINGS: [Paging; 6] = [
    Paging::PageNumber { parameter: "page", first: 1 },
    Paging::Offset { parameter: "offset" },
    Paging::Cursor { pointer: "/meta/next", parameter: "after" },
    Paging::CursorInLink { pointer: "/link", parameter: "page[after]" },
    Paging::NextLink { pointer: "/relative" },
    Paging::LinkHeader,
];

impl Plugin for Service {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("service", "0.1.0", [PluginKind::Source])
    }
}

impl Rest for Service {
    fn service(_: &Config) -> crate::http::Service {
        crate::http::Service::new("https://x.test/api", "token")
    }

    fn lists(config: &Config) -> Result<Vec<List>> {
        let list = |name: &str| List::of::<Item>(name, "/items").map(|list| list.primary_key(["id"]).records_at("/data"));
        let paging = PAGINGS.get(config.kind).copied().unwrap_or(Paging::Single);
        let windows = Since::parameter("from").until("to").window_days(10).format(TimeFormat::Seconds);
        Ok(vec![
            list("items")?.paging(paging).size("limit", 2),
            list("changed")?.since("at", Since::parameter("from")),
            list("sorted")?.paging(PAGINGS[1]).size("limit", 2).since("at", Since::parameter("from").sorted()),
            list("windows")?.since("at", windows),
            list("told")?.paging(PAGINGS[0]).more("/more"),
            list("short")?
                .paging(Paging::Offset { parameter: "offset" })
                .size("limit", 2)
                .short_page_is_last()
                .since("at", Since::parameter("from").format(TimeFormat::Date).beginning(86_400_000_000)),
        ])
    }
}

type Items = RestSource<Service>;

fn config(kind: usize) -> impl Fn() -> Config {
    move || Config { kind }
}

fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    url.split(['?', '&']).filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Ten records, two a page, in every way at once; the URLs asked for.
fn serve() -> Rc<RefCell<Vec<String>>> {
    let urls = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&urls);
    testing::on_http(move |request| {
        let url = &request.url;
        seen.borrow_mut().push(url.clone());
        let number = |name: &str| parameter(url, name).and_then(|text| text.parse::<i64>().ok());
        let start = number("page").map(|page| (page - 1) * 2);
        let start = start.or(number("offset")).or(number("after")).or(number("page%5Bafter%5D")).unwrap_or(0);
        let data: Vec<Value> = (start..(start + 2).min(10)).map(|id| json!({ "id": id })).collect();
        let next = Some(start + 2).filter(|next| *next < 10);
        let body = json!({ "data": data, "meta": { "next": next },
            "link": next.map(|next| format!("https://elsewhere.test/?page%5Bafter%5D={next}")),
            "relative": next.map(|next| format!("/api/items?after={next}")) });
        let mut answer = testing::response(200, &body.to_string());
        answer
            .headers
            .extend(next.map(|next| ("Link".to_owned(), format!("<https://x.test/api/items?after={next}>; rel=\"next\""))));
        Ok(answer)
    });
    urls
}

#[test]
fn every_kind_of_paging_reads_all_and_goes_on_after_any_page() {
    for (kind, paging) in PAGINGS.iter().enumerate() {
        serve();

        let ids: Vec<Item> = testing::read_all::<Items>(config(kind), "items").unwrap().records("items").unwrap();

        assert_eq!(ids, (0..10).map(|id| Item { id, at: None }).collect::<Vec<_>>(), "{paging:?}");
        testing::assert_resumable::<Items>(config(kind), "items").unwrap();
    }
}

#[test]
fn a_number_or_offset_ends_at_an_empty_page_and_a_cursor_where_there_is_none() {
    for (kind, requests) in [(0, 6), (1, 6), (2, 5), (5, 5)] {
        let urls = serve();

        testing::read_all::<Items>(config(kind), "items").unwrap();

        assert_eq!(urls.borrow().len(), requests, "{:?}", PAGINGS[kind]);
    }
}

fn read_error(stream: &str, kind: usize, answer: impl FnMut(&str) -> Value + 'static) -> Error {
    on_url(answer);
    testing::read_all::<Items>(config(kind), stream).unwrap_err()
}

fn on_url(mut answer: impl FnMut(&str) -> Value + 'static) {
    testing::on_http(move |request| Ok(testing::response(200, &answer(&request.url).to_string())));
}

#[test]
fn pages_that_go_in_a_circle_are_an_error() {
    let mut turn = 0;
    let circle = read_error("items", 2, move |_| {
        turn += 1;
        json!({ "data": [{ "id": turn }], "meta": { "next": turn % 3 } })
    });
    let ignored = read_error("items", 0, |_| json!({ "data": [{ "id": 1 }] }));

    assert_eq!([circle.code.as_str(), ignored.code.as_str()], ["page.loop", "page.loop"]);
    assert_eq!(circle.kind, ErrorKind::Transient);
}

#[test]
fn an_answer_that_is_none_is_never_an_empty_page() {
    for answer in [json!({}), json!([]), json!({ "data": null }), json!({ "data": {} }), json!("busy")] {
        let shown = answer.to_string();
        assert_eq!(read_error("items", 2, move |_| answer.clone()).code, "page.no_list", "{shown}");
    }
    let broken = read_error("told", 0, |_| json!({ "data": [], "more": true }));
    assert_eq!(broken.code, "page.no_next");
}

#[test]
fn a_link_to_another_host_is_not_followed() {
    let error = read_error("items", 4, |_| json!({ "data": [{ "id": 1 }], "relative": "https://evil.test/items" }));

    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Config, "page.origin"));
}

#[test]
fn a_page_in_the_middle_may_be_empty() {
    on_url(|url| match parameter(url, "after") {
        None => json!({ "data": [], "meta": { "next": "b" } }),
        Some(_) => json!({ "data": [{ "id": 7 }] }),
    });

    assert_eq!(testing::read_all::<Items>(config(2), "items").unwrap().rows("items"), 1);
}

#[test]
fn an_answer_that_is_larger_than_a_page_is_given_in_parts_and_goes_on_in_each() {
    let data: Vec<Value> = (0..5).map(|id| json!({ "id": id })).collect();
    on_url(move |_| json!({ "data": data }));
    let open = |state| {
        Items::open(
            Config { kind: 9 },
            testing::spec::<Items>(&Config { kind: 9 }, "items", SyncMode::FullRefresh).unwrap(),
            state,
        )
        .unwrap()
    };
    let two = Limits { max_rows: 2, ..LIMITS };

    let mut whole = open(None);
    let pages = [whole.next(two).unwrap(), whole.next(two).unwrap(), whole.next(two).unwrap()];

    assert_eq!(testing::Reading { pages: pages.to_vec() }.rows("items"), 5);
    let rest = open(pages[1].state.clone()).next(LIMITS).unwrap();
    assert_eq!(testing::Reading { pages: vec![rest] }.records::<Item>("items").unwrap(), [Item { id: 4, at: None }]);
}

#[test]
fn a_record_that_does_not_fit_is_rejected_alone_with_its_place() {
    on_url(|_| json!({ "data": [{ "id": 1 }, { "id": "ada@x.test" }, { "at": null }, { "id": 2, "at": "soon" }] }));

    let read = testing::read_all::<Items>(config(9), "items").unwrap();

    let rejected = &read.pages[0].rejected;
    let codes: Vec<&str> = rejected.iter().map(|row| row.code.as_str()).collect();
    assert_eq!((read.rows("items"), codes), (1, vec!["value_type", "value_missing", "value_type"]));
    assert_eq!(rejected[0].place, "record 2 of page 1");
    assert!(rejected.iter().all(|row| !row.message.contains("ada")));
}

fn at(days: i64) -> String {
    Timestamp(days * 86_400_000_000).to_string()
}

#[test]
fn the_next_read_asks_for_what_changed_since_the_newest_change_less_the_lookback() {
    on_url(|_| json!({ "data": [{ "id": 1, "at": at(20) }, { "id": 2, "at": at(10) }] }));
    let state = testing::read_all::<Items>(config(9), "changed").unwrap().state();
    on_url(|url| {
        assert!(url.ends_with("from=1970-01-19T00%3A00%3A00Z"), "{url}");
        json!({ "data": [] })
    });
    let mut spec = testing::spec::<Items>(&Config { kind: 9 }, "changed", SyncMode::Incremental).unwrap();
    spec.lookback_ms = 2 * 86_400_000;

    let page = Items::open(Config { kind: 9 }, spec, state.clone()).unwrap().next(LIMITS).unwrap();

    assert_eq!(page.state, state);
}

#[test]
fn a_sorted_list_moves_its_mark_with_every_page_and_an_unsorted_one_at_its_end() {
    let mark =
        |page: &crate::Page| serde_json::from_slice::<Value>(page.state.as_deref().unwrap()).unwrap()["high_water_us"].clone();
    on_url(|url| match parameter(url, "offset") {
        Some("0") => json!({ "data": [{ "id": 1, "at": at(1) }, { "id": 2, "at": at(2) }] }),
        _ => json!({ "data": [] }),
    });

    let read = testing::read_all::<Items>(config(9), "sorted").unwrap();

    assert_eq!(mark(&read.pages[0]), json!(2 * 86_400_000_000_i64));
}

#[test]
fn a_list_that_must_be_told_a_beginning_is_told_one_and_ends_with_a_short_page() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    on_url(move |url| {
        let place = |name| parameter(url, name).unwrap_or_default().to_owned();
        seen.borrow_mut().push((place("from"), place("offset")));
        let is_first = place("offset") == "0";
        let item = |id: u32| json!({ "id": id, "at": "1970-01-05T00:00:00Z" });
        json!({ "data": if is_first { vec![item(1), item(2)] } else { vec![item(3)] } })
    });

    let read = testing::read_all::<Items>(config(9), "short").unwrap();

    assert_eq!(read.rows("short"), 3);
    assert_eq!(*asked.borrow(), [("1970-01-02", "0"), ("1970-01-02", "2")].map(|(from, at)| (from.to_owned(), at.to_owned())));
}

#[test]
fn windows_follow_each_other_up_to_the_time_at_the_beginning() {
    let spans = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&spans);
    testing::set_now_us(25 * 86_400_000_000);
    on_url(move |url| {
        let day = |name| parameter(url, name).and_then(|text| text.parse::<i64>().ok()).map(|secs| secs / 86_400);
        seen.borrow_mut().push((day("from"), day("to")));
        json!({ "data": [] })
    });
    let mut spec = testing::spec::<Items>(&Config { kind: 9 }, "windows", SyncMode::FullRefresh).unwrap();
    spec.since_us = Some(86_400_000_000);
    let mut source = Items::open(Config { kind: 9 }, spec, None).unwrap();

    let positions = [0; 3].map(|_| source.next(LIMITS).unwrap().position);

    assert_eq!(*spans.borrow(), [(Some(1), Some(11)), (Some(11), Some(21)), (Some(21), Some(25))]);
    assert_eq!(positions[2], crate::Position::End);
}
