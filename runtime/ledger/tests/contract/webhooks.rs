//! News of sources and requests of services.

use affluent_ledger::*;

use crate::harness::*;

fn due(store: &Store) -> Vec<(String, i64)> {
    store.news().unwrap().into_iter().map(|row| (row.pipeline, row.number)).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn news_are_due_until_a_run_has_read_them_whatever_becomes_of_the_process() {
    let mut store = Store::new();
    store.tell_news(&names(&["p", "q"])).unwrap();
    store.reopen();
    assert_eq!(due(&store), [("p".to_owned(), 1), ("q".to_owned(), 1)]);

    let failed = store.begin("p");
    store.finish_run(&failed, &end(1)).unwrap();
    assert_eq!(due(&store).len(), 2, "a run that read nothing takes no news away");

    let good = store.begin("p");
    store.finish_run(&good, &RunEnd { news_read: Some(1), ..end(2) }).unwrap();
    assert_eq!(due(&store), [("q".to_owned(), 1)]);
}

#[test]
fn news_that_come_during_a_run_are_left_to_the_next() {
    let store = Store::new();
    store.tell_news(&names(&["p"])).unwrap();
    let run = store.begin("p");
    store.tell_news(&names(&["p"])).unwrap();

    store.finish_run(&run, &RunEnd { news_read: Some(1), ..end(1) }).unwrap();

    assert_eq!(due(&store), [("p".to_owned(), 2)]);
}

#[test]
fn a_number_of_news_never_comes_again() {
    let store = Store::new();
    store.tell_news(&names(&["p"])).unwrap();
    let run = store.begin("p");
    store.finish_run(&run, &RunEnd { news_read: Some(1), ..end(1) }).unwrap();

    store.tell_news(&names(&["p"])).unwrap();

    assert_eq!(due(&store), [("p".to_owned(), 2)]);
}

#[test]
fn a_run_whose_lease_was_lost_takes_no_news_away() {
    let store = Store::new();
    store.tell_news(&names(&[PIPELINE])).unwrap();
    let zombie = store.zombie();

    let refused = store.finish_run(&zombie, &RunEnd { news_read: Some(1), ..end(1) }).unwrap_err();

    assert_eq!((refused.code, due(&store).len()), ("E0706", 1));
}

fn asked(topic: &str, mark: u8, due_at_us: i64) -> NewRequest {
    NewRequest {
        connection: "shop".to_owned(),
        topic: topic.to_owned(),
        about: Some("7".to_owned()),
        mark: vec![mark],
        asked_at_us: 1,
        due_at_us,
        audited: format!("asked {topic}"),
    }
}

fn answered() -> RequestEnd {
    let text = |text: &str| text.to_owned();
    RequestEnd { answer: text("erasure 4"), closed_by: text("ann"), closed_at_us: 9, audited: text("closed 1") }
}

#[test]
fn a_request_is_open_once_until_it_is_closed_and_each_of_both_is_in_the_audit() {
    let mut store = Store::new();
    assert!(store.add_request(&asked("erase", 1, 50)).unwrap());
    assert!(!store.add_request(&asked("erase", 1, 60)).unwrap(), "the same again");
    assert!(store.add_request(&asked("tell", 2, 40)).unwrap());
    store.reopen();
    let numbers = |with_closed| store.requests(with_closed, 9).unwrap().into_iter().map(|row| row.request).collect::<Vec<_>>();
    assert_eq!(numbers(false), [2, 1]);

    assert!(store.close_request(1, &answered()).unwrap());
    assert!(!store.close_request(1, &answered()).unwrap(), "it is closed");
    assert!(!store.close_request(7, &answered()).unwrap(), "there is none");
    assert_eq!((numbers(false), numbers(true)), (vec![2], vec![2, 1]));
    let closed = store.request(1).unwrap().unwrap();
    assert_eq!(
        (closed.answer.as_deref(), closed.closed_by.as_deref(), closed.closed_at_us),
        (Some("erasure 4"), Some("ann"), Some(9))
    );

    assert!(store.add_request(&asked("erase", 1, 90)).unwrap(), "after that it is a new one");
    let actions: Vec<_> = store.audit_rows(9).unwrap().into_iter().map(|row| (row.action, row.detail)).collect();
    let told = |action: &str, detail: &str| (action.to_owned(), detail.to_owned());
    let expected = [
        told("request.asked", "asked erase"),
        told("request.closed", "closed 1"),
        told("request.asked", "asked tell"),
        told("request.asked", "asked erase"),
    ];
    assert_eq!(actions, expected);
}
