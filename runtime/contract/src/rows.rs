//! Rows as texts that can be compared, and looks at their values. The texts hold personal values: they stay in here.

use affluent_model::batch::{Batch, RowOperation};
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Shorter values turn up by chance.
const PERSONAL_BYTES_MIN: usize = 8;

/// One row: stream, operation and all values, so that equal rows have equal texts.
pub(crate) type RowText = String;

/// The rows of a batch.
pub(crate) fn texts(batch: &Batch) -> Vec<RowText> {
    let mut rows: Vec<RowText> = vec![format!("{} {}", batch.stream, batch.operation.as_str()); batch.records.num_rows()];
    append(&batch.records, &mut rows);
    rows
}

/// The rows of records, without a stream.
pub(crate) fn record_texts(records: &RecordBatch) -> Vec<RowText> {
    let mut rows = vec![RowText::new(); records.num_rows()];
    append(records, &mut rows);
    rows
}

fn append(records: &RecordBatch, rows: &mut [RowText]) {
    let options = FormatOptions::default();
    for (field, array) in records.schema_ref().fields().iter().zip(records.columns()) {
        let Ok(formatter) = ArrayFormatter::try_new(array.as_ref(), &options) else { continue };
        for (number, row) in rows.iter_mut().enumerate() {
            row.push('\u{1f}');
            if !array.is_null(number) {
                row.push_str(field.name());
                row.push('=');
                row.push_str(&formatter.value(number).to_string());
            }
        }
    }
}

/// The key of each upserted row; `None` where a part of it is null or absent.
pub(crate) fn keys(batch: &Batch, primary_key: &[String]) -> Vec<Option<String>> {
    if batch.operation == RowOperation::Delete {
        return Vec::new();
    }
    let options = FormatOptions::default();
    let columns: Vec<_> = primary_key
        .iter()
        .map(|name| {
            batch
                .records
                .column_by_name(name)
                .and_then(|array| Some((array, ArrayFormatter::try_new(array.as_ref(), &options).ok()?)))
        })
        .collect();
    let key = |row: usize| {
        let parts = columns.iter().map(|column| {
            let (array, formatter) = column.as_ref()?;
            (!array.is_null(row)).then(|| formatter.value(row).to_string())
        });
        parts.collect::<Option<Vec<_>>>().map(|parts| parts.join("\u{1f}"))
    };
    (0..batch.records.num_rows()).map(key).collect()
}

/// Text values of one column.
fn values<'a>(records: &'a RecordBatch, name: &str) -> Vec<&'a str> {
    let array = records.column_by_name(name).and_then(|array| array.as_string_opt::<i32>());
    array.map(|array| array.iter().flatten().collect()).unwrap_or_default()
}

/// Columns without a class that hold something personal: name, what it looks like, and how many values do.
pub(crate) fn unclassified(records: &RecordBatch, fields: &[Field]) -> Vec<(String, PiiClass, usize)> {
    let mut found = Vec::new();
    let open = fields.iter().filter(|field| field.pii.is_none() && matches!(field.kind, FieldType::Text | FieldType::Json));
    for field in open {
        let values = values(records, &field.name);
        for class in [PiiClass::Email, PiiClass::Phone] {
            let count = values.iter().filter(|value| looks_like(class, value.trim_matches('"'))).count();
            if count > 0 {
                found.push((field.name.clone(), class, count));
            }
        }
    }
    found
}

fn looks_like(class: PiiClass, value: &str) -> bool {
    if class == PiiClass::Phone {
        let digits = value.chars().filter(char::is_ascii_digit).count();
        let is_plain = value.chars().all(|character| character.is_ascii_digit() || "+ -()./".contains(character));
        return value.starts_with('+') && is_plain && (8..=15).contains(&digits);
    }
    let Some((local, domain)) = value.split_once('@') else { return false };
    let is_plain = |text: &str| text.chars().all(|character| character.is_alphanumeric() || "._-+".contains(character));
    let has_top = domain.rsplit_once('.').is_some_and(|(name, top)| !name.is_empty() && top.len() >= 2);
    !local.is_empty() && is_plain(local) && is_plain(domain) && has_top
}

/// Values of classified columns that are long enough to be told from chance.
pub(crate) fn personal(records: &RecordBatch, fields: &[Field]) -> Vec<String> {
    let classified = fields.iter().filter(|field| field.pii.is_some() && field.kind == FieldType::Text);
    let values = classified.flat_map(|field| values(records, &field.name));
    values.filter(|value| value.len() >= PERSONAL_BYTES_MIN).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_told_from_other_texts() {
        for (value, class, expected) in [
            ("ada@example.org", PiiClass::Email, true),
            ("a.b+c@mail.example.co", PiiClass::Email, true),
            ("https://ada@example.org/x", PiiClass::Email, false),
            ("@handle", PiiClass::Email, false),
            ("gid://shop/1@2", PiiClass::Email, false),
            ("+49 30 1234567", PiiClass::Phone, true),
            ("+1.5", PiiClass::Phone, false),
            ("20260131", PiiClass::Phone, false),
        ] {
            assert_eq!(looks_like(class, value), expected, "{value}");
        }
    }
}
