//! AES-256-GCM with a 96-bit nonce and a 128-bit tag, and nothing else: the one place that calls the cipher. Every format of
//! this crate goes through [`Cipher`], and so do the Wycheproof vectors.

use aes::Aes256Enc;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AeadInOut, AesGcm, KeyInit};
use affluent_model::{Error, Result};

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// A key schedule, wiped on drop. GCM runs AES forwards only, so the schedule for decryption is never computed.
pub(crate) struct Cipher(AesGcm<Aes256Enc, U12>);

/// The tag does not belong to this key, nonce, associated data and ciphertext.
pub(crate) struct NotAuthentic;

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(AesGcm::new(key.into()))
    }

    /// Encrypts `text` in place and returns its tag.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_BYTES], associated_data: &[u8], text: &mut [u8]) -> Result<[u8; TAG_BYTES]> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), associated_data, text.into());
        tag.map(Into::into).map_err(|_| Error::bug("a value of 64 GiB reached the cipher, records are limited to far less"))
    }

    /// Checks the tag, then decrypts `text` in place; on a wrong tag `text` stays encrypted.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated_data: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), NotAuthentic> {
        self.0.decrypt_inout_detached(nonce.into(), associated_data, text.into(), tag.into()).map_err(|_| NotAuthentic)
    }
}
