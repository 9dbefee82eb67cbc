use super::*;
use crate::testing;

const MEANINGS: &[Meaning] = &[Meaning::new(&[423], ErrorKind::Permission, "shop.frozen", "the shop is frozen")];

fn service() -> Service {
    Service::new("https://x.test", "key").media_type("application/a").header("b", "c").meanings(MEANINGS)
}

#[test]
fn every_request_has_what_the_service_asks_for() {
    testing::on_http(|request| {
        let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!((request.method.as_str(), headers), ("DELETE", vec!["content-type: application/a".into(), "b: c".into()]));
        Ok(testing::response(204, ""))
    });
    let service = service();

    assert_eq!(service.ask(service.delete("/a", "{}".to_owned())).unwrap(), Value::Null);
}

#[test]
fn refusals_mean_what_the_service_says() {
    testing::on_http(|_| Ok(testing::response(423, "")));
    let service = service();

    assert_eq!(service.ask(service.get("/a")).unwrap_err().code, "shop.frozen");
}

#[test]
fn a_limit_that_only_the_answer_tells_is_seen_before_the_host_repeats_anything() {
    const SPENT: &[Meaning] =
        &[Meaning::new(&[429], ErrorKind::RateLimited, "shop.daily", "spent").when("/policy", "DAILY").wait_ms(60_000)];
    for (policy, code, wait_ms, repeats) in
        [("DAILY", "shop.daily", 60_000, vec![false]), ("SECONDLY", "http.429", 1_000, vec![false, true])]
    {
        let seen = std::rc::Rc::<std::cell::RefCell<Vec<bool>>>::default();
        let asked = std::rc::Rc::clone(&seen);
        testing::on_http(move |request| {
            asked.borrow_mut().push(request.retry_safe);
            Ok(testing::response(429, &format!(r#"{{"policy":"{policy}"}}"#)))
        });
        let service = Service::new("https://x.test", "key").meanings(SPENT);

        let error = service.ask(service.get("/a")).unwrap_err();

        assert_eq!((error.code.as_str(), error.retry_after_ms), (code, Some(wait_ms)));
        assert_eq!(*seen.borrow(), repeats);
    }
}

#[test]
fn each_of_several_requests_is_complete_and_has_its_own_answer() {
    testing::on_http(|request| {
        assert_eq!((request.auth.as_deref(), request.headers.len()), (Some("key"), 1));
        Ok(testing::response(if request.url.ends_with("/b") { 423 } else { 200 }, "{}"))
    });
    let service = service();

    let answers = service.send_each(["/a", "/b", "/c"].map(|path| service.get(path)).into(), 2);

    let codes = answers.into_iter().map(|answer| service.judged(answer.unwrap()).err().map(|error| error.code));
    assert_eq!(codes.collect::<Vec<_>>(), [None, Some("shop.frozen".to_owned()), None]);
}

#[test]
fn a_refusal_for_want_of_a_permission_names_the_scopes() {
    testing::on_http(|_| Ok(testing::response(423, "")));
    let service = service();

    let error = service.ask_scoped(service.get("/a"), "lists:read").unwrap_err();

    assert_eq!(error.message, "the credential lacks one of the scopes lists:read");
}

#[test]
fn what_is_not_there_is_none_where_it_need_not_be() {
    for (status, expected) in [(200, Some(Some(Value::Null))), (404, Some(None)), (423, None)] {
        testing::on_http(move |request| {
            assert_eq!((request.method.as_str(), request.body.as_deref()), ("DELETE", None));
            Ok(testing::response(status, "null"))
        });
        let service = service();

        assert_eq!(service.ask_if_there(service.delete_at("/a"), "a:read").ok(), expected);
    }
}

#[test]
fn a_check_by_requests_needs_the_first_scope_and_notes_the_others() {
    let service = service();
    let ask = |statuses: [u16; 3]| {
        let mut statuses = statuses.into_iter();
        testing::on_http(move |_| Ok(testing::response(statuses.next().unwrap(), "")));
        service.check_requests(["a", "b", "c"].map(|scope| (service.get("/"), scope)).to_vec())
    };

    assert_eq!(ask([400, 200, 401]).unwrap(), ["the credential may lack the scope c"]);
    assert_eq!(ask([423, 200, 200]).unwrap_err().message, "the credential lacks one of the scopes a");
    assert_eq!(ask([401, 200, 200]).unwrap_err().kind, ErrorKind::Auth);
    assert_eq!(ask([200, 500, 200]).unwrap_err().kind, ErrorKind::Transient);
}

#[test]
fn an_answer_that_something_was_taken_may_be_empty() {
    testing::on_http(|_| Ok(testing::response(202, "")));
    let service = service();

    assert_eq!(service.ask(service.get("/a")).unwrap(), Value::Null);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again_where_that_does_no_harm() {
    let service = service();
    for (is_safe, code) in [(true, None), (false, Some("http.body"))] {
        let asked = std::cell::Cell::new(0);
        testing::on_http(move |_| {
            asked.set(asked.get() + 1);
            Ok(testing::response(200, if asked.get() == 1 { r#"{"a":"# } else { r#"{"a":1}"# }))
        });

        let answer = service.ask(service.post("/a", String::new()).retry_safe(is_safe));

        assert_eq!(answer.err().map(|error| error.code).as_deref(), code);
    }
}

#[test]
fn all_pages_are_read_and_an_answer_without_records_is_none() {
    testing::on_http(|request| {
        let is_first = !request.url.contains("after");
        Ok(testing::response(200, if is_first { r#"{"data":[1],"next":"b"}"# } else { r#"{"data":[2]}"# }))
    });
    let service = service();
    let paging = Paging::Cursor { pointer: "/next", parameter: "after" };

    let all = service.ask_all(service.get("/a"), paging, "/data").unwrap();

    assert_eq!(all, [1, 2]);
    assert_eq!(service.ask_all(service.get("/a"), paging, "/items").unwrap_err().code, "page.no_list");
}

#[test]
fn what_a_credential_does_not_reach_is_done_without_and_other_trouble_is_told() {
    let service = service();
    for (status, body, expected) in [
        (200, r#"{"fields": [{"name": "a"}]}"#, Ok(Some(1))),
        (401, "{}", Ok(None)),
        (403, "{}", Ok(None)),
        (404, "{}", Ok(None)),
        (500, "{}", Err(ErrorKind::Transient)),
    ] {
        testing::on_http(move |_| Ok(testing::response(status, body)));
        let listed = service.ask_all_granted(service.get("/fields"), Paging::Single, "/fields", "fields.read");
        assert_eq!(listed.map(|listed| listed.map(|fields| fields.len())).map_err(|error| error.kind), expected, "{status}");
    }
}
