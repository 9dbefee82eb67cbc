use std::fs;
use std::sync::atomic::Ordering;

use affluent_model::batch::Position;
use affluent_model::connector::FailureKind;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_read_to_its_end_and_resumed_from_its_state() {
    let (host, _) = host();
    let limits = PageLimits { rows_max: 4, ..LIMITS };
    let mut source = open_source(&host, hostile(json!({})), None).await.unwrap();
    let first = source.next(limits).await.unwrap();
    source.close().await;

    let mut resumed = open_source(&host, hostile(json!({})), first.state.clone()).await.unwrap();
    let second = resumed.next(limits).await.unwrap();
    let third = resumed.next(limits).await.unwrap();

    assert_eq!([first.rows(), second.rows(), third.rows()], [4, 4, 2]);
    assert_eq!([first.position, second.position, third.position], [Position::More, Position::More, Position::End]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_that_traps_leaves_the_others_alone() {
    let (host, _) = host();
    let mut good = open_source(&host, hostile(json!({})), None).await.unwrap();

    let bad = behaving("panic");
    assert!(first_page(&host, bad.clone()).await.is_err());

    assert_eq!(good.next(LIMITS).await.unwrap().rows(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_goes_on_where_the_trapped_one_stopped() {
    let (host, _) = host();
    let connection = behaving("panic_once");

    assert_eq!(first_page(&host, connection.clone()).await.err().unwrap().kind, FailureKind::Trap);
    assert_eq!(first_page(&host, connection).await.unwrap().rows(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_run_at_once() {
    let (host, _) = host();
    let opened = futures::future::join_all((0..50).map(|_| first_page(&host, hostile(json!({}))))).await;

    assert!(opened.into_iter().all(|page| page.is_ok_and(|page| page.rows() == 10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_on_its_own() {
    let (host, _) = host();
    let panics_in = |call: &str| hostile(json!({"behaviour": "panic", "call": call}));

    assert_eq!(host.check(panics_in("check")).await.err().unwrap().error.code, "E0510");
    assert_eq!(host.discover_streams(panics_in("discover")).await.err().unwrap().error.code, "E0510");
    assert_eq!(host.discover_targets(panics_in("discover")).await.err().unwrap().error.code, "E0510");
    assert_eq!(open_source(&host, panics_in("open"), None).await.err().unwrap().error.code, "E0510");
    assert_eq!(open_destination(&host, panics_in("close")).await.unwrap().close().await.err().unwrap().error.code, "E0510");
    open_source(&host, panics_in("close"), None).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_connection_passes_its_check() {
    let (host, _) = host();

    assert_eq!(host.check(hostile(json!({}))).await.map(drop), Ok(()));
    assert_eq!(host.discover_targets(hostile(json!({}))).await.unwrap()[0].name, "items");
    assert!(host.manifest("hostile").await.unwrap().files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_is_told_so() {
    let (host, recorded) = host();
    recorded.cancelled.store(true, Ordering::Relaxed);

    let failure = first_page(&host, behaving("transient_once")).await.err().unwrap();

    assert_eq!((failure.kind, failure.error.code), (FailureKind::Cancelled, "E0415"));
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_kept_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let digests = futures::future::join_all((0..2).map(|_| async {
        let (mut options, _) = TestHost::new().with_plugins(plugins_built()).split();
        options.cache_dir = Some(cache.clone());
        Host::new(options).unwrap().digest("hostile").await.unwrap()
    }));

    let digests = digests.await;

    let kept = fs::read_dir(&cache)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "cwasm"));
    assert_eq!((digests[0].len(), kept.count()), (64, 1));
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_plugins_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = fs::read(plugins_built().join("affluent_plugin_hostile.wasm")).unwrap();
    let (mut cut, mut other_version) = (hostile.clone(), hostile.clone());
    cut.truncate(hostile.len() / 2);
    let place = hostile.windows(17).position(|window| window == b"affluent:api0.1.0").unwrap();
    other_version[place + 14] = b'9';
    let files: [(&str, &[u8], &str); 4] = [
        ("empty", b"", "E0501"),
        ("cut", &cut, "E0501"),
        ("core", b"\0asm\x01\0\0\0", "E0501"),
        ("other", &other_version, "E0502"),
    ];
    for (name, bytes, _) in files {
        fs::write(folder.path().join(format!("{name}.wasm")), bytes).unwrap();
    }
    let host = Host::new(TestHost::new().with_plugins(folder.path()).split().0).unwrap();

    for (name, _, code) in files {
        assert_eq!(host.manifest(name).await.err().unwrap().error.code, code, "{name}");
    }
}

/// A component that imports an (empty) interface of this name and holds the contract's version.
fn importing(name: &str) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let import = [&[1, 0, length(name.as_bytes())], name.as_bytes(), &[5, 0]].concat();
    let api = b"\x0caffluent:api0.1.0";
    [b"\0asm\x0d\0\x01\0", &[7, 3, 1, 0x42, 0, 10, length(&import)][..], &import, &[0, length(api)], api].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_is_not_granted_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let imports = ["wasi:filesystem/types@0.2.0", "wasi:sockets/tcp@0.2.0", "wasi:http/outgoing-handler@0.2.0", "evil:x/y@1.0.0"];
    for (number, import) in imports.iter().enumerate() {
        fs::write(folder.path().join(format!("p{number}.wasm")), importing(import)).unwrap();
    }
    let (options, recorded) = TestHost::new().with_plugins(folder.path()).split();
    let host = Host::new(options).unwrap();

    for (number, import) in imports.iter().enumerate() {
        let failure = host.manifest(&format!("p{number}")).await.err().unwrap();
        assert_eq!(failure.error.code, "E0503", "{failure}");
        assert!(failure.error.message.contains(import), "{failure}");
    }
    assert_eq!(recorded.audit.lock().unwrap().len(), imports.len());
}
