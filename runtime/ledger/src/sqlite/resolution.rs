//! Writing a resolution: edges, labels, aliases and links in one transaction. Every table is written in the order of its
//! key, which for millions of rows is the difference between appending and jumping.

use std::collections::HashMap;

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, Link, LinkVerdict, NodeId, ProfileId};
use rusqlite::{Connection, OptionalExtension, params};

use super::bulk::{self, Insert};
use super::computed::profile_bytes;
use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, ValueEntry, member_entry, value_entry};
use super::{decisions, edges, profiles, signed, word_number};
use crate::contract::identity::ResolutionCommit;
use crate::error::StoreResult;

pub(super) fn commit(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    put_edges(connection, &resolution.edges)?;
    put_assignments(connection, resolution)?;
    put_profiles(connection, resolution)?;
    put_aliases(connection, resolution)?;
    replace_links(connection, &resolution.relinked_nodes, &resolution.links)?;
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
    let mut by_node: Vec<&Edge> = edges.iter().collect();
    by_node.sort_unstable();
    let inserted = edges::put(connection, &by_node)?;
    drop(by_node);
    let mut by_value = edges.iter().map(|edge| value_entry(edge.kind, &edge.value, edge.node)).collect::<Result<Vec<_>>>()?;
    by_value.sort_unstable();
    if inserted < edges.len() {
        keep_unknown(connection, &mut by_value)?;
    }
    EDGE_BY_VALUE.insert(connection, &by_value)?;
    Ok(())
}

/// Takes out the edges that the look-up by value holds.
fn keep_unknown(connection: &Connection, edges: &mut Vec<ValueEntry>) -> StoreResult<()> {
    let mut unknown = Vec::new();
    for edge in edges.drain(..) {
        if !EDGE_BY_VALUE.holds(connection, &edge)? {
            unknown.push(edge);
        }
    }
    *edges = unknown;
    Ok(())
}

fn put_assignments(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    let mut labels = resolution.assignments.clone();
    labels.sort_unstable();
    let moved = moved(connection, &labels)?;
    touch(connection, resolution, &moved)?;
    remove_outdated(connection, &moved)?;
    // `OR REPLACE` would have SQLite keep a journal of each statement.
    let insert = Insert { into: "INSERT OR IGNORE INTO assignment (node, profile)", columns: 2, then: "" };
    bulk::insert(connection, &insert, &labels, |(node, profile), row| {
        row.put(node.0)?;
        Ok(row.put(profile_bytes(*profile))?)
    })?;
    let members = moved.iter().map(|one| member_entry(&one.new, NodeId(one.node)));
    let mut members = members.collect::<Result<Vec<_>>>()?;
    drop(moved);
    members.sort_unstable();
    ASSIGNMENT_BY_PROFILE.insert(connection, &members)?;
    Ok(())
}

/// A node whose label is another than before.
struct Moved {
    node: i64,
    /// `None` = it had no label.
    old: Option<[u8; 16]>,
    new: [u8; 16],
}

fn moved(connection: &Connection, labels: &[(NodeId, ProfileId)]) -> StoreResult<Vec<Moved>> {
    if !connection.prepare_cached("SELECT 1 FROM assignment LIMIT 1")?.exists([])? {
        let new = |(node, profile): &(NodeId, ProfileId)| Moved { node: node.0, old: None, new: profile_bytes(*profile) };
        return Ok(labels.iter().map(new).collect());
    }
    let mut find = connection.prepare_cached("SELECT profile FROM assignment WHERE node = ?1")?;
    let mut moved = Vec::new();
    for (node, profile) in labels {
        let old: Option<[u8; 16]> = find.query_row([node.0], |row| row.get(0)).optional()?;
        let new = profile_bytes(*profile);
        if old != Some(new) {
            moved.push(Moved { node: node.0, old, new });
        }
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

/// Takes nodes out of the profiles they leave, in both directions.
fn remove_outdated(connection: &Connection, moved: &[Moved]) -> StoreResult<()> {
    let mut outdated: Vec<([u8; 16], i64)> = moved.iter().filter_map(|one| Some((one.old?, one.node))).collect();
    let mut remove = connection.prepare_cached("DELETE FROM assignment WHERE node = ?1")?;
    for (_, node) in &outdated {
        remove.execute([node])?;
    }
    outdated.sort_unstable();
    for (profile, node) in outdated {
        ASSIGNMENT_BY_PROFILE.remove(connection, &member_entry(&profile, NodeId(node))?)?;
    }
    Ok(())
}

/// Profiles come and go; one that comes back is no alias any more.
fn put_profiles(connection: &Connection, resolution: &ResolutionCommit) -> StoreResult<()> {
    for profile in resolution.removed.iter().chain(resolution.aliases.iter().map(|(old, _)| old)) {
        profiles::remove(connection, &profile_bytes(*profile))?;
    }
    let mut created = resolution.created.clone();
    created.sort_unstable();
    profiles::add(connection, created.iter().map(|profile| profile_bytes(*profile)))?;
    if connection.prepare_cached("SELECT 1 FROM profile_alias LIMIT 1")?.exists([])? {
        let mut revive = connection.prepare_cached("DELETE FROM profile_alias WHERE old = ?1")?;
        for profile in &created {
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

fn replace_links(connection: &Connection, relinked: &[NodeId], links: &[Link]) -> StoreResult<()> {
    if connection.prepare_cached("SELECT 1 FROM link LIMIT 1")?.exists([])? {
        let mut remove_a = connection.prepare_cached("DELETE FROM link WHERE node_a = ?1")?;
        let mut remove_b = connection.prepare_cached("DELETE FROM link WHERE node_b = ?1")?;
        for node in relinked {
            remove_a.execute([node.0])?;
            remove_b.execute([node.0])?;
        }
    }
    let mut rules: HashMap<&str, i64> = HashMap::new();
    let mut rows: Vec<(&Link, i64)> = Vec::with_capacity(links.len());
    for link in links {
        let rule = match rules.get(link.rule.as_str()) {
            Some(number) => *number,
            None => word_number(connection, &link.rule)?,
        };
        rules.insert(&link.rule, rule);
        rows.push((link, rule));
    }
    rows.sort_unstable_by_key(|(link, rule)| (link.node_a, link.node_b, *rule));
    let insert = Insert {
        into: "INSERT OR FAIL INTO link (node_a, node_b, rule, kind, value, refused_by)",
        columns: 6,
        then: "ON CONFLICT DO UPDATE SET refused_by = excluded.refused_by",
    };
    bulk::insert(connection, &insert, &rows, |(link, rule), row| {
        row.put(link.node_a.0)?;
        row.put(link.node_b.0)?;
        row.put(rule)?;
        row.put(link.kind)?;
        row.put(link.value)?;
        Ok(row.put(refused_by(&link.verdict))?)
    })?;
    Ok(())
}

fn refused_by(verdict: &LinkVerdict) -> Option<&str> {
    match verdict {
        LinkVerdict::Joined => None,
        LinkVerdict::Refused(by) => Some(by),
    }
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
