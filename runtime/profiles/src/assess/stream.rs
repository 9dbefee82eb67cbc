//! One stream on its way through its records: values come in, an assessment goes out.

use std::collections::HashSet;

use affluent_model::schema::FieldType;

use super::column::{ColumnCount, Declared};
use super::dates;
use super::detect::personal;
use super::held::HeldColumn;
use super::keys::keys;
use super::look::Signs;
use super::report::{FieldAssessment, JunkCount, Share, StreamAssessment};
use super::roles;
use super::tally::{Tally, share};
use crate::evidence::names::given_names;

/// Shapes and formats that are told of a field.
const SHAPES_MAX: usize = 5;
/// A part of the values smaller than this is not told.
const SHARE_MIN: f64 = 0.005;
/// Records per value of a field whose values are told, on average: with fewer, a value may be of one person.
const VALUE_RECORDS_MIN: u64 = 5;
/// Bytes of values that are held.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Counts the records of one stream. Memory is bounded: some megabytes per field, whatever the number of records.
pub struct StreamCount {
    stream: String,
    columns: Vec<ColumnCount>,
    given_names: HashSet<&'static str>,
    held: Vec<HeldColumn>,
    /// Records whose values are still held.
    to_hold: u64,
    held_bytes: usize,
    records: u64,
    rejected: u64,
}

impl StreamCount {
    /// A stream with these fields; the values of the first `hold` records are kept for [`StreamCount::held`].
    #[must_use]
    pub fn new(stream: &str, fields: Vec<Declared>, hold: u64) -> Self {
        Self {
            stream: stream.to_owned(),
            held: fields.iter().map(|_| HeldColumn::default()).collect(),
            columns: fields.into_iter().map(ColumnCount::new).collect(),
            given_names: given_names(),
            to_hold: hold,
            held_bytes: 0,
            records: 0,
            rejected: 0,
        }
    }

    /// Takes the next records, field by field: `value` gives the value of a field (by place) of a record (by place), `None`
    /// where it has none.
    pub fn take<'v>(&mut self, records: usize, value: impl Fn(usize, usize) -> Option<&'v str>) {
        let holds = self.to_hold > 0;
        for (place, (column, held)) in self.columns.iter_mut().zip(&mut self.held).enumerate() {
            for record in 0..records {
                column.see(value(place, record), &self.given_names);
            }
            if holds {
                let before = held.bytes();
                (0..records).for_each(|record| held.push(value(place, record)));
                self.held_bytes += held.bytes() - before;
            }
        }
        self.records += records as u64;
        self.to_hold = if self.held_bytes >= HELD_BYTES_MAX { 0 } else { self.to_hold.saturating_sub(records as u64) };
    }

    /// Adds a field that showed up late: the records before had no value of it.
    pub fn add_field(&mut self, field: Declared) {
        let mut column = ColumnCount::new(field);
        (0..self.records).for_each(|_| column.see(None, &self.given_names));
        self.columns.push(column);
        let mut held = HeldColumn::default();
        let records = self.held.first().map_or(0, HeldColumn::len);
        (0..records).for_each(|_| held.push(None));
        self.held.push(held);
    }

    /// Fields so far.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.columns.len()
    }

    /// Counts records that could not be read.
    pub fn reject(&mut self, records: u64) {
        self.rejected += records;
    }

    /// Records taken.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records whose values are held: the first ones.
    #[must_use]
    pub fn records_held(&self) -> usize {
        self.held.first().map_or(0, HeldColumn::len)
    }

    /// The held values of a field.
    #[must_use]
    pub fn held(&self, field: &str) -> Option<&HeldColumn> {
        self.columns.iter().zip(&self.held).find(|(column, _)| column.declared.name == field).map(|(_, held)| held)
    }

    /// What was found. `is_whole` = there are no more records.
    #[must_use]
    pub fn assess(&self, is_whole: bool) -> StreamAssessment {
        let tallies: Vec<Tally> = self.columns.iter().map(Tally::of).collect();
        let pairs = || self.columns.iter().zip(&tallies);
        let mut fields: Vec<FieldAssessment> = pairs().map(|(column, tally)| assess_field(column, tally)).collect();
        let keys = keys(&self.columns, &tallies, &fields);
        let all = || pairs().zip(&fields);
        let identifiers: Vec<_> =
            all().filter_map(|((column, tally), field)| roles::identifier(column, tally, field, &self.stream)).collect();
        let mut times: Vec<_> = all().filter_map(|((_, tally), field)| roles::time(tally, field)).collect();
        times.sort_by_key(|time| time.role);
        let consents = all().filter_map(|((column, _), field)| roles::consent(field, &few(column))).collect();
        let subject = roles::subject(&fields, &identifiers, &keys);
        // The least value of an identifier is somebody's.
        for field in fields.iter_mut().filter(|field| identifiers.iter().any(|one| one.field == field.name)) {
            (field.minimum, field.maximum) = (None, None);
            field.values.clear();
        }
        StreamAssessment {
            stream: self.stream.clone(),
            records: self.records,
            is_whole,
            rejected: self.rejected,
            fields,
            keys,
            identifiers,
            subject,
            times,
            consents,
            matches: None,
        }
    }
}

