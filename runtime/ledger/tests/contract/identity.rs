//! Edges, labels, aliases and links.

use affluent_ledger::*;
use affluent_model::identity::{Edge, Link, LinkVerdict, NodeId};

use crate::harness::*;

fn link(node_a: i64, node_b: i64, verdict: LinkVerdict) -> Link {
    let (node_a, node_b) = (NodeId(node_a), NodeId(node_b));
    Link { node_a, node_b, rule: "same email".to_owned(), kind: 0, value: value(1), verdict }
}

#[test]
fn identifier_kinds_keep_their_numbers() {
    let mut store = Store::new();
    let kinds = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    assert_eq!(store.identifier_kinds(&kinds(&["email", "phone", "email"])).unwrap(), [0, 1, 0]);
    store.reopen();

    assert_eq!(store.identifier_kinds(&kinds(&["phone", "loyalty"])).unwrap(), [1, 2]);
    assert_eq!(store.identifier_kind_names().unwrap()[2], (2, "loyalty".to_owned()));
}

#[test]
fn an_edge_seen_again_keeps_its_earliest_sight() {
    let (store, lease) = Store::with_nodes(1);
    let seen = |seen_at_us| Edge { seen_at_us, ..edge(1, 0, 1) };

    for edges in [vec![seen(50), seen(40)], vec![seen(60)], vec![seen(45)]] {
        store.commit_resolution(&lease, &ResolutionCommit { edges, ..Default::default() }).unwrap();
    }

    assert_eq!(store.edges_of(&[NodeId(1)]).unwrap(), [seen(40)]);
}

#[test]
fn profiles_are_found_by_an_identifier_of_any_of_their_nodes() {
    let (store, lease) = Store::with_nodes(3);
    let commit = ResolutionCommit {
        edges: vec![edge(1, 0, 1), edge(2, 0, 1), edge(3, 1, 1)],
        assignments: vec![(NodeId(1), profile(8)), (NodeId(2), profile(8)), (NodeId(3), profile(9))],
        created: vec![profile(8), profile(9)],
        ..Default::default()
    };
    store.commit_resolution(&lease, &commit).unwrap();

    let found = [store.find_profiles(0, &value(1)), store.find_profiles(1, &value(1)), store.find_profiles(0, &value(2))];

    assert_eq!(found, [Ok(vec![profile(8)]), Ok(vec![profile(9)]), Ok(vec![])]);
    assert_eq!(store.profile_count().unwrap(), 2);
    let nodes: Vec<i64> = store.nodes_of(profile(8)).unwrap().into_iter().map(|row| row.node.0).collect();
    assert_eq!(nodes, [1, 2]);
}

#[test]
fn a_relabelled_node_leaves_its_old_profile() {
    let (mut store, lease) = Store::with_nodes(2);
    let label = |node, profile_number| (NodeId(node), profile(profile_number));
    for assignments in [vec![label(1, 8), label(2, 8)], vec![label(2, 9)]] {
        store.commit_resolution(&lease, &ResolutionCommit { assignments, ..Default::default() }).unwrap();
    }
    store.reopen();

    let mut labels = Vec::new();
    let mut visit = |node, profile| {
        labels.push((node, profile));
        Ok(())
    };
    store.assignments(&mut visit).unwrap();

    assert_eq!(labels, [label(1, 8), label(2, 9)]);
    assert_eq!(store.nodes_of(profile(8)).unwrap().len(), 1);
    assert_eq!(store.nodes_of(profile(9)).unwrap()[0].profile, Some(profile(9)));
}

#[test]
fn an_alias_resolves_through_every_later_merge() {
    let (mut store, lease) = Store::with_nodes(1);
    let merges: [&[(u128, u128)]; 3] = [&[(4, 3)], &[(2, 1), (3, 2)], &[(5, 4)]];

    for aliases in merges {
        let aliases = aliases.iter().map(|(old, new)| (profile(*old), profile(*new))).collect();
        store.commit_resolution(&lease, &ResolutionCommit { aliases, ..Default::default() }).unwrap();
    }
    store.reopen();

    let resolved: Vec<u128> = (1..=4).map(|old| store.resolve_alias(profile(old)).unwrap().0).collect();
    assert_eq!(resolved, [1, 1, 1, 4]);
    assert_eq!(store.resolve_alias(profile(5)).unwrap(), profile(4));
}

#[test]
fn a_profile_that_is_split_off_again_is_no_alias() {
    let (store, lease) = Store::with_nodes(1);
    let merge = ResolutionCommit { aliases: vec![(profile(2), profile(1))], ..Default::default() };
    store.commit_resolution(&lease, &merge).unwrap();

    let split = ResolutionCommit { created: vec![profile(2)], ..Default::default() };
    store.commit_resolution(&lease, &split).unwrap();

    assert_eq!(store.resolve_alias(profile(2)).unwrap(), profile(2));
}

#[test]
fn profiles_merged_away_are_counted_no_more() {
    let (store, lease) = Store::with_nodes(1);
    let created = vec![profile(1), profile(2), profile(3)];
    store.commit_resolution(&lease, &ResolutionCommit { created, ..Default::default() }).unwrap();

    let aliases = vec![(profile(2), profile(1))];
    let commit = ResolutionCommit { aliases, removed: vec![profile(3)], ..Default::default() };
    store.commit_resolution(&lease, &commit).unwrap();

    assert_eq!(store.profile_count().unwrap(), 1);
}

#[test]
fn links_of_relinked_nodes_are_replaced() {
    let (store, lease) = Store::with_nodes(4);
    let joined = |a, b| link(a, b, LinkVerdict::Joined);
    let commit = ResolutionCommit { links: vec![joined(1, 2), joined(2, 3), joined(3, 4)], ..Default::default() };
    store.commit_resolution(&lease, &commit).unwrap();

    let refused = link(1, 2, LinkVerdict::Refused("limit email".to_owned()));
    let commit = ResolutionCommit { relinked_nodes: vec![NodeId(2)], links: vec![refused.clone()], ..Default::default() };
    store.commit_resolution(&lease, &commit).unwrap();

    assert_eq!(store.links_of(&[NodeId(1), NodeId(2)]).unwrap(), [refused]);
    assert_eq!(store.links_of(&[NodeId(3), NodeId(4)]).unwrap(), [joined(3, 4)]);
}

#[test]
fn a_visit_may_ask_the_ledger_and_may_stop() {
    let (store, lease) = Store::with_nodes(2);
    let assignments = vec![(NodeId(1), profile(1)), (NodeId(2), profile(2))];
    store.commit_resolution(&lease, &ResolutionCommit { assignments, ..Default::default() }).unwrap();
    let mut visited = 0;

    let stop = store.assignments(&mut |_, profile| {
        visited += store.nodes_of(profile)?.len();
        Err(affluent_model::Error::bug("enough"))
    });

    assert_eq!((visited, stop.unwrap_err().message.as_str()), (1, "enough"));
}
