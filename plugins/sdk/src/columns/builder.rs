//! Builders that sources fill: one [`ColumnBuilder`] per field, [`ColumnsBuilder`] for whole records. A record that
//! turns out to be broken half-way is taken back without touching the ones before it.

use super::validity::Validity;
use super::{BytesColumn, Column, ColumnData, Columns};
use crate::error::{Error, Result};
use crate::stream::{Field, FieldType};
use crate::values;

/// One value on its way into a column. Text is read as the column's type: `"2026-01-31"` fits a date column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Text, read as the column's type.
    Text(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since the epoch, UTC.
    Timestamp(i64),
    /// Bytes.
    Binary(&'a [u8]),
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[derive(Debug)]
enum Values {
    Booleans(Vec<u8>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Dates(Vec<i32>),
    Bytes(BytesColumn),
}

/// A column being filled.
#[derive(Debug)]
pub struct ColumnBuilder {
    name: String,
    field_type: FieldType,
    validity: Validity,
    values: Values,
}

impl ColumnBuilder {
    /// An empty column.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Self {
        let values = match field_type {
            FieldType::Boolean => Values::Booleans(Vec::new()),
            FieldType::Integer | FieldType::Timestamp => Values::Integers(Vec::new()),
            FieldType::Float => Values::Floats(Vec::new()),
            FieldType::Date => Values::Dates(Vec::new()),
            FieldType::Text | FieldType::Json | FieldType::Decimal | FieldType::Binary => {
                Values::Bytes(BytesColumn { offsets: vec![0], data: Vec::new() })
            }
        };
        Self { name: name.into(), field_type, validity: Validity::default(), values }
    }

    /// The field's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field's type.
    pub fn field_type(&self) -> FieldType {
        self.field_type
    }

    /// Values so far, nulls included.
    pub fn len(&self) -> usize {
        self.validity.len()
    }

    /// Whether there is no value, not even a null.
    pub fn is_empty(&self) -> bool {
        self.validity.is_empty()
    }

    /// Bytes of the values so far.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Booleans(values) => values.len(),
            Values::Integers(values) => values.len() * 8,
            Values::Floats(values) => values.len() * 8,
            Values::Dates(values) => values.len() * 4,
            Values::Bytes(values) => values.data.len() + values.offsets.len() * 4,
        }
    }

    /// Pushes a null.
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Booleans(values) => values.push(0),
            Values::Integers(values) => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Dates(values) => values.push(0),
            Values::Bytes(values) => end_value(values),
        }
        self.validity.push_null();
    }

    /// Pushes a value, converting where nothing is lost.
    ///
    /// # Errors
    /// `invalid_data` when the value does not fit the column's type; nothing is pushed then. The message names the
    /// column, never the value.
    #[inline]
    pub fn push<'a>(&mut self, value: impl Into<Value<'a>>) -> Result<()> {
        match value.into() {
            Value::Null => {
                self.push_null();
                Ok(())
            }
            Value::Boolean(value) => self.push_boolean(value),
            Value::Integer(value) => self.push_integer(value),
            Value::Float(value) => self.push_float(value),
            Value::Text(value) => self.push_text(value),
            Value::Date(value) => self.push_date(value),
            Value::Timestamp(value) => self.push_timestamp(value),
            Value::Binary(value) => self.push_binary(value),
        }
    }

    /// Pushes into a boolean column; into a text column as `true` or `false`.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`]; so do the others below.
    #[inline]
    pub fn push_boolean(&mut self, value: bool) -> Result<()> {
        match &mut self.values {
            Values::Booleans(values) => values.push(u8::from(value)),
            _ => return self.push_word(if value { "true" } else { "false" }),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes into an integer, float, decimal, json or text column.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`].
    #[inline]
    pub fn push_integer(&mut self, value: i64) -> Result<()> {
        match (&mut self.values, self.field_type) {
            (Values::Integers(values), FieldType::Integer) => values.push(value),
            (Values::Floats(values), _) => {
                #[expect(clippy::cast_precision_loss, reason = "a float column was chosen")]
                values.push(value as f64);
            }
            (Values::Bytes(values), FieldType::Decimal | FieldType::Json | FieldType::Text) => {
                values.data.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                end_value(values);
            }
            _ => return Err(self.mismatch("an integer")),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes into a float, decimal, json or text column, as the shortest text that reads back the same.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`]; infinities and NaN fit a float column only.
    pub fn push_float(&mut self, value: f64) -> Result<()> {
        match (&mut self.values, self.field_type) {
            (Values::Floats(values), _) => values.push(value),
            (Values::Bytes(values), FieldType::Decimal | FieldType::Json | FieldType::Text) if value.is_finite() => {
                // `Display` of a float never writes an exponent.
                values.data.extend_from_slice(value.to_string().as_bytes());
                end_value(values);
            }
            _ => return Err(self.mismatch("a fraction")),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes days since 1970-01-01 into a date column.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`].
    pub fn push_date(&mut self, days: i32) -> Result<()> {
        match &mut self.values {
            Values::Dates(values) => values.push(days),
            _ => return Err(self.mismatch("a date")),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes microseconds since the epoch into a timestamp column.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`].
    pub fn push_timestamp(&mut self, us: i64) -> Result<()> {
        match (&mut self.values, self.field_type) {
            (Values::Integers(values), FieldType::Timestamp) => values.push(us),
            _ => return Err(self.mismatch("a timestamp")),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes bytes into a binary column.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`].
    pub fn push_binary(&mut self, bytes: &[u8]) -> Result<()> {
        match (&mut self.values, self.field_type) {
            (Values::Bytes(values), FieldType::Binary) => {
                values.data.extend_from_slice(bytes);
                end_value(values);
            }
            _ => return Err(self.mismatch("bytes")),
        }
        self.validity.push_valid();
        Ok(())
    }

    /// Pushes text, read as the column's type; a `json` column takes it as a document that is already written.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`].
    #[inline]
    pub fn push_text(&mut self, text: &str) -> Result<()> {
        match (&mut self.values, self.field_type) {
            (Values::Bytes(values), FieldType::Text | FieldType::Json) => {
                values.data.extend_from_slice(text.as_bytes());
                end_value(values);
                self.validity.push_valid();
                Ok(())
            }
            _ => self.push_parsed(text),
        }
    }

    fn push_parsed(&mut self, text: &str) -> Result<()> {
        let parsed = match (&mut self.values, self.field_type) {
            (Values::Bytes(values), FieldType::Decimal) => match values::decimal_text(text) {
                Some(decimal) => {
                    values.data.extend_from_slice(decimal.as_bytes());
                    end_value(values);
                    Some(())
                }
                None => None,
            },
            (Values::Booleans(values), _) => values::parse_boolean(text).map(|value| values.push(u8::from(value))),
            (Values::Integers(values), FieldType::Integer) => values::parse_integer(text).map(|value| values.push(value)),
            (Values::Integers(values), _) => values::parse_timestamp(text).map(|value| values.push(value)),
            (Values::Floats(values), _) => text.trim().parse().ok().map(|value| values.push(value)),
            (Values::Dates(values), _) => values::parse_date(text).map(|value| values.push(value)),
            (Values::Bytes(_), _) => None,
        };
        if parsed.is_none() {
            return Err(self.mismatch("this text"));
        }
        self.validity.push_valid();
        Ok(())
    }

    fn push_word(&mut self, word: &str) -> Result<()> {
        match self.field_type {
            FieldType::Text | FieldType::Json => self.push_text(word),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    /// Gives a text, json or binary column's bytes to `write`, which appends one value to them. What it appends must
    /// be valid UTF-8 for text and one document for json; the host checks.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`] for other types; the error of `write`, with nothing pushed.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let Values::Bytes(values) = &mut self.values else { return Err(self.mismatch("written bytes")) };
        let start = values.data.len();
        if let Err(error) = write(&mut values.data) {
            values.data.truncate(start);
            return Err(error);
        }
        end_value(values);
        self.validity.push_valid();
        Ok(())
    }

    fn mismatch(&self, given: &str) -> Error {
        let wanted = self.field_type.as_str();
        Error::invalid_data(format!("field `{}` is of type {wanted}, which {given} does not fit", self.name)).code("value_type")
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        self.validity.truncate(len);
        match &mut self.values {
            Values::Booleans(values) => values.truncate(len),
            Values::Integers(values) => values.truncate(len),
            Values::Floats(values) => values.truncate(len),
            Values::Dates(values) => values.truncate(len),
            Values::Bytes(values) => {
                values.offsets.truncate(len + 1);
                values.data.truncate(values.offsets.last().map_or(0, |end| *end as usize));
            }
        }
    }

    /// The finished column; the builder starts anew, with room for as much again.
    pub fn finish(&mut self) -> Column {
        let data = match (&mut self.values, self.field_type) {
            (Values::Booleans(values), _) => ColumnData::Booleans(take(values)),
            (Values::Integers(values), FieldType::Timestamp) => ColumnData::Timestamps(take(values)),
            (Values::Integers(values), _) => ColumnData::Ints(take(values)),
            (Values::Floats(values), _) => ColumnData::Floats(take(values)),
            (Values::Dates(values), _) => ColumnData::Dates(take(values)),
            (Values::Bytes(values), field_type) => {
                let bytes = BytesColumn { offsets: take(&mut values.offsets), data: take(&mut values.data) };
                values.offsets.push(0);
                match field_type {
                    FieldType::Json => ColumnData::Jsons(bytes),
                    FieldType::Decimal => ColumnData::Decimals(bytes),
                    FieldType::Binary => ColumnData::Binaries(bytes),
                    _ => ColumnData::Texts(bytes),
                }
            }
        };
        Column { name: self.name.clone(), validity: self.validity.take(), data }
    }
}

#[inline]
fn end_value(values: &mut BytesColumn) {
    // The host's page limit (bytes as u32) keeps this below 4 GiB; a longer column would fail the host's checks.
    values.offsets.push(u32::try_from(values.data.len()).unwrap_or(u32::MAX));
}

fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room))
}

