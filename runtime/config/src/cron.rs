//! Crontab schedules: when a pipeline is due next. Wraps the `cron` crate, which is not crontab (security D-50: it
//! wants seconds, counts weekdays from 1 = Sunday, joins the two day fields with "and", skips a gap and repeats an
//! hour at clock changes). Five fields only, so nothing fires more often than once a minute.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use cron::{Schedule, TimeUnitSpec};

/// Furthest a clock is ever set back or forward at once, but for zones that skip a day.
const CLOCK_CHANGE_HOURS_MAX: i64 = 3;
/// Minutes looked at to find the end of a gap: a zone that crosses the date line skips a day.
const GAP_MINUTES_MAX: i64 = 26 * 60;
/// Months as crontab writes them, from 1.
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Days of the week as crontab writes them, from 0.
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule of five crontab fields: minute, hour, day of month, month, day of week (0 and 7 = Sunday, or names).
///
/// Where both day fields are restricted, either suffices, as in crontab. A time that the clock skips fires at the
/// first instant after the gap; a time that it repeats fires at its first occurrence only. A schedule that runs in
/// every hour just goes on: once per real hour and minute, with nothing made up for the gap.
#[derive(Debug, Clone)]
pub struct Cron {
    /// One, or two where either of the day fields suffices.
    schedules: Vec<Schedule>,
    every_hour: bool,
}

impl Cron {
    /// Parses five fields separated by blanks.
    ///
    /// # Errors
    /// A lowercase fragment: wrong number of fields, a field out of range, or a schedule that never fires.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("a schedule has five fields, this has {}", fields.len()));
        };
        for (name, field, values) in
            [("minute", minute, 0..=59), ("hour", hour, 0..=23), ("day of month", day, 1..=31), ("month", month, 1..=12)]
        {
            check_field(name, field, &values)?;
        }
        let weekdays = translate_weekdays(weekday)?;
        let days: Vec<(&str, &str)> = match (day.starts_with('*'), weekday.starts_with('*')) {
            (false, false) => vec![(day, "*"), ("*", &weekdays)],
            _ => vec![(day, &weekdays)],
        };
        let mut schedules = Vec::with_capacity(days.len());
        for (day, weekdays) in days {
            let line = format!("0 {minute} {hour} {day} {month} {weekdays}");
            schedules
                .push(Schedule::from_str(&line).map_err(|error| format!("not a schedule: {}", first_line(&error.to_string())))?);
        }
        let every_hour = schedules.iter().all(|schedule| schedule.hours().count() == 24);
        let cron = Self { schedules, every_hour };
        match cron.local_after(NaiveDateTime::default()) {
            Some(_) => Ok(cron),
            None => Err("never fires: no such day exists".to_owned()),
        }
    }

    /// The first instant after `instant_us` (microseconds UTC) at which the schedule is due in the time zone `tz`
    /// (an IANA name); `None` for an unknown zone or past the year 2100.
    #[must_use]
    pub fn next_after(&self, instant_us: i64, tz: &str) -> Option<i64> {
        let tz = Tz::from_str(tz).ok()?;
        let after = DateTime::from_timestamp_micros(instant_us)?;
        // A repeated hour puts a later instant at an earlier wall-clock time, so the search starts and ends wider.
        let slack = Duration::hours(CLOCK_CHANGE_HOURS_MAX);
        let mut local = after.with_timezone(&tz).naive_local().checked_sub_signed(slack)?;
        let mut best: Option<DateTime<Utc>> = None;
        while let Some(candidate) = self.local_after(local) {
            if best.is_some_and(|best| candidate > best.with_timezone(&tz).naive_local() + slack) {
                break;
            }
            let due = self.instants(candidate, tz).into_iter().filter(|instant| *instant > after).min();
            best = [best, due].into_iter().flatten().min();
            local = candidate;
        }
        best.map(|best| best.timestamp_micros())
    }

    /// The next wall-clock time that matches, whatever the zone makes of it.
    fn local_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = |schedule: &Schedule| schedule.after(&local.and_utc()).next().map(|at| at.naive_utc());
        self.schedules.iter().filter_map(next).min()
    }

    fn instants(&self, local: NaiveDateTime, tz: Tz) -> Vec<DateTime<Utc>> {
        match tz.from_local_datetime(&local) {
            MappedLocalTime::Single(at) => vec![at.to_utc()],
            MappedLocalTime::Ambiguous(first, second) if self.every_hour => vec![first.to_utc(), second.to_utc()],
            MappedLocalTime::Ambiguous(first, _) => vec![first.to_utc()],
            // A schedule of every hour has its next time in the hour after the gap anyway.
            MappedLocalTime::None if self.every_hour => Vec::new(),
            MappedLocalTime::None => (1..=GAP_MINUTES_MAX)
                .find_map(|minutes| tz.from_local_datetime(&(local + Duration::minutes(minutes))).earliest())
                .map(|at| at.to_utc())
                .into_iter()
                .collect(),
        }
    }
}

