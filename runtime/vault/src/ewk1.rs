//! EWK1, a key wrapped by a key: always 108 bytes (security A.3).
//!
//! ```text
//! 0  version 1, suite 1, wrapper kind 1, reserved 0 | 4  key id, u64 | 12  wrapping key version, u32
//! 16  nonce | 28  encrypted key and tag, 48 bytes | 76  commitment to the wrapped key, 32 bytes
//! ```
//!
//! The header, the workspace, the purpose and the commitment are authenticated. A wrong tag means that the row was changed;
//! a right tag with a wrong commitment means that the bytes inside are not the key they claim to be.

use affluent_model::{Error, Result};
use subtle::ConstantTimeEq;

use crate::derive::{Derived, KEY_BYTES, Secret, push_name};
use crate::errors;
use crate::gcm::{Cipher, NONCE_BYTES, TAG_BYTES};
use crate::random::Random;

/// Bytes of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = 108;
const HEADER_BYTES: usize = 16;
const VERSION: u8 = 1;
const SUITE: u8 = 1;
/// Wrapped by a key in this process. 2 is reserved for a provider's own opaque blob.
const KIND_LOCAL: u8 = 1;
const DOMAIN: &[u8] = b"EWK1";

/// A key that wraps others, with the version by which wrapped keys name it.
pub(crate) struct WrappingKey {
    pub(crate) version: u32,
    cipher: Cipher,
}

/// What a wrapped key is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) purpose: &'a str,
    pub(crate) key_id: u64,
}

/// An unwrapped key whose commitment was checked.
pub(crate) struct Unwrapped {
    pub(crate) secret: Secret,
    pub(crate) derived: Derived,
}

/// The parts of a wrapped key, borrowed.
pub(crate) struct Wrapped<'a> {
    header: &'a [u8; HEADER_BYTES],
    nonce: &'a [u8; NONCE_BYTES],
    ciphertext: &'a [u8; KEY_BYTES],
    tag: &'a [u8; TAG_BYTES],
    commitment: &'a [u8; KEY_BYTES],
    pub(crate) key_id: u64,
    pub(crate) wrapping_version: u32,
}

impl WrappingKey {
    pub(crate) fn new(version: u32, secret: &Secret) -> Result<Self> {
        Ok(Self { version, cipher: Cipher::new(secret.derive()?.encryption_key.bytes()) })
    }
}

/// Wraps `secret`, of which `commitment` is the public commitment.
pub(crate) fn wrap(
    wrapping: &WrappingKey,
    binding: Binding<'_>,
    secret: &Secret,
    commitment: &[u8; KEY_BYTES],
    random: &mut dyn Random,
) -> Result<[u8; WRAPPED_KEY_BYTES]> {
    let mut wrapped = [0; WRAPPED_KEY_BYTES];
    let parts = parts_mut(&mut wrapped)?;
    *parts.header = header_bytes(binding.key_id, wrapping.version);
    random.fill(parts.nonce)?;
    *parts.commitment = *commitment;
    let associated_data = associated_data(parts.header, binding, commitment)?;
    parts.key.copy_from_slice(secret.bytes());
    *parts.tag = wrapping.cipher.seal(parts.nonce, &associated_data, parts.key)?;
    Ok(wrapped)
}

/// The parts of a wrapped key that is written.
struct PartsMut<'a> {
    header: &'a mut [u8; HEADER_BYTES],
    nonce: &'a mut [u8; NONCE_BYTES],
    key: &'a mut [u8; KEY_BYTES],
    tag: &'a mut [u8; TAG_BYTES],
    commitment: &'a mut [u8; KEY_BYTES],
}

fn parts_mut(wrapped: &mut [u8; WRAPPED_KEY_BYTES]) -> Result<PartsMut<'_>> {
    let parts = wrapped.split_first_chunk_mut().and_then(|(header, rest)| {
        let (nonce, rest) = rest.split_first_chunk_mut()?;
        let (key, rest) = rest.split_first_chunk_mut()?;
        let (tag, rest) = rest.split_first_chunk_mut()?;
        Some(PartsMut { header, nonce, key, tag, commitment: rest.try_into().ok()? })
    });
    parts.ok_or_else(|| Error::bug("a wrapped key has parts of 108 bytes in all"))
}

