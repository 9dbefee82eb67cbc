//! What HMAC signatures are made of (RFC 2104): the parts of a request one after the other, as a manifest lists them. The same
//! for requests that the host signs and for those that it verifies.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use affluent_model::manifest::{BinaryEncoding, HashAlgorithm, HmacSignature, SecretForm, SignedPart, TimestampForm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use url::{Position, Url};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The texts of a URL that can be signed.
#[derive(Default)]
pub(crate) struct UrlTexts<'a> {
    pub(crate) whole: Cow<'a, str>,
    pub(crate) host: Cow<'a, str>,
    pub(crate) path: Cow<'a, str>,
    pub(crate) query: Cow<'a, str>,
    pub(crate) path_and_query: Cow<'a, str>,
}

impl<'a> UrlTexts<'a> {
    pub(crate) fn of(url: &'a Url) -> Self {
        Self {
            whole: url.as_str().into(),
            host: url[Position::BeforeHost..Position::AfterPort].into(),
            path: url.path().into(),
            query: url.query().unwrap_or_default().into(),
            path_and_query: url[Position::BeforePath..Position::AfterQuery].into(),
        }
    }
}

/// A request as it is signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: UrlTexts<'a>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// As it is written in its header.
    pub(crate) timestamp: &'a str,
}

/// Gives a secret by its name.
pub(crate) type SecretByName<'a, E> = &'a dyn Fn(&str) -> Result<Arc<Secret>, E>;

impl Signed<'_> {
    /// The bytes of what is signed, part by part.
    ///
    /// # Errors
    /// Those of `secret`.
    pub(crate) fn parts<E>(&self, slot: &HmacSignature, secret: SecretByName<'_, E>) -> Result<Vec<Cow<'_, [u8]>>, E> {
        let mut parts = Vec::with_capacity(slot.signs.len());
        for part in &slot.signs {
            parts.push(match part {
                SignedPart::Secret(name) => Cow::Owned(secret(name)?.expose().as_bytes().to_vec()),
                SignedPart::Text(text) => Cow::Owned(text.as_bytes().to_vec()),
                part => self.part(part, slot),
            });
        }
        Ok(parts)
    }

    fn part(&self, part: &SignedPart, slot: &HmacSignature) -> Cow<'_, [u8]> {
        let text = match part {
            SignedPart::Method => self.method,
            SignedPart::Url => &self.url.whole,
            SignedPart::Host => &self.url.host,
            SignedPart::Path => &self.url.path,
            SignedPart::Query => &self.url.query,
            SignedPart::PathAndQuery => &self.url.path_and_query,
            SignedPart::Timestamp => self.timestamp,
            SignedPart::BodyDigest => return Cow::Owned(self.body_digest(slot).into_bytes()),
            SignedPart::Body => return Cow::Borrowed(self.body),
            SignedPart::Header(name) => {
                return Cow::Borrowed(self.headers.get(name.as_str()).map_or(&[], |value| value.as_bytes()));
            }
            SignedPart::Text(_) | SignedPart::Secret(_) => "",
        };
        Cow::Borrowed(text.as_bytes())
    }

    /// The digest of the body as the manifest writes it; nothing where it asks for none.
    pub(crate) fn body_digest(&self, slot: &HmacSignature) -> String {
        slot.body_digest.as_ref().map(|digest| encoded(&hash(digest.algorithm, self.body), digest.encoding)).unwrap_or_default()
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key that a secret stands for.
///
/// # Errors
/// What it is not: `hex`, `base64`.
pub(crate) fn key_bytes(secret: &str, form: SecretForm) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let (bytes, what) = match form {
        SecretForm::Text => (Some(secret.as_bytes().to_vec()), "text"),
        SecretForm::Hex => (from_hex(secret), "hex"),
        SecretForm::Base64 => (BASE64.decode(secret).ok(), "base64"),
    };
    bytes.map(Zeroizing::new).ok_or(what)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// The HMAC over the parts; `None` for a key that HMAC does not take.
pub(crate) fn mac(algorithm: HashAlgorithm, key: &[u8], parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
    fn bytes<M: Mac + KeyInit>(key: &[u8], parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
        Some(keyed::<M>(key, parts)?.finalize().into_bytes().to_vec())
    }
    match algorithm {
        HashAlgorithm::Sha1 => bytes::<Hmac<Sha1>>(key, parts),
        HashAlgorithm::Sha256 => bytes::<Hmac<Sha256>>(key, parts),
        HashAlgorithm::Sha512 => bytes::<Hmac<Sha512>>(key, parts),
    }
}

/// Whether these bytes are the HMAC over the parts; takes as long for one that differs early as for one that differs late.
pub(crate) fn is_mac(algorithm: HashAlgorithm, key: &[u8], parts: &[Cow<'_, [u8]>], given: &[u8]) -> bool {
    fn is<M: Mac + KeyInit>(key: &[u8], parts: &[Cow<'_, [u8]>], given: &[u8]) -> bool {
        keyed::<M>(key, parts).is_some_and(|mac| mac.verify_slice(given).is_ok())
    }
    match algorithm {
        HashAlgorithm::Sha1 => is::<Hmac<Sha1>>(key, parts, given),
        HashAlgorithm::Sha256 => is::<Hmac<Sha256>>(key, parts, given),
        HashAlgorithm::Sha512 => is::<Hmac<Sha512>>(key, parts, given),
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], parts: &[Cow<'_, [u8]>]) -> Option<M> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        HashAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
        HashAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

pub(crate) fn encoded(bytes: &[u8], encoding: BinaryEncoding) -> String {
    match encoding {
        BinaryEncoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        BinaryEncoding::Base64 => STANDARD.encode(bytes),
    }
}

/// The bytes that a text of this encoding stands for.
pub(crate) fn decoded(text: &str, encoding: BinaryEncoding) -> Option<Vec<u8>> {
    match encoding {
        BinaryEncoding::Hex => from_hex(text),
        BinaryEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}

pub(crate) fn time(form: TimestampForm, now_us: i64) -> String {
    let seconds = now_us.div_euclid(1_000_000);
    match form {
        TimestampForm::Seconds => seconds.to_string(),
        TimestampForm::Milliseconds => now_us.div_euclid(1_000).to_string(),
        TimestampForm::Rfc3339 => crate::codec::print_seconds(now_us),
        TimestampForm::HttpDate => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
    }
}
