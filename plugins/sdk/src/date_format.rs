//! Dates and instants in the forms that people's exports have: `%d/%m/%Y`, `%d.%m.%Y %H:%M`. A small part of strftime;
//! forms of RFC 3339 need no format, see [`crate::values`].

use crate::error::{Error, Result};
use crate::values;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Literal(u8),
    Year,
    /// 00 to 68 are of this century, 69 to 99 of the last, as in POSIX.
    ShortYear,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
    Zone,
}

/// A format: `%Y %y %m %d %H %M %S %f %z %%` and literal characters. One digit is enough where two are usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    items: Vec<Item>,
}

impl DateFormat {
    /// Reads the text of a format.
    ///
    /// # Errors
    /// `config` for an unknown directive, or when year, month or day is missing.
    pub fn new(format: &str) -> Result<Self> {
        let mut items = Vec::new();
        let mut bytes = format.bytes();
        while let Some(byte) = bytes.next() {
            items.push(if byte == b'%' { directive(bytes.next(), format)? } else { Item::Literal(byte) });
        }
        let has = |item| items.contains(&item);
        if !(has(Item::Month) && has(Item::Day) && (has(Item::Year) || has(Item::ShortYear))) {
            return Err(Error::config(format!("format `{format}` lacks year, month or day")));
        }
        Ok(Self { items })
    }

    /// Whether it has a time of day: then its values are timestamps, otherwise dates.
    pub fn has_time(&self) -> bool {
        self.items.contains(&Item::Hour)
    }

    /// Reads a date as days since 1970-01-01.
    pub fn parse_date(&self, text: &str) -> Option<i32> {
        i32::try_from(self.parse_timestamp(text)?.div_euclid(86_400_000_000)).ok()
    }

    /// Reads an instant as microseconds since the epoch; without a zone it is UTC.
    pub fn parse_timestamp(&self, text: &str) -> Option<i64> {
        let mut rest = text.trim().as_bytes();
        let (mut year, mut month, mut day) = (0, 0, 0);
        let (mut hour, mut minute, mut second) = (0, 0, 0);
        let (mut fraction_us, mut zone_us) = (0, 0);
        for item in &self.items {
            match item {
                Item::Literal(byte) => rest = rest.strip_prefix(std::slice::from_ref(byte))?,
                Item::Year => year = digits(&mut rest, 4, 4)?,
                Item::ShortYear => {
                    let short = digits(&mut rest, 2, 2)?;
                    year = if short < 69 { 2_000 + short } else { 1_900 + short };
                }
                Item::Month => month = digits(&mut rest, 1, 2)?,
                Item::Day => day = digits(&mut rest, 1, 2)?,
                Item::Hour => hour = digits(&mut rest, 1, 2).filter(|hour| *hour < 24)?,
                Item::Minute => minute = digits(&mut rest, 2, 2).filter(|minute| *minute < 60)?,
                Item::Second => second = digits(&mut rest, 2, 2).filter(|second| *second <= 60)?.min(59),
                Item::Fraction => {
                    let (us, end) = values::fraction(rest, 0)?;
                    fraction_us = us;
                    rest = rest.get(end..)?;
                }
                Item::Zone => zone_us = values::zone(std::mem::take(&mut rest))?,
            }
        }
        let days = values::days_of(year, month, day)?;
        let secs = i64::from(days) * 86_400 + hour * 3_600 + minute * 60 + second;
        rest.is_empty().then_some(secs * 1_000_000 + fraction_us - zone_us)
    }
}

fn directive(letter: Option<u8>, format: &str) -> Result<Item> {
    Ok(match letter {
        Some(b'Y') => Item::Year,
        Some(b'y') => Item::ShortYear,
        Some(b'm') => Item::Month,
        Some(b'd') => Item::Day,
        Some(b'H') => Item::Hour,
        Some(b'M') => Item::Minute,
        Some(b'S') => Item::Second,
        Some(b'f') => Item::Fraction,
        Some(b'z') => Item::Zone,
        Some(b'%') => Item::Literal(b'%'),
        _ => return Err(Error::config(format!("format `{format}`: use %Y %y %m %d %H %M %S %f %z"))),
    })
}

/// Takes `least` to `most` digits.
fn digits(rest: &mut &[u8], least: usize, most: usize) -> Option<i64> {
    let count = rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if count < least {
        return None;
    }
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_format() {
        let cases = [
            ("%d/%m/%Y", "02/01/1970", Some(86_400_000_000)),
            ("%d.%m.%y", "2.1.70", Some(86_400_000_000)),
            ("%m/%d/%Y %H:%M", "1/1/1970 1:02", Some(3_720_000_000)),
            ("%Y%m%d %H%M%S.%f%z", "19700101 010000.5+0100", Some(500_000)),
            ("%d/%m/%Y", "31/02/2026", None),
            ("%d/%m/%Y", "01/01/1970x", None),
            ("%d/%m/%Y", "1970-01-01", None),
        ];

        for (format, text, expected) in cases {
            assert_eq!(DateFormat::new(format).unwrap().parse_timestamp(text), expected, "{format} {text}");
        }
    }

    #[test]
    fn a_format_without_a_day_is_refused() {
        assert!(DateFormat::new("%Y-%m").is_err());
        assert!(DateFormat::new("%Y-%m-%d %p").is_err());
    }
}
