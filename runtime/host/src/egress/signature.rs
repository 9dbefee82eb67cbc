//! Signs a request by HMAC as its auth slot says. It is the last thing done to a request: what is signed is what leaves,
//! with personal values in the place of their tokens. A repeated or redirected request is signed anew.

use affluent_model::manifest::{BodyDigest, HmacSignature, Timestamp};

use super::request::{Outgoing, invalid};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::secret::Secret;
use crate::signing::{self, Signed, UrlTexts, encoded, key_bytes, mac};

/// Gives a secret that the slot names.
pub(crate) type SecretByName<'a> = signing::SecretByName<'a, HttpError>;

impl Outgoing {
    /// Adds the signature and the headers that go with it; gives the signature, so that it is blotted out of the answer.
    ///
    /// # Errors
    /// Those of `secret`; `invalid` when the secret is not of the form that the slot says.
    pub(crate) fn sign(&mut self, slot: &HmacSignature, now_us: i64, secret: SecretByName<'_>) -> Result<Secret, HttpError> {
        let key = key_bytes(secret(&slot.secret)?.expose(), slot.secret_form)
            .map_err(|what| invalid(&format!("the secret that requests are signed with is no {what}")))?;
        if let Some(key) = &slot.key {
            let prefix = key.prefix.as_deref().unwrap_or_default();
            self.add_secret_header(&key.name, &format!("{prefix}{}", secret(&key.secret)?.expose()))?;
        }
        let timestamp = slot.timestamp.as_ref().map(|timestamp| signing::time(timestamp.form, now_us)).unwrap_or_default();
        if let Some(Timestamp { name, .. }) = &slot.timestamp {
            self.set_header(name, &timestamp)?;
        }
        if let Some(BodyDigest { name: Some(name), prefix, .. }) = &slot.body_digest {
            let digest = self.signed(&timestamp).body_digest(slot);
            self.set_header(name, &format!("{}{digest}", prefix.as_deref().unwrap_or_default()))?;
        }
        let signed = self.signed(&timestamp);
        let signature = mac(slot.algorithm, &key, &signed.parts(slot, secret)?).map(|mac| encoded(&mac, slot.encoding));
        let signature = signature.ok_or_else(|| invalid("the secret cannot be a key"))?;
        self.add_secret_header(&slot.name, &format!("{}{signature}", slot.prefix.as_deref().unwrap_or_default()))?;
        Ok(Secret::new(signature))
    }

    fn signed<'a>(&'a self, timestamp: &'a str) -> Signed<'a> {
        let (method, body) = (self.method.as_str(), self.body.as_deref().unwrap_or_default());
        Signed { method, url: UrlTexts::of(&self.url), headers: &self.headers, body, timestamp }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
