//! One row as bytes and back: what waits in the outbox. A version byte, then per column a tag and the value; the columns'
//! types are not stored, the reader knows them. Written and read by this file alone.

use std::sync::Arc;

use affluent_model::schema::{DECIMAL_PRECISION, DECIMAL_SCALE, Field, FieldType};
use affluent_model::{Error, Result};
use affluent_vault::FieldValue;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, Schema, TimestampMicrosecondType};

const VERSION: u8 = 1;
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// Appends one row of typed columns (each in the Arrow type of its field).
pub(crate) fn encode(columns: &[(FieldType, &ArrayRef)], row: usize, out: &mut Vec<u8>) {
    out.push(VERSION);
    for (kind, array) in columns {
        if array.is_null(row) {
            out.push(ABSENT);
            continue;
        }
        out.push(PRESENT);
        match kind {
            FieldType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            FieldType::Integer => out.extend(array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
            FieldType::Float => out.extend(array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
            FieldType::Decimal => out.extend(array.as_primitive::<Decimal128Type>().value(row).to_le_bytes()),
            FieldType::Date => out.extend(array.as_primitive::<Date32Type>().value(row).to_le_bytes()),
            FieldType::Timestamp => out.extend(array.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes()),
            FieldType::Text | FieldType::Json => bytes(array.as_string::<i32>().value(row).as_bytes(), out),
            FieldType::Binary => bytes(array.as_binary::<i32>().value(row), out),
        }
    }
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(value);
}

/// Rows back as one batch of these columns.
///
/// # Errors
/// `E0806` when the bytes are of another version or shape.
pub(crate) fn decode(fields: &[Field], rows: &[Vec<u8>]) -> Result<RecordBatch> {
    let mut columns: Vec<Column> = fields.iter().map(|field| Column::new(field.kind)).collect();
    for row in rows {
        let mut reader = Reader { bytes: row };
        if reader.take(1)? != [VERSION] {
            return Err(malformed());
        }
        for column in &mut columns {
            column.read(&mut reader)?;
        }
        if !reader.bytes.is_empty() {
            return Err(malformed());
        }
    }
    let schema = Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema, arrays).map_err(|error| Error::bug(error.to_string()))
}

fn malformed() -> Error {
    Error::external("E0806", "a stored row is not of the form this program writes")
        .help("it was written by another version: give the pipeline another name, then it sends every row again")
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    fn sized(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.fixed()?);
        self.take(usize::try_from(length).map_err(|_| malformed())?)
    }

    fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.sized()?).map_err(|_| malformed())
    }
}

/// A growing column of one field type.
pub(crate) enum Column {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl Column {
    pub(crate) fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Float => Self::Float(Float64Builder::new()),
            FieldType::Decimal => Self::Decimal(Decimal128Builder::new()),
            FieldType::Date => Self::Date(Date32Builder::new()),
            FieldType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            FieldType::Text | FieldType::Json => Self::Text(StringBuilder::new()),
            FieldType::Binary => Self::Binary(BinaryBuilder::new()),
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let is_present = match reader.take(1)? {
            [PRESENT] => true,
            [ABSENT] => false,
            _ => return Err(malformed()),
        };
        macro_rules! append {
            ($builder:expr, $value:expr) => {
                $builder.append_option(if is_present { Some($value) } else { None })
            };
        }
        match self {
            Self::Boolean(builder) => append!(builder, reader.fixed::<1>()? == [1]),
            Self::Integer(builder) => append!(builder, i64::from_le_bytes(reader.fixed()?)),
            Self::Float(builder) => append!(builder, f64::from_le_bytes(reader.fixed()?)),
            Self::Decimal(builder) => append!(builder, i128::from_le_bytes(reader.fixed()?)),
            Self::Date(builder) => append!(builder, i32::from_le_bytes(reader.fixed()?)),
            Self::Timestamp(builder) => append!(builder, i64::from_le_bytes(reader.fixed()?)),
            Self::Text(builder) => append!(builder, reader.text()?),
            Self::Binary(builder) => append!(builder, reader.sized()?),
        }
        Ok(())
    }

    /// Appends an opened value; one of another type than the column's becomes null.
    pub(crate) fn push(&mut self, value: Option<FieldValue<'_>>) {
        match (self, value) {
            (Self::Boolean(builder), Some(FieldValue::Bool(value))) => builder.append_value(value),
            (Self::Integer(builder), Some(FieldValue::I64(value))) => builder.append_value(value),
            (Self::Float(builder), Some(FieldValue::F64(value))) => builder.append_value(value),
            (Self::Date(builder), Some(FieldValue::I64(value))) => builder.append_option(i32::try_from(value).ok()),
            (Self::Timestamp(builder), Some(FieldValue::TimestampUs(value))) => builder.append_value(value),
            (Self::Text(builder), Some(FieldValue::Text(value) | FieldValue::Json(value))) => builder.append_value(value),
            (Self::Binary(builder), Some(FieldValue::Bytes(value))) => builder.append_value(value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Decimal(builder), _) => builder.append_null(),
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Timestamp(builder), _) => builder.append_null(),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Binary(builder), _) => builder.append_null(),
        }
    }

    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Integer(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => {
                let typed = builder.finish().with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE);
                Arc::new(typed.map_err(|error| Error::bug(error.to_string()))?)
            }
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Decimal128Array, Int64Array, StringArray};

    use super::*;

    fn sample() -> (Vec<Field>, Vec<ArrayRef>) {
        let decimals = Decimal128Array::from(vec![Some(1_500_000), None]).with_precision_and_scale(38, 6).unwrap();
        let fields = vec![
            Field::new("name", FieldType::Text),
            Field::new("spent", FieldType::Decimal),
            Field::new("orders", FieldType::Integer),
            Field::new("vip", FieldType::Boolean),
        ];
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("Zoë"), None])),
            Arc::new(decimals),
            Arc::new(Int64Array::from(vec![Some(-3), Some(i64::MAX)])),
            Arc::new(BooleanArray::from(vec![None, Some(true)])),
        ];
        (fields, arrays)
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        let (fields, arrays) = sample();
        let columns: Vec<_> = fields.iter().map(|field| field.kind).zip(&arrays).collect();

        let rows: Vec<Vec<u8>> = (0..2)
            .map(|row| {
                let mut out = Vec::new();
                encode(&columns, row, &mut out);
                out
            })
            .collect();

        assert_eq!(decode(&fields, &rows).unwrap().columns(), &arrays[..]);
    }

    #[test]
    fn a_cut_or_lengthened_row_is_an_error_and_never_a_panic() {
        let (fields, arrays) = sample();
        let columns: Vec<_> = fields.iter().map(|field| field.kind).zip(&arrays).collect();
        let mut whole = Vec::new();
        encode(&columns, 0, &mut whole);

        for length in 0..whole.len() {
            assert!(decode(&fields, &[whole[..length].to_vec()]).is_err(), "{length} bytes");
        }
        whole.push(0);
        assert!(decode(&fields, &[whole]).is_err());
    }
}
