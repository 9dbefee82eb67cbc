//! Dead letters: records refused for good, kept with their reason and, sealed, with what they were.

use affluent_model::Result;

/// Where a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Read,
    Transform,
    Admit,
    Deliver,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Read, Self::Transform, Self::Admit, Self::Deliver];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Transform => "transform",
            Self::Admit => "admit",
            Self::Deliver => "deliver",
        }
    }
}

/// A record on its way to the dead letters of the lease's pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// A stream, or the object of a destination.
    pub stream: String,
    pub stage: Stage,
    /// "customers.csv line 17", "batch 3".
    pub place: String,
    pub code: String,
    /// Never a personal value.
    pub message: String,
    /// The record at the stage that failed; the sealed value names its key.
    pub payload_sealed: Option<Vec<u8>>,
    pub at_us: i64,
}

/// A stored dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    pub id: i64,
    pub pipeline: String,
    /// The run that refused it.
    pub run: i64,
    pub letter: NewDeadLetter,
}

/// Which dead letters; an empty filter means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    pub pipeline: Option<String>,
    pub stream: Option<String>,
    pub stage: Option<Stage>,
    pub run: Option<i64>,
}

/// Dead letters of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCount {
    pub pipeline: String,
    pub stream: String,
    pub stage: Stage,
    pub code: String,
    pub count: u64,
}

/// The payload of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedLetter {
    pub id: i64,
    /// What its ciphertext is bound to.
    pub stream: String,
    pub payload_sealed: Vec<u8>,
}

pub trait DeadLetters {
    /// Dead letters, newest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetterRow>>;

    /// How many there are, by pipeline, stream, stage and code.
    ///
    /// # Errors
    /// Those of the store.
    fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>>;

    /// Visits every dead letter that has a payload, oldest first.
    ///
    /// # Errors
    /// Those of the store, and what `visit` returns.
    fn dead_letter_payloads(&self, visit: &mut dyn FnMut(SealedLetter) -> Result<()>) -> Result<()>;

    /// Takes the payloads away from dead letters; the bytes are overwritten in the file.
    ///
    /// # Errors
    /// Those of the store.
    fn clear_dead_letter_payloads(&self, ids: &[i64]) -> Result<()>;

    /// Removes dead letters by id and returns how many there were.
    ///
    /// # Errors
    /// Those of the store.
    fn drop_dead_letters(&self, ids: &[i64]) -> Result<u64>;
}
