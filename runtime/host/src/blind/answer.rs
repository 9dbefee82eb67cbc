//! Clears answers of the personal values that were sent: each is replaced by its token, so that a plugin can still tell
//! which row an answer is about. JSON is read string by string, also JSON that is the text of a string; other texts word by word, whole
//! or in pieces; in CSV a doubled quote is one.

use std::sync::Arc;

use memchr::{memchr, memchr2};
use serde::de::IgnoredAny;

use super::columns::last_word;
use super::scrub::{Rule, ScrubIndex, is_word};
use super::values::BatchValues;
use super::view::{Escapes, View};

/// Bytes of a JSON string that are held until its end comes; a longer one is read as text.
const STRING_BYTES_MAX: usize = 1 << 20;
/// Digits of a bare number that can be a phone number.
const NUMBER_DIGITS_MIN: usize = 7;

/// How often JSON may stand in strings of JSON; what is deeper inside is not shown.
const TEXTS_DEEP_MAX: u8 = 4;

/// Clears one answer.
pub(crate) struct AnswerScrubber {
    values: Arc<BatchValues>,
    /// `None` until the first byte tells.
    escapes: Option<Escapes>,
    /// What came and cannot be judged yet.
    held: Vec<u8>,
    /// The last key of an object.
    key: String,
    /// The last byte that was let through is part of a word.
    inside_word: bool,
    /// In how many strings of JSON the text stands.
    depth: u8,
}

/// A text to be searched.
struct Piece<'a> {
    text: &'a [u8],
    escapes: Escapes,
    /// Values that begin from here on are left for later.
    limit: usize,
}

impl AnswerScrubber {
    pub(crate) fn new(values: Arc<BatchValues>, content_type: Option<&str>) -> Self {
        let escapes = content_type.and_then(|media| match media {
            _ if media.contains("json") => Some(Escapes::Json),
            _ if media.contains("csv") => Some(Escapes::Csv),
            _ => None,
        });
        Self { values, escapes, held: Vec::new(), key: String::new(), inside_word: false, depth: 0 }
    }

