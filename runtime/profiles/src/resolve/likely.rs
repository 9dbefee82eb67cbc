//! Links over attributes: pairs that pass the checks of a rule, or reach its score. All pairs of a rule are found first and
//! tried from the best to the least, so that a weak link never decides who a strong one may join.

use super::components::{Components, Join};
use super::excess::Basis;
use super::index::{NodeRank, ValueIndex, ValueRank};
use super::judge::{Judge, Strength};
use super::known::{Policy, may_join};
use super::propose::{NO_VALUE, Proposal, groups, stands_alone};
use super::rules::{Check, Refusal, Rule, Score};
use crate::evidence::Evidence;
use crate::evidence::names::NameJudge;
use crate::weigh::blocking::{Blocking, joint_keys, parts};
use crate::weigh::{ScoreModel, Weigher};
use affluent_model::matching::Test;

/// Nodes before a node that it is compared with, within one value: a value shared by very many costs linear time.
const PARTNERS_MAX: usize = 200;
/// Members of each side that a join by score is judged by.
const MEMBERS_SCORED_MAX: usize = 24;
/// Share of the pairs across two sides that may look like strangers.
const STRANGERS_SHARE_MAX: f64 = 0.5;
/// Scores are ordered by steps of this part of a bit, so that the last digit of a sum decides nothing.
const SCORE_STEPS_PER_BIT: f64 = 1024.0;

/// What rules over attributes work with.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// A row per node rank.
    pub(super) evidence: &'a Evidence,
    pub(super) names: &'a NameJudge,
    pub(super) judge: &'a Judge<'a>,
}

/// A pair that may be one: the strongest first, then in canonical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    weakness: i64,
    nodes: (NodeRank, NodeRank),
    value: ValueRank,
}

/// Tries the pairs that pass the checks of a rule.
pub(super) fn propose_checked(
    (rule_at, rule, policy): (u16, &Rule, Option<Policy>),
    index: &ValueIndex,
    field: Field<'_>,
    components: &mut Components<'_>,
    proposals: &mut Vec<Proposal>,
) {
    let mut pairs = Vec::new();
    if rule.kinds.is_empty() {
        pairs_by_blocks(&rule.checks, field, &mut pairs);
    } else {
        let each = |_: &mut Components<'_>, carriers: &[NodeRank], value| {
            let known = pairs.len();
            let is_weak = stands_alone(rule) && index.is_weak(value);
            pairs_of_value(&rule.checks, carriers, (value, is_weak), field.judge, &mut pairs);
            if let Some(owner) = policy.and_then(|policy| policy.owner(value, index)) {
                let of_value = pairs.split_off(known).into_iter();
                pairs.extend(of_value.filter(|pair| may_join(owner, index, pair.nodes)));
            }
        };
        groups(rule, index, components, each);
    }
    let basis = Basis { rule: rule_at, kinds: &rule.kinds, policy };
    pairs.sort_unstable();
    for pair in pairs {
        let refusal = match components.join(pair.nodes.0, pair.nodes.1, &basis) {
            Join::AlreadyOne => continue,
            Join::Joined => None,
            Join::Refused(refusal) => Some(refusal),
        };
        proposals.push(Proposal { nodes: pair.nodes, value: pair.value, rule: rule_at, refusal });
    }
}

/// The pairs among the carriers of one value. Where two of them contradict, the value is shared by several persons and
/// says nothing of those who say nothing themselves; nor does a weak value.
fn pairs_of_value(
    checks: &[Check],
    carriers: &[NodeRank],
    (value, is_weak): (ValueRank, bool),
    judge: &Judge<'_>,
    pairs: &mut Vec<Pair>,
) {
    let neighbours = || {
        carriers.iter().enumerate().flat_map(move |(at, node)| {
            carriers.iter().take(at).skip(at.saturating_sub(PARTNERS_MAX)).map(move |before| (*before, *node))
        })
    };
    let is_shared =
        is_weak || Judge::lets_the_silent_pass(checks) && neighbours().any(|(a, b)| judge.contradicts_by(checks, a, b));
    let silent_max: Strength = if is_shared { 0 } else { Strength::MAX };
    for (a, b) in neighbours() {
        let Some(strength) = judge.pass(checks, a, b).filter(|strength| *strength > 0 || silent_max > 0) else { continue };
        pairs.push(Pair { weakness: -i64::from(strength), nodes: (a, b), value });
    }
}

