//! Closing a part of the identity graph: what must be known to resolve some nodes as if everything was. Few nodes are
//! followed edge by edge; when they are, or turn out to be, a good part of all, one sequential read of the graph finds the
//! same part for less.

use std::collections::{BTreeSet, HashSet};

use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, NodeId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, node_at_end, value_of, value_prefix};
use super::nodes::{ASSIGNMENTS, Labels, NODES, Rows};
use super::{bordering, count_at, edges};
use crate::contract::identity::Neighbourhood;
use crate::error::StoreResult;

/// A look-up of a node with its edges and neighbours costs as much as reading this many nodes in order.
const NODES_PER_LOOK_UP: usize = 16;
/// Nodes followed edge by edge however small the graph is.
const LOOK_UPS_MIN: usize = 64;

type Value = (u16, BlindIndex);
type Label = [u8; 16];

/// See [`crate::Identity::neighbourhood`].
pub(super) fn neighbourhood(connection: &Connection, nodes: &[NodeId], values: &[Value]) -> StoreResult<Neighbourhood> {
    let all = usize::try_from(NODES.last(connection)?.map_or(0, |node| node.0)).unwrap_or(usize::MAX);
    let look_ups_max = (all / NODES_PER_LOOK_UP).max(LOOK_UPS_MIN);
    let members = match Walk::new(connection, look_ups_max)?.close(nodes, values)? {
        Some(members) => members,
        None => scan(connection, all, nodes, values)?,
    };
    read_members(connection, members, values)
}

/// See [`crate::Identity::whole_graph`].
pub(super) fn whole(connection: &Connection) -> StoreResult<Neighbourhood> {
    let mut graph = read_members(connection, Members::All, &[])?;
    let sql = "SELECT kind, value, reason, nodes FROM blocked_identifier ORDER BY kind, value";
    graph.blocked = super::collect(connection.prepare_cached(sql)?.query_map([], blocked_row)?)?;
    Ok(graph)
}

/// The nodes of a closed part.
enum Members {
    /// With their edges and labels, both sorted.
    Few(BTreeSet<NodeId>, Vec<Edge>, Vec<(NodeId, Label)>),
    /// Slot n tells whether node n is one.
    Many(Vec<bool>),
    All,
}

impl Members {
    /// About how many there are.
    fn count(&self, connection: &Connection) -> StoreResult<usize> {
        Ok(match self {
            Self::Few(nodes, ..) => nodes.len(),
            Self::Many(is_member) => is_member.iter().filter(|is_member| **is_member).count(),
            Self::All => NODES.last(connection)?.and_then(slot).unwrap_or(0),
        })
    }

    fn contains(&self, node: NodeId) -> bool {
        match self {
            Self::Few(nodes, ..) => nodes.contains(&node),
            Self::Many(is_member) => slot(node).and_then(|slot| is_member.get(slot)).copied().unwrap_or(false),
            Self::All => true,
        }
    }
}

/// A walk from node to node by point look-ups, wave by wave, each in the order of the indexes.
struct Walk<'a> {
    connection: &'a Connection,
    look_ups_max: usize,
    blocked: HashSet<Value>,
    members: BTreeSet<NodeId>,
    seen_values: HashSet<Value>,
    seen_profiles: HashSet<Label>,
    edges: Vec<Edge>,
    labels: Vec<(NodeId, Label)>,
    /// Found and not yet followed.
    wave: Vec<NodeId>,
}

impl<'a> Walk<'a> {
    fn new(connection: &'a Connection, look_ups_max: usize) -> StoreResult<Self> {
        Ok(Self {
            connection,
            look_ups_max,
            blocked: blocked_values(connection)?,
            members: BTreeSet::new(),
            seen_values: HashSet::new(),
            seen_profiles: HashSet::new(),
            edges: Vec::new(),
            labels: Vec::new(),
            wave: Vec::new(),
        })
    }

