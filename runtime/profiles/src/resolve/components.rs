//! Components that grow link by link under guard rails: a union-find whose sets also know their identifier values. The
//! values of all nodes lie in one arena, ascending per node; a join that brings new values appends the merged list.

use std::collections::HashMap;
use std::ops::Range;

use super::index::{NodeRank, ValueIndex, ValueRank, narrow};
use super::judge::Judge;
use super::rules::{Refusal, RuleSet};

/// A part of the arena.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    start: u32,
    length: u32,
}

/// A growing partition of the nodes.
pub(super) struct Components<'a> {
    rules: &'a RuleSet,
    /// Kind rank → its values.
    kind_values: &'a [Range<ValueRank>],
    parents: Vec<NodeRank>,
    /// Of roots: how many nodes.
    sizes: Vec<u32>,
    /// Of roots: the values of the component.
    values: Vec<Slice>,
    arena: Vec<ValueRank>,
    merged: Vec<ValueRank>,
    guards: Guards<'a>,
    /// Node → the next of its component, in a ring; empty where nobody asks for the members.
    next: Vec<NodeRank>,
    /// Root → nodes that its component must never hold.
    enemies: HashMap<NodeRank, Vec<NodeRank>>,
}

/// What keeps components apart besides identifiers.
#[derive(Clone, Copy, Default)]
pub(super) struct Guards<'a> {
    pub(super) judge: Option<&'a Judge<'a>>,
    /// Nodes that a person said are never one.
    pub(super) cannot_link: &'a [(NodeRank, NodeRank)],
}

/// What a join did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    AlreadyOne,
    Joined,
    Refused(Refusal),
}

impl<'a> Components<'a> {
    /// Every node for itself.
    pub(super) fn new(rules: &'a RuleSet, index: &'a ValueIndex, nodes: usize, guards: Guards<'a>) -> Self {
        let (values, arena) = values_by_node(index, nodes);
        let mut enemies: HashMap<NodeRank, Vec<NodeRank>> = HashMap::new();
        for (one, other) in guards.cannot_link {
            enemies.entry(*one).or_default().push(*other);
            enemies.entry(*other).or_default().push(*one);
        }
        Self {
            rules,
            kind_values: index.kind_values(),
            parents: (0..).take(nodes).collect(),
            sizes: vec![1; nodes],
            values,
            arena,
            merged: Vec::new(),
            next: if guards.judge.is_some() { (0..).take(nodes).collect() } else { Vec::new() },
            guards,
            enemies,
        }
    }

    pub(super) fn is_one(&mut self, a: NodeRank, b: NodeRank) -> bool {
        self.root(a) == self.root(b)
    }

