//! Finds the fields of one record in a buffer, after RFC 4180: quotes count only at the start of a field, line ends are
//! `\n` or `\r\n`. It copies nothing and knows no types. A quote that is never closed, or text after a closing quote,
//! is a flaw of the line on which the record starts: the caller rejects that line alone and goes on with the next, so
//! that one stray quote does not swallow the lines after it.

use affluent_sdk::find;

/// The characters that structure a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
}

/// Where a field's text stands, in bytes from the start of the record; without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Quotes inside are doubled.
    pub(crate) has_doubled_quotes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A record of `bytes` bytes, of which the first `text_bytes` are before its line end; it spans `lines` lines.
    Record {
        bytes: usize,
        text_bytes: usize,
        lines: u64,
        has_line_end: bool,
    },
    /// The buffer ends before the record does.
    Incomplete,
    Flawed(Flaw),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A field goes on after its closing quote.
    TextAfterQuote,
    /// A quoted field is not closed before the end of the file.
    UnclosedQuote,
}

/// Scans the record at the start of `rest` into `spans`. `is_at_end`: nothing comes after `rest`.
pub(crate) fn scan(dialect: Dialect, rest: &[u8], is_at_end: bool, spans: &mut Vec<Span>) -> Scan {
    spans.clear();
    let mut lines = 1;
    let mut at = 0;
    loop {
        let field = if rest.get(at) == Some(&dialect.quote) {
            quoted_field(dialect.quote, rest, at + 1, is_at_end)
        } else {
            bare_field(dialect.delimiter, rest, at)
        };
        let (span, after, lines_inside) = match field {
            Ok(field) => field,
            Err(scan) => return scan,
        };
        lines += lines_inside;
        let ends = |text_bytes, bytes, has_line_end| Scan::Record { bytes, text_bytes, lines, has_line_end };
        match rest.get(after..).unwrap_or_default() {
            [byte, ..] if *byte == dialect.delimiter => {
                spans.push(span);
                at = after + 1;
            }
            [b'\n', ..] => {
                spans.push(without_carriage_return(span, rest));
                return ends(after, after + 1, true);
            }
            [b'\r', b'\n', ..] => {
                spans.push(span);
                return ends(after, after + 2, true);
            }
            [] | [b'\r'] if !is_at_end => return Scan::Incomplete,
            tail @ ([] | [b'\r']) => {
                spans.push(without_carriage_return(span, rest));
                return ends(after, after + tail.len(), false);
            }
            _ => return Scan::Flawed(Flaw::TextAfterQuote),
        }
    }
}

/// A field, where it ends, and how many line ends are inside it.
type Field = Result<(Span, usize, u64), Scan>;

/// Up to the next delimiter, line end, or the end of `rest`.
#[inline]
fn bare_field(delimiter: u8, rest: &[u8], start: usize) -> Field {
    let tail = rest.get(start..).unwrap_or_default();
    let length = find::either(tail, delimiter, b'\n').unwrap_or(tail.len());
    let end = start + length;
    Ok((Span { start, end, has_doubled_quotes: false }, end, 0))
}

fn quoted_field(quote: u8, rest: &[u8], start: usize, is_at_end: bool) -> Field {
    let mut has_doubled_quotes = false;
    let mut from = start;
    loop {
        let tail = rest.get(from..).unwrap_or_default();
        let Some(length) = find::either(tail, quote, quote) else {
            return Err(if is_at_end { Scan::Flawed(Flaw::UnclosedQuote) } else { Scan::Incomplete });
        };
        let end = from + length;
        match rest.get(end + 1) {
            Some(byte) if *byte == quote => {
                has_doubled_quotes = true;
                from = end + 2;
            }
            None if !is_at_end => return Err(Scan::Incomplete),
            _ => {
                let inside = rest.get(start..end).unwrap_or_default();
                let lines = inside.iter().filter(|byte| **byte == b'\n').count() as u64;
                return Ok((Span { start, end, has_doubled_quotes }, end + 1, lines));
            }
        }
    }
}

/// A bare last field runs up to `\n`, so a `\r` before it is still in the field. A quoted one ends at its quote.
#[inline]
fn without_carriage_return(span: Span, rest: &[u8]) -> Span {
    let ends_with_return = span.end > span.start && rest.get(span.end - 1) == Some(&b'\r');
    let is_bare = !matches!(rest.get(span.end), Some(byte) if *byte != b'\n' && *byte != b'\r');
    if ends_with_return && is_bare { Span { end: span.end - 1, ..span } } else { span }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', quote: b'"' };

    fn fields(text: &str) -> (Vec<&str>, Scan) {
        let mut spans = Vec::new();
        let scan = scan(COMMA, text.as_bytes(), true, &mut spans);
        (spans.iter().map(|span| text.get(span.start..span.end).unwrap()).collect(), scan)
    }

    #[test]
    fn fields_are_found_in_every_form_of_a_line() {
        let cases: [(&str, &[&str], u64); 11] = [
            ("a,b\n", &["a", "b"], 1),
            ("a,b\r\n", &["a", "b"], 1),
            ("a,b", &["a", "b"], 1),
            ("a,b\r", &["a", "b"], 1),
            ("a,,\n", &["a", "", ""], 1),
            ("\n", &[""], 1),
            ("\"a,1\",b\n", &["a,1", "b"], 1),
            ("\"a\nb\",\"c\r\nd\"\r\n", &["a\nb", "c\r\nd"], 3),
            ("\"a\"\"b\"\n", &["a\"\"b"], 1),
            ("5\" x,\"\"\n", &["5\" x", ""], 1),
            ("\"a\r\"\n", &["a\r"], 1),
        ];

        for (text, expected, expected_lines) in cases {
            let (found, scan) = fields(text);
            assert_eq!(found, expected, "{text:?}");
            assert!(
                matches!(scan, Scan::Record { lines, bytes, .. } if lines == expected_lines && bytes == text.len()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn bad_quoting_is_a_flaw() {
        assert_eq!(fields("\"a\"b,c\n").1, Scan::Flawed(Flaw::TextAfterQuote));
        assert_eq!(fields("\"a,b\nc\n").1, Scan::Flawed(Flaw::UnclosedQuote));
    }

    #[test]
    fn a_record_cut_anywhere_is_incomplete() {
        let text = "ab,\"c\"\"d\"\r\n";

        for cut in 0..text.len() {
            assert_eq!(scan(COMMA, &text.as_bytes()[..cut], false, &mut Vec::new()), Scan::Incomplete, "{cut}");
        }
    }

    fn quoted(value: &str) -> String {
        format!("\"{}\"", value.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn written_records_read_back(record in prop::collection::vec(".{0,12}", 1..6), ending in prop::sample::select(vec!["\n", "\r\n", ""])) {
            let text = record.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(",") + ending;

            let mut spans = Vec::new();
            let scan = scan(COMMA, text.as_bytes(), true, &mut spans);

            let read: Vec<String> = spans.iter().map(|span| text.get(span.start..span.end).unwrap().replace("\"\"", "\"")).collect();
            prop_assert_eq!(read, record);
            let is_whole = matches!(scan, Scan::Record { bytes, .. } if bytes == text.len());
            prop_assert!(is_whole);
        }
    }
}
