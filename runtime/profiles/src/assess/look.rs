//! How one value looks: the forms it could have, and its shape with every letter and digit masked.

use std::collections::HashSet;
use std::net::IpAddr;

use affluent_model::junk::BlockPreset;
use affluent_model::normalize::{self, IdentifierForm};

use super::dates::{self, Moment, Written};
use super::national_id::is_national_id;

/// Forms that a value could have, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs(u32);

impl Signs {
    pub(crate) const BOOLEAN: Self = Self(1);
    pub(crate) const INTEGER: Self = Self(1 << 1);
    /// Integers too.
    pub(crate) const DECIMAL: Self = Self(1 << 2);
    pub(crate) const DATE: Self = Self(1 << 3);
    pub(crate) const INSTANT: Self = Self(1 << 4);
    /// Seconds or milliseconds since 1970, from 2001 to 2100.
    pub(crate) const UNIX_TIME: Self = Self(1 << 5);
    pub(crate) const COMPACT_DATE: Self = Self(1 << 6);
    pub(crate) const DAY_FIRST: Self = Self(1 << 7);
    pub(crate) const MONTH_FIRST: Self = Self(1 << 8);
    pub(crate) const EMAIL: Self = Self(1 << 9);
    pub(crate) const INTERNATIONAL_PHONE: Self = Self(1 << 10);
    /// Written as phone numbers are: with separators.
    pub(crate) const PHONE: Self = Self(1 << 11);
    /// As many digits as phone numbers have, and nothing else.
    pub(crate) const PHONE_DIGITS: Self = Self(1 << 12);
    pub(crate) const IP: Self = Self(1 << 13);
    pub(crate) const UUID: Self = Self(1 << 14);
    pub(crate) const NATIONAL_ID: Self = Self(1 << 15);
    /// Letters, spaces and what stands in names.
    pub(crate) const WORDS: Self = Self(1 << 16);
    /// Begins with a given name of the shipped table.
    pub(crate) const GIVEN_NAME: Self = Self(1 << 17);
    /// A number and words.
    pub(crate) const ADDRESS: Self = Self(1 << 18);
    /// As postcodes are written.
    pub(crate) const POSTCODE: Self = Self(1 << 19);
    /// Many words.
    pub(crate) const SENTENCE: Self = Self(1 << 20);
    pub(crate) const URL: Self = Self(1 << 21);
    /// Digits that begin with a zero: a code, not a number.
    pub(crate) const LEADING_ZERO: Self = Self(1 << 22);
    pub(crate) const JSON: Self = Self(1 << 23);
    /// A placeholder of the preset `junk`, whatever the field holds.
    pub(crate) const JUNK: Self = Self(1 << 24);
    /// A placeholder unless the field holds numbers or truth values: `0`, `no`.
    pub(crate) const JUNK_WORD_OR_VALUE: Self = Self(1 << 25);
    /// A mailbox of a function.
    pub(crate) const ROLE_MAILBOX: Self = Self(1 << 26);
    /// Digits that no subscriber has, if it is a phone number.
    pub(crate) const JUNK_PHONE: Self = Self(1 << 27);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The places of the signs that are there.
    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let place = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (place < u32::BITS).then_some(place as usize)
        })
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn add(&mut self, other: Self, holds: bool) {
        if holds {
            self.0 |= other.0;
        }
    }
}

/// What a value tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) signs: Signs,
    pub(crate) number: Option<f64>,
    pub(crate) moment: Option<Moment>,
}

/// Shorter ones are abbreviations of many other things too.
const GIVEN_NAME_LETTERS_MIN: usize = 4;
/// Letters of a value that are looked at.
const LETTERS_MAX: usize = 128;
/// Letters of a shape.
const SHAPE_LETTERS_MAX: usize = 24;
/// A text of this many words is a sentence.
const SENTENCE_WORDS_MIN: usize = 6;
/// Seconds since 1970 of the years 2001 to 2100.
const UNIX_SECONDS: std::ops::RangeInclusive<i64> = 1_000_000_000..=4_102_444_800;
/// Words in lower case that stand in addresses.
const STREET_WORDS: [&str; 40] = [
    "allee",
    "ave",
    "avenue",
    "blvd",
    "boulevard",
    "calle",
    "chemin",
    "circle",
    "circuit",
    "close",
    "court",
    "crescent",
    "ct",
    "dr",
    "drive",
    "gasse",
    "highway",
    "hwy",
    "lane",
    "ln",
    "parade",
    "parkway",
    "pl",
    "place",
    "platz",
    "po",
    "rd",
    "road",
    "route",
    "rue",
    "square",
    "st",
    "str",
    "strasse",
    "straße",
    "street",
    "terrace",
    "trail",
    "via",
    "way",
];

