//! What a service does with an assertion (RFC 7523): it looks whether its client's key signed it, and reads what it says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use serde_json::Value;

/// Made for tests by `openssl`; nothing else uses it.
pub(crate) const SIGNING_KEY: &str = include_str!("../../runtime/host/src/egress/oauth/tests/keys/rsa.pem");
/// What the service was given (PKCS#1 `RSAPublicKey`).
const PUBLIC: &[u8] = include_bytes!("../../runtime/host/src/egress/oauth/tests/keys/rsa_public.der");

/// The claims of an assertion that the key signed by RS256; `None` for any other text.
pub(crate) fn claims_of(assertion: &str) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let provider = default_provider();
    let mut schemes = provider.signature_verification_algorithms.mapping.iter();
    let (_, algorithms) = schemes.find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)?;
    algorithms.first()?.verify_signature(PUBLIC, signed.as_bytes(), &part(signature)?).ok()?;
    serde_json::from_slice(&part(signed.split_once('.')?.1)?).ok()
}
