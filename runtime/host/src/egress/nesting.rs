//! How deep the JSON of an answer is nested, counted while it is read: a few kilobytes of brackets must not use up the
//! stack of whoever parses them (security B-24).

use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::bindings::affluent::plugin::http::HttpError;

/// Arrays and objects inside one another.
const DEPTH_MAX: u32 = 128;

/// Counts over the pieces of a body; looks at brackets outside of texts only and checks nothing else of JSON.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Nesting {
    /// For answers that say they are JSON: `application/json`, `application/x-ndjson`, `….+json`.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence.ends_with("json").then(Self::default)
    }

    /// # Errors
    /// `invalid` at the first bracket that is too deep.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), HttpError> {
        for byte in piece {
            if self.in_text {
                self.in_text = self.escaped || *byte != b'"';
                self.escaped = !self.escaped && *byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => continue,
            }
            if self.depth > DEPTH_MAX {
                return Err(HttpError::Invalid(format!("the answer's JSON is nested deeper than {DEPTH_MAX}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(body: &str, piece_bytes: usize) -> bool {
        let mut nesting = Nesting::default();
        body.as_bytes().chunks(piece_bytes).any(|piece| nesting.push(piece).is_err())
    }

    #[test]
    fn brackets_count_outside_of_texts_wherever_the_body_is_cut() {
        let deep = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        let in_text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(500));
        let wide = format!("[{}]", "[],".repeat(500));
        for piece_bytes in [1, 3, 1_000_000] {
            assert!(!is_refused(&deep(128), piece_bytes));
            assert!(is_refused(&deep(130), piece_bytes));
            assert!(!is_refused(&in_text, piece_bytes));
            assert!(!is_refused(&wide, piece_bytes));
            assert!(is_refused(&format!("{{\"a\":\"\\\\\",\"b\":{}", "[".repeat(128)), piece_bytes));
        }
    }

    #[test]
    fn only_json_is_counted() {
        for (content_type, counted) in [
            ("application/json", true),
            ("application/vnd.api+json; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/x-ndjson", true),
            ("text/html", false),
            ("text/plain; a=json/x", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(Nesting::of(&headers).is_some(), counted, "{content_type}");
        }
    }
}
