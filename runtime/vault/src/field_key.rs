//! A key that seals and opens field values. Made once per subject, run or system secret; the derivation and the AES schedule
//! are then paid for, and each field costs one pass of AES-GCM.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use affluent_model::{Error, Result};
use zeroize::{Zeroize, Zeroizing};

use crate::audit::{AuditCounters, Purpose};
use crate::context::FieldContext;
use crate::derive::Secret;
use crate::ecf1::{self, Scope, Sealed, SealedHeader};
use crate::errors;
use crate::gcm::{Cipher, NONCE_BYTES};
use crate::random::Random;
use crate::value::{FieldValue, OpenedValue};

/// Messages under one key with random 96-bit nonces (NIST SP 800-38D §8.3, security A-15).
pub(crate) const MESSAGES_MAX: u64 = 1 << 32;
/// From here on a key should be replaced.
pub(crate) const MESSAGES_WARNING: u64 = 1 << 31;

/// The key of one subject, run or system secret.
///
/// It counts what it seals and refuses past 2^32. The count starts at zero with the object, which is exact for run keys (they
/// live for one run) and far more than a subject's fields ever need; long-lived system keys add what was sealed before with
/// [`Self::count_earlier_seals`].
pub struct FieldKey {
    cipher: Cipher,
    scope: Scope,
    key_id: u64,
    sealed_count: AtomicU64,
    audit: Arc<AuditCounters>,
}

impl FieldKey {
    pub(crate) fn new(encryption_key: &Secret, scope: Scope, key_id: u64, audit: Arc<AuditCounters>) -> Self {
        Self { cipher: Cipher::new(encryption_key.bytes()), scope, key_id, sealed_count: AtomicU64::new(0), audit }
    }

    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    #[must_use]
    pub fn key_id(&self) -> u64 {
        self.key_id
    }

    /// Seals `value` for one place and appends the bytes to `out`: 41 bytes more than the value's own, plus padding.
    ///
    /// `record_id` is the immutable id of the stored row, 1..=65535 bytes. Equal values give different bytes each time.
    ///
    /// # Errors
    /// `E0612` for an empty or too long record id, `E0609` when the key has sealed 2^32 values, `E0610` without randomness;
    /// `out` is then as long as before.
    pub fn seal_into(
        &self,
        out: &mut Vec<u8>,
        value: FieldValue<'_>,
        context: &FieldContext,
        record_id: &str,
        random: &mut dyn Random,
    ) -> Result<()> {
        let start = out.len();
        let sealed = self.try_seal_into(out, value, context, record_id, random);
        if sealed.is_err() {
            if let Some(half_written) = out.get_mut(start..) {
                half_written.zeroize();
            }
            out.truncate(start);
        }
        sealed
    }

    /// Opens a sealed value and counts it under `purpose`, whether or not it opens.
    ///
    /// # Errors
    /// In this order: `E0606` not a sealed value, `E0607` sealed under another key, `E0604` changed or moved from another
    /// place, `E0608` not written by this program. Show people one text for all of them and log the code.
    pub fn open(&self, sealed: &[u8], context: &FieldContext, record_id: &str, purpose: Purpose) -> Result<OpenedValue> {
        let opened = self.try_open(sealed, context, record_id);
        self.audit.note(purpose, opened.is_ok());
        opened
    }

    /// Adds values sealed under this key before this object existed.
    pub fn count_earlier_seals(&self, count: u64) {
        self.sealed_count.fetch_add(count, Ordering::Relaxed);
    }

    /// Values sealed under this key, as far as it knows.
    #[must_use]
    pub fn sealed_count(&self) -> u64 {
        self.sealed_count.load(Ordering::Relaxed)
    }

    /// True from 2^31 sealed values on: replace the key soon.
    #[must_use]
    pub fn needs_replacement(&self) -> bool {
        self.sealed_count() >= MESSAGES_WARNING
    }

    /// The associated data is built behind the plaintext in `out` and cut off again, which saves a buffer per field.
    fn try_seal_into(
        &self,
        out: &mut Vec<u8>,
        value: FieldValue<'_>,
        context: &FieldContext,
        record_id: &str,
        random: &mut dyn Random,
    ) -> Result<()> {
        count_message(&self.sealed_count, "values sealed under one key")?;
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce)?;
        let padding = context.padding();
        let header = SealedHeader { scope: self.scope, key_id: self.key_id, padding }.to_bytes();
        let body_bytes = ecf1::begin(out, &header, &nonce, value, padding, context.associated_data_bytes(record_id));
        let body_end = out.len();
        let body_start = body_end - body_bytes;
        context.write_associated_data(&header, record_id, out)?;
        let (written, associated_data) = out.split_at_mut(body_end);
        let Some(body) = written.get_mut(body_start..) else {
            return Err(Error::bug("the plaintext ends before it starts"));
        };
        let tag = self.cipher.seal(&nonce, associated_data, body)?;
        out.truncate(body_end);
        out.extend_from_slice(&tag);
        Ok(())
    }

    fn try_open(&self, sealed: &[u8], context: &FieldContext, record_id: &str) -> Result<OpenedValue> {
        let sealed = Sealed::parse(sealed)?;
        if sealed.header.scope != self.scope || sealed.header.key_id != self.key_id {
            return Err(errors::value_other_key(sealed.header.key_id, self.key_id));
        }
        let body_bytes = sealed.ciphertext.len();
        let capacity = body_bytes + context.associated_data_bytes(record_id);
        let mut buffer = Zeroizing::new(Vec::with_capacity(capacity));
        buffer.extend_from_slice(sealed.ciphertext);
        context.write_associated_data(sealed.header_bytes, record_id, &mut buffer)?;
        let (body, associated_data) = buffer.split_at_mut(body_bytes);
        self.cipher.open(sealed.nonce, associated_data, body, sealed.tag).map_err(|_| errors::value_tampered())?;
        buffer.truncate(body_bytes);
        OpenedValue::from_plaintext(buffer, sealed.header.padding)
    }
}

/// Counts one more message, or refuses it.
pub(crate) fn count_message(counter: &AtomicU64, what: &str) -> Result<()> {
    let earlier = counter.fetch_add(1, Ordering::Relaxed);
    if earlier >= MESSAGES_MAX {
        counter.fetch_sub(1, Ordering::Relaxed);
        return Err(errors::key_limit(&format!("the limit of 2^32 {what} is reached")));
    }
    Ok(())
}
