//! Reading the identity graph; writing it is in `resolution`, closing it in `graph`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, Edge, Link, NodeId, ProfileId};
use rusqlite::{Connection, OptionalExtension, params};

use super::computed::{profile_bytes, profile_of};
use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, value_prefix};
use super::nodes::{ASSIGNMENTS, Labelled};
use super::{SqliteLedger, collect, edges, graph, links, profiles, resolution, unknown};
use crate::contract::identity::{Identity, KeptApart, Neighbourhood, NodeRow, ResolutionCommit, Unknown};
use crate::contract::runs::Lease;
use crate::error::{StoreResult, too_many_kinds};

impl Identity for SqliteLedger {
    fn identifier_kinds(&self, names: &[String]) -> Result<Vec<u16>> {
        self.write(|transaction| names.iter().map(|name| kind_number(transaction, name)).collect())
    }

    fn identifier_kind_names(&self) -> Result<Vec<(u16, String)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT kind, name FROM identifier_kind ORDER BY kind")?;
            collect(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn neighbourhood(&self, nodes: &[NodeId], values: &[(u16, BlindIndex)]) -> Result<Neighbourhood> {
        self.read(|connection| graph::neighbourhood(connection, nodes, values))
    }

    fn unknown(&self, nodes: Vec<NodeId>, edges: Vec<Edge>) -> Result<Unknown> {
        self.read(|connection| unknown::unknown(connection, nodes, edges))
    }

    fn whole_graph(&self) -> Result<Neighbourhood> {
        self.read(graph::whole)
    }

    fn commit_resolution(&self, lease: &Lease, commit: &ResolutionCommit) -> Result<()> {
        let rows = commit.edges.len().max(commit.assignments.len());
        self.write_rows(lease, rows, |transaction| resolution::commit(transaction, commit))
    }

    fn assignments(&self, visit: &mut dyn FnMut(NodeId, ProfileId) -> Result<()>) -> Result<()> {
        self.read(|connection| {
            ASSIGNMENTS.each(connection, NodeId(0), &mut |node, profile| Ok(visit(node, profile_of(*profile)).map(|()| true)?))
        })
    }

    fn assignments_of(&self, nodes: &[NodeId], profiles: &[ProfileId]) -> Result<Vec<(NodeId, ProfileId)>> {
        self.read(|connection| {
            let mut wanted: Vec<[u8; 16]> = profiles.iter().map(|profile| profile_bytes(*profile)).collect();
            let mut assignments = ASSIGNMENTS.reader(connection)?;
            for node in nodes {
                wanted.extend(assignments.get(*node)?);
            }
            wanted.sort_unstable();
            wanted.dedup();
            let mut assigned = Vec::with_capacity(wanted.len());
            let mut finder = ASSIGNMENT_BY_PROFILE.finder(connection)?;
            for profile in wanted {
                finder.each_node(&profile, |node| assigned.push((node, profile_of(profile))))?;
            }
            assigned.sort_unstable();
            Ok(assigned)
        })
    }

    fn profile_count(&self) -> Result<u64> {
        self.read(profiles::count)
    }

    fn find_profiles(&self, kind: u16, value: &BlindIndex) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let mut nodes = Vec::new();
            EDGE_BY_VALUE.each_node(connection, &value_prefix(kind, value)?, |node| nodes.push(node))?;
            let mut assignments = ASSIGNMENTS.reader(connection)?;
            let mut profiles = BTreeSet::new();
            for node in nodes {
                profiles.extend(assignments.get(node)?.map(|profile| profile_of(*profile)));
            }
            Ok(profiles.into_iter().collect())
        })
    }

    fn resolve_alias(&self, profile: ProfileId) -> Result<ProfileId> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT new FROM profile_alias WHERE old = ?1")?;
            let alive = statement.query_row([profile_bytes(profile)], |row| Ok(profile_of(row.get(0)?))).optional()?;
            Ok(alive.unwrap_or(profile))
        })
    }

    fn former_profiles(&self, ids: &[ProfileId]) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let mut former = Vec::new();
            if connection.prepare_cached("SELECT 1 FROM profile_alias LIMIT 1")?.exists([])? {
                let mut find = connection.prepare_cached("SELECT 1 FROM profile_alias WHERE old = ?1")?;
                for id in ids.iter().copied().collect::<BTreeSet<_>>() {
                    if find.exists([profile_bytes(id)])? {
                        former.push(id);
                    }
                }
            }
            Ok(former)
        })
    }

    fn nodes_of(&self, profile: ProfileId) -> Result<Vec<NodeRow>> {
        self.read(|connection| {
            let mut members = Vec::new();
            ASSIGNMENT_BY_PROFILE.each_node(connection, &profile_bytes(profile), |node| members.push(node))?;
            let mut labelled = Labelled::new(connection)?;
            let mut nodes = Vec::with_capacity(members.len());
            for node in members {
                nodes.extend(labelled.get(node)?.filter(|row| row.profile.is_some()));
            }
            Ok(nodes)
        })
    }

    fn edges_of(&self, nodes: &[NodeId]) -> Result<Vec<Edge>> {
        self.read(|connection| {
            let wanted: BTreeSet<NodeId> = nodes.iter().copied().collect();
            let mut edges = Vec::new();
            let mut finder = edges::Finder::new(connection)?;
            for node in wanted {
                finder.read(node, &mut edges)?;
            }
            Ok(edges)
        })
    }

    fn kept_apart(&self, limit: usize) -> Result<Vec<KeptApart>> {
        self.read(|connection| {
            let [mut ones, mut others] = [ASSIGNMENTS.reader(connection)?, ASSIGNMENTS.reader(connection)?];
            let mut apart = Apart::default();
            links::each_refused(connection, &mut |node_a, node_b, refused_by| {
                if let (Some(one), Some(other)) = (ones.get(node_a)?, others.get(node_b)?)
                    && (one != other || node_a == node_b)
                {
                    apart.count(refused_by, *one.min(other), *one.max(other));
                }
                Ok(())
            })?;
            apart.most(connection, limit)
        })
    }

    fn links_of(&self, nodes: &[NodeId]) -> Result<Vec<Link>> {
        self.read(|connection| {
            let mut links = links::of(connection, nodes)?;
            links.sort_by(|x, y| link_order(x).cmp(&link_order(y)));
            Ok(links)
        })
    }
}

