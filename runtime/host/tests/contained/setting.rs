//! A host with everything recorded, on the machine's own clock, and a remote that answers as it is told.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use affluent_host::{
    AuditEvent, Backoff, COMPILE_SECONDS, Exchanges, Host, HostOptions, KeyValue, LogLine, Secret, SystemClock, TokenKey,
    WorkerCommand,
};
use affluent_model::Result;
use affluent_model::diagnostic::Location;
use affluent_model::lock::{Approvals, Candidate, Isolation, Said};
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a host wrote down.
#[derive(Clone, Default)]
pub(crate) struct Recorded {
    pub(crate) audit: Arc<Mutex<Vec<AuditEvent>>>,
    pub(crate) log: Arc<Mutex<Vec<LogLine>>>,
}

#[derive(Default)]
struct Store(Mutex<HashMap<String, Vec<u8>>>);

impl KeyValue for Store {
    fn get(&self, pipeline: &str, owner: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(&[pipeline, owner, key].join("\0")).cloned())
    }

    fn put(&self, pipeline: &str, owner: &str, key: &str, value: &[u8]) -> Result<()> {
        self.0.lock().unwrap().insert([pipeline, owner, key].join("\0"), value.to_vec());
        Ok(())
    }

    fn delete(&self, pipeline: &str, owner: &str, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(&[pipeline, owner, key].join("\0"));
        Ok(())
    }
}

/// Has every plugin run in a worker.
struct Isolate;

impl Approvals for Isolate {
    fn admit(&self, _: &Candidate<'_>) -> Result<()> {
        Ok(())
    }

    fn grant(&self, _: &Candidate<'_>, _: Said<'_>) -> Result<()> {
        Ok(())
    }

    fn isolation(&self, _: &Candidate<'_>) -> Isolation {
        Isolation::Process
    }
}

/// As [`host`], with workers that are this test's own program.
pub(crate) fn isolating_host(folder: &Path, call_timeout: Duration) -> (Host, Recorded) {
    hasty_host(folder, call_timeout, COMPILE_SECONDS)
}

/// As [`isolating_host`], with so many seconds of processor time for a compilation.
pub(crate) fn hasty_host(folder: &Path, call_timeout: Duration, compile_seconds: u64) -> (Host, Recorded) {
    let (mut options, recorded) = options(folder, call_timeout);
    options.approvals = Arc::new(Isolate);
    let (program, arguments) = ("/proc/self/exe".into(), vec!["worker".into()]);
    options.worker = Some(WorkerCommand { program, arguments, compile_seconds });
    (Host::new(options).unwrap(), recorded)
}

/// As [`isolating_host`], without knowing how to start a worker.
pub(crate) fn host_without_worker(folder: &Path, call_timeout: Duration) -> (Host, Recorded) {
    let (mut options, recorded) = options(folder, call_timeout);
    options.approvals = Arc::new(Isolate);
    (Host::new(options).unwrap(), recorded)
}

/// A host over the built plugins and those in `folder`; every name has a private address.
pub(crate) fn host(folder: &Path, call_timeout: Duration) -> (Host, Recorded) {
    let (options, recorded) = options(folder, call_timeout);
    (Host::new(options).unwrap(), recorded)
}

fn options(folder: &Path, call_timeout: Duration) -> (HostOptions, Recorded) {
    let recorded = Recorded::default();
    let (audit, log) = (Arc::clone(&recorded.audit), Arc::clone(&recorded.log));
    let next = AtomicU64::new(u64::from(std::process::id()) << 32);
    let options = HostOptions {
        worker: None,
        plugin_dirs: vec![plugins_built().to_owned(), folder.to_owned()],
        develop: Default::default(),
        approvals: Arc::new(affluent_host::ApproveAll),
        embedded: &[],
        cache_dir: Some(plugins_built().join("host-test-cache")),
        project_root: folder.to_owned(),
        output_root: None,
        exchanges: Exchanges::Live,
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(move |buffer| {
            let unique = next.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            buffer.iter_mut().zip(unique.iter().cycle()).for_each(|(byte, unique)| *byte = *unique);
        }),
        secrets: Arc::new(|_, _| Ok(Secret::new("the-secret-token".to_owned()))),
        addresses: Arc::new(|_| Box::pin(async { io::Result::Ok(vec![IpAddr::from([10, 0, 0, 1])]) })),
        token_keys: Arc::new(|_| Ok(TokenKey::new([7; 32]))),
        credentials: None,
        key_value: Arc::new(Store::default()),
        log: Arc::new(move |line| log.lock().unwrap().push(line)),
        audit: Arc::new(move |event| audit.lock().unwrap().push(event)),
        cancelled: Arc::default(),
        backoff: Backoff { attempts_max: 1, ..Backoff::default() },
        call_timeout_max: call_timeout,
    };
    (options, recorded)
}

/// A connection to a plugin; the remote at `url` may be reached although it is on this machine.
pub(crate) fn connection(plugin: &str, config: Value) -> Arc<Connection> {
    let at = Location { file: "connections/c.yaml".into(), line: 1, column: 1, length: 1 };
    let url = config.get("url").and_then(Value::as_str).and_then(|url| url.strip_prefix("http://"));
    let private = url.and_then(|url| url.split('/').next()).map(str::to_owned).into_iter().collect();
    Arc::new(Connection {
        name: "c".to_owned(),
        plugin: plugin.to_owned(),
        config,
        secrets: Default::default(),
        limits: ConnectionLimits::default(),
        egress: Egress { http: true, private, ..Egress::default() },
        files: FileGrants { read: vec!["*.jsonl".to_owned()], write: Vec::new() },
        at: at.clone(),
        webhook_url: None,
        config_at: at,
    })
}

/// A remote that gives every request this answer, with what it asked for as its last line.
pub(crate) async fn remote(head: &'static str, body: Vec<u8>, echoes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0u8; 8 << 10];
            let length = stream.read(&mut request).await.unwrap_or_default();
            request.truncate(length);
            let text = String::from_utf8_lossy(&request).into_owned();
            let credential = text.lines().find(|line| line.to_lowercase().starts_with("authorization")).unwrap_or_default();
            let echo = if echoes { format!("x-echo: {credential}\r\n") } else { String::new() };
            let body = if echoes { [body.as_slice(), credential.as_bytes()].concat() } else { body.clone() };
            let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n{echo}\r\n", body.len());
            drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
        }
    });
    url
}

/// The folder of the plugins that tests load, built once from their sources.
pub(crate) fn plugins_built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = root.join("target/plugin-build");
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(&root).args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2"]);
        build.args(["-p", "affluent-plugin-hostile", "-p", "affluent-plugin-jsonl", "--target-dir"]).arg(&target);
        // Flags for the host's build are not for guests.
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        assert!(build.status().unwrap().success(), "the plugins could not be built");
        target.join("wasm32-wasip2/plugin")
    })
}
