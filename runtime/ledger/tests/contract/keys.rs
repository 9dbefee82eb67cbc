//! Wrapped keys and their erasure.

use affluent_ledger::*;
use affluent_model::identity::NodeId;

use crate::harness::*;

fn row(purpose: &str, key_id: u64, byte: u8) -> StoredKeyRow {
    StoredKeyRow { purpose: purpose.to_owned(), key_id, version: 1, wrapped: vec![byte; 40] }
}

#[test]
fn stored_keys_survive_and_are_replaced_by_purpose_and_id() {
    let mut store = Store::new();
    store.add_stored_keys(&[row("workspace", u64::MAX, 1), row("index", 7, 2)]).unwrap();

    store.add_stored_keys(&[row("index", 7, 3)]).unwrap();
    store.reopen();

    assert_eq!(store.stored_keys().unwrap(), [row("index", 7, 3), row("workspace", u64::MAX, 1)]);
}

#[test]
fn a_ledger_is_empty_until_something_is_ingested() {
    let store = Store::new();
    store.add_stored_keys(&[row("index", 1, 1)]).unwrap();
    assert!(store.is_empty().unwrap());

    let lease = store.begin(PIPELINE);
    store.begin_generation(&lease, STREAM, 1).unwrap();

    assert!(!store.is_empty().unwrap());
}

#[test]
fn an_erased_node_keeps_its_id_and_loses_its_key_for_good() {
    let (mut store, _) = Store::with_nodes(3);

    assert_eq!(store.erase_keys(&[NodeId(2), NodeId(9)]).unwrap(), 1);
    store.reopen();

    assert_eq!(store.find_nodes(&[key(2)]).unwrap(), [Some(FoundNode { node: NodeId(2), wrapped_key: None })]);
    let keys = store.wrapped_keys(&[NodeId(3), NodeId(2), NodeId(1)]).unwrap();
    assert_eq!(keys, [Some(wrapped(3)), None, Some(wrapped(1))]);
}

#[test]
fn a_rotation_pages_through_all_keys_and_brings_none_back() {
    let (store, _) = Store::with_nodes(3);
    store.erase_keys(&[NodeId(2)]).unwrap();

    let page = store.wrapped_keys_after(NodeId(0), 2).unwrap();
    store.rewrap_keys(&[(NodeId(1), [7; 108]), (NodeId(2), [8; 108])]).unwrap();

    assert_eq!(page, [(NodeId(1), wrapped(1)), (NodeId(3), wrapped(3))]);
    assert_eq!(store.wrapped_keys(&[NodeId(1), NodeId(2)]).unwrap(), [Some([7; 108]), None]);
}

#[test]
fn run_keys_have_growing_ids_and_are_never_replaced() {
    let mut store = Store::new();
    let lease = store.begin(PIPELINE);
    let id = store.next_run_key_id().unwrap();
    store.add_run_key(&lease, id, &[1, 2]).unwrap();

    let again = store.add_run_key(&lease, id, &[3]).unwrap_err();
    store.reopen();

    assert_eq!(again.code, "E0001");
    assert_eq!((store.run_key(id).unwrap(), store.run_key(id + 1).unwrap()), (Some(vec![1, 2]), None));
    assert!(store.next_run_key_id().unwrap() > id);
}