/// How many links are refused between two profiles, or of one, by the number of what refused them.
#[derive(Default)]
struct Apart(HashMap<i64, HashMap<Pair, u64>>);

type Pair = ([u8; 16], [u8; 16]);

impl Apart {
    fn count(&mut self, refused_by: i64, one: [u8; 16], other: [u8; 16]) {
        *self.0.entry(refused_by).or_default().entry((one, other)).or_default() += 1;
    }

    /// Those with most links, `limit` at most of each reason, by reason.
    fn most(self, connection: &Connection, limit: usize) -> StoreResult<Vec<KeptApart>> {
        let mut by_reason = BTreeMap::new();
        for (refused_by, pairs) in self.0 {
            let mut pairs: Vec<(Reverse<u64>, Pair)> = pairs.into_iter().map(|(pair, links)| (Reverse(links), pair)).collect();
            pairs.sort_unstable();
            pairs.truncate(limit);
            by_reason.insert(links::word(connection, refused_by)?, pairs);
        }
        let kept = |(reason, pairs): (String, Vec<(Reverse<u64>, Pair)>)| {
            pairs.into_iter().map(move |(Reverse(links), (one, other))| {
                let other = (one != other).then(|| profile_of(other));
                KeptApart { reason: reason.clone(), one: profile_of(one), other, links }
            })
        };
        Ok(by_reason.into_iter().flat_map(kept).collect())
    }
}

fn kind_number(connection: &Connection, name: &str) -> StoreResult<u16> {
    let mut find = connection.prepare_cached("SELECT kind FROM identifier_kind WHERE name = ?1")?;
    if let Some(kind) = find.query_row([name], |row| row.get(0)).optional()? {
        return Ok(kind);
    }
    let sql = "SELECT coalesce(max(kind) + 1, 0) FROM identifier_kind";
    let next: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let kind = u16::try_from(next).ok().filter(|kind| *kind < u16::MAX).ok_or_else(too_many_kinds)?;
    connection.prepare_cached("INSERT INTO identifier_kind (kind, name) VALUES (?1, ?2)")?.execute(params![kind, name])?;
    Ok(kind)
}

fn link_order(link: &Link) -> (NodeId, NodeId, &str, u16, &BlindIndex) {
    (link.node_a, link.node_b, &link.rule, link.kind, &link.value)
}
