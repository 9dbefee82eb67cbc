//! Everything that a plugin may do to its host, in one table: each is contained with an error of its own, a good plugin
//! works beside them all the time, and afterwards the process is as small as before. A test binary of its own, because it
//! measures the memory of its process.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "this is a test, and it shows what it measured")]

#[path = "contained/components.rs"]
mod components;
#[path = "contained/setting.rs"]
#[expect(dead_code, reason = "hosts with workers are for the test of workers")]
mod setting;
#[path = "contained/table.rs"]
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use affluent_host::Host;
use affluent_model::connector::{Connectors, Failure};
use serde_json::json;

use setting::{Recorded, connection, host, remote};
use table::{BEHAVIOURS, CALL_TIMEOUT, LIMITS, act, files, good_records, misses, open};

/// What a loop may take beyond it, with room for a busy machine: the aim is 500 ms.
const LATE_MAX: Duration = Duration::from_secs(5);
/// What may stay behind in memory, MiB: the allocator's own, and compiled code.
const LEFT_BEHIND_MIB_MAX: u64 = 120;
/// Beyond the 256 MiB that the plugin's manifest asks for, with room for the rest of the table: the aim is 32.
const OVER_LIMIT_MIB_MAX: u64 = 160;

/// Memory of this process that is in use now, MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// A good plugin that is read again and again until it is told to stop; gives its pages and its failures.
async fn read_on(host: Arc<Host>, stop: Arc<AtomicBool>, pages: Arc<AtomicU64>) -> Vec<Failure> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match good_records(&host).await {
            Ok(records) => drop(pages.fetch_add(u64::from(records.records.num_rows() == 10), Ordering::Relaxed)),
            Err(failure) => failures.push(failure),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    failures
}

/// The most memory in use until it is told to stop, MiB.
fn watch_memory(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = most.max(resident_mib());
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    })
}

/// Answers of a remote that a plugin may be told to ask, and what they come to.
async fn remotes(host: &Host, recorded: &Recorded) -> Vec<String> {
    let bomb = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 20 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let cases = [
        ("gzip_bomb", "http_get", remote("200 OK\r\ncontent-encoding: gzip", bomb, false).await, "larger than"),
        ("deep_json", "http_get", remote("200 OK\r\ncontent-type: application/json", vec![b'['; 1_000], false).await, "nested"),
        (
            "redirected",
            "http_get",
            remote("302 X\r\nlocation: http://169.254.169.254/latest", Vec::new(), false).await,
            "169.254",
        ),
        ("named", "http_get", "https://hostile.test/".to_owned(), "private"),
        ("echoed", "fish_secret", remote("200 OK", b"you sent ".to_vec(), true).await, ""),
        ("echoed_in_pieces", "fish_secret_in_pieces", remote("200 OK", b"you sent ".to_vec(), true).await, ""),
    ];
    let mut wrong = Vec::new();
    for (what, behaviour, url, reason) in cases {
        recorded.audit.lock().unwrap().clear();
        let bad = connection("hostile", json!({"behaviour": behaviour, "url": url}));
        let result = async { open(host, bad, what).await?.next(LIMITS).await.map(drop) }.await;
        wrong.extend(misses(&result, &["E0407", "E0408", "E0409"]).map(|miss| format!("{what}: {miss}")));
        let audited = recorded.audit.lock().unwrap().iter().any(|event| event.reason.contains(reason));
        if !reason.is_empty() && !audited {
            wrong.push(format!("{what}: not audited"));
        }
    }
    let logged = format!("{:?}", recorded.log.lock().unwrap());
    wrong.extend(logged.contains("the-secret-token").then(|| "the secret is in the log".to_owned()));
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_plugin_does_is_contained_with_its_own_error_while_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("held.jsonl"), b"{}\n").unwrap();
    let files = files();
    for (name, component, _) in &files {
        std::fs::write(folder.path().join(format!("{name}.wasm")), component).unwrap();
    }
    let (patient, recorded) = host(folder.path(), Duration::from_secs(60));
    let (host, _) = host(folder.path(), CALL_TIMEOUT);
    let (patient, stop, pages) = (Arc::new(patient), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    good_records(&patient).await.unwrap();
    let base_mib = resident_mib();
    let reader = tokio::spawn(read_on(Arc::clone(&patient), Arc::clone(&stop), Arc::clone(&pages)));
    let memory = watch_memory(Arc::clone(&stop));

    let mut wrong = Vec::new();
    let mut latest = Duration::ZERO;
    for (behaviour, call, codes) in BEHAVIOURS {
        let started = Instant::now();
        let result = act(&host, behaviour, call).await;
        if *behaviour == "loop_forever" {
            latest = latest.max(started.elapsed().saturating_sub(CALL_TIMEOUT));
        }
        wrong.extend(misses(&result, codes).map(|miss| format!("{behaviour} in {call}: {miss}")));
    }
    for (name, _, codes) in &files {
        let result = host.manifest(name).await.map(drop);
        wrong.extend(misses(&result, codes).map(|miss| format!("{name}: {miss}")));
    }
    wrong.extend(remotes(&patient, &recorded).await);

    stop.store(true, Ordering::Relaxed);
    let (failures, most_mib) = (reader.await.unwrap(), memory.join().unwrap());
    let left_mib = resident_mib().saturating_sub(base_mib);
    eprintln!(
        "{} behaviours: a loop ended {latest:?} after its deadline at the latest; memory {base_mib} MiB before, {most_mib} at \
         most, {left_mib} more afterwards; {} good pages beside them",
        BEHAVIOURS.len() + files.len() + 6,
        pages.load(Ordering::Relaxed)
    );
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(failures, Vec::new());
    assert!(pages.load(Ordering::Relaxed) > 0);
    assert!(latest < LATE_MAX, "{latest:?}");
    assert!(left_mib < LEFT_BEHIND_MIB_MAX, "{left_mib} MiB are left behind");
    assert!(most_mib < base_mib + 256 + OVER_LIMIT_MIB_MAX, "{most_mib} MiB at most, {base_mib} before");
    assert!(good_records(&host).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_keeps_is_seen_by_no_other_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let (host, _) = host(folder.path(), Duration::from_secs(60));
    let bad = || connection("hostile", json!({"behaviour": "transient_once"}));
    let mut ended_well = Vec::new();
    for pipeline in ["a", "b", "a", "b"] {
        ended_well.push(open(&host, bad(), pipeline).await.unwrap().next(LIMITS).await.is_ok());
    }

    assert_eq!(ended_well, [false, false, true, true]);
}
