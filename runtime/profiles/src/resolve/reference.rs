//! The partition by the words of the rules, slowly: sets instead of sorted arrays, everything counted anew at each link. What
//! resolution finds must be the same.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::identifier_rule::WhenKnown;
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, NodeId, NodeKey};
use affluent_model::plan::{IdentifierRule, IdentityRules};
use proptest::prelude::*;

use super::properties::{NODES, all_nodes, any_rules, cases, edges, partition};
use super::tests::{KINDS, MARK, apply, value};
use super::{Knowledge, ResolveInput, ResolveNode, resolve_with};

/// A kind by its number and a value of it.
type Value = (u16, BlindIndex);
type Group = BTreeSet<NodeKey>;

/// The identifiers of a rule, and what it may join.
struct Rule {
    kinds: Vec<u16>,
    policy: Option<WhenKnown>,
}

struct Slow<'a> {
    rules: &'a IdentityRules,
    /// Value → who carries it, since when.
    carriers: BTreeMap<Value, BTreeMap<NodeKey, i64>>,
    known_since: BTreeMap<NodeKey, i64>,
    weak: BTreeSet<Value>,
    cannot_link: Vec<(NodeKey, NodeKey)>,
    groups: Vec<Group>,
    /// Values that were left out at nodes.
    refused: BTreeSet<(Value, NodeKey)>,
    /// Values that hold groups together.
    used: BTreeSet<Value>,
}

impl<'a> Slow<'a> {
    fn new(rules: &'a IdentityRules, nodes: &[ResolveNode], edges: &[Edge], blocked: &BTreeSet<Value>) -> Self {
        let key = |id: NodeId| nodes.iter().find(|node| node.node == id).map(|node| node.key);
        let mut carriers: BTreeMap<Value, BTreeMap<NodeKey, i64>> = BTreeMap::new();
        let mut weak = BTreeSet::new();
        for edge in edges {
            let Some(node) = key(edge.node) else { continue };
            if usize::from(edge.kind) < KINDS.len() {
                let since = carriers.entry((edge.kind, edge.value)).or_default().entry(node).or_insert(edge.seen_at_us);
                *since = edge.seen_at_us.min(*since);
            } else if rules.identifiers[1].weak_values.is_some() {
                weak.insert((1, edge.value));
            }
        }
        carriers.retain(|value, nodes| {
            let fanout_max = rules.identifiers[usize::from(value.0)].fanout_max as usize;
            !blocked.contains(value) && nodes.len() <= fanout_max
        });
        let mut known_since: BTreeMap<NodeKey, i64> = BTreeMap::new();
        for ((kind, _), nodes) in &carriers {
            for (node, since) in nodes.iter().filter(|_| rules.identifiers[usize::from(*kind)].anonymous.is_none()) {
                let known = known_since.entry(*node).or_insert(*since);
                *known = (*since).min(*known);
            }
        }
        let groups = nodes.iter().map(|node| BTreeSet::from([node.key])).collect();
        let (refused, used) = (BTreeSet::new(), BTreeSet::new());
        Self { rules, carriers, known_since, weak, cannot_link: Vec::new(), groups, refused, used }
    }

