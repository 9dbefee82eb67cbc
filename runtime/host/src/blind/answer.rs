//! Clears answers of the personal values that were sent: each is replaced by its token, so that a plugin can still tell
//! which row an answer is about. JSON is read string by string, other texts word by word, whole or in pieces; in CSV a doubled quote is one.

use std::sync::Arc;

use memchr::{memchr, memchr2};

use super::columns::last_word;
use super::scrub::{Rule, ScrubIndex, is_word};
use super::values::BatchValues;
use super::view::{Escapes, View};

/// Bytes of a JSON string that are held until its end comes; a longer one is read as text.
const STRING_BYTES_MAX: usize = 1 << 20;
/// Digits of a bare number that can be a phone number.
const NUMBER_DIGITS_MIN: usize = 7;

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
        Self { values, escapes, held: Vec::new(), key: String::new(), inside_word: false }
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

    /// What stands between strings: numbers may be phone numbers.
    fn between(&self, text: &[u8], index: &ScrubIndex, out: &mut Vec<u8>) {
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
        let view = View::new(text, escapes);
        let bytes = view.bytes();
        let (mut written, mut at) = (0, 0);
        let mut inside = matches!(rule, Rule::Text) && self.inside_word;
        while let Some(byte) = bytes.get(at).filter(|_| view.place(at) < limit) {
            let starts = is_word(*byte) && !inside;
            inside = is_word(*byte);
            let found = if starts { index.find(&view, at, rule, &self.values) } else { None };
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
