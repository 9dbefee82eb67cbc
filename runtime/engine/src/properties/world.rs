//! A project in a folder of its own: its plan read from files, real stores, a clock that is set by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use affluent_config::{Inputs, load};
use affluent_lake::{EmbeddedLake, Expressions, LakeOptions};
use affluent_ledger::{Keys as _, SqliteLedger, StoredKeyRow};
use affluent_model::report::{ProfilesReport, RunReport};
use affluent_model::schema::StreamSchema;
use affluent_vault::{KeyRing, OsRandom, Vault, create_key_file};
use serde_json::Value;
use tempfile::TempDir;

use super::feed::{Feed, Laid, Sent};
use crate::engine::{Clock, Engine, SilentObserver};
use crate::rehearsal::Record;
use crate::run::RunOptions;

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const DAY_US: i64 = 86_400 * SECOND_US;
/// 2026-01-01T00:00:00Z.
pub(super) const START_US: i64 = 1_767_225_600 * SECOND_US;

/// What a thread of the runtime that queries the lake has: planning is recursive, and hungry where it is not optimised.
const STACK_BYTES: usize = 16 << 20;
const LAKE_BYTES: usize = 256 << 20;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A project that can be run.
pub(super) struct World {
    folder: TempDir,
    pub(super) engine: Engine,
    feed: Arc<Feed>,
    hands: Arc<Hands>,
}

impl World {
    /// An empty one, of these files and with these streams of connections; in memory where the machine has a folder for that.
    pub(super) fn open(files: &[(&str, &str)], streams: Vec<(String, StreamSchema)>) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let loaded = load(folder.path(), &Inputs { variables: BTreeMap::new(), environment: &|_| None });
        let plan = loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let ledger = SqliteLedger::open(&data.join("ledger.sqlite")).unwrap();
        let key = folder.path().join("keyring");
        create_key_file(&key, &mut OsRandom::new()).unwrap();
        let (vault, keys) =
            Vault::create(&KeyRing::read_file(&key).unwrap(), &plan.project.workspace, 0, &mut OsRandom::new()).unwrap();
        let keys = keys.into_iter().map(|key| StoredKeyRow {
            purpose: key.purpose,
            key_id: key.key_id,
            version: key.version,
            wrapped: key.wrapped,
        });
        ledger.add_stored_keys(&keys.collect::<Vec<_>>()).unwrap();
        let options =
            LakeOptions { dir: data.join("lake"), memory_bytes: LAKE_BYTES, memory_bytes_max: LAKE_BYTES, partitions: 1 };
        let (feed, hands) = (Arc::new(Feed::new(streams)), Arc::new(Hands(AtomicI64::new(START_US))));
        let engine = Engine {
            plan: Arc::new(plan),
            connectors: Arc::clone(&feed) as _,
            ledger: Arc::new(ledger),
            lake: Arc::new(EmbeddedLake::open(options).unwrap()),
            expressions: Arc::new(Expressions::new()),
            vault: Arc::new(vault),
            clock: Arc::clone(&hands) as _,
            observer: Arc::new(SilentObserver),
            cancelled: Arc::new(AtomicBool::new(false)),
            holder: "properties".to_owned(),
            is_dead: Arc::new(|_| false),
        };
        Self { folder, engine, feed, hands }
    }

    /// The folder of its stores.
    pub(super) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The time is this much later.
    pub(super) fn pass(&self, time_us: i64) {
        self.hands.0.fetch_add(time_us, Ordering::Relaxed);
    }

    /// The time is a day after that of the machine, by which files are dated.
    pub(super) fn catch_up(&self) {
        let machine_us = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
        self.hands.0.store(i64::try_from(machine_us).unwrap() + DAY_US, Ordering::Relaxed);
    }

    /// What sources give from now on.
    pub(super) fn lay(&self, records: Laid) {
        self.feed.lay(records);
    }

    /// Runs pipelines in turn; each must succeed.
    pub(super) async fn run(&self, pipelines: &[&str], full: bool) -> Vec<RunReport> {
        let mut reports = Vec::new();
        for name in pipelines {
            self.pass(SECOND_US);
            let (report, error) = self.engine.run(name, &RunOptions { full, ..RunOptions::default() }).await.unwrap();
            assert!(error.is_none(), "{name}: {error:?}");
            assert!(report.streams.iter().all(|stream| stream.rejected == 0), "{name}: {:?}", report.streams);
            reports.push(report);
        }
        reports
    }

    /// Runs a pipeline into profiles; what it reports of them.
    pub(super) async fn read(&self, pipeline: &str) -> ProfilesReport {
        self.run(&[pipeline], false).await.pop().and_then(|report| report.profiles).unwrap_or_default()
    }

    /// What was sent since this was asked last.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.feed.take_sent()
    }

    /// Who is a member of a segment, by the values of an attribute.
    pub(super) async fn members(&self, segment: &str, attribute: &str) -> Vec<String> {
        let mut members = Vec::new();
        for profile in self.engine.ledger.members(segment).unwrap() {
            let view = self.engine.profile(profile, true).await.unwrap();
            members.extend(view.values.into_iter().filter(|value| value.name == attribute).map(|value| value.value));
        }
        members.sort();
        members
    }
}

/// A record of `field=value` words; a field without a value is null.
pub(super) fn record(text: &str) -> Record {
    let fields = text.split_whitespace().filter_map(|word| word.split_once('='));
    fields.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

/// Microseconds as a source writes them.
pub(super) fn instant(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Records of some streams, `connection.stream` → records.
pub(super) fn laid(streams: &[(&str, Vec<Record>)]) -> Laid {
    let split = |name: &str| name.split_once('.').map(|(connection, stream)| (connection.to_owned(), stream.to_owned())).unwrap();
    streams.iter().map(|(name, records)| (split(name), records.clone())).collect()
}

/// Runs to its end on a thread with the stack that queries need.
pub(super) fn block_on<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    std::thread::scope(|scope| std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run).unwrap().join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The bytes of every file below a folder.
pub(super) fn files_below(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    files
}
