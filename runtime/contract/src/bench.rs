//! Where a plugin is tested: a host, a connection with and without a good credential, the proxy, and
//! everything that the plugin said on the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use affluent_host::{Backoff, Clock, Host, HostOptions, KeyValue, LogEvent, LogLine, Secret, SecretResolver, TokenKey};
use affluent_model::connector::{Connectors, Failure, FailureKind};
use affluent_model::credential::CredentialStore;
use affluent_model::manifest::{Manifest, PluginKind};
use affluent_model::plan::Connection;
use affluent_model::{Error, Result};
use serde_json::Value;
use url::Url;

use crate::credentials::MemoryCredentials;
use crate::fixture::Fixture;
use crate::proxy::{Plan, Proxy, Seen, Upstream};
use crate::report::{Figures, Findings, Report, Verdict};
use crate::rules;

/// Waits between tries that nobody asked for: short, as most of them are about answers that the suite made up.
const BACKOFF: Backoff = Backoff { first_ms: 20, longest_ms: 500, attempts_max: 8 };
/// The longest wait that the suite sits out for a plugin.
const WAIT_MS_MAX: u64 = 60_000;
/// Texts of a plugin that are kept.
const SAID_MAX: usize = 20_000;

/// What is tested, and with what.
pub struct Subject {
    /// As the host finds it.
    pub plugin: String,
    /// A fresh set of options for a host; log, store, secrets and back-off are replaced by the suite's.
    pub options: Box<dyn Fn() -> HostOptions + Send + Sync>,
    /// Its `config` is what the fixture says, where that says something.
    pub connection: Connection,
    pub fixture: Fixture,
    /// Where secrets come from that the fixture does not give; `None` = made-up ones.
    pub secrets: Option<SecretResolver>,
    /// Why nothing is disturbed: answers are being recorded, or come from a recording.
    pub undisturbed: Option<&'static str>,
}

/// Runs every rule of the plugin's kinds.
///
/// # Errors
/// When the suite itself cannot work: no sandbox, no port. What is wrong with the plugin is in the report.
pub async fn run(subject: Subject) -> Result<Report> {
    let mut findings = Findings::default();
    let mut figures = Figures::default();
    let bench = Bench::new(subject)?;
    let manifest = match rules::manifest::check(&bench, &mut findings, &mut figures).await {
        Ok(manifest) => manifest,
        Err(failure) => {
            let unreached = format!("the plugin could not be loaded: {}", failure.error.message);
            return Ok(report(&bench, "", findings.finish(&[], &unreached), figures));
        }
    };
    let bench = bench.with_proxy(&manifest).await?;
    rules::check::check(&bench, &manifest, &mut findings).await;
    let kinds = manifest.kinds.clone();
    if kinds.contains(&PluginKind::Source) {
        rules::source::check(&bench, &mut findings, &mut figures).await;
    }
    if kinds.contains(&PluginKind::Destination) {
        rules::destination::check(&bench, &mut findings, &mut figures).await;
    }
    if kinds.contains(&PluginKind::Transform) {
        rules::transform::check(&bench, &manifest, &mut findings, &mut figures).await;
    }
    rules::hygiene::check(&bench, &mut findings, &mut figures);
    let findings = findings.finish(&kinds, "not reached: an earlier rule of the plugin failed");
    Ok(report(&bench, &manifest.version, findings, figures))
}

fn report(bench: &Bench, version: &str, rules: Vec<crate::Finding>, figures: Figures) -> Report {
    let count = |verdict: Verdict| rules.iter().filter(|finding| finding.verdict == verdict).count();
    Report {
        plugin: bench.plugin.clone(),
        version: version.to_owned(),
        digest: bench.digest(),
        passed: count(Verdict::Passed),
        failed: count(Verdict::Failed),
        skipped: count(Verdict::Skipped),
        rules,
        figures,
    }
}

/// Everything that the plugin said, and what it must not have said.
#[derive(Default)]
pub(crate) struct Heard {
    /// Where, and the text: messages, codes, states, metrics.
    pub(crate) texts: Vec<(String, String)>,
    pub(crate) log_lines: u64,
    /// Rows that passed in all readings and writings.
    pub(crate) rows: u64,
    /// Lines over the host's limit.
    pub(crate) log_dropped: bool,
    pub(crate) traps: Vec<String>,
    pub(crate) memory_peak_bytes: u64,
    /// Values that may turn up nowhere.
    pub(crate) secrets: Vec<String>,
    pub(crate) personal: Vec<String>,
}

pub(crate) struct Bench {
    pub(crate) plugin: String,
    pub(crate) host: Host,
    /// Gives batches as NDJSON to plugins that take both forms.
    pub(crate) ndjson_host: Host,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fixture: Fixture,
    pub(crate) proxy: Option<Proxy>,
    /// Why there is no proxy.
    pub(crate) proxy_reason: String,
    pub(crate) connection: Arc<Connection>,
    /// The same with a credential that is none.
    pub(crate) wrong: Arc<Connection>,
    heard: Arc<Mutex<Heard>>,
    /// Names of secrets that sign: what is made up for them must be a key.
    keys: Arc<Mutex<Vec<String>>>,
    digest: Mutex<String>,
}

