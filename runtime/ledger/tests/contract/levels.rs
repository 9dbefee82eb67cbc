//! Few rows after many: they are written elsewhere than the many, and nobody may notice.

use affluent_ledger::*;
use affluent_model::identity::{NodeId, ProfileId};

use crate::harness::*;

const MANY: i64 = 100;

/// Each of these nodes is a profile of its own; node n carries value n of kind 0.
fn add(store: &Store, lease: &Lease, nodes: std::ops::RangeInclusive<i64>) {
    let new_nodes: Vec<NewNode> = nodes.clone().map(node).collect();
    store.commit_epoch(lease, &EpochCommit { new_nodes, ..epoch() }).unwrap();
    let created: Vec<ProfileId> = nodes.clone().map(|number| profile(number as u128)).collect();
    let commit = ResolutionCommit {
        edges: nodes.clone().map(|number| edge(number, 0, number as u8)).collect(),
        assignments: nodes.map(NodeId).zip(created.iter().copied()).collect(),
        created,
        ..Default::default()
    };
    store.commit_resolution(lease, &commit).unwrap();
}

/// Many nodes, then five.
fn many_then_few() -> (Store, Lease) {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    add(&store, &lease, 1..=MANY);
    add(&store, &lease, MANY + 1..=MANY + 5);
    (store, lease)
}

/// What each node is found by: its key, its profile, its identifier.
fn found(store: &Store, number: i64) -> [bool; 3] {
    let key = store.find_nodes(&[key(number)]).unwrap().into_iter().flatten().any(|found| found.node == NodeId(number));
    let profile_nodes = store.nodes_of(profile(number as u128)).unwrap();
    let profiles = store.find_profiles(0, &value(number as u8)).unwrap();
    [key, profile_nodes.iter().any(|row| row.node == NodeId(number)), profiles.contains(&profile(number as u128))]
}

#[test]
fn few_after_many_are_found_and_so_are_they_when_more_come() {
    let (store, lease) = many_then_few();
    let is_whole = |last: i64| (1..=last).all(|number| found(&store, number) == [true; 3]);
    assert!(is_whole(MANY + 5));

    add(&store, &lease, MANY + 6..=MANY + 40);

    assert!(is_whole(MANY + 40));
    assert_eq!(store.whole_graph().unwrap().edges.len(), 140);
    assert_eq!(store.profile_count().unwrap(), 140);
}

#[test]
fn a_value_that_few_share_with_many_joins_them() {
    let (store, lease) = many_then_few();
    let shared = ResolutionCommit { edges: vec![edge(MANY + 1, 0, 1)], ..Default::default() };
    store.commit_resolution(&lease, &shared).unwrap();

    let around = store.neighbourhood(&[NodeId(MANY + 1)], &[]).unwrap();

    assert_eq!(around.nodes.iter().map(|row| row.node.0).collect::<Vec<_>>(), [1, MANY + 1]);
}

#[test]
fn a_key_that_is_taken_is_refused_whether_it_came_with_many_or_with_few() {
    for taken in [50, MANY + 3] {
        let (store, lease) = many_then_few();
        let again = NewNode { node: NodeId(MANY + 6), ..node(taken) };
        let refused = store.commit_epoch(&lease, &EpochCommit { new_nodes: vec![again], ..epoch() }).unwrap_err();
        assert_eq!(refused.code, "E0711", "node {taken}");
        assert_eq!(found(&store, taken), [true; 3], "node {taken}");
    }
}

#[test]
fn who_is_forgotten_is_found_nowhere_also_when_more_come() {
    let (store, lease) = many_then_few();
    for forgotten in [50, MANY + 3] {
        let row = ErasureRow {
            erasure: 1,
            profile: profile(forgotten as u128),
            nodes: vec![NodeId(forgotten)],
            requested_at_us: 5,
            forgotten_at_us: None,
            receipts: Vec::new(),
        };
        store.forget_person(&lease, &row).unwrap();
    }
    for more in [None, Some(MANY + 6..=MANY + 40)] {
        if let Some(more) = more {
            add(&store, &lease, more);
        }
        for forgotten in [50, MANY + 3] {
            assert_eq!(found(&store, forgotten), [true, false, false], "node {forgotten} is a mark and nothing else");
        }
    }
}

#[test]
fn a_node_that_moves_to_another_profile_leaves_the_old_one() {
    for moved in [50, MANY + 3] {
        let (store, lease) = many_then_few();
        let commit = ResolutionCommit { assignments: vec![(NodeId(moved), profile(1))], ..Default::default() };
        store.commit_resolution(&lease, &commit).unwrap();

        assert_eq!(store.nodes_of(profile(moved as u128)).unwrap(), []);
        assert_eq!(store.nodes_of(profile(1)).unwrap().len(), 2);
    }
}
