//! The identity graph. Edges are the truth and outlive every merge; profiles are labels on components, given by the
//! resolver and stored here with the links that explain them (identity.md §0).

use std::sync::Arc;

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, Link, NodeId, NodeKey, ProfileId, WrappedKey};

use super::decisions::DecisionChange;
use super::runs::Lease;

/// A node that a key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNode {
    pub node: NodeId,
    /// `None` = erased: nothing of this subject may be sealed again under this node.
    pub wrapped_key: Option<WrappedKey>,
}

/// A node with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub node: NodeId,
    pub key: NodeKey,
    /// The connection that knows the subject.
    pub source: Arc<str>,
    pub first_seen_us: i64,
    /// `None` until it was resolved.
    pub profile: Option<ProfileId>,
}

/// A part of the graph that is closed: nothing outside it can change how it is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbourhood {
    /// By node.
    pub nodes: Vec<NodeRow>,
    /// All edges of `nodes`, by node, kind and value; `seen_at_us` is when each was first seen.
    pub edges: Vec<Edge>,
    /// Blocked values among those of `edges` and those asked for, by kind and value.
    pub blocked: Vec<BlockedIdentifier>,
}

/// What of some nodes and edges the graph does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unknown {
    /// Nodes without a label, sorted.
    pub nodes: Vec<NodeId>,
    /// Edges that are not there, or were seen earlier than was known, by node, kind and value.
    pub edges: Vec<Edge>,
    /// Edges that are there, seen later than was known.
    pub seen_again: Vec<Edge>,
}

/// All that one resolution changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolutionCommit {
    /// Files whose identifiers are in `edges` or were there before.
    pub resolved_files: Vec<i64>,
    /// New or seen again: the earliest sight and the latest are kept.
    pub edges: Vec<Edge>,
    /// Labels that are new or changed.
    pub assignments: Vec<(NodeId, ProfileId)>,
    /// Profiles that did not exist; one that was an alias stops being one.
    pub created: Vec<ProfileId>,
    /// (old, new): old was merged into new and resolves to it for ever, through any further merge.
    pub aliases: Vec<(ProfileId, ProfileId)>,
    /// Profiles that exist no more; those in `aliases` may be left out.
    pub removed: Vec<ProfileId>,
    /// Nodes whose links are all replaced by `links`.
    pub relinked_nodes: Vec<NodeId>,
    pub links: Vec<Link>,
    /// Of `relinked_nodes`, those that share an identifier, which is not blocked, with a node that has another profile or none. Who
    /// shares one with any of the others is of its profile: [`Identity::neighbourhood`] does not look for it.
    pub bordering: Vec<NodeId>,
    /// Newly blocked or counted anew.
    pub blocked: Vec<BlockedIdentifier>,
    /// Values that are an edge again.
    pub unblocked: Vec<(u16, BlindIndex)>,
    /// What a person decided, of which all this follows; noted in the audit.
    pub decision: Option<DecisionChange>,
    pub now_us: i64,
}

/// Two profiles that a guard rail keeps apart, or one with identifiers that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptApart {
    pub reason: String,
    pub one: ProfileId,
    /// `None` = identifiers of `one` were refused.
    pub other: Option<ProfileId>,
    /// Links between them, or identifiers, that were refused for this reason.
    pub links: u64,
}

pub trait Identity {
    /// Numbers of identifier kinds by name, in the order asked; unknown ones are given the next number for good.
    ///
    /// # Errors
    /// `E0709` beyond 65,535 kinds.
    fn identifier_kinds(&self, names: &[String]) -> Result<Vec<u16>>;

    /// All kinds by number.
    ///
    /// # Errors
    /// Those of the store.
    fn identifier_kind_names(&self) -> Result<Vec<(u16, String)>>;

    /// The smallest closed part of the graph with `nodes` and every node that carries one of `values`: with a node come all
    /// nodes of its profile and all nodes that share an identifier value with it that is not blocked.
    ///
    /// Asking for much of the graph costs one sequential read of it. Nodes that do not exist are left out.
    ///
    /// # Errors
    /// Those of the store.
    fn neighbourhood(&self, nodes: &[NodeId], values: &[(u16, BlindIndex)]) -> Result<Neighbourhood>;

    /// What of `nodes` and `edges` is news. Both are sorted and without repeats: edges by node, kind and value.
    ///
    /// Asking for much of the graph costs one sequential read of it.
    ///
    /// # Errors
    /// Those of the store.
    fn unknown(&self, nodes: Vec<NodeId>, edges: Vec<Edge>) -> Result<Unknown>;

    /// Everything, for a change of rules.
    ///
    /// # Errors
    /// Those of the store.
    fn whole_graph(&self) -> Result<Neighbourhood>;

    /// Writes a resolution. Sorting is done inside; that the nodes exist is not checked.
    ///
    /// # Errors
    /// `E0706`.
    fn commit_resolution(&self, lease: &Lease, resolution: &ResolutionCommit) -> Result<()>;

    /// Visits every labelled node, by node. An error of `visit` ends it.
    ///
    /// # Errors
    /// Those of the store and of `visit`.
    fn assignments(&self, visit: &mut dyn FnMut(NodeId, ProfileId) -> Result<()>) -> Result<()>;

    /// Every node of `profiles` and of the profiles that `nodes` are, with its profile, by node.
    ///
    /// # Errors
    /// Those of the store.
    fn assignments_of(&self, nodes: &[NodeId], profiles: &[ProfileId]) -> Result<Vec<(NodeId, ProfileId)>>;

    /// Profiles that exist.
    ///
    /// # Errors
    /// Those of the store.
    fn profile_count(&self) -> Result<u64>;

    /// Profiles with a node that carries the value, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn find_profiles(&self, kind: u16, value: &BlindIndex) -> Result<Vec<ProfileId>>;

    /// The profile that an id stands for today; an id that was never merged stands for itself.
    ///
    /// # Errors
    /// Those of the store.
    fn resolve_alias(&self, profile: ProfileId) -> Result<ProfileId>;

    /// Those of the ids, sorted, that were profiles and were merged away.
    ///
    /// # Errors
    /// Those of the store.
    fn former_profiles(&self, ids: &[ProfileId]) -> Result<Vec<ProfileId>>;

    /// Nodes of a profile, by node. Aliases are not followed.
    ///
    /// # Errors
    /// Those of the store.
    fn nodes_of(&self, profile: ProfileId) -> Result<Vec<NodeRow>>;

    /// Edges of nodes, by node, kind and value; `seen_at_us` is when each was first seen.
    ///
    /// # Errors
    /// Those of the store.
    fn edges_of(&self, nodes: &[NodeId]) -> Result<Vec<Edge>>;

    /// Pairs of profiles with refused links between them, and profiles with refused identifiers, by reason, those with most
    /// first; `limit` at most of each reason.
    ///
    /// # Errors
    /// Those of the store.
    fn kept_apart(&self, limit: usize) -> Result<Vec<KeptApart>>;

    /// Links with one of the nodes at either end, each once, sorted by its nodes.
    ///
    /// # Errors
    /// Those of the store.
    fn links_of(&self, nodes: &[NodeId]) -> Result<Vec<Link>>;
}
