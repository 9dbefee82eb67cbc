//! Reading the identity graph; writing it is in `resolution`, closing it in `graph`.

use std::collections::BTreeSet;
use std::sync::Arc;

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, Edge, Link, LinkVerdict, NodeId, ProfileId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::computed::{profile_bytes, profile_of};
use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, value_prefix};
use super::{SqliteLedger, collect, count_at, edges, graph, limit_of, profiles, resolution, unknown};
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

    fn unknown(&self, nodes: &[NodeId], edges: &[Edge]) -> Result<Unknown> {
        self.read(|connection| unknown::unknown(connection, nodes, edges))
    }

    fn whole_graph(&self) -> Result<Neighbourhood> {
        self.read(graph::whole)
    }

    fn commit_resolution(&self, lease: &Lease, commit: &ResolutionCommit) -> Result<()> {
        self.write_fenced(lease, |transaction| resolution::commit(transaction, commit))
    }

    fn assignments(&self, visit: &mut dyn FnMut(NodeId, ProfileId) -> Result<()>) -> Result<()> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT node, profile FROM assignment ORDER BY node")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(NodeId(row.get(0)?), profile_of(row.get(1)?))?;
            }
            Ok(())
        })
    }

    fn assignments_of(&self, nodes: &[NodeId], profiles: &[ProfileId]) -> Result<Vec<(NodeId, ProfileId)>> {
        self.read(|connection| {
            let mut wanted: Vec<[u8; 16]> = profiles.iter().map(|profile| profile_bytes(*profile)).collect();
            let mut find = connection.prepare_cached("SELECT profile FROM assignment WHERE node = ?1")?;
            for node in nodes {
                wanted.extend(find.query_row([node.0], |row| row.get::<_, [u8; 16]>(0)).optional()?);
            }
            wanted.sort_unstable();
            wanted.dedup();
            let mut assigned = Vec::with_capacity(wanted.len());
            for profile in wanted {
                ASSIGNMENT_BY_PROFILE.each_node(connection, &profile, |node| assigned.push((node, profile_of(profile))))?;
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
            let mut find = connection.prepare_cached("SELECT profile FROM assignment WHERE node = ?1")?;
            let mut profiles = BTreeSet::new();
            for node in nodes {
                profiles.extend(find.query_row([node.0], |row| Ok(profile_of(row.get(0)?))).optional()?);
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
            let sql = "SELECT n.node, n.key, n.source, n.first_seen_us, a.profile
                FROM node n JOIN assignment a ON a.node = n.node WHERE n.node = ?1";
            let mut sources = Sources::new(connection)?;
            let mut statement = connection.prepare_cached(sql)?;
            let mut nodes = Vec::with_capacity(members.len());
            for node in members {
                nodes.extend(statement.query_row([node.0], |row| node_row(row, &mut sources)).optional()?);
            }
            Ok(nodes)
        })
    }

    fn edges_of(&self, nodes: &[NodeId]) -> Result<Vec<Edge>> {
        self.read(|connection| {
            let wanted: BTreeSet<NodeId> = nodes.iter().copied().collect();
            let mut edges = Vec::new();
            for node in wanted {
                edges::read(connection, node, &mut edges)?;
            }
            Ok(edges)
        })
    }

    fn kept_apart(&self, limit: usize) -> Result<Vec<KeptApart>> {
        self.read(|connection| {
            let sql = "WITH pair AS (
                    SELECT l.refused_by AS reason, min(a.profile, b.profile) AS one, max(a.profile, b.profile) AS other,
                        count(*) AS links
                    FROM link l JOIN assignment a ON a.node = l.node_a JOIN assignment b ON b.node = l.node_b
                    WHERE l.refused_by IS NOT NULL AND (a.profile <> b.profile OR l.node_a = l.node_b) GROUP BY 1, 2, 3
                ), ranked AS (
                    SELECT *, row_number() OVER (PARTITION BY reason ORDER BY links DESC, one, other) AS place FROM pair
                )
                SELECT reason, one, other, links FROM ranked WHERE place <= ?1 ORDER BY reason, place";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([limit_of(limit)], |row| {
                let (one, other) = (profile_of(row.get(1)?), profile_of(row.get(2)?));
                let other = (one != other).then_some(other);
                Ok(KeptApart { reason: row.get(0)?, one, other, links: count_at(row, 3)? })
            })?)
        })
    }

    fn links_of(&self, nodes: &[NodeId]) -> Result<Vec<Link>> {
        self.read(|connection| {
            let sql = "SELECT l.node_a, l.node_b, w.text, l.kind, l.value, l.refused_by
                FROM (SELECT * FROM link WHERE node_a = ?1 UNION SELECT * FROM link WHERE node_b = ?1) l
                JOIN word w ON w.word = l.rule";
            let mut statement = connection.prepare_cached(sql)?;
            let mut links = Vec::new();
            for node in nodes.iter().copied().collect::<BTreeSet<_>>() {
                links.append(&mut collect(statement.query_map([node.0], link_row)?)?);
            }
            links.sort_by(|x, y| link_order(x).cmp(&link_order(y)));
            links.dedup();
            Ok(links)
        })
    }
}

/// Names of connections by their number, shared by all rows that name one.
pub(super) struct Sources<'a> {
    statement: CachedStatement<'a>,
    known: Vec<(i64, Arc<str>)>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(connection: &'a Connection) -> StoreResult<Self> {
        let statement = connection.prepare_cached("SELECT text FROM word WHERE word = ?1")?;
        Ok(Self { statement, known: Vec::new() })
    }

    fn name(&mut self, number: i64) -> rusqlite::Result<Arc<str>> {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(name));
        }
        let name: String = self.statement.query_row([number], |row| row.get(0))?;
        let name: Arc<str> = name.into();
        self.known.push((number, Arc::clone(&name)));
        Ok(name)
    }
}

/// A node with its label; of columns `n.node, n.key, n.source, n.first_seen_us, a.profile`.
pub(super) fn node_row(row: &Row<'_>, sources: &mut Sources<'_>) -> rusqlite::Result<NodeRow> {
    let profile: Option<[u8; 16]> = row.get(4)?;
    Ok(NodeRow {
        node: NodeId(row.get(0)?),
        key: row.get(1)?,
        source: sources.name(row.get(2)?)?,
        first_seen_us: row.get(3)?,
        profile: profile.map(profile_of),
    })
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

fn link_row(row: &Row<'_>) -> rusqlite::Result<Link> {
    let refused_by: Option<String> = row.get(5)?;
    Ok(Link {
        node_a: NodeId(row.get(0)?),
        node_b: NodeId(row.get(1)?),
        rule: row.get(2)?,
        kind: row.get(3)?,
        value: row.get(4)?,
        verdict: refused_by.map_or(LinkVerdict::Joined, LinkVerdict::Refused),
    })
}
