//! Why a profile shows what it shows: for each attribute the record that it comes from, and those that have a value too and
//! did not survive, and by which rule. No value is opened for it.

use std::collections::BTreeMap;

use affluent_lake::LakeQuery;
use affluent_model::Result;
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::schema::FieldType;
use affluent_profiles::lineage::lineage_sql;
use affluent_profiles::lineage::rule::{AttributeRule, attribute_rules};
use affluent_profiles::source::TableSource;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Int64Type, TimestampMicrosecondType};
use serde::Serialize;

use crate::compute::current_snapshot;
use crate::decisions::pins::Pins;
use crate::engine::Engine;
use crate::origins::Origins;
use crate::refusals::Refused;
use crate::rows;
use crate::tables::{ProfileTable, profile_tables};

/// Why a profile is what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProfileWhy {
    /// By attribute.
    pub values: Vec<FieldLineage>,
    /// Identifiers of its records that were refused.
    pub refused: Vec<Refused>,
}

/// Where the value of one attribute comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldLineage {
    pub name: String,
    /// What decided: a strategy, the connection that is preferred, or who pinned it.
    pub rule: String,
    /// The record that gave it.
    pub from: ValueSource,
    /// Other records whose values are part of it, of a union or a sum, newest first.
    pub with: Vec<ValueSource>,
    /// Records with a value that did not survive, newest first.
    pub others: Vec<ValueSource>,
}

/// A record that gives a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ValueSource {
    /// When the source says it was so, microseconds UTC.
    pub at_us: i64,
    /// The lake table: connection and stream.
    pub table: String,
    /// The number of its record in the graph.
    pub node: i64,
}

/// A value of an attribute, with the key that tells its record apart.
pub(crate) struct Candidate {
    pub(crate) attribute: String,
    record: String,
    source: ValueSource,
}

impl Engine {
    /// For each attribute of a profile, which record won and which lost; and which identifiers were refused.
    ///
    /// # Errors
    /// `E0807` without profiles; what the stores report.
    pub async fn lineage(&self, id: ProfileId) -> Result<ProfileWhy> {
        let (snapshot, table) = current_snapshot(self)?;
        let origins = Origins::of(&table.schema)?;
        let sql = format!("SELECT * FROM \"profiles\" WHERE \"profile\" = '{id}'");
        let query = LakeQuery::new(sql, vec![table], self.now_us());
        let mut winners = Vec::new();
        for batch in self.lake.query(query).await?.iter().filter(|batch| batch.num_rows() > 0) {
            winners.extend(winners_of(batch, &origins)?);
        }
        let nodes: Vec<NodeId> = self.ledger.nodes_of(id)?.iter().map(|row| row.node).collect();
        let tables = profile_tables(self).await?;
        let deciding = Deciding::of(self, tables.iter().map(|one| one.source.clone()).collect())?;
        let candidates = candidates(self, tables, &nodes).await?;
        let lineage = winners.into_iter().map(|winner| deciding.lineage(winner, &candidates, snapshot.computed_at_us));
        Ok(ProfileWhy { values: lineage.collect(), refused: self.refused_identifiers(id)? })
    }
}

/// Every value that a current record of these nodes gives to an attribute.
///
/// # Errors
/// What the lake reports.
pub(crate) async fn candidates(engine: &Engine, tables: Vec<ProfileTable>, nodes: &[NodeId]) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for one in tables {
        let Some(sql) = lineage_sql(&one.source, nodes) else { continue };
        let query = LakeQuery::new(sql, vec![one.table], engine.now_us());
        for batch in engine.lake.query(query).await? {
            let part = Part::of(&batch, "record", "node", "at")?;
            for (place, attribute) in one.source.attributes.iter().enumerate() {
                let has = rows::column(&batch, &format!("has_{place}"))?.as_boolean().clone();
                for row in (0..batch.num_rows()).filter(|row| has.is_valid(*row) && has.value(*row)) {
                    candidates.push(part.candidate(&attribute.name, &one.source.table, row));
                }
            }
        }
    }
    Ok(candidates)
}

/// What decides which values survive.
pub(crate) struct Deciding {
    rules: BTreeMap<String, AttributeRule>,
    sources: Vec<TableSource>,
    pins: Pins,
}

impl Deciding {
    /// # Errors
    /// Those of a snapshot whose attributes do not fit together.
    pub(crate) fn of(engine: &Engine, sources: Vec<TableSource>) -> Result<Self> {
        let rules = attribute_rules(&sources, &engine.plan.identity.survivorship)?;
        Ok(Self { rules, sources, pins: Pins::read(engine)? })
    }

