//! Arrow batches as payloads for a guest: columns by copying buffers, or NDJSON for plugins that accept nothing else.

use affluent_model::schema::{Field, FieldType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, GenericByteArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{ByteArrayType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{Checked, Invalid, decimal, invalid, text};
use crate::bindings::affluent::plugin::types::{BytesColumn, Column, ColumnData, Columns, Payload};

/// In which form a plugin takes batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoder {
    Columns,
    Ndjson,
}

impl Encoder {
    /// The form that the manifest's `formats.accepts` asks for; columns when it can take them.
    pub(crate) fn of(accepts: &[String]) -> Self {
        let ndjson_only = !accepts.is_empty() && !accepts.iter().any(|format| format == "columns");
        if ndjson_only { Self::Ndjson } else { Self::Columns }
    }

    /// # Errors
    /// Columns of a type that no field has; more rows than the contract counts.
    pub(crate) fn encode(self, batch: &RecordBatch) -> Checked<Payload> {
        match self {
            Self::Columns => Ok(Payload::Columns(encode_columns(batch)?)),
            Self::Ndjson => Ok(Payload::Ndjson(encode_lines(batch)?)),
        }
    }
}

/// One row as a JSON object.
///
/// # Errors
/// As [`Encoder::encode`].
pub(crate) fn row_json(batch: &RecordBatch, row: usize) -> Checked<Vec<u8>> {
    if row >= batch.num_rows() {
        return invalid("has fewer rows than that");
    }
    let mut line = encode_lines(&batch.slice(row, 1))?;
    line.pop();
    Ok(line)
}

/// The columns of a batch with their field types, each array in its field's one Arrow type.
pub(crate) fn typed_columns(batch: &RecordBatch) -> Checked<Vec<(Field, ArrayRef)>> {
    let schema = batch.schema_ref();
    let typed = schema.fields().iter().zip(batch.columns()).map(|(arrow_field, array)| {
        let field = Field::from_arrow(arrow_field);
        let field =
            field.ok_or_else(|| Invalid(format!("column `{}` has a type that plugins do not know", arrow_field.name())))?;
        let wanted = field.kind.to_arrow();
        if *array.data_type() == wanted {
            return Ok((field, array.clone()));
        }
        let array = cast(array, &wanted).map_err(|_| Invalid(format!("column `{}` does not fit its type", field.name)))?;
        Ok((field, array))
    });
    typed.collect()
}

/// The values of a column as texts, in the form that NDJSON gives them.
///
/// # Errors
/// An array that is not of the type.
pub(crate) fn texts_of(kind: FieldType, array: &ArrayRef) -> Checked<StringArray> {
    if matches!(kind, FieldType::Text | FieldType::Json) {
        return Ok(as_texts(array).clone());
    }
    let text = |row: usize| match kind {
        FieldType::Boolean => array.as_boolean().value(row).to_string(),
        FieldType::Integer => array.as_primitive::<Int64Type>().value(row).to_string(),
        FieldType::Float => serde_json::json!(array.as_primitive::<Float64Type>().value(row)).to_string(),
        FieldType::Date => text::print_date(array.as_primitive::<Date32Type>().value(row)),
        FieldType::Timestamp => text::print_timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        FieldType::Decimal => decimal::print(array.as_primitive::<Decimal128Type>().value(row)),
        FieldType::Binary => STANDARD.encode(as_binaries(array).value(row)),
        FieldType::Text | FieldType::Json => String::new(),
    };
    Ok((0..array.len()).map(|row| array.is_valid(row).then(|| text(row))).collect())
}

fn encode_columns(batch: &RecordBatch) -> Checked<Columns> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| Invalid("has too many rows".to_owned()))?;
    let encode = |(field, array): (Field, ArrayRef)| {
        let validity = array.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| {
            let bits = nulls.inner().sliced();
            bits.get(..array.len().div_ceil(8)).unwrap_or_default().to_vec()
        });
        Ok(Column { validity, data: encode_data(field.kind, &array)?, name: field.name })
    };
    let columns = typed_columns(batch)?.into_iter().map(encode).collect::<Checked<_>>()?;
    Ok(Columns { rows, columns })
}

