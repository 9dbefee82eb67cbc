//! Decisions of people: written with their resolution, taken back, forgotten with the person.

use affluent_ledger::*;
use affluent_model::identity::NodeId;

use crate::harness::*;

fn decide(store: &Store, lease: &Lease, decided: Decided) {
    let new = NewDecision { decided, by: "kim".to_owned(), reason_sealed: Some(vec![7]) };
    let decision = Some(DecisionChange::Decide(new));
    store.commit_resolution(lease, &ResolutionCommit { decision, now_us: 5, ..Default::default() }).unwrap();
}

fn undo(store: &Store, lease: &Lease, decision: i64) {
    let decision = Some(DecisionChange::Undo { decision, by: "lee".to_owned() });
    store.commit_resolution(lease, &ResolutionCommit { decision, now_us: 9, ..Default::default() }).unwrap();
}

/// A link of 1 and 2, a split of 3 from 1 and 2, a value that joins neither 2 nor 4.
fn three() -> (Store, Lease) {
    let (store, lease) = Store::with_nodes(4);
    decide(&store, &lease, Decided::Link(NodeId(1), NodeId(2)));
    decide(&store, &lease, Decided::Split { node: NodeId(3), from: vec![NodeId(2), NodeId(1)] });
    decide(&store, &lease, Decided::Detach { kind: 1, value: value(8), nodes: vec![NodeId(2), NodeId(4)] });
    (store, lease)
}

fn numbers(rows: Vec<DecisionRow>) -> Vec<i64> {
    rows.iter().map(|row| row.decision).collect()
}

#[test]
fn a_decision_is_found_by_the_next_process_as_it_was_made() {
    let (mut store, _) = three();
    store.reopen();

    let rows = store.decisions().unwrap();

    let split = Decided::Split { node: NodeId(3), from: vec![NodeId(2), NodeId(1)] };
    let by = "kim".to_owned();
    let expected = DecisionRow { decision: 2, decided: split, by, reason_sealed: Some(vec![7]), decided_at_us: 5, undone: None };
    assert_eq!(rows.get(1), Some(&expected));
    assert_eq!(store.decision_changes().unwrap(), 3);
    let audited: Vec<String> = store.audit_rows(9).unwrap().into_iter().map(|row| row.action).collect();
    assert_eq!(audited, ["profile.split", "profile.split", "profile.linked"]);
}

#[test]
fn those_that_stand_are_found_by_their_nodes() {
    let (store, lease) = three();
    undo(&store, &lease, 1);

    let found = [&[1][..], &[4], &[1, 2, 3, 4], &[]].map(|nodes| {
        let nodes: Vec<NodeId> = nodes.iter().map(|node| NodeId(*node)).collect();
        numbers(store.decisions_on(&nodes).unwrap())
    });

    assert_eq!(found, [vec![2], vec![3], vec![2, 3], vec![]]);
}

#[test]
fn a_decision_is_taken_back_once() {
    let (store, lease) = three();

    undo(&store, &lease, 2);
    let first = store.decisions().unwrap();
    undo(&store, &lease, 2);

    assert_eq!(first.get(1).and_then(|row| row.undone.clone()), Some(("lee".to_owned(), 9)));
    assert_eq!(store.decisions().unwrap(), first);
}

#[test]
fn with_an_erased_person_go_the_decisions_that_say_nothing_without_them() {
    let cases: [(i64, &[i64]); 4] = [(1, &[2, 3]), (2, &[2, 3]), (3, &[1, 3]), (4, &[1, 2, 3])];
    for (node, left) in cases {
        let (store, lease) = three();
        let nodes = vec![NodeId(node)];
        let erasure = NewErasure { profile: profile(1), nodes, suppressed: Vec::new(), receipts: Vec::new(), now_us: 5 };
        store.begin_erasure(&lease, &erasure).unwrap();

        store.forget_person(&lease, store.erasures(true).unwrap().first().unwrap()).unwrap();

        let rows = store.decisions().unwrap();
        assert!(rows.iter().all(|row| !row.decided.nodes().contains(&NodeId(node))));
        let named_before = |row: &&DecisionRow| match row.decision {
            1 => [1, 2].contains(&node),
            2 => [1, 2, 3].contains(&node),
            _ => [2, 4].contains(&node),
        };
        assert!(rows.iter().filter(named_before).all(|row| row.reason_sealed.is_none()));
        assert_eq!(numbers(rows), left, "without {node}");
    }
}

#[test]
fn ids_of_profiles_that_were_merged_away_are_known() {
    let (store, lease) = Store::with_nodes(2);
    let aliases = vec![(profile(5), profile(4))];
    store.commit_resolution(&lease, &ResolutionCommit { aliases, ..Default::default() }).unwrap();

    assert_eq!(store.former_profiles(&[profile(4), profile(5), profile(6)]).unwrap(), [profile(5)]);
}

#[test]
fn a_pin_is_kept_with_its_attribute_and_goes_with_its_record() {
    let (store, lease) = Store::with_nodes(2);
    let pin = |node| Decided::Pin { attribute: "city".to_owned(), node: NodeId(node) };
    decide(&store, &lease, pin(1));
    decide(&store, &lease, pin(2));
    let nodes = vec![NodeId(1)];
    let erasure = NewErasure { profile: profile(1), nodes, suppressed: Vec::new(), receipts: Vec::new(), now_us: 5 };
    store.begin_erasure(&lease, &erasure).unwrap();

    let before: Vec<Decided> = store.decisions().unwrap().into_iter().map(|row| row.decided).collect();
    store.forget_person(&lease, store.erasures(true).unwrap().first().unwrap()).unwrap();

    assert_eq!(before, [pin(1), pin(2)]);
    assert_eq!(numbers(store.decisions().unwrap()), [2]);
    assert!(store.audit_rows(9).unwrap().iter().any(|row| row.action == "profile.pinned"));
}
