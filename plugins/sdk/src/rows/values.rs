//! Values that JSON has no type for.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::values;

/// Names by which columns know these types.
pub(super) const DATE: &str = "affluent::Date";
pub(super) const TIMESTAMP: &str = "affluent::Timestamp";

/// A day, in days since 1970-01-01; `"2026-01-31"` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

/// An instant, in microseconds since the epoch, UTC; RFC 3339 in JSON, read in every form of [`values::parse_timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// An exact number as text: digits with at most one point, an optional minus before them. Read from a JSON string without
/// loss, and from a JSON number as far as a double holds it (15 digits).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// Reads an exact number; `None` for anything else, an exponent among it.
    ///
    /// ```
    /// use affluent_sdk::rows::Decimal;
    ///
    /// assert_eq!(Decimal::new("+12.50").expect("a number").as_str(), "12.50");
    /// assert_eq!(Decimal::new("1e3"), None);
    /// ```
    pub fn new(text: &str) -> Option<Self> {
        values::decimal_text(text).map(|text| Self(text.to_owned()))
    }

    /// The number's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&values::date_text(self.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&values::timestamp_text(self.0))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number inside a [`Date`] or [`Timestamp`]: a text for people, the number itself for columns.
struct Inside<'a, T> {
    number: i64,
    text: &'a T,
}

impl<T: fmt::Display> Serialize for Inside<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self.text) } else { serializer.serialize_i64(self.number) }
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(DATE, &Inside { number: i64::from(self.0), text: self })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TIMESTAMP, &Inside { number: self.0, text: self })
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Reads a text by a function; a number as it is, which only columns give.
struct Reading {
    expected: &'static str,
    parse: fn(&str) -> Option<i64>,
}

impl<'de> Visitor<'de> for Reading {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i64, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reading = Reading { expected: "a date such as 2026-01-31", parse: |text| values::parse_date(text).map(i64::from) };
        let days = deserializer.deserialize_newtype_struct(DATE, reading)?;
        i32::try_from(days).map(Self).map_err(|_| D::Error::custom("a date beyond all calendars"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reading = Reading { expected: "an instant such as 2026-01-31T10:20:30Z", parse: values::parse_timestamp };
        deserializer.deserialize_newtype_struct(TIMESTAMP, reading).map(Self)
    }
}

/// Reads an instant that JSON holds as seconds since the epoch: `#[serde(deserialize_with = "rows::seconds")]`.
///
/// ```
/// use affluent_sdk::rows::{self, Timestamp};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Bounce {
///     #[serde(deserialize_with = "rows::seconds")]
///     created: Timestamp,
/// }
///
/// let bounce: Bounce = serde_json::from_str(r#"{"created": 1443651141}"#).expect("valid");
/// assert_eq!(bounce.created.to_string(), "2015-09-30T22:12:21Z");
/// ```
///
/// # Errors
/// The deserializer's, for anything but a number; for one beyond the year 9999.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if !(-62_000_000_000.0..253_402_300_800.0).contains(&seconds) {
        return Err(D::Error::custom("an instant beyond all calendars"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    Ok(Timestamp((seconds * 1_000_000.0).round() as i64))
}

struct DecimalReading;

impl Visitor<'_> for DecimalReading {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an exact number such as 12.50")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
        Decimal::new(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Decimal, E> {
        Ok(Decimal(itoa::Buffer::new().format(number).to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal(itoa::Buffer::new().format(number).to_owned()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Decimal, E> {
        // `Display` of a float never writes an exponent; infinities are refused.
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalReading)
    }
}

macro_rules! schema {
    ($type:ident, $format:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

schema!(Date, "date");
schema!(Timestamp, "date-time");
schema!(Decimal, "decimal");
