//! The rules of identity, one test each. A node is a letter, an identifier value a number.

use affluent_model::diagnostic::Location;
use affluent_model::identifier_rule::{Period, WeakValues, WhenKnown};
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, LinkVerdict, NodeId, NodeKey, ProfileId};
use affluent_model::plan::{IdentifierRule, IdentityLimits, IdentityRules, MatchRule};

use super::{Resolution, ResolveInput, ResolveNode, Split, resolve};

pub(super) const KINDS: [&str; 4] = ["user_id", "email", "phone", "device"];
/// The kind after them, whose edges mark addresses that are mailboxes of a function.
pub(super) const MARK: &str = "email~mailbox";

/// `user_id` is unique, `device` is weak, every value may point to six nodes, a profile has at most three values of
/// a kind.
pub(super) fn rules() -> IdentityRules {
    let identifiers = (1..).zip(KINDS).map(|(priority, name)| IdentifierRule {
        name: name.to_owned(),
        priority,
        values_max: 3,
        unique: name == "user_id",
        fanout_max: 6,
        weak: name == "device",
        ..IdentifierRule::default()
    });
    let limits = IdentityLimits { profile_nodes_max: 8, fanout_max: 6 };
    IdentityRules { identifiers: identifiers.collect(), limits, ..IdentityRules::default() }
}

fn with_rules(named: &[(&str, &[&str])]) -> IdentityRules {
    let rule = |(name, all): &(&str, &[&str])| MatchRule {
        name: (*name).to_owned(),
        all: all.iter().map(|kind| (*kind).to_owned()).collect(),
        compare: Vec::new(),
        score: None,
        at: Location::file_start("profiles/identity.yaml"),
    };
    IdentityRules { rules: named.iter().map(rule).collect(), ..rules() }
}

pub(super) fn key(number: u8) -> NodeKey {
    let mut key = [0; 17];
    // Spread, so that neither the order of numbers nor that of first sight is the order of keys.
    key[1] = number.wrapping_mul(151) % 5;
    key[16] = number;
    key
}

pub(super) fn value(number: u8) -> BlindIndex {
    let mut value = [1; 17];
    // Few starts, so that values are told apart by their last byte too.
    value[1] = number.wrapping_mul(89) % 3;
    value[16] = number;
    value
}

pub(super) fn node(number: u8) -> ResolveNode {
    let first_seen_ms = 1_700_000_000_000 + u64::from(number);
    ResolveNode { node: NodeId(i64::from(number)), key: key(number), first_seen_ms, profile: None }
}

pub(super) fn edge(carrier: u8, kind: u16, number: u8) -> Edge {
    Edge { node: NodeId(i64::from(carrier)), kind, value: value(number), seen_at_us: 0 }
}

pub(super) fn run(rules: &IdentityRules, nodes: &[ResolveNode], edges: &[Edge], blocked: &[BlockedIdentifier]) -> Resolution {
    let kinds: Vec<String> = KINDS.iter().chain([&MARK]).map(|kind| (*kind).to_owned()).collect();
    resolve(&ResolveInput { rules, kinds: &kinds, nodes, edges, blocked })
}

/// Writes the resolution's profiles into the nodes, as the ledger would.
pub(super) fn apply(nodes: &mut [ResolveNode], resolution: &Resolution) {
    for node in nodes {
        let found = resolution.assignments.iter().find(|(id, _)| *id == node.node);
        node.profile = found.map_or(node.profile, |(_, profile)| Some(*profile));
    }
}

/// The groups of node numbers, `EDGES` being (node, kind, value).
fn groups(rules: &IdentityRules, count: u8, edges: &[(u8, u16, u8)]) -> Vec<Vec<i64>> {
    let edges: Vec<Edge> = edges.iter().map(|(carrier, kind, number)| edge(*carrier, *kind, *number)).collect();
    groups_of(rules, count, &edges)
}

fn groups_of(rules: &IdentityRules, count: u8, edges: &[Edge]) -> Vec<Vec<i64>> {
    let mut nodes: Vec<ResolveNode> = (1..=count).map(node).collect();
    let resolution = run(rules, &nodes, edges, &[]);
    apply(&mut nodes, &resolution);
    let mut groups: Vec<Vec<i64>> = Vec::new();
    for node in &nodes {
        let same = |group: &&mut Vec<i64>| nodes.iter().any(|other| group[0] == other.node.0 && other.profile == node.profile);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(node.node.0),
            None => groups.push(vec![node.node.0]),
        }
    }
    groups
}

