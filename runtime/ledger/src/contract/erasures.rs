//! Persons who were erased: what was asked, how far it is, whom it was told, and the list by which they stay out. An erasure
//! is a few steps, each a transaction and each safe to take again; what was begun is found by any later process.

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};

use super::ingest::NewFile;
use super::runs::Lease;

/// An erasure that begins: from here on the person stays out, whatever happens to the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewErasure {
    pub profile: ProfileId,
    /// Everything the profile is made of.
    pub nodes: Vec<NodeId>,
    /// Identifier kind and keyed hash of each value, under the suppression key.
    pub suppressed: Vec<(String, BlindIndex)>,
    /// Who holds something of the person, and what can be asked of them.
    pub receipts: Vec<NewReceipt>,
    pub now_us: i64,
}

/// What a destination can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReceipt {
    /// The pipeline that sent there.
    pub pipeline: String,
    /// `connection object`, for people.
    pub destination: String,
    pub state: ReceiptState,
}

/// How far a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptState {
    /// The pipeline's next run has the person erased or removed there.
    Requested,
    /// The destination took the request to erase the person.
    Accepted,
    /// The destination was asked again, and the person is not there any more.
    Verified,
    /// The destination took the removal of what the pipeline keeps there; a call to erase the person it has none.
    RemovedOnly,
    /// The destination has no call by which the pipeline could remove the person.
    NotSupported,
}

impl ReceiptState {
    pub const ALL: [Self; 5] = [Self::Requested, Self::Accepted, Self::Verified, Self::RemovedOnly, Self::NotSupported];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Verified => "verified",
            Self::RemovedOnly => "removed_not_supported",
            Self::NotSupported => "not_supported",
        }
    }
}

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRow {
    pub erasure: i64,
    pub profile: ProfileId,
    pub nodes: Vec<NodeId>,
    pub requested_at_us: i64,
    /// When nothing of the person was left here; `None` while steps are to be taken.
    pub forgotten_at_us: Option<i64>,
    pub receipts: Vec<ReceiptRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    pub pipeline: String,
    pub destination: String,
    pub state: ReceiptState,
    pub at_us: i64,
    /// What the destination calls its requests, or the person.
    pub references: Vec<String>,
    /// Why it did not take a request, each once.
    pub refusals: Vec<String>,
    /// Something is left to be asked: the request, or whether the person is gone.
    pub is_open: bool,
}

/// What a destination is believed to hold of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRow {
    /// The pipeline.
    pub sync: String,
    pub remote_id: Option<String>,
    pub acknowledged_at_us: i64,
}

pub trait Erasures {
    /// Writes down that a person is to be erased, with the list that keeps them out; returns its number.
    ///
    /// # Errors
    /// `E0706`.
    fn begin_erasure(&self, lease: &Lease, erasure: &NewErasure) -> Result<i64>;

    /// Forgets who the person was: edges, links, labels, aliases, memberships, refusals, and the images of destinations that
    /// cannot be asked to remove. Nodes stay as marks without a key. The bytes are overwritten in the file. Safe to repeat.
    ///
    /// # Errors
    /// `E0706`.
    fn forget_person(&self, lease: &Lease, erasure: &ErasureRow) -> Result<()>;

    /// Puts a file that was written anew without erased persons in the place of the one that held them; false when that one
    /// has left the manifest meanwhile.
    ///
    /// # Errors
    /// `E0706`.
    fn replace_file(&self, lease: &Lease, file: i64, new: &NewFile) -> Result<bool>;

    /// Notes that nothing is left here.
    ///
    /// # Errors
    /// `E0706`.
    fn finish_forgetting(&self, lease: &Lease, erasure: i64, now_us: i64) -> Result<()>;

    /// Settles the requested receipts of a pipeline whose destination holds nothing of the person any more, and has no call of
    /// [`super::erasure_calls::ErasureCalls`] to be made.
    ///
    /// # Errors
    /// Those of the store.
    fn settle_receipts(&self, pipeline: &str, state: ReceiptState, now_us: i64) -> Result<u64>;

    /// Erasures, newest first; with `only_open`, those that still have something left here.
    ///
    /// # Errors
    /// Those of the store.
    fn erasures(&self, only_open: bool) -> Result<Vec<ErasureRow>>;

    /// Nodes of all erased persons, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn erased_nodes(&self) -> Result<Vec<NodeId>>;

    /// The list of who stays out: kind and hash under the suppression key, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn suppressed(&self) -> Result<Vec<(String, BlindIndex)>>;

    /// What of that list an erasure put there: nothing of what an earlier one had.
    ///
    /// # Errors
    /// Those of the store.
    fn suppressed_by(&self, erasure: i64) -> Result<Vec<(String, BlindIndex)>>;

    /// What destinations hold of a profile, under its id or one that was merged into it, by pipeline.
    ///
    /// # Errors
    /// Those of the store.
    fn sent_of(&self, profile: ProfileId) -> Result<Vec<SentRow>>;
}
