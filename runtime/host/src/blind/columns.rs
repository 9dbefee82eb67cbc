//! A batch as a blind plugin gets it: personal columns become text columns of tokens, and values are in the forms that the
//! destination wants. A null stays null, an empty text stays empty: they are about nobody. A value in the clear that looks
//! like a token becomes one, so that it arrives as it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use affluent_model::batch::{DeliveryReport, RowError};
use affluent_model::connector::DestinationRequest;
use affluent_model::manifest::ValueForm;
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder};
use arrow::compute::filter;
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::form;
use super::substitute::has_token;
use super::token::{self, TOKEN_BYTES, Tokenizer};
use super::values::{BatchValues, ValueColumn};
use crate::codec::{Checked, Invalid, texts_of, typed_columns};

/// What happens to a column on its way to the plugin.
#[derive(Debug, Clone, Copy, Default)]
struct Treatment {
    /// Set for a personal column that is not granted in the clear.
    class: Option<PiiClass>,
    form: Option<ValueForm>,
}

/// What happens to the columns of a destination.
#[derive(Debug, Default)]
pub(crate) struct Treatments {
    by_column: HashMap<String, Treatment>,
    is_blind: bool,
}

/// A batch as the plugin gets it.
pub(crate) struct Blinded {
    pub(crate) records: RecordBatch,
    pub(crate) values: BatchValues,
    pub(crate) rows: RowMap,
}

/// Which rows of a batch were handed over, and why the others were not.
#[derive(Debug, Default)]
pub(crate) struct RowMap {
    /// By row of the plugin's batch; `None` when it has them all.
    handed: Option<Vec<usize>>,
    pub(crate) refused: Vec<RowError>,
}

impl RowMap {
    /// A report about the rows that were handed over as one about the whole batch.
    pub(crate) fn completed(self, mut report: DeliveryReport) -> DeliveryReport {
        let Some(handed) = &self.handed else { return report };
        let original = |row: usize| handed.get(row).copied().unwrap_or(row);
        for errors in [&mut report.skipped, &mut report.failed, &mut report.retryable] {
            errors.iter_mut().for_each(|error| error.row = original(error.row));
        }
        report.remote_ids.iter_mut().for_each(|(row, _)| *row = original(*row));
        report.failed.extend(self.refused);
        report
    }
}

impl Treatments {
    pub(crate) fn new(request: &DestinationRequest, forms: &BTreeMap<String, ValueForm>, is_blind: bool) -> Self {
        let mut treatments: HashMap<String, Treatment> = HashMap::new();
        for field in request.fields.iter().filter(|_| is_blind) {
            if let Some(class) = field.pii.filter(|_| !request.plaintext.contains(&field.name)) {
                treatments.entry(field.name.clone()).or_default().class = Some(class);
            }
        }
        for (name, form) in forms {
            treatments.entry(name.clone()).or_default().form = Some(*form);
        }
        Self { by_column: treatments, is_blind }
    }

    /// # Errors
    /// A column of a type that plugins do not know.
    pub(crate) fn apply(&self, batch: &RecordBatch, tokenizer: &Tokenizer) -> Checked<Blinded> {
        let treated = |field: &Field| self.by_column.get(&field.name).copied().unwrap_or_default();
        let mut columns = typed_columns(batch)?;
        let is_touched = |(field, array): &(Field, ArrayRef)| {
            self.by_column.contains_key(&field.name) || (self.is_blind && looks_like_tokens(field, array))
        };
        if !columns.iter().any(is_touched) {
            let (values, rows) = (BatchValues::with_capacity(0, 0), RowMap::default());
            return Ok(Blinded { records: batch.clone(), values, rows });
        }
        let rows = bring_into_form(&mut columns, treated)?;
        let values_count = rows.handed.as_ref().map_or(batch.num_rows(), Vec::len);
        let personal = columns.iter().filter(|(field, _)| treated(field).class.is_some());
        let bytes = personal.clone().map(|(_, array)| array.get_array_memory_size()).sum();
        let mut values = BatchValues::with_capacity(bytes, values_count.saturating_mul(personal.count()));
        for (field, array) in &mut columns {
            if let Some(class) = treated(field).class {
                *array = blind(field, array, class, tokenizer, &mut values)?;
                field.kind = FieldType::Text;
            } else if self.is_blind && looks_like_tokens(field, array) {
                *array = without_look_alikes(field, array, tokenizer, &mut values);
            }
        }
        let schema = Schema::new(columns.iter().map(|(field, _)| field.to_arrow()).collect::<Vec<_>>());
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(values_count));
        let records = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options);
        let records = records.map_err(|_| Invalid("has columns that do not fit together".to_owned()))?;
        Ok(Blinded { records, values, rows })
    }

    /// A field as the plugin is told of it.
    pub(crate) fn shown(&self, field: &Field) -> Field {
        let is_blind = self.by_column.get(&field.name).is_some_and(|treatment| treatment.class.is_some());
        Field { kind: if is_blind { FieldType::Text } else { field.kind }, ..field.clone() }
    }
}

