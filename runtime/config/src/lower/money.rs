//! `money` of `affluent.yaml`: the currency of values, and rates out of CSV files of the project, so that a change of them is
//! reviewed like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::money::{Money, rate_of};
use chrono::NaiveDate;

use super::pairs::kind_of;
use crate::mistake::{self, FileReport};
use crate::raw::project::RawMoney;

/// Rates of one file at most: fifty currencies for fifty years of days.
const RATES_MAX: usize = 1_000_000;
const COLUMNS: [&str; 3] = ["date", "currency", "rate"];
const COLUMNS_HELP: &str = "for example `date,currency,rate` and below it `2026-01-31,USD,0.9213`";

pub(super) fn money(raw: &RawMoney, root: &Path, report: &mut FileReport) -> Money {
    let mut money = Money { currency: raw.currency.to_string(), rates: BTreeMap::new() };
    if !is_code(&money.currency) {
        let message = format!("`{}` is no code of a currency", money.currency);
        report.add_help(mistake::MALFORMED, raw.currency.place(), message, "three capital letters of ISO 4217: `EUR`");
    }
    for file in &raw.rates {
        match read(&root.join(file.as_str()), Path::new(file.as_str()), &mut money) {
            Ok(mistakes) => mistakes.into_iter().for_each(|mistake| report.push(mistake)),
            Err(why) => report.add(mistake::UNREADABLE, file.place(), format!("`{}` cannot be read: {why}", file.as_str())),
        }
    }
    money
}

fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Adds the rates of a file, and gives the mistakes in it by line.
fn read(path: &Path, shown: &Path, money: &mut Money) -> Result<Vec<Diagnostic>, String> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_path(path).map_err(|error| kind_of(&error))?;
    let header = reader.headers().map_err(|error| kind_of(&error))?;
    let width = header.len();
    let places = COLUMNS.map(|name| header.iter().position(|known| known == name));
    let [Some(date), Some(currency), Some(rate)] = places else {
        let message = format!("a file of rates has the columns {}", COLUMNS.join(", "));
        let at = Location::file_start(PathBuf::from(shown));
        return Ok(vec![Diagnostic::error(mistake::MALFORMED, message, at).help(COLUMNS_HELP)]);
    };
    let (mut mistakes, mut count) = (Vec::new(), 0);
    for row in reader.records() {
        let row = row.map_err(|error| kind_of(&error))?;
        let line = row.position().map_or(1, csv::Position::line);
        let cell = |place: usize| row.get(place).unwrap_or_default();
        let added = if row.len() == width {
            add((cell(date), cell(currency), cell(rate)), money)
        } else {
            Err((format!("the row has {} values, the header has {width}", row.len()), COLUMNS_HELP.to_owned()))
        };
        if let Err((message, help)) = added {
            let at = Location { line: usize::try_from(line).unwrap_or(1), ..Location::file_start(PathBuf::from(shown)) };
            mistakes.push(Diagnostic::error(mistake::MALFORMED, message, at).help(help));
        }
        count += 1;
        if count > RATES_MAX {
            return Err(format!("it has more than {RATES_MAX} rates"));
        }
    }
    Ok(mistakes)
}

/// Adds one rate, or says what is wrong with it and what to do.
fn add((date, currency, rate): (&str, &str, &str), money: &mut Money) -> Result<(), (String, String)> {
    let Some(day) = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().and_then(day_of) else {
        return Err((format!("`{date}` is no date"), "write it as `2026-01-31`".to_owned()));
    };
    if !is_code(currency) || currency == money.currency {
        let help = format!("three capital letters of ISO 4217, other than `{}`", money.currency);
        return Err((format!("`{currency}` is no other currency"), help));
    }
    let Some(value) = rate_of(rate) else {
        let help = format!("what one {currency} is worth in {}, a number such as `0.9213`", money.currency);
        return Err((format!("`{rate}` is no rate"), help));
    };
    let rates = money.rates.entry(currency.to_owned()).or_default();
    match rates.insert(day, value) {
        Some(_) => Err((format!("{currency} has two rates from {date} on"), "take one of them out".to_owned())),
        None => Ok(()),
    }
}

fn day_of(date: NaiveDate) -> Option<i32> {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}
