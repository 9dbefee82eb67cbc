//! Given records as batches in the columns of their stream, and sent batches as records.

use affluent_model::schema::{Field, FieldType, StreamSchema, SyncMode};
use affluent_model::{Error, Result};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use serde_json::Value;

use super::compare::text_of;
use super::stage::Record;
use crate::rows;

/// The records in the columns of a stream; a field that a record does not name is null.
///
/// # Errors
/// `E0928` with the field and the first value that is not of its type, or a key that is missing.
pub(crate) fn to_batch(schema: &StreamSchema, records: &[Record]) -> Result<RecordBatch> {
    let columns: Result<Vec<ArrayRef>> = schema.fields.iter().map(|field| column(schema, field, records)).collect();
    RecordBatch::try_new(schema.to_arrow(), columns?).map_err(|error| unfit(&schema.name, &error.to_string()))
}

fn column(schema: &StreamSchema, field: &Field, records: &[Record]) -> Result<ArrayRef> {
    let is_text = matches!(field.kind, FieldType::Text | FieldType::Json | FieldType::Binary);
    let text = |record: &Record| match record.get(&field.name) {
        None | Some(Value::Null) => None,
        Some(value) => Some(text_of(value)).filter(|text| is_text || !text.trim().is_empty()),
    };
    let texts: StringArray = records.iter().map(text).collect();
    if !field.nullable && texts.null_count() > 0 {
        return Err(unfit(&schema.name, &format!("a record has no `{}`", field.name)));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&texts, &field.kind.to_arrow(), &options)
        .map_err(|error| unfit(&schema.name, &format!("`{}` takes a {}: {error}", field.name, field.kind.as_str())))
}

fn unfit(stream: &str, reason: &str) -> Error {
    Error::configuration("E0928", format!("a given record of stream `{stream}` does not fit: {reason}"))
        .help("write values as the source gives them: times as `2026-01-31T08:00:00Z`, decimals as `12.50`")
}

/// What the records say of a stream whose source cannot be asked: `id` is its key, values have the types they are
/// written in.
pub(super) fn inferred(name: &str, records: &[Record]) -> StreamSchema {
    let mut fields: Vec<Field> = Vec::new();
    for (field, value) in records.iter().flatten() {
        let kind = kind_of(value);
        match fields.iter_mut().find(|known| known.name == *field) {
            Some(known) if known.kind != kind && !value.is_null() => known.kind = FieldType::Text,
            Some(_) => {}
            None => fields.push(Field::new(field.clone(), kind)),
        }
    }
    let primary_key = fields.iter().filter(|field| field.name == "id").map(|field| field.name.clone()).collect();
    let sync_modes = vec![SyncMode::FullRefresh, SyncMode::Incremental];
    StreamSchema { name: name.to_owned(), fields, primary_key, cursor_field: None, sync_modes, parent: None }
}

fn kind_of(value: &Value) -> FieldType {
    match value {
        Value::Bool(_) => FieldType::Boolean,
        Value::Number(number) if number.is_f64() => FieldType::Decimal,
        Value::Number(_) => FieldType::Integer,
        Value::Null | Value::String(_) => FieldType::Text,
        Value::Array(_) | Value::Object(_) => FieldType::Json,
    }
}

/// The rows of a batch, without their nulls.
pub(crate) fn of_batch(batch: &RecordBatch) -> Vec<Record> {
    let schema = batch.schema();
    let row = |row: usize| -> Record {
        let columns = schema.fields().iter().zip(batch.columns()).filter(|(_, array)| array.is_valid(row));
        columns.map(|(field, array)| (field.name().clone(), rows::json_value(array, row))).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn orders() -> StreamSchema {
        let fields = vec![
            Field { nullable: false, ..Field::new("id", FieldType::Text) },
            Field::new("total", FieldType::Decimal),
            Field::new("at", FieldType::Timestamp),
            Field::new("test", FieldType::Boolean),
        ];
        StreamSchema { fields, ..inferred("orders", &[]) }
    }

    fn record(value: Value) -> Record {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn given_values_take_the_types_of_their_stream_and_come_back() {
        let given = [
            record(json!({"id": 7, "total": "12.50", "at": "2026-01-31T08:00:00Z", "test": true})),
            record(json!({"id": "8", "total": "", "at": "2026-01-31"})),
        ];

        let rows = of_batch(&to_batch(&orders(), &given).unwrap());

        let first = json!({"id": "7", "total": "12.500000", "at": "2026-01-31T08:00:00Z", "test": true});
        assert_eq!(rows, [record(first), record(json!({"id": "8", "at": "2026-01-31T00:00:00Z"}))]);
    }

    #[test]
    fn a_value_of_another_type_or_a_missing_key_is_told_with_its_field() {
        for (given, field) in [(json!({"id": 1, "total": "much"}), "total"), (json!({"total": 1}), "id")] {
            let error = to_batch(&orders(), &[record(given)]).unwrap_err();
            assert!(error.code == "E0928" && error.message.contains(&format!("`{field}`")), "{}", error.message);
        }
    }

    #[test]
    fn a_stream_is_inferred_from_its_records() {
        let schema = inferred("s", &[record(json!({"id": 1, "a": 1})), record(json!({"a": "x", "b": 1.5}))]);

        let kinds: Vec<_> = schema.fields.iter().map(|field| (field.name.as_str(), field.kind)).collect();
        assert_eq!(kinds, [("a", FieldType::Text), ("id", FieldType::Integer), ("b", FieldType::Decimal)]);
        assert_eq!(schema.primary_key, ["id"]);
    }
}
