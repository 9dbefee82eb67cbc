//! [`Vault`]: the open keys of one workspace. It makes, unwraps and rewraps the keys below it and derives blind indexers. It
//! is shared between threads and never changes: a rotation gives rows to store, and the vault opened from them next is the
//! rotated one.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use affluent_model::Result;

use crate::audit::{AuditCounters, PurposeCount};
use crate::bix1::BlindIndexer;
use crate::context::{FieldContext, Padding};
use crate::derive::Secret;
use crate::ecf1::Scope;
use crate::errors;
use crate::ewk1::{self, Binding, Unwrapped, WRAPPED_KEY_BYTES, Wrapped, WrappingKey};
use crate::field_key::{FieldKey, MESSAGES_WARNING, count_message};
use crate::keyring::KeyRing;
use crate::random::Random;
use crate::record_sealer::SealingKey;
use crate::roots::{RootPurpose, Roots, StoredKey};

/// The open keys of one workspace.
pub struct Vault {
    workspace: String,
    roots: Roots,
    /// The workspace keys, made ready: all unwrap, the one of `workspace_key_version` wraps.
    wrapping_keys: Vec<WrappingKey>,
    workspace_key_version: u32,
    /// Keys ever wrapped by the newest workspace key, as far as this vault knows.
    wraps: AtomicU64,
    /// Those of them not yet given to [`Self::take_new_wraps`].
    new_wraps: AtomicU64,
    audit: Arc<AuditCounters>,
}

impl Vault {
    /// Makes the keys of a new workspace; store the rows in the same transaction that creates it.
    ///
    /// `rows_in_store` is how many sealed values or key rows exist already: with any, nothing is made (security A-45).
    ///
    /// # Errors
    /// `E0613` for a store that is not empty, `E0610` without randomness, `E0612` for an empty or too long workspace name.
    pub fn create(
        ring: &KeyRing,
        workspace: &str,
        rows_in_store: u64,
        random: &mut dyn Random,
    ) -> Result<(Self, Vec<StoredKey>)> {
        if rows_in_store > 0 {
            return Err(errors::store_not_empty(rows_in_store));
        }
        let roots = Roots::generate(random)?;
        let rows = roots.wrap_all(ring, workspace, random)?;
        Ok((Self::from_roots(workspace, roots)?, rows))
    }

    /// Opens the keys of a workspace from its rows; nothing is ever generated here.
    ///
    /// # Errors
    /// `E0600` keys are missing (all are listed), `E0603` a provider key is another one than the store was made with, `E0604`
    /// a row was changed, `E0605` a commitment is missing or wrong, `E0606` a row has an unknown format.
    pub fn open(ring: &KeyRing, workspace: &str, stored: &[StoredKey]) -> Result<Self> {
        Self::from_roots(workspace, Roots::open(ring, workspace, stored)?)
    }

    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The context of one column of this workspace.
    ///
    /// # Errors
    /// `E0612` when a name is empty or longer than 65 535 bytes.
    pub fn field_context(&self, table: &str, field: &str, padding: Padding) -> Result<FieldContext> {
        FieldContext::new(&self.workspace, table, field, padding)
    }

    /// Makes the keys of identity nodes with these ids, and their wrapped forms to store under the nodes' ids.
    ///
    /// # Errors
    /// As [`Self::new_key`].
    pub fn new_subject_keys(
        &self,
        node_ids: Range<u64>,
        random: &mut dyn Random,
    ) -> Result<Vec<(SealingKey, [u8; WRAPPED_KEY_BYTES])>> {
        let made = node_ids.map(|node_id| {
            let secret = Secret::random(random)?;
            let derived = secret.derive()?;
            let wrapped = self.wrap(Scope::Subject, node_id, &secret, &derived.commitment, random)?;
            Ok((SealingKey::new(derived.encryption_key, Scope::Subject, node_id), wrapped))
        });
        made.collect()
    }

    /// Opens the stored key of an identity node for sealing. A node without a stored key was erased: that is a result, not an
    /// error.
    ///
    /// # Errors
    /// As [`Self::unwrap_key`].
    pub fn unwrap_sealing_key(&self, node_id: u64, wrapped: &[u8]) -> Result<SealingKey> {
        let unwrapped = self.unwrap(Scope::Subject, node_id, &Wrapped::parse(wrapped)?)?;
        Ok(SealingKey::new(unwrapped.derived.encryption_key, Scope::Subject, node_id))
    }

