//! Requests signed by HMAC (RFC 2104): what is signed, with what, and where the signature goes. The host does it at the
//! last moment, on the request as it leaves, personal values in their places.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::header_mistake;

/// A signature over parts of the request, in a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacSignature {
    /// Name of the secret that is the key.
    pub secret: String,
    /// How the secret is written; `text` = its bytes are the key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret_form: SecretForm,
    /// The hash under the HMAC.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: HashAlgorithm,
    /// How the signature is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: BinaryEncoding,
    /// Header of the signature.
    pub name: String,
    /// Text before the signature: `sha256=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is signed: these parts one after the other, nothing between them.
    pub signs: Vec<SignedPart>,
    /// The time of signing, for the part `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// A digest of the body, for the part `body_digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_digest: Option<BodyDigest>,
    /// A credential that goes along as it is: the id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyHeader>,
}

/// How a secret stands for the bytes of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    /// Its UTF-8 bytes.
    #[default]
    Text,
    /// Two digits a byte, either case.
    Hex,
    /// With or without padding.
    Base64,
}

/// The hash of an HMAC or a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    /// 32 bytes.
    #[default]
    Sha256,
    /// 64 bytes.
    Sha512,
    /// 20 bytes: for old services; safe within an HMAC.
    Sha1,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinaryEncoding {
    /// Lower case.
    #[default]
    Hex,
    /// The standard alphabet, padded.
    Base64,
}

/// A piece of what is signed: a word, or a map of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedPart {
    /// `POST`.
    Method,
    /// The whole URL as it is sent.
    Url,
    /// Host and, where it is not the scheme's own, port.
    Host,
    /// Percent-encoded as it is sent: `/v1/items`.
    Path,
    /// As it is sent, without `?`; nothing when there is none.
    Query,
    /// Path, and `?` and query when there is one.
    PathAndQuery,
    /// Nothing when there is none.
    Body,
    /// As `body_digest` says.
    BodyDigest,
    /// As `timestamp` says.
    Timestamp,
    /// This text: `{"text": "\n"}`.
    Text(String),
    /// The value of a header of the request; nothing when it is not set: `{"header": "content-type"}`.
    Header(String),
    /// Another secret: `{"secret": "key_id"}`.
    Secret(String),
}

/// The time of signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// Header that the host writes it to.
    pub name: String,
    /// How it is written, in the header and in what is signed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub form: TimestampForm,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampForm {
    /// Since 1970, UTC.
    #[default]
    Seconds,
    /// Since 1970, UTC.
    Milliseconds,
    /// `2026-01-31T10:00:00Z`.
    Rfc3339,
    /// `Sat, 31 Jan 2026 10:00:00 GMT`.
    HttpDate,
}

/// A digest of the body, of the empty text when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyDigest {
    /// Its hash.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: HashAlgorithm,
    /// How it is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: BinaryEncoding,
    /// Header that the host writes it to; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text before the digest in the header, not in what is signed: `SHA-256=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A header with a secret as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyHeader {
    /// The header's name.
    pub name: String,
    /// Text before the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Name of the secret in `secrets`.
    pub secret: String,
}