    /// The closed part with its edges; `None` when it is too large to be worth the walk.
    fn close(mut self, nodes: &[NodeId], values: &[Value]) -> StoreResult<Option<Members>> {
        if nodes.len().saturating_add(values.len()) > self.look_ups_max {
            return Ok(None);
        }
        for node in nodes {
            self.add(*node);
        }
        // What is decided or read of these may be about any value of theirs.
        let asked = self.members.clone();
        self.follow_values(values.to_vec())?;
        while !self.wave.is_empty() {
            if self.members.len() > self.look_ups_max {
                return Ok(None);
            }
            let mut wave = std::mem::take(&mut self.wave);
            wave.sort_unstable();
            let leading = self.follow_profiles(&wave, &asked)?;
            self.follow_edges(&wave, &leading)?;
        }
        self.edges.sort_unstable();
        self.labels.sort_unstable();
        Ok(Some(Members::Few(self.members, self.edges, self.labels)))
    }

    fn add(&mut self, node: NodeId) {
        if self.members.insert(node) {
            self.wave.push(node);
        }
    }

    /// Reads the edges of a wave, and follows those of `leading`, which are sorted.
    fn follow_edges(&mut self, wave: &[NodeId], leading: &[NodeId]) -> StoreResult<()> {
        let known = self.edges.len();
        let mut finder = edges::Finder::new(self.connection)?;
        for node in wave {
            finder.read(*node, &mut self.edges)?;
        }
        let leads = |edge: &&Edge| leading.binary_search(&edge.node).is_ok();
        let values = self.edges.iter().skip(known).filter(leads).map(|edge| (edge.kind, edge.value)).collect();
        self.follow_values(values)
    }

    fn follow_values(&mut self, mut values: Vec<Value>) -> StoreResult<()> {
        values.retain(|value| !self.blocked.contains(value) && self.seen_values.insert(*value));
        values.sort_unstable();
        let mut finder = EDGE_BY_VALUE.finder(self.connection)?;
        for (kind, value) in values {
            finder.each_node(&value_prefix(kind, &value)?, |node| self.add(node))?;
        }
        Ok(())
    }

    /// Follows the profiles of a wave. Returns those of its nodes, sorted, that may share an identifier with others than the nodes of
    /// their profile.
    fn follow_profiles(&mut self, wave: &[NodeId], asked: &BTreeSet<NodeId>) -> StoreResult<Vec<NodeId>> {
        let (mut profiles, mut leading): (Vec<Label>, Vec<NodeId>) = (Vec::new(), Vec::new());
        let mut assignments = ASSIGNMENTS.reader(self.connection)?;
        let mut bordering = bordering::Finder::new(self.connection)?;
        for node in wave {
            let label = assignments.get(*node)?.copied();
            if label.is_none() || asked.contains(node) || bordering.holds(*node)? {
                leading.push(*node);
            }
            self.labels.extend(label.map(|label| (*node, label)));
            profiles.extend(label.filter(|label| self.seen_profiles.insert(*label)));
        }
        profiles.sort_unstable();
        let mut finder = ASSIGNMENT_BY_PROFILE.finder(self.connection)?;
        for profile in profiles {
            finder.each_node(&profile, |node| self.add(node))?;
        }
        Ok(leading)
    }
}

/// Finds the closed part by joining all nodes once, in the order the indexes are stored in.
fn scan(connection: &Connection, last: usize, nodes: &[NodeId], values: &[Value]) -> StoreResult<Members> {
    let blocked = blocked_values(connection)?;
    let mut wanted: Vec<Value> = Vec::new();
    if EDGE_BY_VALUE.holds_any(connection)? {
        wanted.extend(values.iter().filter(|value| !blocked.contains(*value)));
        wanted.sort_unstable();
    }
    let mut components = Components::new(last);
    let mut seeds: Vec<NodeId> = nodes.to_vec();
    let mut before: Option<(Value, NodeId)> = None;
    EDGE_BY_VALUE.each(connection, &mut |entry| {
        let (value, node) = (value_of(entry), node_at_end(entry));
        match before {
            Some((same, _)) if same == value && blocked.contains(&value) => {}
            Some((same, other)) if same == value => components.join(node, other),
            _ if wanted.binary_search(&value).is_ok() => seeds.push(node),
            _ => {}
        }
        before = Some((value, node));
        Ok(true)
    })?;
    let mut before: Option<([u8; 16], NodeId)> = None;
    ASSIGNMENT_BY_PROFILE.each(connection, &mut |entry| {
        let (profile, node) = (entry.first_chunk().copied().unwrap_or_default(), node_at_end(entry));
        if let Some((_, other)) = before.filter(|(same, _)| *same == profile) {
            components.join(node, other);
        }
        before = Some((profile, node));
        Ok(true)
    })?;
    Ok(Members::Many(components.members_of(&seeds)))
}

