//! Received columns as JSON values, for destinations that speak JSON: numbers stay numbers, instants become RFC 3339.
//!
//! ```
//! use affluent_sdk::json_columns::JsonRows;
//! use affluent_sdk::{ColumnsBuilder, Field, FieldType};
//!
//! let mut filled = ColumnsBuilder::new(&[Field::new("id", FieldType::Integer), Field::new("address.city", FieldType::Text)]);
//! filled.set("id", "7")?;
//! filled.set("address.city", "Lyon")?;
//! filled.end_row();
//! let batch = filled.finish();
//!
//! let rows = JsonRows::of(&batch)?.as_text(|name| name == "id");
//! assert_eq!(serde_json::json!(rows.record(0)?), serde_json::json!({ "id": "7", "address.city": "Lyon" }));
//! assert_eq!(serde_json::json!(rows.nested(0, &["address."])?), serde_json::json!({ "id": "7", "address": { "city": "Lyon" } }));
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

use serde_json::{Map, Number, Value};

use crate::columns::{Column, Columns, View};
use crate::error::{Error, Result};
use crate::values;

/// The rows of a batch as JSON objects. Columns whose name begins with `_` are the host's own and in no object.
#[derive(Debug)]
pub struct JsonRows<'a> {
    columns: Vec<JsonColumn<'a>>,
    rows: u32,
    is_text: fn(&str) -> bool,
}

impl<'a> JsonRows<'a> {
    /// The rows of a batch.
    ///
    /// # Errors
    /// As [`JsonColumn::all`].
    pub fn of(columns: &'a Columns) -> Result<Self> {
        Ok(Self { columns: JsonColumn::all(columns)?, rows: columns.rows, is_text: |_| false })
    }

    /// Gives the values of these columns as text whatever their type, for services that want it: `7` becomes `"7"`, null stays.
    #[must_use]
    pub fn as_text(mut self, is_text: fn(&str) -> bool) -> Self {
        self.is_text = is_text;
        self
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// A row's value as text; `None` for null, the empty text, and a column that is not there.
    ///
    /// # Errors
    /// As [`JsonColumn::get`].
    pub fn text(&self, name: &str, row: u32) -> Result<Option<String>> {
        let Some(column) = self.columns.iter().find(|column| column.name() == name) else { return Ok(None) };
        Ok(match as_text(column.get(row as usize)?) {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        })
    }

    /// A row as an object of its columns.
    ///
    /// # Errors
    /// As [`JsonColumn::get`].
    pub fn record(&self, row: u32) -> Result<Map<String, Value>> {
        self.nested(row, &[])
    }

    /// A row as an object, in which columns with one of these prefixes (`address.`) are members of an object of that name.
    ///
    /// # Errors
    /// As [`JsonColumn::get`]; `invalid_data` when a column has the name of such an object.
    pub fn nested(&self, row: u32, prefixes: &[&str]) -> Result<Map<String, Value>> {
        let mut record = Map::new();
        for column in self.columns.iter().filter(|column| !column.name().starts_with('_')) {
            let name = column.name();
            let value = column.get(row as usize)?;
            let value = if (self.is_text)(name) { as_text(value) } else { value };
            let inner = prefixes.iter().find_map(|prefix| Some((prefix.trim_end_matches('.'), name.strip_prefix(*prefix)?)));
            let (target, name) = match inner {
                Some((outer, name)) => (record.entry(outer).or_insert_with(|| Value::Object(Map::new())).as_object_mut(), name),
                None => (Some(&mut record), name),
            };
            if target.is_none_or(|target| target.insert(name.to_owned(), value).is_some()) {
                return Err(Error::invalid_data(format!("`{}` is a value and an object at once", column.name())));
            }
        }
        Ok(record)
    }
}

fn as_text(value: Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value,
        other => Value::String(other.to_string()),
    }
}

/// One column whose values are read as JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonColumn<'a> {
    name: &'a str,
    view: View<'a>,
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
        match View::of(columns, column)? {
            View::Binary(_) => Err(Error::unsupported(format!("column `{name}` is binary, which JSON cannot hold"))),
            view => Ok(Self { name, view }),
        }
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
        let value = match &self.view {
            View::Boolean(values) => values.get(row).map(Value::Bool),
            View::Integer(values) => values.get(row).map(Value::from),
            View::Float(values) => values.get(row).map(Value::from),
            View::Date(values) => values.get(row).map(|days| values::date_text(days).into()),
            View::Timestamp(values) => values.get(row).map(|us| values::timestamp_text(us).into()),
            View::Text(values) => values.get(row).map(Value::from),
            View::Json(values) => values.get(row).map(|text| self.document(text)).transpose()?,
            View::Decimal(values) => {
                values.get(row).map(|text| text.parse::<Number>().map_or_else(|_| text.into(), Value::Number))
            }
            View::Binary(_) => None,
        };
        Ok(value.unwrap_or_default())
    }

    fn document(&self, text: &str) -> Result<Value> {
        serde_json::from_str(text).map_err(|_| Error::invalid_data(format!("column `{}` holds no JSON document", self.name)))
    }
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
