//! Closing a part of the graph, against the plainest way to do it.

use std::collections::BTreeSet;

use affluent_ledger::*;
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, NodeId, ProfileId};
use proptest::prelude::*;

use crate::harness::*;

/// A graph of nodes 1..=nodes with labels and blocked values.
#[derive(Debug, Clone)]
struct Graph {
    nodes: i64,
    edges: Vec<Edge>,
    assignments: Vec<(NodeId, ProfileId)>,
    blocked: Vec<(u16, BlindIndex)>,
}

/// Few nodes are walked, many are scanned: both sizes are drawn.
fn any_graph() -> impl Strategy<Value = Graph> {
    prop_oneof![2i64..12, 150i64..200].prop_flat_map(|nodes| {
        let count = nodes as usize;
        let edges = proptest::collection::vec((1..=nodes, 0u16..2, 0u8..count as u8), 0..count);
        let labels = proptest::collection::vec((1..=nodes, 1u128..=nodes as u128), 0..count);
        let blocked = proptest::collection::vec((0u16..2, 0u8..count as u8), 0..3);
        (Just(nodes), edges, labels, blocked).prop_map(|(nodes, edges, labels, blocked)| Graph {
            nodes,
            edges: edges.into_iter().map(|(node, kind, number)| edge(node, kind, number)).collect(),
            assignments: labels.into_iter().map(|(node, label)| (NodeId(node), profile(label))).collect(),
            blocked: blocked.into_iter().map(|(kind, number)| (kind, value(number))).collect(),
        })
    })
}

impl Graph {
    fn store(&self) -> Store {
        let (store, lease) = Store::with_nodes(self.nodes);
        let blocked = |(kind, value): &(u16, BlindIndex)| BlockedIdentifier {
            kind: *kind,
            value: *value,
            reason: "fan-out".to_owned(),
            nodes: 60,
        };
        let commit = ResolutionCommit {
            edges: self.edges.clone(),
            assignments: self.labels(),
            blocked: self.blocked.iter().map(blocked).collect(),
            relinked_nodes: (1..=self.nodes).map(NodeId).collect(),
            bordering: self.bordering(),
            ..Default::default()
        };
        store.commit_resolution(&lease, &commit).unwrap();
        store
    }

    /// One label a node: the last that was drawn.
    fn labels(&self) -> Vec<(NodeId, ProfileId)> {
        self.assignments.iter().copied().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect()
    }

    /// Who shares a value that is not blocked with a node that has another label, or none.
    fn bordering(&self) -> Vec<NodeId> {
        let labels = self.labels();
        let label = |node: NodeId| labels.iter().find(|(labelled, _)| *labelled == node).map(|(_, label)| *label);
        let shares = |one: &Edge| {
            let same = |other: &&Edge| (other.kind, other.value) == (one.kind, one.value);
            self.edges.iter().filter(same).any(|other| label(other.node) != label(one.node))
        };
        let free = self.edges.iter().filter(|edge| !self.blocked.contains(&(edge.kind, edge.value)));
        free.filter(|edge| shares(edge)).map(|edge| edge.node).collect()
    }

    /// Adds what touches what is there until nothing is added.
    fn closure(&self, nodes: &[NodeId], values: &[(u16, BlindIndex)]) -> BTreeSet<NodeId> {
        let labels = self.labels();
        let free: Vec<&Edge> = self.edges.iter().filter(|edge| !self.blocked.contains(&(edge.kind, edge.value))).collect();
        let exists = |node: &&NodeId| (1..=self.nodes).contains(&node.0);
        let mut members: BTreeSet<NodeId> = nodes.iter().filter(exists).copied().collect();
        members.extend(free.iter().filter(|edge| values.contains(&(edge.kind, edge.value))).map(|edge| edge.node));
        loop {
            let before = members.len();
            let shared: Vec<_> =
                free.iter().filter(|edge| members.contains(&edge.node)).map(|edge| (edge.kind, edge.value)).collect();
            members.extend(free.iter().filter(|edge| shared.contains(&(edge.kind, edge.value))).map(|edge| edge.node));
            let profiles: Vec<_> = labels.iter().filter(|(node, _)| members.contains(node)).map(|(_, label)| *label).collect();
            members.extend(labels.iter().filter(|(_, label)| profiles.contains(label)).map(|(node, _)| *node));
            if members.len() == before {
                return members;
            }
        }
    }

