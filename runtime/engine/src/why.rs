//! Why records are one person: the shortest chain of evidence between two of them, and what would fall apart without each
//! piece of it, found by resolving their neighbourhood once more without that piece.

use std::collections::BTreeSet;

use affluent_ledger::{Neighbourhood, NodeRow};
use affluent_model::identity::{BlindIndex, Edge, Link, NO_KIND, NodeId};
use affluent_model::plan::IdentityRules;
use affluent_model::{Error, Result};
use affluent_profiles::evidence::Evidence;
use affluent_profiles::explain::explain;
use affluent_profiles::resolve::{Knowledge, MUST_LINK, ResolveInput, ResolveNode, group};
use serde::Serialize;

use crate::decisions::{Standing, masked};
use crate::engine::Engine;
use crate::evidence::EvidenceReader;
use crate::refusals::{Refused, between};
use crate::unify::{kind_names, resolve_node};

/// Why two references are one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The shortest chain; empty when they are the same record.
    pub steps: Vec<WhyStep>,
    /// What holds without each piece of evidence of the chain; empty where a rule joins without an identifier, which only the
    /// whole graph could tell.
    pub without: Vec<Counterfactual>,
    /// What guard rails refused between them, where nothing joins them.
    pub refused: Vec<Refused>,
}

/// One step of the chain between two records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhyStep {
    pub rule: String,
    /// Identifier kind that both records carry; empty where a person or attributes decided.
    pub identifier: String,
    /// The first digits of the value's blind index: tells values apart without showing them.
    pub value: String,
    /// What the rule compares besides: attributes and tests, no values.
    pub compared: Vec<String>,
    pub from: String,
    pub to: String,
    /// When the later of the two was first seen, microseconds UTC.
    pub since_us: i64,
}

/// What holds without one piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counterfactual {
    /// `email 3fa2c1…`, or `the decision of a steward`.
    pub without: String,
    /// The two references would be two profiles.
    pub is_two: bool,
    /// Profiles that the records of the one would be.
    pub profiles: u64,
}

/// Two profiles that a guard rail keeps apart, or one with identifiers that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    pub reason: String,
    /// Two, or one whose own identifiers were refused.
    pub profiles: Vec<String>,
    /// Links between them, or identifiers, that were refused.
    pub links: u64,
}

/// A piece of evidence that may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Value(u16, BlindIndex),
    Decision(NodeId, NodeId),
}

impl Engine {
    /// Pairs of profiles that guard rails keep apart, and profiles with refused identifiers, by reason, `limit` at most of each.
    ///
    /// # Errors
    /// Those of the store.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<Quarantined>> {
        let rows = self.ledger.kept_apart(limit)?.into_iter();
        let told = rows.map(|row| Quarantined {
            reason: row.reason,
            profiles: std::iter::once(row.one).chain(row.other).map(|id| id.to_string()).collect(),
            links: row.links,
        });
        Ok(told.collect())
    }

    /// The shortest chain of links between two references, and what would be without each piece of it, or what was refused
    /// between them; `None` when nothing joins them and nothing was refused.
    ///
    /// # Errors
    /// `E0813` when a reference means nothing.
    pub async fn why(&self, a: &str, b: &str) -> Result<Option<Why>> {
        let (from, to) = (self.find_nodes(a)?, self.find_nodes(b)?);
        if from.is_empty() || to.is_empty() {
            return Err(Error::configuration("E0813", "nobody is known by one of the two")
                .help("give a profile id, an identifier as `email:ann@x.test`, or a record as `shop/1234`"));
        }
        let all: Vec<NodeId> = from.iter().chain(&to).map(|row| row.node).collect();
        let around = self.ledger.neighbourhood(&all, &[])?;
        let nodes: Vec<NodeId> = around.nodes.iter().map(|row| row.node).collect();
        let links = self.ledger.links_of(&nodes)?;
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (a.node, b.node)));
        let chains = pairs.filter_map(|(a, b)| Some((a, b, explain(&links, a, b)?)));
        let names = kind_names(self)?;
        let Some((one, other, chain)) = chains.min_by_key(|(_, _, chain)| chain.len()) else {
            let refused = between((&from, &to), &around.nodes, &around.edges, &links, &names);
            return Ok((!refused.is_empty()).then(|| Why { refused, ..Why::default() }));
        };
        let identity = &self.plan.identity;
        let steps = chain.iter().map(|link| step(link, &around.nodes, &names, identity)).collect();
        let mut without = Vec::new();
        if !identity.joins_without_identifiers() {
            let pieces: BTreeSet<Piece> = chain.iter().filter_map(|link| piece_of(link)).collect();
            let mut reader = EvidenceReader::new(self, identity);
            let world = World::new(self, &around, &mut reader).await;
            reader.audit()?;
            let world = world?;
            without.extend(pieces.into_iter().map(|piece| world.without(piece, (one, other), &names)));
        }
        Ok(Some(Why { steps, without, refused: Vec::new() }))
    }
}

