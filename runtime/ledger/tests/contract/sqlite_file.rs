//! What is true of a ledger in a file of SQLite only.

use std::fs;
use std::path::Path;

use affluent_ledger::*;
use affluent_model::error::Domain;
use affluent_model::identity::{Edge, Link, LinkVerdict, NodeId, ProfileId};
use rusqlite::Connection;

use crate::harness::*;

fn refusal(path: &Path) -> affluent_model::Error {
    match SqliteLedger::open(path) {
        Ok(_) => panic!("it was opened"),
        Err(refusal) => refusal,
    }
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "minutes of the meeting. ".repeat(100)).unwrap();

    let refusal = refusal(&path);

    assert_eq!((refusal.code, refusal.domain), ("E0700", Domain::Configuration));
    assert!(refusal.message.contains("notes.txt"), "{}", refusal.message);
    assert_eq!(fs::read_to_string(&path).unwrap().len(), 2_400);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();

    assert_eq!(refusal(&path).code, "E0700");

    let tables: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let store = Store::new();
    Connection::open(store.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();

    let refusal = refusal(&store.path());

    assert_eq!((refusal.code, refusal.domain), ("E0701", Domain::Configuration));
    assert!(refusal.message.ends_with("has ledger version `99`, this program knows up to `13`"), "{}", refusal.message);
}

