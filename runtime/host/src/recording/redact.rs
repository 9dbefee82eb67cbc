//! Finds the personal values of exchanges and puts their pseudonyms there: values of classified columns that went
//! through the host, values under keys that promise personal data, and what looks like an address or a phone number
//! wherever it stands. What can be neither parsed nor read as text is refused, and the result is searched once more.

use std::collections::HashMap;

use affluent_model::pii::PiiClass;
use aho_corasick::AhoCorasick;
use url::{Url, form_urlencoded};

use super::json_text::{self, Token};
use super::pseudonyms::Pseudonyms;
use crate::blind;

/// Values at least this long are looked for within longer texts, too; shorter ones are ordinary words.
const SEARCHED_CHARS_MIN: usize = 8;
/// Digits of the shortest phone number.
const PHONE_DIGITS_MIN: usize = 7;
/// Keys whose values steer the exchange: a person called `Profile` does not change a record's type.
const STEERING_KEYS: [&str; 10] =
    ["type", "kind", "__typename", "object", "status", "code", "currency", "id", "cursor", "endCursor"];
/// Ends of a key, in lower case without separators, that promise a class.
const PROMISES: [(&str, PiiClass); 22] = [
    ("email", PiiClass::Email),
    ("emailaddress", PiiClass::Email),
    ("phone", PiiClass::Phone),
    ("phonenumber", PiiClass::Phone),
    ("mobile", PiiClass::Phone),
    ("firstname", PiiClass::Name),
    ("lastname", PiiClass::Name),
    ("fullname", PiiClass::Name),
    ("givenname", PiiClass::Name),
    ("familyname", PiiClass::Name),
    ("middlename", PiiClass::Name),
    ("surname", PiiClass::Name),
    ("nickname", PiiClass::Name),
    ("address1", PiiClass::Address),
    ("address2", PiiClass::Address),
    ("street", PiiClass::Address),
    ("birthdate", PiiClass::BirthDate),
    ("dateofbirth", PiiClass::BirthDate),
    ("birthday", PiiClass::BirthDate),
    ("ipaddress", PiiClass::Ip),
    ("gender", PiiClass::Gender),
    ("useragent", PiiClass::OnlineId),
];

/// Why an exchange cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unredacted {
    /// A body that is neither JSON nor text: nothing can be found in it.
    Unsearchable,
    /// A value of this class is still there.
    Left(PiiClass),
}

/// Replaces personal values.
pub(super) struct Redactor<'a> {
    /// Trimmed, in lower case.
    personal: &'a HashMap<String, PiiClass>,
    searched: Option<AhoCorasick>,
    searched_classes: Vec<PiiClass>,
    pseudonyms: Pseudonyms,
}

impl<'a> Redactor<'a> {
    pub(super) fn new(personal: &'a HashMap<String, PiiClass>, mut pseudonyms: Pseudonyms) -> Self {
        let mut searched: Vec<(&str, PiiClass)> = personal
            .iter()
            .filter(|(value, class)| is_searched(value, **class) && pseudonyms.of(**class, value) != **value)
            .map(|(value, class)| (value.as_str(), *class))
            .collect();
        searched.sort_unstable();
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(searched.iter().map(|(value, _)| value)).ok();
        let searched_classes = searched.iter().map(|(_, class)| *class).collect();
        Self { personal, searched: automaton, searched_classes, pseudonyms }
    }

