//! Which links are tried, and in which order: rule by rule, value by value, node by node. Within one value each node is
//! linked to the first node that carries it (a star, not all pairs); a node that is refused there tries those refused
//! before it, so that two who fit each other still meet.

use super::components::{Components, Join};
use super::excess::Basis;
use super::index::{NodeRank, ValueIndex, ValueRank, narrow};
use super::known::{Policy, owner_first};
use super::likely::{Field, propose_checked, propose_scored};
use super::rules::{KindRank, Refusal, Rule, RuleSet};
use crate::weigh::ScoreModel;

/// Centres tried for one node within one value, so that a value shared by many strangers costs linear time.
const CENTRES_MAX: usize = 16;
/// Combinations of shared values that one node brings to a rule over several kinds, so that a node with many values of
/// each cannot make a product of them.
const COMBINATIONS_PER_NODE_MAX: usize = 1_000;

/// A link that was tried: 24 bytes, so that a million of them stay small until they are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposal {
    pub(super) nodes: (NodeRank, NodeRank),
    /// Shared by both, of the best kind of the rule; [`NO_VALUE`] where none is.
    pub(super) value: ValueRank,
    /// Position in the rule set; past its end: a person made the link.
    pub(super) rule: u16,
    /// `None` = joined.
    pub(super) refusal: Option<Refusal>,
}

/// In place of a value where no identifier is shared: the link stands on attributes alone, or a person made it.
pub(super) const NO_VALUE: ValueRank = ValueRank::MAX;

/// Tries all links of all rules; tells those that joined two components and those that were refused. Rules over attributes
/// propose nothing where there are none.
pub(super) fn propose(
    rules: &RuleSet,
    index: &ValueIndex,
    field: Option<Field<'_>>,
    components: &mut Components<'_>,
) -> (Vec<Proposal>, Vec<ScoreModel>) {
    let mut proposals = Vec::new();
    let mut models = Vec::new();
    for (rule_at, rule) in (0..).zip(&rules.rules) {
        match (&rule.score, field) {
            (Some(score), Some(field)) => {
                models.push(propose_scored((rule_at, rule), score, field, components, &mut proposals));
            }
            (None, Some(field)) if !rule.checks.is_empty() => {
                propose_checked((rule_at, rule, Policy::of(rule, rules)), index, field, components, &mut proposals);
            }
            (None, _) if rule.checks.is_empty() => {
                let basis = Basis { rule: rule_at, kinds: &rule.kinds, policy: Policy::of(rule, rules) };
                let each = |components: &mut Components<'_>, carriers: &[NodeRank], value| {
                    if stands_alone(rule) && index.is_weak(value) {
                        return;
                    }
                    let owner = basis.policy.and_then(|policy| policy.owner(value, index));
                    match owner.filter(|owner| carriers.contains(owner)) {
                        Some(owner) => {
                            link_star(&owner_first(carriers, owner), 1, (&basis, value), components, &mut proposals);
                        }
                        None => link_star(carriers, CENTRES_MAX, (&basis, value), components, &mut proposals),
                    }
                };
                groups(rule, index, components, each);
            }
            _ => {}
        }
    }
    (proposals, models)
}

/// True when one identifier is all that the rule asks for besides comparisons.
pub(super) fn stands_alone(rule: &Rule) -> bool {
    rule.kinds.len() == 1
}

/// The nodes that share a value of every kind of the rule, group by group, with the value of the best kind. Identifiers that
/// were refused at a node are not shared with it; a rule refuses worse kinds only than its own, so none while it is tried.
pub(super) fn groups<'a>(
    rule: &Rule,
    index: &ValueIndex,
    components: &mut Components<'a>,
    mut each: impl FnMut(&mut Components<'a>, &[NodeRank], ValueRank),
) {
    if let [kind] = rule.kinds.as_slice() {
        for value in index.values_of(*kind) {
            let carriers = components.carriers(value);
            each(components, &carriers, value);
        }
        return;
    }
    for group in shared_by_all_kinds(rule, index, components).chunk_by(|a, b| a.group == b.group) {
        let carriers: Vec<NodeRank> = group.iter().map(|member| member.node).collect();
        if let Some(first) = group.first() {
            each(components, &carriers, first.value);
        }
    }
}

