//! Rules of the lake, each with the smallest data that shows it.

mod conditions;
mod expressions;
mod files;
mod fold;
mod functions;
mod queries;
mod replaced;
mod row_programs;

use std::sync::Arc;

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, SEALED_KEY};
use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{EmbeddedLake, Lake, LakeOptions, LakeQuery, LakeTable};

/// 2026-11-24T03:00:00 UTC.
const NOW_US: i64 = 1_795_489_200_000_000;

fn lake(dir: &tempfile::TempDir) -> EmbeddedLake {
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes: 64 << 20, memory_bytes_max: 64 << 20, partitions: 2 };
    EmbeddedLake::open(options).unwrap()
}

fn schema(fields: &[(&str, FieldType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, *kind).to_arrow()).collect::<Vec<_>>()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn booleans(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

/// In millionths.
fn decimals(values: &[i128]) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, 6).unwrap())
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn write(lake: &EmbeddedLake, name: &str, rows: &RecordBatch) {
    let mut writer = lake.create_file(name, rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.finish().unwrap();
}

fn table(name: &str, schema: &SchemaRef, files: &[&str]) -> LakeTable {
    LakeTable::new(name.to_owned(), Arc::clone(schema), files.iter().map(|file| (*file).to_owned()).collect())
}

fn select(sql: &str, tables: Vec<LakeTable>) -> LakeQuery {
    LakeQuery::new(sql.to_owned(), tables, NOW_US)
}

/// Rows as text, cells joined by `|`, null as nothing.
fn rows(batches: &[RecordBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| row_text(batch, row))).collect()
}

fn row_text(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default();
    let cell = |column: &ArrayRef| ArrayFormatter::try_new(column.as_ref(), &options).unwrap().value(row).to_string();
    batch.columns().iter().map(cell).collect::<Vec<_>>().join("|")
}

/// Columns of a stream of customers before sealing.
fn customers() -> SchemaRef {
    let fields = [
        Field::new("id", FieldType::Integer),
        Field::new("email", FieldType::Text).with_pii(PiiClass::Email),
        Field::new("phone", FieldType::Text).with_pii(PiiClass::Phone),
        Field::new("first_name", FieldType::Text).with_pii(PiiClass::Name),
        Field::new("last_name", FieldType::Text).with_pii(PiiClass::Name),
        Field::new("country", FieldType::Text),
        Field::new("status", FieldType::Text),
        Field::new("net", FieldType::Decimal),
        Field::new("at", FieldType::Timestamp),
        Field::new("test", FieldType::Boolean),
        Field::new("user", FieldType::Text),
        Field::new("Mixed Case", FieldType::Text),
    ];
    Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
}

/// A sealed column as it stands in the lake.
fn sealed(name: &str) -> ArrowField {
    ArrowField::new(name, DataType::Binary, true).with_metadata([(SEALED_KEY.to_owned(), "text".to_owned())].into())
}
