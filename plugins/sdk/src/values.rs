//! Reading and writing single values as text: exact decimals, dates, timestamps. One reading for all file formats and
//! services, so that the same text means the same value everywhere.

/// The longest run of digits that is read as an integer; longer ones are identifiers.
pub const INTEGER_DIGITS_MAX: usize = 18;

const US_PER_SEC: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SEC;

/// Reads `true`/`false`, in any of the cases `true`, `True`, `TRUE`.
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Reads a 64-bit integer with optional sign.
#[inline]
pub fn parse_integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| text.trim().parse().ok())
}

/// The text, trimmed and without a leading plus, if it is an exact decimal: digits with at most one point, no exponent.
#[inline]
pub fn decimal_text(text: &str) -> Option<&str> {
    let text = text.trim_ascii();
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mut digit_count, mut point_count) = (0usize, 0usize);
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => digit_count += 1,
            b'.' => point_count += 1,
            _ => return None,
        }
    }
    let ends_well = digits.as_bytes().first() != Some(&b'.') && digits.as_bytes().last() != Some(&b'.');
    (digit_count > 0 && point_count <= 1 && ends_well).then_some(text)
}

/// Reads `2026-01-31` as days since 1970-01-01.
pub fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes().trim_ascii();
    if bytes.len() != 10 { None } else { date_at_start(bytes) }
}

/// Reads an RFC 3339 or ISO 8601 instant as microseconds since the epoch: `T` or a space between, seconds and fraction
/// optional, digits after the sixth dropped, zone `Z`, `+02:00`, `+0200` or none for UTC, a space before it or not; a date alone
/// is its midnight.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes().trim_ascii();
    match bytes.split_first_chunk::<19>() {
        Some((to_second, rest)) if to_second[16] == b':' => with_seconds(to_second, rest),
        _ => without_seconds(bytes),
    }
}

/// `2026-01-31T10:20:30` and what follows.
#[inline]
fn with_seconds(text: &[u8; 19], rest: &[u8]) -> Option<i64> {
    let [a, b, c, d, b'-', e, f, b'-', g, h, b'T' | b't' | b' ', i, j, b':', k, l, b':', m, n] = *text else { return None };
    let digits = [a, b, c, d, e, f, g, h, i, j, k, l, m, n];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let pair = |high: u8, low: u8| i64::from(high - b'0') * 10 + i64::from(low - b'0');
    let (hour, minute, second) = (pair(i, j), pair(k, l), pair(m, n));
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_of(pair(a, b) * 100 + pair(c, d), pair(e, f), pair(g, h))?;
    let (fraction_us, rest) = match rest {
        [b'.' | b',', ..] => {
            let (us, end) = fraction(rest, 1)?;
            (us, rest.get(end..)?)
        }
        _ => (0, rest),
    };
    let secs = i64::from(days) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    Some(secs * US_PER_SEC + fraction_us - zone(rest)?)
}

/// A date, or a date with hours and minutes.
fn without_seconds(bytes: &[u8]) -> Option<i64> {
    let days = date_at_start(bytes)?;
    let midnight_us = i64::from(days) * US_PER_DAY;
    match bytes.get(10) {
        None => return Some(midnight_us),
        Some(b'T' | b't' | b' ') => {}
        Some(_) => return None,
    }
    let (hour, minute) = (two_digits(bytes, 11)?, two_digits(bytes, 14)?);
    if bytes.get(13) != Some(&b':') || hour > 23 || minute > 59 {
        return None;
    }
    let zone_us = zone(bytes.get(16..)?)?;
    Some(midnight_us + (hour * 3_600 + minute * 60) * US_PER_SEC - zone_us)
}

fn date_at_start(bytes: &[u8]) -> Option<i32> {
    let year = two_digits(bytes, 0)? * 100 + two_digits(bytes, 2)?;
    let (month, day) = (two_digits(bytes, 5)?, two_digits(bytes, 8)?);
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    days_of(year, month, day)
}

#[inline]
fn two_digits(bytes: &[u8], at: usize) -> Option<i64> {
    match bytes.get(at..at + 2) {
        Some([high @ b'0'..=b'9', low @ b'0'..=b'9']) => Some(i64::from(high - b'0') * 10 + i64::from(low - b'0')),
        _ => None,
    }
}

/// Microseconds of the digits after the point, and where they end.
pub(crate) fn fraction(bytes: &[u8], start: usize) -> Option<(i64, usize)> {
    let mut at = start;
    let mut us = 0;
    let mut place = 100_000;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        us += i64::from(digit - b'0') * place;
        place /= 10;
        at += 1;
    }
    (at > start).then_some((us, at))
}

