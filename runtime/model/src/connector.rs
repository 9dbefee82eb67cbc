//! The connector traits: what the engine asks of a plugin, whoever runs it. `host` implements them, `cli` hands
//! them to the engine; neither knows the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Outcome, OutgoingBatch, Page, Rejected};
use crate::error::{Error, Result};
use crate::manifest::{DestinationInfo, Manifest, TargetSchema};
use crate::plan::Connection;
use crate::schema::{Field, StreamSchema, SyncMode};
use crate::webhook::{WebhookCheck, WebhookRequest};

/// A boxed future, so that the traits below can be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What kind of failure a plugin reported or suffered; it decides what the engine does (plugins.md §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The user must change the configuration.
    Config,
    /// Credentials refused.
    Auth,
    /// Authenticated, but a scope is missing.
    Permission,
    NotFound,
    /// Wait, then call again.
    RateLimited,
    /// Back off, then call again.
    Transient,
    /// The whole batch was refused: bisect to the poison row.
    InvalidData,
    Unsupported,
    /// The plugin says it has a bug.
    Internal,
    /// The sandbox stopped it: trap, deadline, memory, bad output. The instance is gone.
    Trap,
    /// The same cursor again and again (E_CURSOR_LOOP).
    CursorLoop,
    /// The run is being stopped.
    Cancelled,
}

/// A failed call of a plugin. `error` is safe to show and store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// Of the plugin: "shopify.throttled".
    pub plugin_code: String,
    pub retry_after_ms: Option<u64>,
    pub error: Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// How many rows and bytes a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    pub rows_max: u32,
    pub bytes_max: u32,
}

/// One open reader of one stream.
pub trait Source: Send {
    /// Reads the next page. After an error of kind `Trap` the reader is dead: open a new one from the last state.
    ///
    /// # Errors
    /// [`Failure`] with the kind that decides what to do.
    fn next(&mut self, limits: PageLimits) -> BoxFuture<'_, Result<Page, Failure>>;

    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// What a transform returns: the batch, and the rows it refused.
pub type Transformed = (Batch, Vec<Rejected>);

/// One open transform of one stream.
pub trait Transform: Send {
    /// Transforms a batch; refused rows come back with their reason.
    ///
    /// # Errors
    /// [`Failure`]; after `Trap` the instance is dead.
    fn apply(&mut self, batch: Batch) -> BoxFuture<'_, Result<Transformed, Failure>>;

    /// Rows that were held back; called once at the end.
    ///
    /// # Errors
    /// [`Failure`].
    fn finish(&mut self) -> BoxFuture<'_, Result<Option<Transformed>, Failure>>;

    /// The columns of what [`Transform::apply`] returns.
    fn output_fields(&self) -> &[Field];
}

/// One open writer of one object.
pub trait Destination: Send {
    fn info(&self) -> &DestinationInfo;

    /// Writes a batch. Counts in the report add up to the rows handed over (checked by the host).
    ///
    /// # Errors
    /// [`Failure`]; after `Trap` the writer is dead and the batch is in doubt.
    fn write(&mut self, batch: OutgoingBatch) -> BoxFuture<'_, Result<Outcome, Failure>>;

    /// Asks after a bulk import, also in a later process; `batch` is the one that was handed over, with the same key, so
    /// that the report can be checked and the answers of the remote cleared of its personal values.
    ///
    /// # Errors
    /// [`Failure`].
    fn poll<'a>(&'a mut self, token: &'a str, batch: &'a OutgoingBatch) -> BoxFuture<'a, Result<Outcome, Failure>>;

    /// Ends the writing; for [`crate::manifest::Durable::Close`] this makes it visible.
    ///
    /// # Errors
    /// [`Failure`].
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Failure>>;
}

/// Which reader to open.
#[derive(Debug, Clone)]
pub struct SourceRequest {
    pub pipeline: String,
    pub connection: Arc<Connection>,
    pub stream: StreamSchema,
    /// Its child streams, read in the same pages.
    pub children: Vec<StreamSchema>,
    pub sync: SyncMode,
    /// Microseconds UTC: nothing older on a first read.
    pub since_us: Option<i64>,
    /// How far back an incremental read looks again.
    pub lookback_ms: u64,
    /// The last committed state.
    pub state: Option<Vec<u8>>,
}

/// Which writer to open.
#[derive(Debug, Clone)]
pub struct DestinationRequest {
    pub pipeline: String,
    pub connection: Arc<Connection>,
    pub object: String,
    /// `insert | update | upsert | mirror | append`.
    pub mode: String,
    /// Columns that identify a record at the destination.
    pub match_fields: Vec<String>,
    pub list: Option<String>,
    /// All columns of the batches, match columns included. Those with a PII class reach the plugin as tokens.
    pub fields: Vec<Field>,
    /// Names of `fields` that the pipeline lets the plugin see in the clear although they are personal.
    pub plaintext: Vec<String>,
    /// Unique per run: file names, remote labels.
    pub run: String,
}

/// Which transform to open.
#[derive(Debug, Clone)]
pub struct TransformRequest {
    pub pipeline: String,
    /// Plugin reference: `acme/order-tagger`.
    pub plugin: String,
    pub config: serde_json::Value,
    pub stream: StreamSchema,
}

/// What a plugin's own check of a connection found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Lines for users: what could not be tried, which scope is missing for what.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Everything the engine can ask of plugins.
pub trait Connectors: Send + Sync {
    /// The manifest of a plugin, cached by digest.
    ///
    /// # Errors
    /// Unknown plugin (with near names in the help), refused component.
    fn manifest<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>>;

    /// Names of the plugins at hand, sorted.
    fn plugins(&self) -> Vec<String>;

    /// The plugin's own deep check of a connection; may go out to the vendor.
    ///
    /// # Errors
    /// [`Failure`] of kind `Config`, `Auth`, `Permission`…
    fn check(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<CheckReport, Failure>>;

    /// Streams of a source.
    ///
    /// # Errors
    /// [`Failure`].
    fn discover_streams(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<StreamSchema>, Failure>>;

    /// Objects of a destination.
    ///
    /// # Errors
    /// [`Failure`].
    fn discover_targets(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<TargetSchema>, Failure>>;

    /// Whether a request came from the service of a connection: by its signature and, where that is signed, its time.
    ///
    /// # Errors
    /// [`Failure`] of kind `Config` when the plugin or the connection takes no webhooks, or its secret cannot be had.
    fn check_webhook<'a>(
        &'a self,
        connection: Arc<Connection>,
        request: &'a WebhookRequest,
    ) -> BoxFuture<'a, Result<WebhookCheck, Failure>>;

    /// Opens a reader.
    ///
    /// # Errors
    /// [`Failure`].
    fn open_source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Box<dyn Source>, Failure>>;

    /// Opens a writer.
    ///
    /// # Errors
    /// [`Failure`].
    fn open_destination(&self, request: DestinationRequest) -> BoxFuture<'_, Result<Box<dyn Destination>, Failure>>;

    /// Opens a transform.
    ///
    /// # Errors
    /// [`Failure`].
    fn open_transform(&self, request: TransformRequest) -> BoxFuture<'_, Result<Box<dyn Transform>, Failure>>;
}