/// The rows of version 8 that stand at the places of their nodes' numbers now.
const VERSION_8: &str = "
    DROP TABLE node_block;
    DROP TABLE node_key_block;
    DROP TABLE assignment_block;
    DROP TABLE node_by_key_recent_block;
    DROP TABLE node_by_key_recent_first;
    CREATE TABLE node_by_key_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    DROP TABLE edge_by_value_recent_block;
    DROP TABLE edge_by_value_recent_first;
    CREATE TABLE edge_by_value_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    DROP TABLE assignment_by_profile_recent_block;
    DROP TABLE assignment_by_profile_recent_first;
    CREATE TABLE assignment_by_profile_recent (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    DELETE FROM counter WHERE name GLOB '*_runs' OR name GLOB '*_recent';
    DROP TABLE link_block;
    DROP TABLE link_first;
    DROP TABLE link_end_block;
    DROP TABLE link_end_first;
    DROP TABLE link_recent_block;
    DROP TABLE link_recent_first;
    DROP TABLE link_end_recent_block;
    DROP TABLE link_end_recent_first;
    DROP TABLE node_by_key_filter;
    DROP TABLE bordering_block;
    DROP TABLE bordering_first;
    CREATE TABLE node (node INTEGER PRIMARY KEY, key BLOB NOT NULL, source INTEGER NOT NULL, first_seen_us INTEGER NOT NULL) STRICT;
    CREATE TABLE node_key (node INTEGER PRIMARY KEY, wrapped BLOB NOT NULL) STRICT;
    CREATE TABLE assignment (node INTEGER PRIMARY KEY, profile BLOB NOT NULL) STRICT;
    CREATE TABLE link (
        node_a INTEGER NOT NULL, node_b INTEGER NOT NULL, rule INTEGER NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL,
        refused_by TEXT, PRIMARY KEY (node_a, node_b, rule, kind, value)
    ) STRICT, WITHOUT ROWID;
";

/// Takes a ledger of these nodes back to version 8.
fn to_version_8(older: &Connection, nodes: std::ops::RangeInclusive<i64>, labels: &[(NodeId, ProfileId)]) {
    older.execute_batch(VERSION_8).unwrap();
    for number in nodes {
        let row = (number, key(number), number * 10);
        older.execute("INSERT INTO node SELECT ?1, ?2, word, ?3 FROM word WHERE text = 'shop'", row).unwrap();
        older.execute("INSERT INTO node_key VALUES (?1, ?2)", (number, wrapped(number))).unwrap();
    }
    for (node, profile) in labels {
        older.execute("INSERT INTO assignment VALUES (?1, ?2)", (node.0, profile.0.to_be_bytes())).unwrap();
    }
    older.pragma_update(None, "user_version", 8).unwrap();
}

#[test]
fn nodes_of_an_older_version_keep_their_keys_labels_and_links_and_leave_no_copy_of_a_key() {
    const LAST: i64 = 250;
    let (mut store, lease) = Store::with_nodes(LAST);
    let assignments: Vec<_> = (1..=LAST).map(|number| (NodeId(number), profile(number as u128 % 7 + 1))).collect();
    store.commit_resolution(&lease, &ResolutionCommit { assignments: assignments.clone(), ..Default::default() }).unwrap();
    let before = store.whole_graph().unwrap();
    let older = Connection::open(store.path()).unwrap();
    to_version_8(&older, 1..=LAST, &assignments);
    older.execute("DELETE FROM node_key WHERE node = 8", ()).unwrap();
    let recent = [key(LAST + 1).as_slice(), &[0, 0, 0, 0, 0, 3]].concat();
    older.execute("INSERT INTO node_by_key_recent VALUES (?1)", [recent]).unwrap();
    older.execute("INSERT OR IGNORE INTO word (text) VALUES ('same email')", ()).unwrap();
    for (node_b, refused_by) in [(2, None), (9, Some("too many"))] {
        let sql = "INSERT INTO link SELECT 1, ?1, word, 0, ?2, ?3 FROM word WHERE text = 'same email'";
        older.execute(sql, (node_b, value(1), refused_by)).unwrap();
    }
    drop(older);

    store.reopen();

    assert_eq!(store.whole_graph().unwrap(), before);
    let by_key: Vec<_> =
        store.find_nodes(&[key(5), key(LAST + 1)]).unwrap().into_iter().flatten().map(|found| found.node).collect();
    assert_eq!(by_key, [NodeId(5), NodeId(3)]);
    let links = store.links_of(&[NodeId(2), NodeId(9)]).unwrap();
    let [joined, refused] =
        [(2, LinkVerdict::Joined), (9, LinkVerdict::Refused("too many".to_owned()))].map(|(node_b, verdict)| Link {
            node_a: NodeId(1),
            node_b: NodeId(node_b),
            rule: "same email".to_owned(),
            kind: 0,
            value: value(1),
            verdict,
        });
    assert_eq!(links, [joined, refused]);
    let keys = store.wrapped_keys(&(1..=LAST).map(NodeId).collect::<Vec<_>>()).unwrap();
    assert!((1..).zip(&keys).all(|(number, held)| *held == (number != 8).then(|| wrapped(number))));
    store.erase_keys(&(1..=LAST).map(NodeId).collect::<Vec<_>>()).unwrap();
    assert!(held_keys(&store, 1..=LAST).is_empty());
}

/// Lays out what blocks hold as the rows of version 6: few and many.
const VERSION_6: &str = "
    CREATE TABLE edge (
        node INTEGER NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL, first_seen_us INTEGER NOT NULL,
        last_seen_us INTEGER NOT NULL, PRIMARY KEY (node, kind, value)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE profile (profile BLOB PRIMARY KEY, created_at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO profile SELECT DISTINCT profile, 5 FROM assignment;
    CREATE TABLE node_by_key_base (key BLOB PRIMARY KEY, node INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE node_by_key_recent (key BLOB PRIMARY KEY, node INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE VIEW node_by_key AS SELECT * FROM node_by_key_base UNION ALL SELECT * FROM node_by_key_recent;
    INSERT INTO node_by_key_base SELECT key, node FROM node WHERE node < 8;
    INSERT INTO node_by_key_recent SELECT key, node FROM node WHERE node >= 8;
    CREATE TABLE edge_by_value_base (kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (kind, value, node)) STRICT, WITHOUT ROWID;
    CREATE TABLE edge_by_value_recent (kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (kind, value, node)) STRICT, WITHOUT ROWID;
    CREATE VIEW edge_by_value AS SELECT * FROM edge_by_value_base UNION ALL SELECT * FROM edge_by_value_recent;
    CREATE TABLE assignment_by_profile_base (profile BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (profile, node)) STRICT, WITHOUT ROWID;
    CREATE TABLE assignment_by_profile_recent (profile BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (profile, node)) STRICT, WITHOUT ROWID;
    CREATE VIEW assignment_by_profile AS SELECT * FROM assignment_by_profile_base UNION ALL SELECT * FROM assignment_by_profile_recent;
    INSERT INTO assignment_by_profile_base SELECT profile, node FROM assignment;
    INSERT INTO counter (name, value) VALUES ('node_by_key_base', 7), ('node_by_key_recent', 2);
";

#[test]
fn a_ledger_of_an_older_version_is_brought_up_to_date_with_all_that_it_knows() {
    let (mut store, lease) = Store::with_nodes(9);
    let assignments = vec![(NodeId(4), profile(2)), (NodeId(9), profile(2))];
    let commit = ResolutionCommit { assignments, created: vec![profile(2)], ..Default::default() };
    store.commit_resolution(&lease, &commit).unwrap();
    let path = store.path();
    let older = Connection::open(&path).unwrap();
    to_version_8(&older, 1..=9, &commit.assignments);
    for table in ["edge", "profile", "node_by_key", "edge_by_value", "assignment_by_profile"] {
        older
            .execute_batch(&format!("DROP TABLE {table}_block; DROP TABLE {table}_first; DROP TABLE IF EXISTS {table}_recent"))
            .unwrap();
    }
    older.execute_batch("DELETE FROM counter WHERE name GLOB '*_base' OR name GLOB '*_recent' OR name = 'profiles'").unwrap();
    older.execute_batch("DROP TABLE news; DROP TABLE request").unwrap();
    older.execute_batch(VERSION_6).unwrap();
    for (node, part) in [(4, "base"), (9, "recent")] {
        older.execute("INSERT INTO edge VALUES (?1, 0, ?2, 30, 50)", (node, value(1))).unwrap();
        older.execute(&format!("INSERT INTO edge_by_value_{part} VALUES (0, ?2, ?1)"), (node, value(1))).unwrap();
    }
    older.pragma_update(None, "user_version", 6).unwrap();
    drop(older);

    store.reopen();

    assert!(store.find_nodes(&(1..=9).map(key).collect::<Vec<_>>()).unwrap().iter().all(Option::is_some));
    assert_eq!(store.find_profiles(0, &value(1)).unwrap(), [profile(2)]);
    assert_eq!(store.nodes_of(profile(2)).unwrap().len(), 2);
    let held = store.edges_of(&[NodeId(4), NodeId(9)]).unwrap();
    assert_eq!(held, [4, 9].map(|node| Edge { seen_at_us: 30, ..edge(node, 0, 1) }));
    let [within, later] = [50, 51].map(|seen_at_us| Edge { seen_at_us, ..edge(4, 0, 1) });
    assert_eq!(store.unknown(vec![NodeId(4)], vec![within]).unwrap(), Unknown::default());
    assert_eq!(store.unknown(vec![NodeId(4)], vec![later]).unwrap().seen_again, [later]);
    assert_eq!(store.profile_count().unwrap(), 1);
    let counted = "SELECT value FROM counter WHERE name = 'node_by_key_base'";
    assert_eq!(Connection::open(&path).unwrap().query_row(counted, [], |row| row.get::<_, i64>(0)).unwrap(), 9);
}

#[test]
fn a_damaged_file_is_named() {
    let (store, _) = Store::with_nodes(2_000);
    let path = store.path();
    drop(store.erase_keys(&[]));
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = 0xA5;
    }
    fs::write(&path, bytes).unwrap();

    let failure = SqliteLedger::open(&path).and_then(|ledger| ledger.whole_graph().map(|_| ())).unwrap_err();

    assert_eq!((failure.code, failure.domain), ("E0702", Domain::External));
    assert!(failure.message.contains("ledger.db"), "{}", failure.message);
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();

    let refusal = refusal(&directory.path().join("nowhere/ledger.db"));

    assert_eq!(refusal.code, "E0710");
    assert!(refusal.message.contains("nowhere/ledger.db"), "{}", refusal.message);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_file_and_its_log() {
    use std::os::unix::fs::PermissionsExt;

    let mut store = Store::new();
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o644)).unwrap();
    store.reopen();
    store.audit(1, "a", "b").unwrap();

    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let mode = fs::metadata(store.path().with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn erased_keys_are_in_no_byte_of_the_file_or_its_log() {
    let (store, _) = Store::with_nodes(250);
    assert_eq!(held_keys(&store, 1..=250).len(), 250);

    let erased: Vec<NodeId> = (1..=250).filter(|number| *number != 8).map(NodeId).collect();
    store.erase_keys(&erased).unwrap();

    assert_eq!(held_keys(&store, 1..=250), [8]);
}

#[test]
fn a_key_that_was_wrapped_anew_is_in_no_byte_of_the_file_or_its_log_as_it_was() {
    let (store, _) = Store::with_nodes(50);

    store
        .rewrap_keys(&(1..=50).filter(|number| *number != 8).map(|number| (NodeId(number), [7; 108])).collect::<Vec<_>>())
        .unwrap();
    store.erase_keys(&[]).unwrap();

    assert_eq!(held_keys(&store, 1..=50), [8]);
}

/// The link of a node with the next one, by a value of its own.
fn link_with_next(node: i64) -> Link {
    let (node_a, node_b) = (NodeId(node), NodeId(node + 1));
    let mut value = [0xA7; 17];
    value[4..12].copy_from_slice(&node.to_be_bytes());
    Link { node_a, node_b, rule: "same email".to_owned(), kind: 0, value, verdict: LinkVerdict::Joined }
}

#[test]
fn links_of_many_erased_nodes_that_were_replaced_before_are_in_no_byte_of_the_file_or_its_log() {
    const LAST: i64 = 1_000;
    let (store, lease) = Store::with_nodes(LAST);
    let links = (1..LAST).map(link_with_next).collect();
    store.commit_resolution(&lease, &ResolutionCommit { links, ..Default::default() }).unwrap();
    let nodes: Vec<NodeId> = (1..=400).map(NodeId).collect();
    let commit =
        ResolutionCommit { relinked_nodes: nodes.clone(), links: (1..=200).map(link_with_next).collect(), ..Default::default() };
    store.commit_resolution(&lease, &commit).unwrap();
    assert_eq!(store.links_of(&nodes).unwrap(), commit.links);
    let held = || -> Vec<i64> {
        let bytes = held_bytes(&store);
        let values: std::collections::HashSet<&[u8]> = bytes.windows(17).collect();
        (1..LAST).filter(|node| values.contains(link_with_next(*node).value.as_slice())).collect()
    };
    assert_eq!(held().len(), 999);

    let new = NewErasure { profile: profile(1), nodes: nodes.clone(), suppressed: Vec::new(), receipts: Vec::new(), now_us: 5 };
    store.begin_erasure(&lease, &new).unwrap();
    store.forget_person(&lease, &store.erasures(true).unwrap().remove(0)).unwrap();
    store.erase_keys(&nodes).unwrap();

    assert_eq!(held(), (401..LAST).collect::<Vec<_>>());
    assert_eq!(store.links_of(&nodes).unwrap(), []);
    assert_eq!(store.links_of(&[NodeId(LAST)]).unwrap(), [link_with_next(LAST - 1)]);
}

/// The file and its log.
fn held_bytes(store: &Store) -> Vec<u8> {
    ["ledger.db", "ledger.db-wal"].iter().flat_map(|name| fs::read(store.path().with_file_name(name)).unwrap()).collect()
}

/// Nodes of which the file or its log holds the first bytes of the key.
fn held_keys(store: &Store, nodes: std::ops::RangeInclusive<i64>) -> Vec<i64> {
    let bytes = held_bytes(store);
    let starts: std::collections::HashSet<&[u8]> = bytes.windows(16).collect();
    nodes.filter(|number| starts.contains(&wrapped(*number)[..16])).collect()
}

#[test]
fn the_audit_trail_refuses_to_be_changed() {
    let store = Store::new();
    store.audit(1, "a", "b").unwrap();
    let connection = Connection::open(store.path()).unwrap();

    for attack in ["DELETE FROM audit", "UPDATE audit SET detail = 'c'"] {
        assert!(connection.execute_batch(attack).is_err(), "{attack}");
    }

    assert_eq!(store.audit_rows(9).unwrap().len(), 1);
}

#[test]
fn two_processes_on_one_file_see_each_other() {
    let store = Store::new();
    let other = SqliteLedger::open(&store.path()).unwrap();

    let lease = store.begin("p");

    assert_eq!(other.begin_run(&start("p", 1)).unwrap_err().code, "E0705");
    assert_eq!((store.next_sequence(&lease).unwrap(), other.next_sequence(&lease).unwrap()), (1, 2));
}

#[test]
fn a_person_that_another_process_entered_is_found_by_one_that_knew_nobody_with_that_key() {
    let (store, lease) = Store::with_nodes(1);
    let other = SqliteLedger::open(&store.path()).unwrap();
    let found = |ledger: &dyn Ledger, number: i64| {
        let found = ledger.find_nodes(&[key(number)]).unwrap();
        found[0].as_ref().map(|found| found.node)
    };
    for number in 2..=40 {
        assert_eq!([found(&*store, number), found(&other, number)], [None, None], "{number} before");
        let entered: &dyn Ledger = if number % 2 == 0 { &other } else { &*store };
        let node = NewNode { node: entered.reserve_nodes(1).unwrap(), ..node(number) };
        entered.commit_epoch(&lease, &EpochCommit { new_nodes: vec![node], ..epoch() }).unwrap();
        assert_eq!([found(&*store, number), found(&other, number)], [Some(NodeId(number)); 2], "{number} after");
    }
}

#[test]
fn many_threads_may_ask_and_write_at_once() {
    let store = Store::new();

    std::thread::scope(|scope| {
        for pipeline in ["a", "b", "c", "d"] {
            let ledger: &dyn Ledger = &*store;
            scope.spawn(move || {
                let lease = ledger.begin_run(&start(pipeline, 0)).unwrap();
                for _ in 0..20 {
                    ledger.next_sequence(&lease).unwrap();
                    ledger.runs(None, 5).unwrap();
                }
            });
        }
    });

    assert_eq!(store.last_sequence().unwrap(), 80);
}
