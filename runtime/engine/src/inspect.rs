//! Looking at one profile: what it holds, where each value comes from, and why its records are one person.

use affluent_lake::LakeQuery;
use affluent_ledger::NodeRow;
use affluent_model::identifier_rule::is_mark;
use affluent_model::identity::{BlindIndex, Link, LinkVerdict, NodeId, ProfileId};
use affluent_model::{Error, Result};
use affluent_profiles::purchases::card::ModelCard;
use affluent_vault::Purpose;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use serde::Serialize;

use crate::compute::current_snapshot;
use crate::consent_rows::ConsentRow;
use crate::engine::Engine;
use crate::lineage::Deciding;
use crate::opener::AttributeOpener;
use crate::origins::{Lineage, Origins, is_origin};
use crate::refusals::{Refused, refused_edges};
use crate::tables::profile_tables;
use crate::unify::kind_names;
use crate::{person, rows};

/// One profile for a person to look at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProfileView {
    pub profile: String,
    pub values: Vec<ProfileValue>,
    pub segments: Vec<String>,
    /// Source records that are this profile: connection and node.
    pub records: Vec<(String, i64)>,
    /// Identifier kind → number of values that were not refused.
    pub identifiers: Vec<(String, u64)>,
    /// What its records say of consent.
    pub consent: Vec<ConsentRow>,
    /// Links that were refused: rule and reason.
    pub refused: Vec<(String, String)>,
    /// Identifiers of its records that were refused.
    pub refused_identifiers: Vec<Refused>,
    /// What is to be known of predicted traits, by trait.
    pub cards: Vec<(String, ModelCard)>,
}

/// One attribute or trait.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProfileValue {
    pub name: String,
    /// `‹sealed›` for a sealed value that was not asked to be revealed.
    pub value: String,
    pub sealed: bool,
    /// The lake table that the value comes from; empty for a trait.
    pub source: String,
    /// What decided for it: a strategy, the connection that is preferred, or who pinned it; empty for a trait.
    pub rule: String,
}

