//! Puts the crates together: the only place that knows them all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{Clock, Engine, Event, Observer, SealedCredentials};
use affluent_host::{
    ApproveAll, AuditEvent, Backoff, CALL_TIMEOUT_MAX, COMPILE_SECONDS, Exchanges, Host, HostOptions, KeyValue, LogEvent,
    LogLine, RandomSource, TokenKey, WorkerCommand,
};
use affluent_lake::{EmbeddedLake, Expressions, LakeOptions};
use affluent_ledger::{Keys, Ledger, SqliteLedger, StoredKeyRow};
use affluent_model::connector::Connectors;
use affluent_model::credential::CredentialStore;
use affluent_model::lock::Approvals;
use affluent_model::plan::{KeySource, Plan};
use affluent_model::{Error, Result};
use affluent_provenance::Policy;
use affluent_vault::{KeyRing, OsRandom, Random, StoredKey, Vault, create_key_file};

use crate::credentials::ProjectCredentials;
use crate::project::Project;
use crate::secrets;
use crate::world::World;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Memory of lake queries: what does not fit is spilled. A query that needs more all the same is given half of what the
/// machine has free.
const LAKE_MEMORY_BYTES: usize = 320 << 20;
/// Of it, what one partition of a query needs to be worth its copies: few of them on a small memory, whatever the cores.
const LAKE_PARTITION_BYTES: usize = 192 << 20;
/// Lake files younger than this may belong to a transaction that is still to come.
const SWEEP_AGE_US: i64 = 3_600_000_000;

/// The vault's code for a key that is not there.
const KEY_MISSING: &str = "E0600";

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        chrono::Utc::now().timestamp_micros()
    }
}

/// The stores of a project and everything that runs on them.
pub(crate) struct Wired {
    pub(crate) engine: Arc<Engine>,
    pub(crate) connectors: Arc<Host>,
    pub(crate) policy: Arc<Policy>,
    /// What was done on the way and a person should know.
    pub(crate) notes: Vec<String>,
}

/// Opens everything a run needs.
///
/// # Errors
/// Keys that are missing, wrong or unsafe stop here, before anything is written.
pub(crate) fn open(project: &Project, observer: Arc<dyn Observer>, cancelled: Arc<AtomicBool>) -> Result<Wired> {
    open_in(Arc::clone(&project.plan), World::live(&project.plan), observer, cancelled)
}

/// As [`open`], in another world than the live one.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_in(plan: Arc<Plan>, world: World, observer: Arc<dyn Observer>, cancelled: Arc<AtomicBool>) -> Result<Wired> {
    let (engine, connectors, policy, notes) = assemble(plan, world, observer, cancelled)?;
    Ok(Wired { engine: Arc::new(engine), connectors, policy, notes })
}

/// An engine, its host, which plugins it may run, and what a person should know.
pub(crate) type Assembled = (Engine, Arc<Host>, Arc<Policy>, Vec<String>);

/// An engine on the stores of a plan, and its host.
///
/// # Errors
/// As [`open`].
pub(crate) fn assemble(
    plan: Arc<Plan>,
    world: World,
    observer: Arc<dyn Observer>,
    cancelled: Arc<AtomicBool>,
) -> Result<Assembled> {
    let mut notes = Vec::new();
    let (ledger, vault) = open_stores(&plan, &mut *world.randomness(), &mut notes)?;
    let clock = Arc::clone(&world.clock);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let lake = EmbeddedLake::open(LakeOptions {
        dir: plan.project.data_dir.join("lake"),
        memory_bytes: LAKE_MEMORY_BYTES,
        memory_bytes_max: memory_free_bytes() / 2,
        partitions: cores.clamp(1, LAKE_MEMORY_BYTES / LAKE_PARTITION_BYTES),
    })?;
    let lake: Arc<dyn affluent_lake::Lake> = Arc::new(lake);
    lake.sweep(&ledger.file_names()?, SystemClock.now_us() - SWEEP_AGE_US)?;
    let vault = Arc::new(vault);
    let stores = (Arc::clone(&ledger), Arc::clone(&vault));
    let policy = policy(&plan)?;
    let approvals = Arc::clone(&policy) as Arc<dyn Approvals>;
    let (observed, cancel) = (Some(Arc::clone(&observer)), Arc::clone(&cancelled));
    let connectors = Arc::new(host_in(&plan, world, Around { stores: Some(stores), approvals, observer: observed }, cancel)?);
    let engine = Engine {
        plan,
        connectors: Arc::clone(&connectors) as Arc<dyn Connectors>,
        ledger,
        lake,
        expressions: Arc::new(Expressions::new()),
        vault,
        clock,
        observer,
        cancelled,
        holder: holder(),
        is_dead: Arc::new(is_dead),
    };
    Ok((engine, connectors, policy, notes))
}

