//! A scanner of one JSON text (RFC 8259) that hands out slices of it: numbers stay the exact text they were, and nothing
//! is built that a column does not need. It accepts what `serde_json` accepts.

use affluent_sdk::{Error, find};

/// Where and how a text is no JSON. Small, because a result of every step carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// At this byte, from 0.
    At(usize),
    Escape,
    TooDeep,
}

type Result<T> = std::result::Result<T, Broken>;

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::At(at) => Self::invalid_data(format!("the line is not valid JSON at byte {}", at + 1)).code("jsonl.syntax"),
            Broken::Escape => Self::invalid_data("the line has an invalid escape in a string").code("jsonl.syntax"),
            Broken::TooDeep => {
                Self::invalid_data(format!("the line is nested deeper than {DEPTH_MAX} levels")).code("jsonl.depth")
            }
        }
    }
}

/// Objects and lists inside each other, at most; as `serde_json` has it.
const DEPTH_MAX: usize = 128;

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A string between its quotes, not yet unescaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a str,
    pub(crate) has_escapes: bool,
}

/// A value, or for objects and lists only that one starts here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Text<'a>),
    Object,
    List,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    fn peek(&mut self) -> Option<u8> {
        match self.text.as_bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.peek_beyond_space(),
        }
    }

    #[cold]
    fn peek_beyond_space(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, wanted: u8) -> Result<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken())
    }

    fn broken(&self) -> Broken {
        Broken::At(self.at)
    }

    /// The next value. After [`Token::Object`] read members, after [`Token::List`] go back and [`Scanner::skip`].
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Token<'a>> {
        match self.peek() {
            Some(b'"') => Ok(Token::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Token::Number(self.number()?)),
            Some(b'{') => Ok(Token::Object),
            Some(b'[') => Ok(Token::List),
            Some(b't') => self.word("true", Token::Boolean(true)),
            Some(b'f') => self.word("false", Token::Boolean(false)),
            Some(b'n') => self.word("null", Token::Null),
            _ => Err(self.broken()),
        }
    }

    fn word(&mut self, word: &str, token: Token<'a>) -> Result<Token<'a>> {
        if self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(token);
        }
        Err(self.broken())
    }

    /// Enters the object that starts here; false if it is empty, and then it is left again.
    pub(crate) fn enter_object(&mut self) -> Result<bool> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// The name of the next member; its value follows.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<Text<'a>> {
        if self.peek() != Some(b'"') {
            return Err(self.broken());
        }
        let name = self.string()?;
        self.take(b':')?;
        Ok(name)
    }

    /// Takes the name of the next member if it is this one, as `"name"` with its quotes; its value follows.
    #[inline]
    pub(crate) fn take_name(&mut self, quoted: &str) -> Result<bool> {
        self.peek();
        let is_it = self.text.as_bytes().get(self.at..).is_some_and(|rest| find::starts_with(rest, quoted.as_bytes()));
        if is_it {
            self.at += quoted.len();
            self.take(b':')?;
        }
        Ok(is_it)
    }

    /// Whether another member follows; if not, the object is left.
    #[inline]
    pub(crate) fn has_next_member(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.broken()),
        }
    }

    /// Only white space is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.broken()) }
    }

    /// Skips the value that starts here; its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        self.skip_nested(0)?;
        self.text.get(start..self.at).ok_or_else(|| self.broken())
    }

    fn skip_nested(&mut self, depth: usize) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(Broken::TooDeep);
        }
        match self.value()? {
            Token::Object => {
                let mut has_next = self.enter_object()?;
                while has_next {
                    let name = self.name()?;
                    check_escapes(name)?;
                    self.skip_nested(depth + 1)?;
                    has_next = self.has_next_member()?;
                }
            }
            Token::List => {
                self.take(b'[')?;
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        return Ok(());
                    }
                    self.take(b',')?;
                }
            }
            Token::Text(text) => check_escapes(text)?,
            Token::Null | Token::Boolean(_) | Token::Number(_) => {}
        }
        Ok(())
    }

    /// The string whose opening quote is here.
    #[inline]
    fn string(&mut self) -> Result<Text<'a>> {
        let start = self.at + 1;
        let mut from = start;
        let mut has_escapes = false;
        loop {
            let tail = self.text.as_bytes().get(from..).unwrap_or_default();
            let Some(length) = find::json_special(tail) else {
                return Err(self.broken());
            };
            from += length;
            match self.text.as_bytes().get(from) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    from += 2;
                }
                _ => {
                    self.at = from;
                    return Err(self.broken());
                }
            }
        }
        self.at = from + 1;
        match self.text.get(start..from) {
            Some(raw) => Ok(Text { raw, has_escapes }),
            None => Err(self.broken()),
        }
    }

    #[inline]
    fn number(&mut self) -> Result<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let digits_from = |from: usize| {
            let tail = bytes.get(from..).unwrap_or_default();
            tail.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let whole = digits_from(at);
        let has_leading_zero = whole > 1 && bytes.get(at) == Some(&b'0');
        at += whole;
        let mut is_valid = whole > 0 && !has_leading_zero;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits_from(at + 1);
            is_valid &= fraction > 0;
            at += 1 + fraction;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits_from(at);
            is_valid &= exponent > 0;
            at += exponent;
        }
        self.at = at;
        match self.text.get(start..at) {
            Some(number) if is_valid => Ok(number),
            _ => Err(self.broken()),
        }
    }
}

