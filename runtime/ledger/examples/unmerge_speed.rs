//! What it costs to split one profile and to join it again in a ledger of many records: the lease, the neighbourhood, the
//! decisions, the resolution and the commits, as `affluent profile split` and `undo` do it, without the start of a process.
//! `cargo run --release -p affluent-ledger --example unmerge_speed [records] [directory]`

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use affluent_ledger::{
    Decided, DecisionChange, Decisions, EpochCommit, Identity, Ingest, Lease, Neighbourhood, NewDecision, NewNode,
    ResolutionCommit, RunEnd, RunStart, Runs, SqliteLedger,
};
use affluent_model::identity::{BlindIndex, Edge, NodeId, ProfileId};
use affluent_model::limits::EPOCH_ROWS_MAX;
use affluent_model::plan::{IdentifierRule, IdentityLimits, IdentityRules};
use affluent_profiles::resolve::{Knowledge, ResolveInput, ResolveNode, own_id, resolve_with};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Records of one person; each has an address and a phone, and shares one of the two with the next.
const RECORDS_PER_PERSON: i64 = 4;
const ROUNDS: i64 = 500;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let records: i64 = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let directory =
        arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join(format!("unmerge-speed-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = measure(&directory, records);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &Path, records: i64) -> Outcome<()> {
    let ledger = SqliteLedger::open(&directory.join("ledger.db"))?;
    let kinds = ledger.identifier_kinds(&["email".to_owned(), "phone".to_owned()])?;
    let lease = begin(&ledger)?;
    add_records(&ledger, &lease, records)?;
    let edges: Vec<Edge> = (1..=records).flat_map(|node| edges_of(node, &kinds)).collect();
    ledger.commit_resolution(&lease, &ResolutionCommit { edges, ..ResolutionCommit::default() })?;
    resolve(&ledger, &lease, ledger.whole_graph()?, None)?;
    end(&ledger, &lease)?;
    let profiles = ledger.profile_count()?;

    let (mut splits, mut joins) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let person = (round * 7_919) % (records / RECORDS_PER_PERSON);
        let node = NodeId(person * RECORDS_PER_PERSON + 2);
        let before = ledger.nodes_of(profile_of(&ledger, node)?)?;
        let from: Vec<NodeId> = before.iter().map(|row| row.node).filter(|other| *other != node).collect();
        let decided = Decided::Split { node, from };
        let new = NewDecision { decided, by: "steward".to_owned(), reason_sealed: None };
        splits.push(change(&ledger, node, DecisionChange::Decide(new))?);
        let decision = ledger.decisions_on(&[node])?.last().map_or(0, |row| row.decision);
        joins.push(change(&ledger, node, DecisionChange::Undo { decision, by: "steward".to_owned() })?);
        if ledger.nodes_of(profile_of(&ledger, node)?)? != before {
            return Err("what was split and joined again is not what it was".into());
        }
    }
    writeln!(std::io::stdout(), "{records} records, {profiles} profiles, {ROUNDS} rounds")?;
    told("split", splits)?;
    told("join again", joins)
}

fn told(name: &str, mut milliseconds: Vec<f64>) -> Outcome<()> {
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: usize| milliseconds.get(milliseconds.len() * share / 100).copied().unwrap_or(0.0);
    writeln!(std::io::stdout(), "{name:<11} median {:.2} ms, 95 % {:.2} ms, 99 % {:.2} ms", at(50), at(95), at(99))?;
    Ok(())
}

