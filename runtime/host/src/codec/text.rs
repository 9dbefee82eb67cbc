//! Dates and times as JSON writes them: RFC 3339 with an offset for timestamps, `YYYY-MM-DD` for dates. Proleptic
//! Gregorian calendar, years 0000 to 9999.

const DAY_US: i64 = 86_400_000_000;
const YEAR_LENGTH: usize = 4;

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != YEAR_LENGTH || month.len() != 2 || day.len() != 2 {
        return None;
    }
    days(digits(year)?, digits(month)?, digits(day)?)
}

/// Microseconds since the epoch, UTC, of `YYYY-MM-DDTHH:MM:SS[.ffffff](Z|±HH:MM)`; a space may stand for the `T`.
/// More than six places are cut off.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (places, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at_checked(rest.bytes().take_while(u8::is_ascii_digit).count())?,
        None => ("0", rest),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (two(parts.next()?)?, two(parts.next()?)?, two(parts.next()?)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || places.is_empty() {
        return None;
    }
    let micros: i64 =
        places.bytes().chain(std::iter::repeat(b'0')).take(6).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let seconds = (hour * 60 + minute) * 60 + second - offset_seconds(zone)?;
    Some(i64::from(parse_date(date)?) * DAY_US + seconds * 1_000_000 + micros)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn two(text: &str) -> Option<i64> {
    (text.len() == 2).then(|| digits(text)).flatten().map(i64::from)
}

fn digits(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Howard Hinnant's `days_from_civil`.
fn days(year: i32, month: i32, day: i32) -> Option<i32> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > longest {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The date of a day number, `YYYY-MM-DD`.
pub(super) fn print_date(days_since_epoch: i32) -> String {
    let (year, month, day) = civil(i64::from(days_since_epoch));
    format!("{year:04}-{month:02}-{day:02}")
}

/// RFC 3339 in UTC with six places.
pub(super) fn print_timestamp(micros: i64) -> String {
    format!("{}.{:06}Z", print_clock(micros), micros.rem_euclid(1_000_000))
}

/// RFC 3339 in UTC, whole seconds.
pub(crate) fn print_seconds(micros: i64) -> String {
    format!("{}Z", print_clock(micros))
}

fn print_clock(micros: i64) -> String {
    let (year, month, day) = civil(micros.div_euclid(DAY_US));
    let seconds = micros.rem_euclid(DAY_US) / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Howard Hinnant's `civil_from_days`.
fn civil(days_since_epoch: i64) -> (i64, i64, i64) {
    let shifted = days_since_epoch + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_the_epoch() {
        let cases =
            [("1970-01-01", Some(0)), ("1969-12-31", Some(-1)), ("2000-02-29", Some(11_016)), ("0000-01-01", Some(-719_528))];
        let broken =
            ["1900-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "2026-01-32", "26-01-01", "2026-01-01-01", "+026-01-01", ""];
        for (text, expected) in cases.into_iter().chain(broken.map(|text| (text, None))) {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    fn times_need_an_offset_and_become_utc() {
        let cases = [
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T01:00:00.5+01:00", Some(500_000)),
            ("1970-01-01 00:00:00.1234567-00:01", Some(60_123_456)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("1970-01-01T00:00:00+0100", Some(-3_600_000_000)),
        ];
        let broken = [
            "1970-01-01T00:00:00",
            "1970-01-01",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00Z",
            "é970-01-01T00:00:00Z",
        ];
        for (text, expected) in cases.into_iter().chain(broken.map(|text| (text, None))) {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for micros in [0, -1, 1_767_225_599_999_999, 951_782_400_000_000, -62_167_219_200_000_000] {
            assert_eq!(parse_timestamp(&print_timestamp(micros)), Some(micros));
        }
        for day in [0, -1, 11_016, 20_000, -719_528] {
            assert_eq!(parse_date(&print_date(day)), Some(day));
        }
    }
}