fn encode_data(kind: FieldType, array: &ArrayRef) -> Checked<ColumnData> {
    Ok(match kind {
        FieldType::Boolean => ColumnData::Booleans(array.as_boolean().values().iter().map(u8::from).collect()),
        FieldType::Integer => ColumnData::Ints(array.as_primitive::<Int64Type>().values().to_vec()),
        FieldType::Float => ColumnData::Floats(array.as_primitive::<Float64Type>().values().to_vec()),
        FieldType::Date => ColumnData::Dates(array.as_primitive::<Date32Type>().values().to_vec()),
        FieldType::Timestamp => ColumnData::Timestamps(array.as_primitive::<TimestampMicrosecondType>().values().to_vec()),
        FieldType::Text => ColumnData::Texts(encode_bytes(as_texts(array))?),
        FieldType::Json => ColumnData::Jsons(encode_bytes(as_texts(array))?),
        FieldType::Binary => ColumnData::Binaries(encode_bytes::<_>(as_binaries(array))?),
        FieldType::Decimal => {
            let decimals = array.as_primitive::<Decimal128Type>();
            let texts: StringArray = decimals.iter().map(|value| value.map(decimal::print)).collect();
            ColumnData::Decimals(encode_bytes(&texts)?)
        }
    })
}

fn as_texts(array: &ArrayRef) -> &StringArray {
    array.as_string::<i32>()
}

fn as_binaries(array: &ArrayRef) -> &BinaryArray {
    array.as_binary::<i32>()
}

/// The values of a (maybe sliced) array, with offsets from 0.
fn encode_bytes<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> Checked<BytesColumn> {
    let offsets = array.value_offsets();
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let broken = || Invalid("has broken offsets".to_owned());
    let range = usize::try_from(first).map_err(|_| broken())?..usize::try_from(last).map_err(|_| broken())?;
    let data = array.value_data().get(range).ok_or_else(broken)?.to_vec();
    let offsets = offsets.iter().map(|offset| offset.wrapping_sub(first).cast_unsigned()).collect();
    Ok(BytesColumn { offsets, data })
}

fn encode_lines(batch: &RecordBatch) -> Checked<Vec<u8>> {
    let columns = typed_columns(batch)?;
    let mut lines = Vec::new();
    for row in 0..batch.num_rows() {
        write_row(&mut lines, &columns, row).map_err(|_| Invalid("has a value that is no JSON".to_owned()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn write_row(lines: &mut Vec<u8>, columns: &[(Field, ArrayRef)], row: usize) -> Result<(), serde_json::Error> {
    let mut serializer = serde_json::Serializer::new(lines);
    let mut map = serializer.serialize_map(Some(columns.len()))?;
    for (field, array) in columns {
        map.serialize_key(&field.name)?;
        if array.is_null(row) {
            map.serialize_value(&())?;
            continue;
        }
        match field.kind {
            FieldType::Boolean => map.serialize_value(&array.as_boolean().value(row))?,
            FieldType::Integer => map.serialize_value(&array.as_primitive::<Int64Type>().value(row))?,
            FieldType::Float => map.serialize_value(&array.as_primitive::<Float64Type>().value(row))?,
            FieldType::Date => map.serialize_value(&text::print_date(array.as_primitive::<Date32Type>().value(row)))?,
            FieldType::Timestamp => {
                map.serialize_value(&text::print_timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)))?;
            }
            FieldType::Text => map.serialize_value(as_texts(array).value(row))?,
            FieldType::Json => {
                let raw: &RawValue = serde_json::from_str(as_texts(array).value(row))?;
                map.serialize_value(raw)?;
            }
            FieldType::Decimal => map.serialize_value(&decimal::print(array.as_primitive::<Decimal128Type>().value(row)))?,
            FieldType::Binary => map.serialize_value(&STANDARD.encode(as_binaries(array).value(row)))?,
        }
    }
    map.end()
}
