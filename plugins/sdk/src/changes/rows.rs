//! From records whose fields were discovered to the parts of a page.

use serde_json::Value;

use super::{Child, ID, Objects};
use crate::columns::ColumnsBuilder;
use crate::error::{Error, Result};
use crate::plugin::{Limits, Part, RejectedRow};
use crate::records::Records;
use crate::stream::{Field, FieldType, StreamSpec};
use crate::{json, values};

/// Digits of a decimal that the host keeps exactly: before the point, and after it.
const WHOLE_DIGITS_MAX: usize = 32;
const PLACES_MAX: usize = 6;

/// Records of a stream and of its wanted children on their way into a page.
pub(super) struct PageRows {
    objects: Objects,
    stream: String,
    fields: Vec<Field>,
    own: ColumnsBuilder,
    gone: ColumnsBuilder,
    children: Vec<(Child, Records)>,
    rejected: Vec<RejectedRow>,
}

impl PageRows {
    pub(super) fn new(objects: Objects, spec: &StreamSpec) -> Self {
        let is_wanted = |child: &Child| spec.children.iter().any(|wanted| wanted.name == child.stream);
        let wanted = objects.all_children().filter(is_wanted);
        Self {
            objects,
            stream: spec.stream.name.clone(),
            fields: spec.stream.fields.clone(),
            own: ColumnsBuilder::new(&spec.stream.fields),
            gone: ColumnsBuilder::new(&[Field::new(ID, FieldType::Text).required()]),
            children: wanted.map(|child| (child, Records::new(child.stream, child.columns))).collect(),
            rejected: Vec::new(),
        }
    }

    /// Adds a record, or rejects it when a value does not fit its field; its children come with it. What it replaces is gone
    /// where the page is one of changes.
    pub(super) fn push(&mut self, record: &Value, is_change: bool) -> Result<()> {
        let values = record.pointer(self.objects.values);
        let pushed = self.fields.iter().try_for_each(|field| {
            let first = self.objects.firsts().find(|(_, name)| *name == field.name);
            let value = match first {
                Some((list, name)) => json::list(record, list).first().and_then(|entry| entry.get(name)),
                None if field.name == ID => record.pointer(self.objects.id),
                None => values.and_then(|values| self.objects.value(values, &field.name)).or_else(|| record.get(&field.name)),
            };
            set(&mut self.own, field, value.unwrap_or(&Value::Null))
        });
        match pushed {
            Ok(()) => self.own.end_row(),
            Err(error) => {
                self.own.undo_row();
                let place = format!("record {} of the page", self.len() + 1);
                let raw = record.to_string().into_bytes();
                self.rejected.push(RejectedRow::new(&self.stream, place, &error, &raw));
            }
        }
        let replaced = self.objects.replaced(record);
        for (child, rows) in &mut self.children {
            if self.objects.aliases == Some(child.stream) {
                let alias = |id: &&str| serde_json::json!({ "id": id, "record_id": json::text(record, self.objects.id) });
                replaced.iter().map(alias).for_each(|alias| _ = rows.push(&alias));
            } else {
                json::list(record, child.list).iter().for_each(|entry| _ = rows.push(entry));
            }
        }
        if is_change { replaced.iter().try_for_each(|id| self.push_gone(id)) } else { Ok(()) }
    }

    /// Notes that a record is gone, and which one took it in.
    pub(super) fn push_merged(&mut self, record: &Value) -> Result<()> {
        let id = self.objects.id_of(record)?;
        let aliases = self.children.iter_mut().filter(|(child, _)| self.objects.aliases == Some(child.stream));
        for (into, (_, rows)) in self.objects.merged(record).into_iter().zip(aliases) {
            let _ = rows.push(&serde_json::json!({ "id": id, "record_id": into }));
        }
        self.push_gone(&id)
    }

    /// Notes that a record is gone.
    pub(super) fn push_gone(&mut self, id: &str) -> Result<()> {
        self.gone.set(ID, id)?;
        self.gone.end_row();
        Ok(())
    }

    fn len(&self) -> usize {
        let children: usize = self.children.iter().map(|(_, rows)| rows.len()).sum();
        self.own.rows() + self.gone.rows() + self.rejected.len() + children
    }

    /// Half of the bytes, since the host counts more than values.
    pub(super) fn is_full(&self, limits: Limits) -> bool {
        let children: usize = self.children.iter().map(|(_, rows)| rows.bytes()).sum();
        let bytes = self.own.bytes() + self.gone.bytes() + children;
        self.len() >= limits.max_rows as usize || bytes >= limits.max_bytes as usize / 2
    }

    pub(super) fn finish(mut self) -> (Vec<Part>, Vec<RejectedRow>) {
        let (mut parts, mut rejected) = (Vec::new(), self.rejected);
        if !self.own.is_empty() {
            parts.push(Part::upsert(&self.stream, self.own.finish()));
        }
        self.children.into_iter().for_each(|(_, rows)| rows.finish(&mut parts, &mut rejected));
        if !self.gone.is_empty() {
            parts.push(Part::delete(&self.stream, self.gone.finish()));
        }
        (parts, rejected)
    }
}

/// Sets a field by what a service wrote. Many of them write every value as text: the empty one is null then, and instants and days
/// may be milliseconds since the epoch.
pub(super) fn set(row: &mut ColumnsBuilder, field: &Field, value: &Value) -> Result<()> {
    let owned;
    let text = match value {
        Value::Null => "",
        Value::Bool(flag) => return row.set(&field.name, *flag),
        Value::String(text) => text.as_str(),
        other => {
            owned = other.to_string();
            &owned
        }
    };
    match (text, field.field_type) {
        ("", _) if !field.nullable => {
            Err(Error::invalid_data(format!("field `{}` is missing", field.name)).code("value_missing"))
        }
        ("", _) => Ok(()),
        (_, FieldType::Timestamp) if milliseconds(text).is_some() => {
            row.set(&field.name, crate::Value::Timestamp(milliseconds(text).unwrap_or_default().saturating_mul(1_000)))
        }
        (_, FieldType::Date) if milliseconds(text).is_some() => {
            let days = milliseconds(text).unwrap_or_default().div_euclid(86_400_000);
            row.set(&field.name, crate::Value::Date(i32::try_from(days).unwrap_or(i32::MAX)))
        }
        (_, FieldType::Decimal) if text.contains(['e', 'E']) && text.parse::<f64>().is_ok() => {
            // As Java writes floats of ten million and more; the shortest digits of that float are the number.
            let digits = text.parse::<f64>().unwrap_or_default().to_string();
            set(row, field, &Value::String(digits))
        }
        (_, FieldType::Decimal) if !is_exact(text) => {
            Err(Error::invalid_data(format!("field `{}` has a number that is not kept exactly", field.name)).code("value_type"))
        }
        _ => row.set(&field.name, text),
    }
}

/// A text of digits alone; no date in the usual form is one.
fn milliseconds(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Whether a decimal has no more digits than the host keeps: one that has more would have the whole page refused.
fn is_exact(text: &str) -> bool {
    let Some(text) = values::decimal_text(text) else { return false };
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    whole.trim_start_matches(['-', '0']).len() <= WHOLE_DIGITS_MAX && places.trim_end_matches('0').len() <= PLACES_MAX
}