/// The pairs that pass among those that blocks find likely: equal values of what must be equal, and something rare besides.
fn pairs_by_blocks(checks: &[Check], field: Field<'_>, pairs: &mut Vec<Pair>) {
    let columns = field.evidence.columns();
    let is_exact = |check: &&Check| check.test == Test::Exact;
    let exact: Vec<_> = checks.iter().filter(is_exact).filter_map(|check| columns.get(check.attribute?)).collect();
    let is_name = |column: &usize| {
        use affluent_model::matching::AttributeForm::{FamilyName, GivenName};
        columns.get(*column).is_some_and(|column| matches!(column.form, GivenName | FamilyName))
    };
    let looked_at = |check: &Check| match check.attribute {
        Some(attribute) => vec![attribute],
        None => (0..columns.len()).filter(is_name).collect(),
    };
    let fuzzy = checks.iter().filter(|check| !is_exact(check)).flat_map(looked_at);
    let fuzzy: Vec<_> = fuzzy.filter_map(|column| columns.get(column)).collect();
    let nodes = field.evidence.len();
    let parts = parts(&fuzzy);
    let blocking = if exact.is_empty() {
        Blocking::of_parts(&parts, nodes)
    } else {
        Blocking::of_base(&joint_keys(&exact, nodes), &parts, nodes)
    };
    let mut partners = Vec::new();
    for node in (0..).take(nodes) {
        blocking.partners(node, &mut partners);
        for partner in &partners {
            let Some(strength) = field.judge.pass(checks, node, *partner) else { continue };
            pairs.push(Pair { weakness: -i64::from(strength), nodes: (node, *partner), value: NO_VALUE });
        }
    }
}

/// Tries the pairs that reach the score of a rule, and tells what was learnt for it.
pub(super) fn propose_scored(
    (rule_at, rule): (u16, &Rule),
    score: &Score,
    field: Field<'_>,
    components: &mut Components<'_>,
    proposals: &mut Vec<Proposal>,
) -> ScoreModel {
    let weigher = Weigher::new(field.evidence, &score.attributes, field.names);
    let score_min = (score.probability_min / (1.0 - score.probability_min)).log2();
    let nodes = field.evidence.len();
    let blocking = Blocking::of_parts(&parts(weigher.comparer().columns()), nodes);
    let mut pairs = Vec::new();
    let mut partners = Vec::new();
    for node in (0..).take(nodes) {
        blocking.partners(node, &mut partners);
        for partner in &partners {
            let bits = weigher.score(node, *partner);
            if bits >= score_min {
                pairs.push(Pair { weakness: steps(-bits), nodes: (node, *partner), value: NO_VALUE });
            }
        }
    }
    pairs.sort_unstable();
    let basis = Basis { rule: rule_at, kinds: &[], policy: None };
    for Pair { nodes: (a, b), value, .. } in pairs {
        if components.is_one(a, b) {
            continue;
        }
        let refusal = if are_strangers(&weigher, components, a, b) {
            Some(Refusal::Score)
        } else {
            match components.join(a, b, &basis) {
                Join::AlreadyOne | Join::Joined => None,
                Join::Refused(refusal) => Some(refusal),
            }
        };
        proposals.push(Proposal { nodes: (a, b), value, rule: rule_at, refusal });
    }
    weigher.model(&rule.name)
}

/// True when most pairs across the components of two nodes look like strangers, so that the pair at hand is a chance.
fn are_strangers(weigher: &Weigher<'_>, components: &Components<'_>, a: NodeRank, b: NodeRank) -> bool {
    let (mut pairs, mut strangers) = (0_u32, 0_u32);
    for one in components.members(a).take(MEMBERS_SCORED_MAX) {
        for other in components.members(b).take(MEMBERS_SCORED_MAX) {
            pairs += 1;
            strangers += u32::from(weigher.score(one, other) < 0.0);
        }
    }
    f64::from(strangers) > f64::from(pairs) * STRANGERS_SHARE_MAX
}

fn steps(bits: f64) -> i64 {
    // Scores are far below 2⁴⁰ bits: nothing is cut off.
    (bits * SCORE_STEPS_PER_BIT).round() as i64
}
