//! One value of a column as a serde deserializer.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserializer, Error as _, Visitor};

use super::super::failure::Failure;
use super::super::values::{DATE, TIMESTAMP};
use crate::columns::{Column, Columns, View};
use crate::error::Result;
use crate::values;

/// A column being read.
pub(super) struct Value<'a> {
    pub(super) name: &'a str,
    view: View<'a>,
    column: &'a Column,
}

impl<'a> Value<'a> {
    pub(super) fn new(columns: &'a Columns, column: &'a Column) -> Result<Self> {
        Ok(Self { name: column.name.as_str(), view: View::of(columns, column)?, column })
    }

    pub(super) fn is_present(&self, row: usize) -> bool {
        self.column.is_present(row)
    }
}

/// The value of one row.
pub(super) struct Cell<'r, 'a> {
    pub(super) value: &'r Value<'a>,
    pub(super) row: usize,
}

impl<'a> Cell<'_, 'a> {
    /// The document of a `json` column.
    #[inline]
    fn document(&self) -> Option<&'a str> {
        match &self.value.view {
            View::Json(values) => values.get(self.row),
            _ => None,
        }
    }

    /// The number inside a date or an instant.
    fn instant(&self) -> Option<i64> {
        match &self.value.view {
            View::Date(values) => values.get(self.row).map(i64::from),
            View::Timestamp(values) => values.get(self.row),
            _ => None,
        }
    }

    fn decimal(&self) -> Option<&'a str> {
        match &self.value.view {
            View::Decimal(values) => values.get(self.row),
            _ => None,
        }
    }

    /// The value as it is: dates and instants as text.
    #[inline]
    fn plain<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        let row = self.row;
        match &self.value.view {
            View::Text(values) | View::Decimal(values) | View::Json(values) => match values.get(row) {
                Some(text) => visitor.visit_borrowed_str(text),
                None => visitor.visit_unit(),
            },
            View::Integer(values) => match values.get(row) {
                Some(value) => visitor.visit_i64(value),
                None => visitor.visit_unit(),
            },
            _ => self.rare(visitor),
        }
    }

    fn rare<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        let row = self.row;
        if !self.value.is_present(row) {
            return visitor.visit_unit();
        }
        match &self.value.view {
            View::Boolean(values) => visitor.visit_bool(values.get(row).unwrap_or_default()),
            View::Float(values) => visitor.visit_f64(values.get(row).unwrap_or_default()),
            View::Date(values) => visitor.visit_string(values::date_text(values.get(row).unwrap_or_default())),
            View::Timestamp(values) => visitor.visit_string(values::timestamp_text(values.get(row).unwrap_or_default())),
            View::Binary(values) => visitor.visit_borrowed_bytes(values.get(row).unwrap_or_default()),
            View::Text(_) | View::Decimal(_) | View::Json(_) | View::Integer(_) => visitor.visit_unit(),
        }
    }

    /// Whole numbers, asked of a date, an instant or a decimal too.
    #[inline]
    fn whole<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(number) = self.instant() {
            return visitor.visit_i64(number);
        }
        match self.decimal().map(str::parse::<i64>) {
            Some(Ok(number)) => visitor.visit_i64(number),
            _ => self.plain(visitor),
        }
    }

    fn fraction<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.decimal().map(str::parse::<f64>) {
            Some(Ok(number)) => visitor.visit_f64(number),
            _ => self.plain(visitor),
        }
    }
}

fn misread(_: serde_json::Error) -> Failure {
    Failure::custom("")
}

/// A `json` column is read through its document, every other one by the method named.
macro_rules! through_document {
    ($($method:ident($($name:ident: $type:ty),*) or $other:ident;)*) => {
        $(#[inline]
        fn $method<V: Visitor<'a>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Failure> {
            match self.document() {
                Some(text) => serde_json::Deserializer::from_str(text).$method($($name,)* visitor).map_err(misread),
                None => self.$other(visitor),
            }
        })*
    };
}

impl<'a> Deserializer<'a> for Cell<'_, 'a> {
    type Error = Failure;

    through_document! {
        deserialize_any() or plain;
        deserialize_bool() or plain;
        deserialize_i8() or whole;
        deserialize_i16() or whole;
        deserialize_i32() or whole;
        deserialize_i64() or whole;
        deserialize_i128() or whole;
        deserialize_u8() or whole;
        deserialize_u16() or whole;
        deserialize_u32() or whole;
        deserialize_u64() or whole;
        deserialize_u128() or whole;
        deserialize_f32() or fraction;
        deserialize_f64() or fraction;
        deserialize_char() or plain;
        deserialize_str() or plain;
        deserialize_string() or plain;
        deserialize_bytes() or plain;
        deserialize_byte_buf() or plain;
        deserialize_unit() or plain;
        deserialize_unit_struct(name: &'static str) or plain;
        deserialize_seq() or plain;
        deserialize_tuple(len: usize) or plain;
        deserialize_tuple_struct(name: &'static str, len: usize) or plain;
        deserialize_map() or plain;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) or plain;
        deserialize_identifier() or plain;
    }

    #[inline]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        let is_null = !self.value.is_present(self.row) || self.document().is_some_and(|text| text.trim_ascii() == "null");
        if is_null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        if let Some(number) = self.instant().filter(|_| name == DATE || name == TIMESTAMP) {
            return visitor.visit_i64(number);
        }
        match self.document() {
            Some(text) => serde_json::Deserializer::from_str(text).deserialize_newtype_struct(name, visitor).map_err(misread),
            None => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match (&self.value.view, self.document()) {
            (_, Some(text)) => {
                serde_json::Deserializer::from_str(text).deserialize_enum(name, variants, visitor).map_err(misread)
            }
            (View::Text(values), None) => match values.get(self.row) {
                Some(text) => BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor),
                None => visitor.visit_unit(),
            },
            _ => self.plain(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}