    /// What decided for a value of an attribute that comes from this table and node; empty for what is no attribute any more.
    pub(crate) fn rule(&self, attribute: &str, table: &str, node: NodeId) -> String {
        let Some(rule) = self.rules.get(attribute) else { return String::new() };
        self.pin(attribute, node).unwrap_or_else(|| rule.decided_by(self.connection(table)))
    }

    /// Who pinned the attribute to the node, where that decides.
    fn pin(&self, attribute: &str, node: NodeId) -> Option<String> {
        self.rules.get(attribute).filter(|rule| !rule.strategy.hears_all())?;
        self.pins.told(attribute, node)
    }

    fn connection(&self, table: &str) -> &str {
        self.sources.iter().find(|source| source.table == table).map_or("", |source| source.connection.as_str())
    }

    fn lineage(&self, winner: Candidate, candidates: &[Candidate], computed_at_us: i64) -> FieldLineage {
        let others = candidates.iter().filter(|one| {
            let is_winner = one.source.table == winner.source.table && one.record == winner.record;
            one.attribute == winner.attribute && !is_winner
        });
        let table = &winner.source.table;
        let rule = self.rules.get(&winner.attribute);
        let node = NodeId(winner.source.node);
        let is_pinned = self.pin(&winner.attribute, node).is_some();
        let has_part = |one: &&Candidate| {
            if is_pinned {
                return one.source.node == node.0 && rule.is_some_and(|rule| rule.strategy.combines());
            }
            let connections = (self.connection(&one.source.table), self.connection(table));
            rule.is_some_and(|rule| rule.has_part(connections.0, one.source.at_us, connections.1, computed_at_us))
        };
        let (with, others): (Vec<&Candidate>, Vec<&Candidate>) = others.partition(has_part);
        FieldLineage {
            rule: self.rule(&winner.attribute, table, node),
            with: newest_first(&with),
            others: newest_first(&others),
            name: winner.attribute,
            from: winner.source,
        }
    }
}

fn newest_first(candidates: &[&Candidate]) -> Vec<ValueSource> {
    let mut sources: Vec<ValueSource> = candidates.iter().map(|one| one.source.clone()).collect();
    sources.sort_unstable_by(|a, b| b.cmp(a));
    sources
}

/// Where the attributes of the one row of a batch come from.
fn winners_of(batch: &RecordBatch, origins: &Origins) -> Result<Vec<Candidate>> {
    let mut winners = Vec::new();
    let schema = batch.schema();
    let has_value = |(_, values): &(&FieldRef, &ArrayRef)| values.is_valid(0);
    for (field, _) in schema.fields().iter().zip(batch.columns()).filter(has_value) {
        let Some(lineage) = origins.lineage(batch, field.name())? else { continue };
        let (Some(node), Some(at_us)) = (lineage.node(0), lineage.at_us(0)) else { continue };
        let source = ValueSource { at_us, table: lineage.table(0).to_owned(), node: node.0 };
        winners.push(Candidate { attribute: field.name().clone(), record: lineage.record(0).to_owned(), source });
    }
    Ok(winners)
}

/// Records, their nodes and times.
struct Part {
    records: ArrayRef,
    nodes: ArrayRef,
    times: ArrayRef,
}

impl Part {
    fn of(batch: &RecordBatch, record: &str, node: &str, at: &str) -> Result<Self> {
        Self::new(rows::column(batch, record)?, rows::column(batch, node)?, rows::column(batch, at)?)
    }

    fn new(records: &ArrayRef, nodes: &ArrayRef, times: &ArrayRef) -> Result<Self> {
        Ok(Self {
            records: rows::as_text(records)?,
            nodes: rows::cast_to(nodes, &DataType::Int64)?,
            times: rows::cast_to(times, &FieldType::Timestamp.to_arrow())?,
        })
    }

    fn candidate(&self, attribute: &str, table: &str, row: usize) -> Candidate {
        let record = self.records.as_string::<i32>().value(row).to_owned();
        let node = self.nodes.as_primitive::<Int64Type>().value(row);
        let at_us = self.times.as_primitive::<TimestampMicrosecondType>().value(row);
        Candidate { attribute: attribute.to_owned(), record, source: ValueSource { at_us, table: table.to_owned(), node } }
    }
}
