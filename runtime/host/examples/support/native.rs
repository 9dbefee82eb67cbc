//! Arrow batches as the SDK's columns and back, for a transform that is compiled natively.

use std::sync::Arc;

use affluent_sdk::columns::{BytesColumn, Column, ColumnData, into_columns};
use affluent_sdk::{Columns, Payload};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

use super::support::Failed;

/// The columns of a batch, copied as the host copies them.
pub(crate) fn columns(batch: &RecordBatch) -> Result<Columns, Failed> {
    let schema = batch.schema_ref();
    let column = |(field, array): (&Arc<arrow::datatypes::Field>, &ArrayRef)| -> Result<Column, Failed> {
        let data = match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                let offsets = texts.value_offsets().iter().map(|offset| offset.cast_unsigned()).collect();
                ColumnData::Texts(BytesColumn { offsets, data: texts.value_data().to_vec() })
            }
            DataType::Boolean => ColumnData::Booleans(array.as_boolean().values().iter().map(u8::from).collect()),
            DataType::Int64 => ColumnData::Ints(array.as_primitive::<Int64Type>().values().to_vec()),
            DataType::Timestamp(..) => ColumnData::Timestamps(array.as_primitive::<TimestampMicrosecondType>().values().to_vec()),
            other => return Err(format!("no column for {other}").into()),
        };
        let validity = array.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.validity().to_vec());
        Ok(Column { name: field.name().clone(), validity, data })
    };
    let columns = schema.fields().iter().zip(batch.columns()).map(column).collect::<Result<_, _>>()?;
    Ok(Columns { rows: u32::try_from(batch.num_rows())?, columns })
}

/// A batch of the columns; Arrow checks offsets and texts.
pub(crate) fn batch(payload: Payload) -> Result<RecordBatch, Failed> {
    let columns = into_columns(payload)?;
    let rows = usize::try_from(columns.rows)?;
    let array = |column: Column| -> Result<(String, ArrayRef, bool), Failed> {
        let nulls = column.validity.map(|bits| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)));
        let array: ArrayRef = match column.data {
            ColumnData::Texts(BytesColumn { offsets, data }) => {
                let offsets: Vec<i32> = offsets.into_iter().map(u32::cast_signed).collect();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(data), nulls)?)
            }
            ColumnData::Booleans(values) => Arc::new(BooleanArray::new(values.iter().map(|value| *value == 1).collect(), nulls)),
            ColumnData::Ints(values) => Arc::new(Int64Array::new(ScalarBuffer::from(values), nulls)),
            ColumnData::Timestamps(values) => {
                Arc::new(TimestampMicrosecondArray::new(ScalarBuffer::from(values), nulls).with_timezone("UTC"))
            }
            _ => return Err("no array for this column".into()),
        };
        Ok((column.name, array, true))
    };
    let arrays = columns.columns.into_iter().map(array).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(arrays)?)
}