/// One change under a lease of its own; milliseconds.
fn change(ledger: &SqliteLedger, node: NodeId, change: DecisionChange) -> Outcome<f64> {
    let began = Instant::now();
    let lease = begin(ledger)?;
    let around = ledger.neighbourhood(&[node], &[])?;
    resolve(ledger, &lease, around, Some(change))?;
    end(ledger, &lease)?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn resolve(ledger: &SqliteLedger, lease: &Lease, around: Neighbourhood, change: Option<DecisionChange>) -> Outcome<()> {
    let to_node = |row: &affluent_ledger::NodeRow| ResolveNode {
        node: row.node,
        key: row.key,
        first_seen_ms: u64::try_from(row.first_seen_us / 1_000).unwrap_or(0),
        profile: row.profile,
    };
    let nodes: Vec<ResolveNode> = around.nodes.iter().map(to_node).collect();
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
    let former = ledger.former_profiles(&nodes.iter().map(own_id).collect::<Vec<ProfileId>>())?;
    let undone = match &change {
        Some(DecisionChange::Undo { decision, .. }) => Some(*decision),
        _ => None,
    };
    let standing = ledger.decisions_on(&ids)?.into_iter().filter(|row| Some(row.decision) != undone).map(|row| row.decided);
    let made = match &change {
        Some(DecisionChange::Decide(new)) => Some(new.decided.clone()),
        _ => None,
    };
    let mut cannot_link = Vec::new();
    for decided in standing.chain(made) {
        if let Decided::Split { node, from } = decided {
            cannot_link.extend(from.into_iter().map(|other| (node, other)));
        }
    }
    let kinds: Vec<String> = ledger.identifier_kind_names()?.into_iter().map(|(_, name)| name).collect();
    let rules = rules();
    let input = ResolveInput { rules: &rules, kinds: &kinds, nodes: &nodes, edges: &around.edges, blocked: &around.blocked };
    let knowledge = Knowledge { evidence: None, must_link: &[], cannot_link: &cannot_link, former: &former };
    let resolution = resolve_with(&input, &knowledge);
    let commit = ResolutionCommit {
        assignments: resolution.assignments,
        created: resolution.created,
        aliases: resolution.aliases,
        relinked_nodes: ids,
        links: resolution.links,
        blocked: resolution.blocked,
        decision: change,
        ..ResolutionCommit::default()
    };
    Ok(ledger.commit_resolution(lease, &commit)?)
}

fn rules() -> IdentityRules {
    let identifier =
        |(priority, name): (u32, &str)| IdentifierRule { name: name.to_owned(), priority, ..IdentifierRule::default() };
    let identifiers = [(1, "email"), (2, "phone")].map(identifier).to_vec();
    IdentityRules { identifiers, limits: IdentityLimits::default(), ..IdentityRules::default() }
}

fn profile_of(ledger: &SqliteLedger, node: NodeId) -> Outcome<ProfileId> {
    let around = ledger.neighbourhood(&[node], &[])?;
    let found = around.nodes.iter().find(|row| row.node == node).and_then(|row| row.profile);
    found.ok_or_else(|| "a record has no profile".into())
}

fn begin(ledger: &SqliteLedger) -> Outcome<Lease> {
    Ok(ledger.begin_run(&RunStart {
        pipeline: "(profiles)".to_owned(),
        holder: "unmerge_speed".to_owned(),
        scheduled_for_us: None,
        now_us: 0,
        lease_ms: 60_000,
        replaces_fence: None,
    })?)
}

fn end(ledger: &SqliteLedger, lease: &Lease) -> Outcome<()> {
    let end = RunEnd { outcome: "succeeded".to_owned(), report_json: "{}".to_owned(), now_us: 1, news_read: None };
    Ok(ledger.finish_run(lease, &end)?)
}

fn add_records(ledger: &SqliteLedger, lease: &Lease, records: i64) -> Outcome<()> {
    let mut first = 1;
    while first <= records {
        let count = (records - first + 1).min(i64::try_from(EPOCH_ROWS_MAX)?);
        let reserved = ledger.reserve_nodes(u64::try_from(count)?)?.0;
        let new_nodes = (reserved..reserved + count).map(|node| NewNode {
            node: NodeId(node),
            key: blind(node),
            source: "shop".into(),
            wrapped_key: [7; 108],
            first_seen_us: node * 1_000,
        });
        let epoch = EpochCommit { stream: "customers".to_owned(), new_nodes: new_nodes.collect(), ..EpochCommit::default() };
        ledger.commit_epoch(lease, &epoch)?;
        first += count;
    }
    Ok(())
}

fn edges_of(node: i64, kinds: &[u16]) -> Vec<Edge> {
    let place = (node - 1) % RECORDS_PER_PERSON;
    let person = (node - 1) / RECORDS_PER_PERSON;
    let shared = |kind: usize, number: i64| blind(person * 100 + i64::try_from(kind).unwrap_or(0) * 10 + number + 1_000_000_000);
    let values = [shared(0, place / 2), shared(1, (place + 1) / 2)];
    let edge = |(kind, value): (&u16, BlindIndex)| Edge { node: NodeId(node), kind: *kind, value, seen_at_us: node };
    kinds.iter().zip(values).map(edge).collect()
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
