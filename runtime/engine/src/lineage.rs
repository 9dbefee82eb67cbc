//! Why a profile shows what it shows: for each attribute the record that it comes from, and those that have a value too and
//! did not survive. No value is opened for it.

use affluent_lake::LakeQuery;
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::lineage::lineage_sql;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use serde::Serialize;

use crate::compute::current_snapshot;
use crate::engine::Engine;
use crate::refusals::Refused;
use crate::rows;
use crate::tables::profile_tables;

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
    /// The record that gave it.
    pub from: ValueSource,
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
struct Candidate {
    attribute: String,
    record: String,
    source: ValueSource,
}

impl Engine {
    /// For each attribute of a profile, which record won and which lost; and which identifiers were refused.
    ///
    /// # Errors
    /// `E0807` without profiles; what the stores report.
    pub async fn lineage(&self, id: ProfileId) -> Result<ProfileWhy> {
        let (_, table) = current_snapshot(self)?;
        let sql = format!("SELECT * FROM \"profiles\" WHERE \"profile\" = '{id}'");
        let query = LakeQuery::new(sql, vec![table], self.now_us());
        let mut winners = Vec::new();
        for batch in self.lake.query(query).await?.iter().filter(|batch| batch.num_rows() > 0) {
            winners.extend(winners_of(batch)?);
        }
        let nodes: Vec<NodeId> = self.ledger.nodes_of(id)?.iter().map(|row| row.node).collect();
        let candidates = self.candidates(&nodes).await?;
        let lineage = winners.into_iter().map(|winner| {
            let lost = candidates.iter().filter(|one| {
                let is_winner = one.source.table == winner.source.table && one.record == winner.record;
                one.attribute == winner.attribute && !is_winner
            });
            let mut others: Vec<ValueSource> = lost.map(|one| one.source.clone()).collect();
            others.sort_unstable_by(|a, b| b.cmp(a));
            FieldLineage { name: winner.attribute, from: winner.source, others }
        });
        Ok(ProfileWhy { values: lineage.collect(), refused: self.refused_identifiers(id)? })
    }

    async fn candidates(&self, nodes: &[NodeId]) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for one in profile_tables(self).await? {
            let Some(sql) = lineage_sql(&one.source, nodes) else { continue };
            let query = LakeQuery::new(sql, vec![one.table], self.now_us());
            for batch in self.lake.query(query).await? {
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
}

/// The lineage columns of the one row of a batch.
fn winners_of(batch: &RecordBatch) -> Result<Vec<Candidate>> {
    let mut winners = Vec::new();
    for field in batch.schema().fields() {
        let Some(attribute) = field.name().strip_suffix("__from") else { continue };
        let column = rows::column(batch, field.name())?;
        if column.is_null(0) {
            continue;
        }
        let from = column.as_struct_opt().ok_or_else(|| Error::bug("a lineage column is not a struct"))?;
        let part = |name: &str| from.column_by_name(name).ok_or_else(|| Error::bug(format!("a lineage column lacks `{name}`")));
        let table = rows::as_text(part("table")?)?;
        let part = Part::new(part("record")?, part("node")?, part("at")?)?;
        winners.push(part.candidate(attribute, table.as_string::<i32>().value(0), 0));
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
