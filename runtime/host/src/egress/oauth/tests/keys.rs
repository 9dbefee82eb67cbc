//! Keys made for these tests by `openssl`, which nothing else uses, and what a service does with the public one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use serde_json::Value;

pub(in crate::egress::oauth) const RSA: &str = include_str!("keys/rsa.pem");
/// The same key in its older form.
pub(in crate::egress::oauth) const RSA_PKCS1: &str = include_str!("keys/rsa_pkcs1.pem");
pub(in crate::egress::oauth) const ENCRYPTED: &str = include_str!("keys/encrypted.pem");
pub(in crate::egress::oauth) const PUBLIC: &str = include_str!("keys/public.pem");
pub(in crate::egress::oauth) const CERTIFICATE: &str = include_str!("keys/certificate.pem");
/// Of a curve.
pub(in crate::egress::oauth) const EC: &str = include_str!("keys/ec.pem");
/// Of 1,024 bits.
pub(in crate::egress::oauth) const SHORT: &str = include_str!("keys/short.pem");
/// What the service was given (PKCS#1 `RSAPublicKey`).
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa_public.der");

/// The claims of an assertion that the key signed; `None` for any other text.
pub(in crate::egress::oauth) fn claims_of(assertion: &str) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: Value = serde_json::from_slice(&part(header)?).ok()?;
    let provider = default_provider();
    let mut schemes = provider.signature_verification_algorithms.mapping.iter();
    let (_, algorithms) = schemes.find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)?;
    let is_signed = algorithms.first()?.verify_signature(RSA_PUBLIC, signed.as_bytes(), &part(signature)?).is_ok();
    (is_signed && header["alg"] == "RS256").then(|| serde_json::from_slice(&part(claims)?).ok()).flatten()
}
