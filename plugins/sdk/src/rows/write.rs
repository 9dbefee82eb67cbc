//! A serde serializer that writes a record straight into columns.

use serde::Serialize;
use serde::ser::{Impossible, SerializeMap, SerializeStruct, Serializer};

use super::failure::Failure;
use super::shape::{Member, Target};
use super::values::{DATE, TIMESTAMP};
use crate::columns::ColumnBuilder;
use crate::stream::FieldType;

type Written = Result<(), Failure>;
type Never = Impossible<(), Failure>;

/// Refuses what serde could also hand over.
macro_rules! refuse {
    ($what:expr; $($method:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Failure> {
            Err($what(&self))
        })*
    };
}

/// The types of a serializer that gives nothing, and those of nested values that it never takes.
macro_rules! never_takes {
    ($($kind:ident)*) => {
        type Ok = ();
        type Error = Failure;
        $(type $kind = Never;)*
    };
}

/// A record, or a nested one, being written.
pub(super) struct RecordWriter<'a> {
    columns: &'a mut [ColumnBuilder],
    members: &'a [Member],
    scratch: &'a mut Vec<u8>,
    /// Complete rows.
    rows: usize,
    /// Where the next name is looked up first.
    next: usize,
    /// A key of a map that waits for its value.
    key: String,
}

impl<'a> RecordWriter<'a> {
    #[inline]
    pub(super) fn new(columns: &'a mut [ColumnBuilder], members: &'a [Member], scratch: &'a mut Vec<u8>, rows: usize) -> Self {
        Self { columns, members, scratch, rows, next: 0, key: String::new() }
    }

    fn no_record(&self) -> Failure {
        Failure::from(crate::Error::internal("the record is not written as a struct with named fields"))
    }

    #[inline]
    fn write<T: Serialize + ?Sized>(&mut self, index: usize, value: &T) -> Written {
        self.next = index + 1;
        let Some(member) = self.members.get(index) else { return Ok(()) };
        match &member.target {
            Target::Record(members) => value.serialize(RecordWriter::new(self.columns, members, self.scratch, self.rows)),
            Target::Column(column) => {
                let Some(column) = self.columns.get_mut(*column) else { return Ok(()) };
                if column.len() != self.rows {
                    return Err(Failure::misfit(column.name(), "is set twice in one record"));
                }
                if column.field_type() == FieldType::Json {
                    return write_json(column, self.scratch, value);
                }
                value.serialize(ValueWriter { column, is_instant: false })
            }
        }
    }
}

fn write_json<T: Serialize + ?Sized>(column: &mut ColumnBuilder, scratch: &mut Vec<u8>, value: &T) -> Written {
    scratch.clear();
    let written = serde_json::to_writer(&mut *scratch, value);
    written.map_err(|_| Failure::misfit(column.name(), "cannot be written as JSON"))?;
    if scratch.as_slice() == b"null" {
        column.push_null();
        return Ok(());
    }
    Ok(column.push_with(|out| {
        out.extend_from_slice(scratch);
        Ok(())
    })?)
}

impl SerializeStruct for RecordWriter<'_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        let is_next = self.members.get(self.next).is_some_and(|member| member.is(key));
        let index = if is_next { Some(self.next) } else { self.members.iter().position(|member| member.name == key) };
        index.map_or(Ok(()), |index| self.write(index, value))
    }

    fn end(self) -> Written {
        Ok(())
    }
}

/// What `#[serde(flatten)]` makes of a struct.
impl SerializeMap for RecordWriter<'_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        let key = serde_json::to_value(key).ok().and_then(|key| key.as_str().map(str::to_owned));
        self.key = key.ok_or_else(|| self.no_record())?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        let index = self.members.iter().position(|member| member.name == self.key);
        index.map_or(Ok(()), |index| self.write(index, value))
    }

    fn end(self) -> Written {
        Ok(())
    }
}

impl<'a> Serializer for RecordWriter<'a> {
    never_takes! { SerializeSeq SerializeTuple SerializeTupleStruct SerializeTupleVariant SerializeStructVariant }
    type SerializeMap = Self;
    type SerializeStruct = Self;

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Failure> {
        Ok(self)
    }

    /// A nested record that is not there leaves its columns null.
    fn serialize_none(self) -> Written {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Written {
        Err(self.no_record())
    }

    refuse! { RecordWriter::no_record;
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }
}

/// One value on its way into a column that is not `json`.
struct ValueWriter<'a> {
    column: &'a mut ColumnBuilder,
    /// The value is the number inside a `Date` or `Timestamp`.
    is_instant: bool,
}

impl ValueWriter<'_> {
    fn nested(&self) -> Failure {
        let wanted = self.column.field_type().as_str();
        Failure::misfit(self.column.name(), &format!("is of type {wanted}, which a nested value does not fit"))
    }
}

/// Passes a value to the column's own method.
macro_rules! push {
    ($($method:ident($type:ty) => $push:ident;)*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Written {
            Ok(self.column.$push(value.into())?)
        })*
    };
}

impl Serializer for ValueWriter<'_> {
    never_takes! {
        SerializeSeq SerializeTuple SerializeTupleStruct SerializeTupleVariant SerializeStructVariant SerializeMap SerializeStruct
    }

    push! {
        serialize_bool(bool) => push_boolean;
        serialize_i8(i8) => push_integer;
        serialize_i16(i16) => push_integer;
        serialize_i32(i32) => push_integer;
        serialize_u8(u8) => push_integer;
        serialize_u16(u16) => push_integer;
        serialize_u32(u32) => push_integer;
        serialize_f32(f32) => push_float;
        serialize_f64(f64) => push_float;
        serialize_str(&str) => push_text;
        serialize_bytes(&[u8]) => push_binary;
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Written {
        match self.column.field_type() {
            FieldType::Timestamp if self.is_instant => Ok(self.column.push_timestamp(value)?),
            FieldType::Date if self.is_instant => {
                let days = i32::try_from(value).map_err(|_| Failure::misfit(self.column.name(), "is beyond all calendars"))?;
                Ok(self.column.push_date(days)?)
            }
            _ => Ok(self.column.push_integer(value)?),
        }
    }

    fn serialize_u64(self, value: u64) -> Written {
        match i64::try_from(value) {
            Ok(value) => Ok(self.column.push_integer(value)?),
            Err(_) if matches!(self.column.field_type(), FieldType::Decimal | FieldType::Text) => {
                Ok(self.column.push_text(itoa::Buffer::new().format(value))?)
            }
            Err(_) => Err(Failure::misfit(self.column.name(), "is larger than 64 bits with a sign hold")),
        }
    }

    fn serialize_char(self, value: char) -> Written {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_none(self) -> Written {
        self.column.push_null();
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Written {
        let is_instant = name == DATE || name == TIMESTAMP;
        let takes_instants = matches!(self.column.field_type(), FieldType::Date | FieldType::Timestamp);
        value.serialize(ValueWriter { is_instant: is_instant && takes_instants, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Written {
        Err(self.nested())
    }

    fn is_human_readable(&self) -> bool {
        !self.is_instant
    }

    refuse! { ValueWriter::nested;
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }
}
