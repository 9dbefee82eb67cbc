//! An old component through today's host, from the file to the batch.

use std::sync::Arc;

use affluent_model::batch::Position;
use affluent_model::connector::{Connectors, FailureKind, PageLimits, SourceRequest};
use affluent_model::schema::SyncMode;
use serde_json::json;

use super::old_component::old_component;
use crate::Host;
use crate::options::LogEvent;
use crate::test_support::{Recorded, TestHost, connection};

fn host_with(version: &str) -> (tempfile::TempDir, Host, Recorded) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.wasm"), old_component(version)).unwrap();
    let (options, recorded) = TestHost::new().with_plugins(folder.path()).split();
    (folder, Host::new(options).unwrap(), recorded)
}

#[tokio::test]
async fn a_plugin_of_an_older_contract_is_read_through_its_conversion() {
    let (_folder, host, recorded) = host_with("0.0.9");
    let connection = Arc::new(connection("old", json!({})));
    let stream = host.discover_streams(Arc::clone(&connection)).await.unwrap().remove(0);
    let request = SourceRequest {
        pipeline: "pipe".to_owned(),
        connection,
        stream,
        children: Vec::new(),
        sync: SyncMode::FullRefresh,
        since_us: None,
        lookback_ms: 0,
        state: None,
    };

    let mut source = host.open_source(request).await.unwrap();
    let page = source.next(PageLimits { rows_max: 100, bytes_max: 1 << 20 }).await.unwrap();

    assert_eq!((page.rows(), page.position, page.state.as_deref()), (2, Position::End, Some(b"hello".as_slice())));
    assert_eq!(page.parts[0].stream, "people");
    let log = recorded.log.lock().unwrap();
    assert!(log.iter().any(|line| line.event == LogEvent::Message { text: "hello".to_owned(), fields: Vec::new() }));
}

#[tokio::test]
async fn an_error_of_an_older_contract_gets_the_kind_that_says_nothing_wrong() {
    let (_folder, host, _) = host_with("0.0.9");

    let failure = host.check(Arc::new(connection("old", json!({})))).await.unwrap_err();

    assert_eq!(failure.kind, FailureKind::Internal);
    assert!(failure.error.message.contains("hello"), "{}", failure.error.message);
}

#[tokio::test]
async fn a_version_is_what_its_exports_are_and_not_what_its_section_says() {
    for (version, code) in [("0.1.0", "E0505"), ("0.2.0", "E0502"), ("0.0.x", "E0502")] {
        let (_folder, host, _) = host_with(version);

        assert_eq!(host.manifest("old").await.unwrap_err().error.code, code, "{version}");
    }
}
