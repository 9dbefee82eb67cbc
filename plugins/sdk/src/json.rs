//! Looking into JSON answers: by RFC 6901 pointer, without an error where nothing is there.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// The text at a pointer, empty where there is none.
///
/// ```
/// use affluent_sdk::json;
///
/// let answer = serde_json::json!({ "data": { "id": "7" } });
/// assert_eq!((json::text(&answer, "/data/id"), json::text(&answer, "/data/name")), ("7", ""));
/// ```
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a pointer of an answer that must hold one, such as the id of what a request made.
///
/// # Errors
/// `transient` (`http.no_text`) where there is none, or it is empty.
pub fn required_text(value: &Value, pointer: &str) -> Result<String> {
    let found = Some(text(value, pointer).to_owned()).filter(|text| !text.is_empty());
    found.ok_or_else(|| Error::transient(format!("the answer holds no text at `{pointer}`")).code("http.no_text"))
}

/// The list at a pointer, empty where there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A code, a pointer or a name of an answer, fit for a message; `?` for what cannot be one (letters, digits and `/_-.`, at
/// most 120 bytes): a service may repeat personal values in any text.
///
/// ```
/// assert_eq!(affluent_sdk::json::word("invalid_phone"), "invalid_phone");
/// assert_eq!(affluent_sdk::json::word("ada@example.org"), "?");
/// ```
pub fn word(text: &str) -> &str {
    let is_plain = text.len() <= 120 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
    if is_plain { text } else { "?" }
}

/// The unparsed value at a pointer of a JSON text; `None` where there is none or the text breaks off before it.
///
/// ```
/// let found = affluent_sdk::json::raw_at(r#"{"data": {"items": [1, 2]}}"#, "/data/items").expect("there is one");
/// assert_eq!(found.get(), "[1, 2]");
/// ```
pub fn raw_at<'a>(text: &'a str, pointer: &str) -> Option<&'a RawValue> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = serde_json::Deserializer::from_str(value.get()).deserialize_any(Pick(&token)).ok()??;
    }
    Some(value)
}

/// Picks one member of an object or list.
struct Pick<'t>(&'t str);

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let wanted: Option<usize> = self.0.parse().ok();
        let (mut found, mut index) = (None, 0);
        while let Some(value) = list.next_element::<&RawValue>()? {
            found = if wanted == Some(index) { Some(value) } else { found };
            index += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_in_text_what_it_finds_in_a_value() {
        let text = r#"{"a":[{"b/c":1},2],"":{"~":"x"},"e\u0301":null}"#;
        let value: Value = serde_json::from_str(text).unwrap();

        for pointer in ["", "/a", "/a/0", "/a/0/b~1c", "/a/1", "/a/2", "/a/x", "//~0", "/e\u{301}", "/no", "/a/1/b"] {
            let found = raw_at(text, pointer).map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
            assert_eq!(found.as_ref(), value.pointer(pointer), "{pointer}");
        }
        assert!(raw_at(r#"{"a": [1"#, "/a").is_none());
    }
}
