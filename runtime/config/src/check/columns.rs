//! Columns under check: name, type, class of personal data, and the Arrow schema a planner needs.

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use arrow::datatypes::Schema;

/// Columns in order, each name once.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) fields: Vec<Field>,
    /// Some columns are not known: what is not found may exist.
    pub(super) incomplete: bool,
}

impl Columns {
    pub(super) fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Adds a column or replaces the one of its name.
    pub(super) fn put(&mut self, name: &str, kind: FieldType, pii: Option<PiiClass>) {
        let mut field = Field::new(name, kind);
        field.pii = pii;
        match self.fields.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = field,
            None => self.fields.push(field),
        }
    }

    pub(super) fn schema(&self) -> Schema {
        Schema::new(self.fields.iter().map(Field::to_arrow).collect::<Vec<_>>())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}

/// The type that values of both fit in without loss of meaning; as `profiles` joins columns of several tables.
pub(super) fn common_kind(a: FieldType, b: FieldType) -> Option<FieldType> {
    use FieldType::{Date, Decimal, Float, Integer, Json, Text, Timestamp};
    match (a, b) {
        _ if a == b => Some(a),
        (Integer, Decimal) | (Decimal, Integer) => Some(Decimal),
        (Integer | Decimal, Float) | (Float, Integer | Decimal) => Some(Float),
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        (Text, Json) | (Json, Text) => Some(Text),
        _ => None,
    }
}
