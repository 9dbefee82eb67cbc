//! What the ledger's bulk work costs, in microseconds of processor time per row and as a multiple of a bare insert into
//! SQLite measured in the same run. Data and order are those of a first load, the worst case of every table:
//! `cargo run --release -p affluent-ledger --example commit_speed [nodes] [directory]`

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use affluent_ledger::{
    EpochCommit, Identity, Ingest, Lease, NewNode, NewOutboxRow, Outbox, ResolutionCommit, RowOutcome, RowResult, RunStart, Runs,
    SqliteLedger, TakeBatch,
};
use affluent_model::batch::RowOperation;
use affluent_model::identity::{BlindIndex, Edge, NodeId, ProfileId};
use affluent_model::limits::EPOCH_ROWS_MAX;

type Outcome<T> = Result<T, Box<dyn Error>>;

const EDGES_PER_NODE: i64 = 3;
const BATCH_ROWS: usize = 1_000;
const PAGE_ROWS: usize = 2_000;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let nodes: i64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let directory =
        arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join(format!("commit-speed-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = measure(&directory, nodes);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &Path, nodes: i64) -> Outcome<()> {
    let mut table = Table { bare_us: 0.0 };
    table.bare_us = table.row("bare insert of 30 bytes", nodes, || bare_inserts(directory, nodes))?;
    let ledger = SqliteLedger::open(&directory.join("ledger.db"))?;
    let lease = ledger.begin_run(&start())?;
    table.row("new node with its key", nodes, || commit_nodes(&ledger, &lease, nodes))?;
    table.row("node found by key", nodes, || find_nodes(&ledger, nodes))?;
    table.row("node that nobody knows, asked for", nodes, || find_strangers(&ledger, nodes))?;
    table.row("new edge, 3 a node", nodes * EDGES_PER_NODE, || commit_edges(&ledger, &lease, 1, nodes))?;
    table.row("new label and profile", nodes, || commit_labels(&ledger, &lease, nodes))?;
    table.row("label visited", nodes, || Ok(ledger.assignments(&mut |_, _| Ok(()))?))?;
    table.row("node of the whole graph", nodes, || whole(&ledger))?;
    let few = nodes / 100;
    table.row("node of 1 %, with its 3 neighbours", few, || neighbours(&ledger, nodes, few))?;
    table.row("edge seen again, of 1 %", few * EDGES_PER_NODE, || commit_edges(&ledger, &lease, nodes - few, few))?;
    table.row("outbox row planned", nodes, || plan(&ledger, &lease, nodes))?;
    table.row("outbox row sent and settled", nodes, || deliver(&ledger, &lease))?;
    table.row("image row visited", nodes, || Ok(ledger.image("speed", &mut |_| Ok(()))?))?;
    for file in ["ledger.db", "ledger.db-wal"] {
        let bytes = std::fs::metadata(directory.join(file))?.len();
        writeln!(std::io::stdout(), "{file}: {} MiB", bytes >> 20)?;
    }
    Ok(())
}

struct Table {
    bare_us: f64,
}

impl Table {
    fn row(&self, name: &str, rows: i64, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
        let (cpu_before, began) = (cpu_seconds()?, Instant::now());
        work()?;
        let each = |seconds: f64| seconds * 1e6 / rows.max(1) as f64;
        let (cpu_us, wall_us) = (each(cpu_seconds()? - cpu_before), each(began.elapsed().as_secs_f64()));
        let ratio = if self.bare_us > 0.0 { cpu_us / self.bare_us } else { 1.0 };
        writeln!(std::io::stdout(), "{name:<35} {cpu_us:>7.2} us of CPU  {wall_us:>7.2} us of time  {ratio:>6.2} x bare")?;
        Ok(cpu_us)
    }
}

/// Of this process, user and system, in ticks of 10 ms (proc(5), fields 14 and 15).
fn cpu_seconds() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}

