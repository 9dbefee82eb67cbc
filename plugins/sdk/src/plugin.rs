//! The traits an author implements. The configuration arrives typed, streams and targets as structs; the export
//! macros of [`crate::export`] translate.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::destination_exports::exports::affluent::plugin::destination as destination_types;
use crate::bindings::imports::affluent::plugin::types;
use crate::bindings::source_exports::exports::affluent::plugin::source as source_types;
use crate::bindings::transform_exports::exports::affluent::plugin::transform as transform_types;
use crate::columns::{Columns, Payload};
use crate::error::{Error, Result, RowError};
use crate::manifest::{DestinationInfo, Manifest, Target, TargetSchema};
use crate::stream::{StreamSchema, StreamSpec};

pub use destination_types::{Batch, Outcome, Report};
pub use source_types::{Limits, Page, Position};
pub use transform_types::Output;
pub use types::{Part, RejectedRow, RowOp};

/// What every plugin has: a typed configuration and a manifest.
pub trait Plugin: 'static {
    /// The connection's `config`. Its JSON Schema is what the host checks first; use `deny_unknown_fields`.
    type Config: DeserializeOwned + JsonSchema;

    /// Start from [`Manifest::new`] with the type of the configuration. Called without any grant: use no host service.
    fn manifest() -> Manifest;

    /// Checks what the schema cannot say; may go out to the service.
    ///
    /// # Errors
    /// `config`, `auth` or `permission`, with what to change.
    fn check(_config: &Self::Config) -> Result<CheckReport> {
        Ok(CheckReport::default())
    }
}

/// What a check found although nothing is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Lines for the user.
    pub notes: Vec<String>,
}

/// An account at a service, open for what sources and destinations over declarations ask of it; what it keeps lasts as long as they
/// are open.
pub trait Account: Sized + 'static {
    /// As the plugin's.
    type Config: DeserializeOwned;

    /// The account of a configuration; asks nothing yet.
    fn connect(config: &Self::Config) -> Self;
}

/// One open reader of one stream.
pub trait Source: Sized + 'static {
    /// As the plugin's.
    type Config: DeserializeOwned;

    /// The streams that this configuration gives.
    ///
    /// # Errors
    /// Any kind.
    fn discover(config: &Self::Config) -> Result<Vec<StreamSchema>>;

    /// Opens a stream at the state of the last stored page, at its start without one.
    ///
    /// # Errors
    /// Any kind; `config` for an unknown stream.
    fn open(config: Self::Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self>;

    /// Reads the next page, within `limits`.
    ///
    /// # Errors
    /// Any kind. After `rate_limited` and `transient` the host calls again: keep the place.
    fn next(&mut self, limits: Limits) -> Result<Page>;

    /// Ends the reading; nothing is asked afterwards.
    fn close(&mut self) {}
}

/// One open writer of one object.
pub trait Destination: Sized + 'static {
    /// As the plugin's.
    type Config: DeserializeOwned;

    /// The objects that can be written.
    ///
    /// # Errors
    /// Any kind.
    fn discover(config: &Self::Config) -> Result<Vec<TargetSchema>>;

    /// Opens a target; says what the host may rely on.
    ///
    /// # Errors
    /// Any kind; `config` for an unknown object or a mode it does not have.
    fn open(config: Self::Config, target: Target) -> Result<(Self, DestinationInfo)>;

    /// Writes a batch. Every row must be counted in the outcome: see [`Report`].
    ///
    /// # Errors
    /// Any kind, for the batch as a whole; single rows go into the report.
    fn write(&mut self, batch: Batch) -> Result<Outcome>;

    /// Asks after a batch that was `pending`, also from a later process.
    ///
    /// # Errors
    /// Any kind.
    fn poll(&mut self, _token: &str) -> Result<Outcome> {
        Err(Error::unsupported("this destination has no pending batches"))
    }

    /// Asks the service to erase people for good; called when the object says [`TargetSchema::erases`]. Rows have the match
    /// columns, and `_remote_id` where an earlier report told one. A row is accepted when the service took the request, with what
    /// it calls the request or the person as its remote id; who is not known there is accepted too. It may be asked twice.
    ///
    /// # Errors
    /// Any kind, for the batch as a whole; single rows go into the report.
    fn erase(&mut self, _people: &Batch) -> Result<Report> {
        Err(Error::unsupported("this destination erases nobody"))
    }

    /// Looks whether people who were to be erased are gone; called when the object says [`TargetSchema::verifies_erasure`], with
    /// the rows of [`Destination::erase`], from time to time. Accepted = gone, retryable = still there.
    ///
    /// # Errors
    /// Any kind, for the batch as a whole.
    fn verify_erasure(&mut self, _people: &Batch) -> Result<Report> {
        Err(Error::unsupported("this destination cannot tell who was erased"))
    }

    /// Ends the writing; with `Durable::Close` it makes everything visible.
    ///
    /// # Errors
    /// Any kind.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One open transform. It has no network and no store: what it is given can leave only through its output.