/// Brings values into the wanted forms; rows with a value that has none are taken out of all columns.
fn bring_into_form(columns: &mut [(Field, ArrayRef)], treated: impl Fn(&Field) -> Treatment) -> Checked<RowMap> {
    let mut refused: HashMap<usize, RowError> = HashMap::new();
    for (field, array) in columns.iter_mut() {
        let Some(wanted) = treated(field).form else { continue };
        let texts = texts_of(field.kind, array)?;
        let mut formed = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        for (row, text) in texts.iter().enumerate() {
            match text.filter(|text| !text.is_empty()).map(|text| form::in_wanted_form(wanted, text)) {
                None => formed.append_option(text),
                Some(Some(value)) => formed.append_value(value),
                Some(None) => {
                    formed.append_null();
                    let (code, message) = form::refusal(wanted);
                    let (code, message, field) = (code.to_owned(), message.to_owned(), Some(field.name.clone()));
                    refused.entry(row).or_insert(RowError { row, code, message, field });
                }
            }
        }
        *array = Arc::new(formed.finish());
        field.kind = FieldType::Text;
    }
    if refused.is_empty() {
        return Ok(RowMap::default());
    }
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let handed: Vec<usize> = (0..rows).filter(|row| !refused.contains_key(row)).collect();
    let keep: BooleanArray = (0..rows).map(|row| Some(!refused.contains_key(&row))).collect();
    for (_, array) in columns.iter_mut() {
        *array = filter(array, &keep).map_err(|_| Invalid("cannot be divided".to_owned()))?;
    }
    let mut refused: Vec<RowError> = refused.into_values().collect();
    refused.sort_by_key(|error| error.row);
    Ok(RowMap { handed: Some(handed), refused })
}

/// A personal column as tokens.
fn blind(field: &Field, array: &ArrayRef, class: PiiClass, tokenizer: &Tokenizer, values: &mut BatchValues) -> Checked<ArrayRef> {
    let texts: StringArray = match field.kind {
        FieldType::Text | FieldType::Json => array.as_string::<i32>().clone(),
        kind => texts_of(kind, array)?,
    };
    values.begin_column(ValueColumn { class, key: last_word(&field.name), is_json: field.kind == FieldType::Json });
    let mut tokens = StringBuilder::with_capacity(texts.len(), texts.len().saturating_mul(TOKEN_BYTES));
    let mut written = Vec::with_capacity(TOKEN_BYTES);
    for text in &texts {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            tokens.append_option(text);
            continue;
        };
        let mark = tokenizer.mark(text.as_bytes());
        values.insert(mark, text);
        written.clear();
        token::write(mark, &mut written);
        tokens.append_value(std::str::from_utf8(&written).unwrap_or_default());
    }
    Ok(Arc::new(tokens.finish()))
}

/// Whether a text of a column begins like a token somewhere.
fn looks_like_tokens(field: &Field, array: &ArrayRef) -> bool {
    matches!(field.kind, FieldType::Text | FieldType::Json)
        && array.as_string_opt::<i32>().is_some_and(|texts| has_token(texts.value_data()))
}

/// A column in the clear whose texts that look like tokens stand behind tokens themselves. In a JSON column the token is
/// a JSON string, which the JSON takes the place of.
fn without_look_alikes(field: &Field, array: &ArrayRef, tokenizer: &Tokenizer, values: &mut BatchValues) -> ArrayRef {
    let (texts, is_json) = (array.as_string::<i32>(), field.kind == FieldType::Json);
    values.begin_column(ValueColumn { class: PiiClass::FreeText, key: last_word(&field.name), is_json });
    let shown = texts.iter().map(|text| match text {
        Some(text) if has_token(text.as_bytes()) => {
            let mark = tokenizer.mark(text.as_bytes());
            values.insert(mark, text);
            let token = token::text(mark);
            Some(Cow::Owned(if is_json { format!("\"{token}\"") } else { token }))
        }
        text => text.map(Cow::Borrowed),
    });
    Arc::new(shown.collect::<StringArray>())
}

/// `location.zip` is answered as `zip`; letters and digits only, lower-case.
pub(crate) fn last_word(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
