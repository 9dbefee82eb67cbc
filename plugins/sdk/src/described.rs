//! Fields by what a service says of them: where a description holds the name, the type and the marks of a field, as data.
//!
//! ```
//! use affluent_sdk::described::Described;
//! use affluent_sdk::{FieldType, PiiClass};
//!
//! const FIELDS: Described = Described::new("/name", "/type", &[("bool", FieldType::Boolean), ("number", FieldType::Float)])
//!     .exact("/isCurrency")
//!     .read_only("/calculated")
//!     .personal(&[("/kind", &["long_text"], PiiClass::FreeText)]);
//!
//! let told = serde_json::json!({ "name": "spent", "type": "number", "isCurrency": true, "calculated": true });
//! assert_eq!(FIELDS.field(&told).field_type, FieldType::Decimal);
//! assert!(!FIELDS.is_written(&told) && !FIELDS.is_unique(&told));
//!
//! const OWN: Described = Described::new("/name", "/type", &[("Number", FieldType::Float)])
//!     .under("custom.")
//!     .read_only_where(&[("/status", "blocked"), ("/writable", "false")]);
//! let own = serde_json::json!([{ "name": "size", "type": "Number (detected)" }, { "name": "old", "status": "blocked" }]);
//! let written: Vec<String> = OWN.written(own.as_array().unwrap()).map(|field| field.name).collect();
//! assert_eq!(written, ["custom.size"]);
//! ```

use serde_json::Value;

use crate::json;
use crate::stream::{Field, FieldType, PiiClass};

/// Where a description of a field holds what (RFC 6901, into one description).
#[derive(Debug, Clone, Copy)]
pub struct Described {
    name: &'static str,
    prefix: &'static str,
    kind: &'static str,
    kinds: &'static [(&'static str, FieldType)],
    exact: &'static str,
    read_only: &'static str,
    read_only_where: &'static [(&'static str, &'static str)],
    unique: &'static str,
    hidden: &'static str,
    personal: &'static [(&'static str, &'static [&'static str], PiiClass)],
}

/// What words for types usually mean, for services that use no others.
pub const USUAL_TYPES: &[(&str, FieldType)] = &[
    ("boolean", FieldType::Boolean),
    ("int", FieldType::Integer),
    ("integer", FieldType::Integer),
    ("float", FieldType::Float),
    ("double", FieldType::Float),
    ("percent", FieldType::Float),
    ("currency", FieldType::Decimal),
    ("decimal", FieldType::Decimal),
    ("date", FieldType::Date),
    ("datetime", FieldType::Timestamp),
    ("timestamp", FieldType::Timestamp),
];
/// Points nowhere.
const NOWHERE: &str = "/-";

impl Described {
    /// Where the name and the word for the type stand, and what words of types mean, what follows a space left out; all others are
    /// text.
    pub const fn new(name: &'static str, kind: &'static str, kinds: &'static [(&'static str, FieldType)]) -> Self {
        let (exact, read_only, unique, hidden) = (NOWHERE, NOWHERE, NOWHERE, NOWHERE);
        Self { name, prefix: "", kind, kinds, exact, read_only, read_only_where: &[], unique, hidden, personal: &[] }
    }

    /// What names of fields begin with, before the one that is described: `custom_attributes.`.
    #[must_use]
    pub const fn under(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// Where `true` says that a number is money: it is read as a decimal.
    #[must_use]
    pub const fn exact(self, pointer: &'static str) -> Self {
        Self { exact: pointer, ..self }
    }

    /// Where `true` says that it cannot be written.
    #[must_use]
    pub const fn read_only(self, pointer: &'static str) -> Self {
        Self { read_only: pointer, ..self }
    }

    /// Where words, `true` and `false` among them, say that it cannot be written: pointer and word, any of them.
    #[must_use]
    pub const fn read_only_where(self, words: &'static [(&'static str, &'static str)]) -> Self {
        Self { read_only_where: words, ..self }
    }

    /// Where `true` says that no two records have the same value.
    #[must_use]
    pub const fn unique(self, pointer: &'static str) -> Self {
        Self { unique: pointer, ..self }
    }

    /// Where `true` says that users do not see it.
    #[must_use]
    pub const fn hidden(self, pointer: &'static str) -> Self {
        Self { hidden: pointer, ..self }
    }

    /// What words at pointers say about a person, for fields whose names do not tell: see [`PiiClass::of_name`].
    #[must_use]
    pub const fn personal(self, words: &'static [(&'static str, &'static [&'static str], PiiClass)]) -> Self {
        Self { personal: words, ..self }
    }

    /// The name, as it is described.
    pub fn name<'a>(&self, description: &'a Value) -> &'a str {
        json::text(description, self.name)
    }

    /// The field.
    pub fn field(&self, description: &Value) -> Field {
        let (name, kind) = (self.name(description), json::text(description, self.kind).split(' ').next().unwrap_or_default());
        let known = self.kinds.iter().find(|(word, _)| *word == kind).map_or(FieldType::Text, |(_, known)| *known);
        let is_number = matches!(known, FieldType::Float | FieldType::Integer);
        let field_type = if is_number && is(description, self.exact) { FieldType::Decimal } else { known };
        let by_word = || {
            let words = self.personal.iter();
            let mut said = words.filter(|(pointer, words, _)| words.contains(&json::text(description, pointer)));
            said.next().map(|(_, _, class)| *class)
        };
        Field { pii: PiiClass::of_name(name).or_else(by_word), ..Field::new(format!("{}{name}", self.prefix), field_type) }
    }

    /// The fields that can be written.
    pub fn written<'a>(&'a self, descriptions: &'a [Value]) -> impl Iterator<Item = Field> + 'a {
        descriptions.iter().filter(|description| self.is_written(description)).map(|description| self.field(description))
    }

    /// Whether it can be written.
    pub fn is_written(&self, description: &Value) -> bool {
        let says = |(pointer, word): &(&str, &str)| match description.pointer(pointer) {
            Some(Value::Bool(is)) => is.to_string() == *word,
            _ => json::text(description, pointer) == *word,
        };
        !is(description, self.read_only) && !self.read_only_where.iter().any(says)
    }

    /// Whether no two records have the same value.
    pub fn is_unique(&self, description: &Value) -> bool {
        is(description, self.unique)
    }

    /// Whether users do not see it.
    pub fn is_hidden(&self, description: &Value) -> bool {
        is(description, self.hidden)
    }
}

fn is(description: &Value, pointer: &str) -> bool {
    description.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}
