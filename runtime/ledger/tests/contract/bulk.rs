//! Transactions of many rows, which go past the log of SQLite where nobody else has the file open.

use affluent_ledger::*;
use affluent_model::identity::NodeId;
use rusqlite::Connection;

use crate::harness::*;

/// Nodes of a bulk: so many go past the log.
const BULK: i64 = 50_000;

fn bulk(first: i64) -> EpochCommit {
    EpochCommit { new_nodes: (first..first + BULK).map(node).collect(), files: vec![file("one")], ..epoch() }
}

fn journal_mode(store: &Store) -> String {
    Connection::open(store.path()).unwrap().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap()
}

/// Nodes that are found by their keys.
fn found(ledger: &dyn Ledger, nodes: std::ops::RangeInclusive<i64>) -> usize {
    let keys: Vec<_> = nodes.map(key).collect();
    ledger.find_nodes(&keys).unwrap().iter().flatten().count()
}

#[test]
fn many_rows_are_written_all_or_not_at_all_whether_others_have_the_file_open_or_not() {
    for has_other in [false, true] {
        let mut store = Store::new();
        let lease = store.begin(PIPELINE);
        let other = has_other.then(|| SqliteLedger::open(&store.path()).unwrap());
        store.commit_epoch(&lease, &bulk(1)).unwrap();
        assert_eq!(found(&*store, 1..=BULK), 50_000, "other: {has_other}");
        assert_eq!(other.as_ref().map_or(50_000, |other| found(other, 1..=BULK)), 50_000);

        // Refused after all nodes were written, because of the name of its file.
        store.commit_epoch(&lease, &bulk(BULK + 1)).unwrap_err();

        assert_eq!(found(&*store, BULK + 1..=BULK + 9), 0, "other: {has_other}");
        assert_eq!(journal_mode(&store), "wal", "other: {has_other}");
        drop(other);
        store.reopen();
        assert_eq!(found(&*store, 1..=2 * BULK), 50_000, "other: {has_other}");
        assert_eq!(store.wrapped_keys(&[NodeId(BULK)]).unwrap(), [Some(wrapped(BULK))]);
    }
}

#[test]
fn who_reads_while_many_rows_are_written_waits_or_sees_what_was_there() {
    let (store, lease) = Store::with_nodes(10);
    let ledger: &dyn Ledger = &*store;
    let path = store.path();
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| ledger.commit_epoch(&lease, &EpochCommit { new_nodes: bulk(11).new_nodes, ..epoch() }));
        while !writes.is_finished() {
            assert_eq!(found(ledger, 1..=10), 10);
            assert_eq!(found(&SqliteLedger::open(&path).unwrap(), 1..=10), 10);
        }
        writes.join().unwrap().unwrap();
    });
    assert_eq!(found(ledger, 1..=BULK + 10), 50_010);
}
