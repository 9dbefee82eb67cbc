//! Between the payloads of the contract and Arrow batches. What a guest returns is never trusted: every offset, length,
//! text, null and type is checked against the stream's schema before it becomes a batch (plugins.md §8.5). Buffers are
//! moved, not copied, where their layout is Arrow's.

mod columns;
mod decimal;
mod encode;
mod ndjson;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use affluent_model::batch::RowOperation;
use affluent_model::limits::{GUEST_ROWS_MAX, STREAM_COLUMNS_MAX};
use affluent_model::schema::{Field, StreamSchema};
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::bindings::affluent::plugin::types::{Payload, RowOp};

pub(crate) use columns::Given;
pub(crate) use encode::{Encoder, row_json, texts_of, typed_columns};
pub(crate) use text::{parse_timestamp, print_seconds};

/// What is wrong with a payload; never a value of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) String);

pub(crate) type Checked<T> = Result<T, Invalid>;

/// Reads the payloads of one stream.
#[derive(Debug)]
pub(crate) struct StreamCodec {
    pub(crate) stream: String,
    fields: Vec<Field>,
    schema: SchemaRef,
    positions: HashMap<String, usize>,
}

impl StreamCodec {
    pub(crate) fn new(stream: &StreamSchema) -> Checked<Self> {
        Self::of_fields(&stream.name, &stream.fields)
    }

    pub(crate) fn of_fields(stream: &str, fields: &[Field]) -> Checked<Self> {
        if fields.is_empty() || fields.len() > STREAM_COLUMNS_MAX {
            return invalid(format!("stream `{stream}` has {} columns, 1 to {STREAM_COLUMNS_MAX} are allowed", fields.len()));
        }
        let positions: HashMap<String, usize> =
            fields.iter().enumerate().map(|(position, field)| (field.name.clone(), position)).collect();
        if positions.len() != fields.len() {
            return invalid(format!("stream `{stream}` has two columns of one name"));
        }
        let schema = Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()));
        Ok(Self { stream: stream.to_owned(), fields: fields.to_vec(), schema, positions })
    }

    /// A payload as a batch in the columns of the schema. Columns that the payload lacks are null; in a deletion also
    /// those that are otherwise never null, because it holds the key only.
    pub(crate) fn decode(&self, payload: Payload, operation: RowOperation) -> Checked<RecordBatch> {
        self.decode_from(payload, operation, None)
    }

    /// As [`StreamCodec::decode`], what the guest made of what it was given: columns that it gave back unchanged are shared.
    pub(crate) fn decode_from(
        &self,
        payload: Payload,
        operation: RowOperation,
        given: Option<Given<'_>>,
    ) -> Checked<RecordBatch> {
        let (rows, mut arrays) = match payload {
            Payload::Columns(columns) => columns::decode(columns, given, &self.fields, &self.positions)?,
            Payload::Ndjson(lines) => ndjson::decode(&lines, &self.fields, &self.positions)?,
        };
        let mut relaxed = false;
        for (array, field) in arrays.iter_mut().zip(&self.fields) {
            if array.as_ref().is_some_and(|array| array.null_count() > 0) || array.is_none() {
                relaxed |= !field.nullable;
                if !field.nullable && operation == RowOperation::Upsert {
                    return invalid(format!("column `{}` has a null, and its schema allows none", field.name));
                }
            }
            if array.is_none() {
                *array = Some(new_null_array(&field.kind.to_arrow(), rows));
            }
        }
        let schema = if relaxed { self.relaxed_schema() } else { Arc::clone(&self.schema) };
        let arrays: Vec<ArrayRef> = arrays.into_iter().flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|error| Invalid(format!("the columns do not fit together: {error}")))
    }

    fn relaxed_schema(&self) -> SchemaRef {
        let relax = |field: &Field| Field { nullable: true, ..field.clone() }.to_arrow();
        Arc::new(Schema::new(self.fields.iter().map(relax).collect::<Vec<_>>()))
    }
}

/// The operation of a part.
pub(crate) fn operation_of(op: RowOp) -> RowOperation {
    match op {
        RowOp::Upsert => RowOperation::Upsert,
        RowOp::Delete => RowOperation::Delete,
    }
}

fn invalid<T>(what: impl Into<String>) -> Checked<T> {
    Err(Invalid(what.into()))
}

fn check_rows(rows: usize) -> Checked<()> {
    if u32::try_from(rows).is_ok_and(|rows| rows <= GUEST_ROWS_MAX) {
        return Ok(());
    }
    invalid(format!("{rows} rows at once, {GUEST_ROWS_MAX} are allowed"))
}

#[cfg(test)]
mod tests;
