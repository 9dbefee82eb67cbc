//! Erased persons: what goes, what stays as a mark, and the list that keeps them out.

use affluent_ledger::*;
use affluent_model::identity::{Link, LinkVerdict, NodeId};

use crate::harness::*;

/// Node 1 and 2 are profile 1, node 3 is profile 2; both are in `vip`.
fn two_persons() -> (Store, Lease) {
    let (store, lease) = Store::with_nodes(3);
    let link = Link {
        node_a: NodeId(1),
        node_b: NodeId(2),
        rule: "email".to_owned(),
        kind: 0,
        value: value(1),
        verdict: LinkVerdict::Joined,
    };
    let resolution = ResolutionCommit {
        edges: vec![edge(1, 0, 1), edge(2, 0, 1), edge(3, 0, 3)],
        assignments: vec![(NodeId(1), profile(1)), (NodeId(2), profile(1)), (NodeId(3), profile(2))],
        created: vec![profile(1), profile(2)],
        links: vec![link],
        ..ResolutionCommit::default()
    };
    store.commit_resolution(&lease, &resolution).unwrap();
    let entered = vec![("vip".to_owned(), profile(1)), ("vip".to_owned(), profile(2))];
    store.commit_snapshot(&lease, &SnapshotCommit { entered, ..SnapshotCommit::default() }).unwrap();
    (store, lease)
}

fn asked() -> NewErasure {
    let receipts =
        vec![NewReceipt { pipeline: PIPELINE.to_owned(), destination: "tool list".to_owned(), state: ReceiptState::Requested }];
    NewErasure {
        profile: profile(1),
        nodes: vec![NodeId(1), NodeId(2)],
        suppressed: vec![("email".to_owned(), value(9))],
        receipts,
        now_us: 5,
    }
}

#[test]
fn an_erasure_that_was_begun_is_found_by_the_next_process_and_can_be_repeated() {
    let (mut store, lease) = two_persons();
    store.begin_erasure(&lease, &asked()).unwrap();
    store.reopen();

    for _ in 0..2 {
        let open = store.erasures(true).unwrap();
        let [row] = open.as_slice() else { panic!("{open:?}") };
        assert_eq!((row.profile, row.nodes.as_slice()), (profile(1), [NodeId(1), NodeId(2)].as_slice()));
        store.erase_keys(&row.nodes).unwrap();
        store.forget_person(&lease, row).unwrap();
    }
    store.finish_forgetting(&lease, 1, 7).unwrap();

    assert_eq!(store.erasures(true).unwrap(), []);
    assert_eq!(store.erasures(false).unwrap().first().and_then(|row| row.forgotten_at_us), Some(7));
}

#[test]
fn a_forgotten_person_leaves_marks_and_nothing_else_and_others_keep_all() {
    let (store, lease) = two_persons();
    store.begin_erasure(&lease, &asked()).unwrap();
    let row = store.erasures(true).unwrap().remove(0);

    store.erase_keys(&row.nodes).unwrap();
    store.forget_person(&lease, &row).unwrap();

    assert_eq!(store.nodes_of(profile(1)).unwrap(), []);
    assert_eq!(store.edges_of(&[NodeId(1), NodeId(2)]).unwrap(), []);
    assert_eq!(store.links_of(&[NodeId(1), NodeId(2)]).unwrap(), []);
    assert_eq!(store.memberships_of(profile(1)).unwrap(), []);
    assert_eq!(store.find_profiles(0, &value(1)).unwrap(), []);
    assert_eq!(store.find_nodes(&[key(1)]).unwrap(), [Some(FoundNode { node: NodeId(1), wrapped_key: None })]);
    assert_eq!(store.erased_nodes().unwrap(), [NodeId(1), NodeId(2)]);
    assert_eq!(store.suppressed().unwrap(), [("email".to_owned(), value(9))]);
    assert_eq!(store.members("vip").unwrap(), [profile(2)]);
    assert_eq!(store.find_profiles(0, &value(3)).unwrap(), [profile(2)]);
    assert_eq!(store.profile_count().unwrap(), 1);
}

