//! What holds for any nodes and edges: the partition depends on nothing but the set of edges, and guard rails hold.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::diagnostic::Location;
use affluent_model::identifier_rule::{Period, WeakValues, WhenKnown};
use affluent_model::identity::{BlockedIdentifier, Edge, Link, LinkVerdict, NodeId, NodeKey, ProfileId};
use affluent_model::plan::{IdentifierRule, IdentityRules, MatchRule};
use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::{KINDS, apply, edge, node, rules, run, value};
use super::{Knowledge, Resolution, ResolveInput, ResolveNode, own_id, resolve_with};
use crate::explain::explain;

pub(super) const NODES: u8 = 14;
const DAY_US: i64 = 86_400_000_000;

pub(super) fn edges() -> impl Strategy<Value = Vec<Edge>> {
    let edge = (1..=NODES, 0..4u16, 0..7u8, 0..6i64)
        .prop_map(|(carrier, kind, number, seen)| Edge { seen_at_us: seen * 3 * DAY_US, ..edge(carrier, kind, number) });
    prop::collection::vec(edge, 0..50).prop_map(|edges| {
        // The last value is a mailbox of a function, which an edge of the kind after all says beside.
        let marks: Vec<Edge> = edges.iter().filter(|edge| edge.kind == 1 && edge.value == value(6)).copied().collect();
        edges.into_iter().chain(marks.into_iter().map(|edge| Edge { kind: 4, ..edge })).collect()
    })
}

pub(super) fn any_rules() -> impl Strategy<Value = IdentityRules> {
    let rule = |name: &str, all: &[&str]| MatchRule {
        name: name.to_owned(),
        all: all.iter().map(|kind| (*kind).to_owned()).collect(),
        compare: Vec::new(),
        score: None,
        at: Location::file_start("profiles/identity.yaml"),
    };
    let named = vec![rule("account", &["user_id"]), rule("pair", &["email", "device"]), rule("phone", &["phone"])];
    // Few values of a kind, within a period, so that many are left out; a worse kind is unique.
    let mut narrow = rules();
    narrow.identifiers[1].values_max = 2;
    narrow.identifiers[2].unique = true;
    narrow.identifiers[3].weak = false;
    narrow.identifiers[3].values_max = 2;
    narrow.identifiers[3].values_per = Period::Week;
    let narrow_named = IdentityRules { rules: named.clone(), ..narrow.clone() };
    let mut anonymous = narrow.clone();
    anonymous.identifiers[2].unique = false;
    anonymous.identifiers[2].anonymous = Some(WhenKnown::Never);
    anonymous.identifiers[3].anonymous = Some(WhenKnown::First);
    let mut mailboxes = IdentityRules { rules: named.clone(), ..rules() };
    mailboxes.rules.push(rule("email", &["email"]));
    mailboxes.identifiers[1].weak_values = Some(WeakValues::RoleMailboxes);
    let named = IdentityRules { rules: named, ..rules() };
    prop_oneof![Just(rules()), Just(named), Just(narrow), Just(narrow_named), Just(anonymous), Just(mailboxes)]
}

/// Nothing is limited; devices are anonymous.
fn open_rules(when: WhenKnown) -> IdentityRules {
    let mut rules = rules();
    rules.limits.profile_nodes_max = 100;
    for identifier in &mut rules.identifiers {
        (identifier.values_max, identifier.fanout_max) = (100, 100);
        (identifier.unique, identifier.weak) = (false, false);
    }
    rules.identifiers[3].anonymous = Some(when);
    rules
}

pub(super) fn all_nodes() -> Vec<ResolveNode> {
    (1..=NODES).map(node).collect()
}

/// Node key → the keys of its profile's nodes.
pub(super) fn partition(nodes: &[ResolveNode]) -> BTreeMap<NodeKey, BTreeSet<NodeKey>> {
    let members = |profile| nodes.iter().filter(|node| node.profile == profile).map(|node| node.key).collect();
    nodes.iter().map(|node| (node.key, members(node.profile))).collect()
}

/// The identifiers that were refused, by key of their nodes.
fn refused(nodes: &[ResolveNode], links: &[Link]) -> BTreeSet<(NodeKey, u16, NodeKey)> {
    let key = |id: NodeId| nodes.iter().find(|node| node.node == id).map(|node| node.key);
    let own = links.iter().filter(|link| link.node_a == link.node_b);
    own.filter_map(|link| Some((key(link.node_a)?, link.kind, link.value))).collect()
}

