//! Which rows are void: written beside the rows of a snapshot, so that the next need not look at all rows for it.

use std::sync::Arc;

use affluent_lake::{LakeFile, LakeQuery, LakeTable};
use affluent_model::schema::{Field, FieldType};
use affluent_model::{Error, Result};
use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};

use super::VOID;
use super::basis::Before;
use crate::engine::Engine;
use crate::inputs::Void;
use crate::rows;

/// Rows of a batch.
const BATCH_ROWS: usize = 65_536;

fn schema() -> SchemaRef {
    let fields = [Field::new("table", FieldType::Text), Field::new("_seq", FieldType::Integer)];
    Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
}

/// Writes void rows to a file; none where there are none.
///
/// # Errors
/// What the lake reports.
pub(super) fn write(engine: &Engine, void: &Void) -> Result<Option<LakeFile>> {
    if void.values().all(Vec::is_empty) {
        return Ok(None);
    }
    let mut writer = engine.lake.create_file(&engine.file_name(VOID)?, schema())?;
    for (table, sequences) in void {
        for part in sequences.chunks(BATCH_ROWS) {
            let tables = StringArray::from_iter_values(part.iter().map(|_| table));
            let batch = RecordBatch::try_new(schema(), vec![Arc::new(tables), Arc::new(Int64Array::from(part.to_vec()))]);
            writer.write(&batch.map_err(|error| Error::bug(error.to_string()))?)?;
        }
    }
    writer.finish().map(Some)
}

/// The void rows that a snapshot knows.
///
/// # Errors
/// What the lake reports.
pub(super) async fn read(engine: &Engine, before: &Before) -> Result<Void> {
    let table = LakeTable::new(VOID.to_owned(), schema(), before.files(VOID));
    let sql = format!("SELECT \"table\", \"_seq\" FROM \"{VOID}\"");
    let mut void = Void::new();
    if table.files.is_empty() {
        return Ok(void);
    }
    let mut take = |batch: RecordBatch| {
        let tables = rows::as_text(rows::column(&batch, "table")?)?;
        let sequences = rows::cast_to(rows::column(&batch, "_seq")?, &DataType::Int64)?;
        let (tables, sequences) = (tables.as_string::<i32>(), sequences.as_primitive::<Int64Type>());
        for (row, table) in tables.iter().enumerate().filter(|(row, _)| sequences.is_valid(*row)) {
            let table = table.unwrap_or_default();
            match void.get_mut(table) {
                Some(known) => known.push(sequences.value(row)),
                None => _ = void.insert(table.to_owned(), vec![sequences.value(row)]),
            }
        }
        Ok(())
    };
    engine.lake.stream(LakeQuery::new(sql, vec![table], engine.now_us()), &mut take).await?;
    Ok(void)
}
