//! What people decided about who is one person, and which record gives a value: kept as nodes and blind indexes, never changed, only taken back. A decision
//! is written in the transaction of the resolution that follows from it ([`super::identity::ResolutionCommit`]).

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId};

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// The two are one profile, whatever rules and guard rails say.
    Link(NodeId, NodeId),
    /// The node is never one profile with any of the others.
    Split { node: NodeId, from: Vec<NodeId> },
    /// The value joins none of these nodes with anybody.
    Detach { kind: u16, value: BlindIndex, nodes: Vec<NodeId> },
    /// Whatever profile the node is of shows what it says of the attribute.
    Pin { attribute: String, node: NodeId },
}

impl Decided {
    /// The nodes that it names, the first of a split first.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Link(one, other) => vec![*one, *other],
            Self::Split { node, from } => std::iter::once(*node).chain(from.iter().copied()).collect(),
            Self::Detach { nodes, .. } => nodes.clone(),
            Self::Pin { node, .. } => vec![*node],
        }
    }
}

/// A decision to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDecision {
    pub decided: Decided,
    /// Who decided.
    pub by: String,
    /// A reason may name a person: sealed.
    pub reason_sealed: Option<Vec<u8>>,
}

/// What becomes of decisions in one resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionChange {
    Decide(NewDecision),
    /// Takes a decision back; one that was taken back before stays as it was.
    Undo {
        decision: i64,
        by: String,
    },
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    pub decision: i64,
    pub decided: Decided,
    pub by: String,
    pub reason_sealed: Option<Vec<u8>>,
    pub decided_at_us: i64,
    /// Who took it back, and when.
    pub undone: Option<(String, i64)>,
}

pub trait Decisions {
    /// All decisions, by number.
    ///
    /// # Errors
    /// Those of the store.
    fn decisions(&self) -> Result<Vec<DecisionRow>>;

    /// Those that stand and name one of the nodes, by number.
    ///
    /// # Errors
    /// Those of the store.
    fn decisions_on(&self, nodes: &[NodeId]) -> Result<Vec<DecisionRow>>;

    /// How often something was decided or taken back: another number means that profiles changed without a record.
    ///
    /// # Errors
    /// Those of the store.
    fn decision_changes(&self) -> Result<u64>;
}
