//! Columns of a guest as Arrow arrays. Numbers and bytes move; only what differs in form (booleans, decimals) is
//! rewritten.

use std::collections::HashMap;
use std::sync::Arc;

use affluent_model::limits::{PAGE_BYTES_MAX, RECORD_BYTES_MAX};
use affluent_model::schema::{Field, FieldType};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::record_batch::RecordBatch;
use serde::de::IgnoredAny;

use super::{Checked, Invalid, check_rows, decimal, invalid};
use crate::bindings::affluent::plugin::types::{BytesColumn, Column, ColumnData, Columns};

/// Columns as a guest was given them, and the batch that they were made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) columns: &'a Columns,
    pub(crate) records: &'a RecordBatch,
}

impl Given<'_> {
    /// The array that `column` was made of, when the guest gave it back as it was and its type is still that of `field`:
    /// then it has been checked already, and is shared instead of kept twice.
    fn unchanged(&self, column: &Column, field: &Field) -> Option<ArrayRef> {
        let place = self.columns.columns.iter().position(|given| given.name == column.name)?;
        let array = self.records.columns().get(place)?;
        let is_same = *array.data_type() == field.kind.to_arrow() && self.columns.columns.get(place) == Some(column);
        is_same.then(|| Arc::clone(array))
    }
}

/// The arrays in the order of `fields`, `None` where the payload has no such column.
pub(super) fn decode(
    columns: Columns,
    given: Option<Given<'_>>,
    fields: &[Field],
    positions: &HashMap<String, usize>,
) -> Checked<(usize, Vec<Option<ArrayRef>>)> {
    let given = given.filter(|given| given.columns.rows == columns.rows);
    let rows = usize::try_from(columns.rows).unwrap_or(usize::MAX);
    check_rows(rows)?;
    check_bytes(&columns.columns, rows)?;
    let mut arrays: Vec<Option<ArrayRef>> = vec![None; fields.len()];
    for column in columns.columns {
        let place = positions.get(&column.name).copied();
        let (Some(field), Some(array)) =
            (place.and_then(|place| fields.get(place)), place.and_then(|place| arrays.get_mut(place)))
        else {
            return invalid(format!("column `{}` is not in the schema", crate::failure::clean_text(&column.name, 64)));
        };
        if array.is_some() {
            return invalid(format!("column `{}` is there twice", field.name));
        }
        if let Some(unchanged) = given.and_then(|given| given.unchanged(&column, field)) {
            *array = Some(unchanged);
            continue;
        }
        let decoded = decode_column(column, field, rows);
        *array = Some(decoded.map_err(|Invalid(what)| Invalid(format!("column `{}` {what}", field.name)))?);
    }
    Ok((rows, arrays))
}

fn decode_column(column: Column, field: &Field, rows: usize) -> Checked<ArrayRef> {
    let nulls = decode_validity(column.validity, rows)?;
    let length = match &column.data {
        ColumnData::Booleans(values) => values.len(),
        ColumnData::Ints(values) | ColumnData::Timestamps(values) => values.len(),
        ColumnData::Floats(values) => values.len(),
        ColumnData::Dates(values) => values.len(),
        ColumnData::Texts(bytes) | ColumnData::Jsons(bytes) | ColumnData::Decimals(bytes) | ColumnData::Binaries(bytes) => {
            bytes.offsets.len().saturating_sub(1)
        }
    };
    if length != rows {
        return invalid(format!("has {length} values in {rows} rows"));
    }
    let array: ArrayRef = match (column.data, field.kind) {
        (ColumnData::Booleans(values), FieldType::Boolean) => Arc::new(BooleanArray::new(decode_booleans(&values)?, nulls)),
        (ColumnData::Ints(values), FieldType::Integer) => Arc::new(Int64Array::new(ScalarBuffer::from(values), nulls)),
        (ColumnData::Floats(values), FieldType::Float) => Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls)),
        (ColumnData::Dates(values), FieldType::Date) => Arc::new(Date32Array::new(ScalarBuffer::from(values), nulls)),
        (ColumnData::Timestamps(values), FieldType::Timestamp) => {
            Arc::new(TimestampMicrosecondArray::new(ScalarBuffer::from(values), nulls).with_timezone("UTC"))
        }
        (ColumnData::Texts(bytes), FieldType::Text) => Arc::new(decode_texts(bytes, nulls)?),
        (ColumnData::Jsons(bytes), FieldType::Json) => {
            let texts = decode_texts(bytes, nulls)?;
            check_json(&texts)?;
            Arc::new(texts)
        }
        (ColumnData::Decimals(bytes), FieldType::Decimal) => Arc::new(decimal::decode(&decode_texts(bytes, nulls)?)?),
        (ColumnData::Binaries(bytes), FieldType::Binary) => {
            let (offsets, data) = decode_bytes(bytes)?;
            Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(|_| Invalid("has broken offsets".to_owned()))?)
        }
        (data, kind) => return invalid(format!("is sent as {}, its schema says {}", kind_of(&data), kind.as_str())),
    };
    Ok(array)
}

