//! What people decide about who is one person. A steward splits or links profiles, pins values, and takes it back; the
//! project's files hold reviewed pairs. Decisions stand above rules and are given to every resolution; one that is made or taken back
//! recomputes what its nodes can touch, in one transaction with the decision itself.

mod meant;
pub(crate) mod pins;

use std::collections::{BTreeMap, BTreeSet};

use affluent_ledger::{Decided, DecisionChange, DecisionRow, Lease, NewDecision, NodeRow, ResolutionCommit};
use affluent_model::identity::{BlindIndex, Edge, NodeId, NodeKey, ProfileId};
use affluent_model::matching::RecordPair;
use affluent_model::report::{ProfilesReport, RunOutcome, RunReport};
use affluent_model::{Error, Result};
use affluent_profiles::resolve::{Knowledge, ResolveNode, own_id};
use affluent_vault::{BlindIndexer, Purpose};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::decisions::meant::{differ, oldest_node, split_of};
use crate::engine::Engine;
use crate::evidence::EvidenceReader;
use crate::sealer::{Place, RunOpener, RunSealer};
use crate::unify::{Found, Part, kind_names, resolve_part};

/// Hexadecimal digits by which values of an identifier are told apart without being shown.
const VALUE_BYTES_SHOWN: usize = 3;

/// Who decides, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steward {
    pub by: String,
    /// Kept sealed: it may name a person.
    pub reason: Option<String>,
}

/// What a decision did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionOutcome {
    pub decision: i64,
    /// Profiles that the decision names, before.
    pub before: Vec<String>,
    /// Those profiles now, each with its records.
    pub profiles: Vec<(String, Vec<String>)>,
    /// The attribute that was pinned, or is not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// True when the decision was taken back.
    pub is_undone: bool,
}

/// One decision, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionView {
    pub decision: i64,
    /// `link`, `split` or `pin`.
    pub verdict: String,
    /// Records by source and number, those of a link in either order, that which was split off first.
    pub records: Vec<String>,
    /// Of a split of an identifier: its kind and the first digits of its blind index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// That was pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    pub by: String,
    pub decided_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_at: Option<String>,
}

/// The decisions that bear on some nodes, as resolution takes them.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    must_link: Vec<(NodeId, NodeId)>,
    cannot_link: Vec<(NodeId, NodeId)>,
    detached: BTreeSet<(NodeId, u16, BlindIndex)>,
    former: Vec<ProfileId>,
}

impl Standing {
    /// What stands for these nodes, after a change.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn around(engine: &Engine, nodes: &[ResolveNode], change: Option<&DecisionChange>) -> Result<Self> {
        let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
        let own_ids: Vec<ProfileId> = nodes.iter().map(own_id).collect();
        let mut standing = Self { former: engine.ledger.former_profiles(&own_ids)?, ..Self::default() };
        for row in engine.ledger.decisions_on(&ids)? {
            if !matches!(change, Some(DecisionChange::Undo { decision, .. }) if *decision == row.decision) {
                standing.add(&row.decided);
            }
        }
        if let Some(DecisionChange::Decide(new)) = change {
            standing.add(&new.decided);
        }
        let Reviewed { must_link, cannot_link } = Reviewed::of_plan(engine)?;
        standing.must_link.extend(must_link);
        standing.cannot_link.extend(cannot_link);
        Ok(standing)
    }

    fn add(&mut self, decided: &Decided) {
        match decided {
            Decided::Link(one, other) => self.must_link.push((*one, *other)),
            Decided::Split { node, from } => self.cannot_link.extend(from.iter().map(|other| (*node, *other))),
            Decided::Detach { kind, value, nodes } => self.detached.extend(nodes.iter().map(|node| (*node, *kind, *value))),
            Decided::Pin { .. } => {}
        }
    }

    /// True when an edge is one that joins.
    pub(crate) fn joins(&self, edge: &Edge) -> bool {
        !self.detached.contains(&(edge.node, edge.kind, edge.value))
    }

    pub(crate) fn detaches(&self) -> bool {
        !self.detached.is_empty()
    }

    pub(crate) fn knowledge(&self) -> Knowledge<'_> {
        let Self { must_link, cannot_link, former, .. } = self;
        Knowledge { evidence: None, must_link, cannot_link, former }
    }
}

