//! Writing a resolution: edges, labels, aliases and links in one transaction. Every table is written in the order of its
//! key, which for millions of rows is the difference between appending and jumping.

use std::borrow::Cow;
use std::collections::HashMap;

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, NodeId, ProfileId};
use rusqlite::{Connection, params};

use super::bulk::{self, Insert};
use super::computed::profile_bytes;
use super::filter::Filter;
use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, NODE_BY_KEY, ValueEntry, member_entry, value_entry};
use super::nodes::ASSIGNMENTS;
use super::{bordering, decisions, edges, profiles, relinking, signed, sorting};
use crate::contract::identity::ResolutionCommit;
use crate::error::StoreResult;

pub(super) fn commit(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    // First: what the keys leave takes up what follows.
    Filter::keep(connection, &NODE_BY_KEY.settle(connection)?)?;
    put_edges(connection, &resolution.edges)?;
    put_assignments(connection, resolution)?;
    put_profiles(connection, resolution)?;
    put_aliases(connection, resolution)?;
    relinking::replace(connection, &resolution.relinked_nodes, &resolution.links)?;
    bordering::replace(connection, &resolution.relinked_nodes, &resolution.bordering)?;
    put_blocked(connection, &resolution.blocked, &resolution.unblocked)?;
    let mut resolved = connection.prepare_cached("UPDATE file SET is_resolved = 1 WHERE id = ?1")?;
    for file in &resolution.resolved_files {
        resolved.execute([file])?;
    }
    match &resolution.decision {
        Some(change) => decisions::change(connection, change, resolution.now_us),
        None => Ok(()),
    }
}

/// Edges in the order of both look-ups.
fn put_edges(connection: &Connection, edges: &[Edge]) -> StoreResult<()> {
    let inserted = edges::put(connection, &sorted(edges))?;
    let mut by_value = edges.iter().map(|edge| value_entry(edge.kind, &edge.value, edge.node)).collect::<Result<Vec<_>>>()?;
    sorting::sort(&mut by_value);
    by_value.dedup();
    if inserted < by_value.len() {
        keep_unknown(connection, &mut by_value)?;
    }
    EDGE_BY_VALUE.insert(connection, &by_value)
}

/// The rows in their order, which they mostly have.
fn sorted<T: Clone + Ord>(rows: &[T]) -> Cow<'_, [T]> {
    if rows.is_sorted() {
        return Cow::Borrowed(rows);
    }
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    Cow::Owned(rows)
}

/// Takes out the edges that the look-up by value holds.
fn keep_unknown(connection: &Connection, edges: &mut Vec<ValueEntry>) -> StoreResult<()> {
    let mut unknown = Vec::new();
    let mut finder = EDGE_BY_VALUE.finder(connection)?;
    for edge in edges.drain(..) {
        if !finder.holds(&edge)? {
            unknown.push(edge);
        }
    }
    *edges = unknown;
    Ok(())
}

fn put_assignments(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    let moved = moved(connection, &sorted(&resolution.assignments))?;
    touch(connection, resolution, &moved)?;
    remove_outdated(connection, &moved)?;
    ASSIGNMENTS.put(connection, moved.iter().map(|one| (one.node, one.new)))?;
    let members = moved.iter().map(|one| member_entry(&one.new, one.node));
    let mut members = members.collect::<Result<Vec<_>>>()?;
    drop(moved);
    sorting::sort(&mut members);
    ASSIGNMENT_BY_PROFILE.insert(connection, &members)
}

/// A node whose label is another than before.
struct Moved {
    node: NodeId,
    /// `None` = it had no label.
    old: Option<[u8; 16]>,
    new: [u8; 16],
}

fn moved(connection: &Connection, labels: &[(NodeId, ProfileId)]) -> StoreResult<Vec<Moved>> {
    let mut assignments = ASSIGNMENTS.reader(connection)?;
    let mut moved = Vec::with_capacity(labels.len());
    for (node, profile) in labels {
        let (old, new) = (assignments.get(*node)?.copied(), profile_bytes(*profile));
        moved.extend((old != Some(new)).then_some(Moved { node: *node, old, new }));
    }
    Ok(moved)
}

