//! Assertions (RFC 7523): a JWT that the host signs with a key which never leaves it. The key is read where it is used and
//! forgotten; a key that cannot sign is a mistake of the configuration, told without a word of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;

/// How long one is good. Services allow three minutes (Salesforce) to an hour, some no more than this one.
const LIFETIME: Duration = Duration::from_secs(60);
/// RFC 7518 §3.1: RSASSA-PKCS1-v1_5 with SHA-256, which every service of this grant takes.
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

/// What an assertion says (RFC 7523 §3).
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) audience: &'a str,
    pub(super) now_us: i64,
}

/// Why a secret is no key that can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyMistake {
    NoPem,
    Public,
    Encrypted,
    OpenSsh,
    OtherAlgorithm,
    Unusable,
}

impl KeyMistake {
    /// What it is instead, and what to do.
    pub(super) fn told(self) -> (&'static str, &'static str) {
        const MAKE: &str = "make a key with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`, and give the service its certificate";
        const CONVERT: &str = "write it without a password as PKCS#8: `openssl pkey -in key.pem -out plain.pem`";
        match self {
            Self::NoPem => (
                "holds no key in PEM",
                "give the whole file, from `-----BEGIN PRIVATE KEY-----` to its end, line breaks as they are",
            ),
            Self::Public => ("is a certificate or a public key", "give the private key that belongs to it"),
            Self::Encrypted => ("is encrypted with a password", CONVERT),
            Self::OpenSsh => ("is in the form of OpenSSH", "write it as PEM: `ssh-keygen -p -m PKCS8 -f key`"),
            Self::OtherAlgorithm => ("is no RSA key", MAKE),
            Self::Unusable => ("is damaged, or has fewer than 2,048 or more than 4,096 bits", MAKE),
        }
    }
}

/// An assertion, signed.
///
/// # Errors
/// [`KeyMistake`] when the secret is no key for it.
pub(super) fn sign(key: &Secret, claims: &Claims<'_>) -> Result<Secret, KeyMistake> {
    let now = claims.now_us.div_euclid(1_000_000);
    let expires = now.saturating_add(i64::try_from(LIFETIME.as_secs()).unwrap_or(0));
    let said = serde_json::json!({
        "iss": claims.issuer, "sub": claims.subject, "aud": claims.audience, "iat": now, "exp": expires,
    });
    let mut signed = Zeroizing::new(URL_SAFE_NO_PAD.encode(HEADER));
    signed.push('.');
    URL_SAFE_NO_PAD.encode_string(said.to_string(), &mut signed);
    let signature = signature(key, signed.as_bytes())?;
    signed.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signed);
    Ok(Secret::new(std::mem::take(&mut *signed)))
}

fn signature(key: &Secret, message: &[u8]) -> Result<Vec<u8>, KeyMistake> {
    let mut der = read(key.expose())?;
    let signer = any_supported_type(&der);
    der.zeroize();
    let signer = signer.map_err(|_| KeyMistake::Unusable)?.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
    signer.ok_or(KeyMistake::OtherAlgorithm)?.sign(message).map_err(|_| KeyMistake::Unusable)
}

fn read(pem: &str) -> Result<PrivateKeyDer<'static>, KeyMistake> {
    let has = |label: &str| pem.contains(&format!("-----BEGIN {label}-----"));
    // PKCS#1 says it in a line below.
    if has("ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyMistake::Encrypted);
    }
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(PrivateKeyDer::Sec1(_)) => Err(KeyMistake::OtherAlgorithm),
        Ok(der) => Ok(der),
        Err(_) if has("PRIVATE KEY") || has("RSA PRIVATE KEY") => Err(KeyMistake::Unusable),
        Err(_) if has("OPENSSH PRIVATE KEY") => Err(KeyMistake::OpenSsh),
        Err(_) if has("CERTIFICATE") || has("PUBLIC KEY") => Err(KeyMistake::Public),
        Err(_) => Err(KeyMistake::NoPem),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::keys::{self, claims_of};
    use super::*;

    const CLAIMS: Claims<'_> =
        Claims { issuer: "id", subject: "me@acme.test", audience: "https://login.test", now_us: 1_700_000_000_900_000 };

    #[test]
    fn an_assertion_says_who_acts_for_whom_and_is_signed_by_the_key_in_either_form() {
        for pem in [keys::RSA, keys::RSA_PKCS1] {
            let assertion = sign(&Secret::new(pem.to_owned()), &CLAIMS).unwrap();

            let claims = claims_of(assertion.expose());

            let expected = serde_json::json!({"iss": "id", "sub": "me@acme.test", "aud": "https://login.test",
                "iat": 1_700_000_000, "exp": 1_700_000_060});
            assert_eq!(claims, Some(expected));
        }
    }

    #[test]
    fn an_assertion_that_was_touched_or_signed_by_another_key_is_none() {
        let assertion = sign(&Secret::new(keys::RSA.to_owned()), &CLAIMS).unwrap().expose().to_owned();
        let parts: Vec<&str> = assertion.split('.').collect();
        let others = Claims { subject: "you@acme.test", ..CLAIMS };
        let other = sign(&Secret::new(keys::RSA.to_owned()), &others).unwrap().expose().to_owned();

        let forged = [parts[0], other.split('.').nth(1).unwrap(), parts[2]].join(".");

        assert!(claims_of(&assertion).is_some() && claims_of(&forged).is_none());
    }

    #[test]
    fn a_secret_that_cannot_sign_is_told_by_what_it_is_and_nothing_of_it() {
        let half = keys::RSA.get(..400).unwrap();
        let garbled = keys::RSA.replace("MII", "AAA");
        let one_line = keys::RSA.replace('\n', " ");
        let locked =
            keys::RSA_PKCS1.replace("KEY-----\nMII", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMII");
        for (pem, expected) in [
            ("", KeyMistake::NoPem),
            ("hunter2", KeyMistake::NoPem),
            (keys::CERTIFICATE, KeyMistake::Public),
            (keys::PUBLIC, KeyMistake::Public),
            (keys::ENCRYPTED, KeyMistake::Encrypted),
            (&locked, KeyMistake::Encrypted),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----", KeyMistake::OpenSsh),
            (keys::EC, KeyMistake::OtherAlgorithm),
            (keys::SHORT, KeyMistake::Unusable),
            (half, KeyMistake::Unusable),
            (&garbled, KeyMistake::Unusable),
            (&one_line, KeyMistake::Unusable),
        ] {
            let found = sign(&Secret::new(pem.to_owned()), &CLAIMS).err();

            assert_eq!(found, Some(expected), "{:?}", pem.get(..30));
        }
    }
}