/// Records being filled, one column per field.
///
/// ```
/// use affluent_sdk::{ColumnsBuilder, Field, FieldType};
///
/// let mut rows = ColumnsBuilder::new(&[Field::new("id", FieldType::Integer), Field::new("note", FieldType::Text)]);
/// rows.set("id", 7)?;
/// rows.end_row();
///
/// assert_eq!(rows.finish().rows, 1);
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
#[derive(Debug)]
pub struct ColumnsBuilder {
    columns: Vec<ColumnBuilder>,
    rows: usize,
    /// Where the next name is looked up first.
    next: usize,
}

impl ColumnsBuilder {
    /// An empty builder with one column per field.
    pub fn new(fields: &[Field]) -> Self {
        let columns = fields.iter().map(|field| ColumnBuilder::new(&field.name, field.field_type)).collect();
        Self { columns, rows: 0, next: 0 }
    }

    /// Complete records so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is no complete record.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of the values so far.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnBuilder::bytes).sum()
    }

    /// The columns, in the order of the fields; push at most one value to each per record.
    pub fn columns_mut(&mut self) -> &mut [ColumnBuilder] {
        &mut self.columns
    }

    /// Sets a field of the record being filled. Setting fields in their order is fastest.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`]; `internal` when there is no such field, or it was set already.
    pub fn set<'a>(&mut self, name: &str, value: impl Into<Value<'a>>) -> Result<()> {
        let index = match self.columns.get(self.next) {
            Some(column) if column.name == name => self.next,
            _ => self.columns.iter().position(|column| column.name == name).unwrap_or(usize::MAX),
        };
        let rows = self.rows;
        let Some(column) = self.columns.get_mut(index) else {
            return Err(Error::internal(format!("the stream has no field `{name}`")));
        };
        if column.len() != rows {
            return Err(Error::internal(format!("field `{name}` is set twice in one record")));
        }
        self.next = index + 1;
        column.push(value)
    }

    /// Completes the record: fields that were not set are null.
    #[inline]
    pub fn end_row(&mut self) {
        self.rows += 1;
        self.next = 0;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.push_null();
            }
        }
    }

    /// Forgets the record being filled.
    pub fn undo_row(&mut self) {
        self.next = 0;
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// The complete records; the builder starts anew.
    pub fn finish(&mut self) -> Columns {
        self.undo_row();
        let rows = u32::try_from(std::mem::take(&mut self.rows)).unwrap_or(u32::MAX);
        Columns { rows, columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect() }
    }
}
