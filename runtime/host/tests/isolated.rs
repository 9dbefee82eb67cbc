//! Plugins in processes of their own: the same table of what plugins may do to their host as in one process, and what is said
//! of workers: what they have, how they end, and that they do. This program is its own worker, so it has no harness.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

#[path = "contained/components.rs"]
mod components;
#[path = "contained/setting.rs"]
mod setting;
#[path = "contained/table.rs"]
mod table;
#[path = "isolated/workers.rs"]
mod workers;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use affluent_model::connector::{Connectors, Failure};
use affluent_model::lock::Isolation;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;

use components::Text;
use setting::{connection, host, isolating_host, remote};
use table::{BEHAVIOURS, CALL_TIMEOUT, LIMITS, act, files, good, good_records, misses, open};
use workers::{kill, limits_of, lower, running, wait_for_none, wait_for_one};

/// Of a call that is ended by something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What whoever started this test left open for it, and so for its workers.
static INHERITED: OnceLock<Vec<String>> = OnceLock::new();

fn descriptors() -> Vec<String> {
    let targets = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    targets.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|word| word.to_str()) {
        Some("worker") => return affluent_host::run_worker(arguments),
        Some("program") => return workers::program(std::path::Path::new(&arguments.next().unwrap())),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    INHERITED.get_or_init(descriptors);
    // Each looks at the processes that this one started.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("workers: whatever a plugin does is contained with the same error as in one process", table_holds),
        trial("workers: components that are hostile before their calls are refused", files_hold),
        trial("workers: a plugin gives and takes the same records as in one process", same_records),
        trial("workers: requests go through the gate of the program", requests_are_gated),
        trial("workers: a worker has no environment, no descriptors and few rights", worker_has_nothing),
        trial("workers: a killed worker costs one call", killed_worker),
        trial("workers: memory over the kernel's limit ends the call", memory_overrun),
        trial("workers: processor time over the kernel's limit ends the call", time_overrun),
        trial("workers: none is left when its reader is gone", none_is_left),
        trial("workers: one whose program is gone ends, whatever its guest does", workers::orphan_ends),
        trial("workers: a host that cannot start one runs nothing", no_worker_no_run),
        trial("compiling: what takes too long is refused", slow_compilation),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: impl AsyncFnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
        runtime.block_on(test())
    })
}

fn holds(condition: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(otherwise.into().into()) }
}

fn code(result: &Result<impl Sized, Failure>) -> &'static str {
    result.as_ref().err().map_or("ok", |failure| failure.error.code)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("held.jsonl"), b"{}\n").unwrap();
    folder
}

async fn table_holds() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = isolating_host(folder.path(), CALL_TIMEOUT);
    let mut wrong = Vec::new();
    for (behaviour, call, codes) in BEHAVIOURS {
        let result = act(&host, behaviour, call).await;
        wrong.extend(misses(&result, codes).map(|miss| format!("{behaviour} in {call}: {miss}")));
    }
    holds(wrong.is_empty(), wrong.join("\n"))?;
    holds(good_records(&host).await.is_ok(), "a good plugin does not run any more")
}

async fn files_hold() -> Result<(), Failed> {
    let folder = folder();
    let files = files();
    for (name, component, _) in &files {
        std::fs::write(folder.path().join(format!("{name}.wasm")), component)?;
    }
    // Longer than the manifest takes: each starts a worker twice.
    let (host, _) = isolating_host(folder.path(), CALL_TIMEOUT * 2);
    let mut wrong = Vec::new();
    for (name, _, codes) in &files {
        let result = host.manifest(name).await.map(drop);
        wrong.extend(misses(&result, codes).map(|miss| format!("{name}: {miss}")));
    }
    holds(wrong.is_empty(), wrong.join("\n"))
}

async fn same_records() -> Result<(), Failed> {
    let folder = folder();
    let ((apart, _), (together, _)) = (isolating_host(folder.path(), PATIENCE), host(folder.path(), PATIENCE));
    let inspected = apart.inspect("hostile").await?;
    holds(inspected.isolation == Isolation::Process, "the plugin is not isolated")?;
    holds(good_records(&apart).await?.records == good_records(&together).await?.records, "other records")?;
    holds(apart.discover_targets(good()).await? == together.discover_targets(good()).await?, "other targets")?;
    act(&apart, "well_behaved", "write").await?;
    act(&apart, "well_behaved", "apply").await?;
    Ok(())
}

async fn requests_are_gated() -> Result<(), Failed> {
    let folder = folder();
    let (host, recorded) = isolating_host(folder.path(), PATIENCE);
    let redirected = remote("302 X\r\nlocation: http://169.254.169.254/latest", Vec::new(), false).await;
    let echoed = remote("200 OK", b"you sent ".to_vec(), true).await;
    for (behaviour, url) in [("http_get", redirected), ("fish_secret", echoed)] {
        let bad = connection("hostile", json!({"behaviour": behaviour, "url": url}));
        let result = async { open(&host, bad, "bad").await?.next(LIMITS).await.map(drop) }.await;
        let miss = misses(&result, &["E0407", "E0408", "E0409"]);
        holds(miss.is_none(), format!("{behaviour}: {miss:?}"))?;
    }
    holds(recorded.audit.lock().unwrap().iter().any(|event| event.reason.contains("169.254")), "not audited")?;
    holds(!format!("{:?}", recorded.log.lock().unwrap()).contains("the-secret-token"), "the secret is in the log")
}