/// Memory that the machine could give now; 0 where it does not say.
fn memory_free_bytes() -> usize {
    let known = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free =
        known.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<usize>().ok());
    free.unwrap_or(0).saturating_mul(1024)
}

/// The plugin host alone: enough to validate.
///
/// # Errors
/// When the cache of compiled plugins cannot be made.
pub(crate) fn host(plan: &Plan, stores: Option<Stores>, cancelled: Arc<AtomicBool>) -> Result<Host> {
    let around = Around { stores, approvals: policy(plan)?, observer: None };
    host_in(plan, World::live(plan), around, cancelled)
}

/// Which plugins the project may run.
///
/// # Errors
/// A bug of this release.
pub(crate) fn policy(plan: &Plan) -> Result<Arc<Policy>> {
    Ok(Arc::new(Policy::new(plan.lock.clone(), plan.project.plugins.clone())?))
}

/// What a host reports to, and whom it asks.
struct Around {
    stores: Option<Stores>,
    approvals: Arc<dyn Approvals>,
    observer: Option<Arc<dyn Observer>>,
}

/// The plugin host in a world: its files, its exchanges, and with them what guests see of time and randomness.
fn host_in(plan: &Plan, world: World, around: Around, cancelled: Arc<AtomicBool>) -> Result<Host> {
    OsRandom::new().fill(&mut [0])?;
    make_private(&plan.project.data_dir)?;
    let credentials: Arc<dyn CredentialStore> = match around.stores.clone() {
        Some(stores) => Arc::new(sealed_credentials(stores)),
        None => Arc::new(ProjectCredentials::new(plan)),
    };
    let place = Place {
        root: plan.project.root.clone(),
        plugin_dirs: plan.project.plugin_dirs.clone(),
        cache_dir: Some(world.plugin_cache),
        develop: plan.project.plugins.develop.clone(),
        approvals: around.approvals,
        credentials: Some(credentials),
    };
    let mut options = options_at(place, around.stores, cancelled, around.observer);
    (options.clock, options.random) = time_and_chance(&world.exchanges);
    options.output_root = world.output_root;
    options.exchanges = world.exchanges;
    Host::new(options)
}

/// The plugin host without a project: knows the plugins inside the binary, keeps nothing.
///
/// # Errors
/// As [`host`].
pub(crate) fn bare_host(cancelled: Arc<AtomicBool>) -> Result<Host> {
    OsRandom::new().fill(&mut [0])?;
    let place = Place {
        root: PathBuf::from("."),
        plugin_dirs: Vec::new(),
        cache_dir: None,
        develop: BTreeMap::new(),
        approvals: Arc::new(ApproveAll),
        credentials: None,
    };
    Host::new(options_at(place, None, cancelled, None))
}

/// Where a host finds what it reads.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) plugin_dirs: Vec<PathBuf>,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) develop: BTreeMap<String, PathBuf>,
    pub(crate) approvals: Arc<dyn Approvals>,
    /// Keeps the OAuth tokens of connections.
    pub(crate) credentials: Option<Arc<dyn CredentialStore>>,
}

/// What the host keeps things in: the ledger, and the vault for the keys of tokens.
pub(crate) type Stores = (Arc<dyn Ledger>, Arc<Vault>);

/// What a host needs from outside; the caller has seen that the system gives randomness.
pub(crate) fn options_at(
    place: Place,
    stores: Option<Stores>,
    cancelled: Arc<AtomicBool>,
    observer: Option<Arc<dyn Observer>>,
) -> HostOptions {
    let root = place.root;
    let (ledger, vault) = stores.unzip();
    let audited = ledger.clone();
    let (clock, random) = time_and_chance(&Exchanges::Live);
    HostOptions {
        worker: Some(worker_command()),
        plugin_dirs: place.plugin_dirs,
        embedded: EMBEDDED,
        develop: place.develop,
        approvals: place.approvals,
        cache_dir: place.cache_dir,
        project_root: root.clone(),
        output_root: None,
        exchanges: Exchanges::Live,
        clock,
        random,
        secrets: Arc::new(move |connection, name| secrets::resolve(&root, connection, name)),
        addresses: affluent_host::system_resolver(),
        token_keys: Arc::new(move |connection| token_key(vault.as_deref(), connection)),
        credentials: place.credentials,
        key_value: Arc::new(PluginStore(ledger)),
        log: Arc::new(move |line: LogLine| match (&observer, line.event) {
            (Some(observer), LogEvent::Compiling) => observer.notice(Event::Compiling { plugin: line.plugin }),
            (_, event) => log_line(&LogLine { event, ..line }),
        }),
        audit: Arc::new(move |event: AuditEvent| audit(audited.as_deref(), &event)),
        cancelled,
        backoff: Backoff::default(),
        call_timeout_max: CALL_TIMEOUT_MAX,
    }
}