/// Microseconds east of UTC.
pub(crate) fn zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix(b" ").unwrap_or(text) {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let hours = two_digits(rest, 0)?;
    let minutes = match rest.len() {
        2 => 0,
        4 => two_digits(rest, 2)?,
        5 if rest.get(2) == Some(&b':') => two_digits(rest, 3)?,
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60 * US_PER_SEC)
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; `None` if there is no such day, or it is beyond the years
/// -99,999 to 99,999.
pub fn days_of(year: i64, month: i64, day: i64) -> Option<i32> {
    // 32 bits, because division by a constant is slow in a component with 64.
    let (year, month, day) = (i32::try_from(year).ok()?, i32::try_from(month).ok()?, i32::try_from(day).ok()?);
    let is_known = (-99_999..=99_999).contains(&year) && (1..=12).contains(&month);
    if !is_known || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    // Howard Hinnant, days_from_civil: years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of days since 1970-01-01.
pub fn civil_of(days: i32) -> (i64, i64, i64) {
    let days = i64::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = u32::try_from(days - era * 146_097).unwrap_or_default();
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (i64::from(year_of_era) + era * 400 + i64::from(month <= 2), i64::from(month), i64::from(day))
}

/// Writes days since 1970-01-01 as `2026-01-31`.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil_of(days);
    let [month_high, month_low] = two_characters(month);
    let [day_high, day_low] = two_characters(day);
    match u16::try_from(year) {
        Ok(year @ 0..=9_999) => {
            let [millennium, century] = two_characters(i64::from(year / 100));
            let [decade, year] = two_characters(i64::from(year % 100));
            out.extend_from_slice(&[millennium, century, decade, year, b'-', month_high, month_low, b'-', day_high, day_low]);
        }
        _ => {
            out.extend_from_slice(format!("{year:+05}").as_bytes());
            out.extend_from_slice(&[b'-', month_high, month_low, b'-', day_high, day_low]);
        }
    }
}

/// Writes microseconds since the epoch as RFC 3339 in UTC: `2026-01-31T10:20:30Z`, with `.123456` only if not zero.
pub fn write_timestamp(us: i64, out: &mut Vec<u8>) {
    let secs = us.div_euclid(US_PER_SEC);
    let fraction_us = u32::try_from(us - secs * US_PER_SEC).unwrap_or_default();
    let days = secs.div_euclid(86_400);
    let secs = u32::try_from(secs - days * 86_400).unwrap_or_default();
    // The quotient of any i64 fits: 2^63 µs are 106,751,991 days.
    write_date(i32::try_from(days).unwrap_or(i32::MAX), out);
    let [hour_high, hour_low] = two_characters(i64::from(secs / 3_600));
    let [minute_high, minute_low] = two_characters(i64::from(secs / 60 % 60));
    let [second_high, second_low] = two_characters(i64::from(secs % 60));
    out.extend_from_slice(&[b'T', hour_high, hour_low, b':', minute_high, minute_low, b':', second_high, second_low]);
    if fraction_us != 0 {
        out.push(b'.');
        for pair in [fraction_us / 10_000, fraction_us / 100 % 100, fraction_us % 100] {
            out.extend_from_slice(&two_characters(i64::from(pair)));
        }
    }
    out.push(b'Z');
}

/// An instant as [`write_timestamp`] writes it.
///
/// ```
/// assert_eq!(affluent_sdk::values::timestamp_text(1_500_000), "1970-01-01T00:00:01.500000Z");
/// ```
pub fn timestamp_text(us: i64) -> String {
    text_of(|out| write_timestamp(us, out))
}

/// The same to the millisecond, rounded up, for services that do not read smaller parts: from such an instant on nothing that
/// happened before it is found again.
///
/// ```
/// use affluent_sdk::values::timestamp_text_ms;
///
/// assert_eq!(timestamp_text_ms(1_500_001), "1970-01-01T00:00:01.501Z");
/// assert_eq!(timestamp_text_ms(2_000_000), "1970-01-01T00:00:02Z");
/// ```
pub fn timestamp_text_ms(us: i64) -> String {
    let text = timestamp_text(us.saturating_add(999).div_euclid(1_000).saturating_mul(1_000));
    let digits = text.split_once('.').map(|(whole, part)| format!("{whole}.{}Z", part.get(..3).unwrap_or_default()));
    digits.unwrap_or(text)
}

/// A date as [`write_date`] writes it.
pub fn date_text(days: i32) -> String {
    text_of(|out| write_date(days, out))
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(27);
    write(&mut out);
    // Digits and signs are ASCII.
    String::from_utf8(out).unwrap_or_default()
}

/// `value` is 0 to 99.
#[inline]
fn two_characters(value: i64) -> [u8; 2] {
    let value = u8::try_from(value.clamp(0, 99)).unwrap_or_default();
    [b'0' + value / 10, b'0' + value % 10]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_are_read_in_the_forms_that_services_write() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01", Some(0)),
            ("1970-01-01 00:00:01", Some(1_000_000)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("1970-01-01T02:00+0200", Some(0)),
            ("1970-01-01 02:00:00 +0200", Some(0)),
            ("1970-01-01 02:00:00  +0200", None),
            ("1970-01-01T00:00:00.5Z", Some(500_000)),
            ("1970-01-01T00:00:00.123456789Z", Some(123_456)),
            ("2026-11-24T02:29:19.25-05:00", Some(1_795_505_359_250_000)),
            ("1969-12-31T23:59:59Z", Some(-1_000_000)),
            ("1970-01-01T24:00:00Z", None),
            ("1970-02-30T00:00:00Z", None),
            ("1970-01-01T00:00:00X", None),
            ("1970-01-01T00:00:00.", None),
            ("19700101", None),
            ("", None),
        ];

        for (text, expected) in cases {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_digits_with_at_most_one_point() {
        let cases = [
            ("10", Some("10")),
            ("-0.50", Some("-0.50")),
            (" +3.1 ", Some("3.1")),
            ("1e3", None),
            ("1.", None),
            (".5", None),
            ("-", None),
            ("1,5", None),
            ("", None),
        ];

        for (text, expected) in cases {
            assert_eq!(decimal_text(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_date_reads_back_as_written(days in -719_528i32..2_932_896) {
            let mut text = Vec::new();
            write_date(days, &mut text);
            prop_assert_eq!(parse_date(std::str::from_utf8(&text).unwrap()), Some(days));
        }

        #[test]
        fn a_timestamp_reads_back_as_written(us in -62_167_219_200_000_000i64..253_402_300_799_999_999) {
            let mut text = Vec::new();
            write_timestamp(us, &mut text);
            prop_assert_eq!(parse_timestamp(std::str::from_utf8(&text).unwrap()), Some(us));
        }
    }
}
