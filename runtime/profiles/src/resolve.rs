//! Identity resolution: from nodes and the identifiers they carry to profiles, with every link that joins two nodes
//! and every link that a guard rail refused. The partition is a function of the set of edges alone: links are tried
//! in a canonical order made of rules, identifier values, what nodes say and their keys, never of arrival or of ids. It does not
//! load, store or open anything.

mod components;
mod excess;
mod index;
mod judge;
mod known;
mod labels;
mod likely;
#[cfg(test)]
mod properties;
mod propose;
#[cfg(test)]
mod reference;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use affluent_model::identity::{BlockedIdentifier, Edge, Link, LinkVerdict, NodeId, NodeKey, ProfileId};
use affluent_model::plan::IdentityRules;

use crate::evidence::Evidence;
use crate::evidence::names::NameJudge;
use crate::weigh::ScoreModel;

use components::{Components, Guards, Join, Partition};
use excess::Demotion;
use index::{NodeOrder, NodeRank, RankOfId, ValueIndex, narrow};
use judge::Judge;
use labels::label;
pub use labels::own_id;
use likely::Field;
use propose::{NO_VALUE, Proposal, propose};
pub use rules::MUST_LINK;
use rules::RuleSet;

/// One node as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolveNode {
    pub node: NodeId,
    pub key: NodeKey,
    /// Milliseconds since the epoch; decides which profile is the oldest. Never changes for a node.
    pub first_seen_ms: u64,
    /// The profile it belongs to now, aliases already followed; `None` = new.
    pub profile: Option<ProfileId>,
}

/// A closed neighbourhood: with a node come all its edges, and with an edge that is not blocked come all nodes that
/// carry the same kind and value. Everything at once is closed; so is everything reachable from the changed nodes.
#[derive(Debug, Clone, Copy)]
pub struct ResolveInput<'a> {
    pub rules: &'a IdentityRules,
    /// Kind number → name, as the ledger numbers them. Edges of kinds without an identifier rule are ignored.
    pub kinds: &'a [String],
    pub nodes: &'a [ResolveNode],
    /// All edges of these nodes, old and new, in any order, repeats allowed. Edges of other nodes are ignored.
    pub edges: &'a [Edge],
    /// Values that are blocked already; their edges are ignored.
    pub blocked: &'a [BlockedIdentifier],
}

/// A profile that lost nodes to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Split {
    /// Keeps its id.
    pub from: ProfileId,
    /// Where the nodes went: a created profile, or one that existed.
    pub into: ProfileId,
}

/// What resolution says about the nodes of its input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Changed and new ones only, by node.
    pub assignments: Vec<(NodeId, ProfileId)>,
    /// Ids that no node of the input had. One that was merged away earlier may come back after a split: whoever
    /// stores this drops the alias of a created id.
    pub created: Vec<ProfileId>,
    /// Merged away → survivor.
    pub aliases: Vec<(ProfileId, ProfileId)>,
    pub splits: Vec<Split>,
    /// Joined and refused, in the order they were tried, then refused identifiers of single nodes. Complete for the nodes of the
    /// input: it replaces all links stored for them. The joined ones are a tree per profile.
    pub links: Vec<Link>,
    /// Newly blocked values.
    pub blocked: Vec<BlockedIdentifier>,
    /// Nodes that share an identifier which counts with a node of another profile, by node: whoever shares one with any other
    /// node is of its profile.
    pub bordering: Vec<NodeId>,
    /// Every node of a profile that is new, changed its id, or gained or lost nodes: what was derived from the
    /// profile is stale.
    pub touched: Vec<NodeId>,
}

/// What is known of the nodes besides their identifiers.
#[derive(Clone, Copy, Default)]
pub struct Knowledge<'a> {
    /// A row per node, in the order of the nodes; `None` = rules over attributes propose nothing.
    pub evidence: Option<&'a Evidence>,
    /// Pairs that are one, whatever else is said: a person decided.
    pub must_link: &'a [(NodeId, NodeId)],
    /// Pairs that are never one, unless they must be.
    pub cannot_link: &'a [(NodeId, NodeId)],
    /// Ids of profiles that were merged away, sorted: where the node that founded one is parted from the survivor, its
    /// profile has its old id again.
    pub former: &'a [ProfileId],
}

