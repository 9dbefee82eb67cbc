//! A played service of the SDK's own, with no vendor in it: what is asked, and how a reading goes on and ends.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Deserialize;

use super::*;
use crate::http;
use crate::plugin::{Limits, Position, Source};
use crate::records::Column;
use crate::runtime::Level;
use crate::stream::{FieldType, SyncMode};
use crate::testing::{self, LIMITS, Record};

/// How many records make a read large; 0 for never.
#[derive(Clone, Copy, Deserialize)]
struct Config {
    bulk_from: u32,
}

const PAGED: Config = Config { bulk_from: 0 };
const BULK: Config = Config { bulk_from: 1 };

struct Service(Config);

const ID: Column = Column::new("id", FieldType::Text, "/id").required();
const UPDATED: Column = Column::new("updated_at", FieldType::Timestamp, "/at");

const NOTES: Child = Child {
    stream: "notes",
    columns: &[ID, Column::new("issue_id", FieldType::Text, "/issue")],
    connection: "noteList",
    selection: "id",
    points: 1,
    first: 2,
    more: 3,
    parent: "issue",
    parent_id: "issue",
    parent_column: "issue_id",
};

impl Graphql for Service {
    type Config = Config;

    const LISTS: &'static [List] = &[
        List::new("issues", &[ID, UPDATED], "id at")
            .connection("issueList")
            .points(4)
            .search("since", "Date")
            .arguments("since:$since")
            .updated("updated_at", "/at")
            .child(NOTES),
        List::new("labels", &[ID], "id"),
    ];
    const BOUNDS: Bounds = Bounds {
        page_records: 3,
        reach_records: 7,
        query_points: 100,
        object_points: 1,
        connection_points: 2,
        too_dear: "service.dear",
    };

    fn connect(config: Config) -> Self {
        Self(config)
    }

    fn ask(&self, query: &str, variables: Value, points: u32) -> Result<Value> {
        let answer = ask(http::post("https://x.test").cost(points), query, variables)?;
        match answer.errors().first() {
            Some(error) => Err(refused(error, REFUSALS, "service")),
            None => answer.data(),
        }
    }

    fn search(&self, _: &List, from_us: Option<i64>) -> String {
        from_us.map_or(String::new(), crate::values::timestamp_text)
    }

    fn is_large(&self, _: &List, _: &str) -> Result<bool> {
        Ok(self.0.bulk_from > 0)
    }

    fn start_bulk(&self, query: &str) -> Result<Option<Bulk>> {
        let data = self.ask(&format!("mutation{query}"), json!({}), 1)?;
        Ok(Some(Bulk::started(json::text(&data, "/id"), at(5))))
    }

    fn bulk_status(&self, id: &str) -> Result<BulkStatus> {
        let data = self.ask(&format!("{{status(id:{})}}", json!(id)), json!({}), 1)?;
        Ok(match json::text(&data, "/status") {
            "running" => BulkStatus::Running,
            "lost" => BulkStatus::Lost,
            _ => BulkStatus::ready(json::text(&data, "/url"), json::text(&data, "/count")),
        })
    }
}

const REFUSALS: &[Refusal] = &[
    Refusal::new(&["DEAR"], ErrorKind::Config, Service::BOUNDS.too_dear, "it costs too much"),
    Refusal::new(&["BUSY"], ErrorKind::RateLimited, "service.busy", "the points are used up"),
];

type Issues = GraphqlSource<Service>;

fn at(seconds: i64) -> String {
    crate::values::timestamp_text(seconds * 1_000_000)
}

fn issue(id: u32, notes: u32) -> Value {
    let nodes: Vec<Value> = (0..notes.min(2)).map(|note| json!({ "id": format!("{id}.{note}") })).collect();
    let list = json!({ "nodes": nodes, "pageInfo": { "hasNextPage": notes > 2, "endCursor": "2" } });
    json!({ "id": id.to_string(), "at": at(id.into()), "noteList": list })
}

