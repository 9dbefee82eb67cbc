//! Results in the types of the model: whatever width, scale or zone a calculation ended in, a column is stored and
//! handed on as its `FieldType` says. Lists and structs have no `FieldType` and stay as they are. Bytes and texts may come as views of
//! what was read, which nobody copies.

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
    with_types(schema, canonical_type)
}

/// As [`canonical_schema`], but views stay views.
pub(crate) fn schema_with_views(schema: &Schema) -> SchemaRef {
    let is_view = |kind: &DataType| matches!(kind, DataType::BinaryView | DataType::Utf8View);
    with_types(schema, |kind| if is_view(kind) { kind.clone() } else { canonical_type(kind) })
}

/// The schema of a table of which bytes and texts are read as views.
pub(crate) fn read_as_views(schema: &Schema) -> SchemaRef {
    with_types(schema, type_as_view)
}

/// The type of views of bytes or texts, where these are some.
pub(crate) fn type_as_view(kind: &DataType) -> DataType {
    match kind {
        DataType::Binary => DataType::BinaryView,
        DataType::Utf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

fn with_types(schema: &Schema, kind: impl Fn(&DataType) -> DataType) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(kind(field.data_type())));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// The batch under `schema`, which [`canonical_schema`] or [`schema_with_views`] made of its own.
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
