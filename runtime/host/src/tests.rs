//! The host with real guests: what the hostile plugin does, and files through the jsonl plugin.

mod blind;
mod files;
mod frozen;
mod hostile_destination;
mod hostile_source;
mod lifecycle;

use std::sync::Arc;
use std::time::Duration;

use affluent_model::batch::{Outcome, OutgoingBatch, Page, RowOperation};
use affluent_model::connector::{Connectors, Destination, DestinationRequest, Failure, PageLimits, Source, SourceRequest};
use affluent_model::plan::Connection;
use affluent_model::schema::{StreamSchema, SyncMode};
use serde_json::{Value, json};

use crate::Host;
use crate::test_support::{Recorded, TestHost, connection, plugins_built};

/// Long enough for a good call on a busy machine, short enough to wait for a bad one.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const LIMITS: PageLimits = PageLimits { rows_max: 10_000, bytes_max: 1 << 20 };

/// A host that knows the built plugins.
fn host() -> (Host, Recorded) {
    let (mut options, recorded) = TestHost::new().with_plugins(plugins_built()).with_call_timeout(CALL_TIMEOUT).split();
    // Compiled once for all tests.
    options.cache_dir = Some(plugins_built().join("host-test-cache"));
    (Host::new(options).unwrap(), recorded)
}

/// A connection to the hostile plugin.
fn hostile(config: Value) -> Arc<Connection> {
    Arc::new(connection("hostile", config))
}

fn behaving(behaviour: &str) -> Arc<Connection> {
    // Refused before anything is resolved: no test goes out.
    hostile(json!({"behaviour": behaviour, "url": "https://127.0.0.1/"}))
}

async fn stream(host: &Host) -> StreamSchema {
    host.discover_streams(hostile(json!({}))).await.unwrap().remove(0)
}

async fn open_source(host: &Host, connection: Arc<Connection>, state: Option<Vec<u8>>) -> Result<Box<dyn Source>, Failure> {
    let stream = stream(host).await;
    let pipeline = "pipe".to_owned();
    let sync = SyncMode::Incremental;
    host.open_source(SourceRequest {
        pipeline,
        connection,
        stream,
        children: Vec::new(),
        sync,
        since_us: None,
        lookback_ms: 0,
        state,
    })
    .await
}

/// The first page of a source that does this.
async fn first_page(host: &Host, connection: Arc<Connection>) -> Result<Page, Failure> {
    open_source(host, connection, None).await?.next(LIMITS).await
}

async fn open_destination(host: &Host, connection: Arc<Connection>) -> Result<Box<dyn Destination>, Failure> {
    let fields = stream(host).await.fields;
    let request = DestinationRequest {
        pipeline: "pipe".to_owned(),
        connection,
        object: "items".to_owned(),
        mode: "upsert".to_owned(),
        match_fields: vec!["id".to_owned()],
        list: None,
        fields,
        plaintext: Vec::new(),
        run: "run-1".to_owned(),
    };
    host.open_destination(request).await
}

/// Ten good records on their way to a destination.
async fn batch(host: &Host) -> OutgoingBatch {
    let page = first_page(host, hostile(json!({}))).await.unwrap();
    let records = page.parts[0].records.clone();
    OutgoingBatch { idempotency_key: "key".to_owned(), operation: RowOperation::Upsert, records }
}

async fn write(host: &Host, connection: Arc<Connection>) -> Result<Outcome, Failure> {
    let batch = batch(host).await;
    open_destination(host, connection).await?.write(batch).await
}
