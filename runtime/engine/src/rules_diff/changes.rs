//! Profile by profile: who takes in whom, who loses records to whom, and by which links.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::identity::{Link, LinkVerdict, NO_KIND, NodeId, ProfileId};
use affluent_profiles::resolve::{Resolution, ResolveNode};

use super::{ChangeKind, ProfileChange};
use crate::decisions::masked;

/// Profiles, reasons and identifiers that are named for one change.
const NAMED_MAX: usize = 5;

/// All changes, those of most records first.
pub(super) fn changes(nodes: &[ResolveNode], resolution: &Resolution, kinds: &[String]) -> Vec<ProfileChange> {
    let labels = Labels::new(nodes, resolution);
    let flows = Flows::of(&labels);
    let alias: BTreeMap<ProfileId, ProfileId> = resolution.aliases.iter().copied().collect();
    let told = Told::of(&resolution.links, &labels, kinds);
    let mut changes: Vec<(u64, ProfileChange)> = Vec::new();
    let mut taken: BTreeMap<ProfileId, Vec<(ProfileId, u64)>> = BTreeMap::new();
    for (old, new) in &alias {
        taken.entry(*new).or_default().push((*old, flows.size_before(*old)));
    }
    for (profile, others) in taken {
        changes.push(flows.change(ChangeKind::Merge, profile, others, told.joining.get(&profile)));
    }
    let created: BTreeSet<&ProfileId> = resolution.created.iter().collect();
    for (before, after) in &flows.after {
        let kept = alias.get(before).unwrap_or(before);
        let others: Vec<(ProfileId, u64)> = after.iter().filter(|(profile, _)| *profile != kept).map(|(p, n)| (*p, *n)).collect();
        if others.is_empty() {
            continue;
        }
        let is_split = others.iter().any(|(profile, _)| created.contains(profile));
        let kind = if is_split { ChangeKind::Split } else { ChangeKind::Move };
        changes.push(flows.change(kind, *before, others, told.parting.get(before)));
    }
    changes.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.profile.cmp(&other.profile)));
    changes.into_iter().map(|(_, change)| change).collect()
}

/// Profiles of the nodes, before and after.
struct Labels<'a> {
    nodes: &'a [ResolveNode],
    after: Vec<Option<ProfileId>>,
}

impl<'a> Labels<'a> {
    /// `nodes` are by id.
    fn new(nodes: &'a [ResolveNode], resolution: &Resolution) -> Self {
        let mut labels = Self { nodes, after: nodes.iter().map(|node| node.profile).collect() };
        for (node, profile) in &resolution.assignments {
            if let Some(slot) = labels.place(*node).and_then(|place| labels.after.get_mut(place)) {
                *slot = Some(*profile);
            }
        }
        labels
    }

    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&node, |row| row.node).ok()
    }

    /// The profile of a node before, and after.
    fn of(&self, node: NodeId) -> Option<(Option<ProfileId>, ProfileId)> {
        let place = self.place(node)?;
        Some((self.nodes.get(place)?.profile, self.after.get(place).copied().flatten()?))
    }
}

/// How many records go from which profile to which.
#[derive(Default)]
struct Flows {
    /// Before → after → records.
    after: BTreeMap<ProfileId, BTreeMap<ProfileId, u64>>,
    sizes_after: BTreeMap<ProfileId, u64>,
}

impl Flows {
    fn of(labels: &Labels<'_>) -> Self {
        let mut flows = Self::default();
        for (node, after) in labels.nodes.iter().zip(&labels.after) {
            let Some(after) = after else { continue };
            *flows.sizes_after.entry(*after).or_default() += 1;
            if let Some(before) = node.profile {
                *flows.after.entry(before).or_default().entry(*after).or_default() += 1;
            }
        }
        flows
    }

    fn size_before(&self, profile: ProfileId) -> u64 {
        self.after.get(&profile).map_or(0, |after| after.values().sum())
    }

    /// A change with the records that it is about.
    fn change(
        &self,
        change: ChangeKind,
        profile: ProfileId,
        mut others: Vec<(ProfileId, u64)>,
        told: Option<&Reasons>,
    ) -> (u64, ProfileChange) {
        let records = others.iter().map(|(_, records)| records).sum();
        others.sort_by(|(one, a), (other, b)| b.cmp(a).then(one.cmp(other)));
        let named = |texts: Option<&BTreeSet<String>>| texts.into_iter().flatten().take(NAMED_MAX).cloned().collect();
        let mut because: Vec<String> = named(told.map(|told| &told.because));
        if because.is_empty() {
            because.push("no rule joins them".to_owned());
        }
        let row = ProfileChange {
            change,
            profile: profile.to_string(),
            records_before: self.size_before(profile),
            records_after: self.sizes_after.get(&profile).copied().unwrap_or(0),
            others: others.iter().take(NAMED_MAX).map(|(profile, records)| (profile.to_string(), *records)).collect(),
            because,
            identifiers: named(told.map(|told| &told.identifiers)),
        };
        (records, row)
    }
}

/// Why records of one profile, or of several, are joined or kept apart.
#[derive(Default)]
struct Reasons {
    because: BTreeSet<String>,
    identifiers: BTreeSet<String>,
}

#[derive(Default)]
struct Told {
    /// By profile after: links that join records of different profiles.
    joining: BTreeMap<ProfileId, Reasons>,
    /// By profile before: links within it that are refused and whose ends part.
    parting: BTreeMap<ProfileId, Reasons>,
}

impl Told {
    fn of(links: &[Link], labels: &Labels<'_>, kinds: &[String]) -> Self {
        let mut told = Self::default();
        for link in links {
            let Some(((before_a, after_a), (before_b, after_b))) = labels.of(link.node_a).zip(labels.of(link.node_b)) else {
                continue;
            };
            let reasons = match &link.verdict {
                LinkVerdict::Joined if before_a != before_b && before_a.is_some() && before_b.is_some() => {
                    let reasons = told.joining.entry(after_a).or_default();
                    reasons.because.insert(format!("`{}` joins", link.rule));
                    reasons
                }
                LinkVerdict::Refused(reason) if before_a == before_b && after_a != after_b => {
                    let Some(before) = before_a else { continue };
                    let reasons = told.parting.entry(before).or_default();
                    reasons.because.insert(format!("`{}` does not join: {reason}", link.rule));
                    reasons
                }
                _ => continue,
            };
            if link.kind != NO_KIND {
                let kind = kinds.get(usize::from(link.kind)).map_or("", String::as_str);
                reasons.identifiers.insert(format!("{kind} {}…", masked(&link.value)));
            }
        }
        told
    }
}