#[test]
fn a_receipt_is_settled_when_the_destination_holds_nothing_more() {
    let (store, lease) = two_persons();
    store.plan(&lease, &[upsert(1, 1)]);
    let batch = store.take(&lease, affluent_model::batch::RowOperation::Upsert, 9).unwrap();
    store.settle(&lease, &batch, &accepted());
    assert_eq!(store.sent_of(profile(1)).unwrap().len(), 1);
    store.begin_erasure(&lease, &asked()).unwrap();
    let row = store.erasures(true).unwrap().remove(0);
    store.forget_person(&lease, &row).unwrap();
    store.finish_forgetting(&lease, row.erasure, 7).unwrap();

    assert_eq!(store.settle_receipts(PIPELINE, ReceiptState::RemovedOnly, 8).unwrap(), 0);
    store.plan(&lease, &[removal(1)]);
    let batch = store.take(&lease, affluent_model::batch::RowOperation::Delete, 9).unwrap();
    store.settle(&lease, &batch, &accepted());

    assert_eq!(store.settle_receipts(PIPELINE, ReceiptState::RemovedOnly, 9).unwrap(), 1);
    let receipts = store.erasures(false).unwrap().remove(0).receipts;
    assert_eq!(receipts.first().map(|receipt| (receipt.state, receipt.at_us)), Some((ReceiptState::RemovedOnly, 9)));
}

/// Person 1 was sent, is to be erased, and nothing of them is left here.
fn forgotten() -> (Store, Lease) {
    let (store, lease) = two_persons();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1)]);
    let batch = store.take(&lease, affluent_model::batch::RowOperation::Upsert, 9).unwrap();
    store.settle(&lease, &batch, &accepted());
    store.begin_erasure(&lease, &asked()).unwrap();
    let row = store.erasures(true).unwrap().remove(0);
    assert_eq!(store.open_erasure_calls(&lease, 0).unwrap(), []);
    store.forget_person(&lease, &row).unwrap();
    store.finish_forgetting(&lease, row.erasure, 7).unwrap();
    (store, lease)
}

fn receipt(store: &Store) -> ReceiptRow {
    store.erasures(false).unwrap().remove(0).receipts.remove(0)
}

#[test]
fn a_call_that_was_written_down_is_found_until_the_person_is_gone() {
    let (mut store, lease) = forgotten();
    let [call] = store.open_erasure_calls(&lease, 0).unwrap().try_into().unwrap();
    assert_eq!((call.key, call.is_accepted), (profile(1), false));
    store.reopen();

    store.settle_erasure_call(&lease, &call, &CallOutcome::Refused { reason: "no".to_owned() }, 8).unwrap();
    assert_eq!((receipt(&store).state, receipt(&store).refusals), (ReceiptState::Requested, vec!["no".to_owned()]));
    assert_eq!(store.settle_receipts(PIPELINE, ReceiptState::RemovedOnly, 8).unwrap(), 0);
    assert_eq!(store.open_erasure_calls(&lease, 0).unwrap(), std::slice::from_ref(&call));

    let taken = CallOutcome::Accepted { reference: Some("r7".to_owned()), is_last: false };
    store.settle_erasure_call(&lease, &call, &taken, 9).unwrap();
    let settled = receipt(&store);
    assert_eq!((settled.state, settled.references, settled.is_open), (ReceiptState::Accepted, vec!["r7".to_owned()], true));
    assert_eq!(store.sent_of(profile(1)).unwrap(), []);
    assert_eq!(store.sent_of(profile(2)).unwrap().len(), 1);
    assert!(store.open_erasure_calls(&lease, 0).unwrap().iter().all(|call| call.is_accepted));

    store.settle_erasure_call(&lease, &call, &CallOutcome::Verified, 10).unwrap();
    assert_eq!((receipt(&store).state, receipt(&store).is_open), (ReceiptState::Verified, false));
    assert!(!store.has_erasure_calls(PIPELINE).unwrap());
}

