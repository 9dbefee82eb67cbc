//! What nodes say of themselves, for rules that compare: read from the lake and opened in memory for one resolution, counted
//! under a purpose of its own, neither stored nor told. A node gives the newest value of an attribute that says something, of
//! its current records.

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::identity::NodeId;
use affluent_model::plan::IdentityRules;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::evidence::Evidence;
use affluent_profiles::evidence_rows::evidence_query;
use affluent_profiles::resolve::ResolveNode;
use affluent_profiles::source::{AttributeSource, TableSource};
use affluent_vault::{FieldValue, Purpose};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use chrono::DateTime;

use crate::engine::Engine;
use crate::opener::AttributeOpener;
use crate::origins::Lineage;
use crate::person::shown;
use crate::rows;
use crate::tables::profile_tables;

/// Reads evidence, and counts what it opened.
pub(crate) struct EvidenceReader<'a> {
    engine: &'a Engine,
    rules: &'a IdentityRules,
    /// Empty until the first reading, and where nothing is compared.
    tables: Vec<GivingTable>,
    opened: u64,
    nodes: u64,
}

/// A lake table that gives attributes which rules compare.
struct GivingTable {
    source: TableSource,
    table: LakeTable,
    /// Position of the attribute in the rules, and the column that gives it.
    given: Vec<(usize, AttributeSource)>,
}

impl<'a> EvidenceReader<'a> {
    pub(crate) fn new(engine: &'a Engine, rules: &'a IdentityRules) -> Self {
        Self { engine, rules, tables: Vec::new(), opened: 0, nodes: 0 }
    }

    /// A row per node, in their order, which is that of their ids; `None` when the rules compare nothing.
    ///
    /// # Errors
    /// What lake, ledger and vault report.
    pub(crate) async fn read(&mut self, nodes: &[ResolveNode]) -> Result<Option<Evidence>> {
        if !self.rules.compared().contains(&true) {
            return Ok(None);
        }
        if self.tables.is_empty() {
            self.tables = giving_tables(self.engine, self.rules).await?;
        }
        self.nodes += u64::try_from(nodes.len()).unwrap_or(0);
        let wanted: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
        let mut gathered = Gathered {
            evidence: Evidence::of_nodes(&self.rules.attributes, nodes.len()),
            known: vec![NOTHING; nodes.len() * self.rules.attributes.len()],
            attributes: self.rules.attributes.len(),
            nodes: &wanted,
        };
        let mut opener = AttributeOpener::new(self.engine, Purpose::Matching);
        for giving in &self.tables {
            let columns: Vec<&str> = giving.given.iter().map(|(_, given)| given.column.as_str()).collect();
            let sql = evidence_query(&giving.source, &columns, &wanted);
            let query = LakeQuery::new(sql, vec![giving.table.clone()], self.engine.now_us());
            let opened = &mut self.opened;
            let mut take = |batch: RecordBatch| gathered.take(&batch, giving, &mut opener, opened);
            self.engine.lake.stream(query, &mut take).await?;
        }
        Ok(Some(gathered.evidence))
    }

    /// Writes down how many values were opened and why, if any were.
    ///
    /// # Errors
    /// What the ledger reports.
    pub(crate) fn audit(&self) -> Result<()> {
        if self.opened == 0 {
            return Ok(());
        }
        let compared = self.rules.attributes.iter().zip(self.rules.compared()).filter(|(_, is_compared)| *is_compared);
        let names: Vec<&str> = compared.map(|(one, _)| one.name.as_str()).collect();
        let (opened, nodes, purpose) = (self.opened, self.nodes, Purpose::Matching.as_str());
        let detail = format!("{purpose}: {opened} values opened to compare {} of {nodes} records", names.join(", "));
        self.engine.ledger.audit(self.engine.now_us(), "identity.compared", &detail)
    }
}

/// The tables that give what the rules compare, with the columns that do.
async fn giving_tables(engine: &Engine, rules: &IdentityRules) -> Result<Vec<GivingTable>> {
    let compared = rules.compared();
    let mut giving = Vec::new();
    for table in profile_tables(engine).await? {
        let attributes = rules.attributes.iter().zip(&compared).enumerate().filter(|(_, (_, is_compared))| **is_compared);
        let given: Vec<(usize, AttributeSource)> = attributes
            .filter_map(|(at, (rule, _))| {
                let given = table.source.attributes.iter().find(|given| given.name == rule.name)?;
                Some((at, given.clone()))
            })
            .collect();
        if !given.is_empty() && !table.table.files.is_empty() {
            giving.push(GivingTable { source: table.source, table: table.table, given });
        }
    }
    Ok(giving)
}