fn step(link: &Link, rows: &[NodeRow], names: &[String], identity: &IdentityRules) -> WhyStep {
    let rule = identity.rules.iter().find(|rule| rule.name == link.rule);
    let named = |node: NodeId| rows.iter().find(|row| row.node == node);
    let describe = |node: NodeId| named(node).map_or_else(String::new, |row| format!("{} record {}", row.source, row.node.0));
    let identifier = names.get(usize::from(link.kind)).cloned().unwrap_or_default();
    WhyStep {
        rule: link.rule.clone(),
        value: if identifier.is_empty() { String::new() } else { masked(&link.value) },
        identifier,
        compared: rule.map(|rule| rule.compared(&identity.attributes)).unwrap_or_default(),
        from: describe(link.node_a),
        to: describe(link.node_b),
        since_us: [link.node_a, link.node_b].into_iter().filter_map(named).map(|row| row.first_seen_us).max().unwrap_or(0),
    }
}

/// `None` for a link over attributes alone: there is no single value to take away.
fn piece_of(link: &Link) -> Option<Piece> {
    match (link.rule == MUST_LINK, link.kind) {
        (true, _) => Some(Piece::Decision(link.node_a, link.node_b)),
        (false, NO_KIND) => None,
        (false, kind) => Some(Piece::Value(kind, link.value)),
    }
}

/// What resolution knows of a neighbourhood.
struct World<'a> {
    engine: &'a Engine,
    nodes: Vec<ResolveNode>,
    edges: Vec<Edge>,
    around: &'a Neighbourhood,
    standing: Standing,
    said: Option<Evidence>,
}

impl<'a> World<'a> {
    async fn new(engine: &'a Engine, around: &'a Neighbourhood, reader: &mut EvidenceReader<'_>) -> Result<Self> {
        let nodes: Vec<ResolveNode> = around.nodes.iter().cloned().map(resolve_node).collect();
        let standing = Standing::around(engine, &nodes, None)?;
        let edges = around.edges.iter().filter(|edge| standing.joins(edge)).copied().collect();
        let said = reader.read(&nodes).await?;
        Ok(Self { engine, nodes, edges, around, standing, said })
    }

    /// Who two nodes would be without a piece of evidence.
    fn without(&self, piece: Piece, (one, other): (NodeId, NodeId), names: &[String]) -> Counterfactual {
        let is_piece = |edge: &&Edge| piece == Piece::Value(edge.kind, edge.value);
        let edges: Vec<Edge> = self.edges.iter().filter(|edge| !is_piece(edge)).copied().collect();
        let knowledge = self.standing.knowledge();
        let is_left =
            |pair: &&(NodeId, NodeId)| piece != Piece::Decision(pair.0, pair.1) && piece != Piece::Decision(pair.1, pair.0);
        let must_link: Vec<(NodeId, NodeId)> = knowledge.must_link.iter().filter(is_left).copied().collect();
        let knowledge = Knowledge { evidence: self.said.as_ref(), must_link: &must_link, ..knowledge };
        let rules = &self.engine.plan.identity;
        let (nodes, blocked) = (&self.nodes, &self.around.blocked);
        let grouping = group(&ResolveInput { rules, kinds: names, nodes, edges: &edges, blocked }, &knowledge);
        let group_at = |node: NodeId| {
            let at = nodes.iter().position(|known| known.node == node)?;
            grouping.group_of.get(at).copied()
        };
        let profile = nodes.iter().find(|node| node.node == one).and_then(|node| node.profile);
        let of_profile = nodes.iter().zip(&grouping.group_of).filter(|(node, _)| node.profile == profile);
        let groups: BTreeSet<u32> = of_profile.map(|(_, group)| *group).collect();
        let without = match piece {
            Piece::Value(kind, value) => {
                format!("{} {}…", names.get(usize::from(kind)).map_or("", String::as_str), masked(&value))
            }
            Piece::Decision(..) => "the decision of a steward".to_owned(),
        };
        Counterfactual { without, is_two: group_at(one) != group_at(other), profiles: u64::try_from(groups.len()).unwrap_or(0) }
    }
}
