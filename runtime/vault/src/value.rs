//! What can be sealed, and its bytes inside the ciphertext: one type byte, the payload, and where the field's class has few
//! values a padding that hides the length (security A-13). Absent values are never sealed: they stay SQL NULL.

use std::fmt;
use std::mem;

use affluent_model::Result;
use zeroize::{Zeroize, Zeroizing};

use crate::context::Padding;
use crate::errors;

/// A padded plaintext is a multiple of this many bytes, type byte included.
const PADDED_BYTES: usize = 32;
/// Ends the payload of a padded plaintext; zeroes follow.
const PADDING_MARK: u8 = 0x80;

const TEXT: u8 = 1;
const JSON: u8 = 2;
const BYTES: u8 = 3;
const I64: u8 = 4;
const F64: u8 = 5;
const BOOL: u8 = 6;
const TIMESTAMP_US: u8 = 7;

/// A value in the clear; its `Debug` names the type only.
#[derive(Clone, Copy, PartialEq)]
pub enum FieldValue<'a> {
    Text(&'a str),
    /// JSON text in its canonical form; the caller makes it canonical.
    Json(&'a str),
    Bytes(&'a [u8]),
    I64(i64),
    F64(f64),
    Bool(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampUs(i64),
}

impl fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(‹personal›)",
            Self::Json(_) => "Json(‹personal›)",
            Self::Bytes(_) => "Bytes(‹personal›)",
            Self::I64(_) => "I64(‹personal›)",
            Self::F64(_) => "F64(‹personal›)",
            Self::Bool(_) => "Bool(‹personal›)",
            Self::TimestampUs(_) => "TimestampUs(‹personal›)",
        })
    }
}

impl FieldValue<'_> {
    /// Bytes that [`Self::write_plaintext`] will append.
    pub(crate) fn plaintext_bytes(self, padding: Padding) -> usize {
        let payload = match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::I64(_) | Self::F64(_) | Self::TimestampUs(_) => 8,
            Self::Bool(_) => 1,
        };
        match padding {
            Padding::None => 1 + payload,
            Padding::To32Bytes => (2 + payload).next_multiple_of(PADDED_BYTES),
        }
    }

    pub(crate) fn write_plaintext(self, padding: Padding, out: &mut Vec<u8>) {
        let end = out.len() + self.plaintext_bytes(padding);
        match self {
            Self::Text(text) => push(out, TEXT, text.as_bytes()),
            Self::Json(text) => push(out, JSON, text.as_bytes()),
            Self::Bytes(bytes) => push(out, BYTES, bytes),
            Self::I64(number) => push(out, I64, &number.to_be_bytes()),
            Self::F64(number) => push(out, F64, &number.to_be_bytes()),
            Self::Bool(truth) => push(out, BOOL, &[u8::from(truth)]),
            Self::TimestampUs(instant) => push(out, TIMESTAMP_US, &instant.to_be_bytes()),
        }
        if padding == Padding::To32Bytes {
            out.push(PADDING_MARK);
            out.resize(end, 0);
        }
    }
}

/// A value that was opened: owned, wiped on drop, without `Debug`, `Clone` or `Serialize`.
pub struct OpenedValue(Content);

enum Content {
    Text(Zeroizing<String>),
    Json(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
    I64(Zeroizing<i64>),
    F64(Zeroizing<f64>),
    Bool(Zeroizing<bool>),
    TimestampUs(Zeroizing<i64>),
}

impl OpenedValue {
    /// The value as it was given to be sealed.
    #[must_use]
    pub fn value(&self) -> FieldValue<'_> {
        match &self.0 {
            Content::Text(text) => FieldValue::Text(text),
            Content::Json(text) => FieldValue::Json(text),
            Content::Bytes(bytes) => FieldValue::Bytes(bytes),
            Content::I64(number) => FieldValue::I64(**number),
            Content::F64(number) => FieldValue::F64(**number),
            Content::Bool(truth) => FieldValue::Bool(**truth),
            Content::TimestampUs(instant) => FieldValue::TimestampUs(**instant),
        }
    }

    /// The characters of a text or JSON value, `None` for every other type.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.0 {
            Content::Text(text) | Content::Json(text) => Some(text),
            _ => None,
        }
    }

    /// Reads a plaintext whose tag was right: what does not fit here was written by another program.
    pub(crate) fn from_plaintext(mut plaintext: Zeroizing<Vec<u8>>, padding: Padding) -> Result<Self> {
        if padding == Padding::To32Bytes {
            remove_padding(&mut plaintext)?;
        }
        let Some(&kind) = plaintext.first() else {
            return Err(errors::value_malformed("a sealed value has no type"));
        };
        plaintext.drain(..1);
        Ok(Self(match kind {
            TEXT => Content::Text(into_text(plaintext)?),
            JSON => Content::Json(into_text(plaintext)?),
            BYTES => Content::Bytes(plaintext),
            I64 => Content::I64(i64::from_be_bytes(eight_bytes(&plaintext)?).into()),
            F64 => Content::F64(f64::from_be_bytes(eight_bytes(&plaintext)?).into()),
            BOOL => Content::Bool(into_bool(&plaintext)?.into()),
            TIMESTAMP_US => Content::TimestampUs(i64::from_be_bytes(eight_bytes(&plaintext)?).into()),
            unknown => {
                return Err(errors::value_malformed(&format!("a sealed value has the unknown type `{unknown}`")));
            }
        }))
    }
}

fn push(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(payload);
}

fn remove_padding(plaintext: &mut Vec<u8>) -> Result<()> {
    let mark = plaintext.iter().rposition(|&byte| byte != 0);
    match mark.and_then(|at| plaintext.get(at).map(|&byte| (at, byte))) {
        Some((at, PADDING_MARK)) if (at + 1).next_multiple_of(PADDED_BYTES) == plaintext.len() => {
            plaintext.truncate(at);
            Ok(())
        }
        _ => Err(errors::value_malformed("the padding of a sealed value is not the one this program writes")),
    }
}

fn into_text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>> {
    match String::from_utf8(mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(errors::value_malformed("a sealed text is not UTF-8"))
        }
    }
}

fn into_bool(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(errors::value_malformed("a sealed truth value is neither 0 nor 1")),
    }
}

fn eight_bytes(bytes: &[u8]) -> Result<[u8; 8]> {
    bytes.try_into().map_err(|_| errors::value_malformed("a sealed number is not 8 bytes long"))
}