/// How this program starts itself as a plugin's worker: the file that it runs from, even when another release has taken its
/// place meanwhile.
fn worker_command() -> WorkerCommand {
    let program = if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() };
    let program = program.unwrap_or_else(|_| PathBuf::from("affluent"));
    WorkerCommand { program, arguments: vec![crate::WORKER.into()], compile_seconds: COMPILE_SECONDS }
}

/// What guests see of time and randomness: the machine's, or those of a recording.
fn time_and_chance(exchanges: &Exchanges) -> (Arc<dyn affluent_host::Clock>, RandomSource) {
    match exchanges {
        Exchanges::Live => {
            // The system gave randomness before the host was made; it does not stop giving it later.
            let random = Arc::new(|bytes: &mut [u8]| drop(OsRandom::new().fill(bytes)));
            (Arc::new(affluent_host::SystemClock::default()), random)
        }
        Exchanges::Record(recorder) => (recorder.clock(), recorder.random()),
        Exchanges::Replay(replay) => (replay.clock(), replay.random()),
    }
}

/// The OAuth tokens of a project's connections.
pub(crate) fn sealed_credentials((ledger, vault): Stores) -> SealedCredentials {
    SealedCredentials::new(ledger, vault, holder(), Arc::new(is_dead))
}

/// The key of a connection's tokens: two halves, each derived like a blind index of its own.
fn token_key(vault: Option<&Vault>, connection: &str) -> Result<TokenKey> {
    let vault = vault.ok_or_else(|| Error::bug("a destination is opened without the project's keys"))?;
    let mut key = [0u8; 32];
    for (half, slots) in ["token/a", "token/b"].into_iter().zip(key.chunks_mut(16)) {
        let index = vault.blind_indexer(half)?.index(connection.as_bytes());
        slots.iter_mut().zip(index.into_iter().skip(1)).for_each(|(slot, byte)| *slot = byte);
    }
    Ok(TokenKey::new(key))
}

/// What plugins keep, in the ledger.
struct PluginStore(Option<Arc<dyn Ledger>>);

impl PluginStore {
    fn ledger(&self) -> Result<&dyn Ledger> {
        self.0.as_deref().ok_or_else(|| Error::bug("a plugin that is only validated has no store"))
    }
}

impl KeyValue for PluginStore {
    fn get(&self, pipeline: &str, owner: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.ledger()?.plugin_value(pipeline, owner, key)
    }

    fn put(&self, pipeline: &str, owner: &str, key: &str, value: &[u8]) -> Result<()> {
        self.ledger()?.put_plugin_value(pipeline, owner, key, value)
    }

    fn delete(&self, pipeline: &str, owner: &str, key: &str) -> Result<()> {
        self.ledger()?.delete_plugin_value(pipeline, owner, key)
    }
}

/// Plugin log lines of weight go to stderr when `AFFLUENT_LOG` is set; requests and debug lines with `debug`.
fn log_line(line: &LogLine) {
    let Some(level) = std::env::var_os("AFFLUENT_LOG") else { return };
    if level == "debug" || line.level >= affluent_host::LogLevel::Warn {
        crate::render::screen::complain(&format!("{:?} {} {}: {:?}", line.level, line.plugin, line.connection, line.event));
    }
}

fn audit(ledger: Option<&dyn Ledger>, event: &AuditEvent) {
    let detail =
        format!("plugin {} connection {}: {} `{}`: {}", event.plugin, event.connection, event.action, event.object, event.reason);
    if let Some(ledger) = ledger {
        // A refusal stands whether or not it could be written down; the ledger's own failure shows at its next use.
        let action = if event.action == "webhook" { "webhook.refused" } else { "plugin.refused" };
        drop(ledger.audit(SystemClock.now_us(), action, &detail));
    }
}

