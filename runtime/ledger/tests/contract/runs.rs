//! Runs, leases and slots.

use affluent_ledger::*;
use affluent_model::error::{Domain, Retry};

use crate::harness::*;

const SECOND_US: i64 = 1_000_000;

#[test]
fn a_second_run_of_a_pipeline_is_refused_while_the_first_is_alive() {
    let store = Store::new();
    store.begin("p");

    let refusal = store.begin_run(&start("p", 15 * SECOND_US)).unwrap_err();

    assert_eq!((refusal.code, refusal.domain, refusal.retry), ("E0705", Domain::External, Retry::After(45_000)));
    assert_eq!(refusal.message, "pipeline `p` is run by `pid 1 on test` since 15 s (run `1`)");
}

#[test]
fn runs_of_other_pipelines_do_not_disturb_each_other() {
    let store = Store::new();

    let (p, q) = (store.begin("p"), store.begin("q"));

    assert_eq!((p.run, p.fence, q.run, q.fence), (1, 1, 2, 1));
}

#[test]
fn an_expired_lease_is_stolen_and_its_run_is_abandoned() {
    let store = Store::new();
    store.begin("p");

    let thief = store.begin_run(&start("p", 60 * SECOND_US)).unwrap();

    assert_eq!(thief.fence, 2);
    let outcomes: Vec<Option<String>> = store.runs(None, 10).unwrap().into_iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [None, Some("abandoned".to_owned())]);
}

#[test]
fn a_renewed_lease_is_not_stolen() {
    let store = Store::new();
    let lease = store.begin("p");

    store.renew_lease(&lease, 59 * SECOND_US, 60_000).unwrap();

    assert_eq!(store.begin_run(&start("p", 118 * SECOND_US)).unwrap_err().code, "E0705");
    assert_eq!(store.lease("p").unwrap().unwrap().expires_at_us, 119 * SECOND_US);
}

#[test]
fn the_lease_of_a_holder_known_to_be_dead_is_taken_at_once() {
    let store = Store::new();
    let dead = store.begin("p");

    let next = store.begin_run(&RunStart { replaces_fence: Some(dead.fence), ..start("p", 1) }).unwrap();

    assert_eq!(next.fence, 2);
    assert_eq!(store.renew_lease(&dead, 2, 60_000).unwrap_err().code, "E0706");
}

#[test]
fn knowing_that_an_earlier_holder_is_dead_does_not_take_a_later_lease() {
    let store = Store::new();
    let earlier = store.begin("p");
    store.finish_run(&earlier, &end(1)).unwrap();
    store.begin_run(&start("p", 2)).unwrap();

    let refusal = store.begin_run(&RunStart { replaces_fence: Some(earlier.fence), ..start("p", 3) });

    assert_eq!(refusal.unwrap_err().code, "E0705");
}

#[test]
fn a_finished_run_gives_its_lease_back_and_keeps_its_report() {
    let mut store = Store::new();
    let lease = store.begin("p");
    store.finish_run(&lease, &end(9)).unwrap();

    store.reopen();

    let run = store.runs(Some("p"), 1).unwrap().remove(0);
    assert_eq!((run.outcome.as_deref(), run.report_json.as_deref(), run.ended_at_us), (Some("succeeded"), Some("{}"), Some(9)));
    assert!(store.lease("p").unwrap().unwrap().is_released);
    assert_eq!(store.begin("p").fence, 2);
}

#[test]
fn nothing_is_written_with_the_lease_of_a_finished_run() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    store.finish_run(&lease, &end(9)).unwrap();

    assert_eq!(store.commit_epoch(&lease, &epoch()).unwrap_err().code, "E0706");
    assert_eq!(store.finish_run(&lease, &end(10)).unwrap_err().code, "E0706");
}

#[test]
fn runs_come_newest_first_and_limited() {
    let store = Store::new();
    for pipeline in ["p", "q", "r"] {
        store.begin(pipeline);
    }

    let runs: Vec<i64> = store.runs(None, 2).unwrap().into_iter().map(|run| run.run).collect();

    assert_eq!(runs, [3, 2]);
}

#[test]
fn a_slot_is_claimed_once() {
    let store = Store::new();

    let claims = [store.claim_slot("p", 100, 101), store.claim_slot("p", 100, 102), store.claim_slot("q", 100, 103)];

    assert_eq!(claims, [Ok(true), Ok(false), Ok(true)]);
    assert_eq!(store.last_slot("p").unwrap(), Some(100));
    assert_eq!(store.last_slot("r").unwrap(), None);
}

/// One write of each kind, as a run does it.
type Write = fn(&dyn Ledger, &Lease) -> affluent_model::Result<()>;

#[test]
fn a_run_that_was_overtaken_can_write_nothing() {
    let store = Store::new();
    let zombie = store.zombie();
    let writes: [(&str, Write); 9] = [
        ("finish", |ledger, lease| ledger.finish_run(lease, &end(1))),
        ("generation", |ledger, lease| ledger.begin_generation(lease, STREAM, 1).map(|_| ())),
        ("sequence", |ledger, lease| ledger.next_sequence(lease).map(|_| ())),
        ("epoch", |ledger, lease| ledger.commit_epoch(lease, &EpochCommit { files: vec![file("a")], ..epoch() })),
        ("resolution", |ledger, lease| ledger.commit_resolution(lease, &ResolutionCommit::default())),
        ("snapshot", |ledger, lease| ledger.commit_snapshot(lease, &SnapshotCommit::default()).map(|_| ())),
        ("plan", |ledger, lease| ledger.begin_plan(lease, 1).map(|_| ())),
        ("run key", |ledger, lease| ledger.add_run_key(lease, 1, &[1])),
        ("reset", |ledger, lease| ledger.reset_sync(lease)),
    ];

    for (name, write) in writes {
        assert_eq!(write(&*store, &zombie).unwrap_err().code, "E0706", "{name}");
    }

    assert!(store.is_empty().unwrap());
    assert_eq!(store.last_sequence().unwrap(), 0);
    assert_eq!(store.snapshot().unwrap(), None);
}
