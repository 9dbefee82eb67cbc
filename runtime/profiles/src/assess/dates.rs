//! Dates in the forms that files have them.

/// How a date is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// `2026-01-31`
    Iso,
    /// `20260131`
    Compact,
    /// `31/01/2026`, `31.01.2026`
    DayFirst,
    /// `01/31/2026`
    MonthFirst,
    /// `05/06/2026`: either
    DayOrMonthFirst,
    /// `2026-01-31T10:00:00Z`
    Instant,
}

/// A date with its year and, where the form leaves no doubt, its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) written: Written,
    pub(crate) year: u16,
    /// `YYYYMMDD` as a number.
    pub(crate) day: Option<u32>,
}

/// The years that a number may mean.
const YEARS: std::ops::RangeInclusive<u16> = 1850..=2149;

/// Reads a date or an instant; `None` for anything else.
pub(crate) fn moment(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes.first()?.is_ascii_digit() {
        return None;
    }
    match bytes {
        [_, _, _, _, b'-', _, _, b'-', ..] => iso(text),
        _ if bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit) => compact(text),
        _ => slashed(text),
    }
}

fn iso(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let written = match rest.as_bytes() {
        [] => Written::Iso,
        [b'T' | b' ', h, _, b':', ..] if h.is_ascii_digit() => Written::Instant,
        _ => return None,
    };
    checked(written, year, month, day)
}

fn compact(text: &str) -> Option<Moment> {
    let (year, rest) = text.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    checked(Written::Compact, number(year)?, number(month)?, number(day)?)
}

fn slashed(text: &str) -> Option<Moment> {
    let mark = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.split(mark);
    let (first, second) = (number(parts.next()?)?, number(parts.next()?)?);
    let year = parts.next().filter(|year| year.len() == 4).and_then(number)?;
    if parts.next().is_some() {
        return None;
    }
    match (first, second) {
        (13..=31, 1..=12) => checked(Written::DayFirst, year, second, first),
        (1..=12, 13..=31) => checked(Written::MonthFirst, year, first, second),
        (1..=12, 1..=12) if YEARS.contains(&year) => Some(Moment { written: Written::DayOrMonthFirst, year, day: None }),
        _ => None,
    }
}

fn checked(written: Written, year: u16, month: u16, day: u16) -> Option<Moment> {
    let is_day = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let number = u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day);
    is_day.then_some(Moment { written, year, day: Some(number) })
}

fn number(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `20260131` → `2026-01-31`.
pub(crate) fn shown(day: u32) -> String {
    format!("{:04}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_the_forms_that_files_have() {
        let cases = [
            ("2026-01-31", Some((Written::Iso, Some(20_260_131)))),
            ("19560409", Some((Written::Compact, Some(19_560_409)))),
            ("08/22/1981", Some((Written::MonthFirst, Some(19_810_822)))),
            ("22.8.1981", Some((Written::DayFirst, Some(19_810_822)))),
            ("05/06/1981", Some((Written::DayOrMonthFirst, None))),
            ("2024-01-22T15:40:14Z", Some((Written::Instant, Some(20_240_122)))),
            ("2024-13-22", None),
            ("98459123", None),
            ("917.883.3426", None),
            ("1677887872", None),
            ("2024-01-22x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text).map(|moment| (moment.written, moment.day)), expected, "{text}");
        }
    }
}