    /// Opens the stored key of an identity node. A node without a stored key was erased: that is a result, not an error.
    ///
    /// # Errors
    /// As [`Self::unwrap_key`].
    pub fn unwrap_subject_key(&self, node_id: u64, wrapped: &[u8]) -> Result<FieldKey> {
        self.unwrap_key(Scope::Subject, node_id, wrapped)
    }

    /// Makes a key and its wrapped form, which must be stored no later than anything sealed under the key.
    ///
    /// `key_id` is unique within the scope and the installation.
    ///
    /// # Errors
    /// `E0609` when the workspace key has wrapped 2^32 keys, `E0610` without randomness.
    pub fn new_key(&self, scope: Scope, key_id: u64, random: &mut dyn Random) -> Result<(FieldKey, [u8; WRAPPED_KEY_BYTES])> {
        let secret = Secret::random(random)?;
        let derived = secret.derive()?;
        let wrapped = self.wrap(scope, key_id, &secret, &derived.commitment, random)?;
        Ok((FieldKey::new(&derived.encryption_key, scope, key_id, Arc::clone(&self.audit)), wrapped))
    }

    /// Opens a stored key.
    ///
    /// # Errors
    /// `E0600` when its workspace key version is not stored, `E0604` when the row was changed or belongs to another key id,
    /// scope or workspace, `E0605` when it holds another key than it commits to, `E0606` when it is no wrapped key.
    pub fn unwrap_key(&self, scope: Scope, key_id: u64, wrapped: &[u8]) -> Result<FieldKey> {
        let unwrapped = self.unwrap(scope, key_id, &Wrapped::parse(wrapped)?)?;
        Ok(FieldKey::new(&unwrapped.derived.encryption_key, scope, key_id, Arc::clone(&self.audit)))
    }

    /// Wraps a stored key with the newest workspace key; `None` when it already is. The key and all it sealed stay the same.
    ///
    /// # Errors
    /// As [`Self::unwrap_key`] and [`Self::new_key`].
    pub fn rewrap_key(
        &self,
        scope: Scope,
        key_id: u64,
        wrapped: &[u8],
        random: &mut dyn Random,
    ) -> Result<Option<[u8; WRAPPED_KEY_BYTES]>> {
        let wrapped = Wrapped::parse(wrapped)?;
        if wrapped.wrapping_version == self.workspace_key_version {
            return Ok(None);
        }
        let Unwrapped { secret, derived } = self.unwrap(scope, key_id, &wrapped)?;
        self.wrap(scope, key_id, &secret, &derived.commitment, random).map(Some)
    }

    /// The indexer of one identifier kind under the newest index key.
    ///
    /// # Errors
    /// `E0612` when the kind is empty or too long.
    pub fn blind_indexer(&self, kind: &str) -> Result<BlindIndexer> {
        BlindIndexer::new(&self.roots.newest(RootPurpose::Index)?.secret, &self.workspace, kind)
    }

    /// The indexers of one kind under every index key with its version, newest first: during a rotation look-ups ask all.
    ///
    /// # Errors
    /// As [`Self::blind_indexer`].
    pub fn blind_indexers(&self, kind: &str) -> Result<Vec<(u32, BlindIndexer)>> {
        let keys = self.roots.of(RootPurpose::Index).rev();
        keys.map(|key| Ok((key.version, BlindIndexer::new(&key.secret, &self.workspace, kind)?))).collect()
    }

    /// The indexer of the list of erased persons. Its key is never rotated, so they stay recognisable.
    ///
    /// # Errors
    /// As [`Self::blind_indexer`].
    pub fn suppression_indexer(&self, kind: &str) -> Result<BlindIndexer> {
        BlindIndexer::new(&self.roots.newest(RootPurpose::Suppression)?.secret, &self.workspace, kind)
    }

    /// Rows of all root keys under the active provider key of `ring`: store them in one transaction, then the older provider
    /// key may go. Nothing below is touched.
    ///
    /// # Errors
    /// `E0610` without randomness.
    pub fn rewrap_roots(&self, ring: &KeyRing, random: &mut dyn Random) -> Result<Vec<StoredKey>> {
        self.roots.wrap_all(ring, &self.workspace, random)
    }

