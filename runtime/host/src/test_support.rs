//! What the tests of this crate share: a host with a clock that jumps instead of sleeping, and connections.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use affluent_model::connector::BoxFuture;
use affluent_model::diagnostic::Location;
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use affluent_model::{Error, Result};

use crate::blind::TokenKey;
use crate::options::{ApproveAll, AuditEvent, Backoff, Clock, HostOptions, KeyValue, LogLine, SystemClock};
use crate::recording::Exchanges;
use crate::secret::Secret;

/// Sleeping moves the time forward at once.
#[derive(Debug, Default)]
pub(crate) struct JumpingClock(AtomicU64);

impl JumpingClock {
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Clock for JumpingClock {
    fn now_us(&self) -> i64 {
        784_111_777_000_000 + i64::try_from(self.elapsed().as_micros()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(u64::try_from(duration.as_nanos()).unwrap(), Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }
}

/// The store of plugins, in memory; the key is all three names.
#[derive(Default)]
struct MemoryStore(Mutex<HashMap<String, Vec<u8>>>);

fn joined(pipeline: &str, owner: &str, key: &str) -> String {
    [pipeline, owner, key].join("\0")
}

impl KeyValue for MemoryStore {
    fn get(&self, pipeline: &str, owner: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(&joined(pipeline, owner, key)).cloned())
    }

    fn put(&self, pipeline: &str, owner: &str, key: &str, value: &[u8]) -> Result<()> {
        self.0.lock().unwrap().insert(joined(pipeline, owner, key), value.to_vec());
        Ok(())
    }

    fn delete(&self, pipeline: &str, owner: &str, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(&joined(pipeline, owner, key));
        Ok(())
    }
}

/// Never the same bytes twice in this process, nor in another at the same time.
fn count_into(buffer: &mut [u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
    buffer.iter_mut().zip(unique.to_le_bytes().iter().cycle()).for_each(|(byte, unique)| *byte = *unique);
}

/// Options with everything recorded.
pub(crate) struct TestHost {
    options: HostOptions,
    pub(crate) clock: Arc<JumpingClock>,
    pub(crate) audit: Arc<Mutex<Vec<AuditEvent>>>,
    pub(crate) log: Arc<Mutex<Vec<LogLine>>>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(JumpingClock::default());
        let (audit, log): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
        let (audit_lines, log_lines) = (Arc::clone(&audit), Arc::clone(&log));
        let cancelled = Arc::new(AtomicBool::new(false));
        let options = HostOptions {
            plugin_dirs: Vec::new(),
            embedded: &[],
            develop: Default::default(),
            approvals: Arc::new(ApproveAll),
            worker: None,
            cache_dir: None,
            project_root: std::env::temp_dir(),
            output_root: None,
            exchanges: Exchanges::Live,
            clock: clock.clone(),
            random: Arc::new(count_into),
            secrets: Arc::new(|_, name| match name {
                "missing" => Err(Error::configuration("E0819", "secret `missing` has no value")),
                name => Ok(Secret::new(format!("the-{name}-value"))),
            }),
            token_keys: Arc::new(|connection| Ok(TokenKey::new([u8::try_from(connection.len()).unwrap_or(0); 32]))),
            addresses: crate::options::system_resolver(),
            credentials: None,
            key_value: Arc::new(MemoryStore::default()),
            log: Arc::new(move |line| log_lines.lock().unwrap().push(line)),
            audit: Arc::new(move |event| audit_lines.lock().unwrap().push(event)),
            cancelled: Arc::clone(&cancelled),
            backoff: Backoff::default(),
            call_timeout_max: Duration::from_secs(60),
        };
        Self { options, clock, audit, log, cancelled }
    }

    pub(crate) fn with_plugins(mut self, folder: &Path) -> Self {
        self.options.plugin_dirs.push(folder.to_owned());
        self
    }

    /// Of the machine instead of jumping.
    pub(crate) fn with_real_clock(mut self) -> Self {
        self.options.clock = Arc::new(SystemClock::default());
        self
    }

    pub(crate) fn with_call_timeout(mut self, limit: Duration) -> Self {
        self.options.call_timeout_max = limit;
        self
    }

    pub(crate) fn options(self) -> Arc<HostOptions> {
        Arc::new(self.options)
    }

    /// The options and what records them.
    pub(crate) fn split(self) -> (HostOptions, Recorded) {
        let Self { options, clock, audit, log, cancelled } = self;
        (options, Recorded { clock, audit, log, cancelled })
    }
}

/// What a [`TestHost`] recorded.
pub(crate) struct Recorded {
    pub(crate) clock: Arc<JumpingClock>,
    pub(crate) audit: Arc<Mutex<Vec<AuditEvent>>>,
    pub(crate) log: Arc<Mutex<Vec<LogLine>>>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

pub(crate) fn connection(plugin: &str, config: serde_json::Value) -> Connection {
    let at = Location { file: "connections/c.yaml".into(), line: 1, column: 1, length: 1 };
    Connection {
        name: "c".to_owned(),
        plugin: plugin.to_owned(),
        config,
        secrets: Default::default(),
        limits: ConnectionLimits::default(),
        egress: Egress::default(),
        files: FileGrants::default(),
        at: at.clone(),
        webhook_url: None,
        config_at: at,
    }
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
