//! The connectors of a test: sources that play given records, destinations that remember what they are sent. What plugins
//! say of themselves, and what transforms do, is real.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use affluent_model::batch::{Batch, DeliveryReport, Outcome, OutgoingBatch, Page, Position, RowOperation};
use affluent_model::connector::{
    BoxFuture, CheckReport, Connectors, Destination, DestinationRequest, Failure, FailureKind, PageLimits, Source, SourceRequest,
    Transform, TransformRequest,
};
use affluent_model::manifest::{DestinationInfo, Durable, Idempotence, Manifest, TargetSchema};
use affluent_model::plan::Connection;
use affluent_model::schema::StreamSchema;
use affluent_model::webhook::{WebhookCheck, WebhookRequest};
use affluent_model::{Error, Result};
use serde_json::{Map, Value};

use super::records;

/// A record: field → value.
pub type Record = Map<String, Value>;

/// Records by pipeline (`None` = any) and stream.
pub type GivenRecords = BTreeMap<(Option<String>, String), Vec<Record>>;

/// Rows that one write sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) pipeline: String,
    pub(super) operation: RowOperation,
    pub(super) rows: Vec<Record>,
}

/// What a test plays on.
pub struct Stage {
    real: Arc<dyn Connectors>,
    /// `None` = sources are real: they read a recording.
    given: Option<GivenRecords>,
    read: Mutex<BTreeSet<(Option<String>, String)>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Stage {
    /// A stage whose sources give these records, or with `None` are those of `real`.
    #[must_use]
    pub fn new(real: Arc<dyn Connectors>, given: Option<GivenRecords>) -> Self {
        Self { real, given, read: Mutex::default(), sent: Arc::default() }
    }

    pub(super) fn is_live(&self) -> bool {
        self.given.is_none()
    }

    pub(super) fn gives(&self, pipeline: &str, stream: &str) -> bool {
        self.key(pipeline, stream).is_some()
    }

    pub(super) fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        locked(&self.sent)
    }

    /// Given streams that nobody read.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = locked(&self.read);
        let unread = self.given.iter().flatten().map(|(key, _)| key).filter(|key| !read.contains(*key));
        unread
            .map(|(pipeline, stream)| match pipeline {
                Some(pipeline) => format!("{pipeline}.{stream}"),
                None => stream.clone(),
            })
            .collect()
    }

    fn key(&self, pipeline: &str, stream: &str) -> Option<(Option<String>, String)> {
        let given = self.given.as_ref()?;
        let keys = [(Some(pipeline.to_owned()), stream.to_owned()), (None, stream.to_owned())];
        keys.into_iter().find(|key| given.contains_key(key))
    }

    fn play(&self, request: &SourceRequest) -> Result<Played> {
        let mut parts = Vec::new();
        for schema in std::iter::once(&request.stream).chain(&request.children) {
            let Some(key) = self.key(&request.pipeline, &schema.name) else { continue };
            let records = self.given.iter().flatten().find(|(known, _)| **known == key).map(|(_, records)| records.as_slice());
            let records = records::to_batch(schema, records.unwrap_or_default())?;
            locked(&self.read).insert(key);
            if records.num_rows() > 0 {
                parts.push(Batch { stream: schema.name.clone(), operation: RowOperation::Upsert, records });
            }
        }
        Ok(Played { parts })
    }
}

impl Connectors for Stage {
    fn manifest<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>> {
        self.real.manifest(plugin)
    }

    fn plugins(&self) -> Vec<String> {
        self.real.plugins()
    }

    fn check(&self, _connection: Arc<Connection>) -> BoxFuture<'_, Result<CheckReport, Failure>> {
        Box::pin(async { Ok(CheckReport::default()) })
    }

    fn discover_streams(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<StreamSchema>, Failure>> {
        Box::pin(async move {
            let offered = self.real.discover_streams(connection).await;
            match (&self.given, offered) {
                // A vendor that cannot be asked from here: the records say what its streams are.
                (Some(given), Err(_)) => Ok(given.iter().map(|((_, name), rows)| records::inferred(name, rows)).collect()),
                (_, offered) => offered,
            }
        })
    }

    fn discover_targets(&self, connection: Arc<Connection>) -> BoxFuture<'_, Result<Vec<TargetSchema>, Failure>> {
        self.real.discover_targets(connection)
    }

    fn check_webhook<'a>(
        &'a self,
        connection: Arc<Connection>,
        request: &'a WebhookRequest,
    ) -> BoxFuture<'a, Result<WebhookCheck, Failure>> {
        self.real.check_webhook(connection, request)
    }

    fn open_source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Box<dyn Source>, Failure>> {
        if self.is_live() {
            return self.real.open_source(request);
        }
        let played = self.play(&request).map_err(failure);
        Box::pin(async move { Ok(Box::new(played?) as Box<dyn Source>) })
    }

    fn open_destination(&self, request: DestinationRequest) -> BoxFuture<'_, Result<Box<dyn Destination>, Failure>> {
        let (durable, idempotent, forms) = (Durable::Write, Idempotence::ByKey, BTreeMap::new());
        let info = DestinationInfo { durable, idempotent, max_rows: None, max_bytes: None, forms, removes: false };
        let remembering = Remembering { info, pipeline: request.pipeline, sent: Arc::clone(&self.sent) };
        Box::pin(async move { Ok(Box::new(remembering) as Box<dyn Destination>) })
    }

    fn open_transform(&self, request: TransformRequest) -> BoxFuture<'_, Result<Box<dyn Transform>, Failure>> {
        self.real.open_transform(request)
    }
}

/// A source with one page.
struct Played {
    parts: Vec<Batch>,
}

impl Source for Played {
    fn next(&mut self, _limits: PageLimits) -> BoxFuture<'_, Result<Page, Failure>> {
        let parts = std::mem::take(&mut self.parts);
        let page = Page { parts, rejected: Vec::new(), state: Some(b"played".to_vec()), position: Position::End };
        Box::pin(async move { Ok(page) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A destination that accepts every row.
struct Remembering {
    info: DestinationInfo,
    pipeline: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Destination for Remembering {
    fn info(&self) -> &DestinationInfo {
        &self.info
    }

    fn write(&mut self, batch: OutgoingBatch) -> BoxFuture<'_, Result<Outcome, Failure>> {
        let rows = records::of_batch(&batch.records);
        let report = DeliveryReport { accepted: rows.len(), ..DeliveryReport::default() };
        locked(&self.sent).push(Sent { pipeline: self.pipeline.clone(), operation: batch.operation, rows });
        Box::pin(async move { Ok(Outcome::Done(report)) })
    }

    fn poll<'a>(&'a mut self, _token: &'a str, _batch: &'a OutgoingBatch) -> BoxFuture<'a, Result<Outcome, Failure>> {
        let error = Error::bug("a destination of a test is never asked twice");
        Box::pin(async move { Err(failure(error)) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

fn failure(error: Error) -> Failure {
    Failure { kind: FailureKind::Config, plugin_code: "test.given".to_owned(), retry_after_ms: None, error }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