/// Notes which profiles the snapshot has wrong from now on; before the first one there is nothing to be wrong.
fn touch(connection: &Connection, resolution: &ResolutionCommit, moved: &[Moved]) -> StoreResult<()> {
    if !connection.prepare_cached("SELECT 1 FROM snapshot LIMIT 1")?.exists([])? {
        return Ok(());
    }
    let gone = resolution.removed.iter().chain(resolution.aliases.iter().map(|(old, _)| old));
    let labels = moved.iter().flat_map(|one| one.old.into_iter().chain([one.new]));
    let mut touched: Vec<[u8; 16]> = gone.map(|profile| profile_bytes(*profile)).chain(labels).collect();
    touched.sort_unstable();
    touched.dedup();
    let insert = Insert { into: "INSERT OR IGNORE INTO profile_touched (profile)", columns: 1, then: "" };
    bulk::insert(connection, &insert, &touched, |profile, row| Ok(row.put(*profile)?))?;
    Ok(())
}

/// Takes nodes out of the profiles they leave.
fn remove_outdated(connection: &Connection, moved: &[Moved]) -> StoreResult<()> {
    let outdated = moved.iter().filter_map(|one| Some(member_entry(&one.old?, one.node)));
    let mut outdated = outdated.collect::<Result<Vec<_>>>()?;
    outdated.sort_unstable();
    ASSIGNMENT_BY_PROFILE.remove(connection, &outdated)
}

/// Profiles come and go; one that comes back is no alias any more.
fn put_profiles(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    let gone = resolution.removed.iter().chain(resolution.aliases.iter().map(|(old, _)| old));
    let mut gone: Vec<[u8; 16]> = gone.map(|profile| profile_bytes(*profile)).collect();
    gone.sort_unstable();
    profiles::remove(connection, &gone)?;
    let created = sorted(&resolution.created);
    profiles::add(connection, created.iter().map(|profile| profile_bytes(*profile)))?;
    if connection.prepare_cached("SELECT 1 FROM profile_alias LIMIT 1")?.exists([])? {
        let mut revive = connection.prepare_cached("DELETE FROM profile_alias WHERE old = ?1")?;
        for profile in &*created {
            revive.execute([profile_bytes(*profile)])?;
        }
    }
    Ok(())
}

/// Aliases point to living profiles only: an older alias of a profile that was merged now moves on with it.
fn put_aliases(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    let mut revive = connection.prepare_cached("DELETE FROM profile_alias WHERE old = ?1")?;
    let mut follow = connection.prepare_cached("UPDATE profile_alias SET new = ?2 WHERE new = ?1")?;
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO profile_alias (old, new, at_us) VALUES (?1, ?2, ?3)")?;
    let survivors = final_survivors(&resolution.aliases);
    for (_, new) in &survivors {
        revive.execute([profile_bytes(*new)])?;
    }
    for (old, new) in survivors {
        let (old, new) = (profile_bytes(old), profile_bytes(new));
        follow.execute(params![old, new])?;
        put.execute(params![old, new, resolution.now_us])?;
    }
    Ok(())
}

/// Follows chains inside one resolution (a into b, b into c), in whatever order they were given.
fn final_survivors(aliases: &[(ProfileId, ProfileId)]) -> Vec<(ProfileId, ProfileId)> {
    let next: HashMap<ProfileId, ProfileId> = aliases.iter().copied().collect();
    let follow = |mut profile: ProfileId| {
        for _ in 0..aliases.len() {
            match next.get(&profile) {
                Some(further) => profile = *further,
                None => break,
            }
        }
        profile
    };
    aliases.iter().map(|(old, new)| (*old, follow(*new))).filter(|(old, new)| old != new).collect()
}

fn put_blocked(connection: &Connection, blocked: &[BlockedIdentifier], unblocked: &[(u16, BlindIndex)]) -> StoreResult<()> {
    let mut remove = connection.prepare_cached("DELETE FROM blocked_identifier WHERE kind = ?1 AND value = ?2")?;
    for (kind, value) in unblocked {
        remove.execute(params![kind, value])?;
    }
    let sql = "INSERT OR REPLACE INTO blocked_identifier (kind, value, reason, nodes) VALUES (?1, ?2, ?3, ?4)";
    let mut put = connection.prepare_cached(sql)?;
    for BlockedIdentifier { kind, value, reason, nodes } in blocked {
        put.execute(params![kind, value, reason, signed(*nodes)?])?;
    }
    Ok(())
}
