//! Checkpoints, nodes and the manifest.

use affluent_ledger::*;
use affluent_model::identity::NodeId;
use affluent_model::limits::STATE_BYTES_MAX;

use crate::harness::*;

fn names(files: Vec<FileRow>) -> Vec<String> {
    files.into_iter().map(|file| file.name).collect()
}

#[test]
fn an_epoch_makes_its_files_nodes_letters_and_state_visible_at_once() {
    let mut store = Store::new();
    let lease = store.begin(PIPELINE);
    let commit = EpochCommit {
        state: Some(b"page 2".to_vec()),
        new_nodes: vec![node(1)],
        files: vec![file("a")],
        dead_letters: vec![letter("line 3")],
        read: 5,
        filtered: 1,
        rejected: 1,
        admitted: 3,
        now_us: 8,
        ..epoch()
    };

    store.commit_epoch(&lease, &commit).unwrap();
    store.reopen();

    let expected =
        Checkpoint { state: Some(b"page 2".to_vec()), generation: 0, is_complete: false, records: 3, updated_at_us: 8 };
    assert_eq!(store.checkpoint(PIPELINE, STREAM).unwrap(), Some(expected));
    assert_eq!(names(store.files(TABLE).unwrap()), ["a"]);
    assert_eq!(store.find_nodes(&[key(1)]).unwrap()[0].as_ref().unwrap().node, NodeId(1));
    assert_eq!(store.dead_letters(&DeadLetterFilter::default(), 9).unwrap()[0].letter, letter("line 3"));
}

#[test]
fn an_epoch_that_fails_leaves_nothing() {
    let (store, lease) = Store::with_nodes(1);
    let before = store.checkpoint(PIPELINE, STREAM).unwrap();
    let twice = NewNode { node: NodeId(2), ..node(1) };
    let commit = EpochCommit {
        new_nodes: vec![node(3), twice],
        files: vec![file("a")],
        state: Some(vec![1]),
        dead_letters: vec![letter("x")],
        ..epoch()
    };

    assert_eq!(store.commit_epoch(&lease, &commit).unwrap_err().code, "E0711");

    assert_eq!(store.checkpoint(PIPELINE, STREAM).unwrap(), before);
    assert_eq!(store.find_nodes(&[key(3)]).unwrap(), [None]);
    assert_eq!(store.files(TABLE).unwrap(), []);
    assert_eq!(store.dead_letter_counts().unwrap(), []);
}

#[test]
fn an_epoch_without_state_keeps_the_one_before() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    store.commit_epoch(&lease, &EpochCommit { state: Some(vec![1]), ..epoch() }).unwrap();

    store.commit_epoch(&lease, &EpochCommit { is_complete: true, ..epoch() }).unwrap();

    let checkpoint = store.checkpoint(PIPELINE, STREAM).unwrap().unwrap();
    assert_eq!((checkpoint.state, checkpoint.is_complete), (Some(vec![1]), true));
}

#[test]
fn a_state_over_its_limit_is_refused() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let commit = EpochCommit { state: Some(vec![0; STATE_BYTES_MAX + 1]), ..epoch() };

    assert_eq!(store.commit_epoch(&lease, &commit).unwrap_err().code, "E0708");
}

#[test]
fn counters_that_do_not_add_up_are_refused() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);

    let refusal = store.commit_epoch(&lease, &EpochCommit { read: 2, admitted: 1, ..epoch() });

    assert_eq!(refusal.unwrap_err().code, "E0001");
}

#[test]
fn a_full_refresh_clears_the_state_and_keeps_the_files() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    store.commit_epoch(&lease, &EpochCommit { state: Some(vec![1]), files: vec![file("a")], ..epoch() }).unwrap();

    let generation = store.begin_generation(&lease, STREAM, 2).unwrap();

    let checkpoint = store.checkpoint(PIPELINE, STREAM).unwrap().unwrap();
    assert_eq!((generation, checkpoint.generation, checkpoint.state, checkpoint.records), (1, 1, None, 0));
    assert_eq!(names(store.files(TABLE).unwrap()), ["a"]);
}

