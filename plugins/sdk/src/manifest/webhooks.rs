//! Webhooks: the requests by which a service tells that something changed, how it signs them, and which of them ask something
//! of a person. The host verifies them; the plugin sees nothing of them and reads what changed.

use serde::{Deserialize, Serialize};

use super::{BinaryEncoding, HmacSignature, SignedPart, TimestampForm};

/// What a service signs of its webhooks, and what it asks by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks {
    /// The signature that each of them carries. Its `url` is the address that the service was given.
    pub signature: HmacSignature,
    /// Seconds that the time of signing may differ from the receiver's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
    /// Characters that are signed as they are where the address has them percent-encoded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url_unescaped: String,
    /// Those that tell no news but ask something that a person answers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<WebhookRequests>,
}

/// Webhooks that ask for something: to erase somebody, to tell what is held of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRequests {
    /// Header that says what is asked.
    pub header: String,
    /// What it says then.
    pub topics: Vec<String>,
    /// Where the body, JSON, has the id of whom it is about (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Days within which the service wants an answer; 30 where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u16>,
}

impl Webhooks {
    /// Signed so. Where the time is signed, say with [`Webhooks::max_age_s`] when it is too old.
    ///
    /// ```
    /// use affluent_sdk::manifest::{HmacSignature, SignedPart, TimestampForm, Webhooks};
    /// use affluent_sdk::{Manifest, PluginKind};
    ///
    /// #[derive(schemars::JsonSchema)]
    /// struct Config {}
    ///
    /// let signature = HmacSignature::new("X-Signature", "webhook_secret", [SignedPart::Timestamp, SignedPart::Body])
    ///     .timestamp("X-Timestamp", TimestampForm::Seconds);
    /// let manifest = Manifest::new::<Config>("shop", "0.1.0", [PluginKind::Source])
    ///     .webhooks(Webhooks::signed(signature).max_age_s(300));
    /// assert!(manifest.secrets[0].optional);
    /// ```
    pub fn signed(signature: HmacSignature) -> Self {
        Self { signature, max_age_s: None, url_unescaped: String::new(), requests: None }
    }

    /// Signed by SHA-256 in base64 over the body alone, in this header.
    pub fn of_body(header: &str, secret: &str) -> Self {
        Self::signed(HmacSignature::new(header, secret, [SignedPart::Body]).encoding(BinaryEncoding::Base64))
    }

    /// Signed by SHA-256 in base64, in the first header, over method, address, body and the milliseconds in the second.
    pub fn of_request(header: &str, secret: &str, time: &str) -> Self {
        let signs = [SignedPart::Method, SignedPart::Url, SignedPart::Body, SignedPart::Timestamp];
        let signature = HmacSignature::new(header, secret, signs).encoding(BinaryEncoding::Base64);
        Self::signed(signature.timestamp(time, TimestampForm::Milliseconds))
    }

    /// Seconds that the time of signing may differ from the receiver's clock.
    #[must_use]
    pub fn max_age_s(mut self, seconds: u32) -> Self {
        self.max_age_s = Some(seconds);
        self
    }

    /// Characters that are signed as they are where the address has them percent-encoded: `:/?`.
    #[must_use]
    pub fn url_unescaped(mut self, characters: &str) -> Self {
        characters.clone_into(&mut self.url_unescaped);
        self
    }

    /// Topics of a header that ask something of a person, and where the body has the id of whom it is about.
    #[must_use]
    pub fn requests(mut self, header: &str, topics: &[&str], about: &str) -> Self {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let about = Some(about.to_owned());
        self.requests = Some(WebhookRequests { header: header.to_owned(), topics, about, within_days: None });
        self
    }

    /// Days within which the service wants an answer to those requests, from 1.
    #[must_use]
    pub fn within_days(mut self, days: u16) -> Self {
        if let Some(requests) = &mut self.requests {
            requests.within_days = Some(days);
        }
        self
    }
}
