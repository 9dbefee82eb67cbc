//! A value as it may stand in a place of a request, so that it is a value there and nothing else.

use std::fmt::Write as _;

/// The kind of text that a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Form,
    Csv,
    Xml,
    Plain,
}

impl BodyKind {
    /// By the media type; `None` for one whose escaping is not known here.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (_, subtype) = media.split_once('/')?;
        Some(match subtype {
            "x-www-form-urlencoded" => Self::Form,
            "csv" => Self::Csv,
            "xml" => Self::Xml,
            "plain" => Self::Plain,
            "json" | "x-ndjson" | "ndjson" | "jsonl" | "json-seq" | "jsonlines" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            other if other.ends_with("+xml") => Self::Xml,
            _ => return None,
        })
    }
}

/// Inside a JSON string (RFC 8259 §7).
pub(crate) fn json(value: &str, out: &mut Vec<u8>) {
    const SHORT: [(u8, u8); 7] =
        [(b'"', b'"'), (b'\\', b'\\'), (b'\n', b'n'), (b'\r', b'r'), (b'\t', b't'), (8, b'b'), (12, b'f')];
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, after)) = after.split_first() else { return };
        match SHORT.iter().find(|(byte, _)| byte == special) {
            Some((_, letter)) => out.extend([b'\\', *letter]),
            None => out.extend(format!("\\u{special:04x}").into_bytes()),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// As a segment of a path or a value of a query (RFC 3986 §2.3).
pub(crate) fn url(value: &str, out: &mut Vec<u8>) {
    percent(value, b"-._~", b"%20", out);
}

/// As a value of a form (WHATWG URL §5.2).
pub(crate) fn form(value: &str, out: &mut Vec<u8>) {
    percent(value, b"-._*", b"+", out);
}

fn percent(value: &str, kept: &[u8], space: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(byte);
        } else if byte == b' ' {
            out.extend_from_slice(space);
        } else {
            out.push(b'%');
            out.extend(DIGITS.get(usize::from(byte >> 4)));
            out.extend(DIGITS.get(usize::from(byte & 15)));
        }
    }
}

/// Inside a quoted CSV cell (RFC 4180). A request is read by a service, which takes a cell for what it says: the apostrophe
/// that keeps a spreadsheet from running a cell would become a part of the value there. It belongs into files that people open
/// (security D-60).
pub(crate) fn csv(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        out.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
    }
}

/// In text or an attribute of XML; characters that XML cannot hold become spaces.
pub(crate) fn xml(value: &str, out: &mut Vec<u8>) {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' | '\r' | '\n' | '\t' => {
                // Writing to a text cannot fail.
                let _ = write!(text, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => text.push(' '),
            other => text.push(other),
        }
    }
    out.extend_from_slice(text.as_bytes());
}
