//! BIX1, the blind index (security A.4): a keyed hash of a normalised identifier, so that equal identifiers of one workspace
//! and kind can be found without being read. It is deterministic by design; attributes with few values are never indexed.

use affluent_model::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::derive::{KEY_BYTES, Secret, expand, push_name};

/// One version byte and 128 bits of the hash.
pub const BLIND_INDEX_BYTES: usize = 17;
const VERSION: u8 = 1;
const LABEL: &[u8] = b"affluent/bix/v1";

/// Indexes the identifiers of one kind; make it once and keep it, since an index then costs two hash blocks.
pub struct BlindIndexer(Hmac<Sha256>);

impl BlindIndexer {
    pub(crate) fn new(secret: &Secret, workspace: &str, kind: &str) -> Result<Self> {
        let mut names = Vec::with_capacity(4 + workspace.len() + kind.len());
        push_name(&mut names, "workspace", workspace)?;
        push_name(&mut names, "identifier kind", kind)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        expand(secret.bytes(), &[LABEL, &names], &mut *key)?;
        Ok(Self(keyed_hash(&*key)?))
    }

    /// The index of a value that is **already normalised** (the same identifier must always arrive as the same bytes).
    #[must_use]
    pub fn index(&self, normalised: &[u8]) -> [u8; BLIND_INDEX_BYTES] {
        let mut hash = self.0.clone();
        hash.update(normalised);
        let hash = hash.finalize().into_bytes();
        let mut index = [VERSION; BLIND_INDEX_BYTES];
        for (to, from) in index.iter_mut().skip(1).zip(hash) {
            *to = from;
        }
        index
    }
}

/// HMAC-SHA256 with its key already mixed in.
pub(crate) fn keyed_hash(key: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::new_from_slice(key).map_err(|_| Error::bug("HMAC takes keys of any length"))
}