    /// A body with its personal values replaced.
    ///
    /// # Errors
    /// [`Unredacted::Unsearchable`] when it is no text and there are personal values to fear.
    pub(super) fn body(&mut self, bytes: &[u8], content_type: &str) -> Result<Vec<u8>, Unredacted> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return if self.personal.is_empty() { Ok(bytes.to_vec()) } else { Err(Unredacted::Unsearchable) };
        };
        if content_type.contains("x-www-form-urlencoded") {
            return Ok(self.pairs(text).into_bytes());
        }
        if let Some(json) = self.json(text) {
            return Ok(json.into_bytes());
        }
        let lines: Option<Vec<String>> =
            text.split('\n').map(|line| if line.trim().is_empty() { Some(line.to_owned()) } else { self.json(line) }).collect();
        Ok(lines.map_or_else(|| self.cells(text), |lines| lines.join("\n")).into_bytes())
    }

    /// A URL with personal values in its path and query replaced; as it was when there are none.
    pub(super) fn url(&mut self, text: &str) -> String {
        let Ok(mut url) = Url::parse(text) else { return self.cells(text) };
        let path: Vec<String> = url.path().split('/').map(|segment| self.encoded(segment)).collect();
        let path = path.join("/");
        if path != url.path() {
            url.set_path(&path);
        }
        if let Some(query) = url.query().map(str::to_owned) {
            let new = self.pairs(&query);
            if new != query {
                url.set_query(Some(&new));
            }
        }
        url.to_string()
    }

    /// Text of no known form, such as a header.
    pub(super) fn header(&mut self, value: &str) -> String {
        self.inside(value).unwrap_or_else(|| value.to_owned())
    }

    /// What is left in a line that is about to be written.
    pub(super) fn left(&self, line: &str) -> Option<PiiClass> {
        let decoded: Vec<u8> = form_urlencoded::parse(line.as_bytes())
            .flat_map(|(name, value)| [name.as_bytes(), b"\n", value.as_bytes(), b"\n"].concat())
            .collect();
        self.find(line.as_bytes()).or_else(|| self.find(&decoded)).map(|(_, _, class)| class)
    }

    fn json(&mut self, text: &str) -> Option<String> {
        json_text::rewrite(text, &mut |token, key, value| match token {
            Token::Key => self.inside(value),
            Token::Text => self.value(key, value),
            Token::Number => {
                let is_phone = value.len() >= PHONE_DIGITS_MIN && self.personal.get(value) == Some(&PiiClass::Phone);
                is_phone.then(|| self.pseudonyms.of(PiiClass::Phone, value))
            }
        })
    }

    /// `a=1&b=2`, values decoded; as it was when nothing is replaced.
    fn pairs(&mut self, text: &str) -> String {
        let mut changed = false;
        let mut new = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let replaced = self.value(&name, &value);
            changed |= replaced.is_some();
            new.append_pair(&name, replaced.as_deref().unwrap_or(&value));
        }
        if changed { new.finish() } else { text.to_owned() }
    }

    fn encoded(&mut self, segment: &str) -> String {
        // A path's segment is no pair: `+` and `=` are themselves in it.
        let escaped = segment.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
        let decoded: String = form_urlencoded::parse(escaped.as_bytes()).map(|(name, _)| name.into_owned()).collect();
        match self.value("", &decoded) {
            Some(new) => form_urlencoded::byte_serialize(new.as_bytes()).collect::<String>().replace('+', "%20"),
            None => segment.to_owned(),
        }
    }

    /// CSV, XML and the like: what stands between separators is a value.
    fn cells(&mut self, text: &str) -> String {
        let mut new = String::with_capacity(text.len());
        for piece in text.split_inclusive([',', ';', '|', '\t', '\n', '\r', '"', '<', '>']) {
            let cell = piece.trim_end_matches([',', ';', '|', '\t', '\n', '\r', '"', '<', '>']);
            new.push_str(&self.value("", cell).unwrap_or_else(|| cell.to_owned()));
            new.push_str(piece.get(cell.len()..).unwrap_or_default());
        }
        new
    }

    /// The new value; `None` when there is nothing personal in it.
    fn value(&mut self, key: &str, value: &str) -> Option<String> {
        let trimmed = value.trim();
        if trimmed.is_empty() {
            return None;
        }
        let known = self.personal.get(&trimmed.to_lowercase()).copied().filter(|_| !STEERING_KEYS.contains(&key));
        // A token is nobody's value, whatever its key promises: answers name rows by it.
        let is_token = !blind::tokens_in(trimmed.as_bytes()).is_empty();
        match known.or_else(|| promised(key, trimmed).filter(|_| !is_token)) {
            Some(class) => Some(self.pseudonyms.of(class, value)),
            None => self.inside(value),
        }
    }

    /// Replaces what is personal within a longer text.
    fn inside(&mut self, text: &str) -> Option<String> {
        let mut new = String::with_capacity(text.len());
        let mut copied = 0;
        while let Some((start, end, class)) = self.next_in(text, copied) {
            new.push_str(text.get(copied..start)?);
            new.push_str(&self.pseudonyms.of(class, text.get(start..end)?));
            copied = end;
        }
        if copied == 0 {
            return None;
        }
        new.push_str(text.get(copied..)?);
        Some(new)
    }

    /// The first personal value at or after `from`.
    fn next_in(&self, text: &str, from: usize) -> Option<(usize, usize, PiiClass)> {
        let rest = text.get(from..)?;
        let email = find_email(rest).map(|(start, end)| (start, end, PiiClass::Email));
        let phone = find_phone(rest).map(|(start, end)| (start, end, PiiClass::Phone));
        let found = email.into_iter().chain(phone).chain(self.find(rest.as_bytes()));
        let (start, end, class) = found.min_by_key(|(start, end, _)| (*start, usize::MAX - *end))?;
        Some((from + start, from + end, class))
    }

    /// The first searched value that stands as a word of its own.
    fn find(&self, bytes: &[u8]) -> Option<(usize, usize, PiiClass)> {
        let is_word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        self.searched.as_ref()?.find_iter(bytes).find_map(|found| {
            let stands_alone = !is_word(found.start().checked_sub(1)) && !is_word(Some(found.end()));
            let class = self.searched_classes.get(found.pattern().as_usize())?;
            stands_alone.then_some((found.start(), found.end(), *class))
        })
    }
}