/// The most values that were first seen within a period; `seen` is sorted.
fn at_once(rule: &IdentifierRule, seen: &[i64]) -> usize {
    let period = rule.values_per.microseconds().unwrap_or(i64::MAX);
    let from = |first: &i64| seen.iter().filter(|time| **time >= *first && **time - *first < period).count();
    seen.iter().map(from).max().unwrap_or(0)
}

fn resolved(rules: &IdentityRules, edges: &[Edge]) -> (Vec<ResolveNode>, Resolution) {
    let mut nodes = all_nodes();
    let resolution = run(rules, &nodes, edges, &[]);
    apply(&mut nodes, &resolution);
    (nodes, resolution)
}

/// The nodes that `changed` reaches over profiles and over values that are not blocked, which are those of changed nodes and of
/// nodes that border on other profiles: the others share theirs within their profile.
fn neighbourhood(
    changed: &BTreeSet<NodeId>,
    (nodes, bordering): (&[ResolveNode], &BTreeSet<NodeId>),
    (edges, blocked): (&[Edge], &[BlockedIdentifier]),
) -> BTreeSet<NodeId> {
    let is_blocked = |edge: &&Edge| blocked.iter().any(|blocked| (blocked.kind, blocked.value) == (edge.kind, edge.value));
    let leads_on = |edge: &&Edge| changed.contains(&edge.node) || bordering.contains(&edge.node);
    let mut reached = changed.clone();
    loop {
        let carried = edges.iter().filter(|edge| reached.contains(&edge.node)).filter(leads_on);
        let values: BTreeSet<_> = carried.filter(|edge| !is_blocked(edge)).map(|edge| (edge.kind, edge.value)).collect();
        let profiles: BTreeSet<_> = nodes.iter().filter(|node| reached.contains(&node.node)).map(|node| node.profile).collect();
        let before = reached.len();
        reached.extend(edges.iter().filter(|edge| values.contains(&(edge.kind, edge.value))).map(|edge| edge.node));
        reached.extend(nodes.iter().filter(|node| profiles.contains(&node.profile)).map(|node| node.node));
        if reached.len() == before {
            return reached;
        }
    }
}

/// Resolves batch after batch, each time only what the batch reaches, as the engine does.
fn resolved_in_batches(rules: &IdentityRules, batches: &[Vec<Edge>]) -> Vec<ResolveNode> {
    let (mut nodes, _) = resolved(rules, &[]);
    let mut known: Vec<Edge> = Vec::new();
    let mut blocked: Vec<BlockedIdentifier> = Vec::new();
    let mut bordering: BTreeSet<NodeId> = BTreeSet::new();
    for batch in batches {
        known.extend(batch);
        let changed = batch.iter().map(|edge| edge.node).collect();
        let reached = neighbourhood(&changed, (&nodes, &bordering), (&known, &blocked));
        let near: Vec<ResolveNode> = nodes.iter().filter(|node| reached.contains(&node.node)).copied().collect();
        let edges: Vec<Edge> = known.iter().filter(|edge| reached.contains(&edge.node)).copied().collect();
        let resolution = run(rules, &near, &edges, &blocked);
        apply(&mut nodes, &resolution);
        blocked.extend(resolution.blocked);
        bordering.retain(|node| !reached.contains(node));
        bordering.extend(resolution.bordering);
    }
    nodes
}

/// What a steward decided.
#[derive(Debug, Clone)]
enum Decision {
    /// The first is one with none of the others of its profile.
    SplitOff(NodeId),
    Split(NodeId, NodeId),
    Link(NodeId, NodeId),
    /// The value joins none of the nodes of this node's profile.
    Detach(NodeId, u16, u8),
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let any = || (1..=i64::from(NODES)).prop_map(NodeId);
    prop_oneof![
        any().prop_map(Decision::SplitOff),
        (any(), any()).prop_map(|(a, b)| Decision::Split(a, b)),
        (any(), any()).prop_map(|(a, b)| Decision::Link(a, b)),
        (any(), 0..4u16, 0..7u8).prop_map(|(node, kind, number)| Decision::Detach(node, kind, number)),
    ]
}

/// A ledger of decisions: resolves under all that stand, as the engine does, and keeps the ids that were merged away.
struct Stewarded {
    nodes: Vec<ResolveNode>,
    former: BTreeSet<ProfileId>,
    links: Vec<Link>,
}

