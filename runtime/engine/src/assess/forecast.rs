//! How records would meet what is known: their identifiers are looked up by blind index, and resolved in memory together
//! with the part of the graph that they touch. The ledger is read, and told in its audit that somebody looked.

use std::collections::{BTreeSet, HashMap, HashSet};

use affluent_ledger::Neighbourhood;
use affluent_model::Result;
use affluent_model::identifier_rule::mark_of;
use affluent_model::identity::{BlindIndex, Edge, NodeId, NodeKey, ProfileId};
use affluent_model::normalize::IdentifierForm;
use affluent_model::plan::{IdentifierRule, IdentityRules};
use affluent_profiles::assess::propose::identifiers;
use affluent_profiles::assess::report::{IdentifierCandidate, KnownValues, MatchForecast, StreamAssessment};
use affluent_profiles::assess::stream::StreamCount;
use affluent_profiles::resolve::{ResolveInput, ResolveNode, resolve_with};
use affluent_vault::BlindIndexer;

use crate::decisions::Standing;
use crate::engine::Engine;
use crate::unify::kind_names;

/// A field that shares less with a kind of another name is not taken for it.
const SAME_KIND_SHARE_MIN: f64 = 0.2;

/// Nodes of the records: beyond all that a ledger gives.
const NEW_NODES_FROM: i64 = 1 << 62;

/// The values of a field under one kind of identifier: `None` where a record has no usable one.
struct Indexed {
    field: String,
    kind: String,
    /// As the ledger numbers it; `None` = it knows no value of the kind.
    number: Option<u16>,
    values: Vec<Option<BlindIndex>>,
    /// Those of the values that never join on their own.
    weak: HashSet<BlindIndex>,
}

/// The numbers of a kind and, where values of it are weak, of its mark ([`IdentifierRule::mark`]).
type KindNumbers = (u16, Option<u16>);

/// What records say of who they are.
#[derive(Default)]
struct Incoming {
    /// Record → place of its subject in `keys`.
    place_of: Vec<usize>,
    keys: Vec<NodeKey>,
    /// Place, kind by number, value.
    edges: BTreeSet<(usize, u16, BlindIndex)>,
}

