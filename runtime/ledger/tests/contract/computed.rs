//! Snapshots and memberships.

use affluent_ledger::*;

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

    let files = vec!["s3".to_owned(), "s2".to_owned()];
    let definition_hash = "h".to_owned();
    let expected = SnapshotRow { version: 2, files, rows: 6, definition_hash, input_sequence: 4, computed_at_us: 9 };
    assert_eq!(store.snapshot().unwrap(), Some(expected));
    assert_eq!(store.file_names().unwrap(), ["s2".to_owned(), "s3".to_owned()].into());
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