/// The pairs of the project's files whose records are known.
#[derive(Debug, Default)]
pub(crate) struct Reviewed {
    must_link: Vec<(NodeId, NodeId)>,
    cannot_link: Vec<(NodeId, NodeId)>,
}

impl Reviewed {
    /// # Errors
    /// Those of the store.
    pub(crate) fn of_plan(engine: &Engine) -> Result<Self> {
        let identity = &engine.plan.identity;
        Ok(Self {
            must_link: known_pairs(engine, &identity.must_link)?,
            cannot_link: known_pairs(engine, &identity.cannot_link)?,
        })
    }

    /// Adds the nodes that must be one with some of these.
    pub(crate) fn add_partners(&self, nodes: &mut Vec<NodeId>) {
        let is_among = |node: &NodeId| nodes.binary_search(node).is_ok();
        let partners = self.must_link.iter().filter(|(one, other)| is_among(one) != is_among(other));
        let partners: Vec<NodeId> = partners.flat_map(|(one, other)| [*one, *other]).collect();
        nodes.extend(partners);
        nodes.sort_unstable();
        nodes.dedup();
    }
}

fn known_pairs(engine: &Engine, pairs: &[RecordPair]) -> Result<Vec<(NodeId, NodeId)>> {
    let mut indexers: BTreeMap<&str, BlindIndexer> = BTreeMap::new();
    let mut keys: Vec<NodeKey> = Vec::with_capacity(pairs.len() * 2);
    for record in pairs.iter().flat_map(|pair| [&pair.one, &pair.other]) {
        let connection = record.connection.as_str();
        if !indexers.contains_key(connection) {
            indexers.insert(connection, engine.vault.blind_indexer(&format!("subject/{connection}"))?);
        }
        keys.extend(indexers.get(connection).map(|indexer| indexer.index(record.subject.as_bytes())));
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let nodes = engine.ledger.find_nodes(&keys)?;
    let known = nodes.chunks(2).filter_map(|pair| match pair {
        [Some(one), Some(other)] => Some((one.node, other.node)),
        _ => None,
    });
    Ok(known.collect())
}

impl Engine {
    /// Splits what a reference means from its profile, or from another record alone: a record becomes a person of its own,
    /// an identifier value joins nobody of that profile any more. Stands against every rule until it is taken back.
    ///
    /// # Errors
    /// `E0813` when nobody, or more than one profile, is meant; `E0870` when nothing can be split; `E0871` when decisions
    /// say that they are one; what the stores report.
    pub async fn split_profile(&self, reference: &str, from: Option<&str>, steward: &Steward) -> Result<DecisionOutcome> {
        self.decide(steward, || split_of(self, reference, from)).await
    }

    /// Joins the profiles of two references for good: of an identifier or a profile, the oldest record stands for it.
    ///
    /// # Errors
    /// `E0813` when nobody, or more than one profile, is meant; `E0870` for a record with itself; `E0871` when decisions say
    /// that they are two; what the stores report.
    pub async fn link_profiles(&self, one: &str, other: &str, steward: &Steward) -> Result<DecisionOutcome> {
        let decided = || {
            let (one, other) = (oldest_node(self, one)?, oldest_node(self, other)?);
            differ(one, other)?;
            Ok(Decided::Link(one, other))
        };
        self.decide(steward, decided).await
    }

    /// Takes a decision back: what it kept apart or together is as the rules have it.
    ///
    /// # Errors
    /// `E0872` when no such decision stands; what the stores report.
    pub async fn undo_decision(&self, decision: i64, by: &str) -> Result<DecisionOutcome> {
        let change = || {
            let row = self.ledger.decisions()?.into_iter().find(|row| row.decision == decision && row.undone.is_none());
            let row = row.ok_or_else(|| {
                Error::configuration("E0872", format!("no decision {decision} stands")).help("see `affluent profile decisions`")
            })?;
            Ok((DecisionChange::Undo { decision, by: by.to_owned() }, row.decided))
        };
        self.change_decisions(|_| change()).await
    }

    /// All decisions of stewards, newest first, their reasons in the clear.
    ///
    /// # Errors
    /// What the stores report.
    pub fn decisions(&self) -> Result<Vec<DecisionView>> {
        let (names, mut opener) = (kind_names(self)?, RunOpener::new(self));
        let mut views = Vec::new();
        for row in self.ledger.decisions()?.into_iter().rev() {
            views.push(self.decision_view(row, &names, &mut opener)?);
        }
        Ok(views)
    }

    fn decision_view(&self, row: DecisionRow, names: &[String], opener: &mut RunOpener<'_>) -> Result<DecisionView> {
        let nodes = row.decided.nodes();
        let around = self.ledger.neighbourhood(&nodes, &[])?.nodes;
        let known = |node: &NodeId| around.iter().find(|known| known.node == *node);
        let (verdict, identifier, attribute) = match &row.decided {
            Decided::Link(..) => ("link", None, None),
            Decided::Split { .. } => ("split", None, None),
            Decided::Detach { kind, value, .. } => {
                let name = names.get(usize::from(*kind)).map_or("", String::as_str);
                ("split", Some(format!("{name} {}…", masked(value))), None)
            }
            Decided::Pin { attribute, .. } => ("pin", None, Some(attribute.clone())),
        };
        let reason = match &row.reason_sealed {
            Some(sealed) => Some(opener.open(sealed, Place::DecisionReason, &row.by, Purpose::ProfileShow)?),
            None => None,
        };
        let (undone_by, undone_at) = row.undone.map(|(by, at_us)| (by, instant(at_us))).unzip();
        Ok(DecisionView {
            decision: row.decision,
            verdict: verdict.to_owned(),
            records: nodes.iter().filter_map(known).map(named).collect(),
            identifier,
            attribute,
            by: row.by,
            decided_at: instant(row.decided_at_us),
            reason: reason.map(|reason| String::from_utf8_lossy(&reason).into_owned()),
            undone_by,
            undone_at,
        })
    }

    async fn decide(&self, steward: &Steward, decided: impl Fn() -> Result<Decided>) -> Result<DecisionOutcome> {
        self.change_decisions(|lease| {
            let decided = decided()?;
            self.refuse_contradiction(&decided)?;
            let mut sealer = RunSealer::new(self, lease);
            let seal = |reason: &String| sealer.seal(reason.as_bytes(), Place::DecisionReason, &steward.by);
            let reason_sealed = steward.reason.as_ref().map(seal).transpose()?;
            let new = NewDecision { decided: decided.clone(), by: steward.by.clone(), reason_sealed };
            Ok((DecisionChange::Decide(new), decided))
        })
        .await
    }

    /// Makes a change under the lease of the profiles, and recomputes what it touches.
    async fn change_decisions(
        &self,
        change: impl FnOnce(&Lease) -> Result<(DecisionChange, Decided)>,
    ) -> Result<DecisionOutcome> {
        let lease = self.wait_for_profiles_lease().await?;
        let renewal = self.keep_lease(&lease);
        let done = match change(&lease) {
            Ok((change, decided)) => self.apply_decision(&lease, change, &decided).await,
            Err(error) => Err(error),
        };
        renewal.abort();
        let outcome = if done.is_ok() { RunOutcome::Succeeded } else { RunOutcome::Failed };
        let report = RunReport { pipeline: lease.pipeline.clone(), run: lease.run.to_string(), outcome, ..RunReport::default() };
        self.write_down(&lease, &report, None)?;
        done
    }

    async fn apply_decision(&self, lease: &Lease, change: DecisionChange, decided: &Decided) -> Result<DecisionOutcome> {
        let mut nodes = decided.nodes();
        nodes.sort_unstable();
        let before = self.profiles_of(&nodes)?;
        let undone = match &change {
            DecisionChange::Undo { decision, .. } => Some(*decision),
            DecisionChange::Decide(_) => None,
        };
        if let Decided::Pin { .. } = decided {
            // It changes no profile, only what is computed of one.
            let commit = ResolutionCommit { decision: Some(change), now_us: self.now_us(), ..ResolutionCommit::default() };
            self.ledger.commit_resolution(lease, &commit)?;
        } else {
            self.resolve_decided(lease, change, &nodes).await?;
        }
        let decision = match undone {
            Some(decision) => decision,
            None => self.ledger.decisions()?.last().map_or(0, |row| row.decision),
        };
        let mut profiles = Vec::new();
        for profile in self.profiles_of(&nodes)? {
            profiles.push((profile.to_string(), self.ledger.nodes_of(profile)?.iter().map(named).collect()));
        }
        let attribute = if let Decided::Pin { attribute, .. } = decided { Some(attribute.clone()) } else { None };
        let before = before.iter().map(ProfileId::to_string).collect();
        Ok(DecisionOutcome { decision, before, profiles, attribute, is_undone: undone.is_some() })
    }

    /// Resolves what these nodes can touch, under a change of decisions.
    async fn resolve_decided(&self, lease: &Lease, change: DecisionChange, nodes: &[NodeId]) -> Result<()> {
        let found = Found { nodes: nodes.to_vec(), ..Found::default() };
        let rules = &self.plan.identity;
        let part = Part { files: &[], found, is_whole: rules.joins_without_identifiers(), change: Some(change) };
        let mut evidence = EvidenceReader::new(self, rules);
        let done = resolve_part(self, lease, part, &mut evidence, &mut ProfilesReport::default()).await.map(drop);
        evidence.audit()?;
        done
    }

    /// The profiles of nodes, each once.
    fn profiles_of(&self, nodes: &[NodeId]) -> Result<BTreeSet<ProfileId>> {
        let around = self.ledger.neighbourhood(nodes, &[])?.nodes;
        let among = around.iter().filter(|row| nodes.contains(&row.node));
        Ok(among.filter_map(|row| row.profile).collect())
    }

    /// Decisions never contradict each other: who is linked is split by taking the link back, and the other way round.
    fn refuse_contradiction(&self, decided: &Decided) -> Result<()> {
        if let Decided::Pin { .. } = decided {
            return Ok(());
        }
        let standing: Vec<DecisionRow> = self.ledger.decisions()?.into_iter().filter(|row| row.undone.is_none()).collect();
        let mut all = Standing::default();
        standing.iter().map(|row| &row.decided).chain([decided]).for_each(|decided| all.add(decided));
        let Reviewed { must_link, cannot_link } = Reviewed::of_plan(self)?;
        all.must_link.extend(must_link);
        all.cannot_link.extend(cannot_link);
        let one = linked_to(&decided.nodes(), &all.must_link);
        let is_within = |(a, b): &(NodeId, NodeId)| one.get(a).is_some_and(|group| one.get(b) == Some(group));
        if !all.cannot_link.iter().any(is_within) {
            return Ok(());
        }
        let is_link = matches!(decided, Decided::Link(..));
        let against = standing.iter().filter(|row| {
            matches!(row.decided, Decided::Link(..)) != is_link && row.decided.nodes().iter().all(|node| one.contains_key(node))
        });
        let numbers: Vec<String> = against.map(|row| row.decision.to_string()).collect();
        let (said, wanted) = if is_link { ("two", "linked") } else { ("one", "split") };
        let help = if numbers.is_empty() {
            "see `must_link` and `cannot_link` in profiles/identity.yaml".to_owned()
        } else {
            format!("take back with `affluent profile undo N`: {}", numbers.join(", "))
        };
        Err(Error::configuration("E0871", format!("it was decided that they are {said}: they cannot be {wanted}")).help(help))
    }
}

/// Node → the least node that it is linked to, for the nodes that links reach from some.
fn linked_to(nodes: &[NodeId], links: &[(NodeId, NodeId)]) -> BTreeMap<NodeId, NodeId> {
    let mut groups: BTreeMap<NodeId, NodeId> = nodes.iter().map(|node| (*node, *node)).collect();
    loop {
        let mut is_settled = true;
        for (a, b) in links {
            let known = [a, b].into_iter().filter_map(|node| groups.get(node)).min().copied();
            let Some(least) = known else { continue };
            for node in [a, b] {
                if groups.insert(*node, least) != Some(least) {
                    is_settled = false;
                }
            }
        }
        if is_settled {
            return groups;
        }
    }
}

/// A record by its source and number.
fn named(row: &NodeRow) -> String {
    format!("{} record {}", row.source, row.node.0)
}

/// The first digits of a blind index: tells values apart without showing them.
pub(crate) fn masked(value: &BlindIndex) -> String {
    value.iter().skip(1).take(VALUE_BYTES_SHOWN).map(|byte| format!("{byte:02x}")).collect()
}

fn instant(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