fn assess_field(column: &ColumnCount, tally: &Tally) -> FieldAssessment {
    let kind = column.declared.kind.unwrap_or_else(|| narrowest(column.common));
    let personal = personal(column, tally, kind);
    let is_phone = personal.as_ref().is_some_and(|personal| personal.class == affluent_model::pii::PiiClass::Phone);
    let junk = junk(column, tally, kind, is_phone);
    let meant = column.filled.saturating_sub(junk.iter().filter(|junk| junk.preset == "junk").map(|junk| junk.records).sum());
    let (minimum, maximum) = if personal.is_none() { bounds(column, kind) } else { (None, None) };
    let repeats = column.few.as_ref().is_some_and(|few| column.filled >= VALUE_RECORDS_MIN * few.len() as u64);
    let values = if personal.is_none() && repeats { few(column) } else { Vec::new() };
    FieldAssessment {
        name: column.declared.name.clone(),
        kind,
        nulls: column.nulls,
        empty: column.empty,
        fill_rate: share(meant, column.records()),
        junk,
        distinct: column.distinct.count(),
        distinct_is_exact: column.distinct.is_exact(),
        formats: formats(column, tally),
        shapes: shares(tally.shapes(column, SHAPES_MAX)),
        minimum,
        maximum,
        values,
        personal,
    }
}

/// The narrowest type that all values fit.
fn narrowest(common: Option<Signs>) -> FieldType {
    let Some(common) = common else { return FieldType::Text };
    let order = [
        (Signs::BOOLEAN, FieldType::Boolean),
        (Signs::INTEGER, FieldType::Integer),
        (Signs::DECIMAL, FieldType::Decimal),
        (Signs::DATE, FieldType::Date),
        (Signs::INSTANT, FieldType::Timestamp),
        (Signs::JSON, FieldType::Json),
    ];
    order.into_iter().find(|(sign, _)| common.has(*sign)).map_or(FieldType::Text, |(_, kind)| kind)
}

fn junk(column: &ColumnCount, tally: &Tally, kind: FieldType, is_phone: bool) -> Vec<JunkCount> {
    let holds_values = matches!(kind, FieldType::Boolean | FieldType::Integer | FieldType::Decimal | FieldType::Float);
    let mut junk = tally.of_all(Signs::JUNK).max(column.distinct.junk_outside);
    if !holds_values || is_phone {
        junk += tally.of_all(Signs::JUNK_WORD_OR_VALUE);
    }
    if is_phone {
        junk = junk.max(tally.of_all(Signs::JUNK_PHONE));
    }
    let counts = [("junk", junk), ("role_mailboxes", tally.of_all(Signs::ROLE_MAILBOX))];
    counts.into_iter().filter(|(_, records)| *records > 0).map(|(preset, records)| JunkCount { preset, records }).collect()
}

fn formats(column: &ColumnCount, tally: &Tally) -> Vec<Share> {
    let named = [
        ("e-mail", Signs::EMAIL),
        ("phone", Signs::PHONE),
        ("phone with country", Signs::INTERNATIONAL_PHONE),
        ("ip address", Signs::IP),
        ("uuid", Signs::UUID),
        ("url", Signs::URL),
        ("json", Signs::JSON),
        ("YYYY-MM-DD", Signs::DATE),
        ("YYYYMMDD", Signs::COMPACT_DATE),
        ("timestamp", Signs::INSTANT),
        ("unix time", Signs::UNIX_TIME),
        ("day/month/year", Signs::DAY_FIRST),
        ("month/day/year", Signs::MONTH_FIRST),
        ("leading zero", Signs::LEADING_ZERO),
    ];
    let padded = ("space around", share(column.padded, column.filled));
    let known = named.into_iter().map(|(name, sign)| (name, tally.share(sign))).chain([padded]);
    let known = known.map(|(name, share)| (name.to_owned(), share));
    shares(known.filter(|(_, share)| *share >= SHARE_MIN).collect())
}

fn shares(shares: Vec<(String, f64)>) -> Vec<Share> {
    shares.into_iter().map(|(name, share)| Share { name, share: (share * 10_000.0).round() / 10_000.0 }).collect()
}

/// The values of a field that has few of them, the most frequent first.
fn few(column: &ColumnCount) -> Vec<Share> {
    let Some(few) = &column.few else { return Vec::new() };
    let mut values: Vec<(String, u64)> = few.iter().map(|(_, text, records)| (text.clone(), *records)).collect();
    values.sort_by(|(a, a_records), (b, b_records)| b_records.cmp(a_records).then_with(|| a.cmp(b)));
    shares(values.into_iter().map(|(text, records)| (text, share(records, column.filled))).collect())
}

fn bounds(column: &ColumnCount, kind: FieldType) -> (Option<String>, Option<String>) {
    match kind {
        FieldType::Integer | FieldType::Decimal | FieldType::Float => {
            column.numbers.map_or((None, None), |(least, most)| (Some(least.to_string()), Some(most.to_string())))
        }
        FieldType::Date | FieldType::Timestamp => {
            column.days.map_or((None, None), |(first, last)| (Some(dates::shown(first)), Some(dates::shown(last))))
        }
        _ => (None, None),
    }
}