/// The nodes in groups, and what became of the links between them: resolution without ids that live on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grouping {
    /// Position of a node in the input → number of its group.
    pub group_of: Vec<u32>,
    /// Groups, numbered from 0 without gaps.
    pub groups: u32,
    /// Rule → links that joined two groups, in the order of the rules.
    pub joined: Vec<(String, u64)>,
    /// Reason → links that were refused for it, by reason.
    pub refused: Vec<(String, u64)>,
    /// Reason → identifiers of records that were refused for it, while the rest of the record joined.
    pub demoted: Vec<(String, u64)>,
    pub blocked: Vec<BlockedIdentifier>,
    /// What was learnt for rules with a score.
    pub models: Vec<ScoreModel>,
}

/// Resolves a closed neighbourhood by identifiers alone.
///
/// Guarantees: the partition is the same for any order of the input, for any numbering of nodes, and for the whole
/// at once as for neighbourhood by neighbourhood; resolving the result again changes nothing. A unique kind never has
/// two values in a profile of several nodes; no other kind has more than its `values_max` within its period, unless one node
/// alone brings more. Identifiers that were refused do not count, and join nothing.
///
/// Costs one sort of the edges, then near-linear time.
#[must_use]
pub fn resolve(input: &ResolveInput<'_>) -> Resolution {
    resolve_with(input, &Knowledge::default())
}

/// Resolves by identifiers, attributes and decisions of people. The guarantees are those of [`resolve`], but that the
/// whole at once is the neighbourhood wherever a rule looks at attributes without an identifier.
#[must_use]
pub fn resolve_with(input: &ResolveInput<'_>, knowledge: &Knowledge<'_>) -> Resolution {
    let rules = RuleSet::compile(input.rules, input.kinds);
    let nodes = NodeOrder::new(input.nodes, &fingerprints(knowledge));
    let solved = solve(input, knowledge, &rules, &nodes);
    let refused = solved.demotions.iter().map(|one| demoted(one, input, &rules, &nodes, &solved.values));
    let links = solved.proposals.iter().map(|proposal| link(proposal, input, &rules, &nodes, &solved.values));
    let links = links.chain(refused).collect();
    let labels = label(input.nodes, &nodes, &solved.partition, knowledge.former);
    let bordering = bordering(input, &nodes, &solved);
    Resolution {
        assignments: labels.assignments,
        created: labels.created,
        aliases: labels.aliases,
        splits: labels.splits,
        links,
        blocked: solved.blocked,
        bordering,
        touched: labels.touched,
    }
}

/// Groups nodes by identifiers, attributes and decisions of people; what they were before has no part in it.
#[must_use]
pub fn group(input: &ResolveInput<'_>, knowledge: &Knowledge<'_>) -> Grouping {
    let rules = RuleSet::compile(input.rules, input.kinds);
    let nodes = NodeOrder::new(input.nodes, &fingerprints(knowledge));
    let Solved { proposals, demotions, partition, blocked, models, .. } = solve(input, knowledge, &rules, &nodes);
    let mut group_of = vec![0; nodes.len()];
    for (position, group) in nodes.positions().iter().zip(&partition.component_of) {
        if let Some(slot) = group_of.get_mut(*position as usize) {
            *slot = *group;
        }
    }
    let mut joined: Vec<(String, u64)> = rules.rules.iter().map(|rule| (rule.name.clone(), 0)).collect();
    joined.push((rules::MUST_LINK.to_owned(), 0));
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for proposal in &proposals {
        match proposal.refusal {
            Some(refusal) => *refused.entry(rules.reason(refusal)).or_default() += 1,
            None => {
                let at = usize::from(proposal.rule).min(rules.rules.len());
                joined.get_mut(at).into_iter().for_each(|(_, links)| *links += 1);
            }
        }
    }
    if knowledge.must_link.is_empty() {
        joined.pop();
    }
    let mut demoted: BTreeMap<String, u64> = BTreeMap::new();
    for demotion in &demotions {
        *demoted.entry(rules.reason(demotion.refusal)).or_default() += 1;
    }
    let (refused, demoted) = (refused.into_iter().collect(), demoted.into_iter().collect());
    Grouping { group_of, groups: partition.count, joined, refused, demoted, blocked, models }
}