/// True when `name` is an IANA time zone.
#[must_use]
pub fn is_timezone(name: &str) -> bool {
    Tz::from_str(name).is_ok()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

/// Refuses what crontab does not have (`L`, `W`, `#`, `?`, `5/15`) and what the crate would take by chance.
fn check_field(name: &str, field: &str, values: &RangeInclusive<u8>) -> Result<(), String> {
    let (low, high) = (values.start(), values.end());
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        if step.is_some_and(|step| !matches!(step.parse::<u8>(), Ok(1..))) {
            return Err(format!("the step in `{field}` ({name}) is not a number from 1"));
        }
        let is_name = |word: &str| {
            let lower = word.to_ascii_lowercase();
            (name == "month" && MONTHS.contains(&lower.as_str())) || (name == "day of week" && WEEKDAYS.contains(&lower.as_str()))
        };
        let word = |word: &str| {
            is_name(word)
                || (word.chars().all(|c| c.is_ascii_digit()) && word.parse().is_ok_and(|number| values.contains(&number)))
        };
        let is_range = range.split_once('-').is_some_and(|(low, high)| word(low) && word(high));
        if range != "*" && !is_range && (step.is_some() || !word(range)) {
            return Err(format!("`{part}` is not a {name}: write {low} to {high}, ranges `1-5`, lists `1,3`, `*` or `*/5`"));
        }
    }
    Ok(())
}

/// Crontab's weekdays as the crate counts them: a list of 1 = Sunday … 7 = Saturday, or `*`.
fn translate_weekdays(field: &str) -> Result<String, String> {
    check_field("day of week", field, &(0..=7))?;
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, "1"), |(range, step)| (range, step));
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (weekday(low)?, weekday(high)?),
            None if range == "*" => (0, 6),
            None => (weekday(range)?, weekday(range)?),
        };
        // Sunday as the end of a range is the seventh day.
        let high = if high == 0 && low > 0 { 7 } else { high };
        if low > high {
            return Err(format!("`{range}` is not a range of days: it ends before it starts"));
        }
        for day in (low..=high).step_by(step.parse().unwrap_or(1)) {
            if let Some(slot) = days.get_mut(day % 7) {
                *slot = true;
            }
        }
    }
    if days.iter().all(|day| *day) {
        return Ok("*".to_owned());
    }
    let numbers = days.iter().enumerate().filter(|(_, on)| **on).map(|(day, _)| (day + 1).to_string());
    Ok(numbers.collect::<Vec<_>>().join(","))
}

