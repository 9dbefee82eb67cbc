//! Puts personal values where a plugin wrote their tokens, escaped for the place: the last step before a request leaves.

use memchr::memchr2;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use super::escape::{self, BodyKind};
use super::form::Form;
use super::token::{self, Found, PREFIX};
use super::values::{BatchValues, ValueColumn};

/// Why a request with a token is not sent; never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Of another connection, of an earlier batch, or made up.
    Unknown,
    /// It begins like a token.
    Malformed,
    /// The value has no such form.
    Form(Form),
    /// Outside of a JSON string.
    NotInString,
    /// In a part of a CSV cell that is not quoted.
    NotACell,
    /// The value would be another path.
    Path,
    /// The body's media type says nothing about escaping.
    MediaType,
    Header,
    Host,
    /// The request was led to another origin.
    Redirected,
    TooLarge,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self {
            Self::Unknown => "a token in the request stands for no value of this batch",
            Self::Malformed => "the request holds a piece of a token",
            Self::Form(form) => return write!(f, "a value has no form `{}` that a token asks for", form.as_str()),
            Self::NotInString => "a token stands outside of a JSON string",
            Self::NotACell => "a token is a part of a CSV cell without quotes",
            Self::Path => "a value cannot be a segment of a path",
            Self::MediaType => "a token stands in a body whose media type is not JSON, form, CSV, XML or plain text",
            Self::Header => "a token stands in a header",
            Self::Host => "a token stands in the host of the URL",
            Self::Redirected => "a token would follow a redirect to another origin",
            Self::TooLarge => "the body is larger than 32 MiB with its values",
        };
        f.write_str(reason)
    }
}

/// True when anything begins like a token.
pub(crate) fn has_token(text: &[u8]) -> bool {
    Finder::new(PREFIX).find(text).is_some()
}

/// A body with values in place of tokens.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn in_body(body: &[u8], kind: BodyKind, values: &BatchValues, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(body.len());
    let mut quotes = Quotes { is_open: false, backslash: kind == BodyKind::Json };
    let mut rest = body;
    let finder = Finder::new(PREFIX);
    while let Some(at) = finder.find(rest) {
        let (before, found) = rest.split_at(at);
        if matches!(kind, BodyKind::Json | BodyKind::Csv) {
            quotes.pass(before)?;
        }
        out.extend_from_slice(before);
        let found = token::read(found).ok_or(Refusal::Malformed)?;
        let after = rest.get(at + found.length..).unwrap_or_default();
        rest = after;
        let (value, column) = values.get(found.mark).ok_or(Refusal::Unknown)?;
        if kind == BodyKind::Json && is_whole_json(column, &found, &out, after, &quotes) && is_json(value) {
            out.pop();
            out.extend_from_slice(value.as_bytes());
            rest = after.get(1..).unwrap_or_default();
            quotes.is_open = false;
        } else {
            let formed = formed(value, &found, values)?;
            let value = formed.as_deref().unwrap_or(value);
            write(value, kind, Neighbours { before: out.last().copied(), after: after.first().copied() }, &quotes, &mut out)?;
        }
        if out.len() > bytes_max {
            return Err(Refusal::TooLarge);
        }
    }
    out.extend_from_slice(rest);
    if out.len() > bytes_max { Err(Refusal::TooLarge) } else { Ok(out) }
}

/// A path or query with values in place of tokens.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn in_url(text: &str, is_path: bool, values: &BatchValues) -> Result<String, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let finder = Finder::new(PREFIX);
    while let Some(at) = finder.find(rest) {
        let (before, found) = rest.split_at(at);
        out.extend_from_slice(before);
        let found = token::read(found).ok_or(Refusal::Malformed)?;
        rest = rest.get(at + found.length..).unwrap_or_default();
        let (value, _) = values.get(found.mark).ok_or(Refusal::Unknown)?;
        let formed = formed(value, &found, values)?;
        let value = formed.as_deref().unwrap_or(value);
        if is_path && value.is_empty() {
            return Err(Refusal::Path);
        }
        escape::url(value, &mut out);
    }
    out.extend_from_slice(rest);
    let out = String::from_utf8(out).map_err(|_| Refusal::Malformed)?;
    if is_path && out.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Refusal::Path);
    }
    Ok(out)
}

/// The value in the forms that its token asks for; `None` when it asks for none.
fn formed(value: &str, found: &Found, values: &BatchValues) -> Result<Option<String>, Refusal> {
    let mut formed: Option<String> = None;
    for form in &found.forms {
        formed = Some(form.apply(formed.as_deref().unwrap_or(value)).ok_or(Refusal::Form(*form))?);
    }
    if let (Some(formed), Some(Form::Md5 | Form::Sha256)) = (&formed, found.forms.last()) {
        values.remember_form(formed, || {
            let forms = found.forms.iter().map(|form| format!(".{}", form.as_str()));
            std::iter::once(token::text(found.mark)).chain(forms).collect()
        });
    }
    Ok(formed)
}

/// Bytes on both sides of a token.
struct Neighbours {
    before: Option<u8>,
    after: Option<u8>,
}

fn write(value: &str, kind: BodyKind, beside: Neighbours, quotes: &Quotes, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match kind {
        BodyKind::Json if !quotes.is_open => return Err(Refusal::NotInString),
        BodyKind::Json => escape::json(value, out),
        BodyKind::Form => escape::form(value, out),
        BodyKind::Xml => escape::xml(value, out),
        BodyKind::Plain => out.extend_from_slice(value.as_bytes()),
        BodyKind::Csv if quotes.is_open => escape::csv(value, out),
        BodyKind::Csv => {
            let is_border = |byte: Option<u8>| byte.is_none_or(|byte| matches!(byte, b',' | b';' | b'\t' | b'\r' | b'\n' | b'|'));
            if !is_border(beside.before) || !is_border(beside.after) {
                return Err(Refusal::NotACell);
            }
            out.push(b'"');
            escape::csv(value, out);
            out.push(b'"');
        }
    }
    Ok(())
}

/// A JSON value whose token is a whole string takes the string's place.
fn is_whole_json(column: &ValueColumn, found: &Found, before: &[u8], after: &[u8], quotes: &Quotes) -> bool {
    let opens = before.ends_with(b"\"") && !before.ends_with(b"\\\"");
    column.is_json && found.forms.is_empty() && quotes.is_open && opens && after.first() == Some(&b'"')
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Whether a place is inside quotes.
struct Quotes {
    is_open: bool,
    /// A backslash takes the meaning of the byte after it.
    backslash: bool,
}

impl Quotes {
    fn pass(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let mut at = 0;
        let escape = if self.backslash { b'\\' } else { b'"' };
        while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', escape, rest)) {
            at += found;
            if text.get(at) == Some(&b'"') {
                self.is_open = !self.is_open;
                at += 1;
            } else {
                at += 2;
            }
        }
        if at > text.len() { Err(Refusal::Malformed) } else { Ok(()) }
    }
}
