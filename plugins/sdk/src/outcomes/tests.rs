//! Outcomes by row, in the forms that services give them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::plugin::{Outcome, Report};

fn read(failure: PartialFailure, answer: &Value) -> Result<Report> {
    let sent = Sent::of([1, 3, 5]).keys(["a", "b", "c"].map(str::to_owned));
    let mut report = Report::accepted(0);
    failure.read(answer, &sent, &mut report)?;
    Ok(report.counted(6))
}

#[test]
fn a_refused_row_is_found_in_every_way_that_services_name_it() {
    let cases = [
        (RowPlace::Index("/index"), json!({ "errors": [{ "index": 1, "code": "bad" }] })),
        (RowPlace::IndexInPath("/path", "/rows/"), json!({ "errors": [{ "path": "/rows/1/email", "code": "bad" }] })),
        (RowPlace::Key("/id"), json!({ "errors": [{ "id": "b", "code": "bad" }, { "id": "b", "code": "worse" }] })),
        (RowPlace::InOrder, json!({ "errors": [{ "code": "ok" }, { "code": "bad" }, { "code": "ok" }] })),
    ];

    for (place, answer) in cases {
        let failure = PartialFailure::at("/errors", place).code("x", "/code").field("/path").success("/code", "ok");
        let report = read(failure, &answer).unwrap();
        assert_eq!((report.accepted, report.failed.len()), (5, 1), "{place:?}");
        assert_eq!((report.failed[0].row, report.failed[0].code.as_str()), (3, "x.bad"), "{place:?}");
    }
}

#[test]
fn results_tell_ids_what_is_worth_another_try_and_never_a_value() {
    let failure = PartialFailure::at("/results", RowPlace::InOrder)
        .code("x", "/error/code")
        .success("/success", "true")
        .transient(&["LOCKED"])
        .id("/id");
    let answer = json!({ "results": [{ "success": true, "id": "r1" }, { "success": false, "error": { "code": "LOCKED" } },
        { "success": false, "error": { "code": "ada@x.test" } }] });

    let report = read(failure, &answer).unwrap();

    assert_eq!(report.remote_ids, [(1, "r1".to_owned())]);
    assert_eq!(report.retryable[0].row, 3);
    assert_eq!(report.failed[0].code, "x.?");
}

#[test]
fn results_without_an_error_are_successes_and_their_ids_may_be_numbers() {
    let failure = PartialFailure::at("/results", RowPlace::InOrder).code("x", "/error").success_without("/error").id("/id");
    let answer = json!({ "results": [{ "id": 7 }, { "id": "r", "error": null }, { "error": "bad" }] });

    let report = read(failure, &answer).unwrap();

    assert_eq!(report.remote_ids, [(1, "7".to_owned()), (3, "r".to_owned())]);
    assert_eq!((report.failed[0].row, report.failed[0].code.as_str()), (5, "x.bad"));
}

#[test]
fn a_failure_without_a_row_refuses_the_batch_and_missing_results_are_asked_again() {
    let untold = PartialFailure::at("/errors", RowPlace::Key("/id")).code("x", "/code");
    let results = PartialFailure::at("/results", RowPlace::InOrder);

    assert_eq!(read(untold, &json!({ "errors": [{ "id": "z" }] })).unwrap_err().code, "x.untold");
    assert_eq!(read(results, &json!({ "results": [] })).unwrap_err().kind, ErrorKind::Transient);
    assert_eq!(read(untold, &json!({})).unwrap().accepted, 6);
}

#[test]
fn waiting_ends_with_the_answer_the_last_try_or_the_run() {
    crate::testing::reset();
    let mut asked = 0;
    let found = wait_for(5, 100, || {
        asked += 1;
        Ok((asked == 3).then_some(asked))
    });
    assert_eq!((found.unwrap(), crate::testing::slept_ms()), (Some(3), 200));
    assert_eq!(wait_for::<()>(2, 100, || Ok(None)).unwrap(), None);
    crate::testing::cancel();
    let before = crate::testing::slept_ms();
    assert_eq!(wait_for::<()>(9, 100, || Ok(None)).unwrap(), None);
    assert_eq!(crate::testing::slept_ms(), before);
}

proptest! {
    #[test]
    fn parts_hold_every_row_once_and_keep_the_limits(sizes in prop::collection::vec(0usize..50, 0..60), rows_max in 1usize..9, bytes_max in 1usize..120) {
        let parts = split(&sizes, rows_max, bytes_max);

        let rows: Vec<usize> = parts.iter().cloned().flatten().collect();
        prop_assert_eq!(rows, (0..sizes.len()).collect::<Vec<_>>());
        for part in parts {
            let bytes: usize = sizes[part.clone()].iter().sum();
            prop_assert!(part.len() <= rows_max && (bytes <= bytes_max || part.len() == 1));
        }
    }
}

