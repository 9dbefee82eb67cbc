//! Whose nodes are, as a resolution left it: who computes the profiles that it touched need not read the ledger for it again.

use std::collections::BTreeSet;

use affluent_model::identity::{NodeId, ProfileId};
use affluent_profiles::resolve::ResolveNode;

/// Nodes beyond which they are not kept: so many are seldom asked for again.
const NODES_MAX: usize = 200_000;

/// Some profiles, each with all its nodes.
#[derive(Default)]
pub(crate) struct Assignments {
    /// By node.
    by_node: Vec<(NodeId, ProfileId)>,
    /// The same, by profile.
    by_profile: Vec<(ProfileId, NodeId)>,
    /// With those that have no nodes any more.
    profiles: BTreeSet<ProfileId>,
}

impl Assignments {
    /// Those of nodes, which are by id and all that their profiles have, after they were `assigned`.
    pub(crate) fn new(nodes: &[ResolveNode], assigned: &[(NodeId, ProfileId)]) -> Self {
        if nodes.len() > NODES_MAX {
            return Self::default();
        }
        let mut assigned = assigned.to_vec();
        assigned.sort_unstable();
        let assigned_to =
            |node| assigned.binary_search_by_key(&node, |(node, _)| *node).ok().and_then(|place| assigned.get(place));
        let label = |row: &ResolveNode| Some((row.node, assigned_to(row.node).map(|(_, profile)| *profile).or(row.profile)?));
        let by_node: Vec<_> = nodes.iter().filter_map(label).collect();
        let mut by_profile: Vec<_> = by_node.iter().map(|(node, profile)| (*profile, *node)).collect();
        by_profile.sort_unstable();
        let profiles = by_profile.iter().map(|(profile, _)| *profile).chain(nodes.iter().filter_map(|row| row.profile));
        Self { profiles: profiles.collect(), by_node, by_profile }
    }

    /// The nodes of these profiles and of those that have one of `nodes`, by node; `None` where one of them is not known here.
    pub(crate) fn of(&self, nodes: &[NodeId], profiles: &[ProfileId]) -> Option<Vec<(NodeId, ProfileId)>> {
        let profile_of = |node: &NodeId| {
            let place = self.by_node.binary_search_by_key(node, |(node, _)| *node).ok()?;
            self.by_node.get(place).map(|(_, profile)| *profile)
        };
        let mut wanted: Vec<ProfileId> = nodes.iter().map(profile_of).collect::<Option<_>>()?;
        wanted.extend(profiles);
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.iter().all(|profile| self.profiles.contains(profile)) {
            return None;
        }
        let mut assigned = Vec::with_capacity(nodes.len());
        let mut rest = self.by_profile.iter().peekable();
        for profile in wanted {
            while rest.next_if(|(other, _)| *other < profile).is_some() {}
            while let Some((_, node)) = rest.next_if(|(other, _)| *other == profile) {
                assigned.push((*node, profile));
            }
        }
        assigned.sort_unstable();
        Some(assigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_told_with_all_their_nodes_or_not_at_all() {
        let id = |number: u8| ProfileId::parse(&format!("00000000-0000-4000-8000-0000000000{number:02x}")).unwrap();
        let node = |(node, profile): (i64, Option<u8>)| ResolveNode {
            node: NodeId(node),
            key: [1; 17],
            first_seen_ms: 0,
            profile: profile.map(id),
        };
        let nodes: Vec<ResolveNode> =
            [(1, Some(1)), (2, Some(1)), (3, Some(2)), (4, None), (5, None), (6, Some(3))].map(node).into();
        // The first two profiles become one with node 4.
        let assignments = Assignments::new(&nodes, &[(NodeId(3), id(1)), (NodeId(4), id(1))]);

        let cases: [(&[i64], &[u8], Option<&str>); 8] = [
            (&[], &[], Some("")),
            (&[3], &[], Some("1:1 2:1 3:1 4:1")),
            (&[6, 4], &[], Some("1:1 2:1 3:1 4:1 6:3")),
            (&[6], &[3], Some("6:3")),
            (&[], &[2], Some("")),
            (&[5], &[], None),
            (&[7], &[], None),
            (&[6], &[4], None),
        ];
        for (nodes, profiles, expected) in cases {
            let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
            let profiles: Vec<ProfileId> = profiles.iter().copied().map(id).collect();
            let told = assignments.of(&nodes, &profiles);
            let number = |profile: &ProfileId| (1..4).find(|number| id(*number) == *profile).unwrap();
            let told =
                told.map(|told| told.iter().map(|(node, profile)| format!("{}:{}", node.0, number(profile))).collect::<Vec<_>>());
            assert_eq!(told.map(|told| told.join(" ")).as_deref(), expected, "{nodes:?} {profiles:?}");
        }
    }
}
