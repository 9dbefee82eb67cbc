//! Records in motion: batches, pages read from a source, batches on their way to a destination and their outcomes.

use arrow::record_batch::RecordBatch;

/// What a batch of rows does to records of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOperation {
    Upsert,
    Delete,
}

impl RowOperation {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// Rows of one stream, in the columns of its schema.
#[derive(Debug, Clone)]
pub struct Batch {
    pub stream: String,
    pub operation: RowOperation,
    pub records: RecordBatch,
}

/// A record refused for good, on its way to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub stream: String,
    /// Where it stood: "customers.csv line 17", "record 5 of page 3".
    pub place: String,
    /// Stable and machine-readable: "csv.field_count".
    pub code: String,
    /// Never a personal value.
    pub message: String,
    /// The record as read; sealed before it is stored.
    pub raw: Option<Vec<u8>>,
}

/// Whether a source has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Call again.
    More,
    /// Nothing now; a later run may find more.
    Idle,
    /// The stream is finished.
    End,
}

/// What one read returned.
#[derive(Debug, Clone)]
pub struct Page {
    /// A stream and, where it has them, its child streams.
    pub parts: Vec<Batch>,
    pub rejected: Vec<Rejected>,
    /// Where to resume once this page is durable, at most 64 KiB; `None` = not a safe point.
    pub state: Option<Vec<u8>>,
    pub position: Position,
}

impl Page {
    /// Rows of all parts.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.records.num_rows()).sum()
    }
}

/// Rows for a destination; the key is the same on every attempt at the same rows.
#[derive(Debug, Clone)]
pub struct OutgoingBatch {
    pub idempotency_key: String,
    pub operation: RowOperation,
    pub records: RecordBatch,
}

/// What a destination said about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Row number in the batch that was handed over.
    pub row: usize,
    pub code: String,
    /// Never a personal value.
    pub message: String,
    pub field: Option<String>,
}

/// What became of a batch: `accepted + skipped + failed + retryable` = rows handed over, checked by the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    pub accepted: usize,
    pub skipped: Vec<RowError>,
    /// Refused for good: to the dead letters.
    pub failed: Vec<RowError>,
    /// To be sent again later.
    pub retryable: Vec<RowError>,
    /// (row, id in the destination).
    pub remote_ids: Vec<(usize, String)>,
}

/// The answer of a destination to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done(DeliveryReport),
    /// A bulk import runs at the destination: ask again with `token` after `after_ms`.
    Pending {
        token: String,
        after_ms: u64,
    },
}
