//! From a service's JSON records to columns, by a table: which columns, and where in a record each value stands. For
//! sources that read a few known streams; one that learns its fields from the service fills a [`ColumnsBuilder`] itself.
//!
//! ```
//! use affluent_sdk::FieldType::{Integer, Text};
//! use affluent_sdk::records::{Column, Records};
//!
//! const COLUMNS: &[Column] = &[Column::new("id", Integer, "/id").required(), Column::new("city", Text, "/address/city")];
//!
//! let mut records = Records::new("shops", COLUMNS);
//! records.push(&serde_json::json!({ "id": 7, "address": { "city": "Lyon" } }));
//! assert_eq!(records.len(), 1);
//! ```

use serde_json::Value;

use crate::columns::ColumnsBuilder;
use crate::error::Result;
use crate::plugin::{Limits, Page, Part, Position, RejectedRow};
use crate::stream::{Field, FieldType, PiiClass};

/// One column of a stream and where its values come from.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    field_type: FieldType,
    pii: Option<PiiClass>,
    is_required: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// RFC 6901 pointer.
    At(&'static str),
    By(fn(&Value) -> Option<&str>),
}

impl Column {
    /// The value at a JSON pointer (RFC 6901); null where there is none.
    pub const fn new(name: &'static str, field_type: FieldType, pointer: &'static str) -> Self {
        Self { name, field_type, pii: None, is_required: false, place: Place::At(pointer) }
    }

    /// A text that says something about a person.
    pub const fn personal(name: &'static str, pii: PiiClass, pointer: &'static str) -> Self {
        Self { pii: Some(pii), ..Self::new(name, FieldType::Text, pointer) }
    }

    /// What a function finds in the record, read as the column's type.
    pub const fn by(name: &'static str, field_type: FieldType, find: fn(&Value) -> Option<&str>) -> Self {
        Self { place: Place::By(find), ..Self::new(name, field_type, "") }
    }

    /// A record that lacks it is rejected.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// The column as a field of a stream's schema.
    pub fn field(&self) -> Field {
        Field { nullable: !self.is_required, pii: self.pii, ..Field::new(self.name, self.field_type) }
    }
}

/// The fields of a table of columns.
pub fn fields(columns: &[Column]) -> Vec<Field> {
    columns.iter().map(Column::field).collect()
}

/// Records of one stream on their way into a page; broken ones become rejected rows.
#[derive(Debug)]
pub struct Records {
    stream: &'static str,
    columns: &'static [Column],
    builder: ColumnsBuilder,
    rejected: Vec<RejectedRow>,
}

impl Records {
    /// No records yet.
    pub fn new(stream: &'static str, columns: &'static [Column]) -> Self {
        Self { stream, columns, builder: ColumnsBuilder::new(&fields(columns)), rejected: Vec::new() }
    }

    /// Adds a record, or rejects it when a value does not fit its column; says whether it was added.
    pub fn push(&mut self, record: &Value) -> bool {
        let pushed = self.columns.iter().try_for_each(|column| push_value(&mut self.builder, column, record));
        match pushed {
            Ok(()) => self.builder.end_row(),
            Err(error) => {
                self.builder.undo_row();
                let place = format!("record {} of the page", self.len() + 1);
                let raw = record.to_string().into_bytes();
                self.rejected.push(RejectedRow::new(self.stream, place, &error, &raw));
                return false;
            }
        }
        true
    }

    /// Records so far, rejected ones among them.
    pub fn len(&self) -> usize {
        self.builder.rows() + self.rejected.len()
    }

    /// Whether there is no record, not even a rejected one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the values so far.
    pub fn bytes(&self) -> usize {
        self.builder.bytes()
    }

    /// Moves what was added into the parts of a page.
    pub fn finish(mut self, parts: &mut Vec<Part>, rejected: &mut Vec<RejectedRow>) {
        if !self.builder.is_empty() {
            parts.push(Part::upsert(self.stream, self.builder.finish()));
        }
        rejected.append(&mut self.rejected);
    }
}

/// Records of a stream and of its child streams on their way into one page.
#[derive(Debug)]
pub struct PageBuilder {
    streams: Vec<Records>,
}