/// A key that every copy of this program has, and no service knows.
const OTHER_KEY: &str = include_str!("other_key.pem");
/// The name of the connection with the wrong credential.
const WRONG: &str = "contract-wrong";

impl Bench {
    fn new(subject: Subject) -> Result<Self> {
        let Subject { plugin, options, mut connection, fixture, secrets, undisturbed } = subject;
        let clock = options().clock;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let keys: Arc<Mutex<Vec<String>>> = Arc::default();
        let given =
            Given { fixture: fixture.secrets.clone(), resolver: secrets, keys: Arc::clone(&keys), heard: Arc::clone(&heard) };
        let resolver = given.into_resolver();
        let credentials: Arc<dyn CredentialStore> = Arc::new(MemoryCredentials::default());
        let make = || {
            let host_options = options();
            let heard = Arc::clone(&heard);
            Host::new(HostOptions {
                clock: Arc::clone(&clock),
                secrets: Arc::clone(&resolver),
                // Of no project: what is written here is nobody's.
                token_keys: Arc::new(|_| Ok(TokenKey::new([7; 32]))),
                credentials: host_options.credentials.clone().or_else(|| Some(Arc::clone(&credentials))),
                key_value: Arc::new(MemoryStore::default()),
                log: Arc::new(move |line| lock(&heard).hear(line)),
                audit: Arc::new(|_| {}),
                backoff: BACKOFF,
                ..host_options
            })
        };
        if !fixture.config.is_null() {
            connection.config = fixture.config.clone();
        }
        if connection.config.is_null() {
            connection.config = Value::Object(serde_json::Map::new());
        }
        connection.files.read.extend(fixture.read_files.iter().cloned());
        connection.files.write.extend(fixture.write_files.iter().cloned());
        let (host, ndjson_host) = (make()?, make()?.with_ndjson());
        let wrong = Arc::new(Connection { name: WRONG.to_owned(), ..connection.clone() });
        let connection = Arc::new(connection);
        let (proxy, proxy_reason, digest) = (None, undisturbed.unwrap_or_default().to_owned(), Mutex::default());
        Ok(Self { plugin, host, ndjson_host, clock, fixture, proxy, proxy_reason, connection, wrong, heard, keys, digest })
    }

    /// Points the plugin at the service, and puts the proxy between them if that can be done.
    async fn with_proxy(mut self, manifest: &Manifest) -> Result<Self> {
        let assertions = manifest.auth.values().filter_map(|auth| auth.oauth()?.assertion.as_ref());
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = assertions.map(|signed| signed.private_key.clone()).collect();
        if manifest.hosts.is_empty() {
            self.proxy_reason = "the plugin sends no requests".to_owned();
            return Ok(self);
        }
        let configured = self.connection.config.get("base_url").and_then(Value::as_str).map(str::to_owned);
        let has_property = manifest.config_schema.pointer("/properties/base_url").is_some();
        let base_url = self.fixture.base_url.clone().or(configured).filter(|_| has_property);
        let Some(url) = base_url.and_then(|text| Url::parse(&text).ok()) else {
            self.proxy_reason = "no `base_url` to put the suite's proxy in front of".to_owned();
            return Ok(self);
        };
        let is_undisturbed = !self.proxy_reason.is_empty();
        let Some(upstream) = Upstream::of(&url).filter(|_| !is_undisturbed) else {
            if !is_undisturbed {
                self.proxy_reason = "the suite's proxy speaks plain http only: give a stand-in as `base_url`".to_owned();
            }
            self.point_at(&url, url.as_str(), None);
            return Ok(self);
        };
        let proxy = Proxy::start(upstream, Arc::clone(&self.clock)).await;
        let proxy = proxy.map_err(|error| Error::external("E0938", format!("no port can be opened on loopback: {error}")))?;
        let through = format!("{}{}", proxy.origin, url.path());
        self.point_at(&url, &through, Some(proxy.address.clone()));
        self.proxy = Some(proxy);
        Ok(self)
    }

    /// Sets `base_url` in both connections; what it names may be reached though it is on this machine.
    fn point_at(&mut self, service: &Url, base_url: &str, proxy: Option<String>) {
        let host = service.host_str().zip(service.port_or_known_default()).filter(|_| service.scheme() == "http");
        let addresses: Vec<String> = host.map(|(host, port)| format!("{host}:{port}")).into_iter().chain(proxy).collect();
        for connection in [&mut self.connection, &mut self.wrong] {
            let mut pointed = connection.as_ref().clone();
            if let Some(map) = pointed.config.as_object_mut() {
                map.insert("base_url".to_owned(), Value::String(base_url.trim_end_matches('/').to_owned()));
            }
            pointed.egress.private.extend(addresses.iter().cloned());
            pointed.egress.http |= !addresses.is_empty();
            *connection = Arc::new(pointed);
        }
    }

