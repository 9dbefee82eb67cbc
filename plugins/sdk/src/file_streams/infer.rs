//! Guessing the type of a column from a sample: every value leaves the types that can hold it, and what remains at the
//! end, narrowest first, is the type. Identifiers stay text: digits with leading zeros or too many of them.

use crate::stream::FieldType;
use crate::values::{self, INTEGER_DIGITS_MAX};

/// Digits after the point of an exact decimal; more of them make a float (the lake keeps six).
const DECIMAL_SCALE_MAX: usize = 6;
/// Digits before the point of an exact decimal.
const DECIMAL_DIGITS_MAX: usize = 32;

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const INTEGER: u8 = 1;
    const DECIMAL: u8 = 1 << 1;
    const FLOAT: u8 = 1 << 2;
    const DATE: u8 = 1 << 3;
    const TIMESTAMP: u8 = 1 << 4;
    const BOOLEAN: u8 = 1 << 5;
    const TEXT: u8 = 1 << 6;
    const JSON: u8 = 1 << 7;

    /// What a column can be before a value is seen.
    pub const ANY: Self = Self(0xff);
    /// What can hold a nested list or object.
    pub const NESTED: Self = Self(Self::JSON);
    /// What can hold `true` and `false`.
    pub const FLAG: Self = Self(Self::BOOLEAN | Self::TEXT | Self::JSON);

    /// What can hold a text of a format without types.
    pub fn of_text(text: &str) -> Self {
        let text = text.trim();
        let flag = if values::parse_boolean(text).is_some() { Self::BOOLEAN } else { 0 };
        Self(Self::of_number(text).0 | Self::of_string(text).0 | flag)
    }

    /// What can hold a text that is known to be text: digits in it are no number.
    pub fn of_string(text: &str) -> Self {
        let starts_with_year = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let moment = match starts_with_year {
            true if values::parse_date(text).is_some() => Self::DATE | Self::TIMESTAMP,
            true if values::parse_timestamp(text).is_some() => Self::TIMESTAMP,
            _ => 0,
        };
        Self(moment | Self::TEXT | Self::JSON)
    }

    /// What can hold a number as written; an exact decimal where possible, since it may be money.
    pub fn of_number(text: &str) -> Self {
        let number = match shape_of(text) {
            Some(Shape { whole, scale: 0 }) if whole <= INTEGER_DIGITS_MAX => Self::INTEGER | Self::DECIMAL | Self::FLOAT,
            Some(Shape { scale: 0, .. }) | None if !is_scientific(text) => 0,
            Some(Shape { whole, scale: 1..=DECIMAL_SCALE_MAX }) if whole <= DECIMAL_DIGITS_MAX => Self::DECIMAL | Self::FLOAT,
            _ => Self::FLOAT,
        };
        Self(number | Self::TEXT | Self::JSON)
    }

    /// What can hold both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The narrowest type; text for a column without values.
    pub fn field_type(self) -> FieldType {
        let order = [
            (Self::INTEGER, FieldType::Integer),
            (Self::DECIMAL, FieldType::Decimal),
            (Self::FLOAT, FieldType::Float),
            (Self::DATE, FieldType::Date),
            (Self::TIMESTAMP, FieldType::Timestamp),
            (Self::BOOLEAN, FieldType::Boolean),
            (Self::TEXT, FieldType::Text),
        ];
        if self == Self::ANY {
            return FieldType::Text;
        }
        order.into_iter().find(|(kind, _)| self.0 & kind != 0).map_or(FieldType::Json, |(_, field_type)| field_type)
    }
}

/// Digits before and after the point.
struct Shape {
    whole: usize,
    scale: usize,
}

/// `None` for what is not digits with at most one point, or has leading zeros.
fn shape_of(text: &str) -> Option<Shape> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !is_number(whole) || !is_number(fraction) || has_leading_zero {
        return None;
    }
    Some(Shape { whole: whole.len(), scale: if digits.len() == whole.len() { 0 } else { fraction.len() } })
}

fn is_scientific(text: &str) -> bool {
    let is_numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let has_exponent = text.bytes().skip(1).any(|byte| matches!(byte, b'e' | b'E'));
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-');
    has_exponent && starts_well && text.bytes().all(is_numeric) && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Whether a number that turns up in a guessed column may be taken as one: with leading zeros it may be an identifier,
/// which the sample did not show.
pub fn is_plain_number(text: &str) -> bool {
    let text = text.trim().as_bytes();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !matches!(digits, [b'0', b'0'..=b'9', ..] | [b'+', ..]) && digits.len() <= INTEGER_DIGITS_MAX + 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> FieldType {
        values.iter().fold(Kinds::ANY, |kinds, text| kinds.and(Kinds::of_text(text))).field_type()
    }

    #[test]
    fn the_narrowest_type_that_holds_every_value_is_guessed() {
        let cases: [(&[&str], FieldType); 18] = [
            (&["1", "-20", "0"], FieldType::Integer),
            (&["1", "2.50"], FieldType::Decimal),
            (&["19.90", "0.05"], FieldType::Decimal),
            (&["52.52000812", "1"], FieldType::Float),
            (&["1e-5", "2.5"], FieldType::Float),
            (&["007", "12"], FieldType::Text),
            (&["1234567890123456789"], FieldType::Text),
            (&["123456789012345678"], FieldType::Integer),
            (&["2026-01-31"], FieldType::Date),
            (&["2026-01-31", "2026-01-31T10:00:00Z"], FieldType::Timestamp),
            (&["2026-01-31 10:00"], FieldType::Timestamp),
            (&["2026-13-31"], FieldType::Text),
            (&["true", "FALSE"], FieldType::Boolean),
            (&["true", "1"], FieldType::Text),
            (&["1", "x"], FieldType::Text),
            (&["+491701234567"], FieldType::Text),
            (&["-"], FieldType::Text),
            (&[], FieldType::Text),
        ];

        for (values, expected) in cases {
            assert_eq!(guess(values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_text_of_digits_is_no_number_where_the_format_tells_them_apart() {
        assert_eq!(Kinds::of_string("12").field_type(), FieldType::Text);
        assert_eq!(Kinds::of_number("12").and(Kinds::of_string("12")).field_type(), FieldType::Text);
        assert_eq!(Kinds::of_number("12").and(Kinds::NESTED).field_type(), FieldType::Json);
    }
}