impl Engine {
    /// Compares the held records of a stream with what the project knows, and writes what it found into `stream`.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub fn forecast(&self, source: &str, count: &StreamCount, stream: &mut StreamAssessment) -> Result<()> {
        let rules = &self.plan.identity;
        let names = kind_names(self)?;
        let number = |kind: &str| names.iter().position(|name| name == kind).and_then(|place| u16::try_from(place).ok());
        let mut indexed = Vec::new();
        for candidate in &stream.identifiers {
            for rule in rules.identifiers.iter().filter(|rule| may_be(candidate, rule)) {
                let indexer = self.vault.blind_indexer(&rule.name)?;
                let (values, weak) = index(count, &candidate.field, rule, &indexer);
                let (field, kind) = (candidate.field.clone(), rule.name.clone());
                indexed.push(Indexed { field, number: number(&kind), kind, values, weak });
            }
        }
        let asked: BTreeSet<(u16, BlindIndex)> = indexed.iter().flat_map(Indexed::numbered).collect();
        let mut incoming = self.incoming(source, count, stream.subject.as_deref())?;
        let found = self.ledger.find_nodes(&incoming.keys)?;
        let nodes: Vec<NodeId> = found.into_iter().flatten().map(|found| found.node).collect();
        let around = self.ledger.neighbourhood(&nodes, &asked.into_iter().collect::<Vec<_>>())?;
        let held: HashSet<(u16, BlindIndex)> = around.edges.iter().map(|edge| (edge.kind, edge.value)).collect();
        for candidate in &mut stream.identifiers {
            candidate.known = indexed.iter().filter(|one| one.field == candidate.field).map(|one| one.known(&held)).collect();
            candidate.known.sort_by(|a, b| b.share.total_cmp(&a.share));
        }
        let used = used(stream, &indexed);
        if !used.is_empty() {
            let (kinds, numbers) = numbered_kinds(&used, names);
            incoming.say(&used, &numbers);
            stream.matches = Some(self.resolve_in_memory(&incoming, &used, &kinds, around)?);
        }
        let detail = format!("{source} stream {}: {} records compared", stream.stream, count.records());
        self.ledger.audit(self.now_us(), "source.assessed", &detail)
    }

    fn resolve_in_memory(
        &self,
        incoming: &Incoming,
        used: &[&Indexed],
        kinds: &[String],
        around: Neighbourhood,
    ) -> Result<MatchForecast> {
        let rules = &self.plan.identity;
        let existing: HashSet<ProfileId> = around.nodes.iter().filter_map(|row| row.profile).collect();
        let (nodes, node_of, mut edges) = incoming.beside(&around, self.now_us());
        let standing = Standing::around(self, &nodes, None)?;
        edges.retain(|edge| standing.joins(edge));
        let input = ResolveInput { rules, kinds, nodes: &nodes, edges: &edges, blocked: &around.blocked };
        let resolution = resolve_with(&input, &standing.knowledge());
        let mut profile_of: HashMap<NodeId, ProfileId> =
            nodes.iter().filter_map(|node| node.profile.map(|profile| (node.node, profile))).collect();
        profile_of.extend(resolution.assignments.iter().copied());
        let mut forecast = MatchForecast {
            records: incoming.place_of.len() as u64,
            without_identifier: without_identifier(used, incoming.place_of.len()),
            profiles_merged: resolution.aliases.iter().filter(|(old, _)| existing.contains(old)).count() as u64,
            leaves_out_comparisons: compares(rules),
            ..MatchForecast::default()
        };
        let (mut met, mut made) = (HashSet::new(), HashSet::new());
        let nodes_of_records = incoming.place_of.iter().filter_map(|place| node_of.get(*place));
        for profile in nodes_of_records.filter_map(|node| profile_of.get(node)) {
            if existing.contains(profile) {
                forecast.joining += 1;
                met.insert(profile);
            } else {
                made.insert(profile);
            }
        }
        (forecast.profiles_met, forecast.profiles_made) = (met.len() as u64, made.len() as u64);
        forecast.match_rate = share(forecast.joining, forecast.records);
        Ok(forecast)
    }

    /// A node per subject, and one per record that has none; without edges yet.
    fn incoming(&self, source: &str, count: &StreamCount, subject: Option<&str>) -> Result<Incoming> {
        let indexer = self.vault.blind_indexer(&format!("subject/{source}"))?;
        let alone = self.vault.blind_indexer(&format!("assessed/{source}"))?;
        let mut subjects = subject.and_then(|field| count.held(field)).map(|held| held.values());
        let mut incoming = Incoming::default();
        let mut places: HashMap<NodeKey, usize> = HashMap::new();
        for record in 0..count.records_held() {
            let said = subjects.as_mut().and_then(Iterator::next).filter(|said| !said.is_empty());
            let key = said.map_or_else(|| alone.index(record.to_string().as_bytes()), |said| indexer.index(said.as_bytes()));
            let place = *places.entry(key).or_insert(incoming.keys.len());
            if place == incoming.keys.len() {
                incoming.keys.push(key);
            }
            incoming.place_of.push(place);
        }
        Ok(incoming)
    }
}

/// Nodes of the graph and of the records together, the node of each place, and all edges.
type Together = (Vec<ResolveNode>, Vec<NodeId>, Vec<Edge>);

impl Incoming {
    fn say(&mut self, used: &[&Indexed], numbers: &[KindNumbers]) {
        for (one, (number, mark)) in used.iter().zip(numbers) {
            for (place, value) in self.place_of.iter().zip(&one.values) {
                let Some(value) = *value else { continue };
                let mark = mark.filter(|_| one.weak.contains(&value));
                self.edges.extend([Some(*number), mark].into_iter().flatten().map(|kind| (*place, kind, value)));
            }
        }
    }

    /// A subject that the ledger knows already is that node, and not another one beside it.
    fn beside(&self, around: &Neighbourhood, now_us: i64) -> Together {
        let milliseconds = |us: i64| u64::try_from(us / 1_000).unwrap_or(0);
        let known: HashMap<NodeKey, NodeId> = around.nodes.iter().map(|row| (row.key, row.node)).collect();
        let mut nodes: Vec<ResolveNode> = Vec::with_capacity(around.nodes.len() + self.keys.len());
        nodes.extend(around.nodes.iter().map(|row| ResolveNode {
            node: row.node,
            key: row.key,
            first_seen_ms: milliseconds(row.first_seen_us),
            profile: row.profile,
        }));
        let mut node_of = Vec::with_capacity(self.keys.len());
        for (place, key) in (NEW_NODES_FROM..).zip(&self.keys) {
            let node = known.get(key).copied().unwrap_or(NodeId(place));
            node_of.push(node);
            if !known.contains_key(key) {
                nodes.push(ResolveNode { node, key: *key, first_seen_ms: milliseconds(now_us), profile: None });
            }
        }
        let said = self.edges.iter().filter_map(|(place, kind, value)| {
            let node = *node_of.get(*place)?;
            Some(Edge { node, kind: *kind, value: *value, seen_at_us: now_us })
        });
        let edges = around.edges.iter().copied().chain(said).collect();
        (nodes, node_of, edges)
    }
}

