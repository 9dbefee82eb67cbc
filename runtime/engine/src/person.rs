//! Everything the lake holds of one person: the records of the profile's nodes as they are now, in the clear.

use std::collections::BTreeMap;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::Result;
use affluent_model::identity::NodeId;
use affluent_profiles::source::TableSource;
use affluent_vault::{FieldValue, Purpose};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use serde::Serialize;

use crate::consent_rows::{ConsentRow, SEALED, consent_rows};
use crate::engine::Engine;
use crate::opener::AttributeOpener;
use crate::origins::Lineage;
use crate::rows;
use crate::tables::{ProfileTable, column_of, profile_tables};

/// Nodes asked for in one query.
const NODES_PER_QUERY: usize = 500;

/// One record.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PersonRecord {
    /// Connection and stream: `shop.customers`.
    pub source: String,
    /// Its key at the source.
    pub record: String,
    /// When the source says it was so, RFC 3339.
    pub at: String,
    /// Column → value; what has no value is left out.
    pub fields: BTreeMap<String, String>,
    /// What it says of consent.
    pub consent: Vec<ConsentRow>,
}

/// A record with the values of its identifiers, by kind.
pub(crate) struct HeldRecord {
    pub(crate) record: PersonRecord,
    pub(crate) identifiers: Vec<(String, String)>,
}

/// The current records of these nodes in every table that takes part in profiles, by table and key; sealed values are opened
/// for `purpose`, and left out without one.
///
/// # Errors
/// What lake, ledger and vault report.
pub(crate) async fn records_of(engine: &Engine, nodes: &[NodeId], purpose: Option<Purpose>) -> Result<Vec<HeldRecord>> {
    let mut opener = AttributeOpener::new(engine, purpose.unwrap_or(Purpose::ProfileShow));
    let mut found = Vec::new();
    for table in profile_tables(engine).await? {
        let mut newest: BTreeMap<String, (i64, Option<HeldRecord>)> = BTreeMap::new();
        for part in nodes.chunks(NODES_PER_QUERY) {
            let query = query(engine, &table, part);
            let mut take =
                |batch: RecordBatch| take_records(&table, &batch, purpose.is_some().then_some(&mut opener), &mut newest);
            engine.lake.stream(query, &mut take).await?;
        }
        found.extend(newest.into_values().filter_map(|(_, record)| record));
    }
    Ok(found)
}

fn query(engine: &Engine, table: &ProfileTable, nodes: &[NodeId]) -> LakeQuery {
    let nodes: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    let sql = format!("SELECT * FROM \"{}\" WHERE \"_node\" IN ({})", table.table.name, nodes.join(", "));
    LakeQuery::new(sql, vec![table.table.clone()], engine.now_us())
}

/// Place and name of each sealed column.
fn sealed_columns(table: &LakeTable) -> impl Iterator<Item = (usize, &String)> {
    let fields = table.schema.fields().iter().enumerate();
    fields.filter(|(_, field)| column_of(field).sealed).map(|(place, field)| (place, field.name()))
}

fn take_records(
    table: &ProfileTable,
    batch: &RecordBatch,
    mut opener: Option<&mut AttributeOpener<'_>>,
    newest: &mut BTreeMap<String, (i64, Option<HeldRecord>)>,
) -> Result<()> {
    let mut lineages: BTreeMap<usize, [Lineage; 1]> = BTreeMap::new();
    for (place, name) in sealed_columns(&table.table) {
        let Some(opener) = &mut opener else { break };
        let (records, nodes) = (rows::column(batch, "_pk")?, rows::column(batch, "_node")?);
        let lineage = [Lineage::of_records(&table.table.name, name, records, nodes)?];
        opener.prepare(&lineage)?;
        lineages.insert(place, lineage);
    }
    let keys = rows::as_text(rows::column(batch, "_pk")?)?;
    let times = rows::as_text(rows::column(batch, "_at")?)?;
    let sequences = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let deleted = rows::column(batch, "_deleted")?.as_boolean().clone();
    for row in 0..batch.num_rows() {
        let key = keys.as_string::<i32>().value(row).to_owned();
        let sequence = sequences.as_primitive::<arrow::datatypes::Int64Type>().value(row);
        if newest.get(&key).is_some_and(|(known, _)| *known > sequence) {
            continue;
        }
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for (place, field) in batch.schema().fields().iter().enumerate() {
            let Some(array) = batch.columns().get(place).filter(|array| array.is_valid(row)) else { continue };
            let value = match (lineages.get(&place), &mut opener) {
                (Some([lineage]), Some(opener)) => opened(opener, array, lineage, row)?,
                _ if field.name().starts_with("_id_") => Some(SEALED.to_owned()),
                _ if *array.data_type() == DataType::Binary => None,
                _ => Some(rows::as_text(&array.slice(row, 1))?.as_string::<i32>().value(0).to_owned()),
            };
            values.extend(value.map(|value| (field.name().clone(), value)));
        }
        let is_deleted = deleted.is_valid(row) && deleted.value(row);
        let at = times.as_string::<i32>().value(row).to_owned();
        let record = (!is_deleted).then(|| held(&table.source, key.clone(), at, values));
        newest.insert(key, (sequence, record));
    }
    Ok(())
}

fn opened(opener: &mut AttributeOpener<'_>, array: &ArrayRef, lineage: &Lineage, row: usize) -> Result<Option<String>> {
    let sealed = rows::cast_to(array, &DataType::Binary)?;
    let opened = opener.open(sealed.as_binary::<i32>().value(row), lineage, row)?;
    Ok(opened.as_ref().map(|opened| shown(opened.value())))
}

/// A value that was sealed, as text.
pub(crate) fn shown(value: FieldValue<'_>) -> String {
    match value {
        FieldValue::Text(text) | FieldValue::Json(text) => text.to_owned(),
        FieldValue::I64(number) | FieldValue::TimestampUs(number) => number.to_string(),
        FieldValue::F64(number) => number.to_string(),
        FieldValue::Bool(truth) => truth.to_string(),
        FieldValue::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn held(source: &TableSource, key: String, at: String, mut values: BTreeMap<String, String>) -> HeldRecord {
    let identifiers = source.identifiers.iter().filter_map(|kind| {
        let given = source.attributes.iter().find(|given| given.name == *kind)?;
        Some((kind.clone(), values.get(&given.column)?.clone()))
    });
    let identifiers: Vec<(String, String)> = identifiers.collect();
    let consent = consent_rows(source, &identifiers, &at, &values);
    let given: BTreeMap<String, String> =
        values.iter().filter_map(|(name, value)| Some((name.strip_prefix("_attr_")?.to_owned(), value.clone()))).collect();
    values.retain(|name, _| !name.starts_with('_'));
    for (name, value) in given {
        values.entry(name).or_insert(value);
    }
    HeldRecord { record: PersonRecord { source: source.table.clone(), record: key, at, fields: values, consent }, identifiers }
}