    /// Rows of one more workspace key. Once stored and opened it wraps everything new; older versions go when no wrapped key
    /// names them.
    ///
    /// # Errors
    /// `E0610` without randomness.
    pub fn new_workspace_key(&self, ring: &KeyRing, random: &mut dyn Random) -> Result<Vec<StoredKey>> {
        self.roots.next_version(RootPurpose::Workspace, ring, &self.workspace, random)
    }

    /// Rows of one more index key; see [`Self::blind_indexers`].
    ///
    /// # Errors
    /// `E0610` without randomness.
    pub fn new_index_key(&self, ring: &KeyRing, random: &mut dyn Random) -> Result<Vec<StoredKey>> {
        self.roots.next_version(RootPurpose::Index, ring, &self.workspace, random)
    }

    /// The workspace key version that new keys are wrapped with: the ledger keeps its wrap total.
    #[must_use]
    pub fn workspace_key_version(&self) -> u32 {
        self.workspace_key_version
    }

    /// Adds the ledger's total of keys wrapped by the newest workspace key; call once after opening.
    pub fn count_earlier_wraps(&self, total: u64) {
        self.wraps.fetch_add(total, Ordering::Relaxed);
    }

    /// Keys wrapped since the last call. Add it to the ledger's total **in the transaction that stores the wrapped keys**: a
    /// wrap that was never stored was never seen, so the total needs no reservation ahead, and adding keeps it right with
    /// several processes.
    pub fn take_new_wraps(&self) -> u64 {
        self.new_wraps.swap(0, Ordering::Relaxed)
    }

    /// True from 2^31 wraps on: rotate with [`Self::new_workspace_key`]. At 2^32 wrapping is refused (security A-15).
    #[must_use]
    pub fn needs_new_workspace_key(&self) -> bool {
        self.wraps.load(Ordering::Relaxed) >= MESSAGES_WARNING
    }

    /// Values opened and refused per purpose since the vault was opened or the counts were taken.
    #[must_use]
    pub fn audit_counts(&self) -> Vec<PurposeCount> {
        self.audit.read()
    }

    /// The same, starting again at zero: for writing the counts to the audit.
    #[must_use]
    pub fn take_audit_counts(&self) -> Vec<PurposeCount> {
        self.audit.take()
    }

    fn from_roots(workspace: &str, roots: Roots) -> Result<Self> {
        let keys = roots.of(RootPurpose::Workspace);
        let wrapping_keys = keys.map(|key| WrappingKey::new(key.version, &key.secret));
        let wrapping_keys = wrapping_keys.collect::<Result<_>>()?;
        let workspace_key_version = roots.newest(RootPurpose::Workspace)?.version;
        Ok(Self {
            workspace: workspace.to_owned(),
            roots,
            wrapping_keys,
            workspace_key_version,
            wraps: AtomicU64::new(0),
            new_wraps: AtomicU64::new(0),
            audit: Arc::default(),
        })
    }

    fn wrap(
        &self,
        scope: Scope,
        key_id: u64,
        secret: &Secret,
        commitment: &[u8; 32],
        random: &mut dyn Random,
    ) -> Result<[u8; WRAPPED_KEY_BYTES]> {
        count_message(&self.wraps, "keys wrapped by one workspace key")?;
        self.new_wraps.fetch_add(1, Ordering::Relaxed);
        let wrapping = self.wrapping_key(self.workspace_key_version)?;
        ewk1::wrap(wrapping, self.binding(scope, key_id), secret, commitment, random)
    }

    fn unwrap(&self, scope: Scope, key_id: u64, wrapped: &Wrapped<'_>) -> Result<Unwrapped> {
        wrapped.unwrap_with(self.wrapping_key(wrapped.wrapping_version)?, self.binding(scope, key_id))
    }

    fn wrapping_key(&self, version: u32) -> Result<&WrappingKey> {
        self.wrapping_keys.iter().find(|key| key.version == version).ok_or_else(|| {
            errors::key_missing(&format!("workspace key `{version}` is not stored, keys that it wrapped cannot be opened"))
        })
    }

    fn binding(&self, scope: Scope, key_id: u64) -> Binding<'_> {
        Binding { workspace: &self.workspace, purpose: scope.purpose(), key_id }
    }
}
