//! Webhooks: the requests by which a service tells that something changed, how it signs them, and which of them a person has
//! to act on. A webhook says that there is news, never what it is: the news is read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signature::{HmacSignature, SignedPart};
use super::{Manifest, auth};
use crate::limits::WEBHOOK_AGE_S_MAX;
use crate::plan::Connection;

/// What a service signs of its webhooks, and what it asks by them. Its secret is one that connections may leave out: without
/// it they take no webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// The signature that each of them carries. Its `url` is the address that the service was given.
    pub signature: HmacSignature,
    /// Seconds that the time of signing may differ from the receiver's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
    /// Characters that are signed as they are where the address has them percent-encoded: `:/?`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url_unescaped: String,
    /// Those that tell no news but ask something that a person answers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<WebhookRequests>,
}

/// Webhooks that ask for something: to erase somebody, to tell what is held of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequests {
    /// Header that says what is asked.
    pub header: String,
    /// What it says then: `customers/redact`.
    pub topics: Vec<String>,
    /// Where the body, JSON, has the id of whom it is about (RFC 6901): `/customer/id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Days within which the service wants an answer; 30 where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u16>,
}

impl Webhooks {
    /// Whether the address that the service was given is part of what it signs.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        use SignedPart::{Host, Path, PathAndQuery, Query, Url};
        self.signature.signs.iter().any(|part| matches!(part, Url | Host | Path | Query | PathAndQuery))
    }

    fn mistakes(&self) -> Vec<String> {
        let mut found = self.signature.mistakes();
        let signs = |part: &SignedPart| self.signature.signs.contains(part);
        if !signs(&SignedPart::Body) && !signs(&SignedPart::BodyDigest) {
            found.push("`signs` has neither `body` nor `body_digest`: anybody could change what is said".to_owned());
        }
        if self.signature.key.is_some() {
            found.push("`key` is for requests that the host sends: remove it".to_owned());
        }
        match (&self.signature.timestamp, self.max_age_s) {
            (Some(_), None) => found.push("the time is signed, and nothing says how old it may be: add `max_age_s`".to_owned()),
            (None, Some(_)) => found.push("`max_age_s` without `timestamp`: nothing tells the age".to_owned()),
            (Some(_), Some(age)) if !(1..=WEBHOOK_AGE_S_MAX).contains(&age) => {
                found.push(format!("`max_age_s` is {age}: it must be from 1 to {WEBHOOK_AGE_S_MAX}"));
            }
            _ => {}
        }
        if self.signature.timestamp.is_some() && !signs(&SignedPart::Timestamp) {
            found.push("`timestamp` is not among `signs`: anybody could change the time".to_owned());
        }
        if !self.url_unescaped.is_ascii() || self.url_unescaped.contains('%') {
            found.push("`url_unescaped` has characters other than ASCII, or `%`: remove them".to_owned());
        }
        if let Some(requests) = &self.requests {
            found.extend(auth::header_mistake("requests.header", &requests.header));
            if requests.within_days == Some(0) {
                found.push("`requests.within_days` is 0: nobody answers before it is asked".to_owned());
            }
        }
        found
    }
}

impl Manifest {
    /// The webhooks that a connection takes: those of the plugin, where the connection gives what they are verified by, the secret
    /// and, where it is signed, the address.
    #[must_use]
    pub fn webhooks_of(&self, connection: &Connection) -> Option<&Webhooks> {
        let has_secret = |webhooks: &Webhooks| connection.secrets.contains_key(&webhooks.signature.secret);
        let has_address = |webhooks: &Webhooks| connection.webhook_url.is_some() || !webhooks.signs_url();
        self.webhooks.as_ref().filter(|webhooks| has_secret(webhooks) && has_address(webhooks))
    }

    /// Whether a connection gives a secret that webhooks alone need, without the address that is signed with it.
    #[must_use]
    pub fn lacks_webhook_url(&self, connection: &Connection) -> bool {
        self.webhooks.as_ref().is_some_and(|webhooks| {
            let secret = webhooks.signature.secret.as_str();
            let is_of_webhooks = !self.auth.values().any(|slot| slot.secrets().contains(&secret));
            is_of_webhooks && webhooks.signs_url() && connection.secrets.contains_key(secret) && connection.webhook_url.is_none()
        })
    }

    /// Every mistake in the webhooks, with what to do; empty when they can be verified.
    #[must_use]
    pub fn webhook_mistakes(&self) -> Vec<String> {
        let Some(webhooks) = &self.webhooks else { return Vec::new() };
        let is_declared = |secret: &str| self.secrets.iter().any(|declared| declared.name == secret);
        let undeclared = webhooks.signature.secrets().into_iter().filter(|secret| !is_declared(secret));
        let undeclared = undeclared.map(|secret| format!("the secret `{secret}` is not declared: add it to `secrets`"));
        undeclared.chain(webhooks.mistakes()).map(|mistake| format!("webhooks: {mistake}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mistakes(changes: &Value, signature: &Value) -> Vec<String> {
        let mut signed =
            json!({"secret": "key", "name": "X-Sign", "signs": ["url", "body", "timestamp"], "timestamp": {"name": "X-Time"}});
        signed.as_object_mut().unwrap().extend(signature.as_object().unwrap().clone());
        let mut webhooks = json!({"signature": signed, "max_age_s": 300});
        webhooks.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let manifest = json!({"manifest_version": 1, "name": "p", "version": "1.0.0", "kinds": ["source"], "config_schema": {},
            "secrets": [{"name": "key", "optional": true}], "webhooks": webhooks});
        serde_json::from_value::<Manifest>(manifest).unwrap().webhook_mistakes()
    }

    #[test]
    fn webhooks_that_could_be_forged_are_told_with_all_mistakes() {
        let none = json!({});
        let cases: [(Value, Value, &[&str]); 11] = [
            (none.clone(), none.clone(), &[]),
            (json!({"max_age_s": null}), json!({"signs": ["body"], "timestamp": null}), &[]),
            (
                json!({"requests": {"header": "X-Topic", "topics": ["erase"], "about": "/id", "within_days": 45}}),
                none.clone(),
                &[],
            ),
            (json!({"requests": {"header": "X-Topic", "topics": [], "within_days": 0}}), none.clone(), &["is 0"]),
            (none.clone(), json!({"secret": "other"}), &["`other` is not declared"]),
            (none.clone(), json!({"signs": ["url", "timestamp"]}), &["neither `body` nor `body_digest`"]),
            (none.clone(), json!({"signs": ["body"]}), &["`timestamp` is not among `signs`"]),
            (json!({"max_age_s": null}), none.clone(), &["add `max_age_s`"]),
            (json!({"max_age_s": 0}), none.clone(), &["from 1 to"]),
            (none, json!({"signs": ["body"], "timestamp": null}), &["nothing tells the age"]),
            (
                json!({"url_unescaped": "%", "requests": {"header": "X Topic", "topics": []}}),
                json!({"key": {"name": "X-Key", "secret": "key"}}),
                &["`key` is for requests that the host sends", "or `%`", "no header can be called"],
            ),
        ];
        for (changes, signature, expected) in cases {
            let found = mistakes(&changes, &signature);
            let is_told = found.iter().zip(expected).all(|(found, expected)| found.contains(expected));
            assert!(found.len() == expected.len() && is_told, "{changes} {signature}: {found:?}");
        }
    }
}