impl HmacSignature {
    /// Names of the secrets that it uses, each once.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let signed = self.signs.iter().filter_map(|part| match part {
            SignedPart::Secret(name) => Some(name.as_str()),
            _ => None,
        });
        let key = self.key.as_ref().map(|key| key.secret.as_str());
        let mut names: Vec<&str> = std::iter::once(self.secret.as_str()).chain(key).chain(signed).collect();
        let mut seen = Vec::new();
        names.retain(|name| {
            let is_new = !seen.contains(name);
            seen.push(*name);
            is_new
        });
        names
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let written = self.headers_written();
        found.extend(written.iter().filter_map(|(key, name)| header_mistake(key, name)));
        for (place, (key, name)) in written.iter().enumerate() {
            let first = written.iter().take(place).find(|(_, other)| other.eq_ignore_ascii_case(name));
            found.extend(first.map(|(first, _)| format!("`{first}` and `{key}` are the same header `{name}`: name another")));
        }
        if self.signs.is_empty() {
            found.push(
                "`signs` is empty, so anything could be signed with it: list `method`, `path_and_query`, `body`…".to_owned(),
            );
        }
        for part in &self.signs {
            found.extend(self.part_mistake(part));
        }
        found
    }

    /// The headers that the host writes, by the key that names them.
    fn headers_written(&self) -> Vec<(&'static str, &str)> {
        let timestamp = self.timestamp.as_ref().map(|timestamp| ("timestamp.name", timestamp.name.as_str()));
        let digest = self.body_digest.as_ref().and_then(|digest| digest.name.as_deref()).map(|name| ("body_digest.name", name));
        let key = self.key.as_ref().map(|key| ("key.name", key.name.as_str()));
        std::iter::once(("name", self.name.as_str())).chain(timestamp).chain(digest).chain(key).collect()
    }

    fn part_mistake(&self, part: &SignedPart) -> Option<String> {
        match part {
            SignedPart::Timestamp if self.timestamp.is_none() => {
                Some("`signs` has `timestamp`, and no header carries it: add `timestamp: {\"name\": \"X-Timestamp\"}`".to_owned())
            }
            SignedPart::BodyDigest if self.body_digest.is_none() => Some(
                "`signs` has `body_digest`, and nothing says which: add `body_digest: {\"algorithm\": \"sha256\"}`".to_owned(),
            ),
            SignedPart::Header(name) if name.eq_ignore_ascii_case(&self.name) => {
                Some(format!("`signs` has the header `{name}` of the signature itself: remove it"))
            }
            SignedPart::Header(name) => header_mistake("signs.header", name),
            _ => None,
        }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::manifest::Manifest;

    fn manifest(slot: Value) -> Manifest {
        let manifest = json!({"manifest_version": 1, "name": "p", "version": "1.0.0", "kinds": ["source"], "config_schema": {},
            "secrets": [{"name": "key"}, {"name": "id"}], "auth": {"signed": slot}});
        serde_json::from_value(manifest).unwrap()
    }

    #[test]
    fn a_slot_that_cannot_work_is_told_with_all_its_mistakes() {
        let good = json!({"type": "hmac", "secret": "key", "name": "X-Signature", "signs": ["method", {"text": "\n"}, "body"]});
        let cases: [(Value, &[&str]); 9] = [
            (json!({}), &[]),
            (
                json!({"signs": ["timestamp", "body_digest", {"secret": "id"}], "timestamp": {"name": "X-Time"},
                    "body_digest": {"name": "X-Digest"}, "key": {"name": "X-Key", "secret": "id"}}),
                &[],
            ),
            (json!({"secret": "other"}), &["the secret `other` is not declared: add it to `secrets`"]),
            (json!({"key": {"name": "X-Key", "secret": "other"}}), &["the secret `other` is not declared"]),
            (json!({"name": "X Signature"}), &["`name` is `X Signature`, which no header can be called"]),
            (json!({"signs": []}), &["`signs` is empty"]),
            (json!({"signs": ["timestamp", "body_digest"]}), &["no header carries it", "nothing says which"]),
            (json!({"timestamp": {"name": "x-signature"}}), &["`name` and `timestamp.name` are the same header"]),
            (
                json!({"signs": [{"header": "x-signature"}], "secret": "other"}),
                &["`other` is not declared", "of the signature itself"],
            ),
        ];
        for (changes, expected) in cases {
            let mut slot = good.clone();
            slot.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let found = manifest(slot).auth_mistakes();
            let is_told = found.iter().zip(expected).all(|(found, expected)| found.contains(expected));
            assert!(found.len() == expected.len() && is_told, "{changes}: {found:?}");
        }
    }

    #[test]
    fn a_key_that_no_slot_has_is_refused() {
        for slot in [
            json!({"type": "hmac", "secret": "key", "name": "X-Signature", "signs": ["body"], "singed": []}),
            json!({"type": "bearer", "secret": "key", "user": "me"}),
            json!({"type": "hmac", "secret": "key", "name": "X-Signature", "signs": ["bodies"]}),
            json!({"type": "oauth1", "secret": "key"}),
        ] {
            let read = serde_json::from_value::<super::super::AuthSlot>(slot.clone());
            assert!(read.is_err(), "{slot}");
        }
    }
}
