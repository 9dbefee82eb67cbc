//! Stream schemas: what a source says about the records of one stream, and their Arrow form.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pii::PiiClass;

/// Arrow metadata key: the [`PiiClass`] of a column.
pub const PII_KEY: &str = "affluent.pii";
/// Arrow metadata key: the [`FieldType`] word of a column; needed where Arrow types coincide (json is Utf8).
pub const TYPE_KEY: &str = "affluent.type";
/// Arrow metadata key on a Binary column that holds ECF1 ciphertexts: the [`FieldType`] word of the plaintext.
pub const SEALED_KEY: &str = "affluent.sealed";

/// Exact decimals are kept as Arrow `Decimal128(38, 6)`: 32 digits before the point, 6 after.
pub const DECIMAL_PRECISION: u8 = 38;
/// Digits after the point of a decimal.
pub const DECIMAL_SCALE: i8 = 6;

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    Boolean,
    /// 64-bit signed.
    Integer,
    /// 64-bit IEEE 754.
    Float,
    /// Exact, see [`DECIMAL_SCALE`].
    Decimal,
    /// Days, no zone.
    Date,
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Timestamp,
    Text,
    /// One JSON document per value.
    Json,
    Binary,
}

impl FieldType {
    const WORDS: [(Self, &'static str); 9] = [
        (Self::Boolean, "boolean"),
        (Self::Integer, "integer"),
        (Self::Float, "float"),
        (Self::Decimal, "decimal"),
        (Self::Date, "date"),
        (Self::Timestamp, "timestamp"),
        (Self::Text, "text"),
        (Self::Json, "json"),
        (Self::Binary, "binary"),
    ];

    /// The word used in schemas.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("text", |(_, word)| word)
    }

    /// Parses the word used in schemas.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// The one Arrow type of this field type.
    #[must_use]
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Decimal => DataType::Decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
        }
    }

    /// The field type that an expression's result is stored as; `None` for types that no field has (lists, structs).
    /// Narrower numbers widen, other timestamps become UTC microseconds.
    #[must_use]
    pub fn from_arrow(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Boolean),
            kind if kind.is_integer() => Some(Self::Integer),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(Self::Float),
            kind if kind.is_decimal() => Some(Self::Decimal),
            DataType::Date32 | DataType::Date64 => Some(Self::Date),
            DataType::Timestamp(_, _) => Some(Self::Timestamp),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Some(Self::Text),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Some(Self::Binary),
            _ => None,
        }
    }
}

/// One column of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: FieldType,
    #[serde(default = "yes")]
    pub nullable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii: Option<PiiClass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

fn yes() -> bool {
    true
}

impl Field {
    /// A nullable field that is not personal.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self { name: name.into(), kind, nullable: true, pii: None, description: None }
    }

    #[must_use]
    pub fn with_pii(mut self, pii: PiiClass) -> Self {
        self.pii = Some(pii);
        self
    }

    /// The Arrow field with type and PII class in its metadata.
    #[must_use]
    pub fn to_arrow(&self) -> ArrowField {
        let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), self.kind.as_str().to_owned())]);
        if let Some(pii) = self.pii {
            metadata.insert(PII_KEY.to_owned(), pii.as_str().to_owned());
        }
        ArrowField::new(&self.name, self.kind.to_arrow(), self.nullable).with_metadata(metadata)
    }

    /// Reads back what [`Field::to_arrow`] wrote; a column made by an expression gets the type of its Arrow type.
    #[must_use]
    pub fn from_arrow(field: &ArrowField) -> Option<Self> {
        let metadata = field.metadata();
        let kind = match metadata.get(TYPE_KEY).and_then(|word| FieldType::from_word(word)) {
            Some(kind) if kind.to_arrow() == *field.data_type() => kind,
            _ => FieldType::from_arrow(field.data_type())?,
        };
        let pii = metadata.get(PII_KEY).and_then(|word| PiiClass::from_word(word));
        Some(Self { name: field.name().clone(), kind, nullable: field.is_nullable(), pii, description: None })
    }
}

/// How a stream may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// Everything, every run.
    FullRefresh,
    /// What changed since the last checkpoint.
    Incremental,
}

/// The stream whose records this stream's records belong to; both travel in the same page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentStream {
    pub stream: String,
    /// The field of the child that holds the parent's primary key.
    pub field: String,
}

/// What a source says about one of its streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSchema {
    /// What pipelines name under `streams`.
    pub name: String,
    /// Columns, in the order of the batches.
    pub fields: Vec<Field>,
    /// Names of fields; empty when the stream has no key, then every record is new.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The field that says when a record last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_field: Option<String>,
    /// How it may be read.
    pub sync_modes: Vec<SyncMode>,
    /// Set for a child stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentStream>,
}

impl StreamSchema {
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The Arrow schema of this stream's batches, columns in the order of `fields`.
    #[must_use]
    pub fn to_arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
    }

    /// The same stream with the columns of `schema`: what transforms made of it.
    #[must_use]
    pub fn with_arrow(&self, schema: &Schema) -> Self {
        let fields = schema.fields().iter().filter_map(|field| Field::from_arrow(field)).collect();
        Self { fields, ..self.clone() }
    }
}