impl Stewarded {
    fn resolve(&mut self, rules: &IdentityRules, edges: &[Edge], decisions: &[Given]) {
        let (mut must_link, mut cannot_link, mut detached) = (Vec::new(), Vec::new(), BTreeSet::new());
        for decision in decisions {
            must_link.extend(&decision.must_link);
            cannot_link.extend(&decision.cannot_link);
            detached.extend(decision.detached.iter().copied());
        }
        let standing = edges.iter().filter(|edge| !detached.contains(&(edge.node, edge.kind, edge.value)));
        let edges: Vec<Edge> = standing.copied().collect();
        let kinds = KINDS.map(str::to_owned);
        let former: Vec<ProfileId> = self.former.iter().copied().collect();
        let input = ResolveInput { rules, kinds: &kinds, nodes: &self.nodes, edges: &edges, blocked: &[] };
        let knowledge = Knowledge { evidence: None, must_link: &must_link, cannot_link: &cannot_link, former: &former };
        let resolution = resolve_with(&input, &knowledge);
        apply(&mut self.nodes, &resolution);
        self.former.extend(resolution.aliases.iter().map(|(old, _)| *old));
        self.former.retain(|id| !resolution.created.contains(id));
        self.links = resolution.links;
    }

    fn state(&self) -> (Vec<ResolveNode>, Vec<Link>) {
        (self.nodes.clone(), self.links.clone())
    }
}

/// A decision as resolution gets it.
#[derive(Debug, Clone, Default)]
struct Given {
    must_link: Vec<(NodeId, NodeId)>,
    cannot_link: Vec<(NodeId, NodeId)>,
    detached: Vec<(NodeId, u16, NodeKey)>,
}

/// What the decision says of the profiles as they are.
fn given(decision: &Decision, nodes: &[ResolveNode]) -> Given {
    let profile = |id: NodeId| nodes.iter().find(|node| node.node == id).and_then(|node| node.profile);
    let members = |id: NodeId| nodes.iter().filter(move |node| node.profile == profile(id)).map(|node| node.node);
    match decision {
        Decision::SplitOff(node) => {
            let others = members(*node).filter(|other| other != node).map(|other| (*node, other));
            Given { cannot_link: others.collect(), ..Given::default() }
        }
        Decision::Split(a, b) => Given { cannot_link: vec![(*a, *b)], ..Given::default() },
        Decision::Link(a, b) => Given { must_link: vec![(*a, *b)], ..Given::default() },
        Decision::Detach(node, kind, number) => {
            Given { detached: members(*node).map(|member| (member, *kind, value(*number))).collect(), ..Given::default() }
        }
    }
}

