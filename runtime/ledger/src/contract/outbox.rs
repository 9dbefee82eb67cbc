//! Activation: the outbox of each sync and the image of what its destination holds (delivery.md R7 to R9). A sync is a
//! pipeline out of profiles; the lease's pipeline names it.
//!
//! A run first settles [`Outbox::in_flight`], then compares the desired rows with [`Outbox::image`], writes the whole
//! difference as a plan, and takes batches until there are none. The newest plan is the truth: rows of an older plan that
//! are not in it are withdrawn, rows with the same operation and payload are kept with their version and attempts, others
//! are replaced. A row in flight is never touched; a newer row of its key waits until it is settled.

use affluent_model::Result;
use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;

use super::dead_letters::NewDeadLetter;
use super::runs::Lease;

/// What the destination is believed to hold under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    pub key: ProfileId,
    /// Of the payload last accepted; `None` = in doubt: something was sent since and its fate is not known, so the
    /// destination may hold it or not. Whatever is desired differs from it.
    pub hash: Option<[u8; 16]>,
    pub version: u64,
    pub remote_id: Option<String>,
    /// The match values last accepted, or sent when none was accepted; sealed. Enough to remove the row.
    pub match_sealed: Vec<u8>,
}

/// A plan being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxPlan {
    /// The version of all its rows: grows with each plan of the sync, so per key too, also past a removal.
    pub version: u64,
    pub(crate) sync: i64,
    pub(crate) rows_per_piece: usize,
}

/// A row to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutboxRow {
    pub key: ProfileId,
    pub operation: RowOperation,
    pub payload_hash: [u8; 16],
    /// Of (sync, key, operation, payload hash, version of the plan): the same on every attempt.
    pub idempotency_key: [u8; 32],
    pub payload_sealed: Vec<u8>,
    pub match_sealed: Vec<u8>,
    /// Attempts made before with this payload: those of its [`RefusalRow`].
    pub attempts_before: u32,
}

/// A row of a batch in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    pub key: ProfileId,
    pub operation: RowOperation,
    pub payload_hash: [u8; 16],
    pub idempotency_key: [u8; 32],
    pub payload_sealed: Vec<u8>,
    pub match_sealed: Vec<u8>,
    pub version: u64,
    /// Attempts before this batch: above 0, the destination may hold this payload already.
    pub attempts: u32,
}

/// Rows that were handed out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxBatch {
    pub batch: i64,
    pub operation: RowOperation,
    /// Always in the same order.
    pub rows: Vec<OutboxRow>,
    /// Of the import that runs at the destination.
    pub token: Option<String>,
    /// How often it was handed over: 1 when taken, one more with each [`Outbox::mark_resent`].
    pub attempts: u32,
    pub taken_at_us: i64,
}

/// How much to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeBatch {
    pub operation: RowOperation,
    pub rows_max: usize,
    /// Of sealed payloads; a single row that is larger is taken alone.
    pub bytes_max: usize,
    pub now_us: i64,
}

/// What became of one row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutcome {
    pub key: ProfileId,
    pub result: RowResult,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowResult {
    /// The destination holds it, or for a removal holds it no more. `None` keeps the remote id known before.
    Accepted { remote_id: Option<String> },
    /// The destination will not have it; remembered as a refusal, no dead letter.
    Skipped { code: String, message: String },
    /// Refused for good: remembered as a refusal and kept as a dead letter.
    Failed { dead_letter: NewDeadLetter },
    /// To be sent again, not before `at_us`. Counts as an attempt, and the key is in doubt.
    Retry { at_us: i64 },
}

/// Why a whole batch goes back to the rows that wait to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRelease {
    /// Not taken again before.
    pub retry_at_us: i64,
    /// The destination may have seen it: counts as an attempt, and its keys are in doubt. `false` when it surely did not
    /// (rate limited, connection refused).
    pub was_sent: bool,
}

/// A key whose last outcome was [`RowResult::Skipped`] or [`RowResult::Failed`]; forgotten once a row of it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    pub key: ProfileId,
    pub operation: RowOperation,
    pub payload_hash: [u8; 16],
    /// Attempts made with this payload.
    pub attempts: u32,
    pub is_skip: bool,
    pub code: String,
    pub message: String,
    pub at_us: i64,
}

/// Rows of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxCounts {
    /// Waiting to be sent, those behind a row in flight included.
    pub pending: u64,
    pub in_flight: u64,
    /// Keys that are refused.
    pub refused: u64,
    /// Rows of the image.
    pub image: u64,
}

/// A row at the destination that is another profile's from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMove {
    pub from: ProfileId,
    pub to: ProfileId,
    /// Its match values, sealed for the new key.
    pub match_sealed: Vec<u8>,
    /// The profile whose row it stays, where `to` is a key of [`ProfileId::of_former_row`].
    pub former_of: Option<ProfileId>,
}

pub trait Outbox {
    /// Visits the image of a sync and the keys in doubt, by key. An error of `visit` ends it.
    ///
    /// # Errors
    /// Those of the store and of `visit`.
    fn image(&self, sync: &str, visit: &mut dyn FnMut(ImageRow) -> Result<()>) -> Result<()>;