fn is_searched(value: &str, class: PiiClass) -> bool {
    let is_long = value.chars().count() >= SEARCHED_CHARS_MIN;
    match class {
        PiiClass::Email => value.contains('@'),
        PiiClass::Phone => digits(value) >= PHONE_DIGITS_MIN,
        PiiClass::Name => is_long && value.contains(' '),
        PiiClass::Address | PiiClass::FreeText | PiiClass::OnlineId | PiiClass::Ip => is_long,
        // A date may be any date, a gender any word.
        PiiClass::BirthDate | PiiClass::Gender => false,
    }
}

/// The class that a key promises for a value that looks like one of it.
fn promised(key: &str, value: &str) -> Option<PiiClass> {
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let (_, class) = PROMISES.iter().find(|(end, _)| plain.ends_with(end))?;
    let looks_like_it = match class {
        PiiClass::Email => value.contains('@'),
        PiiClass::Phone => digits(value) >= PHONE_DIGITS_MIN,
        PiiClass::BirthDate => digits(value) >= 4,
        PiiClass::Ip => value.parse::<std::net::IpAddr>().is_ok(),
        PiiClass::Name | PiiClass::Address | PiiClass::FreeText | PiiClass::OnlineId | PiiClass::Gender => true,
    };
    looks_like_it.then_some(*class)
}

fn digits(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

/// `local@domain` with a dot in the domain.
fn find_email(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-'%!#$&*/=?^`{|}~".contains(byte) || *byte >= 0x80;
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || *byte >= 0x80;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == b'@').map(|place| from + place) {
        let before = bytes.get(..at)?.iter().rev().take_while(|byte| is_local(byte)).count();
        let domain = bytes.get(at + 1..)?.iter().take_while(|byte| is_domain(byte)).count();
        let host = text.get(at + 1..at + 1 + domain)?.trim_end_matches(['.', '-']);
        if before > 0 && host.contains('.') {
            return Some((at - before, at + 1 + host.len()));
        }
        from = at + 1;
    }
    None
}

/// `+` and at least eight digits, with the usual separators between them.
fn find_phone(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    for (start, _) in text.match_indices('+') {
        let rest = bytes.get(start + 1..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || b" .-()".contains(byte)).count();
        let number = text.get(start..start + 1 + length)?.trim_end_matches([' ', '.', '-', '(', ')']);
        if (PHONE_DIGITS_MIN + 1..=15).contains(&digits(number)) && rest.first().is_some_and(u8::is_ascii_digit) {
            return Some((start, start + number.len()));
        }
    }
    None
}
