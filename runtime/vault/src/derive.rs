//! Secrets and what is derived from them. A 32-byte key never touches data itself: HKDF-Expand-SHA256 gives one key for AES
//! and one public commitment to the key, under separate labels (security A-12). Names enter derivations and associated data
//! with their length in front, so that no two lists of names give the same bytes.

use affluent_model::{Error, Result};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::errors;
use crate::random::Random;

pub(crate) const KEY_BYTES: usize = 32;
const ENCRYPTION_LABEL: &[u8] = b"affluent/enc/v1";
const COMMITMENT_LABEL: &[u8] = b"affluent/commit/v1";

/// 32 secret bytes, on the heap so that moving the value leaves no copy behind, wiped on drop.
pub(crate) struct Secret(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// What a key can do: encrypt, and prove which key it is.
pub(crate) struct Derived {
    pub(crate) encryption_key: Secret,
    pub(crate) commitment: [u8; KEY_BYTES],
}

impl Secret {
    pub(crate) fn random(random: &mut dyn Random) -> Result<Self> {
        let mut secret = Self::blank();
        random.fill(secret.bytes_mut())?;
        Ok(secret)
    }

    /// All zeroes: to be filled in place.
    pub(crate) fn blank() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_BYTES])))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        &mut self.0
    }

    pub(crate) fn derive(&self) -> Result<Derived> {
        let hkdf = from_key(self.bytes())?;
        let mut encryption_key = Self::blank();
        expand_into(&hkdf, &[ENCRYPTION_LABEL], encryption_key.bytes_mut())?;
        let mut commitment = [0; KEY_BYTES];
        expand_into(&hkdf, &[COMMITMENT_LABEL], &mut commitment)?;
        Ok(Derived { encryption_key, commitment })
    }

    pub(crate) fn commitment(&self) -> Result<[u8; KEY_BYTES]> {
        let mut commitment = [0; KEY_BYTES];
        expand(self.bytes(), &[COMMITMENT_LABEL], &mut commitment)?;
        Ok(commitment)
    }
}

/// HKDF-Expand-SHA256 (RFC 5869 §2.3) over the concatenated `info`; `key` is already uniform, so there is no extract step.
pub(crate) fn expand(key: &[u8; KEY_BYTES], info: &[&[u8]], output: &mut [u8]) -> Result<()> {
    expand_into(&from_key(key)?, info, output)
}

/// Appends `u16 length, UTF-8 bytes`. `what` names the part in the message: the text itself may be a customer's id.
///
/// # Errors
/// `E0612` when the text is empty or longer than 65 535 bytes.
pub(crate) fn push_name(out: &mut Vec<u8>, what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(errors::context(&format!("the {what} is empty, a sealed value must be bound to its place")));
    }
    let length = u16::try_from(text.len())
        .map_err(|_| errors::context(&format!("the {what} is {} bytes long, at most 65535 can be bound", text.len())))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn from_key(key: &[u8; KEY_BYTES]) -> Result<Hkdf<Sha256>> {
    Hkdf::from_prk(key).map_err(|_| Error::bug("32 bytes are a full HKDF-SHA256 key"))
}

fn expand_into(hkdf: &Hkdf<Sha256>, info: &[&[u8]], output: &mut [u8]) -> Result<()> {
    hkdf.expand_multi_info(info, output).map_err(|_| Error::bug("HKDF-SHA256 gives up to 8160 bytes, fewer were asked"))
}
