//! Results in the types of the model: whatever width, scale or zone a calculation ended in, a column is stored and
//! handed on as its `FieldType` says. Lists and structs have no `FieldType` and stay as they are.

use std::sync::Arc;

use affluent_model::schema::FieldType;
use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;

/// The type under which a result of this type is kept.
pub(crate) fn canonical_type(data_type: &DataType) -> DataType {
    FieldType::from_arrow(data_type).map_or_else(|| data_type.clone(), FieldType::to_arrow)
}

/// The schema with every column in its canonical type.
pub(crate) fn canonical_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(canonical_type(field.data_type()))).collect();
    Arc::new(Schema::new(fields))
}

/// The batch under `schema`, which [`canonical_schema`] made of its own.
/// # Errors
/// When a value does not fit the canonical type.
pub(crate) fn canonical_batch(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| canonical_array(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// The array in `data_type`; a value that does not fit is an error, never a silent null.
/// # Errors
/// When a value does not fit.
pub(crate) fn canonical_array(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    cast_with_options(array, data_type, &CastOptions { safe: false, format_options: FormatOptions::default() })
}