#[test]
fn a_complete_generation_drops_the_files_of_older_ones_of_its_pipeline_only() {
    let store = Store::new();
    let (lease, other) = (store.begin(PIPELINE), store.begin("other"));
    store.commit_epoch(&lease, &EpochCommit { files: vec![file("old")], ..epoch() }).unwrap();
    store.commit_epoch(&other, &EpochCommit { files: vec![file("other")], ..epoch() }).unwrap();
    let generation = store.begin_generation(&lease, STREAM, 2).unwrap();
    store.commit_epoch(&lease, &EpochCommit { files: vec![file("new 1")], generation, ..epoch() }).unwrap();

    let files = vec![NewFile { sequence: 2, ..file("new 2") }];
    let last = EpochCommit { files, generation, is_complete: true, drops_older_generations: true, ..epoch() };
    store.commit_epoch(&lease, &last).unwrap();

    assert_eq!(names(store.files(TABLE).unwrap()), ["other", "new 1", "new 2"]);
    assert!(!store.file_names().unwrap().contains("old"));
}

#[test]
fn an_incomplete_generation_drops_nothing() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    store.commit_epoch(&lease, &EpochCommit { files: vec![file("old")], ..epoch() }).unwrap();
    let generation = store.begin_generation(&lease, STREAM, 2).unwrap();

    let refusal = store.commit_epoch(&lease, &EpochCommit { generation, drops_older_generations: true, ..epoch() });

    assert_eq!(refusal.unwrap_err().code, "E0001");
    assert_eq!(names(store.files(TABLE).unwrap()), ["old"]);
}

#[test]
fn an_epoch_of_an_older_generation_is_refused() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    store.begin_generation(&lease, STREAM, 1).unwrap();
    store.begin_generation(&lease, STREAM, 2).unwrap();

    let refusal = store.commit_epoch(&lease, &EpochCommit { generation: 1, files: vec![file("a")], ..epoch() });

    assert_eq!(refusal.unwrap_err().code, "E0001");
    assert_eq!(store.files(TABLE).unwrap(), []);
}

#[test]
fn sequences_grow_by_one_over_all_pipelines_and_processes() {
    let mut store = Store::new();
    let (p, q) = (store.begin("p"), store.begin("q"));

    let first = [store.next_sequence(&p).unwrap(), store.next_sequence(&q).unwrap()];
    store.reopen();

    assert_eq!(first, [1, 2]);
    assert_eq!(store.next_sequence(&p).unwrap(), 3);
    assert_eq!(store.last_sequence().unwrap(), 3);
}

#[test]
fn reserved_nodes_are_never_given_again() {
    let mut store = Store::new();

    let first = store.reserve_nodes(1_000).unwrap();
    store.reopen();

    assert_eq!(
        (first, store.reserve_nodes(1).unwrap(), store.reserve_nodes(1).unwrap()),
        (NodeId(1), NodeId(1_001), NodeId(1_002))
    );
}

#[test]
fn nodes_are_found_by_key_in_the_order_asked() {
    let (store, _) = Store::with_nodes(300);
    let asked: Vec<i64> = vec![300, 7, 999, 7, 1];

    let found = store.find_nodes(&asked.iter().map(|number| key(*number)).collect::<Vec<_>>()).unwrap();

    let expected = |number: i64| FoundNode { node: NodeId(number), wrapped_key: Some(wrapped(number)) };
    assert_eq!(found, [Some(expected(300)), Some(expected(7)), None, Some(expected(7)), Some(expected(1))]);
}

#[test]
fn files_come_by_sequence_and_are_unresolved_until_a_resolution_says_so() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let child = NewFile { table: "shop.order_lines".to_owned(), ..file("c") };
    let files = vec![NewFile { sequence: 2, ..file("b") }, child, file("a")];
    store.commit_epoch(&lease, &EpochCommit { files, ..epoch() }).unwrap();
    let first = store.files(TABLE).unwrap().remove(0);

    store.commit_resolution(&lease, &ResolutionCommit { resolved_files: vec![first.id], ..Default::default() }).unwrap();

    assert_eq!(store.tables().unwrap(), ["shop.customers", "shop.order_lines"]);
    assert_eq!(names(store.files(TABLE).unwrap()), ["a", "b"]);
    assert_eq!(names(store.unresolved_files().unwrap()), ["c", "b"]);
    assert!(store.has_unresolved_files().unwrap());
}
