//! Exact decimals as text: `-12.50`, at most 32 digits before the point and 6 after; more digits after it are allowed
//! only when they are zeroes, because an exact value is never rounded.

use affluent_model::schema::{DECIMAL_PRECISION, DECIMAL_SCALE};
use arrow::array::{Array, Decimal128Array, StringArray};

use super::{Checked, Invalid, invalid};

const SCALE_DIGITS: usize = DECIMAL_SCALE.unsigned_abs() as usize;
/// 10^38: absolute values stay below it.
const UNSCALED_MAX: i128 = 10i128.pow(DECIMAL_PRECISION as u32);

pub(super) fn decode(texts: &StringArray) -> Checked<Decimal128Array> {
    let mut values = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        match text.map(parse) {
            None => values.push(0),
            Some(Some(value)) => values.push(value),
            Some(None) => return invalid(format!("has a value that is no decimal of up to 32 digits and 6 places in row {row}")),
        }
    }
    with_type(Decimal128Array::new(values.into(), texts.nulls().cloned()))
}

/// Gives the array the one decimal type of the model.
pub(super) fn with_type(array: Decimal128Array) -> Checked<Decimal128Array> {
    array.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE).map_err(|_| Invalid("has a decimal out of range".to_owned()))
}

/// The value in millionths; `None` when it is no decimal, or would have to be rounded.
pub(super) fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && places.is_empty() {
        return None;
    }
    let kept = places.bytes().chain(std::iter::repeat(b'0')).take(SCALE_DIGITS);
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(kept) {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        if value >= UNSCALED_MAX {
            return None;
        }
    }
    let is_exact = places.bytes().skip(SCALE_DIGITS).all(|byte| byte == b'0');
    is_exact.then_some(if negative { -value } else { value })
}

/// The shortest text of a value in millionths: no trailing zeroes after the point.
pub(super) fn print(value: i128) -> String {
    let unit = 10u128.pow(u32::from(DECIMAL_SCALE.unsigned_abs()));
    let (whole, places) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    let sign = if value < 0 { "-" } else { "" };
    if places == 0 {
        return format!("{sign}{whole}");
    }
    let places = format!("{places:0SCALE_DIGITS$}");
    format!("{sign}{whole}.{}", places.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        let cases = [
            ("12.5", Some(12_500_000)),
            ("-0.000001", Some(-1)),
            ("+3", Some(3_000_000)),
            (".5", Some(500_000)),
            ("7.", Some(7_000_000)),
            ("1.0000000", Some(1_000_000)),
            ("1.0000001", None),
            ("99999999999999999999999999999999.999999", Some(UNSCALED_MAX - 1)),
            ("100000000000000000000000000000000", None),
            ("1e3", None),
            ("1,5", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1.2.3", None),
            ("١", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_decimal_is_printed_as_it_was_read() {
        for text in ["0", "12.5", "-0.000001", "123", "-99999999999999999999999999999999.999999"] {
            assert_eq!(print(parse(text).unwrap()), text);
        }
    }
}
