//! A piece of an answer as it reads: escapes of JSON or CSV and percent-encoding undone, with the place of every byte in the
//! piece.

use std::borrow::Cow;

/// How a text says what would end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    No,
    /// The inside of strings, by backslashes.
    Json,
    /// Quotes in cells, by doubling them (RFC 4180); nothing else is escaped there.
    Csv,
}

/// A text and where its bytes come from.
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// Place in the piece of each byte, and of the end; `None` when they are the same.
    places: Option<Vec<usize>>,
}

impl<'a> View<'a> {
    pub(super) fn new(piece: &'a [u8], escapes: Escapes) -> Self {
        Self::of(piece, escapes, escapes != Escapes::Csv)
    }

    /// With percent signs as they stand.
    pub(super) fn literal(piece: &'a [u8], escapes: Escapes) -> Self {
        Self::of(piece, escapes, false)
    }

    fn of(piece: &'a [u8], escapes: Escapes, percents: bool) -> Self {
        let is_coded = |byte: &u8| match byte {
            b'%' => percents,
            b'\\' => escapes == Escapes::Json,
            b'"' => escapes == Escapes::Csv,
            _ => false,
        };
        if !piece.iter().any(is_coded) {
            return Self { bytes: Cow::Borrowed(piece), places: None };
        }
        let (mut bytes, mut places) = (Vec::with_capacity(piece.len()), Vec::with_capacity(piece.len() + 1));
        let mut at = 0;
        while let Some(byte) = piece.get(at) {
            let rest = piece.get(at..).unwrap_or_default();
            let decoded = match (escapes, rest) {
                (Escapes::Json, [b'\\', ..]) => unescape(rest),
                (Escapes::Csv, [b'"', b'"', ..]) => Some((vec![b'"'], 2)),
                _ if !percents => None,
                _ => percent(rest),
            };
            let (character, length) = decoded.unwrap_or_else(|| (vec![*byte], 1));
            places.extend(std::iter::repeat_n(at, character.len()));
            bytes.extend(character);
            at += length;
        }
        places.push(piece.len());
        Self { bytes: Cow::Owned(bytes), places: Some(places) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a place of the view lies in the piece.
    pub(super) fn place(&self, at: usize) -> usize {
        self.places.as_ref().map_or(at, |places| places.get(at).or(places.last()).copied().unwrap_or(at))
    }
}

fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    Some((vec![byte], 3))
}

fn unescape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let plain = match text.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode(text),
        other => *other,
    };
    Some((vec![plain], 2))
}

fn unicode(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let unit = |at: usize| u16::from_str_radix(std::str::from_utf8(text.get(at..at + 4)?).ok()?, 16).ok();
    let first = unit(2)?;
    let second = if text.get(6..8) == Some(b"\\u") { unit(8) } else { None };
    let (units, length) = match second.filter(|_| (0xd800..0xdc00).contains(&first)) {
        Some(second) => (vec![first, second], 12),
        None => (vec![first], 6),
    };
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character.to_string().into_bytes(), length))
}
