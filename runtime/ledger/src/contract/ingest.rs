//! Ingest: checkpoints, nodes and the manifest of the lake. Records, cursor and counters change in one transaction
//! (architecture.md I4), and a lake read names exactly the files that the manifest holds.

use std::collections::HashSet;

use affluent_model::Result;
use affluent_model::identity::{NodeId, NodeKey, WrappedKey};

use super::dead_letters::NewDeadLetter;
use super::identity::FoundNode;
use super::runs::Lease;

/// Where a stream of a pipeline stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Opaque, at most `STATE_BYTES_MAX`; `None` at the start of a generation.
    pub state: Option<Vec<u8>>,
    /// 0 until the first full refresh.
    pub generation: u64,
    /// The stream was read to its end since the generation or the run began.
    pub is_complete: bool,
    /// Records admitted in this generation.
    pub records: u64,
    pub updated_at_us: i64,
}

/// A node made by an epoch. Its key was not in the ledger when the epoch looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Out of [`Ingest::reserve_nodes`].
    pub node: NodeId,
    pub key: NodeKey,
    /// The connection that knows the subject.
    pub source: std::sync::Arc<str>,
    pub wrapped_key: WrappedKey,
    pub first_seen_us: i64,
}

/// A file written to the lake, not yet visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub table: String,
    /// Unique over the ledger.
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    /// The epoch it belongs to.
    pub sequence: i64,
}

/// A visible file of the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub id: i64,
    pub table: String,
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    pub sequence: i64,
    pub generation: u64,
    /// Its identifiers are in the identity graph.
    pub is_resolved: bool,
}

/// All that one epoch changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochCommit {
    pub stream: String,
    /// Where to resume; `None` keeps the state as it is.
    pub state: Option<Vec<u8>>,
    /// The stream was read to its end.
    pub is_complete: bool,
    /// As [`Ingest::begin_generation`] gave it, or that of the checkpoint.
    pub generation: u64,
    pub new_nodes: Vec<NewNode>,
    /// Of the stream and of its children.
    pub files: Vec<NewFile>,
    pub dead_letters: Vec<NewDeadLetter>,
    /// Counters of this epoch: read = filtered + rejected + admitted.
    pub read: u64,
    pub filtered: u64,
    pub rejected: u64,
    pub admitted: u64,
    pub now_us: i64,
    /// Ends a full refresh: files of this pipeline and stream from older generations leave the manifest.
    /// Only with `is_complete` (delivery.md R6).
    pub drops_older_generations: bool,
}

pub trait Ingest {
    /// Where a stream stands; `None` before its first commit.
    ///
    /// # Errors
    /// Those of the store.
    fn checkpoint(&self, pipeline: &str, stream: &str) -> Result<Option<Checkpoint>>;

    /// Begins a full refresh: the generation grows by one and the state is cleared. Files stay until it is complete.
    ///
    /// # Errors
    /// `E0706`.
    fn begin_generation(&self, lease: &Lease, stream: &str, now_us: i64) -> Result<u64>;

    /// The sequence of the next epoch: greater by one than the last one given, over the whole ledger, also after a crash.
    ///
    /// # Errors
    /// `E0706`.
    fn next_sequence(&self, lease: &Lease) -> Result<i64>;

    /// Sets `count` node ids aside and returns the first; ids that are never used leave a gap. No two nodes have one id:
    /// that an id is taken is as durable as the epoch that uses it, and until then only the end of the process is survived.
    ///
    /// # Errors
    /// Those of the store.
    fn reserve_nodes(&self, count: u64) -> Result<NodeId>;

    /// The nodes with these keys, in the order asked. Sorting `keys` makes it faster.
    ///
    /// # Errors
    /// Those of the store.
    fn find_nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<FoundNode>>>;

    /// Makes an epoch visible: files, nodes, dead letters, counters and state at once.
    ///
    /// # Errors
    /// `E0706`; `E0708` when the state is too large; `E0711` when another pipeline stored a node with one of the keys since
    /// the epoch looked: look again and seal again; a bug when `generation` is not the newest of the stream or a file name
    /// is in the ledger already.
    fn commit_epoch(&self, lease: &Lease, epoch: &EpochCommit) -> Result<()>;

    /// Visible files of a table, by sequence and id.
    ///
    /// # Errors
    /// Those of the store.
    fn files(&self, table: &str) -> Result<Vec<FileRow>>;

    /// Tables with at least one visible file, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn tables(&self) -> Result<Vec<String>>;

    /// Visible files whose identifiers are not in the graph yet, by sequence and id.
    ///
    /// # Errors
    /// Those of the store.
    fn unresolved_files(&self) -> Result<Vec<FileRow>>;

    /// True when [`Ingest::unresolved_files`] is not empty.
    ///
    /// # Errors
    /// Those of the store.
    fn has_unresolved_files(&self) -> Result<bool>;

    /// Names of all files in use, snapshots included: a file of the lake that is not among them may be swept.
    ///
    /// # Errors
    /// Those of the store.
    fn file_names(&self) -> Result<HashSet<String>>;

    /// The greatest sequence that was given; 0 at first.
    ///
    /// # Errors
    /// Those of the store.
    fn last_sequence(&self) -> Result<i64>;
}