/// The forms that decide a field's type, junk included: what is looked at for every value. `text` is trimmed.
pub(crate) fn first_look(text: &str) -> Look {
    let mut look = Look::default();
    let bytes = text.as_bytes();
    let signs = &mut look.signs;
    junk(text, signs);
    signs.add(Signs::BOOLEAN, is_boolean(text));
    let Some(first) = bytes.first() else { return look };
    if first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.') {
        look.number = number(text, &mut look.signs);
        look.moment = dates::moment(text);
    }
    if let Some(moment) = look.moment {
        let either = moment.written == Written::DayOrMonthFirst;
        look.signs.add(Signs::INSTANT, moment.written == Written::Instant);
        look.signs.add(Signs::DATE, moment.written == Written::Iso);
        look.signs.add(Signs::COMPACT_DATE, moment.written == Written::Compact);
        look.signs.add(Signs::DAY_FIRST, either || moment.written == Written::DayFirst);
        look.signs.add(Signs::MONTH_FIRST, either || moment.written == Written::MonthFirst);
    }
    look
}

/// Everything that a value tells; for the first of equal values.
pub(crate) fn whole_look(text: &str, given_names: &HashSet<&'static str>) -> Look {
    let mut look = first_look(text);
    let text = clipped(text);
    let signs = &mut look.signs;
    if text.contains('@') {
        let email = normalize::email(text);
        signs.add(Signs::EMAIL, email.is_some());
        signs.add(Signs::JUNK, email.as_deref().is_some_and(|email| BlockPreset::Junk.holds(IdentifierForm::Email, email)));
        let is_role = email.as_deref().is_some_and(|email| BlockPreset::RoleMailboxes.holds(IdentifierForm::Email, email));
        signs.add(Signs::ROLE_MAILBOX, is_role);
    }
    digits_of(text, look.moment.is_some(), look.number.is_some(), signs);
    signs.add(Signs::IP, text.contains(['.', ':']) && text.parse::<IpAddr>().is_ok());
    signs.add(Signs::UUID, is_uuid(text.as_bytes()));
    signs.add(Signs::NATIONAL_ID, is_national_id(text));
    signs.add(Signs::URL, text.starts_with("http://") || text.starts_with("https://") || text.starts_with("www."));
    signs.add(Signs::JSON, text.starts_with(['{', '[']));
    words_of(text, given_names, signs);
    look
}