/// Components of nodes 0..=last by union-find; the parent of a root is itself.
struct Components {
    parents: Vec<u32>,
}

impl Components {
    fn new(last: usize) -> Self {
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        Self { parents: (0..=last).collect() }
    }

    /// Nodes that do not exist join nothing.
    fn join(&mut self, a: NodeId, b: NodeId) {
        let (Some(a), Some(b)) = (self.root(a), self.root(b)) else {
            return;
        };
        let (low, high) = (a.min(b), a.max(b));
        if let Some(parent) = self.parents.get_mut(high as usize) {
            *parent = low;
        }
    }

    /// Halves the path on its way.
    fn root(&mut self, node: NodeId) -> Option<u32> {
        let mut at = u32::try_from(node.0).ok()?;
        loop {
            let parent = *self.parents.get(at as usize)?;
            if parent == at {
                return Some(at);
            }
            let grandparent = *self.parents.get(parent as usize)?;
            *self.parents.get_mut(at as usize)? = grandparent;
            at = grandparent;
        }
    }

    fn members_of(mut self, seeds: &[NodeId]) -> Vec<bool> {
        let mut is_wanted = vec![false; self.parents.len()];
        for seed in seeds {
            if let Some(slot) = self.root(*seed).and_then(|root| is_wanted.get_mut(root as usize)) {
                *slot = true;
            }
        }
        let root_of = |slot: usize| self.root(NodeId(i64::try_from(slot).unwrap_or(-1)));
        let roots: Vec<Option<u32>> = (0..is_wanted.len()).map(root_of).collect();
        let is_member = |root: Option<u32>| root.and_then(|root| is_wanted.get(root as usize)).copied().unwrap_or(false);
        roots.into_iter().map(is_member).collect()
    }
}

/// The rows of the members.
fn read_members(connection: &Connection, members: Members, asked: &[Value]) -> StoreResult<Neighbourhood> {
    let mut part = Neighbourhood::default();
    let is_all = matches!(members, Members::All);
    if let Members::Few(nodes, edges, labels) = members {
        part.edges = edges;
        let mut labels = labels.into_iter().peekable();
        let mut rows = Rows::new(connection)?;
        for node in nodes {
            let label = labels.next_if(|(other, _)| *other == node).map(|(_, label)| label);
            // Nodes that do not exist have no edges either.
            part.nodes.extend(rows.get(node, label)?);
        }
    } else {
        let mut labels = Labels::new(connection)?;
        part.nodes.reserve(members.count(connection)?);
        NODES.each(connection, NodeId(0), &mut |node, entry| {
            if members.contains(node) {
                part.nodes.push(labels.row(node, entry)?);
            }
            Ok(true)
        })?;
        edges::each_from(connection, NodeId(0), &mut |stored| {
            part.edges.extend(members.contains(stored.edge.node).then_some(stored.edge));
            Ok(true)
        })?;
    }
    if !is_all && connection.prepare_cached("SELECT 1 FROM blocked_identifier LIMIT 1")?.exists([])? {
        let touched = part.edges.iter().map(|edge| (edge.kind, edge.value));
        for value in touched.chain(asked.iter().copied()).collect::<BTreeSet<Value>>() {
            part.blocked.extend(find_blocked(connection, value)?);
        }
    }
    Ok(part)
}

pub(super) fn blocked_values(connection: &Connection) -> StoreResult<HashSet<Value>> {
    let mut statement = connection.prepare_cached("SELECT kind, value FROM blocked_identifier")?;
    let values = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(values.collect::<rusqlite::Result<HashSet<Value>>>()?)
}

fn find_blocked(connection: &Connection, value: Value) -> StoreResult<Option<BlockedIdentifier>> {
    let sql = "SELECT kind, value, reason, nodes FROM blocked_identifier WHERE kind = ?1 AND value = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![value.0, value.1], blocked_row).optional()?)
}

fn blocked_row(row: &Row<'_>) -> rusqlite::Result<BlockedIdentifier> {
    Ok(BlockedIdentifier { kind: row.get(0)?, value: row.get(1)?, reason: row.get(2)?, nodes: count_at(row, 3)? })
}

fn slot(node: NodeId) -> Option<usize> {
    usize::try_from(node.0).ok()
}
