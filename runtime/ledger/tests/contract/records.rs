//! Dead letters, values of plugins and the audit trail.

use affluent_ledger::*;

use crate::harness::*;

fn places(rows: Vec<DeadLetterRow>) -> Vec<String> {
    rows.into_iter().map(|row| row.letter.place).collect()
}

#[test]
fn dead_letters_are_filtered_counted_and_dropped() {
    let store = Store::new();
    let (p, q) = (store.begin("p"), store.begin("q"));
    let read = NewDeadLetter { stage: Stage::Read, ..letter("c") };
    store.commit_epoch(&p, &EpochCommit { dead_letters: vec![letter("a"), letter("b"), read], ..epoch() }).unwrap();
    store.commit_epoch(&q, &EpochCommit { dead_letters: vec![letter("d")], ..epoch() }).unwrap();
    let of = |filter| store.dead_letters(&filter, 2).unwrap();

    assert_eq!(places(of(DeadLetterFilter::default())), ["d", "c"]);
    assert_eq!(places(of(DeadLetterFilter { stage: Some(Stage::Admit), run: Some(p.run), ..Default::default() })), ["b", "a"]);
    let counts: Vec<u64> = store.dead_letter_counts().unwrap().into_iter().map(|row| row.count).collect();
    assert_eq!(counts, [1, 2, 1]);
    let ids: Vec<i64> =
        of(DeadLetterFilter { pipeline: Some("q".to_owned()), ..Default::default() }).iter().map(|row| row.id).collect();
    assert_eq!(store.drop_dead_letters(&[ids[0], 999]).unwrap(), 1);
    assert_eq!(places(of(DeadLetterFilter::default())), ["c", "b"]);
}

#[test]
fn values_of_plugins_are_apart_by_pipeline_and_plugin() {
    let mut store = Store::new();
    store.put_plugin_value("p", "shopify", "k", b"1").unwrap();
    store.put_plugin_value("p", "shopify", "k", b"2").unwrap();
    store.put_plugin_value("p", "csv", "k", b"3").unwrap();
    store.delete_plugin_value("p", "csv", "k").unwrap();
    store.delete_plugin_value("p", "csv", "k").unwrap();
    store.reopen();

    let values =
        [("p", "shopify"), ("p", "csv"), ("q", "shopify")].map(|(p, plugin)| store.plugin_value(p, plugin, "k").unwrap());

    assert_eq!(values, [Some(b"2".to_vec()), None, None]);
}

#[test]
fn a_plugin_cannot_keep_more_than_its_share() {
    let store = Store::new();
    let put = |key: &str, bytes: usize| store.put_plugin_value("p", "x", key, &vec![0; bytes]).map_err(|error| error.code);
    assert_eq!(put(&"k".repeat(257), 1), Err("E0708"));
    assert_eq!(put("k", (64 << 10) + 1), Err("E0708"));
    for number in 0..15 {
        assert_eq!(put(&format!("k{number}"), 64 << 10), Ok(()));
    }

    assert_eq!(put("last", 64 << 10), Err("E0708"));

    assert_eq!(store.plugin_value("p", "x", "last").unwrap(), None);
}

#[test]
fn the_audit_trail_keeps_its_order() {
    let mut store = Store::new();
    store.audit(5, "keys.created", "workspace").unwrap();
    store.audit(4, "run.started", "p").unwrap();
    store.reopen();

    let rows: Vec<_> = store.audit_rows(9).unwrap().into_iter().map(|row| (row.id, row.at_us, row.action)).collect();

    assert_eq!(rows, [(2, 4, "run.started".to_owned()), (1, 5, "keys.created".to_owned())]);
}

#[test]
fn the_audit_trail_is_asked_for_one_action_since_an_instant() {
    let store = Store::new();
    for (at_us, action) in [(3, "asked"), (5, "other"), (6, "asked"), (7, "asked")] {
        store.audit(at_us, action, "x").unwrap();
    }

    let instants = |since_us, limit| -> Vec<i64> {
        store.audit_rows_of("asked", since_us, limit).unwrap().into_iter().map(|row| row.at_us).collect()
    };

    assert_eq!((instants(0, 9), instants(6, 9), instants(0, 1), instants(8, 9)), (vec![7, 6, 3], vec![7, 6], vec![7], vec![]));
}
