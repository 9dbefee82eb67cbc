//! Canonical numbering: nodes by what they say and by key, identifier values by kind and value, and who carries what.
//! Everything after it works on these numbers, so nothing can depend on ids or arrival; 32-bit numbers and one sort keep a million nodes
//! within tens of megabytes.

use std::ops::Range;

use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, NO_KIND, NodeId};

use super::rules::{Kind, KindRank, RuleSet};
use super::{ResolveInput, ResolveNode};

/// Position of a node in the order of nodes.
pub(super) type NodeRank = u32;
/// Position of an identifier value in order of kinds and values.
pub(super) type ValueRank = u32;

/// Ids span at most this many times their number for a table indexed by id; else they are searched.
const DENSE_SPAN_PER_NODE: u64 = 8;

/// The nodes of the input, by the fingerprint of what they say, then by key: so equal records come out equal also where their
/// keys are made another way. Nodes that say the same are neighbours; others are by chance.
#[derive(Debug)]
pub(super) struct NodeOrder {
    /// Rank → position in the input.
    positions: Vec<u32>,
}

impl NodeOrder {
    /// `fingerprints` has one per node, or is empty where they say nothing.
    pub(super) fn new(nodes: &[ResolveNode], fingerprints: &[u64]) -> Self {
        let mut pairs: Vec<(u64, u32)> = if fingerprints.is_empty() {
            nodes.iter().map(|node| key_prefix(&node.key)).zip(0..).collect()
        } else {
            fingerprints.iter().copied().zip(0..).collect()
        };
        pairs.sort_unstable();
        for run in pairs.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
            run.sort_unstable_by_key(|(_, position)| nodes.get(*position as usize).map(|node| (node.key, node.node)));
        }
        Self { positions: pairs.into_iter().map(|(_, position)| position).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Rank → position in the input.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }

    pub(super) fn get<'a>(&self, nodes: &'a [ResolveNode], rank: NodeRank) -> Option<&'a ResolveNode> {
        nodes.get(*self.positions.get(rank as usize)? as usize)
    }

    pub(super) fn id(&self, nodes: &[ResolveNode], rank: NodeRank) -> NodeId {
        self.get(nodes, rank).map_or(NodeId(0), |node| node.node)
    }
}

/// Finds the rank of a node id.
pub(super) enum RankOfId {
    /// Indexed by id minus the smallest; `NodeRank::MAX` = no such node.
    Dense { first: i64, ranks: Vec<NodeRank> },
    /// Sorted by id.
    Sparse(Vec<(i64, NodeRank)>),
}

impl RankOfId {
    pub(super) fn new(nodes: &[ResolveNode], order: &NodeOrder) -> Self {
        let ids = (0..).take(order.len()).map(|rank: NodeRank| (order.id(nodes, rank).0, rank));
        let first = nodes.iter().map(|node| node.node.0).min().unwrap_or(0);
        let last = nodes.iter().map(|node| node.node.0).max().unwrap_or(0);
        let span = last.abs_diff(first);
        if span > DENSE_SPAN_PER_NODE.saturating_mul(nodes.len() as u64) {
            let mut pairs: Vec<(i64, NodeRank)> = ids.collect();
            pairs.sort_unstable();
            return Self::Sparse(pairs);
        }
        let mut ranks = vec![NodeRank::MAX; usize::try_from(span).unwrap_or(0).saturating_add(1)];
        for (id, rank) in ids {
            if let Some(slot) = usize::try_from(id.abs_diff(first)).ok().and_then(|at| ranks.get_mut(at)) {
                *slot = rank;
            }
        }
        Self::Dense { first, ranks }
    }

    pub(super) fn find(&self, node: NodeId) -> Option<NodeRank> {
        match self {
            Self::Dense { first, ranks } => {
                let at = usize::try_from(node.0.checked_sub(*first)?).ok()?;
                ranks.get(at).copied().filter(|rank| *rank != NodeRank::MAX)
            }
            Self::Sparse(pairs) => {
                let at = pairs.binary_search_by_key(&node.0, |(id, _)| *id).ok()?;
                pairs.get(at).map(|(_, rank)| *rank)
            }
        }
    }
}

/// One edge on its way through the sort: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Kind rank in the upper 16 bits, 48 bits of the value below: almost always enough to tell values apart.
    key: u64,
    node: NodeRank,
    /// Position in the input.
    edge: u32,
}

/// Who carries which identifier value.
#[derive(Debug, Default)]
pub(super) struct ValueIndex {
    /// Value → an edge that has it (position in the input).
    samples: Vec<u32>,
    /// Value → where its nodes start in `carriers`; one more at the end.
    starts: Vec<u32>,
    /// Nodes by value, ascending and without repeats within one.
    carriers: Vec<NodeRank>,
    /// Kind rank → its values.
    kind_values: Vec<Range<ValueRank>>,
    /// Value → when it was first seen, microseconds UTC.
    seen_at: Vec<i64>,
    /// When each of `carriers` was first seen with its value; empty where no rule asks who is known.
    carriers_seen_at: Vec<i64>,
    /// Node → since when it is known, `i64::MAX` = it is not; empty where no rule asks.
    known_since: Vec<i64>,
    /// Values that never join on their own, ascending.
    weak: Vec<ValueRank>,
}

