//! What was computed of the profiles: the snapshot in the lake and the memberships of segments, as intervals.

use affluent_model::Result;
use affluent_model::identity::ProfileId;

use super::ingest::NewFile;
use super::runs::Lease;

/// The current snapshot of the profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Grows by one with each snapshot, from 1.
    pub version: u64,
    /// Its files, in the order they were committed.
    pub files: Vec<SnapshotFile>,
    pub rows: u64,
    /// Of the definitions it was computed by.
    pub definition_hash: String,
    /// The greatest epoch sequence it has seen.
    pub input_sequence: i64,
    pub computed_at_us: i64,
    /// As [`SnapshotCommit::basis`] gave it; empty for one of an earlier version of this program.
    pub basis: String,
}

/// A lake file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    pub table: String,
    pub name: String,
    pub rows: u64,
}

/// A new snapshot, which replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotCommit {
    pub files: Vec<NewFile>,
    /// The files and model cards of the snapshot before belong to this one too; its files come after them.
    pub goes_on: bool,
    pub rows: u64,
    pub definition_hash: String,
    /// (segment, profile) from now on; one that is a member already stays so since its earlier entry.
    pub entered: Vec<(String, ProfileId)>,
    /// (segment, profile) no more; one that is no member changes nothing.
    pub left: Vec<(String, ProfileId)>,
    pub input_sequence: i64,
    /// (computed trait, JSON of its model card); they replace those before.
    pub cards: Vec<(String, String)>,
    /// What the next snapshot needs to go on from this one; nothing here reads it.
    pub basis: String,
    pub now_us: i64,
}

/// One stay of a profile in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub segment: String,
    pub entered_at_us: i64,
    /// `None` while it lasts.
    pub left_at_us: Option<i64>,
}

/// Members of a segment now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSize {
    pub segment: String,
    pub members: u64,
}

pub trait Computed {
    /// The current snapshot.
    ///
    /// # Errors
    /// Those of the store.
    fn snapshot(&self) -> Result<Option<SnapshotRow>>;

    /// Replaces the snapshot and moves memberships; returns its version. No profile is touched then.
    ///
    /// # Errors
    /// `E0706`; a bug when a file name is in the ledger already.
    fn commit_snapshot(&self, lease: &Lease, snapshot: &SnapshotCommit) -> Result<u64>;

    /// Profiles whose nodes are others than the current snapshot knows, sorted: made, merged away, or with nodes that came or
    /// left. Empty while there is no snapshot; not all of them where persons were erased since.
    ///
    /// # Errors
    /// Those of the store.
    fn touched_profiles(&self) -> Result<Vec<ProfileId>>;

    /// The model cards of the current snapshot: (computed trait, JSON), by trait.
    ///
    /// # Errors
    /// Those of the store.
    fn cards(&self) -> Result<Vec<(String, String)>>;

    /// Members of a segment now, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn members(&self, segment: &str) -> Result<Vec<ProfileId>>;

    /// Members of a segment at an instant, sorted: those who had entered by then and had not left. A profile that another was
    /// merged into has its own stays only.
    ///
    /// # Errors
    /// Those of the store.
    fn members_at(&self, segment: &str, at_us: i64) -> Result<Vec<ProfileId>>;

    /// Segments that have members now, by name.
    ///
    /// # Errors
    /// Those of the store.
    fn segment_sizes(&self) -> Result<Vec<SegmentSize>>;

    /// Every stay of a profile in any segment, by segment and entry.
    ///
    /// # Errors
    /// Those of the store.
    fn memberships_of(&self, profile: ProfileId) -> Result<Vec<Membership>>;
}