impl Indexed {
    fn numbered(&self) -> impl Iterator<Item = (u16, BlindIndex)> {
        let number = self.number;
        self.values.iter().flatten().filter_map(move |value| number.map(|number| (number, *value)))
    }

    fn known(&self, held: &HashSet<(u16, BlindIndex)>) -> KnownValues {
        let distinct: HashSet<&BlindIndex> = self.values.iter().flatten().collect();
        let is_known = |value: &&&BlindIndex| self.number.is_some_and(|number| held.contains(&(number, ***value)));
        let (values, known) = (distinct.len() as u64, distinct.iter().filter(is_known).count() as u64);
        KnownValues { kind: self.kind.clone(), values, known, share: share(known, values) }
    }
}

/// Addresses are compared with addresses, telephone numbers with such, any other identifier with all others.
fn may_be(candidate: &IdentifierCandidate, rule: &IdentifierRule) -> bool {
    IdentifierForm::of_kind(&candidate.kind) == rule.form()
}

/// The values of a field, and those of them that are weak.
fn index(
    count: &StreamCount,
    field: &str,
    rule: &IdentifierRule,
    indexer: &BlindIndexer,
) -> (Vec<Option<BlindIndex>>, HashSet<BlindIndex>) {
    let mut weak = HashSet::new();
    let usable = |value: &str| {
        let canonical = rule.usable(value)?;
        let index = indexer.index(canonical.as_bytes());
        weak.extend(rule.is_weak_value(&canonical).then_some(index));
        Some(index)
    };
    let values = count.held(field).map(|held| held.values().map(usable).collect()).unwrap_or_default();
    (values, weak)
}

/// The fields that records would be resolved by: those of the proposed pipeline whose kind the project has, by name or
/// because the ledger knows many of the values.
fn used<'i>(stream: &StreamAssessment, indexed: &'i [Indexed]) -> Vec<&'i Indexed> {
    let of = |field: &str, kind: &str| indexed.iter().find(|one| one.field == field && one.kind == kind);
    let mut used: Vec<&Indexed> = identifiers(stream).into_iter().filter_map(|one| of(&one.field, &one.kind)).collect();
    for candidate in &stream.identifiers {
        let Some(best) = candidate.known.first().filter(|known| known.share >= SAME_KIND_SHARE_MIN) else { continue };
        let is_new = !used.iter().any(|one| one.kind == best.kind || one.field == candidate.field);
        used.extend(of(&candidate.field, &best.kind).filter(|_| is_new));
    }
    used
}

/// The kinds by number with those that the ledger has no number for yet, and the numbers of each that is used.
fn numbered_kinds(used: &[&Indexed], mut kinds: Vec<String>) -> (Vec<String>, Vec<KindNumbers>) {
    let mut number_of = |name: &str| {
        let place = kinds.iter().position(|known| known == name).unwrap_or_else(|| {
            kinds.push(name.to_owned());
            kinds.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    };
    let mut numbers: Vec<KindNumbers> = Vec::with_capacity(used.len());
    for one in used {
        let number = number_of(&one.kind);
        numbers.push((number, (!one.weak.is_empty()).then(|| number_of(&mark_of(&one.kind)))));
    }
    (kinds, numbers)
}

fn without_identifier(used: &[&Indexed], records: usize) -> u64 {
    let has_none = |record: &usize| used.iter().all(|one| one.values.get(*record).copied().flatten().is_none());
    (0..records).filter(has_none).count() as u64
}

fn compares(rules: &IdentityRules) -> bool {
    rules.veto.is_some() || rules.rules.iter().any(|rule| !rule.compare.is_empty() || rule.score.is_some())
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not occur")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0 }
}