fn bare_inserts(directory: &Path, rows: i64) -> Outcome<()> {
    let mut connection = rusqlite::Connection::open(directory.join("bare.db"))?;
    connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE bare (id INTEGER PRIMARY KEY, value BLOB, at INTEGER)")?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO bare (id, value, at) VALUES (?1, ?2, ?3)")?;
        for row in 0..rows {
            insert.execute(rusqlite::params![row, blind(row), row])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn start() -> RunStart {
    RunStart {
        pipeline: "speed".to_owned(),
        holder: "commit_speed".to_owned(),
        scheduled_for_us: None,
        now_us: 0,
        lease_ms: 60_000,
        replaces_fence: None,
    }
}

/// A blind index as random as a real one.
fn blind(number: i64) -> BlindIndex {
    let mut value = [1; 17];
    let mut seed = u64::from_ne_bytes(number.to_ne_bytes());
    for (slot, byte) in value.iter_mut().skip(1).zip((0..2).flat_map(|_| mix(&mut seed).to_be_bytes())) {
        *slot = byte;
    }
    value
}

/// splitmix64.
fn mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn commit_nodes(ledger: &SqliteLedger, lease: &Lease, nodes: i64) -> Outcome<()> {
    let mut first = 1;
    while first <= nodes {
        let count = (nodes - first + 1).min(i64::try_from(EPOCH_ROWS_MAX)?);
        let reserved = ledger.reserve_nodes(u64::try_from(count)?)?.0;
        let new_nodes = (reserved..reserved + count).map(|node| NewNode {
            node: NodeId(node),
            key: blind(node),
            source: "shop".into(),
            wrapped_key: [7; 108],
            first_seen_us: node,
        });
        let epoch = EpochCommit { stream: "customers".to_owned(), new_nodes: new_nodes.collect(), ..EpochCommit::default() };
        ledger.commit_epoch(lease, &epoch)?;
        first += count;
    }
    Ok(())
}

fn find_nodes(ledger: &SqliteLedger, nodes: i64) -> Outcome<()> {
    let mut found = 0;
    for first in (1..=nodes).step_by(EPOCH_ROWS_MAX) {
        let keys: Vec<_> = (first..=nodes).take(EPOCH_ROWS_MAX).map(blind).collect();
        found += ledger.find_nodes(&keys)?.iter().flatten().count();
    }
    if i64::try_from(found)? == nodes { Ok(()) } else { Err("not every node was found".into()) }
}

/// As a first load asks, page by page.
fn find_strangers(ledger: &SqliteLedger, nodes: i64) -> Outcome<()> {
    for first in (nodes + 1..=2 * nodes).step_by(PAGE_ROWS) {
        let keys: Vec<_> = (first..=2 * nodes).take(PAGE_ROWS).map(blind).collect();
        if ledger.find_nodes(&keys)?.iter().any(Option::is_some) {
            return Err("a stranger was found".into());
        }
    }
    Ok(())
}

/// Three kinds of identifiers; every tenth value is shared with the node before.
fn commit_edges(ledger: &SqliteLedger, lease: &Lease, first: i64, nodes: i64) -> Outcome<()> {
    let edge = |node: i64, kind: u16| {
        let owner = if (node + i64::from(kind)) % 10 == 0 { node - 1 } else { node };
        Edge { node: NodeId(node), kind, value: blind(owner * 7 + i64::from(kind)), seen_at_us: node }
    };
    let edges = (first..first + nodes).flat_map(|node| (0..3).map(move |kind| edge(node, kind))).collect();
    Ok(ledger.commit_resolution(lease, &ResolutionCommit { edges, ..ResolutionCommit::default() })?)
}

fn commit_labels(ledger: &SqliteLedger, lease: &Lease, nodes: i64) -> Outcome<()> {
    let label = |node: i64| profile(node - i64::from(node % 10 == 0));
    let assignments = (1..=nodes).map(|node| (NodeId(node), label(node))).collect();
    let created = (1..=nodes).map(label).collect();
    Ok(ledger.commit_resolution(lease, &ResolutionCommit { assignments, created, ..ResolutionCommit::default() })?)
}

/// Ids of a first load: a millisecond for all, random after it.
fn profile(number: i64) -> ProfileId {
    ProfileId::of_node(1_780_000_000_000, &blind(number))
}

fn whole(ledger: &SqliteLedger) -> Outcome<()> {
    ledger.whole_graph()?;
    Ok(())
}

fn neighbours(ledger: &SqliteLedger, nodes: i64, few: i64) -> Outcome<()> {
    let asked: Vec<NodeId> = (1..=few).map(|number| NodeId(number * (nodes / few))).collect();
    ledger.neighbourhood(&asked, &[])?;
    Ok(())
}

/// 300 bytes of payload and 60 of match values a row, by key, as the engine plans them.
fn plan(ledger: &SqliteLedger, lease: &Lease, rows: i64) -> Outcome<()> {
    let plan = ledger.begin_plan(lease, BATCH_ROWS)?;
    let mut keys: Vec<ProfileId> = (1..=rows).map(profile).collect();
    keys.sort_unstable();
    for group in keys.chunks(10 * BATCH_ROWS) {
        let group: Vec<NewOutboxRow> = group.iter().map(|key| new_row(*key)).collect();
        ledger.add_plan_rows(lease, &plan, &group)?;
    }
    ledger.commit_plan(lease, plan)?;
    Ok(())
}

fn new_row(key: ProfileId) -> NewOutboxRow {
    NewOutboxRow {
        key,
        operation: RowOperation::Upsert,
        payload_hash: [3; 16],
        idempotency_key: [4; 32],
        payload_sealed: vec![5; 300],
        match_sealed: vec![6; 60],
        attempts_before: 0,
    }
}

fn deliver(ledger: &SqliteLedger, lease: &Lease) -> Outcome<()> {
    let take = TakeBatch { operation: RowOperation::Upsert, rows_max: BATCH_ROWS, bytes_max: 16 << 20, now_us: 1 };
    while let Some(batch) = ledger.take_batch(lease, &take)? {
        let accepted = |key| RowOutcome { key, result: RowResult::Accepted { remote_id: None } };
        let outcomes: Vec<RowOutcome> = batch.rows.iter().map(|row| accepted(row.key)).collect();
        ledger.acknowledge(lease, batch.batch, &outcomes, 2)?;
    }
    Ok(())
}