#[test]
fn what_cannot_be_verified_and_whom_nobody_sees_go_are_not_looked_for() {
    for (is_last, since) in [(true, 0), (false, 10)] {
        let (store, lease) = forgotten();
        let [call] = store.open_erasure_calls(&lease, 0).unwrap().try_into().unwrap();
        store.settle_erasure_call(&lease, &call, &CallOutcome::Accepted { reference: None, is_last }, 9).unwrap();

        assert_eq!(store.open_erasure_calls(&lease, since).unwrap(), []);
        assert_eq!((receipt(&store).state, receipt(&store).is_open), (ReceiptState::Accepted, false));
    }
}

#[test]
fn a_destination_without_a_call_after_all_is_forgotten() {
    let (store, lease) = forgotten();

    store.settle_unsupported(&lease, 8).unwrap();

    assert_eq!(receipt(&store).state, ReceiptState::NotSupported);
    assert_eq!((store.sent_of(profile(1)).unwrap().len(), store.sent_of(profile(2)).unwrap().len()), (0, 1));
}

#[test]
fn a_suppressed_person_is_found_by_identifier_and_by_profile_until_let_go() {
    let (mut store, lease) = two_persons();
    let person = SuppressedPerson { nodes: vec![NodeId(2)], identifiers: vec![("email".to_owned(), value(9))] };

    assert!(store.suppress(&person, 5).unwrap());
    assert!(!store.suppress(&person, 6).unwrap());
    store.begin_erasure(&lease, &NewErasure { suppressed: vec![("email".to_owned(), value(8))], ..asked() }).unwrap();
    store.reopen();
    assert_eq!(store.undelivered().unwrap(), [("email".to_owned(), value(9))]);
    assert_eq!(store.undelivered_profiles().unwrap(), [profile(1)]);

    let all = vec![("email".to_owned(), value(8)), ("email".to_owned(), value(9))];
    assert!(store.unsuppress(&SuppressedPerson { identifiers: all, ..person.clone() }).unwrap());
    assert!(!store.unsuppress(&person).unwrap());
    assert_eq!(store.undelivered().unwrap(), []);
    assert_eq!(store.undelivered_profiles().unwrap(), []);
    assert_eq!(store.suppressed().unwrap(), [("email".to_owned(), value(8))]);
}

#[test]
fn an_erasure_is_known_by_what_it_put_on_the_list() {
    let (store, lease) = two_persons();
    let erased = |now_us: i64, values: &[u8]| {
        let suppressed = values.iter().map(|number| ("email".to_owned(), value(*number))).collect();
        store.begin_erasure(&lease, &NewErasure { suppressed, now_us, ..asked() }).unwrap()
    };

    let (first, second) = (erased(5, &[8, 9]), erased(6, &[9, 7]));

    let of = |erasure| store.suppressed_by(erasure).unwrap().into_iter().map(|(_, hash)| hash).collect::<Vec<_>>();
    assert_eq!((of(first), of(second), of(99)), (vec![value(8), value(9)], vec![value(7)], Vec::new()));
}

#[test]
fn a_dead_letter_whose_payload_was_taken_keeps_its_reason() {
    let (store, lease) = Store::with_nodes(1);
    let letter = |payload: &[u8]| NewDeadLetter {
        stream: STREAM.to_owned(),
        stage: Stage::Read,
        place: "row 1".to_owned(),
        code: "x".to_owned(),
        message: "y".to_owned(),
        payload_sealed: Some(payload.to_vec()),
        at_us: 1,
    };
    let commit = EpochCommit { dead_letters: vec![letter(b"one"), letter(b"two")], ..epoch() };
    store.commit_epoch(&lease, &commit).unwrap();

    store.clear_dead_letter_payloads(&[1]).unwrap();

    let mut left = Vec::new();
    let visited = store.dead_letter_payloads(&mut |letter| {
        left.push(letter);
        Ok(())
    });
    visited.unwrap();
    assert_eq!(left, [SealedLetter { id: 2, stream: STREAM.to_owned(), payload_sealed: b"two".to_vec() }]);
    assert_eq!(store.dead_letters(&DeadLetterFilter::default(), 9).unwrap().len(), 2);
}
