//! Evidence that guard rails refused: links between two records, and identifiers of one record that were left out so that the
//! rest of it could join.

use std::collections::BTreeSet;

use affluent_ledger::NodeRow;
use affluent_model::Result;
use affluent_model::identity::{BlindIndex, Edge, Link, LinkVerdict, NodeId, ProfileId};
use serde::Serialize;

use crate::decisions::masked;
use crate::engine::Engine;
use crate::unify::kind_names;

/// Evidence that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The rule that would have joined two records, or that joined the rest of one.
    pub rule: String,
    pub reason: String,
    /// Kind and first digits of the blind index: `device 3fa2c1…`; empty where attributes alone stand against each other.
    pub identifier: String,
    pub record: String,
    /// Empty where an identifier of the record itself was refused.
    pub other: String,
}

impl Engine {
    /// Identifiers of a profile's records that were refused.
    ///
    /// # Errors
    /// Those of the store.
    pub fn refused_identifiers(&self, profile: ProfileId) -> Result<Vec<Refused>> {
        let rows = self.ledger.nodes_of(profile)?;
        let nodes: Vec<NodeId> = rows.iter().map(|row| row.node).collect();
        let links = self.ledger.links_of(&nodes)?;
        let names = kind_names(self)?;
        Ok(links.iter().filter(|link| link.node_a == link.node_b).filter_map(|link| refused(link, &rows, &names)).collect())
    }
}

/// What keeps the profiles of two references apart: refused links between them, and refused identifiers that the other carries.
pub(crate) fn between(
    (one, other): (&[NodeRow], &[NodeRow]),
    around: &[NodeRow],
    edges: &[Edge],
    links: &[Link],
    names: &[String],
) -> Vec<Refused> {
    let profiles = |rows: &[NodeRow]| rows.iter().filter_map(|row| row.profile).collect::<BTreeSet<ProfileId>>();
    let (one, other) = (profiles(one), profiles(other));
    let profile_of = |node: NodeId| around.iter().find(|row| row.node == node).and_then(|row| row.profile);
    let is_of = |side: &BTreeSet<ProfileId>, node: NodeId| profile_of(node).is_some_and(|profile| side.contains(&profile));
    let carries = |side: &BTreeSet<ProfileId>, link: &Link| {
        edges.iter().any(|edge| (edge.kind, edge.value) == (link.kind, link.value) && is_of(side, edge.node))
    };
    let parts = |link: &&Link| {
        let (a, b) = (link.node_a, link.node_b);
        if a == b {
            return is_of(&one, a) && carries(&other, link) || is_of(&other, a) && carries(&one, link);
        }
        is_of(&one, a) && is_of(&other, b) || is_of(&other, a) && is_of(&one, b)
    };
    links.iter().filter(parts).filter_map(|link| refused(link, around, names)).collect()
}

/// The identifiers that were refused at a node, among links.
pub(crate) fn refused_edges(links: &[Link]) -> BTreeSet<(NodeId, u16, BlindIndex)> {
    let own = links.iter().filter(|link| link.node_a == link.node_b && link.verdict != LinkVerdict::Joined);
    own.map(|link| (link.node_a, link.kind, link.value)).collect()
}

fn refused(link: &Link, rows: &[NodeRow], names: &[String]) -> Option<Refused> {
    let LinkVerdict::Refused(reason) = &link.verdict else { return None };
    let describe = |node: NodeId| {
        let row = rows.iter().find(|row| row.node == node);
        row.map_or_else(String::new, |row| format!("{} record {}", row.source, row.node.0))
    };
    let kind = names.get(usize::from(link.kind));
    Some(Refused {
        rule: link.rule.clone(),
        reason: reason.clone(),
        identifier: kind.map_or_else(String::new, |kind| format!("{kind} {}…", masked(&link.value))),
        record: describe(link.node_a),
        other: if link.node_a == link.node_b { String::new() } else { describe(link.node_b) },
    })
}
