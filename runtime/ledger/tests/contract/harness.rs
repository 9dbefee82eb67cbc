//! A ledger in a directory of its own, and the smallest rows of each kind.

use std::ops::Deref;
use std::path::PathBuf;

use affluent_ledger::*;
use affluent_model::batch::RowOperation;
use affluent_model::identity::{BlindIndex, Edge, NodeId, NodeKey, ProfileId, WrappedKey};
use affluent_model::limits::LEASE_MS;
use tempfile::TempDir;

pub(crate) const PIPELINE: &str = "shop_to_profiles";
pub(crate) const STREAM: &str = "customers";
pub(crate) const TABLE: &str = "shop.customers";

/// A ledger that can be closed and opened again.
pub(crate) struct Store {
    directory: TempDir,
    ledger: Option<Box<dyn Ledger>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Self { directory, ledger: None };
        store.reopen();
        store
    }

    /// What a new process finds.
    pub(crate) fn reopen(&mut self) {
        self.ledger = None;
        self.ledger = Some(Box::new(SqliteLedger::open(&self.path()).unwrap()));
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    pub(crate) fn begin(&self, pipeline: &str) -> Lease {
        self.begin_run(&start(pipeline, 0)).unwrap()
    }

    /// The lease of a run that a later one has overtaken.
    pub(crate) fn zombie(&self) -> Lease {
        let zombie = self.begin(PIPELINE);
        self.begin_run(&start(PIPELINE, 2 * LEASE_MS as i64 * 1_000)).unwrap();
        zombie
    }

    /// Nodes 1..=count, each with key `key(n)`.
    pub(crate) fn with_nodes(count: i64) -> (Self, Lease) {
        let store = Self::new();
        let lease = store.begin(PIPELINE);
        store.reserve_nodes(count as u64).unwrap();
        let epoch = EpochCommit { new_nodes: (1..=count).map(node).collect(), ..epoch() };
        store.commit_epoch(&lease, &epoch).unwrap();
        (store, lease)
    }

    pub(crate) fn image_rows(&self) -> Vec<ImageRow> {
        let mut rows = Vec::new();
        self.image(PIPELINE, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
        rows
    }

    pub(crate) fn refusal_rows(&self) -> Vec<RefusalRow> {
        let mut rows = Vec::new();
        self.refusals(PIPELINE, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
        rows
    }

    pub(crate) fn plan(&self, lease: &Lease, rows: &[NewOutboxRow]) -> u64 {
        let plan = self.begin_plan(lease, 2).unwrap();
        self.add_plan_rows(lease, &plan, rows).unwrap();
        self.commit_plan(lease, plan).unwrap()
    }

    pub(crate) fn take(&self, lease: &Lease, operation: RowOperation, rows_max: usize) -> Option<OutboxBatch> {
        let take = TakeBatch { operation, rows_max, bytes_max: usize::MAX, now_us: 1_000 };
        self.take_batch(lease, &take).unwrap()
    }

    pub(crate) fn settle(&self, lease: &Lease, batch: &OutboxBatch, result: &RowResult) {
        let outcomes: Vec<RowOutcome> =
            batch.rows.iter().map(|row| RowOutcome { key: row.key, result: result.clone() }).collect();
        self.acknowledge(lease, batch.batch, &outcomes, 2_000).unwrap();
    }
}

impl Deref for Store {
    type Target = dyn Ledger;

    fn deref(&self) -> &Self::Target {
        self.ledger.as_deref().unwrap()
    }
}

pub(crate) fn start(pipeline: &str, now_us: i64) -> RunStart {
    RunStart {
        pipeline: pipeline.to_owned(),
        holder: "pid 1 on test".to_owned(),
        scheduled_for_us: None,
        now_us,
        lease_ms: LEASE_MS,
        replaces_fence: None,
    }
}

pub(crate) fn end(now_us: i64) -> RunEnd {
    RunEnd { outcome: "succeeded".to_owned(), report_json: "{}".to_owned(), now_us, news_read: None }
}

pub(crate) fn epoch() -> EpochCommit {
    EpochCommit { stream: STREAM.to_owned(), ..EpochCommit::default() }
}

pub(crate) fn file(name: &str) -> NewFile {
    NewFile { table: TABLE.to_owned(), name: name.to_owned(), rows: 3, bytes: 400, sequence: 1 }
}

pub(crate) fn key(number: i64) -> NodeKey {
    let half = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64).to_be_bytes();
    let mut key = [1; 17];
    key[1..9].copy_from_slice(&half);
    key[9..].copy_from_slice(&half);
    key
}

pub(crate) fn value(number: u8) -> BlindIndex {
    let mut value = [number; 17];
    value[0] = 1;
    value
}

pub(crate) fn wrapped(number: i64) -> WrappedKey {
    std::array::from_fn(|at| (number as u8) ^ (at as u8).wrapping_mul(151))
}

pub(crate) fn node(number: i64) -> NewNode {
    NewNode {
        node: NodeId(number),
        key: key(number),
        source: "shop".into(),
        wrapped_key: wrapped(number),
        first_seen_us: number * 10,
    }
}

pub(crate) fn edge(node: i64, kind: u16, number: u8) -> Edge {
    Edge { node: NodeId(node), kind, value: value(number), seen_at_us: 5 }
}

pub(crate) fn profile(number: u128) -> ProfileId {
    ProfileId(number)
}

pub(crate) fn letter(place: &str) -> NewDeadLetter {
    NewDeadLetter {
        stream: STREAM.to_owned(),
        stage: Stage::Admit,
        place: place.to_owned(),
        code: "admit.type".to_owned(),
        message: "field `age` is not a number".to_owned(),
        payload_sealed: Some(vec![9, 9]),
        at_us: 7,
    }
}

pub(crate) fn upsert(key: u128, hash: u8) -> NewOutboxRow {
    NewOutboxRow {
        key: ProfileId(key),
        operation: RowOperation::Upsert,
        payload_hash: [hash; 16],
        idempotency_key: [hash; 32],
        payload_sealed: vec![hash; 10],
        match_sealed: vec![hash; 2],
        attempts_before: 0,
    }
}

pub(crate) fn removal(key: u128) -> NewOutboxRow {
    NewOutboxRow { operation: RowOperation::Delete, payload_sealed: Vec::new(), ..upsert(key, 0) }
}

pub(crate) fn keys_of(batch: &OutboxBatch) -> Vec<u128> {
    batch.rows.iter().map(|row| row.key.0).collect()
}

pub(crate) fn accepted() -> RowResult {
    RowResult::Accepted { remote_id: None }
}
