use std::fs;
use std::path::Path;

use affluent_model::plan::FileGrants;

use super::*;

const EVENTS: &str = "{\"id\":1,\"name\":\"Ada\",\"total\":12.5}\n{\"id\":2,\"name\":\"Grace\",\"total\":null}\n";

/// A host in a project folder, and a connection of the jsonl plugin to it.
fn project(root: &Path, config: Value, read: &[&str], write: &[&str]) -> (Host, Arc<Connection>) {
    let (mut options, _) = TestHost::new().with_plugins(plugins_built()).with_real_clock().split();
    options.project_root = root.to_owned();
    options.cache_dir = Some(plugins_built().join("host-test-cache"));
    let mut connection = connection("jsonl", config);
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    connection.files = FileGrants { read: owned(read), write: owned(write) };
    (Host::new(options).unwrap(), Arc::new(connection))
}

async fn read_all(host: &Host, connection: Arc<Connection>) -> (StreamSchema, Vec<Page>) {
    let stream = host.discover_streams(connection.clone()).await.unwrap().remove(0);
    let (pipeline, sync) = ("pipe".to_owned(), SyncMode::FullRefresh);
    let request = SourceRequest {
        pipeline,
        connection,
        stream: stream.clone(),
        children: Vec::new(),
        sync,
        since_us: None,
        lookback_ms: 0,
        state: None,
    };
    let mut source = host.open_source(request).await.unwrap();
    let mut pages = Vec::new();
    loop {
        pages.push(source.next(PageLimits { rows_max: 2_000, bytes_max: 16 << 20 }).await.unwrap());
        if pages.last().unwrap().position != affluent_model::batch::Position::More {
            return (stream, pages);
        }
    }
}

fn destination_request(connection: Arc<Connection>, stream: &StreamSchema) -> DestinationRequest {
    DestinationRequest {
        pipeline: "pipe".to_owned(),
        connection,
        object: "file".to_owned(),
        mode: "append".to_owned(),
        match_fields: Vec::new(),
        list: None,
        fields: stream.fields.clone(),
        plaintext: Vec::new(),
        run: "run-1".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn granted_files_are_read_and_written() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("in")).unwrap();
    fs::write(root.path().join("in/events.jsonl"), EVENTS).unwrap();
    let config = json!({"streams": {"events": {"files": "in/*.jsonl", "primary_key": ["id"]}}, "path": "out/{run}.jsonl"});
    let (host, connection) = project(root.path(), config, &["in/*.jsonl"], &["out/"]);

    let (stream, pages) = read_all(&host, connection.clone()).await;
    let mut destination = host.open_destination(destination_request(connection, &stream)).await.unwrap();
    for page in pages {
        for part in page.parts {
            let batch = OutgoingBatch { idempotency_key: "k".to_owned(), operation: part.operation, records: part.records };
            assert!(matches!(destination.write(batch).await.unwrap(), Outcome::Done(report) if report.accepted == 2));
        }
    }
    assert!(!root.path().join("out/run-1.jsonl").exists());
    destination.close().await.unwrap();

    let written = fs::read_to_string(root.path().join("out/run-1.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 2);
    assert!(written.contains("Ada") && written.contains("12.5"), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_dropped_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    let config = json!({"path": "out/{run}.jsonl"});
    let (host, connection) = project(root.path(), config, &[], &["out/"]);
    let stream = stream(&host).await;

    drop(host.open_destination(destination_request(connection, &stream)).await.unwrap());

    assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_of_the_grant_are_not_there() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("secret.jsonl"), EVENTS).unwrap();
    let config = json!({"streams": {"events": {"files": "*.jsonl"}}, "path": "elsewhere.jsonl"});
    let (host, connection) = project(root.path(), config, &["in/*.jsonl"], &[]);

    assert!(host.discover_streams(connection.clone()).await.is_err());
    let stream = stream(&host).await;
    assert!(host.open_destination(destination_request(connection, &stream)).await.is_err());
    assert!(!root.path().join("elsewhere.jsonl").exists());
}