pub trait Transform: Sized + 'static {
    /// As the plugin's.
    type Config: DeserializeOwned;

    /// Opens the transform for records of this form, and says which form they leave in.
    ///
    /// # Errors
    /// `config` when the input lacks what is needed.
    fn open(config: Self::Config, input: StreamSchema) -> Result<(Self, StreamSchema)>;

    /// Transforms a batch; rows it cannot take come back as rejected.
    ///
    /// # Errors
    /// Any kind, for the batch as a whole.
    fn apply(&mut self, batch: Payload) -> Result<Output>;

    /// Gives out rows that were held back; called once at the end.
    ///
    /// # Errors
    /// Any kind.
    fn finish(&mut self) -> Result<Option<Output>> {
        Ok(None)
    }
}

impl Page {
    /// A page of one stream's records without state, with more to come.
    pub fn of(stream: &str, columns: Columns) -> Self {
        let parts = if columns.rows == 0 { Vec::new() } else { vec![Part::upsert(stream, columns)] };
        Self { parts, rejected: Vec::new(), state: None, position: Position::More }
    }
}

impl Part {
    /// New and changed records.
    pub fn upsert(stream: &str, columns: Columns) -> Self {
        Self { stream: stream.to_owned(), op: RowOp::Upsert, payload: Payload::Columns(columns) }
    }

    /// Records that are gone; the columns hold the primary key.
    pub fn delete(stream: &str, columns: Columns) -> Self {
        Self { stream: stream.to_owned(), op: RowOp::Delete, payload: Payload::Columns(columns) }
    }
}

/// The raw bytes of a rejected row kept at most, in bytes; the contract's limit.
pub const RAW_BYTES_MAX: usize = 64 * 1024;

impl RejectedRow {
    /// A row that could not be read: where it stood, why, and its bytes as far as [`RAW_BYTES_MAX`].
    pub fn new(stream: &str, place: String, error: &Error, raw: &[u8]) -> Self {
        let raw = raw.iter().take(RAW_BYTES_MAX).copied().collect();
        Self { stream: stream.to_owned(), place, code: error.code.clone(), message: error.message.clone(), raw: Some(raw) }
    }
}

impl Report {
    /// All of `rows` were accepted.
    pub fn accepted(rows: u32) -> Self {
        Self { accepted: rows, skipped: Vec::new(), failed: Vec::new(), retryable: Vec::new(), remote_ids: Vec::new() }
    }

    /// The rows that are in no list were accepted: sets `accepted` so that the counts add up to `rows`.
    #[must_use]
    pub fn counted(mut self, rows: u32) -> Self {
        let refused = self.skipped.len() + self.failed.len() + self.retryable.len();
        self.accepted = rows.saturating_sub(u32::try_from(refused).unwrap_or(u32::MAX));
        self
    }

    /// Puts a row's error where its kind belongs: `transient` and `rate_limited` are sent again, others are not.
    pub fn refuse(&mut self, error: RowError) {
        use crate::error::ErrorKind::{RateLimited, Transient};
        if matches!(error.kind, RateLimited | Transient) { self.retryable.push(error) } else { self.failed.push(error) }
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Self {
        Self::Done(report)
    }
}

impl Batch {
    /// The batch's columns.
    ///
    /// # Errors
    /// `unsupported` for NDJSON, which is sent only to plugins whose manifest accepts it.
    pub fn columns(&self) -> Result<&Columns> {
        match &self.payload {
            Payload::Columns(columns) => Ok(columns),
            Payload::Ndjson(_) => Err(Error::unsupported("this plugin accepts columns only")),
        }
    }
}