fn check_escapes(text: Text<'_>) -> Result<()> {
    if text.has_escapes { unescape(text.raw, &mut String::new()) } else { Ok(()) }
}

/// Appends a string's text to `out`.
///
/// # Errors
/// [`Broken::Escape`] for an unknown escape, or half of a surrogate pair.
pub(crate) fn unescape(raw: &str, out: &mut String) -> Result<()> {
    let broken = || Broken::Escape;
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let letter = escape.bytes().next().ok_or_else(broken)?;
        rest = escape.get(1..).ok_or_else(broken)?;
        out.push(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = hex_unit(&mut rest).ok_or_else(broken)?;
                code_point(unit, &mut rest).ok_or_else(broken)?
            }
            _ => return Err(broken()),
        });
    }
    out.push_str(rest);
    Ok(())
}

fn hex_unit(rest: &mut &str) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    *rest = after;
    u32::from_str_radix(digits, 16).ok()
}

/// Joins a UTF-16 unit with its second half where it has one.
fn code_point(unit: u32, rest: &mut &str) -> Option<char> {
    if !(0xd800..0xdc00).contains(&unit) {
        return char::from_u32(unit);
    }
    *rest = rest.strip_prefix("\\u")?;
    let low = hex_unit(rest).filter(|low| (0xdc00..0xe000).contains(low))?;
    char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_accepted(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip().and_then(|_| scanner.end()).is_ok()
    }

    #[test]
    fn the_same_texts_are_json_as_for_serde_json() {
        let texts = [
            "{}",
            "[]",
            " {\"a\" : [1, 2.5, -0, 1e5, true, null, \"x\"]} ",
            "",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1,]",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\udc00\"",
            "\"\\u00g0\"",
            "\"\t\"",
            "{} {}",
            "\"\\\"",
            "{\"\\z\":1}",
            "1 2",
            "[[[[]]]]",
            "{a:1}",
            "'a'",
            "\u{feff}{}",
            "NaN",
            "1E+2",
            "0.0e-0",
        ];

        for text in texts {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
                && serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(is_accepted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        assert!(is_accepted(&format!("{}{}", "[".repeat(127), "]".repeat(127))));
        assert!(!is_accepted(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))));
    }

    proptest! {
        #[test]
        fn strings_read_back_as_written(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();

            let Token::Text(read) = Scanner::new(&written).value().unwrap() else { panic!("text") };
            let mut unescaped = String::new();
            unescape(read.raw, &mut unescaped).unwrap();

            prop_assert_eq!(unescaped, text);
        }

        #[test]
        fn damaged_texts_are_judged_as_serde_json_judges_them(damage in "[]\\[{}:,\"a1.e+\\-\\\\ tnu]{0,3}", cut in 0usize..40, length in 0usize..4) {
            let mut text = r#"{"a":[1,-2.5e3,"b\n\u00e9"],"c":null}"#.to_owned();
            let start = cut.min(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &damage);

            let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(is_accepted(&text), expected, "{}", text);
        }
    }
}
