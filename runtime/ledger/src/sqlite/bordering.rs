//! Nodes that share an identifier with a node of another profile. Of the others it is known without a look-up who shares one:
//! nodes of their profile.

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId};
use rusqlite::Connection;

use super::blocks::{Blocks, blocks};
use super::graph::blocked_values;
use super::levels::{EDGE_BY_VALUE, NODE_BYTES, node_at_end, node_bytes, value_of};
use super::nodes::ASSIGNMENTS;
use super::seeking::Seeker;
use super::sorting;
use crate::error::StoreResult;

type Entry = [u8; NODE_BYTES];

const BORDERING: Blocks<NODE_BYTES> = blocks!("bordering", NODE_BYTES);

const TABLES: &str = "
CREATE TABLE bordering_block (block INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE bordering_first (first BLOB PRIMARY KEY, block INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Says of `nodes` which ones border on another profile; `bordering` are among them.
pub(super) fn replace(connection: &Connection, nodes: &[NodeId], bordering: &[NodeId]) -> StoreResult<()> {
    let bordering = entries(bordering)?;
    if !BORDERING.is_empty(connection)? {
        let inside = entries(nodes)?.into_iter().filter(|node| bordering.binary_search(node).is_err());
        BORDERING.remove(connection, &inside.collect::<Vec<Entry>>())?;
    }
    BORDERING.merge(connection, bordering.into_iter(), |_, _| false).map(drop)
}

/// Sorted, each once.
fn entries(nodes: &[NodeId]) -> Result<Vec<Entry>> {
    let mut entries = nodes.iter().map(|node| node_bytes(*node)).collect::<Result<Vec<Entry>>>()?;
    sorting::sort(&mut entries);
    entries.dedup();
    Ok(entries)
}

/// Looks nodes up; those in their order cost least.
pub(super) struct Finder<'c> {
    /// `None` = no node borders on another profile.
    nodes: Option<Seeker<'c, NODE_BYTES>>,
}

impl<'c> Finder<'c> {
    pub(super) fn new(connection: &'c Connection) -> StoreResult<Self> {
        let is_any = !BORDERING.is_empty(connection)?;
        Ok(Self { nodes: is_any.then(|| Seeker::new(&BORDERING, connection)).transpose()? })
    }

    pub(super) fn holds(&mut self, node: NodeId) -> StoreResult<bool> {
        let Some(nodes) = &mut self.nodes else { return Ok(false) };
        let mut holds = false;
        nodes.each(&node_bytes(node)?, &mut |_| holds = true)?;
        Ok(holds)
    }
}

/// Makes the table, and finds who borders on another profile in a ledger that did not say.
pub(super) fn find_all(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch(TABLES)?;
    let mut labels: Vec<Option<[u8; 16]>> = Vec::new();
    ASSIGNMENTS.each(connection, NodeId(0), &mut |node, profile| {
        let place = usize::try_from(node.0).unwrap_or_default();
        labels.resize(labels.len().max(place + 1), None);
        if let Some(label) = labels.get_mut(place) {
            *label = Some(*profile);
        }
        Ok(true)
    })?;
    let label = |node: NodeId| usize::try_from(node.0).ok().and_then(|place| labels.get(place)).copied().flatten();
    let blocked = blocked_values(connection)?;
    let mut bordering: Vec<NodeId> = Vec::new();
    let mut carriers: (Option<(u16, BlindIndex)>, Vec<NodeId>) = (None, Vec::new());
    let mut close = |(value, nodes): &(Option<(u16, BlindIndex)>, Vec<NodeId>)| {
        let is_apart = |pair: &[NodeId]| matches!(pair, [one, other] if label(*one) != label(*other));
        if value.is_some_and(|value| !blocked.contains(&value)) && nodes.windows(2).any(is_apart) {
            bordering.extend(nodes);
        }
    };
    EDGE_BY_VALUE.each(connection, &mut |entry| {
        let value = Some(value_of(entry));
        if carriers.0 != value {
            close(&carriers);
            carriers = (value, Vec::new());
        }
        carriers.1.push(node_at_end(entry));
        Ok(true)
    })?;
    close(&carriers);
    replace(connection, &[], &bordering)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use affluent_model::identity::{BlockedIdentifier, Edge, ProfileId};
    use proptest::prelude::*;

    use super::super::open::open_writer;
    use super::super::resolution;
    use super::*;
    use crate::contract::identity::ResolutionCommit;

    fn ids(nodes: &BTreeSet<i64>) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn held(connection: &Connection) -> BTreeSet<i64> {
        let mut finder = Finder::new(connection).unwrap();
        (0..60).filter(|node| finder.holds(NodeId(*node)).unwrap()).collect()
    }

    fn some_nodes() -> impl Strategy<Value = BTreeSet<i64>> {
        prop::collection::btree_set(0..60_i64, 0..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn of_nodes_that_are_told_again_the_last_word_counts(changes in prop::collection::vec((some_nodes(), some_nodes()), 1..12)) {
            let folder = tempfile::tempdir().unwrap();
            let connection = open_writer(&folder.path().join("ledger")).unwrap();
            let mut bordering: BTreeSet<i64> = BTreeSet::new();
            for (nodes, some) in changes {
                let now: BTreeSet<i64> = nodes.intersection(&some).copied().collect();
                replace(&connection, &ids(&nodes), &ids(&now)).unwrap();
                bordering.retain(|node| !nodes.contains(node));
                bordering.extend(now);
                prop_assert_eq!(held(&connection), bordering.clone());
            }
        }

        #[test]
        fn a_ledger_that_did_not_say_is_read_once(
            edges in prop::collection::btree_set((0..60_i64, 0..2_u16, 0..20_u8), 0..60),
            labels in prop::collection::btree_map(0..60_i64, 1..30_u128, 0..60),
            blocked in prop::collection::btree_set((0..2_u16, 0..20_u8), 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let connection = open_writer(&folder.path().join("ledger")).unwrap();
            let blocked_identifier = |(kind, number): &(u16, u8)| {
                BlockedIdentifier { kind: *kind, value: [*number; 17], reason: "many".to_owned(), nodes: 9 }
            };
            let commit = ResolutionCommit {
                edges: edges.iter().map(|(node, kind, number)| Edge { node: NodeId(*node), kind: *kind, value: [*number; 17], seen_at_us: 1 }).collect(),
                assignments: labels.iter().map(|(node, label)| (NodeId(*node), ProfileId(*label))).collect(),
                blocked: blocked.iter().map(blocked_identifier).collect(),
                ..ResolutionCommit::default()
            };
            resolution::commit(&connection, &commit).unwrap();
            connection.execute_batch("DROP TABLE bordering_block; DROP TABLE bordering_first;").unwrap();

            find_all(&connection).unwrap();

            let mut carriers: BTreeMap<(u16, u8), BTreeSet<i64>> = BTreeMap::new();
            for (node, kind, number) in edges.iter().filter(|(_, kind, number)| !blocked.contains(&(*kind, *number))) {
                carriers.entry((*kind, *number)).or_default().insert(*node);
            }
            let is_apart = |nodes: &&BTreeSet<i64>| nodes.iter().map(|node| labels.get(node)).collect::<BTreeSet<_>>().len() > 1;
            let expected: BTreeSet<i64> = carriers.values().filter(is_apart).flatten().copied().collect();
            prop_assert_eq!(held(&connection), expected);
        }
    }
}