/// Like [`groups`], `EDGES` being (node, kind, value, day of sight); also the refused identifiers as (node, kind, value) with
/// the reason.
fn limited(rules: &IdentityRules, count: u8, edges: &[(u8, u16, u8, i64)]) -> (usize, Vec<(i64, u16, u8, String)>) {
    let nodes: Vec<ResolveNode> = (1..=count).map(node).collect();
    let seen =
        |(carrier, kind, number, day): &(u8, u16, u8, i64)| Edge { seen_at_us: day * DAY_US, ..edge(*carrier, *kind, *number) };
    let edges: Vec<Edge> = edges.iter().map(seen).collect();
    let resolution = run(rules, &nodes, &edges, &[]);
    let mut refused: Vec<_> = resolution
        .links
        .iter()
        .filter(|link| link.node_a == link.node_b)
        .map(|link| match &link.verdict {
            LinkVerdict::Refused(reason) => (link.node_a.0, link.kind, link.value[16], reason.clone()),
            LinkVerdict::Joined => unreachable!("a node is not joined with itself"),
        })
        .collect();
    refused.sort();
    (resolution.created.len(), refused)
}

const DAY_US: i64 = 86_400_000_000;

/// `phone` is unique here too, and a profile has at most two devices within a week.
fn narrow_rules() -> IdentityRules {
    let mut rules = rules();
    rules.identifiers[2].unique = true;
    rules.identifiers[3].values_max = 2;
    rules.identifiers[3].values_per = Period::Week;
    rules
}

fn own_id(number: u8) -> ProfileId {
    ProfileId::of_node(node(number).first_seen_ms, &key(number))
}

#[test]
fn nodes_that_share_an_identifier_are_one_profile() {
    let found = groups(&rules(), 4, &[(1, 1, 7), (2, 1, 7), (2, 2, 9), (3, 2, 9), (4, 1, 8)]);

    assert_eq!(found, [vec![1, 2, 3], vec![4]]);
}

#[test]
fn a_weak_identifier_joins_only_together_with_another() {
    let edges = [(1, 3, 5), (2, 3, 5), (1, 1, 7), (2, 1, 7), (3, 3, 5)];

    assert_eq!(groups(&rules(), 2, &[(1, 3, 5), (2, 3, 5)]), [[1], [2]]);
    assert_eq!(groups(&with_rules(&[("device", &["device"])]), 2, &edges), [[1], [2]]);
    assert_eq!(groups(&with_rules(&[("both", &["device", "email"])]), 3, &edges), [vec![1, 2], vec![3]]);
}

#[test]
fn a_weak_value_joins_only_together_with_another_identifier() {
    let groups = |rules: &IdentityRules, edges: &[(u8, u16, u8)]| {
        let mut rules = rules.clone();
        rules.identifiers[1].weak_values = Some(WeakValues::RoleMailboxes);
        let edges: Vec<Edge> = edges.iter().map(|(carrier, kind, number)| edge(*carrier, *kind, *number)).collect();
        run(&rules, &[node(1), node(2), node(3)], &edges, &[]).created.len()
    };
    let both = with_rules(&[("email", &["email"]), ("both", &["email", "phone"])]);
    // Kind 4 marks value 7, at one of those who carry it.
    let office = [(1, 1, 7), (2, 1, 7), (3, 1, 7), (2, 4, 7)];
    let with_phone = [office.as_slice(), &[(1, 2, 9), (3, 2, 9)]].concat();

    assert_eq!(groups(&rules(), &office[..3]), 1, "an address of a person");
    assert_eq!(groups(&rules(), &office), 3, "one of a function");
    assert_eq!(groups(&both, &office), 3);
    assert_eq!(groups(&both, &with_phone), 2, "one of a function and a number");
}

#[test]
fn a_rule_over_two_kinds_needs_both_shared_by_the_same_nodes() {
    let rules = with_rules(&[("both", &["phone", "email"])]);
    let edges = [(1, 1, 7), (2, 1, 7), (3, 1, 7), (1, 2, 9), (3, 2, 9), (2, 2, 8)];

    assert_eq!(groups(&rules, 3, &edges), [vec![1, 3], vec![2]]);
}

#[test]
fn two_values_of_a_unique_kind_are_two_profiles() {
    let edges = [(1, 0, 1), (2, 0, 2), (1, 1, 7), (2, 1, 7)];

    let resolution = run(&rules(), &[node(1), node(2)], &edges.map(|(a, b, c)| edge(a, b, c)), &[]);

    assert_eq!(resolution.created.len(), 2);
    let reason = "`user_id` is unique and would have two values".to_owned();
    assert_eq!(resolution.links[0].verdict, LinkVerdict::Refused(reason));
}

