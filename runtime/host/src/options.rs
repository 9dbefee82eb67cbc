//! What the caller gives the host: folders, clock, randomness, secrets, the durable store of plugins, and where log
//! lines and refusals go. The host reads no environment variable and asks the operating system for nothing of this.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use affluent_model::Result;
use affluent_model::connector::BoxFuture;
use affluent_model::credential::CredentialStore;
use affluent_model::limits::{ATTEMPTS_MAX, BACKOFF_FIRST_MS, BACKOFF_LONGEST_MS};
use affluent_model::lock::{Approvals, Candidate, Said};
use affluent_model::plan::Connection;

use crate::blind::TokenKey;
use crate::recording::Exchanges;
use crate::secret::Secret;
pub use crate::worker::WorkerCommand;

/// Time, as the host sees it.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    fn now_us(&self) -> i64;

    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends after `duration` of this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock; sleeps in tokio's timer.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Fills a buffer with random bytes; must be fit for keys.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Gives the value of a secret of a connection by the name that the manifest uses.
pub type SecretResolver = Arc<dyn Fn(&Connection, &str) -> Result<Secret> + Send + Sync>;

/// Looks up the addresses of a host name; what it gives is checked before anything connects to it.
pub type AddressResolver = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The resolver of the machine.
#[must_use]
pub fn system_resolver() -> AddressResolver {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) }))
}

/// Gives the key of a connection's tokens by its name: the same in every process of the workspace.
pub type TokenKeySource = Arc<dyn Fn(&str) -> Result<TokenKey> + Send + Sync>;

/// Takes the log lines of plugins; must not block.
pub type LogCallback = Arc<dyn Fn(LogLine) + Send + Sync>;

/// Takes refusals; must not block.
pub type AuditCallback = Arc<dyn Fn(AuditEvent) + Send + Sync>;

/// The small durable store of plugins. `owner` is `<connection>/<plugin>`; values are at most 64 KiB.
pub trait KeyValue: Send + Sync {
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, pipeline: &str, owner: &str, key: &str) -> Result<Option<Vec<u8>>>;

    /// Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put(&self, pipeline: &str, owner: &str, key: &str, value: &[u8]) -> Result<()>;

    /// # Errors
    /// When the store cannot be written.
    fn delete(&self, pipeline: &str, owner: &str, key: &str) -> Result<()>;
}

/// Approves everything: for commands that look at plugins without a project, and for tests.
#[derive(Debug, Clone, Copy)]
pub struct ApproveAll;

impl Approvals for ApproveAll {
    fn admit(&self, _candidate: &Candidate<'_>) -> Result<()> {
        Ok(())
    }

    fn grant(&self, _candidate: &Candidate<'_>, _said: Said<'_>) -> Result<()> {
        Ok(())
    }
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What a log line reports.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// A line of the plugin: at most 1 KiB, control characters escaped, known secrets blotted out.
    Message {
        text: String,
        fields: Vec<(String, String)>,
    },
    /// How far the plugin is, in its own units.
    Progress {
        done: u64,
        total: Option<u64>,
        note: Option<String>,
    },
    Metric {
        name: String,
        value: f64,
        labels: Vec<(String, String)>,
    },
    /// A request that left; `path` without the query.
    Request {
        method: String,
        host: String,
        path: String,
        status: u16,
        bytes: u64,
        elapsed_ms: u64,
    },
    /// What an instance had used when it ended.
    Usage {
        memory_bytes: u64,
    },
    /// The plugin is being compiled for this machine; the next start takes it from the cache.
    Compiling,
    /// Something of the host itself, such as lines dropped over the limit.
    Host {
        text: String,
    },
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub level: LogLevel,
    pub plugin: String,
    /// Empty for transforms.
    pub connection: String,
    /// Empty outside of a pipeline.
    pub pipeline: String,
    pub event: LogEvent,
}

/// Something a plugin asked for and did not get (security B-27), or a webhook that was not its service's (C-19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    pub plugin: String,
    pub connection: String,
    pub pipeline: String,
    /// `egress`, `files`, `secret`, `import` or `webhook`.
    pub action: &'static str,
    /// The host, file, interface or address that was asked for; never a URL's query.
    pub object: String,
    pub reason: String,
}

/// Waits between attempts of one request (delivery.md §4): full jitter over a doubling ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first_ms: u64,
    pub longest_ms: u64,
    pub attempts_max: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: BACKOFF_FIRST_MS, longest_ms: BACKOFF_LONGEST_MS, attempts_max: ATTEMPTS_MAX }
    }
}

/// Everything the host needs from outside.
pub struct HostOptions {
    /// Searched in this order, after `embedded`.
    pub plugin_dirs: Vec<PathBuf>,
    /// Components inside the binary: (name, bytes).
    pub embedded: &'static [(&'static str, &'static [u8])],
    /// Plugins under development: name → component file; they come before all others of their name.
    pub develop: BTreeMap<String, PathBuf>,
    pub approvals: Arc<dyn Approvals>,
    /// How this program starts itself as a worker. `None` = plugins that must not run in this process do not run, and no
    /// compilation is ended.
    pub worker: Option<WorkerCommand>,
    /// For compiled code; created with mode 0700. `None` = compile at every start.
    pub cache_dir: Option<PathBuf>,
    /// File grants are relative to it.
    pub project_root: PathBuf,
    /// Files are written below it where it is not the project's folder: what a replay makes is no real output.
    pub output_root: Option<PathBuf>,
    /// Where the answers to plugins' requests come from. A recorder or a replay gives `clock` and `random`, too.
    pub exchanges: Exchanges,
    pub clock: Arc<dyn Clock>,
    pub random: RandomSource,
    pub secrets: SecretResolver,
    pub addresses: AddressResolver,
    pub token_keys: TokenKeySource,
    /// Keeps the OAuth tokens of connections. Without one, tokens that client credentials give live as long as the host, and
    /// nothing is refreshed: what came with it would be lost.
    pub credentials: Option<Arc<dyn CredentialStore>>,
    pub key_value: Arc<dyn KeyValue>,
    pub log: LogCallback,
    pub audit: AuditCallback,
    /// Set when the run is being stopped: waits end, guests are told.
    pub cancelled: Arc<AtomicBool>,
    pub backoff: Backoff,
    /// Longest time of one call of a guest, its waits for the rate budget not counted.
    pub call_timeout_max: Duration,
}

/// Ten minutes: the longest `limits.call_timeout_s` that a manifest gets.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Processor time of a compilation, seconds. Security B-6 asks for 10; a component of JavaScript with the documented
/// toolchain takes 12.3.
pub const COMPILE_SECONDS: u64 = 30;
