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

/// The id at a pointer, a text or a number; `None` where there is none.
///
/// ```
/// let answer = serde_json::json!({ "id": 7, "name": "VIP" });
/// assert_eq!(affluent_sdk::json::id(&answer, "/id").as_deref(), Some("7"));
/// ```
pub fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(id) => Some(id.clone()).filter(|id| !id.is_empty()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The list at a pointer, empty where there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The list at a pointer of an answer that must hold one.
///
/// # Errors
/// `transient` (`page.no_list`) where there is none.
pub fn required_list(value: &Value, pointer: &str) -> Result<Vec<Value>> {
    let found = value.pointer(pointer).and_then(Value::as_array).cloned();
    found.ok_or_else(|| Error::transient(format!("the answer holds no list at `{pointer}`")).code("page.no_list"))
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
    match pointer.strip_prefix('/') {
        None => serde_json::from_str(text).ok(),
        Some(path) => path.split('/').try_fold(None, |found: Option<&RawValue>, token| {
            let mut text = serde_json::Deserializer::from_str(found.map_or(text, RawValue::get));
            let picked = text.deserialize_any(Pick(&unescaped(token))).ok()??;
            text.end().ok()?;
            Some(Some(picked))
        })?,
    }
}

/// A token of a pointer as the name it stands for.
fn unescaped(token: &str) -> Cow<'_, str> {
    if token.contains('~') { Cow::Owned(token.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(token) }
}

/// A JSON text whose outermost members were found in one pass, for several looks into it.
pub(crate) struct Outline<'a> {
    text: &'a str,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Outline<'a> {
    /// Of a text that is no object, nothing is known beforehand.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(AllMembers).ok().filter(|_| reader.end().is_ok());
        Self { text, members: members.unwrap_or_default() }
    }

    /// As [`raw_at`].
    pub(crate) fn raw_at(&self, pointer: &str) -> Option<&'a RawValue> {
        let Some(path) = pointer.strip_prefix('/').filter(|_| !self.members.is_empty()) else {
            return raw_at(self.text, pointer);
        };
        let (token, rest) = path.split_once('/').map_or((path, None), |(token, rest)| (token, Some(rest)));
        let token = unescaped(token);
        // Of a name that is there twice the last counts, as everywhere.
        let found = self.members.iter().rev().find(|(name, _)| *name == token)?.1;
        rest.map_or(Some(found), |rest| raw_at(found.get(), &format!("/{rest}")))
    }
}

struct AllMembers;

impl<'de> Visitor<'de> for AllMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
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
            let outlined = Outline::of(text).raw_at(pointer).map(RawValue::get);
            assert_eq!(outlined, raw_at(text, pointer).map(RawValue::get), "{pointer}");
        }
        for broken in [r#"{"a": [1"#, r#"{"a": [1]"#, r#"{"a": [1]} x"#] {
            assert!(raw_at(broken, "/a").is_none() && Outline::of(broken).raw_at("/a").is_none(), "{broken}");
        }
        assert_eq!(Outline::of(r#"[{"a": 7}]"#).raw_at("/0/a").map(RawValue::get), Some("7"));
        assert_eq!(Outline::of(r#"{"a": 1, "a": 2}"#).raw_at("/a").map(RawValue::get), Some("2"));
    }
}
