//! Months of days, for cohorts and trends.

use chrono::{Datelike as _, NaiveDate};

/// A month by its number: `year × 12 + month − 1`.
pub type Month = i32;

/// The month of a day since 1970-01-01 UTC; the first month of all for a day that no calendar has.
#[must_use]
pub fn month_of(day: i32) -> Month {
    date_of(day).map_or(0, |date| date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0))
}

/// A month as `2026-05`.
#[must_use]
pub fn month_text(month: Month) -> String {
    format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
}

/// A day since 1970-01-01 as `2026-05-31`.
#[must_use]
pub fn day_text(day: i32) -> String {
    date_of(day).map_or_else(String::new, |date| date.to_string())
}

/// Days from 1970-01-01 to a date.
#[must_use]
pub fn day_of(year: i32, month: u32, day: u32) -> Option<i32> {
    NaiveDate::from_ymd_opt(year, month, day).map(|date| date.to_epoch_days())
}

/// The day of a date as `2026-05-31`.
#[must_use]
pub fn parse_day(text: &str) -> Option<i32> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.to_epoch_days())
}

fn date_of(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(day)
}