/// Who is not known.
const NEVER: i64 = i64::MAX;

impl ValueIndex {
    /// Indexes the edges that count, and names the values that are blocked now because they point to too many nodes.
    pub(super) fn new(input: &ResolveInput<'_>, rules: &RuleSet, order: &NodeOrder) -> (Self, Vec<BlockedIdentifier>) {
        let (entries, is_key_enough) = sorted_entries(input, rules, order);
        let mut index = Self { kind_values: vec![0..0; rules.kinds.len()], ..Self::default() };
        index.starts.push(0);
        if rules.asks_who_is_known() {
            index.known_since = vec![NEVER; order.len()];
        }
        let blocked_before = sorted_blocked(input.blocked);
        let marked = marked_values(input.edges, rules);
        let mut blocked = Vec::new();
        let is_one = |a: &Entry, b: &Entry| a.key == b.key && (is_key_enough || same_value(input.edges, a, b));
        for run in entries.chunk_by(is_one) {
            let value = narrow(index.len());
            index.admit(run, input.edges, rules, &blocked_before, &mut blocked);
            let is_marked = |edge: &Edge| marked.binary_search(&(edge.kind, edge.value)).is_ok();
            let sample = || run.first().and_then(|entry| input.edges.get(entry.edge as usize));
            if !marked.is_empty() && narrow(index.len()) > value && sample().is_some_and(is_marked) {
                index.weak.push(value);
            }
        }
        (index, blocked)
    }

    fn admit(
        &mut self,
        run: &[Entry],
        edges: &[Edge],
        rules: &RuleSet,
        blocked_before: &[(u16, BlindIndex)],
        blocked: &mut Vec<BlockedIdentifier>,
    ) {
        let Some(edge) = run.first().and_then(|entry| edges.get(entry.edge as usize)) else { return };
        let Some((rank, kind)) = run.first().and_then(|entry| {
            let rank = kind_rank(entry);
            Some((rank, rules.kind(rank)?))
        }) else {
            return;
        };
        if blocked_before.binary_search(&(edge.kind, edge.value)).is_ok() {
            return;
        }
        let start = self.carriers.len();
        self.carriers.extend(run.chunk_by(|a, b| a.node == b.node).filter_map(|same| same.first()).map(|entry| entry.node));
        let fanout = self.carriers.len() - start;
        if fanout > kind.fanout_max as usize {
            self.carriers.truncate(start);
            let reason = "fan-out".to_owned();
            blocked.push(BlockedIdentifier { kind: edge.kind, value: edge.value, reason, nodes: fanout as u64 });
            return;
        }
        self.note_times(run, edges, kind);
        let value = narrow(self.samples.len());
        self.samples.extend(run.first().map(|entry| entry.edge));
        let seen_at = run.iter().filter_map(|entry| edges.get(entry.edge as usize)).map(|edge| edge.seen_at_us).min();
        self.seen_at.push(seen_at.unwrap_or(0));
        self.starts.push(narrow(self.carriers.len()));
        if let Some(range) = self.kind_values.get_mut(usize::from(rank)) {
            let first = if range.start == range.end { value } else { range.start };
            *range = first..value + 1;
        }
    }

    /// Keeps who carries a value since when, and who is known by it, where a rule asks.
    fn note_times(&mut self, run: &[Entry], edges: &[Edge], kind: &Kind) {
        if self.known_since.is_empty() {
            return;
        }
        for same in run.chunk_by(|a, b| a.node == b.node) {
            let times = same.iter().filter_map(|entry| edges.get(entry.edge as usize)).map(|edge| edge.seen_at_us);
            // A time so late says that none is known.
            let seen_at = times.min().unwrap_or(0).min(NEVER - 1);
            self.carriers_seen_at.push(seen_at);
            let node = same.first().map_or(NodeRank::MAX, |entry| entry.node);
            if let Some(since) = self.known_since.get_mut(node as usize).filter(|_| kind.anonymous.is_none()) {
                *since = seen_at.min(*since);
            }
        }
    }

    /// Since when a node is known, microseconds UTC; `None` = it is not, or no rule asks.
    pub(super) fn known_since(&self, node: NodeRank) -> Option<i64> {
        self.known_since.get(node as usize).copied().filter(|since| *since != NEVER)
    }

