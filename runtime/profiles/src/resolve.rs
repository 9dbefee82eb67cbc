//! Identity resolution: from nodes and the identifiers they carry to profiles, with every link that joins two nodes
//! and every link that a guard rail refused. The partition is a function of the set of edges alone: links are tried
//! in a canonical order made of rules, identifier values and node keys, never of arrival or of ids. It does not
//! load, store or open anything.

mod components;
mod index;
mod labels;
#[cfg(test)]
mod properties;
mod propose;
mod rules;
#[cfg(test)]
mod tests;

use affluent_model::identity::{BlockedIdentifier, Edge, Link, LinkVerdict, NodeId, NodeKey, ProfileId};
use affluent_model::plan::IdentityRules;

use components::Components;
use index::{NodeOrder, ValueIndex};
use labels::label;
use propose::{Proposal, propose};
use rules::RuleSet;

/// One node as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolveNode {
    pub node: NodeId,
    pub key: NodeKey,
    /// Milliseconds since the epoch; decides which profile is the oldest. Never changes for a node.
    pub first_seen_ms: u64,
    /// The profile it belongs to now, aliases already followed; `None` = new.
    pub profile: Option<ProfileId>,
}

/// A closed neighbourhood: with a node come all its edges, and with an edge that is not blocked come all nodes that
/// carry the same kind and value. Everything at once is closed; so is everything reachable from the changed nodes.
#[derive(Debug, Clone, Copy)]
pub struct ResolveInput<'a> {
    pub rules: &'a IdentityRules,
    /// Kind number → name, as the ledger numbers them. Edges of kinds without an identifier rule are ignored.
    pub kinds: &'a [String],
    pub nodes: &'a [ResolveNode],
    /// All edges of these nodes, old and new, in any order, repeats allowed. Edges of other nodes are ignored.
    pub edges: &'a [Edge],
    /// Values that are blocked already; their edges are ignored.
    pub blocked: &'a [BlockedIdentifier],
}

/// A profile that lost nodes to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Split {
    /// Keeps its id.
    pub from: ProfileId,
    /// Where the nodes went: a created profile, or one that existed.
    pub into: ProfileId,
}

/// What resolution says about the nodes of its input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Changed and new ones only, by node.
    pub assignments: Vec<(NodeId, ProfileId)>,
    /// Ids that no node of the input had. One that was merged away earlier may come back after a split: whoever
    /// stores this drops the alias of a created id.
    pub created: Vec<ProfileId>,
    /// Merged away → survivor.
    pub aliases: Vec<(ProfileId, ProfileId)>,
    pub splits: Vec<Split>,
    /// Joined and refused, in the order they were tried. Complete for the nodes of the input: it replaces all links
    /// stored for them. The joined ones are a tree per profile.
    pub links: Vec<Link>,
    /// Newly blocked values.
    pub blocked: Vec<BlockedIdentifier>,
    /// Every node of a profile that is new, changed its id, or gained or lost nodes: what was derived from the
    /// profile is stale.
    pub touched: Vec<NodeId>,
}

/// Resolves a closed neighbourhood.
///
/// Guarantees: the partition is the same for any order of the input, for any numbering of nodes, and for the whole
/// at once as for neighbourhood by neighbourhood; resolving the result again changes nothing. A unique kind never has
/// two values in a profile of several nodes; no other kind has more than its `values_max`, unless one node alone
/// brings more.
///
/// Costs one sort of the edges, then near-linear time.
#[must_use]
pub fn resolve(input: &ResolveInput<'_>) -> Resolution {
    let rules = RuleSet::compile(input.rules, input.kinds);
    let nodes = NodeOrder::new(input.nodes);
    let (values, blocked) = ValueIndex::new(input, &rules, &nodes);
    let mut components = Components::new(&rules, &values, nodes.len());
    let proposals = propose(&rules, &values, &mut components);
    let partition = components.into_partition();
    let links = proposals.iter().map(|proposal| link(proposal, input, &rules, &nodes, &values)).collect();
    drop((proposals, values));
    let labels = label(input.nodes, &nodes, &partition);
    Resolution {
        assignments: labels.assignments,
        created: labels.created,
        aliases: labels.aliases,
        splits: labels.splits,
        links,
        blocked,
        touched: labels.touched,
    }
}

fn link(proposal: &Proposal, input: &ResolveInput<'_>, rules: &RuleSet, nodes: &NodeOrder, values: &ValueIndex) -> Link {
    let (first, second) = (nodes.id(input.nodes, proposal.nodes.0), nodes.id(input.nodes, proposal.nodes.1));
    let (kind, value) = values.identifier(input.edges, proposal.value);
    Link {
        node_a: first.min(second),
        node_b: first.max(second),
        rule: rules.rule_name(proposal.rule),
        kind,
        value,
        verdict: proposal.refusal.map_or(LinkVerdict::Joined, |refusal| LinkVerdict::Refused(rules.reason(refusal))),
    }
}