async fn worker_has_nothing() -> Result<(), Failed> {
    let folder = folder();
    let _held = std::fs::File::open(folder.path().join("held.jsonl"))?;
    let (host, _) = isolating_host(folder.path(), PATIENCE);
    let _source = open(&host, good(), "good").await?;
    let worker = wait_for_one()?;
    let place = |name: &str| format!("/proc/{worker}/{name}");
    holds(std::fs::read(place("environ"))?.is_empty(), "it has an environment")?;
    holds(std::fs::read_link(place("cwd"))? == std::path::Path::new("/"), "it is in a folder")?;
    for descriptor in std::fs::read_dir(place("fd"))? {
        let target = std::fs::read_link(descriptor?.path())?.display().to_string();
        if INHERITED.get().is_some_and(|inherited| inherited.contains(&target)) {
            continue;
        }
        let is_own = ["socket:", "/memfd:", "/dev/null", "anon_inode:"].iter().any(|own| target.starts_with(own));
        holds(is_own, format!("it has {target}"))?;
    }
    let limits = limits_of(worker)?;
    for (limit, value) in [("Max core file size", "0"), ("Max processes", "0"), ("Max file size", "0"), ("Max open files", "32")]
    {
        holds(limits.get(limit).is_some_and(|found| found == value), format!("{limit}: {:?}", limits.get(limit)))?;
    }
    for limit in ["Max data size", "Max address space", "Max cpu time"] {
        holds(limits.get(limit).is_some_and(|found| found != "unlimited"), format!("{limit} is unlimited"))?;
    }
    let status = std::fs::read_to_string(place("status"))?;
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        holds(status.contains(line), format!("its status does not say {line}"))?;
    }
    Ok(())
}

async fn killed_worker() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = isolating_host(folder.path(), PATIENCE);
    let bad = connection("hostile", json!({"behaviour": "loop_forever", "call": "next"}));
    let mut source = open(&host, bad, "bad").await?;
    let worker = wait_for_one()?;
    let reading = tokio::spawn(async move { source.next(LIMITS).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    kill(worker);
    let result = reading.await?;
    holds(code(&result) == "E0531", format!("{result:?}"))?;
    holds(good_records(&host).await.is_ok(), "the next one did not get a worker")
}

async fn memory_overrun() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = isolating_host(folder.path(), PATIENCE);
    let bad = connection("hostile", json!({"behaviour": "allocate_forever", "call": "next"}));
    let mut source = open(&host, bad, "bad").await?;
    // Less than its guest has been promised.
    lower(wait_for_one()?, "--data", "25165824")?;
    let result = source.next(LIMITS).await.map(drop);
    holds(["E0510", "E0531"].contains(&code(&result)), format!("{result:?}"))?;
    holds(good_records(&host).await.is_ok(), "the next one did not get a worker")
}

async fn time_overrun() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = isolating_host(folder.path(), PATIENCE);
    let bad = connection("hostile", json!({"behaviour": "loop_forever", "call": "next"}));
    let mut source = open(&host, bad, "bad").await?;
    let worker = wait_for_one()?;
    let started = Instant::now();
    let reading = tokio::spawn(async move { source.next(LIMITS).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The soft limit: the hard one kills without saying why.
    lower(worker, "--cpu", "1:86400")?;
    let result = reading.await?;
    holds(code(&result) == "E0512", format!("{result:?}"))?;
    holds(started.elapsed() < PATIENCE / 2, format!("{:?}", started.elapsed()))
}

async fn none_is_left() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = isolating_host(folder.path(), PATIENCE);
    let mut sources = Vec::new();
    for _ in 0..4 {
        sources.push(open(&host, good(), "good").await?);
    }
    holds(running()?.len() == 4, format!("{} workers", running()?.len()))?;
    sources.pop().unwrap().close().await;
    drop(sources);
    wait_for_none()
}

async fn no_worker_no_run() -> Result<(), Failed> {
    let folder = folder();
    let (host, _) = setting::host_without_worker(folder.path(), PATIENCE);
    let result = host.manifest("hostile").await;
    holds(code(&result) == "E0532", format!("{:?}", result.map(drop)))
}

async fn slow_compilation() -> Result<(), Failed> {
    let folder = folder();
    // Within every bound of size, and more than two seconds of work.
    let blocks = "(local.set 0 (i32.add (local.get 0) (i32.load (i32.mul (local.get 0) (i32.const 3)))))".repeat(60_000);
    let function = format!("(func (param i32) {blocks})");
    let component = Text { inner: function.repeat(12), ..Text::default() }.build();
    std::fs::write(folder.path().join("slow.wasm"), component)?;
    let (host, _) = setting::hasty_host(folder.path(), PATIENCE, 2);
    let started = Instant::now();
    let result = host.manifest("slow").await.map(drop);
    holds(code(&result) == "E0533", format!("{result:?} after {:?}", started.elapsed()))?;
    wait_for_none()
}