fn clipped(text: &str) -> &str {
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// Placeholders, told without making a text in lower case of what cannot be one.
fn junk(text: &str, signs: &mut Signs) {
    const WORD_BYTES_MAX: usize = 9;
    let mut letters = text.bytes().filter(u8::is_ascii_alphanumeric);
    let one_letter = match (letters.next(), letters.next()) {
        (Some(first), Some(second)) => first.eq_ignore_ascii_case(&second),
        _ => true,
    };
    if (text.len() > WORD_BYTES_MAX && !one_letter) || !BlockPreset::Junk.holds(IdentifierForm::Id, text) {
        return;
    }
    let may_be_meant = matches!(text, "0" | "-1" | "1") || is_boolean(text) || text.bytes().all(|byte| byte.is_ascii_digit());
    signs.add(if may_be_meant { Signs::JUNK_WORD_OR_VALUE } else { Signs::JUNK }, true);
}

fn is_boolean(text: &str) -> bool {
    text.len() <= 5 && ["true", "false", "yes", "no", "t", "f", "y", "n"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn number(text: &str, signs: &mut Signs) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let bytes = digits.as_bytes();
    let points = bytes.iter().filter(|byte| **byte == b'.').count();
    let is_number = bytes.first().is_some_and(u8::is_ascii_digit)
        && bytes.last().is_some_and(u8::is_ascii_digit)
        && points <= 1
        && bytes.len() <= 18
        && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if !is_number {
        return None;
    }
    if bytes.len() > 1 && bytes.starts_with(b"0") && !bytes.starts_with(b"0.") {
        signs.add(Signs::LEADING_ZERO, true);
        return None;
    }
    signs.add(Signs::DECIMAL, true);
    signs.add(Signs::INTEGER, points == 0);
    let seconds = text.parse::<i64>().ok();
    let is_time = |value: i64| UNIX_SECONDS.contains(&value) || (bytes.len() == 13 && UNIX_SECONDS.contains(&(value / 1_000)));
    signs.add(Signs::UNIX_TIME, seconds.is_some_and(is_time));
    text.parse().ok()
}

fn digits_of(text: &str, is_moment: bool, is_number: bool, signs: &mut Signs) {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let has_letters = text.chars().any(char::is_alphabetic);
    let is_dialled = text.bytes().all(|byte| byte.is_ascii_digit() || b" +-./()".contains(&byte));
    if is_dialled && !has_letters && !is_moment {
        let is_point_only = is_number && !signs.has(Signs::INTEGER);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        signs.add(Signs::INTERNATIONAL_PHONE, text.starts_with('+') && (8..=15).contains(&digits));
        signs.add(Signs::PHONE, !is_plain && !is_point_only && (8..=15).contains(&digits) && !text.starts_with('-'));
        signs.add(Signs::PHONE_DIGITS, is_plain && (8..=13).contains(&digits));
        let plain: String = text.chars().filter(char::is_ascii_digit).collect();
        signs.add(Signs::JUNK_PHONE, digits >= 7 && BlockPreset::Junk.holds(IdentifierForm::Phone, &plain));
    }
    let letters = text.chars().count();
    let is_code = (4..=8).contains(&letters) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -".contains(&byte));
    let is_american = letters == 10 && text.as_bytes().get(5) == Some(&b'-') && digits == 9;
    signs.add(Signs::POSTCODE, (is_code && digits >= 2) || is_american);
}

fn is_uuid(bytes: &[u8]) -> bool {
    let is_in_place = |(place, byte): (usize, &u8)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() == 36 && bytes.iter().enumerate().all(is_in_place)
}

fn words_of(text: &str, given_names: &HashSet<&'static str>, signs: &mut Signs) {
    let is_of_names = |letter: char| letter.is_alphabetic() || matches!(letter, ' ' | '\'' | '-' | '.' | '’');
    let is_words = text.chars().all(is_of_names) && text.chars().any(char::is_alphabetic);
    signs.add(Signs::WORDS, is_words);
    let mut words = text.split([' ', ',', '-']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    if is_words && (GIVEN_NAME_LETTERS_MIN..=16).contains(&first.len()) {
        signs.add(Signs::GIVEN_NAME, given_names.contains(first.to_lowercase().as_str()));
    }
    let count = 1 + words.count();
    signs.add(Signs::SENTENCE, count >= SENTENCE_WORDS_MIN);
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    if has_digit && (2..=10).contains(&count) && text.len() >= 6 {
        let is_street = |word: &str| {
            let lower = word.trim_matches('.').to_lowercase();
            STREET_WORDS.contains(&lower.as_str()) || lower.ends_with("straße") || lower.ends_with("strasse")
        };
        signs.add(Signs::ADDRESS, text.split([' ', ',']).any(is_street));
    }
}

/// The shape of a value: `Aa 9999` for `Post 1234`. Letters of one case become one, digits stay as many as they are up to
/// a limit, everything else that is not ASCII becomes `·`.
pub(crate) fn shape(text: &str) -> String {
    let mut shape = String::with_capacity(SHAPE_LETTERS_MAX);
    let mut last = ' ';
    for letter in text.chars() {
        let masked = match letter {
            _ if letter.is_uppercase() => 'A',
            _ if letter.is_alphabetic() => 'a',
            _ if letter.is_numeric() => '9',
            _ if letter.is_whitespace() => ' ',
            _ if letter.is_ascii() && !letter.is_control() => letter,
            _ => '·',
        };
        let goes_on = masked == last && matches!(masked, 'A' | 'a' | ' ');
        last = masked;
        if goes_on {
            continue;
        }
        if shape.chars().count() == SHAPE_LETTERS_MAX {
            shape.push('…');
            break;
        }
        shape.push(masked);
    }
    shape
}
