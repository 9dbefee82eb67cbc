//! Wrapped keys: those of the workspace, of runs and of identity nodes. This crate only ever holds ciphertext. Erasing a
//! subject is the removal of its key row (security ), so a removed row is overwritten on disk.

use affluent_model::Result;
use affluent_model::identity::{NodeId, WrappedKey};

use super::runs::Lease;

/// A row of the key table, as the vault makes and reads it. (`purpose`, `key_id`) is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyRow {
    pub purpose: String,
    pub key_id: u64,
    pub version: u32,
    pub wrapped: Vec<u8>,
}

pub trait Keys {
    /// Every stored key, by purpose and id. Run keys are not among them.
    ///
    /// # Errors
    /// Those of the store.
    fn stored_keys(&self) -> Result<Vec<StoredKeyRow>>;

    /// Stores keys, replacing those of the same (`purpose`, `key_id`); all or none.
    ///
    /// # Errors
    /// Those of the store.
    fn add_stored_keys(&self, rows: &[StoredKeyRow]) -> Result<()>;

    /// True while there is no node, no file and no checkpoint: nothing was ever sealed with the keys.
    ///
    /// # Errors
    /// Those of the store.
    fn is_empty(&self) -> Result<bool>;

    /// The wrapped keys of nodes, in the order asked; `None` for a node that was erased or never was.
    ///
    /// # Errors
    /// Those of the store.
    fn wrapped_keys(&self, nodes: &[NodeId]) -> Result<Vec<Option<WrappedKey>>>;

    /// Up to `limit` wrapped keys of nodes after `after`, by node: the pages of a key rotation.
    ///
    /// # Errors
    /// Those of the store.
    fn wrapped_keys_after(&self, after: NodeId, limit: usize) -> Result<Vec<(NodeId, WrappedKey)>>;

    /// Replaces wrapped keys by the same keys under a newer wrapping; a node erased meanwhile stays erased.
    ///
    /// # Errors
    /// Those of the store.
    fn rewrap_keys(&self, rows: &[(NodeId, WrappedKey)]) -> Result<()>;

    /// Erases the keys of nodes for good and returns how many there were. The bytes are overwritten in the file and the
    /// write-ahead log is emptied before it returns; copies of the file made earlier still hold them.
    ///
    /// # Errors
    /// Those of the store; `E0707` when a reader kept the log from being emptied: erased, call again to empty it.
    fn erase_keys(&self, nodes: &[NodeId]) -> Result<u64>;

    /// A number for the next run key, unique over the ledger, durable before it is returned.
    ///
    /// # Errors
    /// Those of the store.
    fn next_run_key_id(&self) -> Result<u64>;

    /// Stores the wrapped key of a run.
    ///
    /// # Errors
    /// `E0706`; a bug when the id has a key already.
    fn add_run_key(&self, lease: &Lease, key_id: u64, wrapped: &[u8]) -> Result<()>;

    /// The wrapped key of a run.
    ///
    /// # Errors
    /// Those of the store.
    fn run_key(&self, key_id: u64) -> Result<Option<Vec<u8>>>;
}
