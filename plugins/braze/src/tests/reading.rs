//! The source against a played workspace.

use affluent_sdk::{Source, StreamSpec, SyncMode};

use super::{config, serve};
use crate::Reader;
use affluent_sdk::testing::{self, LIMITS};
use serde_json::json;

#[test]
fn addresses_that_unsubscribed_are_read_with_their_instants_from_the_beginning_and_then_by_day() {
    testing::reset();
    testing::set_now_us(1_795_824_000_000_000); // 2026-11-28
    let urls = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = std::rc::Rc::clone(&urls);
    testing::on_http(move |request| {
        seen.borrow_mut().push(request.url.split_once(".eu").unwrap().1.to_owned());
        let one = |number| json!({ "email": format!("p{number}@x.test"), "unsubscribed_at": "2026-08-25 15:24:32 +0000" });
        let found: Vec<_> = (0..if request.url.contains("offset=0") { 500 } else { 1 }).map(one).collect();
        Ok(testing::response(200, &json!({ "emails": found, "message": "success" }).to_string()))
    });
    let open = |state| {
        let spec: StreamSpec = testing::spec::<Reader>(&config(&json!({})), "unsubscribes", SyncMode::Incremental).unwrap();
        Reader::open(config(&json!({})), spec, state).unwrap()
    };

    let mut reader = open(None);
    let first = reader.next(LIMITS).unwrap();
    let last = reader.next(LIMITS).unwrap();
    open(last.state).next(LIMITS).unwrap();

    assert_eq!((first.parts.len(), first.rejected.len()), (1, 0));
    let urls = urls.borrow();
    let asked = |from: &str, offset: u32| {
        format!("/email/unsubscribes?sort_direction=asc&start_date={from}&end_date=2026-11-28&limit=500&offset={offset}")
    };
    assert_eq!(*urls, [asked("2011-01-01", 0), asked("2011-01-01", 500), asked("2026-08-25", 0)]);
}

#[test]
fn the_stream_resumes_at_every_page() {
    for (stream, field) in [("unsubscribes", "unsubscribed_at"), ("hard_bounces", "hard_bounced_at")] {
        serve(&[]);
        testing::on_http(move |request| {
            let offset: usize = request.url.rsplit('=').next().unwrap().parse().unwrap();
            let one = |number: usize| json!({ "email": format!("p{number}@x.test"), field: "2026-08-25 15:24:32 +0000" });
            let found: Vec<_> = (0..1_100).skip(offset).take(500).map(one).collect();
            Ok(testing::response(200, &json!({ "emails": found }).to_string()))
        });
        testing::assert_resumable::<Reader>(|| config(&json!({})), stream).unwrap();
        assert_eq!(testing::read_all::<Reader>(|| config(&json!({})), stream).unwrap().rows(stream), 1_100);
    }
}