/// When a value was said: by the source's time, then by the order of arrival.
type Said = (i64, i64);
const NOTHING: Said = (i64::MIN, i64::MIN);

/// What was read so far.
struct Gathered<'a> {
    evidence: Evidence,
    /// Node by node, attribute by attribute: when the value known was said.
    known: Vec<Said>,
    attributes: usize,
    /// Ascending.
    nodes: &'a [NodeId],
}

impl Gathered<'_> {
    fn take(
        &mut self,
        batch: &RecordBatch,
        giving: &GivingTable,
        opener: &mut AttributeOpener<'_>,
        opened: &mut u64,
    ) -> Result<()> {
        let (batch, places) = self.wanted(batch)?;
        let nodes = rows::column(&batch, "_node")?;
        let records = rows::column(&batch, "_pk")?;
        let said = said(&batch)?;
        for (column, (attribute, given)) in giving.given.iter().enumerate() {
            let array = rows::column(&batch, &format!("_{column}"))?;
            let newer = |known: &[Said], row: usize, place: usize| {
                let known = known.get(place * self.attributes + attribute).copied().unwrap_or(NOTHING);
                said.get(row).is_some_and(|said| *said > known)
            };
            let mut texts = Texts::of(array, given, giving, records, nodes, opener)?;
            for (row, place) in places.iter().enumerate() {
                if array.is_null(row) || !newer(&self.known, row, *place) {
                    continue;
                }
                *opened += u64::from(given.sealed);
                let says = texts.with(row, |text| self.evidence.set(*place, *attribute, text))?;
                if says && let Some(known) = self.known.get_mut(place * self.attributes + attribute) {
                    *known = said.get(row).copied().unwrap_or(NOTHING);
                }
            }
        }
        Ok(())
    }

    /// The rows of the nodes asked for, and the place of each row's node among them.
    fn wanted(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<usize>)> {
        let nodes = rows::column(batch, "_node")?.as_primitive::<Int64Type>();
        let places: Vec<Option<usize>> =
            nodes.values().iter().map(|node| self.nodes.binary_search(&NodeId(*node)).ok()).collect();
        let is_wanted: BooleanArray = places.iter().map(|place| Some(place.is_some())).collect();
        let rows = filter_record_batch(batch, &is_wanted).map_err(|error| Error::bug(error.to_string()))?;
        Ok((rows, places.into_iter().flatten().collect()))
    }
}

fn said(batch: &RecordBatch) -> Result<Vec<Said>> {
    let times = rows::cast_to(rows::column(batch, "_at")?, &FieldType::Timestamp.to_arrow())?;
    let sequences = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    Ok(times.values().iter().copied().zip(sequences.as_primitive::<Int64Type>().values().iter().copied()).collect())
}

/// The values of a column as text, opened where they are sealed.
struct Texts<'t, 'e> {
    values: ArrayRef,
    kind: FieldType,
    sealed: Option<(&'t mut AttributeOpener<'e>, Lineage)>,
}

impl<'t, 'e> Texts<'t, 'e> {
    fn of(
        array: &ArrayRef,
        given: &AttributeSource,
        giving: &GivingTable,
        records: &ArrayRef,
        nodes: &ArrayRef,
        opener: &'t mut AttributeOpener<'e>,
    ) -> Result<Self> {
        if !given.sealed {
            return Ok(Self { values: rows::as_text(array)?, kind: FieldType::Text, sealed: None });
        }
        let lineages = [Lineage::of_records(&giving.source.table, &given.column, records, nodes)?];
        opener.prepare(&lineages)?;
        let [lineage] = lineages;
        Ok(Self { values: rows::cast_to(array, &DataType::Binary)?, kind: given.kind, sealed: Some((opener, lineage)) })
    }

    /// Hands over one value; it is not kept. The value of an erased person is empty.
    fn with<T>(&mut self, row: usize, take: impl FnOnce(&str) -> T) -> Result<T> {
        let Some((opener, lineage)) = &mut self.sealed else { return Ok(take(self.values.as_string::<i32>().value(row))) };
        let Some(opened) = opener.open(self.values.as_binary::<i32>().value(row), lineage, row)? else { return Ok(take("")) };
        Ok(match opened.value() {
            FieldValue::Text(text) | FieldValue::Json(text) => take(text),
            FieldValue::I64(days) if self.kind == FieldType::Date => take(&day(days.checked_mul(MICROSECONDS_PER_DAY))),
            FieldValue::TimestampUs(at) => take(&day(Some(at))),
            other => take(&shown(other)),
        })
    }
}

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// ISO date of a time; empty outside of the calendar.
fn day(at_us: Option<i64>) -> String {
    let at = at_us.and_then(DateTime::from_timestamp_micros);
    at.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string())
}