    pub(crate) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut lock(&self.heard))
    }

    pub(crate) fn set_digest(&self, digest: String) {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = digest;
    }

    fn digest(&self) -> String {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Listens to what a failed call says.
    pub(crate) fn hear_failure(&self, place: &str, failure: &Failure) {
        self.heard(|heard| {
            heard.say(format!("message of {place}"), &failure.error.message);
            heard.say(format!("code of {place}"), &failure.plugin_code);
            // A broken promise of the contract ends an instance too, and has rules of its own.
            let is_stopped = ["E0510", "E0511", "E0512", "E0514", "E0515", "E0516"].contains(&failure.error.code);
            if failure.kind == FailureKind::Trap && is_stopped {
                let trap = format!("{place}: {}", failure.error.message);
                if heard.traps.len() < 20 && !heard.traps.contains(&trap) {
                    heard.traps.push(trap);
                }
            }
        });
    }

    /// A call's result, listened to.
    pub(crate) fn listen<T>(&self, place: &str, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            self.hear_failure(place, failure);
        }
        result
    }

    pub(crate) fn disturb(&self, plan: Option<Plan>) {
        if let Some(proxy) = &self.proxy {
            proxy.disturb(plan);
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.proxy.as_ref().map(Proxy::seen).unwrap_or_default()
    }

    /// Waits as the runtime would before the next try, only shorter where nothing was said of how long.
    pub(crate) async fn wait_after(&self, failure: &Failure) {
        self.wait_ms(failure.retry_after_ms.unwrap_or(BACKOFF.first_ms)).await;
    }

    pub(crate) async fn wait_ms(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms.min(WAIT_MS_MAX))).await;
    }

    pub(crate) fn connectors(&self) -> &dyn Connectors {
        &self.host
    }
}

impl Heard {
    pub(crate) fn say(&mut self, place: String, text: &str) {
        if self.texts.len() < SAID_MAX && !text.is_empty() {
            self.texts.push((place, text.to_owned()));
        }
    }

    fn hear(&mut self, line: LogLine) {
        match line.event {
            LogEvent::Message { text, fields } => {
                self.log_lines += 1;
                self.say("a log line".to_owned(), &text);
                for (name, value) in fields {
                    self.say(format!("the log field `{name}`"), &value);
                }
            }
            LogEvent::Progress { note, .. } => self.say("a progress note".to_owned(), &note.unwrap_or_default()),
            LogEvent::Metric { name, labels, .. } => {
                self.say("the name of a metric".to_owned(), &name);
                for (label, value) in labels {
                    self.say(format!("the label `{label}` of a metric"), &value);
                }
            }
            LogEvent::Host { text } => self.log_dropped |= text.contains("were dropped"),
            LogEvent::Usage { memory_bytes } => self.memory_peak_bytes = self.memory_peak_bytes.max(memory_bytes),
            LogEvent::Request { .. } | LogEvent::Compiling => {}
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the credentials of both connections come from.
struct Given {
    fixture: std::collections::BTreeMap<String, String>,
    resolver: Option<SecretResolver>,
    keys: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Heard>>,
}

impl Given {
    fn into_resolver(self) -> SecretResolver {
        Arc::new(move |connection: &Connection, name: &str| {
            let is_key = || self.keys.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|key| key == name);
            let value = if connection.name == WRONG && is_key() {
                OTHER_KEY.to_owned()
            } else if connection.name == WRONG {
                format!("wrong-{name}-of-the-contract-suite")
            } else if let Some(value) = self.fixture.get(name) {
                value.clone()
            } else if let Some(resolver) = &self.resolver {
                resolver(connection, name)?.expose().to_owned()
            } else if is_key() {
                OTHER_KEY.to_owned()
            } else {
                format!("made-up-{name}-of-the-contract-suite")
            };
            let mut heard = lock(&self.heard);
            if !heard.secrets.contains(&value) {
                heard.secrets.push(value.clone());
            }
            Ok(Secret::new(value))
        })
    }
}

/// The store of plugins, in memory.
#[derive(Default)]
pub(crate) struct MemoryStore(Mutex<HashMap<[String; 3], Vec<u8>>>);

impl MemoryStore {
    fn values(&self) -> std::sync::MutexGuard<'_, HashMap<[String; 3], Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for MemoryStore {
    fn get(&self, pipeline: &str, owner: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.values().get(&[pipeline, owner, key].map(str::to_owned)).cloned())
    }

    fn put(&self, pipeline: &str, owner: &str, key: &str, value: &[u8]) -> Result<()> {
        self.values().insert([pipeline, owner, key].map(str::to_owned), value.to_vec());
        Ok(())
    }

    fn delete(&self, pipeline: &str, owner: &str, key: &str) -> Result<()> {
        self.values().remove(&[pipeline, owner, key].map(str::to_owned));
        Ok(())
    }
}
