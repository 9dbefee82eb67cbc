//! Snapshots and memberships.

use affluent_ledger::*;

use affluent_model::identity::NodeId;

use crate::harness::*;

fn stay(entered_at_us: i64, left_at_us: Option<i64>) -> Membership {
    Membership { segment: "vip".to_owned(), entered_at_us, left_at_us }
}

fn vip(numbers: &[u128]) -> Vec<(String, affluent_model::identity::ProfileId)> {
    numbers.iter().map(|number| ("vip".to_owned(), profile(*number))).collect()
}

#[test]
fn a_snapshot_replaces_the_one_before_with_its_files() {
    let mut store = Store::new();
    let lease = store.begin(PIPELINE);
    let first = SnapshotCommit { files: vec![file("s1")], ..Default::default() };
    store.commit_snapshot(&lease, &first).unwrap();
    let second = SnapshotCommit {
        files: vec![file("s3"), file("s2")],
        rows: 6,
        definition_hash: "h".to_owned(),
        input_sequence: 4,
        now_us: 9,
        ..Default::default()
    };

    assert_eq!(store.commit_snapshot(&lease, &second).unwrap(), 2);
    store.reopen();

    let files = snapshot_files(&["s3", "s2"]);
    let (definition_hash, basis) = ("h".to_owned(), String::new());
    let expected = SnapshotRow { version: 2, files, rows: 6, definition_hash, input_sequence: 4, computed_at_us: 9, basis };
    assert_eq!(store.snapshot().unwrap(), Some(expected));
    assert_eq!(store.file_names().unwrap(), ["s2".to_owned(), "s3".to_owned()].into());
}

fn snapshot_files(names: &[&str]) -> Vec<SnapshotFile> {
    let file = |name: &&str| {
        let NewFile { table, name, rows, .. } = file(name);
        SnapshotFile { table, name, rows }
    };
    names.iter().map(file).collect()
}

#[test]
fn a_snapshot_that_goes_on_has_the_files_and_cards_of_the_one_before_too() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let cards = vec![("churn".to_owned(), "{}".to_owned())];
    let commit = |name: &str, goes_on: bool| {
        let basis = format!("after {name}");
        let commit = SnapshotCommit { files: vec![file(name)], cards: cards.clone(), goes_on, basis, ..Default::default() };
        store.commit_snapshot(&lease, &commit).unwrap();
    };
    commit("s1", false);
    commit("s2", true);

    let snapshot = store.snapshot().unwrap().unwrap();
    assert_eq!((snapshot.files, snapshot.basis.as_str()), (snapshot_files(&["s1", "s2"]), "after s2"));
    assert_eq!(store.cards().unwrap(), cards);

    commit("s3", false);
    assert_eq!(store.snapshot().unwrap().unwrap().files, snapshot_files(&["s3"]));
}

#[test]
fn profiles_are_touched_when_nodes_come_or_leave_and_none_is_after_a_snapshot() {
    let (store, lease) = Store::with_nodes(4);
    let label = |labels: &[(i64, u128)], aliases: &[(u128, u128)]| {
        let assignments = labels.iter().map(|(node, name)| (NodeId(*node), profile(*name))).collect();
        let aliases = aliases.iter().map(|(old, new)| (profile(*old), profile(*new))).collect();
        let commit = ResolutionCommit { assignments, aliases, ..Default::default() };
        store.commit_resolution(&lease, &commit).unwrap();
        store.touched_profiles().unwrap().iter().map(|touched| touched.0).collect::<Vec<_>>()
    };

    assert_eq!(label(&[(1, 1), (2, 2), (3, 3)], &[]), [0; 0], "before the first snapshot");
    store.commit_snapshot(&lease, &SnapshotCommit::default()).unwrap();
    assert_eq!(label(&[(1, 1), (2, 2)], &[]), [0; 0], "nothing moved");
    assert_eq!(label(&[(2, 1)], &[(2, 1)]), [1, 2], "merged");
    assert_eq!(label(&[(4, 3)], &[]), [1, 2, 3], "a node came");
    store.commit_snapshot(&lease, &SnapshotCommit::default()).unwrap();
    assert_eq!(label(&[(2, 5)], &[]), [1, 5], "split");
    let all = store.assignments_of(&[NodeId(4), NodeId(9)], &[profile(1)]).unwrap();
    assert_eq!(all, [(NodeId(1), profile(1)), (NodeId(3), profile(3)), (NodeId(4), profile(3))]);
}

#[test]
fn the_model_cards_of_a_snapshot_replace_those_before() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let card = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let commit = |cards: Vec<(String, String)>| store.commit_snapshot(&lease, &SnapshotCommit { cards, ..Default::default() });
    commit(vec![card("churn", "{}"), card("clv", "{\"buyers\":1}")]).unwrap();
    assert_eq!(store.cards().unwrap(), [card("churn", "{}"), card("clv", "{\"buyers\":1}")]);

    commit(vec![card("clv", "{}")]).unwrap();

    assert_eq!(store.cards().unwrap(), [card("clv", "{}")]);
}

#[test]
fn memberships_are_kept_as_intervals() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let changes: [(i64, &[u128], &[u128]); 4] = [(10, &[1, 2], &[]), (20, &[], &[1]), (30, &[1, 2], &[]), (40, &[], &[2, 3])];

    for (now_us, entered, left) in changes {
        let commit = SnapshotCommit { entered: vip(entered), left: vip(left), now_us, ..Default::default() };
        store.commit_snapshot(&lease, &commit).unwrap();
    }

    assert_eq!(store.memberships_of(profile(1)).unwrap(), [stay(10, Some(20)), stay(30, None)]);
    assert_eq!(store.memberships_of(profile(2)).unwrap(), [stay(10, Some(40))]);
    assert_eq!(store.members("vip").unwrap(), [profile(1)]);
    for (at_us, members) in [(9, vec![]), (10, vec![profile(1), profile(2)]), (20, vec![profile(2)]), (40, vec![profile(1)])] {
        assert_eq!(store.members_at("vip", at_us).unwrap(), members, "at {at_us}");
    }
}

#[test]
fn sizes_count_the_members_of_now() {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    let mut entered = vip(&[3, 1, 2]);
    entered.push(("lapsed".to_owned(), profile(1)));
    store.commit_snapshot(&lease, &SnapshotCommit { entered, now_us: 1, ..Default::default() }).unwrap();

    let sizes = store.segment_sizes().unwrap();

    let size = |segment: &str, members| SegmentSize { segment: segment.to_owned(), members };
    assert_eq!(sizes, [size("lapsed", 1), size("vip", 3)]);
    assert_eq!(store.members("vip").unwrap(), [profile(1), profile(2), profile(3)]);
    assert_eq!(store.members("unknown").unwrap(), []);
}
