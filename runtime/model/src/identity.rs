//! Identities: nodes (one record subject at one source), identifiers, edges between them, profiles and the links
//! that explain them. An edge is the truth and is never rewritten by a merge; a profile is a label on a component.

use std::fmt;

/// A blind index value: BIX1, 17 bytes (`security.md` A-30).
pub type BlindIndex = [u8; 17];

/// One identity node: a person as one source knows them, or a guest's record. Positive, given by the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

/// Blind index of (connection, subject kind, external id): finds the node of a subject without its id in clear.
pub type NodeKey = BlindIndex;

/// A node's key, wrapped: EWK1, 108 bytes (`security.md` A.3).
pub type WrappedKey = [u8; 108];

/// A profile's public id: a UUIDv7 made of its oldest node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId(pub u128);

impl ProfileId {
    /// The id of a profile whose oldest node was first seen at `first_seen_ms` (milliseconds since the epoch) and
    /// has this key: the same node always gives the same id, so a repeated run cannot make another.
    #[must_use]
    pub fn of_node(first_seen_ms: u64, node_key: &NodeKey) -> Self {
        let mut random = [0u8; 10];
        for (slot, byte) in random.iter_mut().zip(node_key.iter().skip(1)) {
            *slot = *byte;
        }
        Self(uuid::Builder::from_unix_timestamp_millis(first_seen_ms, &random).into_uuid().as_u128())
    }

    /// A key for a row that a destination holds under values that its person is not matched by any more, made of a keyed hash of
    /// both: no profile ever has it (a UUIDv8).
    #[must_use]
    pub fn of_former_row(hash: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(hash).into_uuid().as_u128())
    }

    /// True for a key of [`Self::of_former_row`].
    #[must_use]
    pub fn is_former_row(self) -> bool {
        uuid::Uuid::from_u128(self.0).get_version_num() == 8
    }

    /// Parses the hyphenated form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::parse_str(text).ok().map(|id| Self(id.as_u128()))
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node carries an identifier: the pair that identity is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    pub node: NodeId,
    /// Index into the project's identifier kinds, as the ledger numbers them.
    pub kind: u16,
    pub value: BlindIndex,
    /// When the source said so, microseconds UTC.
    pub seen_at_us: i64,
}

/// The kind of a link without an identifier; its value is all zeroes.
pub const NO_KIND: u16 = u16::MAX;

/// Why two nodes are, or are not, one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The smaller node id. Both are the same where an identifier of the node itself was refused: the profile would have had
    /// too many values of its kind, and better identifiers joined it nevertheless.
    pub node_a: NodeId,
    pub node_b: NodeId,
    /// Name of the rule that made it.
    pub rule: String,
    /// The identifier both carry; [`NO_KIND`] where the link stands on attributes alone, or a person made it.
    pub kind: u16,
    pub value: BlindIndex,
    pub verdict: LinkVerdict,
}

/// What became of a proposed link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkVerdict {
    /// It holds the component together.
    Joined,
    /// Refused by a limit, a uniqueness or (later) a veto; the text names it.
    Refused(String),
}

/// An identifier value that is never an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedIdentifier {
    pub kind: u16,
    pub value: BlindIndex,
    /// `fan-out`: it points to more nodes than its limit.
    pub reason: String,
    /// Nodes that carry it.
    pub nodes: u64,
}