/// The ledger and the keys of a project; both are made where it is new.
///
/// # Errors
/// Keys that are missing, wrong or unsafe; a ledger that cannot be opened.
pub(crate) fn open_stores(plan: &Plan, random: &mut dyn Random, notes: &mut Vec<String>) -> Result<(Arc<dyn Ledger>, Vault)> {
    let path = plan.project.data_dir.join("ledger.sqlite");
    let is_new = !path.exists();
    let ring = key_ring(plan, is_new, random, notes).map_err(|error| if is_new { without_data(plan, error) } else { error })?;
    make_private(&plan.project.data_dir)?;
    let ledger = SqliteLedger::open(&path)?;
    let stored: Vec<StoredKey> = ledger.stored_keys()?.into_iter().map(from_row).collect();
    let workspace = &plan.project.workspace;
    let vault = if stored.is_empty() {
        let rows = u64::from(!ledger.is_empty()?);
        let (vault, keys) = Vault::create(&ring, workspace, rows, random)?;
        ledger.add_stored_keys(&keys.into_iter().map(to_row).collect::<Vec<_>>())?;
        vault
    } else {
        Vault::open(&ring, workspace, &stored)?
    };
    Ok((Arc::new(ledger), vault))
}

fn from_row(row: StoredKeyRow) -> StoredKey {
    StoredKey { purpose: row.purpose, key_id: row.key_id, version: row.version, wrapped: row.wrapped }
}

fn to_row(key: StoredKey) -> StoredKeyRow {
    StoredKeyRow { purpose: key.purpose, key_id: key.key_id, version: key.version, wrapped: key.wrapped }
}

/// The key of the project. One inside the data folder is made with the data; any other must be there.
fn key_ring(plan: &Plan, is_new: bool, random: &mut dyn Random, notes: &mut Vec<String>) -> Result<KeyRing> {
    match &plan.project.keys {
        KeySource::File(path) => {
            if is_new && !path.exists() && path.starts_with(&plan.project.data_dir) {
                make_parent(path)?;
                create_key_file(path, random)?;
                notes.push(format!("made a key in {}: keep a copy, without it nothing sealed can be read again", path.display()));
            }
            KeyRing::read_file(path)
        }
        KeySource::Environment(id) => KeyRing::read_environment(&[*id], &|name| std::env::var(name).ok()),
    }
}

/// A key that is missing where nothing was sealed yet: it is made, not brought back.
fn without_data(plan: &Plan, error: Error) -> Error {
    match (&plan.project.keys, error.code) {
        (KeySource::File(_), KEY_MISSING) => {
            error.help("nothing is sealed yet: make the key with `affluent keys init`, or name the file of one in `keys`")
        }
        (KeySource::Environment(_), KEY_MISSING) => error
            .help("nothing is sealed yet: set the variable to a new key, 32 random bytes as base64 (`openssl rand -base64 32`)"),
        _ => error,
    }
}

/// A key is never made for data that another key sealed.
///
/// # Errors
/// `E0613` when the project has data.
pub(crate) fn refuse_new_key_for_old_data(plan: &Plan) -> Result<()> {
    let path = plan.project.data_dir.join("ledger.sqlite");
    if path.exists() {
        return Err(Error::keys(
            "E0613",
            format!("`{}` holds data already: a new key could not read it (E_STORE_NOT_EMPTY)", path.display()),
        )
        .help("bring the old key file back"));
    }
    Ok(())
}

/// Makes the folder of a key file, readable by its owner alone.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_private)
}

/// Makes a folder that only its owner can read.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_private(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Error::external("E0814", format!("`{}` cannot be made: {error}", folder.display())))
}

/// Who holds a lease: process, when it began, and machine, so that its end can be seen.
fn holder() -> String {
    let pid = std::process::id();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("pid {pid} since {} on {}", started_at(&PathBuf::from(format!("/proc/{pid}"))).unwrap_or_default(), host.trim())
}

/// True when the holder was a process of this machine that is no more.
fn is_dead(holder: &str) -> bool {
    let words: Vec<&str> = holder.split(' ').collect();
    let ["pid", pid, "since", since, "on", host] = words.as_slice() else { return false };
    let here = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    !here.trim().is_empty()
        && here.trim() == *host
        && started_at(&Path::new("/proc").join(pid)).is_none_or(|started| started != *since)
}

/// When a process began, in the kernel's ticks; `None` when there is none.
fn started_at(process: &Path) -> Option<String> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let state = after_name.split_whitespace().next()?;
    (state != "Z").then(|| after_name.split_whitespace().nth(19).map(str::to_owned)).flatten()
}