fn fingerprints(knowledge: &Knowledge<'_>) -> Vec<u64> {
    knowledge.evidence.map(Evidence::fingerprints).unwrap_or_default()
}

struct Solved {
    values: ValueIndex,
    proposals: Vec<Proposal>,
    demotions: Vec<Demotion>,
    partition: Partition,
    blocked: Vec<BlockedIdentifier>,
    models: Vec<ScoreModel>,
}

fn solve(input: &ResolveInput<'_>, knowledge: &Knowledge<'_>, rules: &RuleSet, nodes: &NodeOrder) -> Solved {
    let (values, blocked) = ValueIndex::new(input, rules, nodes);
    let names = NameJudge::new();
    let evidence = knowledge.evidence.map(|evidence| evidence.reordered(nodes.positions()));
    let judge = evidence.as_ref().map(|evidence| Judge::new(evidence, &names, rules.veto.as_ref()));
    let field = evidence.as_ref().zip(judge.as_ref());
    let field = field.map(|(evidence, judge)| Field { evidence, names: &names, judge });
    let cannot_link = ranked(knowledge.cannot_link, input.nodes, nodes);
    let guards = Guards { judge: judge.as_ref(), cannot_link: &cannot_link };
    let mut components = Components::new(rules, &values, nodes.len(), guards);
    let mut decided = Vec::new();
    for (a, b) in ranked(knowledge.must_link, input.nodes, nodes) {
        if components.force(a, b) == Join::Joined {
            decided.push(Proposal { nodes: (a, b), value: NO_VALUE, rule: u16::MAX, refusal: None });
        }
    }
    let (proposals, models) = propose(rules, &values, field, &mut components);
    let demotions = components.demotions();
    let partition = components.into_partition();
    decided.extend(proposals);
    Solved { values, proposals: decided, demotions, partition, blocked, models }
}

fn bordering(input: &ResolveInput<'_>, nodes: &NodeOrder, solved: &Solved) -> Vec<NodeId> {
    let component = |rank: &NodeRank| solved.partition.component_of.get(*rank as usize);
    let carriers = (0..narrow(solved.values.len())).map(|value| solved.values.carriers(value));
    let apart =
        carriers.filter(|carriers| carriers.iter().skip(1).any(|rank| component(rank) != carriers.first().and_then(component)));
    let mut bordering: Vec<NodeId> = apart.flatten().map(|rank| nodes.id(input.nodes, *rank)).collect();
    bordering.sort_unstable();
    bordering.dedup();
    bordering
}

/// Pairs of nodes by rank, in canonical order; pairs with nodes that are not in the input are left out.
fn ranked(pairs: &[(NodeId, NodeId)], nodes: &[ResolveNode], order: &NodeOrder) -> Vec<(NodeRank, NodeRank)> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let rank_of_id = RankOfId::new(nodes, order);
    let rank = |node: &NodeId| rank_of_id.find(*node);
    let mut ranked: Vec<_> = pairs.iter().filter_map(|(a, b)| Some((rank(a)?, rank(b)?))).collect();
    ranked.iter_mut().for_each(|(a, b)| (*a, *b) = ((*a).min(*b), (*a).max(*b)));
    ranked.sort_unstable();
    ranked.dedup();
    ranked
}

/// An identifier of a node that was refused: a link of the node with itself.
fn demoted(one: &Demotion, input: &ResolveInput<'_>, rules: &RuleSet, nodes: &NodeOrder, values: &ValueIndex) -> Link {
    let nodes_of = (one.node, one.node);
    link(&Proposal { nodes: nodes_of, value: one.value, rule: one.rule, refusal: Some(one.refusal) }, input, rules, nodes, values)
}

fn link(proposal: &Proposal, input: &ResolveInput<'_>, rules: &RuleSet, nodes: &NodeOrder, values: &ValueIndex) -> Link {
    let (first, second) = (nodes.id(input.nodes, proposal.nodes.0), nodes.id(input.nodes, proposal.nodes.1));
    let (kind, value) = values.identifier(input.edges, proposal.value);
    Link {
        node_a: first.min(second),
        node_b: first.max(second),
        rule: rules.rule_name(proposal.rule),
        kind,
        value,
        verdict: proposal.refusal.map_or(LinkVerdict::Joined, |refusal| LinkVerdict::Refused(rules.reason(refusal))),
    }
}
