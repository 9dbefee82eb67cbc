//! What many sources at once cost: each instance asks a remote that takes 50 ms for one page of 31 kB after the other,
//! parses it and gives its records; prints wall time, CPU time and memory. The remote runs in the same process, so its
//! share is in the figures. Not part of the product.
//!
//! `many_sources FOLDER [INSTANCES] [PAGES]`; FOLDER holds the hostile plugin, which behaves well here.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use affluent_host::Host;
use affluent_model::Result;
use affluent_model::batch::Position;
use affluent_model::connector::{Connectors, PageLimits, SourceRequest};
use affluent_model::diagnostic::Location;
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use affluent_model::schema::{StreamSchema, SyncMode};
use futures::future::join_all;
use serde_json::json;
use support::{Failed, cpu_seconds, host, print};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Rows of a page.
const PAGE_ROWS: u32 = 100;
/// How long the remote thinks.
const DELAY: Duration = Duration::from_millis(50);

/// One account of many: each has a rate budget of its own.
fn connection(number: usize, address: &str, records: u32) -> Arc<Connection> {
    let at = Location { file: "many_sources.yaml".into(), line: 1, column: 1, length: 1 };
    Arc::new(Connection {
        name: format!("account_{number}"),
        plugin: "hostile".to_owned(),
        config: json!({"behaviour": "http_get_json", "url": format!("http://{address}/"), "records": records}),
        secrets: Default::default(),
        limits: ConnectionLimits::default(),
        egress: Egress { http: true, private: vec![address.to_owned()], ..Egress::default() },
        files: FileGrants::default(),
        at: at.clone(),
        webhook_url: None,
        config_at: at,
    })
}

/// A page of 100 records, 31 kB.
fn page() -> Vec<u8> {
    let text = "x".repeat(280);
    let records: Vec<_> = (0..PAGE_ROWS).map(|id| json!({"id": id, "name": text})).collect();
    let body = json!({"records": records}).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn serve(listener: TcpListener) {
    let page: Arc<Vec<u8>> = Arc::new(page());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&page)));
    }
}

async fn answer(mut stream: TcpStream, page: Arc<Vec<u8>>) {
    let mut request = [0u8; 4096];
    // Requests have no body and come in one piece.
    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
        tokio::time::sleep(DELAY).await;
        if stream.write_all(&page).await.is_err() {
            return;
        }
    }
}

async fn read(host: Arc<Host>, connection: Arc<Connection>, stream: StreamSchema) -> Result<usize> {
    let (pipeline, sync) = (connection.name.clone(), SyncMode::FullRefresh);
    let request =
        SourceRequest { pipeline, connection, stream, children: Vec::new(), sync, since_us: None, lookback_ms: 0, state: None };
    let mut source = host.open_source(request).await?;
    let mut rows = 0;
    loop {
        let page = source.next(PageLimits { rows_max: PAGE_ROWS, bytes_max: 1 << 20 }).await?;
        rows += page.rows();
        if page.position != Position::More {
            return Ok(rows);
        }
    }
}

/// A line of `/proc/self/status`, MiB.
fn memory_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[tokio::main]
async fn main() -> std::result::Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("FOLDER [INSTANCES] [PAGES]")?);
    let instances: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let pages: u32 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(serve(listener));
    let host = Arc::new(host(folder)?);
    let connections: Vec<_> = (0..instances).map(|number| connection(number, &address, pages * PAGE_ROWS)).collect();
    let first = connections.first().ok_or("no instance")?;
    let stream = host.discover_streams(Arc::clone(first)).await?.into_iter().next().ok_or("no stream")?;

    let (started, cpu_before, memory_before) = (Instant::now(), cpu_seconds()?, memory_mib("VmRSS"));
    // Each a task of its own, on all threads, as in a run.
    let tasks = connections.into_iter().map(|connection| tokio::spawn(read(Arc::clone(&host), connection, stream.clone())));
    let mut rows = 0;
    for read in join_all(tasks).await {
        rows += read??;
    }
    print(&format!(
        "{instances} instances, {pages} pages each, {rows} records: {:.2} s, {:.2} CPU-s, {} MiB at most, {memory_before} before",
        started.elapsed().as_secs_f64(),
        cpu_seconds()? - cpu_before,
        memory_mib("VmHWM"),
    ));
    Ok(())
}