#[test]
fn a_failure_is_found_by_the_second_way_and_that_of_a_single_row_is_its_own() {
    let failure = PartialFailure::at("/errors", RowPlace::Index("/index"))
        .or(RowPlace::Keys(|entry| Ok(vec!["z".to_owned(), crate::json::text(entry, "/id").to_owned()])))
        .code("x", "/code")
        .field_after("/path", "/fields/");
    let answer =
        json!({ "errors": [{ "id": "c", "code": "bad", "path": "/rows/2/fields/a/b" }, { "index": 0, "path": "/rows" }] });

    let report = read(failure, &answer).unwrap();

    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.field.as_deref())).collect();
    assert_eq!(failed, [(5, Some("a/b")), (1, None)]);
    let mut alone = Report::accepted(0);
    failure.read(&json!({ "errors": [{ "code": "bad" }] }), &Sent::of([4]), &mut alone).unwrap();
    assert_eq!(alone.failed[0].row, 4);
}

#[test]
fn a_field_in_words_is_told_only_by_a_known_name() {
    let failure = PartialFailure::at("/errors", RowPlace::Index("/index")).field_in_words("/type", &["email", "phone"]);
    let answer =
        json!({ "errors": [{ "index": 0, "type": "'ada' is no 'email'" }, { "index": 1, "type": "'phone number' of 'ada'" }] });

    let report = read(failure, &answer).unwrap();

    assert_eq!(report.failed.iter().map(|error| error.field.as_deref()).collect::<Vec<_>>(), [Some("email"), None]);
}

#[test]
fn failures_that_are_counted_are_untold_only_when_too_few_are_named() {
    let failure = PartialFailure::at("", RowPlace::Index("/index")).code("x", "/code");
    let entries = [json!({ "index": 1, "code": "bad" }), json!({ "code": "bad" })];
    let read = |failed| failure.read_counted(&entries, failed, &Sent::of([1, 3]), &mut Report::accepted(0));

    assert!(read(1).is_ok());
    assert_eq!(read(2).unwrap_err().code, "x.untold");
}

const REASONS: &[Unfit] = &[Unfit { code: "x.nobody", message: "nobody" }, Unfit { code: "x.large", message: "too large" }];

#[test]
fn a_ticket_tells_a_later_process_which_rows_were_sent_and_why_others_were_not() {
    let mut ticket = Ticket::new(11);
    ticket.leave_out(0, 1);
    ticket.leave_out(9, 0);
    let Ok(Outcome::Pending((token, 300))) = ticket.keys(vec!["a".to_owned(), "b".to_owned()]).pending("job 7") else {
        panic!("pending")
    };

    let ticket = Ticket::of(&token).unwrap();
    let (report, sent) = ticket.begin(REASONS);

    assert_eq!(ticket.job(), "job 7");
    assert_eq!((sent.rows().len(), sent.row_of(&["b".to_owned()])), (9, Some(2)));
    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(failed, [(0, "x.large"), (9, "x.nobody")]);
    let report = ticket.again(REASONS, &Error::transient("gone").code("x.gone"));
    assert_eq!((report.failed.len(), report.retryable.len(), report.accepted), (2, 9, 0));
    assert!(Ticket::of("{}").is_err());
}

#[test]
fn who_is_refused_by_key_is_every_row_about_them_and_a_stranger_halves_the_batch() {
    let mut ticket = Ticket::new(4);
    ticket.leave_out(1, 0);
    let ticket = ticket.keys(["a", "b", "a"].map(str::to_owned).to_vec());
    let refused = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        ticket.with_refused_keys(&keys, REASONS, "x.job")
    };

    let report = refused(&["a"]).unwrap();
    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!((failed, report.accepted), (vec![(1, "x.nobody"), (0, "x.job.refused"), (3, "x.job.refused")], 1));
    assert_eq!(refused(&[]).unwrap().accepted, 3);
    assert_eq!(refused(&["a", "c"]).unwrap_err().code, "x.job.untold");
}

#[test]
fn a_job_is_followed_by_the_word_it_stands_at() {
    let status = JobStatus { pointer: "/is", running: &["busy"], complete: &["done"], lost: &["stopped"], prefix: "x.job" };
    let follow = |answer| Ticket::new(2).follow(answer, &status, REASONS, |_| Ok(Report::accepted(2)));
    let at = |word: &str| Ok(json!({ "is": word }));
    let retried = |answer| match follow(answer).unwrap() {
        Outcome::Done(report) => report.retryable.first().map(|error| error.code.clone()),
        Outcome::Pending(_) => Some("pending".to_owned()),
    };

    assert_eq!(retried(at("busy")).as_deref(), Some("pending"));
    assert_eq!(retried(at("done")), None);
    assert_eq!(retried(at("stopped")).as_deref(), Some("x.job.stopped"));
    assert_eq!(retried(Err(Error::from_status(404, None))).as_deref(), Some("x.job.gone"));
    assert_eq!(follow(at("")).unwrap_err().code, "x.job.status");
    assert_eq!(follow(Err(Error::auth("no"))).unwrap_err().kind, ErrorKind::Auth);
}
