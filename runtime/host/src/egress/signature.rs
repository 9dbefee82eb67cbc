//! Signs a request by HMAC as its auth slot says. It is the last thing done to a request: what is signed is what leaves,
//! with personal values in the place of their tokens. A repeated or redirected request is signed anew.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use affluent_model::manifest::{
    BinaryEncoding, BodyDigest, HashAlgorithm, HmacSignature, SecretForm, SignedPart, Timestamp, TimestampForm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use url::Position;
use zeroize::Zeroizing;

use super::request::{Outgoing, invalid};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::secret::Secret;

/// Gives a secret that the slot names.
pub(crate) type SecretByName<'a> = &'a dyn Fn(&str) -> Result<Arc<Secret>, HttpError>;

/// What is worked out once for a request.
struct Facts {
    timestamp: String,
    body_digest: String,
}

impl Outgoing {
    /// Adds the signature and the headers that go with it; gives the signature, so that it is blotted out of the answer.
    ///
    /// # Errors
    /// Those of `secret`; `invalid` when the secret is not of the form that the slot says.
    pub(crate) fn sign(&mut self, slot: &HmacSignature, now_us: i64, secret: SecretByName<'_>) -> Result<Secret, HttpError> {
        let key = key_bytes(secret(&slot.secret)?.expose(), slot.secret_form)?;
        if let Some(key) = &slot.key {
            let prefix = key.prefix.as_deref().unwrap_or_default();
            self.add_secret_header(&key.name, &format!("{prefix}{}", secret(&key.secret)?.expose()))?;
        }
        let facts = self.facts(slot, now_us);
        if let Some(Timestamp { name, .. }) = &slot.timestamp {
            self.set_header(name, &facts.timestamp)?;
        }
        if let Some(BodyDigest { name: Some(name), prefix, .. }) = &slot.body_digest {
            self.set_header(name, &format!("{}{}", prefix.as_deref().unwrap_or_default(), facts.body_digest))?;
        }
        let mut parts = Vec::with_capacity(slot.signs.len());
        for part in &slot.signs {
            parts.push(self.part(part, &facts, secret)?);
        }
        let signature = mac(slot.algorithm, &key, &parts).map(|mac| encoded(&mac, slot.encoding));
        let signature = signature.ok_or_else(|| invalid("the secret cannot be a key"))?;
        self.add_secret_header(&slot.name, &format!("{}{signature}", slot.prefix.as_deref().unwrap_or_default()))?;
        Ok(Secret::new(signature))
    }

    fn facts(&self, slot: &HmacSignature, now_us: i64) -> Facts {
        let body = self.body.as_deref().unwrap_or_default();
        let timestamp = slot.timestamp.as_ref().map(|timestamp| time(timestamp.form, now_us));
        let digest = slot.body_digest.as_ref().map(|digest| encoded(&hash(digest.algorithm, body), digest.encoding));
        Facts { timestamp: timestamp.unwrap_or_default(), body_digest: digest.unwrap_or_default() }
    }

    fn part<'a>(&'a self, part: &'a SignedPart, facts: &'a Facts, secret: SecretByName<'_>) -> Result<Cow<'a, [u8]>, HttpError> {
        let url = &self.url;
        let text = match part {
            SignedPart::Method => self.method.as_str(),
            SignedPart::Url => url.as_str(),
            SignedPart::Host => &url[Position::BeforeHost..Position::AfterPort],
            SignedPart::Path => url.path(),
            SignedPart::Query => url.query().unwrap_or_default(),
            SignedPart::PathAndQuery => &url[Position::BeforePath..Position::AfterQuery],
            SignedPart::Timestamp => &facts.timestamp,
            SignedPart::BodyDigest => &facts.body_digest,
            SignedPart::Text(text) => text,
            SignedPart::Body => return Ok(Cow::Borrowed(self.body.as_deref().unwrap_or_default())),
            SignedPart::Header(name) => {
                return Ok(Cow::Borrowed(self.headers.get(name.as_str()).map_or(&[], |value| value.as_bytes())));
            }
            SignedPart::Secret(name) => return Ok(Cow::Owned(secret(name)?.expose().as_bytes().to_vec())),
        };
        Ok(Cow::Borrowed(text.as_bytes()))
    }
}

fn key_bytes(secret: &str, form: SecretForm) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let (bytes, what) = match form {
        SecretForm::Text => (Some(secret.as_bytes().to_vec()), "text"),
        SecretForm::Hex => (from_hex(secret), "hex"),
        SecretForm::Base64 => (BASE64.decode(secret).ok(), "base64"),
    };
    bytes.map(Zeroizing::new).ok_or_else(|| invalid(&format!("the secret that requests are signed with is no {what}")))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

fn mac(algorithm: HashAlgorithm, key: &[u8], parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
    fn keyed<M: Mac + KeyInit>(key: &[u8], parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac.finalize().into_bytes().to_vec())
    }
    match algorithm {
        HashAlgorithm::Sha1 => keyed::<Hmac<Sha1>>(key, parts),
        HashAlgorithm::Sha256 => keyed::<Hmac<Sha256>>(key, parts),
        HashAlgorithm::Sha512 => keyed::<Hmac<Sha512>>(key, parts),
    }
}

fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        HashAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
        HashAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

fn encoded(bytes: &[u8], encoding: BinaryEncoding) -> String {
    match encoding {
        BinaryEncoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        BinaryEncoding::Base64 => STANDARD.encode(bytes),
    }
}

