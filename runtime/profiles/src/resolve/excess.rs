//! Too many values of a kind: counting them, over any time or within a period, and choosing which are left out so that the
//! others still join (demotion by priority). What was seen first stays; ties go by the order of values, so that nothing depends
//! on arrival.

use std::collections::BTreeMap;
use std::ops::Range;

use super::index::{NodeRank, ValueIndex, ValueRank};
use super::known::Policy;
use super::rules::{Kind, KindRank, Refusal, RuleSet};

/// What a link stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis<'r> {
    /// Position in the rule set.
    pub(super) rule: u16,
    /// The identifiers of the rule, best first; empty where attributes alone decide.
    pub(super) kinds: &'r [KindRank],
    /// What it may join where its identifiers are anonymous.
    pub(super) policy: Option<Policy>,
}

/// An identifier of a node that was refused so that the rest of the node could join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demotion {
    pub(super) node: NodeRank,
    pub(super) value: ValueRank,
    /// The rule that joined the rest.
    pub(super) rule: u16,
    pub(super) refusal: Refusal,
}

/// The values of a kind that components hold, and which of them may be left out.
pub(super) struct Excess<'a> {
    rules: &'a RuleSet,
    index: &'a ValueIndex,
    /// Value → it joined nodes, so that it cannot be left out any more.
    is_used: Vec<bool>,
    /// Identifiers of nodes that join nothing and count nowhere → the rule that joined the rest.
    demoted: BTreeMap<(ValueRank, NodeRank), u16>,
}

impl<'a> Excess<'a> {
    pub(super) fn new(rules: &'a RuleSet, index: &'a ValueIndex) -> Self {
        Self { rules, index, is_used: vec![false; index.len()], demoted: BTreeMap::new() }
    }

    /// The values that must be left out of `merged`, ascending, for a component of the values of `left` and `right`; or the reason
    /// why the two stay apart: a kind has too many values that is no worse than what the link stands on, or whose values hold
    /// together what was joined before.
    pub(super) fn fit(
        &self,
        (left, right): (&[ValueRank], &[ValueRank]),
        merged: &[ValueRank],
        basis: Option<&Basis<'_>>,
    ) -> Result<Vec<ValueRank>, Refusal> {
        let has_grown = merged.len() > left.len().max(right.len());
        let mut left_out = Vec::new();
        for (rank, (kind, range)) in (0..).zip(self.rules.kinds.iter().zip(self.index.kind_values())) {
            let values = within(merged, range);
            let max = if kind.unique { 1 } else { kind.values_max as usize };
            if values.len() <= max || !(has_grown || kind.unique) {
                continue;
            }
            // What one side brings alone it may keep, but for unique kinds.
            let of_sides = [left, right].map(|side| self.at_once(kind, within(side, range))).into_iter().max().unwrap_or(0);
            let max = if kind.unique { 1 } else { max.max(of_sides) };
            if self.at_once(kind, values) <= max {
                continue;
            }
            let is_worse = basis.and_then(|basis| basis.kinds.last()).is_some_and(|worst| rank > *worst);
            let found = if is_worse { self.latest(kind, values, max) } else { None };
            left_out.extend(found.ok_or_else(|| refusal(rank, kind))?);
        }
        left_out.sort_unstable();
        Ok(left_out)
    }

    /// The most values that were first seen within one period.
    fn at_once(&self, kind: &Kind, values: &[ValueRank]) -> usize {
        let Some(period) = kind.values_per.microseconds() else { return values.len() };
        let mut times: Vec<i64> = values.iter().map(|value| self.index.seen_at(*value)).collect();
        times.sort_unstable();
        let (mut first, mut most) = (0, 0);
        for (at, time) in times.iter().enumerate() {
            while times.get(first).is_some_and(|start| time.saturating_sub(*start) >= period) {
                first += 1;
            }
            most = most.max(at + 1 - first);
        }
        most
    }

    /// The values to leave out so that no more than `max` are left within one period: those seen last. `None` where values
    /// that are needed are too many already.
    fn latest(&self, kind: &Kind, values: &[ValueRank], max: usize) -> Option<Vec<ValueRank>> {
        let is_free = |value: ValueRank| !self.is_used.get(value as usize).copied().unwrap_or(false);
        let mut order: Vec<_> = values.iter().map(|value| (is_free(*value), self.index.seen_at(*value), *value)).collect();
        order.sort_unstable();
        let mut kept: Vec<i64> = Vec::new();
        let mut left_out = Vec::new();
        for (is_free, seen_at, value) in order {
            let at = kept.partition_point(|time| *time <= seen_at);
            kept.insert(at, seen_at);
            if has_room(&kept, at, kind, max) {
                continue;
            }
            if !is_free {
                return None;
            }
            kept.remove(at);
            left_out.push(value);
        }
        Some(left_out)
    }

    /// Notes what a link made of: the values of its kinds hold the component together from now on.
    pub(super) fn note_use(&mut self, merged: &[ValueRank], basis: &Basis<'_>) {
        for kind in basis.kinds {
            let Some(range) = self.index.kind_values().get(usize::from(*kind)) else { continue };
            for value in within(merged, range) {
                if let Some(slot) = self.is_used.get_mut(*value as usize) {
                    *slot = true;
                }
            }
        }
    }

    /// Refuses a value at nodes.
    pub(super) fn demote(&mut self, value: ValueRank, nodes: impl Iterator<Item = NodeRank>, rule: u16) {
        for node in nodes {
            self.demoted.entry((value, node)).or_insert(rule);
        }
    }

    /// Those of the nodes at which the value joins.
    pub(super) fn standing(&self, nodes: &'a [NodeRank], value: ValueRank) -> std::borrow::Cow<'a, [NodeRank]> {
        let mut refused = self.demoted.range((value, 0)..=(value, NodeRank::MAX)).peekable();
        if self.demoted.is_empty() || refused.peek().is_none() {
            return nodes.into();
        }
        nodes.iter().filter(|node| !self.demoted.contains_key(&(value, **node))).copied().collect::<Vec<_>>().into()
    }

    /// All that were refused, by value and node.
    pub(super) fn demotions(&self) -> impl Iterator<Item = Demotion> + '_ {
        self.demoted.iter().filter_map(|((value, node), rule)| {
            let is_of = |range: &Range<ValueRank>| range.contains(value);
            let rank = self.index.kind_values().iter().position(is_of).and_then(|at| KindRank::try_from(at).ok())?;
            Some(Demotion { node: *node, value: *value, rule: *rule, refusal: refusal(rank, self.rules.kind(rank)?) })
        })
    }
}

fn refusal(rank: KindRank, kind: &Kind) -> Refusal {
    if kind.unique { Refusal::Unique(rank) } else { Refusal::Values(rank) }
}

/// True when no period around the time at `at` has more than `max` of the times, which are ascending.
fn has_room(times: &[i64], at: usize, kind: &Kind, max: usize) -> bool {
    let Some(period) = kind.values_per.microseconds() else { return times.len() <= max };
    (at.saturating_sub(max)..=at).all(|start| {
        let span = times.get(start).zip(times.get(start + max));
        span.is_none_or(|(first, last)| last.saturating_sub(*first) >= period)
    })
}

/// Those of ascending values that are of one kind.
fn within<'v>(values: &'v [ValueRank], range: &Range<ValueRank>) -> &'v [ValueRank] {
    let start = values.partition_point(|value| *value < range.start);
    let end = values.partition_point(|value| *value < range.end);
    values.get(start..end).unwrap_or(&[])
}
