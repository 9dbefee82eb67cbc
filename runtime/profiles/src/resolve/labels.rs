//! Which profile each component is: ids live on where they can. A component keeps the oldest of the profiles that are
//! or were its own; a profile whose nodes fell apart stays with the node that founded it, the other parts get ids of their
//! own, which are younger. So what is parted and joined again has the id that it had.

use affluent_model::identity::{NodeId, ProfileId};

use super::components::Partition;
use super::index::NodeOrder;
use super::{ResolveNode, Split};

/// A component without a profile.
const NONE: ProfileId = ProfileId(u128::MAX);

/// What changed in the labels.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) assignments: Vec<(NodeId, ProfileId)>,
    pub(super) created: Vec<ProfileId>,
    pub(super) aliases: Vec<(ProfileId, ProfileId)>,
    pub(super) splits: Vec<Split>,
    pub(super) touched: Vec<NodeId>,
}

/// A profile that exists, and the component that it is in from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Heir {
    profile: ProfileId,
    component: u32,
}

/// Gives every component its profile and tells what changed.
pub(super) fn label(nodes: &[ResolveNode], order: &NodeOrder, partition: &Partition, former: &[ProfileId]) -> Labels {
    let members = Members { nodes, components: components_in_order(order, partition) };
    let heirs = heirs(&members);
    let returning = returning(&members, &heirs, former);
    let mut labels = Labels::default();
    let mut profile_of = vec![NONE; partition.count as usize];
    for heir in heirs.iter().chain(&returning) {
        if let Some(profile) = profile_of.get_mut(heir.component as usize) {
            *profile = heir.profile.min(*profile);
        }
    }
    for heir in &heirs {
        let survivor = get(&profile_of, heir.component);
        if survivor != heir.profile {
            labels.aliases.push((heir.profile, survivor));
        }
    }
    labels
        .created
        .extend(returning.iter().filter(|heir| get(&profile_of, heir.component) == heir.profile).map(|heir| heir.profile));
    create_profiles(&members, &heirs, &mut profile_of, &mut labels.created);
    tell_changes(&members, &heirs, &profile_of, &mut labels);
    labels
}

/// The existing profiles, ascending, each with the component of its founder: the node its id was made of, else its
/// oldest node.
fn heirs(members: &Members<'_>) -> Vec<Heir> {
    let mut members: Vec<(ProfileId, ProfileId, u32)> =
        members.iter().filter_map(|(node, component)| Some((node.profile?, own_id(node), component))).collect();
    members.sort_unstable();
    let profiles = members.chunk_by(|a, b| a.0 == b.0);
    profiles
        .filter_map(|members| {
            let (profile, _, oldest) = members.first()?;
            let founder = members.iter().find(|(_, own, _)| own == profile);
            Some(Heir { profile: *profile, component: founder.map_or(*oldest, |(_, _, component)| *component) })
        })
        .collect()
}

/// Profiles that were merged away, each with the component of its founder.
fn returning(members: &Members<'_>, heirs: &[Heir], former: &[ProfileId]) -> Vec<Heir> {
    if former.is_empty() {
        return Vec::new();
    }
    let is_former = |id: &ProfileId| former.binary_search(id).is_ok();
    let is_alive = |id: &ProfileId| heirs.binary_search_by_key(id, |heir| heir.profile).is_ok();
    let founders = members.iter().map(|(node, component)| Heir { profile: own_id(node), component });
    founders.filter(|heir| is_former(&heir.profile) && !is_alive(&heir.profile)).collect()
}

fn create_profiles(members: &Members<'_>, heirs: &[Heir], profile_of: &mut [ProfileId], created: &mut Vec<ProfileId>) {
    let is_labelled: Vec<bool> = profile_of.iter().map(|profile| *profile != NONE).collect();
    let older = profiles_left(members, profile_of.len());
    for (node, component) in members.iter() {
        let (own, left) = (own_id(node), get(&older, component));
        if is_labelled.get(component as usize) == Some(&false)
            && (left == NONE || own > left)
            && let Some(profile) = profile_of.get_mut(component as usize)
        {
            *profile = own.min(*profile);
        }
    }
    for (component, (profile, is_labelled)) in (0..).zip(profile_of.iter_mut().zip(&is_labelled)) {
        if *is_labelled {
            continue;
        }
        // Without a younger founder the id is made up; few components are so.
        let is_made_up = *profile == NONE;
        if is_made_up {
            *profile = ProfileId(get(&older, component).0.wrapping_add(1));
        }
        // An id in use belongs to its founder's component, so it can only be taken here if the founder's assignment
        // was lost.
        while heirs.binary_search_by_key(profile, |heir| heir.profile).is_ok() || (is_made_up && created.contains(profile)) {
            *profile = ProfileId(profile.0.wrapping_add(1));
        }
        created.push(*profile);
    }
    created.sort_unstable();
}

/// The youngest profile that nodes of each component have; `NONE` where all are new.
fn profiles_left(members: &Members<'_>, components_count: usize) -> Vec<ProfileId> {
    let mut left = vec![NONE; components_count];
    for (node, component) in members.iter() {
        if let (Some(before), Some(slot)) = (node.profile, left.get_mut(component as usize)) {
            *slot = if *slot == NONE { before } else { before.max(*slot) };
        }
    }
    left
}

fn tell_changes(members: &Members<'_>, heirs: &[Heir], profile_of: &[ProfileId], labels: &mut Labels) {
    let mut is_touched = vec![false; profile_of.len()];
    let mut touch = |component: u32| {
        if let Some(touched) = is_touched.get_mut(component as usize) {
            *touched = true;
        }
    };
    for (node, component) in members.iter() {
        let profile = get(profile_of, component);
        if node.profile == Some(profile) {
            continue;
        }
        labels.assignments.push((node.node, profile));
        touch(component);
        let Some(before) = node.profile else { continue };
        let heir = heirs.binary_search_by_key(&before, |heir| heir.profile).ok().and_then(|at| heirs.get(at));
        if let Some(heir) = heir.filter(|heir| heir.component != component) {
            touch(heir.component);
            labels.splits.push(Split { from: get(profile_of, heir.component), into: profile });
        }
    }
    let touched =
        members.iter().filter(|(_, component)| is_touched.get(*component as usize) == Some(&true)).map(|(node, _)| node.node);
    labels.touched.extend(touched);
    labels.touched.sort_unstable();
    labels.assignments.sort_unstable();
    labels.splits.sort_unstable();
    labels.splits.dedup();
}

/// The id that a profile founded by this node has; older nodes have smaller ones.
#[must_use]
pub fn own_id(node: &ResolveNode) -> ProfileId {
    ProfileId::of_node(node.first_seen_ms, &node.key)
}

/// The nodes as they were given, which is mostly by age, each with its component: what is told of them needs no order, and to
/// walk them in the canonical one costs a look into far memory for each.
struct Members<'a> {
    nodes: &'a [ResolveNode],
    /// By position in `nodes`.
    components: Vec<u32>,
}

impl<'a> Members<'a> {
    fn iter(&self) -> impl Iterator<Item = (&'a ResolveNode, u32)> {
        self.nodes.iter().zip(self.components.iter().copied())
    }
}

fn components_in_order(order: &NodeOrder, partition: &Partition) -> Vec<u32> {
    let mut components = vec![0; order.len()];
    for (position, component) in order.positions().iter().zip(&partition.component_of) {
        if let Some(slot) = components.get_mut(*position as usize) {
            *slot = *component;
        }
    }
    components
}

fn get(profile_of: &[ProfileId], component: u32) -> ProfileId {
    profile_of.get(component as usize).copied().unwrap_or(NONE)
}