impl<'a> Wrapped<'a> {
    /// # Errors
    /// `E0606` when the bytes are not a wrapped key that this program reads.
    pub(crate) fn parse(wrapped: &'a [u8]) -> Result<Self> {
        let parts = wrapped.split_first_chunk::<HEADER_BYTES>().and_then(|(header, rest)| {
            let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
            let (ciphertext, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
            let (tag, rest) = rest.split_first_chunk::<TAG_BYTES>()?;
            Some((header, nonce, ciphertext, tag, rest.try_into().ok()?))
        });
        let Some((header, nonce, ciphertext, tag, commitment)) = parts else {
            let what = format!("a wrapped key is {} bytes long, must be {WRAPPED_KEY_BYTES}", wrapped.len());
            return Err(errors::wrapped_key_unknown(&what));
        };
        let [version, suite, kind, reserved, numbers @ ..] = header;
        if [*version, *suite, *kind, *reserved] != [VERSION, SUITE, KIND_LOCAL, 0] {
            let what = format!("a wrapped key starts with the unknown bytes `{version} {suite} {kind} {reserved}`");
            return Err(errors::wrapped_key_unknown(&what));
        }
        let [k0, k1, k2, k3, k4, k5, k6, k7, wrapping_version @ ..] = numbers;
        let key_id = u64::from_be_bytes([*k0, *k1, *k2, *k3, *k4, *k5, *k6, *k7]);
        let wrapping_version = u32::from_be_bytes(*wrapping_version);
        Ok(Self { header, nonce, ciphertext, tag, commitment, key_id, wrapping_version })
    }

    /// Unwraps with the key of version [`Self::wrapping_version`].
    ///
    /// # Errors
    /// `E0604` when the row belongs to another key or place, or was changed; `E0605` when it holds another key than it says.
    pub(crate) fn unwrap_with(&self, wrapping: &WrappingKey, binding: Binding<'_>) -> Result<Unwrapped> {
        let purpose = binding.purpose;
        let key_id = binding.key_id;
        if self.key_id != key_id {
            let what = format!("the wrapped key of {purpose} key `{key_id}` is the one of `{}`", self.key_id);
            return Err(errors::wrapped_key_tampered(&what));
        }
        let associated_data = associated_data(self.header, binding, self.commitment)?;
        let mut secret = Secret::blank();
        secret.bytes_mut().copy_from_slice(self.ciphertext);
        if wrapping.cipher.open(self.nonce, &associated_data, secret.bytes_mut(), self.tag).is_err() {
            let what = format!("the wrapped {purpose} key `{key_id}` was changed, or belongs to another workspace or purpose");
            return Err(errors::wrapped_key_tampered(&what));
        }
        let derived = secret.derive()?;
        if !bool::from(derived.commitment.ct_eq(self.commitment)) {
            return Err(errors::key_commitment(&format!("{purpose} key `{key_id}` is not the key that its row commits to")));
        }
        Ok(Unwrapped { secret, derived })
    }
}

fn header_bytes(key_id: u64, wrapping_version: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let parts = [VERSION, SUITE, KIND_LOCAL, 0].into_iter().chain(key_id.to_be_bytes()).chain(wrapping_version.to_be_bytes());
    for (to, from) in header.iter_mut().zip(parts) {
        *to = from;
    }
    header
}

/// `"EWK1" || header || lp16(workspace) || lp16(purpose) || commitment`.
fn associated_data(header: &[u8; HEADER_BYTES], binding: Binding<'_>, commitment: &[u8; KEY_BYTES]) -> Result<Vec<u8>> {
    let names_bytes = 4 + binding.workspace.len() + binding.purpose.len();
    let mut data = Vec::with_capacity(DOMAIN.len() + HEADER_BYTES + names_bytes + KEY_BYTES);
    data.extend_from_slice(DOMAIN);
    data.extend_from_slice(header);
    push_name(&mut data, "workspace", binding.workspace)?;
    push_name(&mut data, "key purpose", binding.purpose)?;
    data.extend_from_slice(commitment);
    Ok(data)
}
