//! Reading single values out of Arrow columns, for the few places that must go row by row: keys, identifiers, sealing,
//! dead letters. Everything else stays columnar.

use affluent_lake::RefusedRow;
use affluent_model::batch::Rejected;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_vault::FieldValue;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};

/// A column by name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::bug(format!("column `{name}` is not in the batch")))
}

/// A column as text; numbers and times in their canonical form.
pub(crate) fn as_text(array: &ArrayRef) -> Result<ArrayRef> {
    cast_to(array, &DataType::Utf8)
}

/// A column as views of texts.
pub(crate) fn as_views(array: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast_to(array, &DataType::Utf8View)?.as_string_view().clone())
}

/// Casts a column, with the engine's error.
pub(crate) fn cast_to(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(ArrayRef::clone(array));
    }
    cast(array, wanted)
        .map_err(|error| Error::bug(format!("a column of type {} cannot become {wanted}: {error}", array.data_type())))
}

/// One value in the form the vault seals; `None` for null.
pub(crate) fn field_value<'a>(array: &'a ArrayRef, kind: FieldType, row: usize) -> Option<FieldValue<'a>> {
    if array.is_null(row) {
        return None;
    }
    Some(match kind {
        FieldType::Text => FieldValue::Text(array.as_string::<i32>().value(row)),
        FieldType::Json => FieldValue::Json(array.as_string::<i32>().value(row)),
        FieldType::Binary => FieldValue::Bytes(array.as_binary::<i32>().value(row)),
        FieldType::Integer => FieldValue::I64(array.as_primitive::<Int64Type>().value(row)),
        FieldType::Float => FieldValue::F64(array.as_primitive::<Float64Type>().value(row)),
        FieldType::Boolean => FieldValue::Bool(array.as_boolean().value(row)),
        FieldType::Date => FieldValue::I64(i64::from(array.as_primitive::<Date32Type>().value(row))),
        FieldType::Timestamp => FieldValue::TimestampUs(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        FieldType::Decimal => return None,
    })
}

/// The column as the vault seals it: decimals become text, since they have no type byte of their own.
pub(crate) fn sealable(array: &ArrayRef, kind: FieldType) -> Result<(ArrayRef, FieldType)> {
    match kind {
        FieldType::Decimal => Ok((as_text(array)?, FieldType::Text)),
        other => Ok((cast_to(array, &other.to_arrow())?, other)),
    }
}

/// A row for which an expression could not be computed, on its way to the dead letters.
pub(crate) fn not_computed(stream: &str, batch: &RecordBatch, refused: &RefusedRow) -> Rejected {
    let step = refused.error.at.first().map_or_else(String::new, |step| format!("{step}: "));
    Rejected {
        stream: stream.to_owned(),
        place: format!("row {} of a page", refused.row + 1),
        code: "expression.not_computed".to_owned(),
        message: format!("{step}{}", refused.error.message),
        raw: Some(row_as_json(batch, refused.row)),
    }
}

/// A row as a JSON object, for a dead letter; sealed by the caller before it is stored.
pub(crate) fn row_as_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut object = serde_json::Map::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        object.insert(field.name().clone(), json_value(array, row));
    }
    serde_json::Value::Object(object).to_string().into_bytes()
}

/// One value as JSON: decimals, dates and times as text.
pub(crate) fn json_value(array: &ArrayRef, row: usize) -> serde_json::Value {
    if array.is_null(row) {
        return serde_json::Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        _ => match as_text(&array.slice(row, 1)) {
            Ok(text) => text.as_string::<i32>().value(0).into(),
            Err(_) => serde_json::Value::Null,
        },
    }
}