impl PageBuilder {
    /// An empty page for these streams and their tables of columns.
    pub fn new(streams: &[(&'static str, &'static [Column])]) -> Self {
        Self { streams: streams.iter().map(|(name, columns)| Records::new(name, columns)).collect() }
    }

    /// Adds a record of a stream, or rejects it, as [`Records::push`]; a stream that the page is not for is passed over.
    pub fn push(&mut self, stream: &str, record: &Value) -> bool {
        self.streams.iter_mut().find(|records| records.stream == stream).is_some_and(|records| records.push(record))
    }

    /// Whether the page should be given: its rows reach the limit, or its values half of the bytes, since the host counts more.
    pub fn is_full(&self, limits: Limits) -> bool {
        let rows: usize = self.streams.iter().map(Records::len).sum();
        let bytes: usize = self.streams.iter().map(Records::bytes).sum();
        rows >= limits.max_rows as usize || bytes >= limits.max_bytes as usize / 2
    }

    /// The page, with where to resume after it.
    pub fn finish(self, state: Vec<u8>, position: Position) -> Page {
        let mut page = Page { parts: Vec::new(), rejected: Vec::new(), state: Some(state), position };
        self.streams.into_iter().for_each(|records| records.finish(&mut page.parts, &mut page.rejected));
        page
    }
}

fn push_value(builder: &mut ColumnsBuilder, column: &Column, record: &Value) -> Result<()> {
    let value = match column.place {
        Place::At(pointer) => record.pointer(pointer).unwrap_or(&Value::Null),
        Place::By(find) => match find(record) {
            Some(text) => return builder.set(column.name, text),
            None => &Value::Null,
        },
    };
    match value {
        Value::Null if column.is_required => {
            Err(crate::Error::invalid_data(format!("field `{}` is missing", column.name)).code("value_missing"))
        }
        Value::Null => Ok(()),
        Value::Bool(flag) => builder.set(column.name, *flag),
        Value::String(text) if column.field_type != FieldType::Json => builder.set(column.name, text),
        // Numbers are read from their text, so that no digit is lost.
        other => builder.set(column.name, &other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::columns::Payload;

    const COLUMNS: &[Column] = &[
        Column::by("id", FieldType::Text, |record| record.get("gid")?.as_str()?.rsplit('/').next()).required(),
        Column::new("total", FieldType::Decimal, "/total/amount"),
        Column::new("tags", FieldType::Json, "/tags"),
        Column::personal("city", PiiClass::Address, "/city"),
    ];

    fn page(records: &[Value]) -> (Vec<Part>, Vec<RejectedRow>) {
        let mut filled = Records::new("orders", COLUMNS);
        for record in records {
            filled.push(record);
        }
        let (mut parts, mut rejected) = (Vec::new(), Vec::new());
        filled.finish(&mut parts, &mut rejected);
        (parts, rejected)
    }

    #[test]
    fn values_are_found_by_pointer_and_by_function() {
        let record = json!({ "gid": "gid://x/7", "total": { "amount": "1.50" }, "tags": ["a"], "city": null });

        let (parts, _) = page(&[record]);

        let [Part { payload: Payload::Columns(columns), .. }] = parts.as_slice() else { panic!("one part") };
        assert_eq!(columns.text("id").unwrap().get(0), Some("7"));
        assert_eq!(columns.decimals("total").unwrap().get(0), Some("1.50"));
        assert_eq!(columns.json("tags").unwrap().get(0), Some(r#"["a"]"#));
        assert_eq!(columns.text("city").unwrap().get(0), None);
    }

    #[test]
    fn a_record_that_does_not_fit_is_rejected_alone() {
        let broken = [json!({ "gid": "a" }), json!({ "gid": "b", "total": { "amount": "much" } }), json!({})];

        let (parts, rejected) = page(&broken);

        let [Part { payload: Payload::Columns(columns), .. }] = parts.as_slice() else { panic!("one part") };
        assert_eq!(columns.rows, 1);
        let codes: Vec<&str> = rejected.iter().map(|row| row.code.as_str()).collect();
        assert_eq!(codes, ["value_type", "value_missing"]);
        assert_eq!(rejected.first().unwrap().place, "record 2 of the page");
    }
}
