//! Requests signed by HMAC (RFC 2104): what is signed, with what, and where the signature goes. The host does it at the
//! last moment, on the request as it leaves, personal values in their places.

use serde::{Deserialize, Serialize};

use super::AuthSlot;

/// A signature over parts of the request, in a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryEncoding {
    /// Lower case.
    #[default]
    Hex,
    /// The standard alphabet, padded.
    Base64,
}

/// A piece of what is signed: a word, or a map of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Header that the host writes it to.
    pub name: String,
    /// How it is written, in the header and in what is signed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub form: TimestampForm,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// SHA-256 in hex, in the header `name`, over `signs` one after the other; the secret's text is the key.
    ///
    /// ```
    /// use affluent_sdk::manifest::{HmacSignature, SignedPart, TimestampForm};
    /// use affluent_sdk::{Manifest, PluginKind};
    ///
    /// #[derive(schemars::JsonSchema)]
    /// struct Config {}
    ///
    /// let newline = SignedPart::Text("\n".to_owned());
    /// let signs = [SignedPart::Timestamp, newline.clone(), SignedPart::Method, newline, SignedPart::PathAndQuery, SignedPart::Body];
    /// let signature = HmacSignature::new("X-Signature", "signing_key", signs)
    ///     .timestamp("X-Timestamp", TimestampForm::Milliseconds)
    ///     .key("X-Api-Key", "key_id");
    /// let manifest = Manifest::new::<Config>("shop", "0.1.0", [PluginKind::Source])
    ///     .host("api.example.org", &[])
    ///     .secret("signing_key", "Signing key, from the shop's settings", &[])
    ///     .secret("key_id", "Id of the signing key", &[])
    ///     .auth("signed", signature);
    /// assert!(manifest.auth.contains_key("signed"));
    /// ```
    pub fn new(name: &str, secret: &str, signs: impl IntoIterator<Item = SignedPart>) -> Self {
        Self {
            secret: secret.to_owned(),
            secret_form: SecretForm::default(),
            algorithm: HashAlgorithm::default(),
            encoding: BinaryEncoding::default(),
            name: name.to_owned(),
            prefix: None,
            signs: signs.into_iter().collect(),
            timestamp: None,
            body_digest: None,
            key: None,
        }
    }

    /// Another hash than SHA-256.
    #[must_use]
    pub fn algorithm(mut self, algorithm: HashAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Another encoding of the signature than hex.
    #[must_use]
    pub fn encoding(mut self, encoding: BinaryEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How users write the secret, where its text is not the key itself.
    #[must_use]
    pub fn secret_form(mut self, form: SecretForm) -> Self {
        self.secret_form = form;
        self
    }

    /// Text before the signature: `sha256=`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// The header in which the time of signing goes along; signed where `signs` has [`SignedPart::Timestamp`].
    #[must_use]
    pub fn timestamp(mut self, name: &str, form: TimestampForm) -> Self {
        self.timestamp = Some(Timestamp { name: name.to_owned(), form });
        self
    }

    /// A digest of the body; signed where `signs` has [`SignedPart::BodyDigest`].
    #[must_use]
    pub fn body_digest(mut self, digest: BodyDigest) -> Self {
        self.body_digest = Some(digest);
        self
    }

    /// The header in which another secret goes along as it is: the id of the key.
    #[must_use]
    pub fn key(mut self, name: &str, secret: &str) -> Self {
        self.key = Some(KeyHeader { name: name.to_owned(), prefix: None, secret: secret.to_owned() });
        self
    }
}

impl From<HmacSignature> for AuthSlot {
    fn from(signature: HmacSignature) -> Self {
        Self::Hmac(signature)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
