//! Reads a few values out of a JSON answer by RFC 6901 pointers without building the rest of it: answers are megabytes,
//! and what a cost bucket needs is four numbers.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A scalar that a pointer led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Number(f64),
    Text(String),
}

/// Texts longer than this are nobody's marker.
const TEXT_BYTES_MAX: usize = 256;

/// The scalars at `pointers`, in their order; `None` where there is none, or where the answer is no JSON.
pub(crate) fn find_scalars(json: &[u8], pointers: &[&str]) -> Vec<Option<Scalar>> {
    let mut found = vec![None; pointers.len()];
    let wanted = pointers.iter().enumerate().filter_map(|(slot, pointer)| {
        let rest = pointer.strip_prefix('/')?;
        Some(Wanted { slot, path: rest.split('/').map(unescape).collect() })
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // An answer that is no JSON leaves what was found before the mistake.
    drop(Seek { wanted, depth: 0, found: &mut found }.deserialize(&mut deserializer));
    found
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[derive(Clone)]
struct Wanted {
    slot: usize,
    path: Vec<String>,
}

/// Looks below one value for the pointers that lead through it.
struct Seek<'a> {
    wanted: Vec<Wanted>,
    depth: usize,
    found: &'a mut Vec<Option<Scalar>>,
}

impl Seek<'_> {
    fn below(&self, key: &str) -> Vec<Wanted> {
        let leads = |wanted: &&Wanted| wanted.path.get(self.depth).is_some_and(|token| token == key);
        self.wanted.iter().filter(leads).cloned().collect()
    }

    fn keep(&mut self, scalar: Scalar) {
        for wanted in self.wanted.iter().filter(|wanted| wanted.path.len() == self.depth) {
            if let Some(place) = self.found.get_mut(wanted.slot) {
                *place = Some(scalar.clone());
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let wanted = self.below(&key);
            map.next_value_seed(Seek { wanted, depth: self.depth + 1, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0usize;
        loop {
            let wanted = self.below(&index.to_string());
            if seq.next_element_seed(Seek { wanted, depth: self.depth + 1, found: self.found })?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "points are small numbers")]
    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.keep(Scalar::Number(value as f64));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "points are small numbers")]
    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.keep(Scalar::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.keep(Scalar::Number(value));
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        if value.len() <= TEXT_BYTES_MAX {
            self.keep(Scalar::Text(value.to_owned()));
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_pointers() {
        let json = br#"{"errors":[{"x":[1],"extensions":{"code":"THROTTLED"}}],"a/b":{"~":2.5},"n":null}"#;

        let found = find_scalars(json, &["/errors/0/extensions/code", "/a~1b/~0", "/n", "/errors/1/code", "/errors"]);

        let text = Some(Scalar::Text("THROTTLED".to_owned()));
        assert_eq!(found, [text, Some(Scalar::Number(2.5)), None, None, None]);
    }

    #[test]
    fn what_is_no_json_holds_nothing() {
        for json in [&b""[..], b"<html>", b"{\"a\":", &[b'['; 100_000]] {
            assert_eq!(find_scalars(json, &["/a", "/0/0"]), [None, None]);
        }
    }
}
