//! A YAML document as a tree in which every value knows its place, and the serde deserializer over it that lets
//! typed structs keep those places. It knows nothing of YAML's syntax and nothing of what keys mean.

use std::path::Path;

use affluent_model::diagnostic::Location;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Where a value stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// In characters, at least 1, within the line.
    pub(crate) length: usize,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1, length: 1 };

    pub(crate) fn in_file(self, file: &Path) -> Location {
        Location { file: file.to_owned(), line: self.line.max(1), column: self.column.max(1), length: self.length }
    }
}

/// A value and its place: of a scalar its own, of a map or list that of the key it belongs to, else of its first scalar.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    /// The value came from the environment or a variable: it is never shown in a message.
    pub(crate) hidden: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; keys are `Text` nodes, each once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Self { value, place, hidden: false }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The place of the key itself, of a map's entry.
    pub(crate) fn key_place(&self, key: &str) -> Option<Place> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(name, _)| name.place)
    }

    /// One step down: a key of a map or a number into a list.
    pub(crate) fn child(&self, step: &str) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// The node at the end of the path, or the deepest one on the way that exists.
    pub(crate) fn deepest<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> &Self {
        let mut node = self;
        for step in path {
            let Some(next) = node.child(step) else { break };
            node = next;
        }
        node
    }

    /// What it is, in words of the messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The scalar as a message may show it, in backticks; `None` for collections and hidden values.
    pub(crate) fn shown(&self) -> Option<String> {
        if self.hidden {
            return None;
        }
        match &self.value {
            Value::Boolean(value) => Some(format!("`{value}`")),
            Value::Number(number) => Some(format!("`{number}`")),
            Value::Text(text) => Some(format!("`{text}`")),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Names in a list of texts, or keys of a map.
    pub(crate) fn names(&self) -> Vec<(&str, Place)> {
        match &self.value {
            Value::List(items) => items.iter().filter_map(|item| Some((item.text()?, item.place))).collect(),
            Value::Map(entries) => entries.iter().filter_map(|(key, _)| Some((key.text()?, key.place))).collect(),
            _ => Vec::new(),
        }
    }
}

/// Name of the tuple struct through which [`crate::placed::Placed`] asks for a value with its place.
pub(crate) const PLACED: &str = "$placed";
/// Name of the enum whose variants `text`, `list` and `map` stand for the kind of the value itself.
pub(crate) const KIND: &str = "$kind";

type Error = de::value::Error;

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                _ => Err(de::Error::custom("number out of range")),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(entries) => visitor.visit_map(MapDeserializer::new(entries.iter().map(|(key, value)| (key, value)))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, _: usize, visitor: V) -> Result<V::Value, Error> {
        match name {
            PLACED => visitor.visit_seq(PlacedAccess { node: self, index: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == KIND {
            return visitor.visit_enum(KindAccess { node: self });
        }
        match &self.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(de::Error::custom("expected a word")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple map struct identifier ignored_any
    }
}

/// Yields line, column, length and then the value.
struct PlacedAccess<'de> {
    node: &'de Node,
    index: usize,
}

impl<'de> SeqAccess<'de> for PlacedAccess<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let place = self.node.place;
        self.index += 1;
        let number = match self.index {
            1 => place.line,
            2 => place.column,
            3 => place.length,
            4 => return seed.deserialize(self.node).map(Some),
            _ => return Ok(None),
        };
        seed.deserialize((number as u64).into_deserializer()).map(Some)
    }
}

/// An enum whose variant is the kind of the value.
struct KindAccess<'de> {
    node: &'de Node,
}

impl<'de> EnumAccess<'de> for KindAccess<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let kind = match self.node.value {
            Value::Map(_) => "map",
            Value::List(_) => "list",
            _ => "text",
        };
        let deserializer: StrDeserializer<'_, Error> = kind.into_deserializer();
        Ok((seed.deserialize(deserializer)?, self))
    }
}

impl<'de> VariantAccess<'de> for KindAccess<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.node)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self.node, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self.node, visitor)
    }
}
