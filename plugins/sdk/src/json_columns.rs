//! Received columns as JSON values, for destinations that speak JSON: numbers stay numbers, instants become RFC 3339.

use serde_json::{Number, Value};

use crate::columns::{BooleanColumn, Column, ColumnData, Columns, DateColumn, FloatColumn, IntegerColumn, TextColumn};
use crate::error::{Error, Result};
use crate::values;

/// One column whose values are read as JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonColumn<'a> {
    name: &'a str,
    values: Values<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Boolean(BooleanColumn<'a>),
    Integer(IntegerColumn<'a>),
    Float(FloatColumn<'a>),
    Date(DateColumn<'a>),
    Timestamp(IntegerColumn<'a>),
    Text(TextColumn<'a>),
    Json(TextColumn<'a>),
    Decimal(TextColumn<'a>),
}

impl<'a> JsonColumn<'a> {
    /// All columns of a batch.
    ///
    /// # Errors
    /// `unsupported` for a binary column: JSON has no form for it.
    pub fn all(columns: &'a Columns) -> Result<Vec<Self>> {
        columns.columns.iter().map(|column| Self::new(columns, column)).collect()
    }

    fn new(columns: &'a Columns, column: &'a Column) -> Result<Self> {
        let name = column.name.as_str();
        let values = match column.data {
            ColumnData::Booleans(_) => Values::Boolean(columns.booleans(name)?),
            ColumnData::Ints(_) => Values::Integer(columns.integers(name)?),
            ColumnData::Floats(_) => Values::Float(columns.floats(name)?),
            ColumnData::Dates(_) => Values::Date(columns.dates(name)?),
            ColumnData::Timestamps(_) => Values::Timestamp(columns.timestamps(name)?),
            ColumnData::Texts(_) => Values::Text(columns.text(name)?),
            ColumnData::Jsons(_) => Values::Json(columns.json(name)?),
            ColumnData::Decimals(_) => Values::Decimal(columns.decimals(name)?),
            ColumnData::Binaries(_) => {
                return Err(Error::unsupported(format!("column `{name}` is binary, which JSON cannot hold")));
            }
        };
        Ok(Self { name, values })
    }

    /// The column's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The value of row `row`; null beyond the last row. A decimal has the precision of a float.
    ///
    /// # Errors
    /// `invalid_data` when a `json` value is no JSON document.
    pub fn get(&self, row: usize) -> Result<Value> {
        let value = match &self.values {
            Values::Boolean(values) => values.get(row).map(Value::Bool),
            Values::Integer(values) => values.get(row).map(Value::from),
            Values::Float(values) => values.get(row).map(Value::from),
            Values::Date(values) => values.get(row).map(|days| written(|out| values::write_date(days, out))),
            Values::Timestamp(values) => values.get(row).map(|us| written(|out| values::write_timestamp(us, out))),
            Values::Text(values) => values.get(row).map(Value::from),
            Values::Json(values) => values.get(row).map(|text| self.document(text)).transpose()?,
            Values::Decimal(values) => {
                values.get(row).map(|text| text.parse::<Number>().map_or_else(|_| text.into(), Value::Number))
            }
        };
        Ok(value.unwrap_or_default())
    }

    fn document(&self, text: &str) -> Result<Value> {
        serde_json::from_str(text).map_err(|_| Error::invalid_data(format!("column `{}` holds no JSON document", self.name)))
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).map_or(Value::Null, Value::String)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ColumnsBuilder, Field, FieldType};

    #[test]
    fn every_type_has_its_form() {
        let cases = [
            (FieldType::Boolean, "true", json!(true)),
            (FieldType::Integer, "7", json!(7)),
            (FieldType::Float, "1.5", json!(1.5)),
            (FieldType::Decimal, "120.500000", json!(120.5)),
            (FieldType::Date, "2026-01-31", json!("2026-01-31")),
            (FieldType::Timestamp, "2026-01-31T10:20:30Z", json!("2026-01-31T10:20:30Z")),
            (FieldType::Text, "a \"b\"", json!("a \"b\"")),
            (FieldType::Json, r#"{"a":[1]}"#, json!({ "a": [1] })),
        ];

        for (field_type, text, expected) in cases {
            let mut rows = ColumnsBuilder::new(&[Field::new("x", field_type)]);
            rows.set("x", text).unwrap();
            rows.end_row();
            rows.end_row();
            let columns = rows.finish();

            let [column] = JsonColumn::all(&columns).unwrap()[..] else { panic!("one column") };

            assert_eq!(column.get(0).unwrap(), expected, "{}", field_type.as_str());
            assert_eq!(column.get(1).unwrap(), Value::Null);
        }
    }
}