    fn identifier(&self, kind: u16) -> &'a IdentifierRule {
        &self.rules.identifiers[usize::from(kind)]
    }

    fn place(&self, node: NodeKey) -> usize {
        self.groups.iter().position(|group| group.contains(&node)).unwrap()
    }

    fn unite(&mut self, one: NodeKey, other: NodeKey) {
        let (one, other) = (self.place(one), self.place(other));
        if one != other {
            let (keep, drop) = (one.min(other), one.max(other));
            let moved = self.groups.remove(drop);
            self.groups[keep].extend(moved);
        }
    }

    /// Who carries a value that was not left out there.
    fn standing(&self, value: &Value) -> Vec<NodeKey> {
        let all = self.carriers.get(value).into_iter().flat_map(BTreeMap::keys).copied();
        all.filter(|node| !self.refused.contains(&(*value, *node))).collect()
    }

    fn values_of(&self, group: &Group) -> BTreeSet<Value> {
        let values = self.carriers.keys().copied();
        values.filter(|value| self.standing(value).iter().any(|node| group.contains(node))).collect()
    }

    fn seen_at(&self, value: &Value) -> i64 {
        self.carriers[value].values().copied().min().unwrap()
    }

    /// The most values of a kind that were first seen within one period.
    fn at_once(&self, kind: u16, values: &[Value]) -> usize {
        let Some(period) = self.identifier(kind).values_per.microseconds() else { return values.len() };
        let times: Vec<i64> = values.iter().map(|value| self.seen_at(value)).collect();
        let from = |start: &i64| times.iter().filter(|time| (0..period).contains(&(**time - start))).count();
        times.iter().map(from).max().unwrap_or(0)
    }

    /// What is left out so that no more than `max` are there at once: whatever holds nothing together, the last seen first.
    fn too_many(&self, kind: u16, values: &[Value], max: usize) -> Option<Vec<Value>> {
        let mut order = values.to_vec();
        order.sort_by_key(|value| (!self.used.contains(value), self.seen_at(value), *value));
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        for value in order {
            kept.push(value);
            if self.at_once(kind, &kept) > max {
                kept.pop();
                if self.used.contains(&value) {
                    return None;
                }
                left_out.push(value);
            }
        }
        Some(left_out)
    }

    /// True when it joined.
    fn join(&mut self, rule: &Rule, one: NodeKey, other: NodeKey) -> bool {
        let (left, right) = (self.groups[self.place(one)].clone(), self.groups[self.place(other)].clone());
        let is_within =
            |(a, b): &(NodeKey, NodeKey)| left.contains(a) && right.contains(b) || left.contains(b) && right.contains(a);
        let is_known = |group: &Group| group.iter().any(|node| self.known_since.contains_key(node));
        let is_refused = match rule.policy {
            Some(WhenKnown::First) => is_known(&left) && is_known(&right),
            Some(WhenKnown::Never) => is_known(&left) || is_known(&right),
            Some(WhenKnown::Join) | None => false,
        };
        let size = left.len() + right.len();
        if is_refused || size > self.rules.limits.profile_nodes_max as usize || self.cannot_link.iter().any(is_within) {
            return false;
        }
        let (of_left, of_right) = (self.values_of(&left), self.values_of(&right));
        let merged: BTreeSet<Value> = of_left.union(&of_right).copied().collect();
        let is_new = merged.len() > of_left.len().max(of_right.len());
        let of_kind = |values: &BTreeSet<Value>, kind| values.iter().filter(|value| value.0 == kind).copied().collect::<Vec<_>>();
        let mut left_out = Vec::new();
        for kind in 0..KINDS.len() as u16 {
            let (identifier, values) = (self.identifier(kind), of_kind(&merged, kind));
            let alone = [&of_left, &of_right].map(|side| self.at_once(kind, &of_kind(side, kind)));
            let max = if identifier.unique { 1 } else { alone[0].max(alone[1]).max(identifier.values_max as usize) };
            if !(is_new || identifier.unique) || self.at_once(kind, &values) <= max {
                continue;
            }
            let is_worse = rule.kinds.iter().all(|own| *own < kind);
            match self.too_many(kind, &values, max).filter(|_| is_worse) {
                Some(values) => left_out.extend(values),
                None => return false,
            }
        }
        self.used.extend(merged.iter().filter(|value| rule.kinds.contains(&value.0) && !left_out.contains(value)));
        for value in left_out {
            let members = self.standing(&value).into_iter().filter(|node| left.contains(node) || right.contains(node));
            self.refused.extend(members.map(|node| (value, node)).collect::<Vec<_>>());
        }
        self.unite(one, other);
        true
    }

    /// The known node that a value belongs to: the first that was seen with it.
    fn owner(&self, rule: &Rule, value: &Value) -> Option<NodeKey> {
        let carriers = self.carriers[value].iter().filter(|_| rule.policy == Some(WhenKnown::First));
        carriers.filter_map(|(node, since)| Some(((*self.known_since.get(node)?).max(*since), *node))).min().map(|(_, node)| node)
    }

    /// Each node is linked to the first that takes it; to the owner alone where the value has one among them.
    fn link(&mut self, rule: &Rule, nodes: &[NodeKey], value: &Value) {
        let owner = self.owner(rule, value).filter(|owner| nodes.contains(owner));
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|node| (Some(*node) != owner, *node));
        let mut centres: Vec<NodeKey> = Vec::new();
        for node in nodes {
            if centres.iter().any(|centre| self.place(*centre) == self.place(node)) {
                continue;
            }
            let mut tried = centres.clone().into_iter();
            let is_joined = tried.any(|centre| self.join(rule, centre, node));
            if !is_joined && (centres.is_empty() || owner.is_none()) {
                centres.push(node);
            }
        }
    }

    fn apply(&mut self, rule: &Rule) {
        let values = |slow: &Self, kind: u16| slow.carriers.keys().filter(|value| value.0 == kind).copied().collect::<Vec<_>>();
        let Some((first, others)) = rule.kinds.split_first() else { return };
        // Of each way to choose a value per kind, in order: what it begins with, and who carries all.
        let mut shared: Vec<(Value, Vec<NodeKey>)> =
            values(self, *first).into_iter().map(|value| (value, self.standing(&value))).collect();
        for kind in others {
            let of_kind: Vec<BTreeSet<NodeKey>> =
                values(self, *kind).iter().map(|value| self.standing(value).into_iter().collect()).collect();
            let narrowed = shared.iter().flat_map(|(value, nodes)| {
                of_kind
                    .iter()
                    .map(move |carriers| (*value, nodes.iter().filter(|node| carriers.contains(*node)).copied().collect()))
            });
            shared = narrowed.collect();
        }
        for (value, nodes) in shared {
            let is_alone = others.is_empty();
            if !(is_alone && self.weak.contains(&value)) {
                self.link(rule, &nodes, &value);
            }
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let number = |name: &String| (0..).zip(KINDS).find(|(_, kind)| kind == name).map(|(number, _)| number).unwrap();
        let kinds: Vec<Vec<u16>> = match self.rules.rules.as_slice() {
            [] => (0..KINDS.len() as u16).map(|kind| vec![kind]).collect(),
            named => named.iter().map(|rule| rule.all.iter().map(number).collect()).collect(),
        };
        let is_weak_alone = |kinds: &Vec<u16>| kinds.len() == 1 && self.identifier(kinds[0]).weak;
        let rules = kinds.into_iter().filter(|kinds| !is_weak_alone(kinds)).map(|mut kinds| {
            kinds.sort_unstable();
            let anonymous: Option<Vec<WhenKnown>> = kinds.iter().map(|kind| self.identifier(*kind).anonymous).collect();
            Rule { kinds, policy: anonymous.and_then(|all| all.into_iter().max()) }
        });
        rules.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_partition_is_that_of_the_reference(
        rules in any_rules(),
        edges in edges(),
        must in prop::collection::vec((1..=i64::from(NODES), 1..=i64::from(NODES)), 0..3),
        cannot in prop::collection::vec((1..=i64::from(NODES), 1..=i64::from(NODES)), 0..4),
        blocked in prop::collection::btree_set((0..4_u16, 0..7_u8), 0..3),
        profile_nodes_max in 2..9_u32,
    ) {
        let mut rules = rules;
        rules.limits.profile_nodes_max = profile_nodes_max;
        let pairs = |pairs: &[(i64, i64)]| -> Vec<(NodeId, NodeId)> { pairs.iter().map(|(a, b)| (NodeId(*a), NodeId(*b))).collect() };
        let (must, cannot) = (pairs(&must), pairs(&cannot));
        let blocked: BTreeSet<Value> = blocked.into_iter().map(|(kind, number)| (kind, value(number))).collect();
        let mut nodes = all_nodes();
        let key = |id: NodeId| nodes.iter().find(|node| node.node == id).map(|node| node.key).unwrap();

        let mut slow = Slow::new(&rules, &nodes, &edges, &blocked);
        slow.cannot_link = cannot.iter().map(|(a, b)| (key(*a), key(*b))).collect();
        must.iter().for_each(|(a, b)| slow.unite(key(*a), key(*b)));
        for rule in slow.rules() {
            slow.apply(&rule);
        }

        let kinds: Vec<String> = KINDS.iter().chain([&MARK]).map(|kind| (*kind).to_owned()).collect();
        let listed: Vec<BlockedIdentifier> = blocked
            .iter()
            .map(|(kind, value)| BlockedIdentifier { kind: *kind, value: *value, reason: "listed".to_owned(), nodes: 0 })
            .collect();
        let input = ResolveInput { rules: &rules, kinds: &kinds, nodes: &nodes, edges: &edges, blocked: &listed };
        let resolution = resolve_with(&input, &Knowledge { must_link: &must, cannot_link: &cannot, ..Knowledge::default() });
        apply(&mut nodes, &resolution);
        let found: BTreeSet<Group> = partition(&nodes).into_values().collect();
        prop_assert_eq!(found, slow.groups.into_iter().collect::<BTreeSet<_>>());
    }
}