fn weekday(word: &str) -> Result<usize, String> {
    let lower = word.to_ascii_lowercase();
    let number = WEEKDAYS.iter().position(|day| *day == lower).or_else(|| lower.parse().ok());
    number.filter(|day| *day <= 7).ok_or_else(|| format!("`{word}` is not a day of week: write 0 to 7 or sun to sat"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The next `count` instants after `after`, as UTC texts.
    fn fires(cron: &str, tz: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let mut at = DateTime::parse_from_rfc3339(after).unwrap().timestamp_micros();
        let mut out = Vec::new();
        for _ in 0..count {
            at = cron.next_after(at, tz).unwrap();
            out.push(DateTime::from_timestamp_micros(at).unwrap().format("%Y-%m-%dT%H:%MZ").to_string());
        }
        out
    }

    #[test]
    fn a_daily_run_in_the_spring_gap_fires_at_the_first_valid_instant() {
        let paris = fires("30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", 2);
        let new_york = fires("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);

        assert_eq!(paris, ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
        assert_eq!(new_york, ["2026-03-08T07:00Z", "2026-03-09T06:30Z"]);
    }

    #[test]
    fn a_daily_run_in_the_repeated_hour_fires_once() {
        let paris = fires("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2);
        let new_york = fires("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);

        assert_eq!(paris, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        assert_eq!(new_york, ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]);
    }

    #[test]
    fn an_hourly_run_fires_every_hour_across_both_changes() {
        let autumn = fires("30 * * * *", "Europe/Paris", "2026-10-24T23:45:00Z", 4);
        let spring = fires("30 * * * *", "Europe/Paris", "2026-03-29T00:00:00Z", 4);

        assert_eq!(autumn, ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z", "2026-10-25T03:30Z"]);
        assert_eq!(spring, ["2026-03-29T00:30Z", "2026-03-29T01:30Z", "2026-03-29T02:30Z", "2026-03-29T03:30Z"]);
    }

    #[test]
    fn a_run_every_quarter_of_an_hour_never_stops_in_the_repeated_hour() {
        let quarters = fires("*/15 * * * *", "Europe/Paris", "2026-10-25T00:30:00Z", 5);

        assert_eq!(
            quarters,
            ["2026-10-25T00:45Z", "2026-10-25T01:00Z", "2026-10-25T01:15Z", "2026-10-25T01:30Z", "2026-10-25T01:45Z"]
        );
    }

    #[test]
    fn weekdays_count_from_sunday_as_zero_or_seven() {
        for (field, day) in
            [("0", "2026-11-29"), ("7", "2026-11-29"), ("5", "2026-11-27"), ("fri", "2026-11-27"), ("MON", "2026-11-23")]
        {
            let next = fires(&format!("0 7 * * {field}"), "UTC", "2026-11-22T12:00:00Z", 1);
            assert_eq!(next, [format!("{day}T07:00Z")], "{field}");
        }
        assert_eq!(fires("0 7 * * 5-7", "UTC", "2026-11-22T12:00:00Z", 2), ["2026-11-27T07:00Z", "2026-11-28T07:00Z"]);
        assert_eq!(fires("0 7 * * sat-sun", "UTC", "2026-11-22T12:00:00Z", 2), ["2026-11-28T07:00Z", "2026-11-29T07:00Z"]);
    }

    #[test]
    fn either_day_field_suffices_when_both_are_restricted() {
        let next = fires("0 0 13 * 5", "UTC", "2026-11-10T00:00:00Z", 3);

        assert_eq!(next, ["2026-11-13T00:00Z", "2026-11-20T00:00Z", "2026-11-27T00:00Z"]);
        assert_eq!(fires("0 0 15 * 5", "UTC", "2026-11-14T00:00:00Z", 2), ["2026-11-15T00:00Z", "2026-11-20T00:00Z"]);
    }

    #[test]
    fn leap_days_and_skipped_days_are_found() {
        assert_eq!(fires("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00Z"]);
        assert_eq!(fires("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1), ["2011-12-30T10:00Z"]);
    }

    #[test]
    fn what_is_not_crontab_is_refused() {
        for wrong in [
            "",
            "* * * *",
            "0 * * * * *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "0 0 0 * *",
            "0 0 * 13 *",
            "0 0 * * 8",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
            "0 0 L * *",
            "0 0 ? * *",
            "5/15 * * * *",
            "*/0 * * * *",
            "0 0 * * 5-2",
            "0 0 * * mon#2",
            "-1 * * * *",
            "a b c d e",
        ] {
            assert!(Cron::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_time_zone_has_no_next_run() {
        assert_eq!(Cron::parse("0 0 * * *").unwrap().next_after(0, "Europe/Pariss"), None);
        assert!(is_timezone("Europe/Paris") && !is_timezone("Europe/Pariss"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_daily_run_fires_once_on_every_date_of_its_zone(minute in 0..60, hour in 0..24, zone in 0..4usize, day in 0..3_650i64) {
            let zone = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"][zone];
            let cron = Cron::parse(&format!("{minute} {hour} * * *")).unwrap();
            let tz: Tz = zone.parse().unwrap();
            let date = |us: i64| DateTime::from_timestamp_micros(us).unwrap().with_timezone(&tz).date_naive();

            let first = cron.next_after((15_000 + day) * 86_400_000_000, zone).unwrap();
            let second = cron.next_after(first, zone).unwrap();

            prop_assert_eq!(date(second), date(first).succ_opt().unwrap());
        }
    }
}