impl Engine {
    /// Finds a profile by id, by `KIND:VALUE` of an identifier, or by `CONNECTION/ID` of a subject.
    ///
    /// # Errors
    /// `E0813` when nothing or more than one profile is meant.
    pub fn find_profile(&self, reference: &str) -> Result<ProfileId> {
        if let Some(id) = ProfileId::parse(reference) {
            return self.ledger.resolve_alias(id);
        }
        let nodes = self.find_nodes(reference)?;
        let mut profiles: Vec<ProfileId> = Vec::new();
        for node in nodes.iter().filter_map(|node| node.profile) {
            profiles.push(self.ledger.resolve_alias(node)?);
        }
        profiles.sort_unstable();
        profiles.dedup();
        match profiles.as_slice() {
            [one] => Ok(*one),
            [] => Err(Error::configuration("E0813", "no profile is known by that")
                .help("give a profile id, an identifier as `email:ann@x.test`, or a record as `shop/1234`")),
            many => Err(Error::configuration("E0813", format!("{} profiles carry that identifier", many.len()))
                .help(format!("choose one: {}", many.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ")))),
        }
    }

    /// The kind and the blind index of a reference that is an identifier of usable form.
    pub(crate) fn identifier(&self, reference: &str) -> Result<Option<(u16, BlindIndex)>> {
        let Some((kind, value)) = reference.split_once(':') else { return Ok(None) };
        let rule = self.plan.identity.identifiers.iter().find(|rule| rule.name == kind);
        let Some(canonical) = rule.and_then(|rule| rule.canonical(value)) else { return Ok(None) };
        let value = self.vault.blind_indexer(kind)?.index(canonical.as_bytes());
        let number = self.ledger.identifier_kinds(&[kind.to_owned()])?.first().copied().unwrap_or_default();
        Ok(Some((number, value)))
    }

    /// The nodes that a reference means; of those that carry an identifier the ones at which it stands, where there are any.
    pub(crate) fn find_nodes(&self, reference: &str) -> Result<Vec<NodeRow>> {
        if let Some(id) = ProfileId::parse(reference) {
            return self.ledger.nodes_of(self.ledger.resolve_alias(id)?);
        }
        if let Some((number, value)) = self.identifier(reference)? {
            let around = self.ledger.neighbourhood(&[], &[(number, value)])?;
            let carries =
                |node: NodeId| around.edges.iter().any(|edge| edge.node == node && edge.kind == number && edge.value == value);
            let mut carriers: Vec<NodeRow> = around.nodes.into_iter().filter(|row| carries(row.node)).collect();
            let nodes: Vec<NodeId> = carriers.iter().map(|row| row.node).collect();
            let refused = refused_edges(&self.ledger.links_of(&nodes)?);
            let stands = |row: &NodeRow| !refused.contains(&(row.node, number, value));
            if carriers.iter().any(stands) {
                carriers.retain(stands);
            }
            return Ok(carriers);
        }
        if let Some((connection, id)) = reference.split_once('/') {
            let key = self.vault.blind_indexer(&format!("subject/{connection}"))?.index(id.as_bytes());
            let found: Vec<NodeId> = self.ledger.find_nodes(&[key])?.into_iter().flatten().map(|found| found.node).collect();
            let around = self.ledger.neighbourhood(&found, &[])?;
            return Ok(around.nodes.into_iter().filter(|row| found.contains(&row.node)).collect());
        }
        Ok(Vec::new())
    }

    /// Everything about one profile; sealed values are opened only when `reveal` is set, and counted.
    ///
    /// # Errors
    /// `E0807` without profiles; what the stores report.
    pub async fn profile(&self, id: ProfileId, reveal: bool) -> Result<ProfileView> {
        let (_, table) = current_snapshot(self)?;
        let origins = Origins::of(&table.schema)?;
        let query = LakeQuery::new(format!("SELECT * FROM \"profiles\" WHERE \"profile\" = '{id}'"), vec![table], self.now_us());
        let mut view = ProfileView { profile: id.to_string(), ..ProfileView::default() };
        for batch in self.lake.query(query).await? {
            if batch.num_rows() > 0 {
                let sources = profile_tables(self).await?.into_iter().map(|one| one.source).collect();
                view.values = self.values((&batch, &origins), &Deciding::of(self, sources)?, reveal)?;
            }
        }
        if reveal {
            self.ledger.audit(self.now_us(), "profile.revealed", &format!("profile {id}"))?;
        }
        let stays = self.ledger.memberships_of(id)?;
        view.segments = stays.into_iter().filter(|stay| stay.left_at_us.is_none()).map(|stay| stay.segment).collect();
        let nodes = self.ledger.nodes_of(id)?;
        view.records = nodes.iter().map(|node| (node.source.to_string(), node.node.0)).collect();
        view.cards = self.model_cards()?;
        let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
        let links = self.ledger.links_of(&ids)?;
        view.identifiers = self.identifier_counts(&ids, &links)?;
        let purpose = reveal.then_some(Purpose::ProfileShow);
        view.consent = person::records_of(self, &ids, purpose).await?.into_iter().flat_map(|one| one.record.consent).collect();
        for link in links.into_iter().filter(|link| link.node_a != link.node_b) {
            if let LinkVerdict::Refused(reason) = link.verdict {
                view.refused.push((link.rule, reason));
            }
        }
        view.refused_identifiers = self.refused_identifiers(id)?;
        Ok(view)
    }

    /// The model cards of the current snapshot, by trait.
    ///
    /// # Errors
    /// What the ledger reports.
    pub fn model_cards(&self) -> Result<Vec<(String, ModelCard)>> {
        let cards = self.ledger.cards()?.into_iter().map(|(name, json)| {
            let card = serde_json::from_str(&json).map_err(|error| Error::bug(format!("a stored model card: {error}")))?;
            Ok((name, card))
        });
        cards.collect()
    }

    fn identifier_counts(&self, nodes: &[NodeId], links: &[Link]) -> Result<Vec<(String, u64)>> {
        let names = kind_names(self)?;
        let refused = refused_edges(links);
        let edges = self.ledger.edges_of(nodes)?.into_iter();
        let standing = edges.filter(|edge| !refused.contains(&(edge.node, edge.kind, edge.value)));
        let mut values: Vec<(u16, BlindIndex)> = standing.map(|edge| (edge.kind, edge.value)).collect();
        values.sort_unstable();
        values.dedup();
        let mut counts: Vec<(String, u64)> = Vec::new();
        for (kind, _) in values {
            let name = names.get(usize::from(kind)).cloned().unwrap_or_default();
            if is_mark(&name) {
                continue;
            }
            match counts.last_mut() {
                Some((last, count)) if *last == name => *count += 1,
                _ => counts.push((name, 1)),
            }
        }
        Ok(counts)
    }

    fn values(&self, (batch, origins): (&RecordBatch, &Origins), deciding: &Deciding, reveal: bool) -> Result<Vec<ProfileValue>> {
        let mut opener = AttributeOpener::new(self, Purpose::ProfileShow);
        let schema = batch.schema();
        let mut values = Vec::new();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            if field.name() == "profile" || is_origin(field) || array.is_null(0) {
                continue;
            }
            let lineage = origins.lineage(batch, field.name())?;
            let sealed =
                lineage.is_some() && matches!(array.data_type(), DataType::Binary | DataType::BinaryView | DataType::LargeBinary);
            let source = lineage.as_ref().map_or_else(String::new, |lineage| lineage.table(0).to_owned());
            let node = lineage.as_ref().and_then(|lineage| lineage.node(0));
            let rule = node.map(|node| deciding.rule(field.name(), &source, node)).unwrap_or_default();
            let value = match (sealed, reveal, lineage) {
                (true, true, Some(lineage)) => self.reveal(&mut opener, array, lineage)?,
                (true, _, _) => "‹sealed›".to_owned(),
                (false, _, _) => shown(array)?,
            };
            values.push(ProfileValue { name: field.name().clone(), value, sealed, source, rule });
        }
        Ok(values)
    }

    fn reveal(&self, opener: &mut AttributeOpener<'_>, array: &ArrayRef, lineage: Lineage) -> Result<String> {
        let array = rows::cast_to(array, &DataType::Binary)?;
        let lineages = [lineage];
        opener.prepare(&lineages)?;
        let [lineage] = &lineages;
        let opened = opener.open(array.as_binary::<i32>().value(0), lineage, 0)?;
        Ok(opened.as_ref().map_or_else(|| "‹erased›".to_owned(), |opened| person::shown(opened.value())))
    }
}

/// A clear value as text.
fn shown(array: &ArrayRef) -> Result<String> {
    let text = rows::as_text(array)?;
    Ok(text.as_string::<i32>().value(0).to_owned())
}