/// `AFFLUENT_CASES=10000` is the long form.
pub(super) fn cases() -> u32 {
    std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_that_were_taken_back_leave_partition_ids_and_links_as_they_were(
        rules in any_rules(),
        edges in edges(),
        decisions in prop::collection::vec(any_decision(), 1..4),
        lifo in any::<bool>(),
    ) {
        let mut steward = Stewarded { nodes: all_nodes(), former: BTreeSet::new(), links: Vec::new() };
        steward.resolve(&rules, &edges, &[]);
        let before = steward.state();

        let mut standing: Vec<Given> = Vec::new();
        for decision in &decisions {
            standing.push(given(decision, &steward.nodes));
            steward.resolve(&rules, &edges, &standing);
            let again = steward.state();
            steward.resolve(&rules, &edges, &standing);
            prop_assert_eq!(again, steward.state());
        }
        while !standing.is_empty() {
            standing.remove(if lifo { standing.len() - 1 } else { 0 });
            steward.resolve(&rules, &edges, &standing);
        }

        prop_assert_eq!(steward.state(), before);
    }

    #[test]
    fn what_was_decided_holds(rules in any_rules(), edges in edges(), decision in any_decision()) {
        let mut steward = Stewarded { nodes: all_nodes(), former: BTreeSet::new(), links: Vec::new() };
        steward.resolve(&rules, &edges, &[]);
        let given = given(&decision, &steward.nodes);

        steward.resolve(&rules, &edges, std::slice::from_ref(&given));

        let profile = |id: NodeId| steward.nodes.iter().find(|node| node.node == id).and_then(|node| node.profile);
        prop_assert!(given.must_link.iter().all(|(a, b)| profile(*a) == profile(*b)));
        prop_assert!(given.cannot_link.iter().all(|(a, b)| a == b || profile(*a) != profile(*b)));
        for (node, kind, value) in given.detached {
            let through = |link: &Link| [link.node_a, link.node_b].contains(&node) && (link.kind, link.value) == (kind, value);
            prop_assert!(!steward.links.iter().any(through));
        }
        for node in &steward.nodes {
            let has_founder = steward.nodes.iter().any(|other| other.profile == node.profile && node.profile == Some(own_id(other)));
            prop_assert!(has_founder, "a profile is named after one of its nodes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_partition_does_not_depend_on_order_or_numbering(
        rules in any_rules(),
        (edges, shuffled) in edges().prop_flat_map(|edges| (Just(edges.clone()), Just(edges).prop_shuffle())),
        numbers in Just((100..100 + i64::from(NODES)).collect::<Vec<i64>>()).prop_shuffle(),
        spread in prop_oneof![Just(1), Just(1_000_003)],
    ) {
        let renumbered = |id: NodeId| NodeId(numbers[id.0 as usize - 1] * spread);
        let mut other: Vec<ResolveNode> = all_nodes();
        other.iter_mut().for_each(|node| node.node = renumbered(node.node));
        other.reverse();
        let moved: Vec<Edge> = shuffled.iter().map(|edge| Edge { node: renumbered(edge.node), ..*edge }).collect();

        let resolution = run(&rules, &other, &moved, &[]);
        apply(&mut other, &resolution);

        let (mut expected, known) = resolved(&rules, &edges);
        prop_assert_eq!(refused(&other, &resolution.links), refused(&expected, &known.links));
        expected.sort_by_key(|node| node.key);
        other.sort_by_key(|node| node.key);
        let profiles = |nodes: &[ResolveNode]| nodes.iter().map(|node| (node.key, node.profile)).collect::<Vec<_>>();
        prop_assert_eq!(profiles(&other), profiles(&expected));
    }

    #[test]
    fn batch_by_batch_gives_the_partition_of_all_at_once(
        rules in any_rules(),
        edges in edges(),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(edges.len() + 1)).chain([0, edges.len()]).collect();
        ends.sort_unstable();
        let batches: Vec<Vec<Edge>> = ends.windows(2).map(|pair| edges[pair[0]..pair[1]].to_vec()).collect();

        let nodes = resolved_in_batches(&rules, &batches);

        prop_assert_eq!(partition(&nodes), partition(&resolved(&rules, &edges).0));
    }

    #[test]
    fn resolving_a_result_again_changes_nothing(rules in any_rules(), edges in edges()) {
        let (nodes, first) = resolved(&rules, &edges);

        let again = run(&rules, &nodes, &edges, &first.blocked);

        let (links, bordering) = (again.links.clone(), again.bordering.clone());
        prop_assert_eq!(&first.bordering, &bordering);
        let unchanged = Resolution { links, bordering, ..Resolution::default() };
        prop_assert_eq!(again, unchanged);
    }

    #[test]
    fn who_borders_on_no_other_profile_shares_identifiers_within_its_own(rules in any_rules(), edges in edges()) {
        let (nodes, resolution) = resolved(&rules, &edges);
        let profile = |id: NodeId| nodes.iter().find(|node| node.node == id).and_then(|node| node.profile);
        let counts = |edge: &&Edge| !resolution.blocked.iter().any(|one| (one.kind, one.value) == (edge.kind, edge.value));
        let counted: Vec<&Edge> = edges.iter().filter(counts).collect();
        let is_shared_apart = |edge: &Edge| counted.iter().any(|other| {
            (other.kind, other.value) == (edge.kind, edge.value) && profile(other.node) != profile(edge.node)
        });
        let bordering: BTreeSet<NodeId> = counted.iter().filter(|edge| is_shared_apart(edge)).map(|edge| edge.node).collect();
        prop_assert_eq!(resolution.bordering, bordering.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn guard_rails_hold_in_every_profile(rules in any_rules(), edges in edges()) {
        let (nodes, resolution) = resolved(&rules, &edges);
        let is_blocked = |edge: &Edge| resolution.blocked.iter().any(|it| (it.kind, it.value) == (edge.kind, edge.value));
        for members in partition(&nodes).values().filter(|members| members.len() > 1) {
            prop_assert!(members.len() <= rules.limits.profile_nodes_max as usize);
            for (kind, identifier) in (0..).zip(&rules.identifiers) {
                let values = |keys: &BTreeSet<NodeKey>, counts: &dyn Fn(NodeKey, &Edge) -> bool| {
                    let key = |edge: &&Edge| nodes.iter().find(|node| node.node == edge.node && keys.contains(&node.key)).map(|node| node.key);
                    let inside = |edge: &&Edge| edge.kind == kind && !is_blocked(edge) && key(edge).is_some_and(|key| counts(key, edge));
                    let values: BTreeSet<_> = edges.iter().filter(inside).map(|edge| edge.value).collect();
                    let first_seen = |value| edges.iter().filter(|edge| (edge.kind, edge.value) == (kind, value)).map(|edge| edge.seen_at_us).min();
                    let mut seen: Vec<i64> = values.into_iter().filter_map(first_seen).collect();
                    seen.sort_unstable();
                    at_once(identifier, &seen)
                };
                let refused = refused(&nodes, &resolution.links);
                let alone = members.iter().map(|key| values(&BTreeSet::from([*key]), &|_, _| true)).max().unwrap_or(0);
                let values_max = if identifier.unique { 1 } else { alone.max(identifier.values_max as usize) };
                let stands = |key: NodeKey, edge: &Edge| !refused.contains(&(key, edge.kind, edge.value));
                prop_assert!(values(members, &stands) <= values_max, "{}", identifier.name);
            }
        }
    }

    #[test]
    fn an_identifier_that_was_refused_joins_nothing(rules in any_rules(), edges in edges()) {
        let (nodes, resolution) = resolved(&rules, &edges);
        let refused = refused(&nodes, &resolution.links);
        for link in resolution.links.iter().filter(|link| link.verdict == LinkVerdict::Joined) {
            let ends = nodes.iter().filter(|node| [link.node_a, link.node_b].contains(&node.node));
            prop_assert!(ends.into_iter().all(|node| !refused.contains(&(node.key, link.kind, link.value))), "{:?}", link);
        }
    }

    #[test]
    fn persons_are_as_they_would_be_without_anonymous_identifiers(edges in edges(), never in any::<bool>()) {
        let named: Vec<Edge> = edges.iter().filter(|edge| edge.kind != 3).copied().collect();
        let is_known = |node: &&ResolveNode| named.iter().any(|edge| edge.node == node.node);
        let when = if never { WhenKnown::Never } else { WhenKnown::First };

        let known_of = |edges: &[Edge]| -> Vec<ResolveNode> {
            resolved(&open_rules(when), edges).0.iter().filter(is_known).copied().collect()
        };

        prop_assert_eq!(partition(&known_of(&edges)), partition(&known_of(&named)));
    }

    #[test]
    fn joined_links_are_a_tree_that_explains_every_pair(rules in any_rules(), edges in edges()) {
        let (nodes, resolution) = resolved(&rules, &edges);
        let profiles: BTreeSet<_> = nodes.iter().map(|node| node.profile).collect();
        let joined = resolution.links.iter().filter(|link| link.verdict == LinkVerdict::Joined).count();
        prop_assert_eq!(joined, nodes.len() - profiles.len());
        for (a, b) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b))) {
            prop_assert_eq!(explain(&resolution.links, a.node, b.node).is_some(), a.profile == b.profile);
        }
    }

    #[test]
    fn every_id_lives_on_as_a_profile_or_as_an_alias(rules in any_rules(), before in edges(), after in edges()) {
        let (mut nodes, _) = resolved(&rules, &before);
        let old: BTreeSet<ProfileId> = nodes.iter().filter_map(|node| node.profile).collect();
        let resolution = run(&rules, &nodes, &after, &[]);
        apply(&mut nodes, &resolution);
        let new: BTreeSet<ProfileId> = nodes.iter().filter_map(|node| node.profile).collect();

        let aliases: BTreeMap<ProfileId, ProfileId> = resolution.aliases.iter().copied().collect();
        let created: BTreeSet<ProfileId> = resolution.created.iter().copied().collect();
        prop_assert!(old.iter().all(|id| new.contains(id) != aliases.contains_key(id)));
        prop_assert!(aliases.values().all(|survivor| new.contains(survivor)));
        prop_assert_eq!(created, new.difference(&old).copied().collect::<BTreeSet<_>>());
    }

    #[test]
    fn profiles_that_cannot_be_still_give_one_id_per_component(edges in edges(), odd in prop::collection::vec(0..5u128, NODES as usize)) {
        let mut nodes = all_nodes();
        nodes.iter_mut().zip(&odd).for_each(|(node, odd)| node.profile = (*odd > 0).then_some(ProfileId(*odd)));

        let resolution = run(&rules(), &nodes, &edges, &[]);
        apply(&mut nodes, &resolution);

        prop_assert_eq!(partition(&nodes), partition(&resolved(&rules(), &edges).0));
    }
}