    /// When the nodes that carry a value were first seen with it; empty where no rule asks who is known.
    pub(super) fn carriers_seen_at(&self, value: ValueRank) -> &[i64] {
        let start = self.starts.get(value as usize).copied().unwrap_or(0);
        let end = self.starts.get(value as usize + 1).copied().unwrap_or(start);
        self.carriers_seen_at.get(start as usize..end as usize).unwrap_or(&[])
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// True for a value that never joins on its own.
    pub(super) fn is_weak(&self, value: ValueRank) -> bool {
        self.weak.binary_search(&value).is_ok()
    }

    /// The values of a kind, in order.
    pub(super) fn values_of(&self, kind: KindRank) -> Range<ValueRank> {
        self.kind_values.get(usize::from(kind)).cloned().unwrap_or(0..0)
    }

    /// The kind of each value, as ranges by kind rank.
    pub(super) fn kind_values(&self) -> &[Range<ValueRank>] {
        &self.kind_values
    }

    /// When a value was first seen, microseconds UTC.
    pub(super) fn seen_at(&self, value: ValueRank) -> i64 {
        self.seen_at.get(value as usize).copied().unwrap_or(0)
    }

    /// The nodes that carry a value, in order.
    pub(super) fn carriers(&self, value: ValueRank) -> &[NodeRank] {
        let start = self.starts.get(value as usize).copied().unwrap_or(0);
        let end = self.starts.get(value as usize + 1).copied().unwrap_or(start);
        self.carriers.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// How many (value, node) pairs there are.
    pub(super) fn pairs(&self) -> usize {
        self.carriers.len()
    }

    /// The ledger's kind number and the blind index of a value; a kind that no ledger has where there is none.
    pub(super) fn identifier(&self, edges: &[Edge], value: ValueRank) -> (u16, BlindIndex) {
        let edge = self.samples.get(value as usize).and_then(|edge| edges.get(*edge as usize));
        edge.map_or((NO_KIND, [0; 17]), |edge| (edge.kind, edge.value))
    }
}

/// The values that edges of marks tell to be weak, by the number of the kind itself; sorted.
fn marked_values(edges: &[Edge], rules: &RuleSet) -> Vec<(u16, BlindIndex)> {
    let marks: Vec<(u16, u16)> = rules.kinds.iter().filter_map(|kind| Some((kind.mark?, kind.number?))).collect();
    if marks.is_empty() {
        return Vec::new();
    }
    let of_kind = |edge: &Edge| marks.iter().find(|(mark, _)| *mark == edge.kind).map(|(_, kind)| (*kind, edge.value));
    let mut marked: Vec<(u16, BlindIndex)> = edges.iter().filter_map(of_kind).collect();
    marked.sort_unstable();
    marked.dedup();
    marked
}

/// The edges that count, by value and node; true when entries with equal keys have equal values.
fn sorted_entries(input: &ResolveInput<'_>, rules: &RuleSet, order: &NodeOrder) -> (Vec<Entry>, bool) {
    let rank_of_id = RankOfId::new(input.nodes, order);
    let ranks_by_number = rules.ranks_by_number(input.kinds.len());
    let mut entries: Vec<Entry> = Vec::with_capacity(input.edges.len());
    entries.extend((0..).zip(input.edges).filter_map(|(edge_at, edge)| {
        let kind = ranks_by_number.get(usize::from(edge.kind)).copied().flatten()?;
        Some(Entry { key: sort_key(kind, &edge.value), node: rank_of_id.find(edge.node)?, edge: edge_at })
    }));
    entries.sort_unstable();
    let is_key_enough = separate_equal_keys(&mut entries, input.edges);
    (entries, is_key_enough)
}

/// Two values of a kind that agree in the 48 bits of the key are told apart by all their bytes; true when there are none.
fn separate_equal_keys(entries: &mut [Entry], edges: &[Edge]) -> bool {
    let mut is_key_enough = true;
    for run in entries.chunk_by_mut(|a, b| a.key == b.key) {
        let is_one_value = run.windows(2).all(|pair| matches!(pair, [a, b] if same_value(edges, a, b)));
        if !is_one_value {
            is_key_enough = false;
            run.sort_unstable_by_key(|entry| (edges.get(entry.edge as usize).map(|edge| edge.value), entry.node, entry.edge));
        }
    }
    is_key_enough
}

fn same_value(edges: &[Edge], a: &Entry, b: &Entry) -> bool {
    match (edges.get(a.edge as usize), edges.get(b.edge as usize)) {
        (Some(a), Some(b)) => a.value == b.value,
        _ => false,
    }
}

/// Eight bytes of a blind index after its first, the version, which is the same for all.
fn key_prefix(key: &BlindIndex) -> u64 {
    let [_, a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The kind, then six bytes of the value after its version.
fn sort_key(kind: KindRank, value: &BlindIndex) -> u64 {
    let [_, a, b, c, d, e, f, ..] = *value;
    let [high, low] = kind.to_be_bytes();
    u64::from_be_bytes([high, low, a, b, c, d, e, f])
}

fn kind_rank(entry: &Entry) -> KindRank {
    let [high, low, ..] = entry.key.to_be_bytes();
    KindRank::from_be_bytes([high, low])
}

fn sorted_blocked(blocked: &[BlockedIdentifier]) -> Vec<(u16, BlindIndex)> {
    let mut pairs: Vec<(u16, BlindIndex)> = blocked.iter().map(|blocked| (blocked.kind, blocked.value)).collect();
    pairs.sort_unstable();
    pairs
}

/// Counts of nodes and edges in memory stay far below 2³².
pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
