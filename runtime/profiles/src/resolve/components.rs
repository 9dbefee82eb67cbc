//! Components that grow link by link under guard rails: a union-find whose sets also know their identifier values. The
//! values of all nodes lie in one arena, ascending per node; a join that brings new values appends the merged list.

use std::borrow::Cow;
use std::collections::HashMap;

use super::excess::{Basis, Demotion, Excess};
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
    index: &'a ValueIndex,
    excess: Excess<'a>,
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
    /// Root → its component has a known node; empty where no rule asks.
    is_known: Vec<bool>,
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
            index,
            excess: Excess::new(rules, index),
            parents: (0..).take(nodes).collect(),
            sizes: vec![1; nodes],
            values,
            arena,
            merged: Vec::new(),
            next: if guards.judge.is_some() { (0..).take(nodes).collect() } else { Vec::new() },
            guards,
            is_known: if rules.asks_who_is_known() { known(index, nodes) } else { Vec::new() },
            enemies,
        }
    }

    pub(super) fn is_one(&mut self, a: NodeRank, b: NodeRank) -> bool {
        self.root(a) == self.root(b)
    }

    /// Joins the components of two nodes unless a guard rail forbids it; leaves identifiers out that are worse than what the
    /// link stands on where there would be too many.
    pub(super) fn join(&mut self, a: NodeRank, b: NodeRank, basis: &Basis<'_>) -> Join {
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
        let is_known = [a, b].map(|root| get(&self.is_known, root).unwrap_or(false));
        if let Some(refusal) = basis.policy.and_then(|policy| policy.refuses(is_known[0], is_known[1])) {
            return Join::Refused(refusal);
        }
        self.merge_values(a, b);
        let sides = (self.slice(get(&self.values, a).unwrap_or_default()), self.slice(get(&self.values, b).unwrap_or_default()));
        let left_out = match self.excess.fit(sides, &self.merged, Some(basis)) {
            Ok(left_out) => left_out,
            Err(refusal) => return Join::Refused(refusal),
        };
        if self.guards.judge.is_some_and(|judge| judge.keeps_apart(self.members(a), self.members(b))) {
            return Join::Refused(Refusal::Veto);
        }
        if !left_out.is_empty() {
            self.merged.retain(|value| left_out.binary_search(value).is_err());
        }
        self.excess.note_use(&self.merged, basis);
        self.unite(a, b);
        for value in left_out {
            self.demote(value, a, basis.rule);
        }
        Join::Joined
    }

    /// Refuses a value at all nodes of a component.
    fn demote(&mut self, value: ValueRank, member: NodeRank, rule: u16) {
        let root = self.root(member);
        let index = self.index;
        let nodes: Vec<NodeRank> = index.carriers(value).iter().copied().filter(|node| self.root(*node) == root).collect();
        self.excess.demote(value, nodes.into_iter(), rule);
    }

    /// The nodes that carry a value, without those at which it was refused.
    pub(super) fn carriers(&self, value: ValueRank) -> Cow<'a, [NodeRank]> {
        self.excess.standing(self.index.carriers(value), value)
    }

    /// Identifiers that were refused and that their component has from no other node.
    pub(super) fn demotions(&mut self) -> Vec<Demotion> {
        let mut demotions: Vec<Demotion> = self.excess.demotions().collect();
        demotions.retain(|one| {
            let root = self.root(one.node);
            self.slice(get(&self.values, root).unwrap_or_default()).binary_search(&one.value).is_err()
        });
        demotions
    }

    /// Joins the components of two nodes whatever the guard rails say: a person decided.
    pub(super) fn force(&mut self, a: NodeRank, b: NodeRank) -> Join {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return Join::AlreadyOne;
        }
        // Only the merged values count here, not what they would forbid.
        self.merge_values(a, b);
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
        if get(&self.is_known, child) == Some(true) {
            set(&mut self.is_known, root, true);
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

    /// Puts the values of both into `merged`.
    fn merge_values(&mut self, a: NodeRank, b: NodeRank) {
        let mut merged = std::mem::take(&mut self.merged);
        merged.clear();
        let left = self.slice(get(&self.values, a).unwrap_or_default());
        let right = self.slice(get(&self.values, b).unwrap_or_default());
        merge(left, right, &mut merged);
        self.merged = merged;
    }

    /// Where the merged values lie: in the list of one of the two where that has them all, else appended.
    fn store_merged(&mut self, a: NodeRank, b: NodeRank) -> Slice {
        let (left, right) = (get(&self.values, a).unwrap_or_default(), get(&self.values, b).unwrap_or_default());
        let longer = if left.length >= right.length { left } else { right };
        if self.merged == self.slice(longer) {
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

fn known(index: &ValueIndex, nodes: usize) -> Vec<bool> {
    (0..).take(nodes).map(|node| index.known_since(node).is_some()).collect()
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

fn get<T: Copy>(items: &[T], at: NodeRank) -> Option<T> {
    items.get(at as usize).copied()
}

fn set<T>(items: &mut [T], at: NodeRank, value: T) {
    if let Some(slot) = items.get_mut(at as usize) {
        *slot = value;
    }
}
