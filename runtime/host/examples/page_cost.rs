//! What a page costs on its way through the sandbox: reads a connection to its end and prints records per CPU-second, then
//! writes the same records and prints that. Not part of the product.
//!
//! `page_cost FOLDER SOURCE CONFIG READ_PATTERN DESTINATION CONFIG`; files are relative to the working folder.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use affluent_host::Host;
use affluent_model::batch::{Batch, OutgoingBatch, Position};
use affluent_model::connector::{Connectors, DestinationRequest, PageLimits, SourceRequest};
use affluent_model::diagnostic::Location;
use affluent_model::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use affluent_model::schema::{StreamSchema, SyncMode};

use support::{Failed, cpu_seconds, host, print};

fn connection(plugin: &str, config: &str, read: &str) -> Result<Arc<Connection>, serde_json::Error> {
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
        webhook_url: None,
        config_at: at,
    }))
}

async fn read(host: &Host, connection: Arc<Connection>, stream: StreamSchema) -> affluent_model::Result<Vec<Batch>> {
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

async fn write(
    host: &Host,
    connection: Arc<Connection>,
    stream: &StreamSchema,
    batches: Vec<Batch>,
) -> affluent_model::Result<()> {
    let request = DestinationRequest {
        pipeline: "page_cost".to_owned(),
        connection,
        object: "items".to_owned(),
        mode: "append".to_owned(),
        match_fields: Vec::new(),
        list: None,
        fields: stream.fields.clone(),
        plaintext: Vec::new(),
        run: "page-cost".to_owned(),
    };
    let mut destination = host.open_destination(request).await?;
    for batch in batches {
        let outgoing = OutgoingBatch { idempotency_key: "key".to_owned(), operation: batch.operation, records: batch.records };
        destination.write(outgoing).await?;
    }
    Ok(destination.close().await?)
}

fn print_rate(what: &str, rows: usize, started: f64) -> Result<(), Failed> {
    let seconds = cpu_seconds()? - started;
    let rate = f64::from(u32::try_from(rows)?) / seconds;
    print(&format!("{what}: {rows} records in {seconds:.2} CPU-s, {rate:.0} per CPU-second"));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("FOLDER SOURCE CONFIG READ_PATTERN DESTINATION CONFIG");
    let host = host(PathBuf::from(next()?))?;
    let source = connection(&next()?, &next()?, &next()?)?;
    let destination = connection(&next()?, &next()?, "")?;
    let stream = host.discover_streams(Arc::clone(&source)).await?.into_iter().next().ok_or("no stream")?;

    let started = cpu_seconds()?;
    let batches = read(&host, source, stream.clone()).await?;
    let rows = batches.iter().map(|batch| batch.records.num_rows()).sum();
    print_rate("read", rows, started)?;

    let started = cpu_seconds()?;
    write(&host, destination, &stream, batches).await?;
    print_rate("write", rows, started)?;
    Ok(())
}
