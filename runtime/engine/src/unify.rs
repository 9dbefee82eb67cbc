//! From identifiers to profiles: reads the identifiers of files that were not resolved yet, asks the ledger for everything
//! they can touch, lets `profiles` decide, and writes the decision in one transaction.

use std::collections::BTreeMap;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_ledger::{FileRow, Lease, Neighbourhood, ResolutionCommit};
use affluent_model::identity::{BlindIndex, Edge, LinkVerdict, NodeId};
use affluent_model::report::ProfilesReport;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::resolve::{Resolution, ResolveInput, ResolveNode, resolve};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::engine::{Engine, Event};
use crate::mapping::identifier_column;
use crate::rows;

/// Where the hash of the identity rules stands, that the graph was last resolved by.
const RULES_OWNER: (&str, &str, &str) = ("(profiles)", "identity", "rules");

/// Resolves what is new, or everything when the identity rules changed.
///
/// # Errors
/// What lake and ledger report; nothing is half done.
pub(crate) async fn unify(engine: &Engine, lease: &Lease, report: &mut ProfilesReport) -> Result<()> {
    let files = engine.ledger.unresolved_files()?;
    let (owner, plugin, key) = RULES_OWNER;
    let rules_hash = format!("{:?}", engine.plan.identity);
    let rules_hash = engine.vault.blind_indexer("identity-rules")?.index(rules_hash.as_bytes()).to_vec();
    let rules_known = engine.ledger.plugin_value(owner, plugin, key)?;
    let rules_changed = rules_known.as_ref().is_some_and(|known| *known != rules_hash);
    if files.is_empty() && !rules_changed {
        report.profiles = engine.ledger.profile_count()?;
        return Ok(());
    }
    let kinds = kind_numbers(engine)?;
    let found = read_identifiers(engine, &files, &kinds).await?;
    engine.notice(Event::Unifying { records: u64::try_from(found.nodes.len()).unwrap_or(0) });
    let mut around =
        if rules_changed { engine.ledger.whole_graph()? } else { engine.ledger.neighbourhood(&found.nodes, &found.values())? };
    let nodes: Vec<ResolveNode> = around.nodes.iter().map(resolve_node).collect();
    report.nodes_new += u64::try_from(nodes.iter().filter(|node| node.profile.is_none()).count()).unwrap_or(0);
    around.edges.extend_from_slice(&found.edges);
    let names = kind_names(engine)?;
    let input = ResolveInput {
        rules: &engine.plan.identity,
        kinds: &names,
        nodes: &nodes,
        edges: &around.edges,
        blocked: &around.blocked,
    };
    let resolution = resolve(&input);
    count(report, &resolution, &around);
    let commit = ResolutionCommit {
        resolved_files: files.iter().map(|file| file.id).collect(),
        edges: found.edges,
        assignments: resolution.assignments,
        created: resolution.created,
        aliases: resolution.aliases,
        removed: Vec::new(),
        relinked_nodes: nodes.iter().map(|node| node.node).collect(),
        links: resolution.links,
        blocked: resolution.blocked,
        unblocked: Vec::new(),
        now_us: engine.now_us(),
    };
    engine.ledger.commit_resolution(lease, &commit)?;
    engine.ledger.put_plugin_value(owner, plugin, key, &rules_hash)?;
    report.profiles = engine.ledger.profile_count()?;
    Ok(())
}

/// What the new files say about who is who.
#[derive(Default)]
struct Found {
    nodes: Vec<NodeId>,
    edges: Vec<Edge>,
}

