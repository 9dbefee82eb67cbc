//! Columns as typed records: a serde deserializer over one row, which lends texts and bytes where the type allows.

mod value;

use std::cell::OnceCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use self::value::{Cell, Value};
use super::failure::Failure;
use crate::columns::Columns;
use crate::error::Result;

/// The rows of a batch as values of type `T`, in order; an iterator over them too.
///
/// A struct's field takes the column of its name; a nested struct the columns `field_…`, and is `None` when all of them are
/// null. Columns that `T` does not name are passed over; names that have no column are missing, as serde means it: `None` for
/// an `Option`, the default where there is one, otherwise an error. A map takes all columns by their names.
///
/// `&str` and `Cow<str>` (with `#[serde(borrow)]`) borrow from the batch. Dates and instants become
/// [`Date`](super::Date), [`Timestamp`](super::Timestamp), RFC 3339 text, or their number of days or microseconds, as the field's
/// type asks; a `json` value becomes whatever its document fits.
///
/// ```
/// use affluent_sdk::rows::Rows;
/// use affluent_sdk::{ColumnsBuilder, Field, FieldType};
///
/// #[derive(serde::Deserialize)]
/// struct Member<'a> {
///     email: &'a str,
///     points: Option<i64>,
/// }
///
/// let mut filled = ColumnsBuilder::new(&[Field::new("email", FieldType::Text), Field::new("points", FieldType::Integer)]);
/// filled.set("email", "ada@example.org")?;
/// filled.end_row();
/// let batch = filled.finish();
///
/// for member in Rows::<Member>::new(&batch)? {
///     let member = member?;
///     assert_eq!((member.email, member.points), ("ada@example.org", None));
/// }
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
pub struct Rows<'a, T> {
    values: Vec<Value<'a>>,
    level: Level,
    rows: usize,
    next: usize,
    records: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Rows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("rows", &self.rows).field("next", &self.next).finish_non_exhaustive()
    }
}

impl<'a, T: Deserialize<'a>> Rows<'a, T> {
    /// A view of a batch; texts are checked to be UTF-8 at once.
    ///
    /// # Errors
    /// `invalid_data` for a column whose bytes are not UTF-8.
    pub fn new(columns: &'a Columns) -> Result<Self> {
        let values = columns.columns.iter().map(|column| Value::new(columns, column)).collect::<Result<_>>()?;
        let rows = columns.rows as usize;
        Ok(Self { values, level: Level::default(), rows, next: 0, records: PhantomData })
    }

    /// Row `row`, from 0. A row beyond the last has only nulls.
    ///
    /// # Errors
    /// `invalid_data` (`value_type`, `value_missing`), naming the row and the field, never the value.
    #[inline]
    pub fn get(&self, row: usize) -> Result<T> {
        let record = Record { values: &self.values, level: &self.level, row };
        T::deserialize(record).map_err(|failure| failure.into_error().context(&format!("row {row}")))
    }
}

impl<'a, T: Deserialize<'a>> Iterator for Rows<'a, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.rows {
            return None;
        }
        self.next += 1;
        Some(self.get(self.next - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.rows - self.next;
        (rest, Some(rest))
    }
}

/// Where the fields of a struct are found: filled by the first row, since only serde knows the struct.
#[derive(Default)]
struct Level {
    prefix: String,
    members: OnceCell<Vec<Member>>,
}

struct Member {
    name: &'static str,
    place: Place,
}

enum Place {
    Column(usize),
    Nested(Level),
}

impl Level {
    fn members(&self, names: &'static [&'static str], values: &[Value<'_>]) -> &[Member] {
        self.members.get_or_init(|| {
            let find = |name: &'static str| {
                let full = format!("{}{name}", self.prefix);
                if let Some(index) = values.iter().position(|value| value.name == full) {
                    return Some(Member { name, place: Place::Column(index) });
                }
                let prefix = format!("{full}_");
                let is_nested = values.iter().any(|value| value.name.starts_with(&prefix));
                is_nested.then(|| Member { name, place: Place::Nested(Self { prefix, members: OnceCell::new() }) })
            };
            names.iter().copied().filter_map(find).collect()
        })
    }
}

/// One row, or a nested part of it.
#[derive(Clone, Copy)]
struct Record<'r, 'a> {
    values: &'r [Value<'a>],
    level: &'r Level,
    row: usize,
}

impl<'r, 'a> Record<'r, 'a> {
    fn columns(self) -> impl Iterator<Item = &'r Value<'a>> {
        self.values.iter().filter(move |value| value.name.starts_with(&self.level.prefix))
    }
}

impl<'a> Deserializer<'a> for Record<'_, 'a> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let members = self.level.members(names, self.values);
        visitor.visit_map(Members { record: self, members, next: 0 })
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Everything { record: self, next: 0 })
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        let is_there = self.columns().any(|value| value.is_present(self.row));
        if is_there { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct enum identifier
    }
}

/// The fields that a struct asks for.
struct Members<'r, 'a> {
    record: Record<'r, 'a>,
    members: &'r [Member],
    /// The member after the one whose name was given last.
    next: usize,
}

impl<'a> MapAccess<'a> for Members<'_, 'a> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(member) = self.members.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(member.name.into_deserializer()).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some(member) = self.members.get(self.next - 1) else { return seed.deserialize(().into_deserializer()) };
        let Record { values, row, .. } = self.record;
        match &member.place {
            Place::Nested(level) => seed.deserialize(Record { values, level, row }),
            Place::Column(index) => match values.get(*index) {
                Some(value) => seed.deserialize(Cell { value, row }).map_err(|failure| failure.at(value.name)),
                None => seed.deserialize(().into_deserializer()),
            },
        }
    }
}

/// All columns, for a map.
struct Everything<'r, 'a> {
    record: Record<'r, 'a>,
    next: usize,
}

impl<'a> MapAccess<'a> for Everything<'_, 'a> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(value) = self.record.columns().nth(self.next) else { return Ok(None) };
        self.next += 1;
        let name = value.name.get(self.record.level.prefix.len()..).unwrap_or_default();
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.record.columns().nth(self.next - 1) {
            Some(value) => seed.deserialize(Cell { value, row: self.record.row }).map_err(|failure| failure.at(value.name)),
            None => seed.deserialize(().into_deserializer()),
        }
    }
}