fn time(form: TimestampForm, now_us: i64) -> String {
    let seconds = now_us.div_euclid(1_000_000);
    match form {
        TimestampForm::Seconds => seconds.to_string(),
        TimestampForm::Milliseconds => now_us.div_euclid(1_000).to_string(),
        TimestampForm::Rfc3339 => crate::codec::print_seconds(now_us),
        TimestampForm::HttpDate => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bindings::affluent::plugin::http::Request;

    /// Sun, 06 Nov 1994 08:49:37.5 GMT.
    const NOW_US: i64 = 784_111_777_500_000;
    const BODY: &str = r#"{"name":"Ada"}"#;

    fn signed(slot: &Value, body: Option<&str>) -> Result<Outgoing, HttpError> {
        let slot: HmacSignature = serde_json::from_value(slot.clone()).unwrap();
        let mut outgoing = Outgoing::check(Request {
            method: "POST".to_owned(),
            url: "https://api.test:8443/v1/items?b=2&a=%20x#fragment".to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned()), ("X-Time".to_owned(), "forged".to_owned())],
            body: body.map(|body| body.as_bytes().to_vec()),
            auth: None,
            timeout_ms: None,
            cost: None,
            retry_safe: true,
        })?;
        let secret = |name: &str| match name {
            "jefe" => Ok("Jefe"),
            "key" => Ok("s3cret key"),
            "hex" => Ok("00ff10"),
            "base64" => Ok("c2VjcmV0IGJ5dGVzIQ"),
            "id" => Ok("id-1"),
            _ => Err(HttpError::Denied("no such secret".to_owned())),
        };
        let secret = |name: &str| secret(name).map(|secret| Arc::new(Secret::new(secret.to_owned())));
        outgoing.sign(&slot, NOW_US, &secret)?;
        Ok(outgoing)
    }

    /// The first three are of RFC 4231 §4.3 and RFC 2202 §3; the others were worked out with Python's `hmac` and `hashlib`.
    #[test]
    fn signatures_are_those_of_other_implementations() {
        let jefe = [json!({"text": "what do ya want "}), json!({"text": "for nothing?"})];
        let cases = [
            (
                json!({"secret": "jefe", "signs": jefe}),
                vec![("x-sign", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")],
            ),
            (
                json!({"secret": "jefe", "signs": jefe, "algorithm": "sha512"}),
                vec![(
                    "x-sign",
                    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
                )],
            ),
            (
                json!({"secret": "jefe", "signs": jefe, "algorithm": "sha1"}),
                vec![("x-sign", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")],
            ),
            (
                json!({"secret": "key", "signs": ["body"], "prefix": "sha256="}),
                vec![("x-sign", "sha256=9a818f011c2b0801515312fa80b08f5bf5bc1df8b96df4016e36be5d34808850")],
            ),
            (
                json!({"secret": "key", "algorithm": "sha512", "encoding": "base64", "timestamp": {"name": "X-Time", "form": "milliseconds"},
                    "signs": ["timestamp", {"text": "\n"}, "method", {"text": "\n"}, "path_and_query", {"text": "\n"}, "body"]}),
                vec![
                    ("x-time", "784111777500"),
                    ("x-sign", "1VOjrOPHsdNsfdeYEzrvPRLvbGCBh1d+XsqMQ+uT/1AYOmZOVPkc7uykt+dTMCh1LSaVtX/Z5gw5djtKrvgDZw=="),
                ],
            ),
            (
                json!({"secret": "hex", "secret_form": "hex", "algorithm": "sha1", "timestamp": {"name": "X-Time", "form": "rfc3339"},
                    "body_digest": {"encoding": "base64", "name": "Digest", "prefix": "SHA-256="}, "key": {"name": "X-Key", "secret": "id"},
                    "signs": ["timestamp", "host", "path", "query", {"header": "content-type"}, {"header": "x-absent"}, "body_digest"]}),
                vec![
                    ("x-time", "1994-11-06T08:49:37Z"),
                    ("digest", "SHA-256=iLq22PbcaKh3Bk1YTLtbbFDnT2F+pQ2B06U8Lub/vE8="),
                    ("x-key", "id-1"),
                    ("x-sign", "5e965fec26d9437c855cc64cdc20f6ce3305917c"),
                ],
            ),
            (
                json!({"secret": "base64", "secret_form": "base64", "timestamp": {"name": "X-Time", "form": "http_date"},
                    "signs": ["method", "url", "timestamp", {"secret": "id"}]}),
                vec![
                    ("x-time", "Sun, 06 Nov 1994 08:49:37 GMT"),
                    ("x-sign", "da1864fe5738d3ba92c978d3d1fd3fb43804806ca4a8ef06e74b2c538f314095"),
                ],
            ),
        ];
        for (mut slot, expected) in cases {
            slot["name"] = json!("X-Sign");
            let outgoing = signed(&slot, Some(BODY)).unwrap();
            for (name, value) in expected {
                assert_eq!(outgoing.headers[name], value, "{slot}");
            }
        }
    }

    #[test]
    fn a_request_without_a_body_is_signed_as_an_empty_one() {
        let outgoing = signed(&json!({"secret": "key", "name": "X-Sign", "signs": ["body"]}), None).unwrap();

        assert_eq!(outgoing.headers["x-sign"], "2137e6dfe39a6707df273983bb8195bae33b3d053008f0a89f93af154a474863");
    }

    #[test]
    fn a_secret_of_another_form_sends_nothing_and_is_not_shown() {
        for (secret, form) in [("key", "hex"), ("key", "base64"), ("other", "text")] {
            let slot = json!({"secret": secret, "secret_form": form, "name": "X-Sign", "signs": ["body"]});

            let refused = format!("{:?}", signed(&slot, None).unwrap_err());

            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