#[test]
fn those_refused_by_the_first_of_a_value_still_meet_each_other() {
    let edges = [(1, 0, 1), (2, 0, 2), (1, 1, 7), (2, 1, 7), (3, 1, 7), (4, 1, 7)];

    let found = groups(&rules(), 4, &edges);

    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_worse_identifier_joins_no_profile_with_more_values_of_a_kind_than_its_limit() {
    let edges: Vec<(u8, u16, u8)> = (1..=5).flat_map(|node| [(node, 2, 7), (node, 1, 10 + node)]).collect();

    let found = groups(&rules(), 5, &edges);

    assert_eq!(found.iter().map(Vec::len).max(), Some(3), "{found:?}");
}

#[test]
fn the_identifier_seen_last_is_left_out_and_the_rest_of_the_record_joins() {
    let account: Vec<(u8, u16, u8, i64)> =
        (1..=5).flat_map(|node| [(node, 0, 1, 0), (node, 1, 10 + node, i64::from(9 - node))]).collect();

    let (profiles, refused) = limited(&rules(), 5, &account);

    let reason = || "`email` would have more than 3 values".to_owned();
    assert_eq!((profiles, refused), (1, vec![(1, 1, 11, reason()), (2, 1, 12, reason())]));
}

#[test]
fn an_identifier_that_is_left_out_joins_nobody() {
    let account = (1..=4).flat_map(|node| [(node, 0, 1, 0), (node, 1, 10 + node, i64::from(node))]);
    let edges: Vec<(u8, u16, u8, i64)> = account.chain([(5, 1, 14, 9), (6, 1, 13, 9)]).collect();

    assert_eq!(limited(&rules(), 6, &edges).0, 2, "node 5 shares what was left out, node 6 what was not");
}

#[test]
fn of_a_worse_unique_kind_the_value_seen_first_stays() {
    let edges = [(1, 1, 7, 0), (2, 1, 7, 0), (1, 2, 1, 5), (2, 2, 2, 4)];

    let (profiles, refused) = limited(&narrow_rules(), 2, &edges);

    assert_eq!((profiles, refused), (1, vec![(1, 2, 1, "`phone` is unique and would have two values".to_owned())]));
}

#[test]
fn an_anonymous_identifier_joins_known_persons_as_its_kind_says() {
    // Persons 1 and 3 use a device that nobody was known by at first, and that is used without a name later.
    let seen = [(1, 1, 7, 3), (1, 3, 5, 3), (2, 3, 5, 1), (3, 1, 8, 2), (3, 3, 5, 2), (4, 3, 5, 9)];
    let edges = seen.map(|(carrier, kind, number, day)| Edge { seen_at_us: day * DAY_US, ..edge(carrier, kind, number) });
    let cases: [(WhenKnown, &[&[i64]]); 3] = [
        (WhenKnown::Join, &[&[1, 2, 3, 4]]),
        (WhenKnown::First, &[&[1], &[2, 3, 4]]),
        (WhenKnown::Never, &[&[1], &[2, 4], &[3]]),
    ];
    for (when, expected) in cases {
        let mut rules = rules();
        rules.identifiers[3].weak = false;
        rules.identifiers[3].anonymous = Some(when);
        assert_eq!(groups_of(&rules, 4, &edges), expected, "{when:?}");
    }
}

#[test]
fn an_anonymous_record_joins_no_second_person_through_another_anonymous_identifier() {
    let mut rules = rules();
    for kind in [2, 3] {
        rules.identifiers[kind].weak = false;
        rules.identifiers[kind].anonymous = Some(WhenKnown::First);
    }
    let edges = [(1, 1, 7), (1, 2, 5), (2, 2, 5), (2, 3, 6), (3, 1, 8), (3, 3, 6)];

    assert_eq!(groups(&rules, 3, &edges), [vec![1, 2], vec![3]]);
}

#[test]
fn values_are_counted_within_their_period() {
    let devices = |days: [i64; 3]| -> Vec<(u8, u16, u8, i64)> {
        (1..=3).zip(days).flat_map(|(node, day)| [(node, 0, 1, day), (node, 3, node, day)]).collect()
    };
    let reason = "`device` would have more than 2 values a week".to_owned();

    assert_eq!(limited(&narrow_rules(), 3, &devices([0, 6, 3])), (1, vec![(2, 3, 2, reason)]));
    assert_eq!(limited(&narrow_rules(), 3, &devices([0, 7, 3])), (1, vec![]));
}

#[test]
fn a_node_that_alone_has_too_many_values_may_join_one_that_adds_none() {
    let edges = [(1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (2, 1, 1), (3, 1, 2), (3, 1, 5)];

    assert_eq!(groups(&rules(), 3, &edges), [vec![1, 2], vec![3]]);
}

#[test]
fn a_profile_has_no_more_nodes_than_the_limit() {
    let edges: Vec<(u8, u16, u8)> = (1..=9).flat_map(|node| [(node, 1, node / 4), (node, 2, 9)]).collect();
    let rules = IdentityRules { limits: IdentityLimits { profile_nodes_max: 4, fanout_max: 6 }, ..rules() };

    let found = groups(&rules, 9, &edges);

    assert_eq!(found.iter().map(Vec::len).max(), Some(4), "{found:?}");
}

#[test]
fn a_value_on_too_many_nodes_is_blocked_and_joins_nobody() {
    let nodes: Vec<ResolveNode> = (1..=7).map(node).collect();
    let edges: Vec<Edge> = (1..=7).map(|number| edge(number, 1, 9)).collect();

    let resolution = run(&rules(), &nodes, &edges, &[]);

    let blocked = BlockedIdentifier { kind: 1, value: value(9), reason: "fan-out".to_owned(), nodes: 7 };
    assert_eq!((resolution.blocked.as_slice(), resolution.created.len()), (&[blocked][..], 7));
}

#[test]
fn a_blocked_value_joins_nobody_and_is_not_reported_again() {
    let blocked = BlockedIdentifier { kind: 1, value: value(9), reason: "fan-out".to_owned(), nodes: 7 };

    let resolution = run(&rules(), &[node(1), node(2)], &[edge(1, 1, 9), edge(2, 1, 9)], &[blocked]);

    assert_eq!((resolution.created.len(), resolution.blocked.len(), resolution.links.len()), (2, 0, 0));
}

#[test]
fn a_new_profile_has_the_id_of_its_oldest_node() {
    let resolution = run(&rules(), &[node(3), node(2)], &[edge(2, 1, 9), edge(3, 1, 9)], &[]);

    assert_eq!(resolution.created, [own_id(2)]);
    assert_eq!(resolution.assignments, [(NodeId(2), own_id(2)), (NodeId(3), own_id(2))]);
}

#[test]
fn the_oldest_profile_survives_a_merge_and_the_other_becomes_its_alias() {
    let known = |number| ResolveNode { profile: Some(own_id(number)), ..node(number) };

    let resolution = run(&rules(), &[known(5), known(4)], &[edge(4, 1, 9), edge(5, 1, 9)], &[]);

    assert_eq!(resolution.aliases, [(own_id(5), own_id(4))]);
    assert_eq!(resolution.assignments, [(NodeId(5), own_id(4))]);
    assert_eq!(resolution.touched, [NodeId(4), NodeId(5)]);
    assert!(resolution.created.is_empty() && resolution.splits.is_empty());
}

#[test]
fn a_split_leaves_the_id_with_the_oldest_node_and_gives_the_rest_their_own() {
    let together = |number| ResolveNode { profile: Some(own_id(1)), ..node(number) };

    let resolution = run(&rules(), &[together(1), together(2), together(3)], &[edge(2, 1, 9), edge(3, 1, 9)], &[]);

    assert_eq!(resolution.created, [own_id(2)]);
    assert_eq!(resolution.splits, [Split { from: own_id(1), into: own_id(2) }]);
    assert_eq!(resolution.touched, [NodeId(1), NodeId(2), NodeId(3)]);
}

#[test]
fn a_profile_that_is_merged_and_split_again_has_its_first_id_back() {
    let mut nodes = [node(1), node(2)];
    let alone = [edge(1, 2, 1), edge(2, 2, 2)];
    let together = [edge(1, 1, 9), edge(2, 1, 9)];
    let ids = |nodes: &[ResolveNode; 2]| nodes.map(|node| node.profile);
    let resolution = run(&rules(), &nodes, &alone, &[]);
    apply(&mut nodes, &resolution);
    let before = ids(&nodes);

    for edges in [&together, &alone] {
        let resolution = run(&rules(), &nodes, edges, &[]);
        apply(&mut nodes, &resolution);
    }

    assert_eq!(ids(&nodes), before);
}

#[test]
fn edges_of_kinds_without_a_rule_and_of_unknown_nodes_are_ignored() {
    let kinds = ["email".to_owned(), "fax".to_owned()];
    let edges = [edge(1, 1, 9), edge(2, 1, 9), edge(1, 0, 8), edge(77, 0, 8), edge(1, 5, 8)];

    let input = ResolveInput { rules: &rules(), kinds: &kinds, nodes: &[node(1), node(2)], edges: &edges, blocked: &[] };

    assert_eq!(resolve(&input).created.len(), 2);
}
