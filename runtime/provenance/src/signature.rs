//! Signatures of minisign: Ed25519 over the BLAKE2b hash of the bytes, detached, with a trusted comment that is signed
//! too. A signature of a plugin says for which name, version and digest it is, so that it cannot be put beside another.

use affluent_model::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest};

use crate::secret_key::SecretKey;

/// Ed25519 over the BLAKE2b hash; the form that hashes nothing before is not accepted.
const PREHASHED: &[u8; 2] = b"ED";

/// A verified signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Id of the key, 16 hex digits.
    pub key_id: String,
    pub comment: String,
}

/// What the trusted comment of a plugin's signature says.
#[must_use]
pub fn comment_for(name: &str, version: &str, digest: &str) -> String {
    format!("{name} {version} {digest}")
}

/// The id of a public key or of a detached signature, as minisign prints it; `None` when the text is neither.
#[must_use]
pub fn key_id(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.starts_with("untrusted comment:"))?;
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    matches!(bytes.len(), 42 | 74).then(|| format!("{:016X}", u64::from_le_bytes(id)))
}

/// Verifies a signature with whichever of these keys made it.
///
/// # Errors
/// `E0956` when none of the keys made it, `E0957` when it does not fit the bytes.
pub fn verify(bytes: &[u8], signature: &str, keys: &[String]) -> Result<Signature> {
    let broken = || {
        Error::configuration("E0957", "the signature is not one of minisign").help("sign it again with `affluent plugin sign`")
    };
    let decoded = minisign_verify::Signature::decode(signature).map_err(|_| broken())?;
    let id = key_id(signature).ok_or_else(broken)?;
    let Some(key) = keys.iter().find(|key| key_id(key).as_deref() == Some(id.as_str())) else {
        let message = format!("the signature is of the key {id}, which is not trusted");
        return Err(
            Error::configuration("E0956", message).help("if you know whose key it is, list it under `plugins: { trust: [RW…] }`")
        );
    };
    let key = minisign_verify::PublicKey::from_base64(key).map_err(|_| broken())?;
    key.verify(bytes, &decoded, false).map_err(|_| {
        Error::configuration("E0957", format!("the signature of the key {id} is not for these bytes"))
            .help("the file was changed after it was signed: do not use it; get it again from its author")
    })?;
    Ok(Signature { key_id: id, comment: decoded.trusted_comment().to_owned() })
}

/// Signs bytes; gives the text of the `.minisig` file.
///
/// # Errors
/// `E0965` when the key cannot be read or the passphrase is wrong.
pub fn sign(bytes: &[u8], secret: &str, passphrase: Option<&str>, comment: &str) -> Result<String> {
    let key = SecretKey::open(secret, passphrase)?;
    let signature = key.sign(&Blake2b512::digest(bytes))?;
    let global = key.sign(&[signature.as_slice(), comment.as_bytes()].concat())?;
    let body = [PREHASHED.as_slice(), &key.number, &signature].concat();
    let (body, global) = (STANDARD.encode(body), STANDARD.encode(global));
    Ok(format!("untrusted comment: signature from affluent\n{body}\ntrusted comment: {comment}\n{global}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_key::{NewKey, is_encrypted, new_key, public_key_of};

    #[test]
    fn a_signature_fits_its_bytes_its_key_and_nothing_else() {
        let (own, other) = (new_key(None).unwrap(), new_key(None).unwrap());
        let text = sign(b"component", &own.secret, None, "a 1.0.0 00").unwrap();
        let code = |bytes: &[u8], text: &str, keys: &[&NewKey]| {
            let keys: Vec<String> = keys.iter().map(|key| key.public.clone()).collect();
            verify(bytes, text, &keys).map_err(|error| error.code)
        };
        let good = Signature { key_id: own.id.clone(), comment: "a 1.0.0 00".to_owned() };

        assert_eq!(code(b"component", &text, &[&other, &own]), Ok(good));
        assert_eq!(code(b"component", &text, &[&other]), Err("E0956"));
        assert_eq!(code(b"component", &text, &[]), Err("E0956"));
        assert_eq!(code(b"Component", &text, &[&own]), Err("E0957"));
        assert_eq!(code(b"component", &text.replace("a 1.0.0", "b 1.0.0"), &[&own]), Err("E0957"));
        assert_eq!(code(b"component", "", &[&own]), Err("E0957"));
        assert_eq!(key_id(&text), Some(own.id));
    }

    #[test]
    fn a_passphrase_guards_the_key() {
        let key = new_key(Some("long words")).unwrap();
        let plain = new_key(None).unwrap();

        assert_eq!([is_encrypted(&key.secret), is_encrypted(&plain.secret)], [true, false]);
        assert!(sign(b"x", &key.secret, Some("long words"), "c").is_ok());
        assert_eq!(sign(b"x", &key.secret, Some("other words"), "c").unwrap_err().code, "E0965");
        assert_eq!(sign(b"x", &key.secret, None, "c").unwrap_err().code, "E0965");
        assert_eq!(public_key_of(&plain.secret, None).unwrap(), plain.public);
    }
}