/// Plays the service; the text and variables of each query come along.
fn on_query(mut answer: impl FnMut(&str, &Value) -> Value + 'static) -> Rc<RefCell<Vec<String>>> {
    let queries = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&queries);
    testing::on_http(move |request| {
        let Some(body) = &request.body else {
            let lines =
                [json!({ "id": "1", "at": at(9) }), json!({ "id": "1.0", "issue": "1" }), json!({ "id": "2", "at": at(1) })];
            return Ok(testing::response(200, &lines.map(|line| format!("{line}\n")).concat()));
        };
        let body: Value = serde_json::from_slice(body).unwrap();
        let query = body["query"].as_str().unwrap();
        seen.borrow_mut().push(query.to_owned());
        Ok(testing::response(200, &json!({ "data": answer(query, &body["variables"]) }).to_string()))
    });
    queries
}

fn page(nodes: &[Value], next: Option<&str>) -> Value {
    json!({ "page": { "nodes": nodes, "pageInfo": { "hasNextPage": next.is_some(), "endCursor": next } } })
}

/// Ten issues in pages of three, each with three notes, of which two come along.
fn serve() -> Rc<RefCell<Vec<String>>> {
    on_query(|query, variables| {
        if query.contains("issue(id:") {
            let id = variables["id"].as_str().unwrap();
            let last = json!({ "nodes": [{ "id": format!("{id}.2") }], "pageInfo": { "hasNextPage": false } });
            return json!({ "issue": { "noteList": last } });
        }
        let since = variables["since"].as_str().map_or(0, |since| crate::values::parse_timestamp(since).unwrap() / 1_000_000);
        let after: i64 = variables["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let first = after.max(since - 1) + 1;
        let ids: Vec<i64> = (first..=10).take(usize::try_from(variables["first"].as_u64().unwrap()).unwrap()).collect();
        let next = ids.last().filter(|last| **last < 10).map(ToString::to_string);
        page(&ids.iter().map(|id| issue(u32::try_from(*id).unwrap(), 3)).collect::<Vec<_>>(), next.as_deref())
    })
}

#[test]
fn a_list_is_asked_for_in_the_words_of_its_data() {
    let queries = serve();

    let read = testing::read_all::<Issues>(|| PAGED, "issues").unwrap();

    assert_eq!(
        queries.borrow()[0],
        "query($first:Int!,$after:String,$since:Date){page:issueList(first:$first,after:$after,since:$since)\
         {nodes{id at noteList(first:2){nodes{id} pageInfo{hasNextPage endCursor}}} pageInfo{hasNextPage endCursor}}}"
    );
    assert_eq!(
        queries.borrow()[1],
        "query($id:ID!,$after:String){issue(id:$id){noteList(first:3,after:$after){nodes{id} pageInfo{hasNextPage endCursor}}}}"
    );
    let notes: Vec<Record> = read.records("notes").unwrap();
    assert_eq!(notes[2], Record::from([("id".to_owned(), json!("1.2")), ("issue_id".to_owned(), json!("1"))]));
}

#[test]
fn a_stream_that_is_stopped_after_any_page_gives_the_rest_and_the_reach_is_never_passed() {
    let queries = serve();

    testing::assert_resumable::<Issues>(|| PAGED, "issues").unwrap();

    let read = testing::read_all::<Issues>(|| PAGED, "issues").unwrap();
    let places: Vec<Value> =
        read.pages.iter().map(|page| serde_json::from_slice(page.state.as_ref().unwrap()).unwrap()).collect();
    assert_eq!(places[1]["place"]["pages"], json!({ "search": at(6), "after": null, "records": 0 }));
    assert!(queries.borrow().len() > places.len());
}

#[test]
fn a_list_without_search_or_child_is_read_whole() {
    let queries = on_query(|_, _| page(&[json!({ "id": "1" })], None));

    assert_eq!(testing::read_all::<Issues>(|| PAGED, "labels").unwrap().rows("labels"), 1);
    let text =
        "query($first:Int!,$after:String){page:labels(first:$first,after:$after){nodes{id} pageInfo{hasNextPage endCursor}}}";
    assert_eq!(*queries.borrow(), [text]);
    assert_eq!(Issues::discover(&PAGED).unwrap()[2].sync_modes, [SyncMode::FullRefresh]);
}

#[test]
fn cursors_that_lead_in_a_circle_are_an_error() {
    on_query(|_, variables| page(&[], Some(if variables["after"] == "a" { "b" } else { "a" })));

    assert_eq!(testing::read_all::<Issues>(|| PAGED, "labels").unwrap_err().code, "page.loop");
}

#[test]
fn a_refusal_is_what_the_table_says_of_its_code() {
    let cases = [
        (json!({ "extensions": { "code": "BUSY" } }), ErrorKind::RateLimited, "service.busy"),
        (json!({ "message": "ada@x.test", "path": ["page", "nodes", 0, "id"] }), ErrorKind::Internal, "service.field"),
        (json!({ "message": "no such field", "extensions": { "code": "ada@x.test" } }), ErrorKind::Config, "service.query"),
    ];

    for (entry, kind, code) in cases {
        let error = refused(&entry, REFUSALS, "service");
        assert_eq!((error.kind, error.code.as_str()), (kind, code));
        assert!(!error.message.contains("ada"), "{error}");
    }
}

#[test]
fn a_query_that_is_too_dear_is_asked_again_for_half_as_many() {
    testing::on_http(|request| {
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        let answer = match body["variables"]["first"].as_u64() {
            Some(1) => json!({ "data": page(&[], None) }),
            _ => json!({ "data": null, "errors": [{ "extensions": { "code": "DEAR" } }] }),
        };
        Ok(testing::response(200, &answer.to_string()))
    });

    assert_eq!(testing::read_all::<Issues>(|| PAGED, "issues").unwrap().rows("issues"), 0);
}

/// Answers to what a bulk operation is asked, with this status and count.
fn serve_bulk(status: &'static str, count: &'static str) -> Rc<RefCell<Vec<String>>> {
    on_query(move |query, _| match query {
        _ if query.starts_with("mutation") => json!({ "id": "job" }),
        _ if query.contains("status") => json!({ "status": status, "url": "https://x.test/file", "count": count }),
        _ => page(&[issue(7, 0)], None),
    })
}

#[test]
fn a_bulk_operation_gives_whole_parents_and_what_came_later_is_left_to_the_next_read() {
    let queries = serve_bulk("done", "3");
    let one = Limits { max_rows: 1, ..LIMITS };
    let spec = testing::spec::<Issues>(&BULK, "issues", SyncMode::FullRefresh).unwrap();
    let mut source = Issues::open(BULK, spec, None).unwrap();

    let pages = [source.next(one).unwrap(), source.next(one).unwrap(), source.next(one).unwrap()];

    assert_eq!(queries.borrow()[0], "mutation{issueList{edges{node{id at noteList{edges{node{id}}}}}}}");
    let rows = pages.each_ref().map(|page| page.parts.len());
    assert_eq!((rows, pages[2].position), ([0, 2, 1], Position::End));
    let state: Value = serde_json::from_slice(pages[2].state.as_ref().unwrap()).unwrap();
    assert_eq!(state["high_water_us"], 5_000_000);
    testing::assert_resumable::<Issues>(|| BULK, "issues").unwrap();
}

#[test]
fn a_bulk_result_that_breaks_off_is_an_error_and_one_that_is_lost_is_read_in_pages() {
    serve_bulk("done", "4");
    assert_eq!(testing::read_all::<Issues>(|| BULK, "issues").unwrap_err().code, "lines.broken");

    testing::reset();
    serve_bulk("lost", "");
    assert_eq!(testing::read_all::<Issues>(|| BULK, "issues").unwrap().rows("issues"), 1);
    assert!(matches!(testing::logs().as_slice(), [(Level::Warn, _)]));
}
