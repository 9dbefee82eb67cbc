//! Rewrites the strings and numbers of a JSON text where it lies: everything else stays byte for byte, the order of
//! keys, the form of numbers and the white space too.

use serde::de::IgnoredAny;

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Key,
    Text,
    Number,
}

/// The text with its strings and numbers as `change` gives them: it is told the key under which a value stands and the
/// value, and gives the new one, or `None` to leave it. `None` when the text is no JSON.
pub(super) fn rewrite(json: &str, change: &mut dyn FnMut(Token, &str, &str) -> Option<String>) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut walk = Walk { json, out: String::with_capacity(json.len()), copied: 0, keys: Vec::new(), change };
    walk.run()?;
    walk.out.push_str(json.get(walk.copied..)?);
    Some(walk.out)
}

struct Walk<'a, 'b> {
    json: &'a str,
    out: String,
    /// Bytes of `json` that are in `out`.
    copied: usize,
    /// For each open container: `Some` for an object, with the key whose value comes; `None` for a list.
    keys: Vec<Option<String>>,
    change: &'b mut dyn FnMut(Token, &str, &str) -> Option<String>,
}

impl Walk<'_, '_> {
    fn run(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        let mut at = 0;
        // In an object, a string is a key until its colon came.
        let mut awaits_key = false;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' => {
                    self.keys.push(Some(String::new()));
                    awaits_key = true;
                }
                b'[' => {
                    self.keys.push(None);
                    awaits_key = false;
                }
                b'}' | b']' => {
                    self.keys.pop();
                    awaits_key = false;
                }
                b',' => awaits_key = matches!(self.keys.last(), Some(Some(_))),
                b':' => awaits_key = false,
                b'"' => {
                    let end = string_end(bytes, at)?;
                    self.string(at, end, awaits_key)?;
                    at = end;
                    continue;
                }
                b'-' | b'0'..=b'9' => {
                    let length = bytes.get(at..)?.iter().take_while(|byte| is_of_number(**byte)).count();
                    self.value(Token::Number, at, at + length, self.json.get(at..at + length)?)?;
                    at += length;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        Some(())
    }

    fn string(&mut self, start: usize, end: usize, is_key: bool) -> Option<()> {
        let text: String = serde_json::from_str(self.json.get(start..end)?).ok()?;
        if !is_key {
            return self.value(Token::Text, start, end, &text);
        }
        let new = (self.change)(Token::Key, "", &text);
        if let Some(Some(key)) = self.keys.last_mut() {
            *key = text;
        }
        self.replace(start, end, new.map(|new| quoted(&new)))
    }

    fn value(&mut self, token: Token, start: usize, end: usize, text: &str) -> Option<()> {
        // The values of a list stand under the list's own key.
        let key = self.keys.iter().rev().find_map(|key| key.as_deref()).unwrap_or_default();
        let new = (self.change)(token, key, text);
        self.replace(start, end, new.map(|new| if token == Token::Number { new } else { quoted(&new) }))
    }

    fn replace(&mut self, start: usize, end: usize, new: Option<String>) -> Option<()> {
        if let Some(new) = new {
            self.out.push_str(self.json.get(self.copied..start)?);
            self.out.push_str(&new);
            self.copied = end;
        }
        Some(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

/// The byte after the closing quote of the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_changed_differs() {
        let json = r#"{ "a" : "x\u00e9\"", "n":1.50, "l":["x",{"b":"x"}], "x":-3e2, "t":true }"#;
        let mut seen = Vec::new();

        let out = rewrite(json, &mut |token, key, text| {
            seen.push(format!("{token:?} {key} {text}"));
            (text == "x" && token == Token::Text).then(|| "\"y".to_owned())
        });

        assert_eq!(out.unwrap(), r#"{ "a" : "x\u00e9\"", "n":1.50, "l":["\"y",{"b":"\"y"}], "x":-3e2, "t":true }"#);
        assert!(seen.contains(&"Text a xé\"".to_owned()) && seen.contains(&"Text l x".to_owned()), "{seen:?}");
        assert!(seen.contains(&"Text b x".to_owned()) && seen.contains(&"Number x -3e2".to_owned()), "{seen:?}");
    }

    #[test]
    fn what_is_no_json_is_left_to_others() {
        for text in ["", "<html>", "{\"a\":", "a=b"] {
            assert_eq!(rewrite(text, &mut |_, _, _| None), None, "{text}");
        }
    }
}
