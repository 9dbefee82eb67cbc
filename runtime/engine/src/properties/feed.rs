//! Connectors without a vendor: sources give the records that are laid out for them, destinations keep what they are sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use affluent_model::Error;
use affluent_model::batch::{Batch, DeliveryReport, Outcome, OutgoingBatch, Page, Position, RowOperation};
use affluent_model::connector::{
    BoxFuture, CheckReport, Connectors, Destination, DestinationRequest, Failure, FailureKind, PageLimits, Source, SourceRequest,
    Transform, TransformRequest,
};
use affluent_model::manifest::{DestinationInfo, Durable, Idempotence, Manifest, TargetSchema};
use affluent_model::plan::Connection;
use affluent_model::schema::StreamSchema;
use affluent_model::webhook::{WebhookCheck, WebhookRequest};

use crate::rehearsal::Record;
use crate::rehearsal::records::{of_batch, to_batch};

/// Records by connection and stream.
pub(super) type Laid = BTreeMap<(String, String), Vec<Record>>;

/// Rows that one write sent, in their order.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) pipeline: String,
    pub(super) operation: RowOperation,
    pub(super) rows: Vec<Record>,
}

/// All connections.
pub(super) struct Feed {
    /// (connection, what it says of a stream).
    streams: Vec<(String, StreamSchema)>,
    laid: Mutex<Laid>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Feed {
    pub(super) fn new(streams: Vec<(String, StreamSchema)>) -> Self {
        Self { streams, laid: Mutex::default(), sent: Arc::default() }
    }

    /// What sources give from now on.
    pub(super) fn lay(&self, records: Laid) {
        *locked(&self.laid) = records;
    }

    /// What was sent since this was asked last.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *locked(&self.sent))
    }

    fn offered(&self, connection: &str) -> Vec<StreamSchema> {
        self.streams.iter().filter(|(name, _)| name == connection).map(|(_, schema)| schema.clone()).collect()
    }
}

impl Connectors for Feed {
    fn manifest<'a>(&'a self, _plugin: &'a str) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>> {
        Box::pin(async { Err(unasked()) })
    }

    fn plugins(&self) -> Vec<String> {
        Vec::new()
    }

    fn check(&self, _connection: Arc<Connection>) -> BoxFuture<'_, Result<CheckReport, Failure>> {
        Box::pin(async { Ok(CheckReport::default()) })
    }

    fn discover_streams(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<StreamSchema>, Failure>> {
        Box::pin(async move { Ok(self.offered(&connection.name)) })
    }

    fn discover_targets(&self, _connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<TargetSchema>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn check_webhook<'a>(
        &'a self,
        _connection: Arc<Connection>,
        _request: &'a WebhookRequest,
    ) -> BoxFuture<'a, Result<WebhookCheck, Failure>> {
        Box::pin(async { Err(unasked()) })
    }

    fn open_source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Box<dyn Source>, Failure>> {
        let mut parts = Vec::new();
        let laid = locked(&self.laid);
        // Records that belong to others come in the pages of those alone.
        let own = Some(&request.stream).filter(|schema| schema.parent.is_none());
        for schema in own.into_iter().chain(&request.children) {
            let records = laid.get(&(request.connection.name.clone(), schema.name.clone()));
            let records = to_batch(schema, records.map_or(&[], Vec::as_slice)).unwrap();
            if records.num_rows() > 0 {
                parts.push(Batch { stream: schema.name.clone(), operation: RowOperation::Upsert, records });
            }
        }
        Box::pin(async move { Ok(Box::new(Laying { parts }) as Box<dyn Source>) })
    }

    fn open_destination(&self, request: DestinationRequest) -> BoxFuture<'_, Result<Box<dyn Destination>, Failure>> {
        let (durable, idempotent, forms) = (Durable::Write, Idempotence::ByKey, BTreeMap::new());
        let info = DestinationInfo { durable, idempotent, max_rows: None, max_bytes: None, forms, removes: false };
        let keeping = Keeping { info, pipeline: request.pipeline, sent: Arc::clone(&self.sent) };
        Box::pin(async move { Ok(Box::new(keeping) as Box<dyn Destination>) })
    }

    fn open_transform(&self, _request: TransformRequest) -> BoxFuture<'_, Result<Box<dyn Transform>, Failure>> {
        Box::pin(async { Err(unasked()) })
    }
}

/// A source with one page.
struct Laying {
    parts: Vec<Batch>,
}

impl Source for Laying {
    fn next(&mut self, _limits: PageLimits) -> BoxFuture<'_, Result<Page, Failure>> {
        let parts = std::mem::take(&mut self.parts);
        let page = Page { parts, rejected: Vec::new(), state: Some(b"read".to_vec()), position: Position::End };
        Box::pin(async move { Ok(page) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A destination that accepts every row.
struct Keeping {
    info: DestinationInfo,
    pipeline: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Destination for Keeping {
    fn info(&self) -> &DestinationInfo {
        &self.info
    }

    fn write(&mut self, batch: OutgoingBatch) -> BoxFuture<'_, Result<Outcome, Failure>> {
        let rows = of_batch(&batch.records);
        let report = DeliveryReport { accepted: rows.len(), ..DeliveryReport::default() };
        locked(&self.sent).push(Sent { pipeline: self.pipeline.clone(), operation: batch.operation, rows });
        Box::pin(async move { Ok(Outcome::Done(report)) })
    }

    fn poll<'a>(&'a mut self, _token: &'a str, _batch: &'a OutgoingBatch) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async { Err(unasked()) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

fn unasked() -> Failure {
    let error = Error::bug("nobody asks this of a connector without a plugin");
    Failure { kind: FailureKind::Unsupported, plugin_code: "feed".to_owned(), retry_after_ms: None, error }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