fn kind_of(data: &ColumnData) -> &'static str {
    match data {
        ColumnData::Booleans(_) => "booleans",
        ColumnData::Ints(_) => "ints",
        ColumnData::Floats(_) => "floats",
        ColumnData::Dates(_) => "dates",
        ColumnData::Timestamps(_) => "timestamps",
        ColumnData::Texts(_) => "texts",
        ColumnData::Jsons(_) => "jsons",
        ColumnData::Decimals(_) => "decimals",
        ColumnData::Binaries(_) => "binaries",
    }
}

fn decode_validity(validity: Option<Vec<u8>>, rows: usize) -> Checked<Option<NullBuffer>> {
    let Some(bits) = validity else { return Ok(None) };
    if bits.len() != rows.div_ceil(8) {
        return invalid(format!("has a validity of {} bytes for {rows} rows", bits.len()));
    }
    Ok(Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows))))
}

fn decode_booleans(values: &[u8]) -> Checked<BooleanBuffer> {
    if values.iter().any(|value| *value > 1) {
        return invalid("has a boolean that is neither 0 nor 1");
    }
    Ok(values.iter().map(|value| *value == 1).collect())
}

/// Offsets that start at 0, never fall and end inside the data.
fn decode_bytes(bytes: BytesColumn) -> Checked<(OffsetBuffer<i32>, Buffer)> {
    let starts_at_0 = bytes.offsets.first() == Some(&0);
    let rises = bytes.offsets.is_sorted();
    let last = bytes.offsets.last().copied().unwrap_or(u32::MAX);
    let is_inside = usize::try_from(last).is_ok_and(|last| last <= bytes.data.len()) && i32::try_from(last).is_ok();
    if !starts_at_0 || !rises || !is_inside {
        return invalid("has offsets that do not start at 0, fall, or leave the data");
    }
    // All offsets are at most `last`, which fits; the allocation is reused.
    let offsets: Vec<i32> = bytes.offsets.into_iter().map(u32::cast_signed).collect();
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes.data)))
}

fn decode_texts(bytes: BytesColumn, nulls: Option<NullBuffer>) -> Checked<StringArray> {
    let (offsets, data) = decode_bytes(bytes)?;
    // Checks UTF-8, and that no offset cuts a character.
    StringArray::try_new(offsets, data, nulls).map_err(|_| Invalid("has text that is not UTF-8".to_owned()))
}

fn check_json(texts: &StringArray) -> Checked<()> {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    match texts.iter().position(|text| text.is_some_and(|text| !is_json(text))) {
        None => Ok(()),
        Some(row) => invalid(format!("has a value that is no JSON document in row {row}")),
    }
}

/// The ceilings of a page and of one record. Per record only the values of variable length are summed, and only when
/// their sum could hold a record that is too large.
fn check_bytes(columns: &[Column], rows: usize) -> Checked<()> {
    let bytes_of = |column: &Column| {
        match &column.data {
            ColumnData::Texts(bytes) | ColumnData::Jsons(bytes) | ColumnData::Decimals(bytes) | ColumnData::Binaries(bytes) => {
                Some(bytes)
            }
            _ => None,
        }
        .map_or(8 * rows, |bytes| bytes.data.len() + 4 * bytes.offsets.len())
    };
    let total: usize = columns.iter().map(bytes_of).sum();
    if u32::try_from(total).map_or(true, |total| total > PAGE_BYTES_MAX) {
        return invalid(format!("{total} bytes at once, {PAGE_BYTES_MAX} are allowed"));
    }
    if total <= RECORD_BYTES_MAX {
        return Ok(());
    }
    let mut record_bytes = vec![0usize; rows];
    for column in columns {
        let (ColumnData::Texts(bytes) | ColumnData::Jsons(bytes) | ColumnData::Decimals(bytes) | ColumnData::Binaries(bytes)) =
            &column.data
        else {
            continue;
        };
        for (sum, (from, to)) in record_bytes.iter_mut().zip(bytes.offsets.iter().zip(bytes.offsets.iter().skip(1))) {
            *sum += usize::try_from(to.saturating_sub(*from)).unwrap_or(usize::MAX);
        }
    }
    match record_bytes.iter().position(|bytes| *bytes > RECORD_BYTES_MAX) {
        None => Ok(()),
        Some(row) => invalid(format!("row {row} is larger than {RECORD_BYTES_MAX} bytes")),
    }
}