    /// Joins the components of two nodes unless a guard rail forbids it.
    pub(super) fn join(&mut self, a: NodeRank, b: NodeRank) -> Join {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return Join::AlreadyOne;
        }
        let size = self.size(a).saturating_add(self.size(b));
        if size > self.rules.profile_nodes_max {
            return Join::Refused(Refusal::Nodes);
        }
        if self.are_enemies(a, b) {
            return Join::Refused(Refusal::CannotLink);
        }
        if let Some(refusal) = self.merge_values(a, b) {
            return Join::Refused(refusal);
        }
        if self.guards.judge.is_some_and(|judge| judge.keeps_apart(self.members(a), self.members(b))) {
            return Join::Refused(Refusal::Veto);
        }
        self.unite(a, b);
        Join::Joined
    }

    /// Joins the components of two nodes whatever the guard rails say: a person decided.
    pub(super) fn force(&mut self, a: NodeRank, b: NodeRank) -> Join {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return Join::AlreadyOne;
        }
        // Only the merged values count here, not what they would forbid.
        let _ = self.merge_values(a, b);
        self.unite(a, b);
        Join::Joined
    }

    /// The nodes of a node's component, itself first; itself alone where the members are not kept.
    pub(super) fn members(&self, node: NodeRank) -> impl Iterator<Item = NodeRank> + Clone + '_ {
        let after = move |member: &NodeRank| get(&self.next, *member).filter(|next| *next != node);
        std::iter::successors(Some(node), after)
    }

    fn are_enemies(&mut self, a: NodeRank, b: NodeRank) -> bool {
        let Some(enemies) = self.enemies.get(&a) else { return false };
        let enemies = enemies.clone();
        enemies.into_iter().any(|enemy| self.root(enemy) == b)
    }

    /// Makes two roots one; the merged values are those of the two.
    fn unite(&mut self, a: NodeRank, b: NodeRank) {
        let size = self.size(a).saturating_add(self.size(b));
        let (root, child) = if self.size(a) >= self.size(b) { (a, b) } else { (b, a) };
        let values = self.store_merged(a, b);
        set(&mut self.parents, child, root);
        set(&mut self.sizes, root, size);
        set(&mut self.values, root, values);
        if let Some((after_root, after_child)) = get(&self.next, root).zip(get(&self.next, child)) {
            set(&mut self.next, root, after_child);
            set(&mut self.next, child, after_root);
        }
        if let Some(mut enemies) = self.enemies.remove(&child) {
            self.enemies.entry(root).or_default().append(&mut enemies);
        }
    }

    /// Node rank → component number, numbered by their smallest node.
    pub(super) fn into_partition(mut self) -> Partition {
        let nodes = self.parents.len();
        let mut number_of_root = vec![u32::MAX; nodes];
        let mut component_of = Vec::with_capacity(nodes);
        let mut count = 0;
        for node in (0..).take(nodes) {
            let root = self.root(node) as usize;
            let Some(number) = number_of_root.get_mut(root) else { continue };
            if *number == u32::MAX {
                *number = count;
                count += 1;
            }
            component_of.push(*number);
        }
        Partition { component_of, count }
    }

    fn root(&mut self, mut node: NodeRank) -> NodeRank {
        loop {
            let parent = get(&self.parents, node).unwrap_or(node);
            let grandparent = get(&self.parents, parent).unwrap_or(parent);
            if parent == grandparent {
                return parent;
            }
            set(&mut self.parents, node, grandparent);
            node = grandparent;
        }
    }

    fn size(&self, root: NodeRank) -> u32 {
        get(&self.sizes, root).unwrap_or(1)
    }

    fn slice(&self, slice: Slice) -> &[ValueRank] {
        self.arena.get(slice.start as usize..(slice.start + slice.length) as usize).unwrap_or(&[])
    }

    /// Puts the values of both into `merged`, or says which kind forbids it.
    fn merge_values(&mut self, a: NodeRank, b: NodeRank) -> Option<Refusal> {
        let mut merged = std::mem::take(&mut self.merged);
        merged.clear();
        let left = self.slice(get(&self.values, a).unwrap_or_default());
        let right = self.slice(get(&self.values, b).unwrap_or_default());
        merge(left, right, &mut merged);
        let refusal = if merged.len() > left.len().max(right.len()) { self.refusal(left, right, &merged) } else { None };
        let refusal = refusal.or_else(|| self.unique_refusal(&merged));
        self.merged = merged;
        refusal
    }

    fn refusal(&self, left: &[ValueRank], right: &[ValueRank], merged: &[ValueRank]) -> Option<Refusal> {
        (0..).zip(self.rules.kinds.iter().zip(self.kind_values)).find_map(|(rank, (kind, range))| {
            let count = count_in(merged, range);
            let had = count_in(left, range).max(count_in(right, range));
            let is_refused = !kind.unique && count > kind.values_max as usize && count > had;
            is_refused.then_some(Refusal::Values(rank))
        })
    }

    fn unique_refusal(&self, merged: &[ValueRank]) -> Option<Refusal> {
        (0..)
            .zip(self.rules.kinds.iter().zip(self.kind_values))
            .find_map(|(rank, (kind, range))| (kind.unique && count_in(merged, range) > 1).then_some(Refusal::Unique(rank)))
    }

    /// Where the merged values lie: in the list of one of the two where that has them all, else appended.
    fn store_merged(&mut self, a: NodeRank, b: NodeRank) -> Slice {
        let (left, right) = (get(&self.values, a).unwrap_or_default(), get(&self.values, b).unwrap_or_default());
        let longer = if left.length >= right.length { left } else { right };
        if self.merged.len() == longer.length as usize {
            return longer;
        }
        let start = narrow(self.arena.len());
        self.arena.extend_from_slice(&self.merged);
        Slice { start, length: narrow(self.merged.len()) }
    }
}

/// Nodes in components.
#[derive(Debug)]
pub(super) struct Partition {
    /// Node rank → component number.
    pub(super) component_of: Vec<u32>,
    pub(super) count: u32,
}

fn values_by_node(index: &ValueIndex, nodes: usize) -> (Vec<Slice>, Vec<ValueRank>) {
    let mut slices = vec![Slice::default(); nodes];
    let values = || (0..).take(index.len());
    for node in values().flat_map(|value| index.carriers(value)) {
        if let Some(slice) = slices.get_mut(*node as usize) {
            slice.length += 1;
        }
    }
    let mut start = 0;
    for slice in &mut slices {
        slice.start = start;
        start += slice.length;
        slice.length = 0;
    }
    let mut arena = vec![0; index.pairs()];
    for value in values() {
        for node in index.carriers(value) {
            let Some(slice) = slices.get_mut(*node as usize) else { continue };
            if let Some(slot) = arena.get_mut((slice.start + slice.length) as usize) {
                *slot = value;
            }
            slice.length += 1;
        }
    }
    (slices, arena)
}

/// Merges two ascending lists without repeats into one.
fn merge(mut left: &[ValueRank], mut right: &[ValueRank], merged: &mut Vec<ValueRank>) {
    while let (Some((first, left_rest)), Some((second, right_rest))) = (left.split_first(), right.split_first()) {
        merged.push(*first.min(second));
        if first <= second {
            left = left_rest;
        }
        if second <= first {
            right = right_rest;
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
}

fn count_in(values: &[ValueRank], range: &Range<ValueRank>) -> usize {
    let below_end = values.partition_point(|value| *value < range.end);
    below_end.saturating_sub(values.partition_point(|value| *value < range.start))
}

fn get<T: Copy>(items: &[T], at: NodeRank) -> Option<T> {
    items.get(at as usize).copied()
}

fn set<T>(items: &mut [T], at: NodeRank, value: T) {
    if let Some(slot) = items.get_mut(at as usize) {
        *slot = value;
    }
}
