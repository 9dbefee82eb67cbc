//! Sealing a record: the values of its columns under the key of its person. A key for it is 32 bytes long, so that thousands
//! stay open; the cipher is made of it once for all values of a record and lives as long as that is sealed.

use std::sync::atomic::AtomicU64;

use affluent_model::{Error, Result};
use zeroize::Zeroize;

use crate::context::FieldContext;
use crate::derive::Secret;
use crate::ecf1::{self, HEADER_BYTES, Scope, SealedHeader};
use crate::field_key::count_message;
use crate::gcm::{Cipher, NONCE_BYTES, TAG_BYTES};
use crate::random::Random;
use crate::value::FieldValue;

/// A key that seals records. It counts what it seals and refuses past 2^32, from zero with the object, as
/// [`FieldKey`](crate::FieldKey) does.
pub struct SealingKey {
    encryption_key: Secret,
    scope: Scope,
    key_id: u64,
    pub(crate) sealed_count: AtomicU64,
}

/// A column while it is sealed: the sealed values one behind the other.
pub struct SealedColumn<'a> {
    context: &'a FieldContext,
    bytes: Vec<u8>,
    /// Where the newest record's value begins.
    start: usize,
}

/// Seals records one by one; made once for many, for its memory.
#[derive(Default)]
pub struct RecordSealer {
    associated_data: Vec<u8>,
}

impl SealingKey {
    pub(crate) fn new(encryption_key: Secret, scope: Scope, key_id: u64) -> Self {
        Self { encryption_key, scope, key_id, sealed_count: AtomicU64::new(0) }
    }
}

impl<'a> SealedColumn<'a> {
    /// An empty column with room for so many bytes.
    #[must_use]
    pub fn with_capacity(context: &'a FieldContext, bytes: usize) -> Self {
        Self { context, bytes: Vec::with_capacity(bytes), start: 0 }
    }

    /// Bytes of all sealed values so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True before the first value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The sealed values.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts the value in the clear where it is to be sealed; gives the bytes to encrypt, and those of their tag.
    fn begin(
        &mut self,
        header: &[u8; HEADER_BYTES],
        nonce: &[u8; NONCE_BYTES],
        value: FieldValue<'_>,
    ) -> Result<(&mut [u8], &mut [u8; TAG_BYTES])> {
        let text_bytes = ecf1::begin(&mut self.bytes, header, nonce, value, self.context.padding(), TAG_BYTES);
        let text_start = self.bytes.len() - text_bytes;
        self.bytes.resize(self.bytes.len() + TAG_BYTES, 0);
        let parts = self.bytes.get_mut(text_start..).and_then(<[u8]>::split_last_chunk_mut);
        parts.ok_or_else(|| Error::bug("a value that is sealed has a tag"))
    }

    fn forget(&mut self) {
        if let Some(half_written) = self.bytes.get_mut(self.start..) {
            half_written.zeroize();
        }
        self.bytes.truncate(self.start);
    }
}

impl RecordSealer {
    /// Seals the values of one record, each behind what its column holds: `values` gives the value for the column at a place,
    /// `None` for an absent one, which adds nothing. Of a value come 41 bytes more than its own, plus padding.
    ///
    /// `record_id` is the immutable id of the stored row, 1..=65535 bytes. Equal values give different bytes each time.
    ///
    /// # Errors
    /// `E0612` for an empty or too long record id, `E0609` when the key has sealed 2^32 values, `E0610` without randomness;
    /// the columns are then as long as before.
    pub fn seal<'v>(
        &mut self,
        key: &SealingKey,
        record_id: &str,
        columns: &mut [SealedColumn<'_>],
        values: impl Fn(usize) -> Option<FieldValue<'v>>,
        random: &mut dyn Random,
    ) -> Result<()> {
        for column in &mut *columns {
            column.start = column.bytes.len();
        }
        let mut cipher = None;
        let sealed = columns.iter_mut().enumerate().try_for_each(|(place, column)| {
            let Some(value) = values(place) else { return Ok(()) };
            count_message(&key.sealed_count, "values sealed under one key")?;
            let mut nonce = [0; NONCE_BYTES];
            random.fill(&mut nonce)?;
            let header = SealedHeader { scope: key.scope, key_id: key.key_id, padding: column.context.padding() }.to_bytes();
            self.associated_data.clear();
            column.context.write_associated_data(&header, record_id, &mut self.associated_data)?;
            let (text, tag) = column.begin(&header, &nonce, value)?;
            let cipher = cipher.get_or_insert_with(|| Cipher::new(key.encryption_key.bytes()));
            *tag = cipher.seal(&nonce, &self.associated_data, text)?;
            Ok(())
        });
        if sealed.is_err() {
            columns.iter_mut().for_each(SealedColumn::forget);
        }
        sealed
    }
}