    fn edges_of(&self, members: &BTreeSet<NodeId>) -> BTreeSet<Edge> {
        self.edges.iter().filter(|edge| members.contains(&edge.node)).copied().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_neighbourhood_is_the_smallest_closed_part(
        graph in any_graph(),
        nodes in proptest::collection::vec(1i64..210, 0..4),
        values in proptest::collection::vec((0u16..2, 0u8..20), 0..3),
        many in any::<bool>(),
    ) {
        let store = graph.store();
        let mut nodes: Vec<NodeId> = nodes.into_iter().map(NodeId).collect();
        if many {
            nodes.extend((1..=graph.nodes).step_by(2).map(NodeId));
        }
        let values: Vec<_> = values.into_iter().map(|(kind, number)| (kind, value(number))).collect();

        let part = store.neighbourhood(&nodes, &values).unwrap();

        let members = graph.closure(&nodes, &values);
        prop_assert_eq!(part.nodes.iter().map(|row| row.node).collect::<Vec<_>>(), members.iter().copied().collect::<Vec<_>>());
        let edges = graph.edges_of(&members);
        prop_assert_eq!(&part.edges, &edges.iter().copied().collect::<Vec<_>>());
        let touched: BTreeSet<_> = edges.iter().map(|edge| (edge.kind, edge.value)).chain(values).collect();
        let blocked: BTreeSet<_> = graph.blocked.iter().copied().filter(|value| touched.contains(value)).collect();
        prop_assert_eq!(part.blocked.iter().map(|row| (row.kind, row.value)).collect::<Vec<_>>(), blocked.into_iter().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn news_is_what_the_graph_does_not_know(
        graph in any_graph(),
        asked in proptest::collection::btree_set((1i64..210, 0u16..2, 0u8..20, 0i64..4), 0..60),
        many in any::<bool>(),
    ) {
        let store = graph.store();
        let mut edges: Vec<Edge> = asked
            .into_iter()
            .map(|(node, kind, number, later)| Edge { seen_at_us: edge(node, kind, number).seen_at_us + later - 1, ..edge(node, kind, number) })
            .collect();
        if many {
            edges.extend(graph.edges.iter().copied());
        }
        edges.sort_unstable();
        edges.dedup_by_key(|edge| (edge.node, edge.kind, edge.value));
        let mut nodes: Vec<NodeId> = edges.iter().map(|edge| edge.node).collect();
        nodes.dedup();

        let unknown = store.unknown(nodes.clone(), edges.clone()).unwrap();

        let known = |edge: &Edge| graph.edges.iter().find(|known| (known.node, known.kind, known.value) == (edge.node, edge.kind, edge.value));
        let new: Vec<Edge> = edges.iter().filter(|edge| known(edge).is_none_or(|known| edge.seen_at_us < known.seen_at_us)).copied().collect();
        let again: Vec<Edge> = edges.iter().filter(|edge| known(edge).is_some_and(|known| edge.seen_at_us > known.seen_at_us)).copied().collect();
        let has_label = |node: &NodeId| graph.assignments.iter().any(|(labelled, _)| labelled == node);
        prop_assert_eq!(unknown.edges, new);
        prop_assert_eq!(unknown.seen_again, again);
        prop_assert_eq!(unknown.nodes, nodes.iter().filter(|node| !has_label(node)).copied().collect::<Vec<_>>());
    }
}

#[test]
fn the_whole_graph_has_every_node_edge_and_blocked_value() {
    let graph = Graph {
        nodes: 3,
        edges: vec![edge(1, 0, 1), edge(3, 0, 1)],
        assignments: vec![(NodeId(2), profile(7))],
        blocked: vec![(1, value(9))],
    };

    let whole = graph.store().whole_graph().unwrap();

    let labels: Vec<_> = whole.nodes.iter().map(|row| (row.node.0, row.profile)).collect();
    assert_eq!(labels, [(1, None), (2, Some(profile(7))), (3, None)]);
    assert_eq!(whole.edges, graph.edges);
    assert_eq!((whole.blocked[0].value, whole.blocked[0].nodes), (value(9), 60));
    assert_eq!((&*whole.nodes[0].source, whole.nodes[0].first_seen_us, whole.nodes[0].key), ("shop", 10, key(1)));
}

#[test]
fn a_value_that_is_unblocked_joins_again() {
    let graph =
        Graph { nodes: 2, edges: vec![edge(1, 0, 1), edge(2, 0, 1)], assignments: Vec::new(), blocked: vec![(0, value(1))] };
    let store = graph.store();
    let members = |store: &Store| store.neighbourhood(&[NodeId(1)], &[]).unwrap().nodes.len();
    assert_eq!(members(&store), 1);

    let lease = store.begin("mending");
    store.commit_resolution(&lease, &ResolutionCommit { unblocked: vec![(0, value(1))], ..Default::default() }).unwrap();

    assert_eq!(members(&store), 2);
}
