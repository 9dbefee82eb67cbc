//! What a page costs on its way through the sandbox: reads a connection to its end and prints records per second, then
//! writes the same records and prints that. Not part of the product.
//!
//! `page_cost FOLDER SOURCE CONFIG READ_PATTERN DESTINATION CONFIG`; files are relative to the working folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use affluent_host::{Backoff, CALL_TIMEOUT_MAX, Exchanges, Host, HostOptions, KeyValue, Secret, SystemClock};
use affluent_model::Result;
use affluent_model::batch::{Batch, OutgoingBatch, Position};
use affluent_model::connector::{Connectors, DestinationRequest, PageLimits, SourceRequest};
use affluent_model::diagnostic::Location;
use affluent_model::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use affluent_model::schema::{StreamSchema, SyncMode};

struct NoStore;

impl KeyValue for NoStore {
    fn get(&self, _: &str, _: &str, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn put(&self, _: &str, _: &str, _: &str, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn delete(&self, _: &str, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

fn host(folder: PathBuf) -> Result<Host> {
    Host::new(HostOptions {
        plugin_dirs: vec![folder.clone()],
        embedded: &[],
        cache_dir: Some(folder.join("page-cost-cache")),
        project_root: PathBuf::from("."),
        output_root: None,
        exchanges: Exchanges::Live,
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(|buffer| buffer.fill(7)),
        secrets: Arc::new(|_, _| Ok(Secret::new("secret".to_owned()))),
        addresses: affluent_host::system_resolver(),
        key_value: Arc::new(NoStore),
        log: Arc::new(|_| {}),
        audit: Arc::new(|_| {}),
        cancelled: Arc::default(),
        backoff: Backoff::default(),
        call_timeout_max: CALL_TIMEOUT_MAX,
    })
}

fn connection(plugin: &str, config: &str, read: &str) -> std::result::Result<Arc<Connection>, serde_json::Error> {
    let at = Location { file: "page_cost.yaml".into(), line: 1, column: 1, length: 1 };
    Ok(Arc::new(Connection {
        name: "page_cost".to_owned(),
        plugin: plugin.to_owned(),
        config: serde_json::from_str(config)?,
        secrets: Default::default(),
        limits: ConnectionLimits::default(),
        egress: Egress::default(),
        files: FileGrants { read: vec![read.to_owned()], write: vec!["page-cost-out/".to_owned()] },
        at: at.clone(),
        config_at: at,
    }))
}

async fn read(host: &Host, connection: Arc<Connection>, stream: StreamSchema) -> Result<Vec<Batch>> {
    let (pipeline, sync) = ("page_cost".to_owned(), SyncMode::FullRefresh);
    let request =
        SourceRequest { pipeline, connection, stream, children: Vec::new(), sync, since_us: None, lookback_ms: 0, state: None };
    let mut source = host.open_source(request).await?;
    let mut batches = Vec::new();
    loop {
        let page = source.next(PageLimits { rows_max: PAGE_ROWS_MAX, bytes_max: PAGE_BYTES_MAX }).await?;
        batches.extend(page.parts);
        if page.position != Position::More {
            return Ok(batches);
        }
    }
}

async fn write(host: &Host, connection: Arc<Connection>, stream: &StreamSchema, batches: Vec<Batch>) -> Result<()> {
    let request = DestinationRequest {
        pipeline: "page_cost".to_owned(),
        connection,
        object: "items".to_owned(),
        mode: "append".to_owned(),
        match_fields: Vec::new(),
        list: None,
        fields: stream.fields.clone(),
        run: "page-cost".to_owned(),
    };
    let mut destination = host.open_destination(request).await?;
    for batch in batches {
        let outgoing = OutgoingBatch { idempotency_key: "key".to_owned(), operation: batch.operation, records: batch.records };
        destination.write(outgoing).await?;
    }
    Ok(destination.close().await?)
}

#[expect(clippy::print_stdout, reason = "printing the figures is what it is for")]
fn print_rate(what: &str, rows: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    let rate = rows as f64 / seconds;
    println!("{what}: {rows} records in {seconds:.3} s, {rate:.0} per second");
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("FOLDER SOURCE CONFIG READ_PATTERN DESTINATION CONFIG");
    let host = host(PathBuf::from(next()?))?;
    let source = connection(&next()?, &next()?, &next()?)?;
    let destination = connection(&next()?, &next()?, "")?;
    let stream = host.discover_streams(Arc::clone(&source)).await?.into_iter().next().ok_or("no stream")?;

    let started = Instant::now();
    let batches = read(&host, source, stream.clone()).await?;
    let rows = batches.iter().map(|batch| batch.records.num_rows()).sum();
    print_rate("read", rows, started);

    let started = Instant::now();
    write(&host, destination, &stream, batches).await?;
    print_rate("write", rows, started);
    Ok(())
}