    /// Keys of the image whose profile was merged into another, with the one that it is now, and former rows with the profile
    /// whose they are, by key.
    ///
    /// # Errors
    /// Those of the store.
    fn absorbed_images(&self, sync: &str) -> Result<Vec<(ProfileId, ProfileId)>>;

    /// Moves rows of the image to other keys, all at once: two keys may change places. A row keeps its payload, version and
    /// remote id; what was held under a key that others move to goes, unless it moves itself. The key of a former row leads to its
    /// profile as those of merged profiles do, through merges and erasure, until the row is removed.
    ///
    /// # Errors
    /// `E0706`.
    fn move_images(&self, lease: &Lease, moves: &[ImageMove]) -> Result<()>;

    /// Visits the refused keys of a sync, by key. An error of `visit` ends it.
    ///
    /// # Errors
    /// Those of the store and of `visit`.
    fn refusals(&self, sync: &str, visit: &mut dyn FnMut(RefusalRow) -> Result<()>) -> Result<()>;

    /// Forgets the refusals of a sync, so that its rows are tried again; returns how many there were.
    ///
    /// # Errors
    /// Those of the store.
    fn forget_refusals(&self, sync: &str) -> Result<u64>;

    /// Begins a plan of the lease's sync; one that was begun and never committed is thrown away.
    /// `batch_rows` = rows that batches will have: makes taking them cheap, any number is correct.
    ///
    /// # Errors
    /// `E0706`.
    fn begin_plan(&self, lease: &Lease, batch_rows: usize) -> Result<OutboxPlan>;

    /// Adds rows to a plan, invisible until it is committed. A key must not come twice in a plan; that is not checked.
    /// Best in groups of 10,000 rows and in the order of keys: settling rows in another order costs seven times as much.
    ///
    /// # Errors
    /// `E0706`; a bug when the plan is not the one begun last.
    fn add_plan_rows(&self, lease: &Lease, plan: &OutboxPlan, rows: &[NewOutboxRow]) -> Result<()>;

    /// Makes a plan the truth, in one transaction, by the rules above; returns the rows now pending.
    ///
    /// # Errors
    /// `E0706`; a bug when the plan is not the one begun last.
    fn commit_plan(&self, lease: &Lease, plan: OutboxPlan) -> Result<u64>;

    /// Batches that were taken and not settled, oldest first: to be polled by their token, or sent again as they are.
    ///
    /// # Errors
    /// Those of the store.
    fn in_flight(&self, sync: &str) -> Result<Vec<OutboxBatch>>;

    /// Takes pending rows of one operation, oldest first, and marks them in flight, durable before it returns.
    /// Rows to be retried later and rows whose key is in flight are passed over; `None` when nothing is left.
    ///
    /// # Errors
    /// `E0706`.
    fn take_batch(&self, lease: &Lease, take: &TakeBatch) -> Result<Option<OutboxBatch>>;

    /// Counts one more hand-over of a batch in flight and returns how many there were; call it before sending again. From then
    /// on its keys are in doubt unless they are accepted: an earlier hand-over may have reached the destination unheard.
    ///
    /// # Errors
    /// `E0706`; a bug when the batch is not in flight.
    fn mark_resent(&self, lease: &Lease, batch: i64) -> Result<u32>;

    /// Stores the token of an import that runs at the destination, before it is polled (delivery.md R8).
    ///
    /// # Errors
    /// `E0706`; a bug when the batch is not in flight; `E0708` when the token is over 64 KiB.
    fn set_token(&self, lease: &Lease, batch: i64, token: &str) -> Result<()>;

    /// Settles rows of a batch: image, refusals, dead letters and the rows to be tried again, at once. Rows without an
    /// outcome stay in flight; the batch ends with its last row.
    ///
    /// # Errors
    /// `E0706`; a bug when the batch is not in flight or an outcome names a key that is not in it.
    fn acknowledge(&self, lease: &Lease, batch: i64, outcomes: &[RowOutcome], now_us: i64) -> Result<()>;

    /// Ends a batch without an answer: its rows are pending again.
    ///
    /// # Errors
    /// `E0706`; a bug when the batch is not in flight.
    fn release_batch(&self, lease: &Lease, batch: i64, release: &BatchRelease) -> Result<()>;

    /// Rows of a sync by state.
    ///
    /// # Errors
    /// Those of the store.
    fn outbox_counts(&self, sync: &str) -> Result<OutboxCounts>;

    /// The earliest time at which a row to be retried may be sent; `None` when none waits for a time.
    ///
    /// # Errors
    /// Those of the store.
    fn next_retry_at(&self, sync: &str) -> Result<Option<i64>>;

    /// Forgets the image, refusals and outbox of a sync, without sending anything: the next run sends every row.
    ///
    /// # Errors
    /// `E0706`; a bug while a batch is in flight.
    fn reset_sync(&self, lease: &Lease) -> Result<()>;
}