impl Found {
    fn values(&self) -> Vec<(u16, BlindIndex)> {
        let mut values: Vec<(u16, BlindIndex)> = self.edges.iter().map(|edge| (edge.kind, edge.value)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

fn resolve_node(node: &affluent_ledger::NodeRow) -> ResolveNode {
    let first_seen_ms = u64::try_from(node.first_seen_us / 1_000).unwrap_or(0);
    ResolveNode { node: node.node, key: node.key, first_seen_ms, profile: node.profile }
}

fn kind_numbers(engine: &Engine) -> Result<Vec<(String, u16)>> {
    let names: Vec<String> = engine.plan.identity.identifiers.iter().map(|rule| rule.name.clone()).collect();
    let numbers = engine.ledger.identifier_kinds(&names)?;
    Ok(names.into_iter().zip(numbers).collect())
}

/// Names of identifier kinds by their number.
pub(crate) fn kind_names(engine: &Engine) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (number, name) in engine.ledger.identifier_kind_names()? {
        names.resize(names.len().max(usize::from(number) + 1), String::new());
        if let Some(slot) = names.get_mut(usize::from(number)) {
            *slot = name;
        }
    }
    Ok(names)
}

async fn read_identifiers(engine: &Engine, files: &[FileRow], kinds: &[(String, u16)]) -> Result<Found> {
    let mut by_table: BTreeMap<&str, Vec<&FileRow>> = BTreeMap::new();
    for file in files {
        by_table.entry(&file.table).or_default().push(file);
    }
    let mut found = Found::default();
    for (table, files) in by_table {
        let Some(newest) = files.last() else { continue };
        let schema = engine.lake.file_schema(&newest.name)?;
        let present: Vec<&(String, u16)> =
            kinds.iter().filter(|(kind, _)| schema.field_with_name(&identifier_column(kind)).is_ok()).collect();
        let columns: String = present.iter().map(|(kind, _)| format!(", \"{}\"", identifier_column(kind))).collect();
        let query = LakeQuery {
            sql: format!("SELECT \"_node\", \"_at\"{columns} FROM \"{table}\" WHERE \"_node\" IS NOT NULL"),
            tables: vec![LakeTable {
                name: table.to_owned(),
                schema,
                files: files.iter().map(|file| file.name.clone()).collect(),
            }],
            memory: Vec::new(),
            now_us: engine.now_us(),
        };
        engine.lake.stream(query, &mut |batch| take_identifiers(&batch, &present, &mut found)).await?;
    }
    found.nodes.sort_unstable();
    found.nodes.dedup();
    found.edges.sort_unstable_by_key(|edge| (edge.node, edge.kind, edge.value, edge.seen_at_us));
    found.edges.dedup_by_key(|edge| (edge.node, edge.kind, edge.value));
    Ok(found)
}

fn take_identifiers(batch: &RecordBatch, kinds: &[&(String, u16)], found: &mut Found) -> Result<()> {
    let nodes = rows::column(batch, "_node")?;
    let nodes = nodes.as_primitive::<Int64Type>();
    let times = rows::cast_to(rows::column(batch, "_at")?, &FieldType::Timestamp.to_arrow())?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    found.nodes.extend(nodes.values().iter().map(|node| NodeId(*node)));
    for (kind, number) in kinds {
        let values = rows::cast_to(rows::column(batch, &identifier_column(kind))?, &FieldType::Binary.to_arrow())?;
        let values = values.as_binary::<i32>();
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = BlindIndex::try_from(values.value(row)).map_err(|_| Error::bug("a blind index is not 17 bytes"))?;
            let (node, seen_at_us) = (NodeId(nodes.value(row)), times.value(row));
            found.edges.push(Edge { node, kind: *number, value, seen_at_us });
        }
    }
    Ok(())
}

fn count(report: &mut ProfilesReport, resolution: &Resolution, around: &Neighbourhood) {
    let number = |length: usize| u64::try_from(length).unwrap_or(0);
    report.created += number(resolution.created.len());
    report.merged += number(resolution.aliases.len());
    report.split += number(resolution.splits.len());
    report.identifiers_blocked += number(resolution.blocked.len());
    let is_new = |node: NodeId| {
        around
            .nodes
            .binary_search_by_key(&node, |row| row.node)
            .is_ok_and(|at| around.nodes.get(at).is_some_and(|row| row.profile.is_none()))
    };
    for link in &resolution.links {
        match &link.verdict {
            LinkVerdict::Joined if is_new(link.node_a) || is_new(link.node_b) => {
                *report.links_by_rule.entry(link.rule.clone()).or_default() += 1;
            }
            LinkVerdict::Joined => {}
            LinkVerdict::Refused(_) => report.links_refused += 1,
        }
    }
}