/// Links each node to the first that does not refuse it, of `centres_max` at most.
fn link_star(
    carriers: &[NodeRank],
    centres_max: usize,
    (basis, value): (&Basis<'_>, ValueRank),
    components: &mut Components<'_>,
    proposals: &mut Vec<Proposal>,
) {
    let Some((first, others)) = carriers.split_first() else { return };
    let mut centres = vec_of(*first, others.len());
    for node in others {
        if centres.iter().any(|centre| components.is_one(*centre, *node)) {
            continue;
        }
        let mut is_joined = false;
        for centre in &centres {
            let refusal = match components.join(*centre, *node, basis) {
                Join::AlreadyOne => continue,
                Join::Joined => None,
                Join::Refused(refusal) => Some(refusal),
            };
            proposals.push(Proposal { nodes: (*centre, *node), value, rule: basis.rule, refusal });
            is_joined = refusal.is_none();
            if is_joined {
                break;
            }
        }
        if !is_joined && centres.len() < centres_max {
            centres.push(*node);
        }
    }
}

/// No allocation for the many values that one node alone carries.
fn vec_of(first: NodeRank, others: usize) -> Vec<NodeRank> {
    if others == 0 { Vec::new() } else { vec![first] }
}

/// A node in a group of nodes that share one value of each kind looked at so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    group: u32,
    node: NodeRank,
    /// The shared value of the first kind.
    value: ValueRank,
}

/// Groups of at least two nodes that share a value of every kind of the rule, in order of these values.
fn shared_by_all_kinds(rule: &Rule, index: &ValueIndex, components: &Components<'_>) -> Vec<Member> {
    let Some((first, others)) = rule.kinds.split_first() else { return Vec::new() };
    let mut members = Vec::new();
    for value in shared_values(*first, index) {
        members.extend(components.carriers(value).iter().map(|node| Member { group: value, node: *node, value }));
    }
    for kind in others {
        members = narrowed(members, *kind, index, components);
    }
    members
}

fn shared_values(kind: KindRank, index: &ValueIndex) -> impl Iterator<Item = ValueRank> {
    index.values_of(kind).filter(|value| index.carriers(*value).len() > 1)
}

/// The groups split by the values of one more kind; those left with one node are dropped.
fn narrowed(mut members: Vec<Member>, kind: KindRank, index: &ValueIndex, components: &Components<'_>) -> Vec<Member> {
    let mut carried: Vec<(NodeRank, ValueRank)> = Vec::new();
    for value in shared_values(kind, index) {
        carried.extend(components.carriers(value).iter().map(|node| (*node, value)));
    }
    carried.sort_unstable();
    members.sort_unstable_by_key(|member| (member.node, member.group));
    let mut split: Vec<(u32, ValueRank, Member)> = Vec::new();
    for of_node in members.chunk_by(|a, b| a.node == b.node) {
        let Some(node) = of_node.first().map(|member| member.node) else { continue };
        let start = carried.partition_point(|(carrier, _)| *carrier < node);
        let values = carried.iter().skip(start).take_while(|(carrier, _)| *carrier == node).map(|(_, value)| *value);
        let combined = values.flat_map(|value| of_node.iter().map(move |member| (member.group, value, *member)));
        split.extend(combined.take(COMBINATIONS_PER_NODE_MAX));
    }
    split.sort_unstable();
    let groups = split.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|group| group.len() > 1).enumerate();
    groups
        .flat_map(|(group, members)| members.iter().map(move |(_, _, member)| Member { group: narrow(group), ..*member }))
        .collect()
}
