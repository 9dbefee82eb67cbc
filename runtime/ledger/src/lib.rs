//! The ledger: the transactional truth of a workspace (architecture.md §4). Runs and leases, checkpoints, the manifest of
//! the lake, the identity graph, wrapped keys, the outbox and the images of destinations live here, behind one trait that
//! speaks in the types of `model`; SQL and driver types never cross it, so that another database can stand behind it.
//! It reads no clock, draws no randomness and never sees a key or a personal value: only ciphertext and blind indexes.

mod contract;
mod error;
mod sqlite;

pub use contract::Ledger;
pub use contract::audit::{Audit, AuditRow};
pub use contract::computed::{Computed, Membership, SegmentSize, SnapshotCommit, SnapshotFile, SnapshotRow};
pub use contract::credentials::{CredentialClaim, CredentialClaimed, CredentialRow, Credentials};
pub use contract::dead_letters::{
    DeadLetterCount, DeadLetterFilter, DeadLetterRow, DeadLetters, NewDeadLetter, SealedLetter, Stage,
};
pub use contract::decisions::{Decided, DecisionChange, DecisionRow, Decisions, NewDecision};
pub use contract::erasure_calls::{CallOutcome, ErasureCall, ErasureCalls};
pub use contract::erasures::{ErasureRow, Erasures, NewErasure, NewReceipt, ReceiptRow, ReceiptState, SentRow};
pub use contract::identity::{FoundNode, Identity, KeptApart, Neighbourhood, NodeRow, ResolutionCommit, Unknown};
pub use contract::ingest::{Checkpoint, EpochCommit, FileRow, Ingest, NewFile, NewNode};
pub use contract::keys::{Keys, StoredKeyRow};
pub use contract::outbox::{
    BatchRelease, ImageMove, ImageRow, NewOutboxRow, Outbox, OutboxBatch, OutboxCounts, OutboxPlan, OutboxRow, RefusalRow,
    RowOutcome, RowResult, TakeBatch,
};
pub use contract::plugin_values::PluginValues;
pub use contract::runs::{Lease, LeaseRow, RunEnd, RunRow, RunStart, Runs};
pub use contract::suppressions::{SuppressedPerson, Suppressions, Withdrawal};
pub use contract::webhooks::{NewRequest, NewsRow, RequestEnd, RequestRow, Webhooks};
pub use sqlite::SqliteLedger;
