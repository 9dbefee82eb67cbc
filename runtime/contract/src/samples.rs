//! Sample rows: those of the contract file, or made-up ones, as batches.

use std::sync::Arc;

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use serde_json::Value;

use crate::fixture::SampleRow;

/// A text that breaks bodies which are joined instead of built.
pub(crate) const UNICODE: &str = "Zoë \"Ada\" O'Brien\\ {} \n 山田 👩‍👩‍👧 \u{202e}abc";

/// Made-up rows, each with another value in every field.
pub(crate) fn made_up(fields: &[Field], from: usize, count: usize) -> Vec<SampleRow> {
    (from..from + count).map(|number| fields.iter().map(|field| (field.name.clone(), value(field, number))).collect()).collect()
}

fn value(field: &Field, number: usize) -> Value {
    let day = number % 28 + 1;
    match field.kind {
        FieldType::Boolean => Value::Bool(number.is_multiple_of(2)),
        FieldType::Integer => Value::from(number),
        FieldType::Float => Value::from(number * 2),
        FieldType::Decimal => Value::String(format!("{number}.50")),
        FieldType::Date => Value::String(format!("2026-01-{day:02}")),
        FieldType::Timestamp => Value::String(format!("2026-01-{day:02}T10:00:00Z")),
        FieldType::Json => Value::String(format!("{{\"number\":{number}}}")),
        FieldType::Text | FieldType::Binary => Value::String(text(field, number)),
    }
}

fn text(field: &Field, number: usize) -> String {
    match field.pii {
        Some(PiiClass::Email) => format!("person.{number}@contract.example"),
        Some(PiiClass::Phone) => format!("+4930{:07}", 1_000_000 + number),
        Some(PiiClass::BirthDate) => "1990-01-31".to_owned(),
        _ => format!("{} number {number}", field.name.replace('_', " ")),
    }
}

/// Rows as a batch in the columns of `fields`; missing values are null.
///
/// # Errors
/// The field and the row whose value does not fit, never the value.
pub(crate) fn batch(fields: &[Field], rows: &[SampleRow]) -> Result<RecordBatch, String> {
    let columns = fields.iter().map(|field| column(field, rows)).collect::<Result<Vec<_>, _>>()?;
    let nullable = |field: &Field| Field { nullable: true, ..field.clone() }.to_arrow();
    let schema = Arc::new(Schema::new(fields.iter().map(nullable).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| format!("sample rows make no batch: {error}"))
}

fn column(field: &Field, rows: &[SampleRow]) -> Result<ArrayRef, String> {
    let texts: StringArray = rows.iter().map(|row| row.get(&field.name).and_then(as_text)).collect();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&texts, &field.kind.to_arrow(), &options)
        .map_err(|_| format!("a sample row's `{}` is no {}", field.name, field.kind.as_str()))
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_can_be_made_up() {
        let kinds = ["boolean", "integer", "float", "decimal", "date", "timestamp", "text", "json", "binary"];
        let fields: Vec<Field> = kinds.iter().map(|word| Field::new(*word, FieldType::from_word(word).unwrap())).collect();

        let batch = batch(&fields, &made_up(&fields, 3, 4)).unwrap();

        assert_eq!((batch.num_rows(), batch.num_columns()), (4, 9));
        assert!(batch.columns().iter().all(|column| column.null_count() == 0));
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_by_its_field() {
        let row: SampleRow = [("n".to_owned(), Value::String("many".to_owned()))].into_iter().collect();

        let refused = batch(&[Field::new("n", FieldType::Integer)], &[row]).unwrap_err();

        assert_eq!(refused, "a sample row's `n` is no integer");
    }
}
