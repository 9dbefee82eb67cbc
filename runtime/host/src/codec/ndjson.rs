//! NDJSON straight into Arrow builders: one visitor per line, no tree of values. Binary is base64, a decimal a number or
//! its text, dates and timestamps text or whole numbers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use affluent_model::limits::{PAGE_BYTES_MAX, RECORD_BYTES_MAX};
use affluent_model::schema::{Field, FieldType};
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Checked, Invalid, check_rows, decimal, invalid, text};

/// The arrays in the order of `fields`; every field has one.
pub(super) fn decode(
    lines: &[u8],
    fields: &[Field],
    positions: &HashMap<String, usize>,
) -> Checked<(usize, Vec<Option<ArrayRef>>)> {
    if u32::try_from(lines.len()).map_or(true, |bytes| bytes > PAGE_BYTES_MAX) {
        return invalid(format!("{} bytes at once, {PAGE_BYTES_MAX} are allowed", lines.len()));
    }
    let mut builders: Vec<Builder> = fields.iter().map(|field| Builder::new(field.kind)).collect();
    let mut rows = 0;
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if line.len() > RECORD_BYTES_MAX {
            return invalid(format!("line {} is larger than {RECORD_BYTES_MAX} bytes", number + 1));
        }
        let row = Row { fields, positions, builders: &mut builders, rows };
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let read = row.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        // The text of a serde error may quote the value: only our own words are kept.
        read.map_err(|error| Invalid(format!("line {} {}", number + 1, describe(&error))))?;
        rows += 1;
        check_rows(rows)?;
    }
    let arrays = builders.iter_mut().map(|builder| builder.finish().map(Some)).collect::<Checked<_>>()?;
    Ok((rows, arrays))
}

/// Marks errors of ours, which hold no value.
const OURS: &str = "\u{1}";

fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let ours = text.strip_prefix(OURS).and_then(|rest| rest.split_once(OURS)).map(|(ours, _)| ours.to_owned());
    let what = if error.is_data() { "does not fit the schema" } else { "is no JSON object" };
    ours.unwrap_or_else(|| format!("{what} (column {})", error.column()))
}

struct Row<'a> {
    fields: &'a [Field],
    positions: &'a HashMap<String, usize>,
    builders: &'a mut [Builder],
    /// Rows before this one: builders that are longer have their value already.
    rows: usize,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Key(self.positions))? {
            let place = place.ok_or_else(|| ours::<A::Error>("has a column that is not in the schema"))?;
            let (Some(builder), Some(field)) = (self.builders.get_mut(place), self.fields.get(place)) else { break };
            if builder.len() > self.rows {
                return Err(ours(&format!("has column `{}` twice", field.name)));
            }
            map.next_value_seed(Value { builder, field })?;
        }
        for builder in self.builders.iter_mut().filter(|builder| builder.len() == self.rows) {
            builder.append_null();
        }
        Ok(())
    }
}

fn ours<E: serde::de::Error>(what: &str) -> E {
    E::custom(format_args!("{OURS}{what}{OURS}"))
}

/// A key as the place of its column, without keeping its text.
struct Key<'a>(&'a HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name).copied())
    }
}

struct Value<'a> {
    builder: &'a mut Builder,
    field: &'a Field,
}

impl Value<'_> {
    fn mismatch<E: serde::de::Error>(&self) -> E {
        ours(&format!("has a value of column `{}` that is no {}", self.field.name, self.field.kind.as_str()))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.kind {
            // The text itself is wanted: numbers must not pass through f64.
            FieldType::Json | FieldType::Decimal => {
                let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
                let appended = self.builder.append_raw(raw.get());
                if appended { Ok(()) } else { Err(self.mismatch()) }
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl Visitor<'_> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the column's type")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        let Builder::Boolean(builder) = self.builder else { return Err(self.mismatch()) };
        builder.append_value(value);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        #[expect(clippy::cast_precision_loss, reason = "the column is declared as 64-bit float")]
        match &mut *self.builder {
            Builder::Integer(builder) => builder.append_value(value),
            Builder::Timestamp(builder) => builder.append_value(value),
            Builder::Float(builder) => builder.append_value(value as f64),
            Builder::Date(builder) => {
                builder.append_value(i32::try_from(value).map_err(|_| ours::<E>("has a date out of range"))?);
            }
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            #[expect(clippy::cast_precision_loss, reason = "the column is declared as 64-bit float")]
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        let Builder::Float(builder) = self.builder else { return Err(self.mismatch()) };
        builder.append_value(value);
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let appended = match &mut *self.builder {
            Builder::Text(builder) => {
                builder.append_value(value);
                true
            }
            Builder::Date(builder) => text::parse_date(value).map(|value| builder.append_value(value)).is_some(),
            Builder::Timestamp(builder) => text::parse_timestamp(value).map(|value| builder.append_value(value)).is_some(),
            Builder::Binary(builder) => STANDARD.decode(value).map(|value| builder.append_value(value)).is_ok(),
            _ => false,
        };
        if appended { Ok(()) } else { Err(self.mismatch()) }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.builder.append_null();
        Ok(())
    }
}

enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Json(StringBuilder),
    Binary(BinaryBuilder),
}

/// Runs an expression on whichever builder it is.
macro_rules! each_builder {
    ($builder:expr, $inner:ident => $action:expr) => {
        match $builder {
            Builder::Boolean($inner) => $action,
            Builder::Integer($inner) => $action,
            Builder::Float($inner) => $action,
            Builder::Decimal($inner) => $action,
            Builder::Date($inner) => $action,
            Builder::Timestamp($inner) => $action,
            Builder::Text($inner) | Builder::Json($inner) => $action,
            Builder::Binary($inner) => $action,
        }
    };
}

impl Builder {
    fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Float => Self::Float(Float64Builder::new()),
            FieldType::Decimal => Self::Decimal(Decimal128Builder::new()),
            FieldType::Date => Self::Date(Date32Builder::new()),
            FieldType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            FieldType::Text => Self::Text(StringBuilder::new()),
            FieldType::Json => Self::Json(StringBuilder::new()),
            FieldType::Binary => Self::Binary(BinaryBuilder::new()),
        }
    }

    fn len(&self) -> usize {
        use arrow::array::ArrayBuilder as _;
        each_builder!(self, builder => builder.len())
    }

    fn append_null(&mut self) {
        each_builder!(self, builder => builder.append_null());
    }

    /// The raw JSON of a value; false when it does not fit.
    fn append_raw(&mut self, raw: &str) -> bool {
        if raw == "null" {
            self.append_null();
            return true;
        }
        match self {
            Self::Json(builder) => {
                builder.append_value(raw);
                true
            }
            Self::Decimal(builder) => {
                let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
                decimal::parse(text).map(|value| builder.append_value(value)).is_some()
            }
            _ => false,
        }
    }

    fn finish(&mut self) -> Checked<ArrayRef> {
        match self {
            Self::Decimal(builder) => Ok(Arc::new(decimal::with_type(builder.finish())?)),
            Self::Timestamp(builder) => Ok(Arc::new(builder.finish().with_timezone("UTC"))),
            other => Ok(each_builder!(other, builder => Arc::new(builder.finish()))),
        }
    }
}
