//! What goes wrong between serde and a column. serde's own messages may quote the value, so only what they say about
//! types is kept.

use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::error::Error;

/// An error on its way through serde.
#[derive(Debug)]
pub(super) struct Failure(Error);

impl Failure {
    /// The value of this field does not fit what is expected.
    pub(super) fn misfit(field: &str, what: &str) -> Self {
        Self(Error::invalid_data(format!("field `{field}` {what}")).code("value_type"))
    }

    /// Names the field, where serde did not know it.
    pub(super) fn at(self, field: &str) -> Self {
        if self.0.message.starts_with("field ") { self } else { Self(self.0.context(&format!("field `{field}`"))) }
    }

    pub(super) fn into_error(self) -> Error {
        self.0
    }

    fn told(message: impl Into<String>) -> Self {
        Self(Error::invalid_data(message).code("value_type"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::told("the value cannot be written")
    }
}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::told("the value is not one that the plugin can read")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a fraction",
            Unexpected::Str(_) | Unexpected::Char(_) => "a text",
            Unexpected::Bytes(_) => "bytes",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "of another type",
        };
        Self::told(format!("the value is {found}, not {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::told(format!("the value is not {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::told(format!("the value is none of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(Error::invalid_data(format!("field `{field}` is missing")).code("value_missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::misfit(field, "stands there twice")
    }
}
