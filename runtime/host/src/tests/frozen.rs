//! A component that was compiled when version 0.1.0 of the contract was frozen. It runs for as long as version 0.1 does,
//! whatever becomes of the SDK and the host; it is never built again.

use std::path::Path;

use affluent_model::connector::TransformRequest;
use affluent_model::manifest::PluginKind;

use super::*;

fn frozen_host() -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/frozen/plugin-0.1.0.wasm");
    std::fs::copy(frozen, folder.path().join("hostile.wasm")).unwrap();
    let (mut options, _) = TestHost::new().with_plugins(folder.path()).with_call_timeout(CALL_TIMEOUT).split();
    options.cache_dir = Some(plugins_built().join("host-test-cache"));
    (folder, Host::new(options).unwrap())
}

#[tokio::test]
async fn a_frozen_plugin_is_read_transformed_and_written_to() {
    let (_folder, host) = frozen_host();
    let stream = stream(&host).await;

    let page = first_page(&host, hostile(json!({"records": 10}))).await.unwrap();
    let request = TransformRequest { pipeline: "pipe".to_owned(), plugin: "hostile".to_owned(), config: json!({}), stream };
    let mut transform = host.open_transform(request).await.unwrap();
    let (transformed, rejected) = transform.apply(page.parts[0].clone()).await.unwrap();
    let held_back = transform.finish().await.unwrap();
    let outcome = write(&host, hostile(json!({}))).await.unwrap();

    assert_eq!((page.rows(), transformed.records.num_rows(), rejected.len(), held_back.is_none()), (10, 10, 0, true));
    assert!(matches!(outcome, Outcome::Done(report) if report.accepted == 10));
}

#[tokio::test]
async fn a_frozen_plugin_says_who_it_is_and_checks_its_connection() {
    let (_folder, host) = frozen_host();

    let manifest = host.manifest("hostile").await.unwrap();

    assert_eq!(manifest.kinds, [PluginKind::Source, PluginKind::Transform, PluginKind::Destination]);
    assert_eq!(host.discover_targets(hostile(json!({}))).await.unwrap()[0].name, "items");
    host.check(hostile(json!({}))).await.unwrap();
}

#[tokio::test]
async fn a_frozen_plugin_reaches_every_service_of_the_host() {
    let (_folder, host) = frozen_host();
    let cases = [("huge_kv_value", "64 KiB"), ("http_not_granted", "not granted"), ("file_not_granted", "no granted input")];
    for (behaviour, refusal) in cases {
        let failure = first_page(&host, behaving(behaviour)).await.unwrap_err();

        assert!(failure.error.message.contains(refusal), "{behaviour}: {}", failure.error.message);
    }
}
