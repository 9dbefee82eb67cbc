//! Which kind of personal data a field holds, by what the source says, by its name and by what its values look like.

use affluent_model::schema::FieldType;

use super::column::ColumnCount;
use super::look::Signs;
use super::personal::PersonalKind;
use super::report::{Ground, Personal};
use super::tally::{Tally, share};

/// Less is not told: a field holds personal data by chance more often than that.
const CONFIDENCE_MIN: f64 = 0.3;
/// Confidence in a name that nothing speaks for or against.
const BY_NAME: f64 = 0.8;
/// A name that the values contradict.
const BY_NAME_AGAINST_CONTENT: f64 = 0.3;
/// Birth dates are spread over more years than dates of a business are.
const BIRTH_YEARS_MIN: usize = 30;
const BIRTH_YEARS_FEW: usize = 8;
/// Shapes of British postcodes.
const BRITISH_POSTCODES: [&str; 6] = ["A9 9A", "A99 9A", "A9A 9A", "a9 9a", "a99 9a", "a9a 9a"];

/// Judges a field; `None` = nothing speaks for personal data.
pub(crate) fn personal(column: &ColumnCount, tally: &Tally, kind: FieldType) -> Option<Personal> {
    if let Some(class) = column.declared.pii {
        let named = PersonalKind::of_name(&column.declared.name).filter(|named| named.class() == class);
        let kind = named.unwrap_or_else(|| PersonalKind::of_class(class));
        return Some(Personal { kind, class, confidence: 1.0, by: vec![Ground::Declared] });
    }
    let (seen, by_content) = content(column, tally);
    let seen_fits = by_content >= CONFIDENCE_MIN && may_hold(seen, kind);
    let Some(named) = PersonalKind::of_name(&column.declared.name).filter(|named| may_hold(*named, kind)) else {
        return seen_fits.then(|| told(seen, by_content, vec![Ground::Content]));
    };
    match agreement(named, column, tally) {
        None => Some(told(named, BY_NAME, vec![Ground::Name])),
        Some(agrees) if agrees >= 0.3 => Some(told(named, 0.55 + 0.44 * agrees, vec![Ground::Name, Ground::Content])),
        Some(_) if seen_fits && by_content > BY_NAME => Some(told(seen, by_content, vec![Ground::Content])),
        Some(_) => Some(told(named, BY_NAME_AGAINST_CONTENT, vec![Ground::Name])),
    }
}

fn told(kind: PersonalKind, confidence: f64, by: Vec<Ground>) -> Personal {
    Personal { kind, class: kind.class(), confidence: (confidence.min(0.99) * 100.0).round() / 100.0, by }
}

/// Truth values and measures only tell something about personal data, and a time is none but a birth date.
fn may_hold(kind: PersonalKind, stored: FieldType) -> bool {
    match stored {
        FieldType::Text | FieldType::Json | FieldType::Binary => true,
        FieldType::Date | FieldType::Timestamp => kind == PersonalKind::DateOfBirth,
        FieldType::Integer => !matches!(kind, PersonalKind::Email | PersonalKind::Name | PersonalKind::FreeText),
        FieldType::Boolean => kind == PersonalKind::Gender,
        FieldType::Float | FieldType::Decimal => false,
    }
}

/// The kind that the values speak for most, and how much.
fn content(column: &ColumnCount, tally: &Tally) -> (PersonalKind, f64) {
    let of = |sign: Signs| tally.share_of_meant(sign);
    let given = of(Signs::GIVEN_NAME);
    let is_words = of(Signs::WORDS) >= 0.8 && given >= 0.2;
    let candidates = [
        (PersonalKind::Email, 0.98 * of(Signs::EMAIL)),
        (PersonalKind::Ip, 0.97 * of(Signs::IP)),
        (PersonalKind::NationalId, 0.9 * of(Signs::NATIONAL_ID)),
        (PersonalKind::Phone, 0.8 * of(Signs::PHONE) + 0.15 * of(Signs::INTERNATIONAL_PHONE)),
        (PersonalKind::Name, if is_words { 0.4 + 0.5 * given } else { 0.0 }),
        (PersonalKind::Address, 0.85 * of(Signs::ADDRESS)),
        (PersonalKind::Postcode, 0.8 * tally.share_of_shapes(column, &BRITISH_POSTCODES)),
        (PersonalKind::DateOfBirth, if is_spread_like_births(column) { 0.6 * dates(tally) } else { 0.0 }),
        (PersonalKind::FreeText, if of(Signs::SENTENCE) >= 0.3 { 0.6 } else { 0.0 }),
    ];
    candidates.into_iter().fold((PersonalKind::FreeText, 0.0), |best, one| if one.1 > best.1 { one } else { best })
}

/// How far the values are what the name promises; `None` where values cannot tell.
fn agreement(named: PersonalKind, column: &ColumnCount, tally: &Tally) -> Option<f64> {
    let of = |sign: Signs| tally.share_of_meant(sign);
    if column.filled == 0 {
        return None;
    }
    match named {
        PersonalKind::Email => Some(of(Signs::EMAIL)),
        PersonalKind::Phone => Some((of(Signs::PHONE) + of(Signs::PHONE_DIGITS)).min(1.0)),
        PersonalKind::Ip => Some(of(Signs::IP)),
        PersonalKind::Name => Some(of(Signs::WORDS)),
        PersonalKind::DateOfBirth => Some(dates(tally)),
        PersonalKind::Postcode => Some(of(Signs::POSTCODE)),
        PersonalKind::Gender => Some(if column.distinct.count() <= 12 { 1.0 } else { 0.0 }),
        PersonalKind::Address | PersonalKind::DeviceId | PersonalKind::NationalId | PersonalKind::FreeText => None,
    }
}

/// Part of the values that are dates in any form.
fn dates(tally: &Tally) -> f64 {
    let clear =
        [Signs::DATE, Signs::COMPACT_DATE, Signs::INSTANT].into_iter().map(|sign| tally.share_of_meant(sign)).sum::<f64>();
    let slashed = tally.share_of_meant(Signs::DAY_FIRST).max(tally.share_of_meant(Signs::MONTH_FIRST));
    (clear + slashed).min(1.0)
}

fn is_spread_like_births(column: &ColumnCount) -> bool {
    let (years, values) = (column.years.len(), column.distinct.count());
    years >= BIRTH_YEARS_MIN || (years >= BIRTH_YEARS_FEW && share(years as u64, values) >= 0.3)
}