    /// What may be shown now that `piece` came.
    pub(crate) fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        self.take(piece, false)
    }

    /// What was held back, at the end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.take(Vec::new(), true)
    }

    fn take(&mut self, piece: Vec<u8>, is_last: bool) -> Vec<u8> {
        let text = if self.held.is_empty() { piece } else { [std::mem::take(&mut self.held), piece].concat() };
        if self.escapes.is_none() {
            let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
            self.escapes = first.map(|byte| if matches!(byte, b'{' | b'[') { Escapes::Json } else { Escapes::No });
        }
        let escapes = self.escapes.unwrap_or(Escapes::No);
        let mut out = Vec::with_capacity(text.len());
        let values = Arc::clone(&self.values);
        let index = values.index_for(&View::new(&text, escapes));
        let read = if escapes == Escapes::Json { self.read_json(&text, is_last, &index, &mut out) } else { 0 };
        let rest = text.get(read..).unwrap_or_default();
        let read_on = if self.escapes == Some(Escapes::Json) { 0 } else { self.read_text(rest, is_last, &index, &mut out) };
        self.held = rest.get(read_on..).unwrap_or_default().to_vec();
        out
    }

    /// Reads whole strings; returns how much was read.
    fn read_json(&mut self, text: &[u8], is_last: bool, index: &ScrubIndex, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let Some(open) = memchr(b'"', rest) else {
                // The end of a number may be still to come.
                let keep = if is_last { 0 } else { rest.iter().rev().take_while(|byte| is_number(**byte)).count() };
                let (now, _) = rest.split_at(rest.len() - keep);
                self.between(now, index, out);
                return at + now.len();
            };
            let inner = rest.get(open + 1..).unwrap_or_default();
            let end = end_of_string(inner);
            let next = end.and_then(|end| inner.get(end + 1..)?.iter().find(|byte| !byte.is_ascii_whitespace()));
            let (Some(end), true) = (end, next.is_some() || is_last) else {
                let (before, string) = rest.split_at(open);
                self.between(before, index, out);
                if string.len() > STRING_BYTES_MAX || is_last {
                    // Nobody's JSON: the rest is read as text.
                    self.escapes = Some(Escapes::No);
                }
                return at + open;
            };
            self.between(rest.get(..open).unwrap_or_default(), index, out);
            let string = inner.get(..end).unwrap_or_default();
            out.push(b'"');
            if next == Some(&b':') {
                self.key = last_word(&String::from_utf8_lossy(string));
                self.scrub(Piece { text: string, escapes: Escapes::Json, limit: string.len() }, Rule::Key, index, out);
            } else if let Some(cleared) = self.json_in_text(rest.get(open..open + end + 2).unwrap_or_default()) {
                out.extend(cleared);
            } else {
                self.scrub(
                    Piece { text: string, escapes: Escapes::Json, limit: string.len() },
                    Rule::Whole(&self.key),
                    index,
                    out,
                );
            }
            out.push(b'"');
            at += open + end + 2;
        }
    }

    /// The inside of a string (given with its quotes) whose text is JSON, with the values taken out of that: they are escaped twice
    /// there. `None` for another text.
    fn json_in_text(&self, string: &[u8]) -> Option<Vec<u8>> {
        let begins = string.iter().skip(1).find(|byte| !byte.is_ascii_whitespace());
        begins.filter(|byte| matches!(byte, b'{' | b'['))?;
        let text: String = serde_json::from_slice(string).ok()?;
        serde_json::from_str::<IgnoredAny>(&text).ok()?;
        if self.depth >= TEXTS_DEEP_MAX {
            return Some(Vec::new());
        }
        let (values, escapes, key) = (Arc::clone(&self.values), Some(Escapes::Json), self.key.clone());
        let mut inner = Self { values, escapes, held: Vec::new(), key, inside_word: false, depth: self.depth + 1 };
        let mut cleared = inner.push(text.clone().into_bytes());
        cleared.extend(inner.finish());
        let quoted = if cleared == text.as_bytes() {
            string.to_vec()
        } else {
            serde_json::to_vec(&String::from_utf8_lossy(&cleared)).unwrap_or_default()
        };
        Some(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec())
    }

    /// What stands between strings: numbers may be phone numbers. What is no JSON is searched as text.
    fn between(&self, text: &[u8], index: &ScrubIndex, out: &mut Vec<u8>) {
        let is_json = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_lowercase() || b",:{}[]".contains(byte);
        if !text.iter().all(|byte| is_json(byte) || is_number(*byte)) {
            self.scrub(Piece { text, escapes: Escapes::No, limit: text.len() }, Rule::Text, index, out);
            return;
        }
        let mut rest = text;
        while let Some(start) = rest.iter().position(u8::is_ascii_digit) {
            let (before, number) = rest.split_at(start);
            let length = number.iter().take_while(|byte| is_number(**byte)).count();
            let (number, after) = number.split_at(length);
            out.extend_from_slice(before);
            let mut cleared = Vec::new();
            if number.len() >= NUMBER_DIGITS_MIN {
                self.scrub(Piece { text: number, escapes: Escapes::No, limit: number.len() }, Rule::Text, index, &mut cleared);
            }
            if cleared.is_empty() || cleared == number {
                out.extend_from_slice(number);
            } else {
                out.extend([b"\"", cleared.as_slice(), b"\""].concat());
            }
            rest = after;
        }
        out.extend_from_slice(rest);
    }

    fn read_text(&mut self, text: &[u8], is_last: bool, index: &ScrubIndex, out: &mut Vec<u8>) -> usize {
        // Percent-encoded, a value is three times as long.
        let hold = if is_last { 0 } else { self.values.longest().max(64) * 3 + 2 };
        let limit = text.len().saturating_sub(hold);
        let before = out.len();
        let escapes = self.escapes.unwrap_or(Escapes::No);
        let read = self.scrub(Piece { text, escapes, limit }, Rule::Text, index, out);
        if out.len() > before {
            self.inside_word = out.last().is_some_and(|byte| is_word(*byte));
        }
        read
    }

    /// Appends a piece with tokens in place of values that begin before its limit; returns how much was read.
    fn scrub(&self, piece: Piece<'_>, rule: Rule<'_>, index: &ScrubIndex, out: &mut Vec<u8>) -> usize {
        let Piece { text, escapes, limit } = piece;
        let is_whole = limit == text.len();
        if !is_whole || !self.values.has_percents() || !text.contains(&b'%') {
            return self.scrub_view(&piece, &View::new(text, escapes), rule, index, out);
        }
        let (literal, mut first) = (View::literal(text, escapes), Vec::with_capacity(text.len()));
        let read = self.scrub_view(&piece, &literal, rule, &self.values.index_for(&literal), &mut first);
        let piece = Piece { text: &first, escapes, limit: first.len() };
        self.scrub_view(&piece, &View::new(&first, escapes), rule, index, out);
        read
    }

    fn scrub_view(&self, piece: &Piece<'_>, view: &View<'_>, rule: Rule<'_>, index: &ScrubIndex, out: &mut Vec<u8>) -> usize {
        let Piece { text, limit, .. } = *piece;
        let bytes = view.bytes();
        let (mut written, mut at) = (0, 0);
        let mut inside = matches!(rule, Rule::Text) && self.inside_word;
        while let Some(byte) = bytes.get(at).filter(|_| view.place(at) < limit) {
            let starts = is_word(*byte) && !inside;
            inside = is_word(*byte);
            let found = if starts { index.find(view, at, rule, &self.values) } else { None };
            let Some(found) = found else {
                at += 1;
                continue;
            };
            let (start, end) = (view.place(found.start).max(written), view.place(found.end));
            out.extend_from_slice(text.get(written..start).unwrap_or_default());
            out.extend_from_slice(found.token.as_bytes());
            (written, at, inside) = (end, found.end, false);
        }
        let end = view.place(at).max(written);
        out.extend_from_slice(text.get(written..end).unwrap_or_default());
        end
    }
}

/// A text of the host or of a plugin with tokens in place of values.
pub(crate) fn clean_text(values: &Arc<BatchValues>, text: &str) -> String {
    if values.is_empty() {
        return text.to_owned();
    }
    let scrubber = AnswerScrubber::new(Arc::clone(values), None);
    let mut out = Vec::with_capacity(text.len());
    let index = values.index_for(&View::new(text.as_bytes(), Escapes::No));
    let piece = Piece { text: text.as_bytes(), escapes: Escapes::No, limit: text.len() };
    scrubber.scrub(piece, Rule::Text, &index, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the string that begins here ends: the place of its closing quote.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')
}
