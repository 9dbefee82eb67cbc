//! From identifiers to profiles: reads the identifiers of files that were not resolved yet, asks the ledger for everything
//! they can touch, lets `profiles` decide, and writes the decision in one transaction.

use std::borrow::Cow;
use std::collections::BTreeMap;

use affluent_ledger::{DecisionChange, FileRow, Lease, NodeRow, ResolutionCommit, Unknown};
use affluent_model::identity::{BlindIndex, BlockedIdentifier, Edge, LinkVerdict, NodeId};
use affluent_model::plan::{IdentifierRule, IdentityRules};
use affluent_model::report::ProfilesReport;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::evidence::Evidence;
use affluent_profiles::resolve::{Knowledge, Resolution, ResolveInput, ResolveNode, resolve_with};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

use crate::assignments::Assignments;
use crate::decisions::{Reviewed, Standing};
use crate::engine::{Engine, Event, cancelled};
use crate::evidence::EvidenceReader;
use crate::mapping::identifier_column;
use crate::rows;

/// Records that are resolved in one transaction: about 400 bytes of memory each. Every further part of a first load reads the
/// graph once more, and looks up what the parts before wrote, so smaller is slower.
const UNIFY_ROWS_MAX: u64 = 1_000_000;

/// Where the hash of the identity rules stands, that the graph was last resolved by.
const RULES_OWNER: (&str, &str, &str) = ("(profiles)", "identity", "rules");

/// Resolves what is new, or everything when the identity rules changed. Returns whose the nodes are that were looked at, where
/// they are few.
///
/// # Errors
/// What lake and ledger report; a file is resolved or it is not, and the next run goes on with those that are not.
pub(crate) async fn unify(engine: &Engine, lease: &Lease, report: &mut ProfilesReport) -> Result<Assignments> {
    let files = engine.ledger.unresolved_files()?;
    let (owner, plugin, key) = RULES_OWNER;
    let rules_hash = format!("{:?}", engine.plan.identity);
    let rules_hash = engine.vault.blind_indexer("identity-rules")?.index(rules_hash.as_bytes()).to_vec();
    let rules_known = engine.ledger.plugin_value(owner, plugin, key)?;
    let rules_changed = rules_known.as_ref().is_some_and(|known| *known != rules_hash);
    if files.is_empty() && !rules_changed {
        report.profiles = engine.ledger.profile_count()?;
        return Ok(Assignments::default());
    }
    // Changed rules need the whole graph at once, and so do rules that join without an identifier; what is only new is
    // resolved part by part else, with the same result.
    let is_whole = rules_changed || engine.plan.identity.joins_without_identifiers();
    let parts = if is_whole { vec![files.as_slice()] } else { parts_of(&files) };
    let mut evidence = EvidenceReader::new(engine, &engine.plan.identity);
    let is_one = parts.len() == 1;
    let mut done = Ok(Assignments::default());
    for files in parts {
        done = if engine.is_cancelled() { Err(cancelled()) } else { done };
        if done.is_ok() {
            done = resolve_files(engine, lease, (files, is_whole), &mut evidence, report).await;
        }
        if done.is_err() {
            break;
        }
    }
    evidence.audit()?;
    let assignments = done?;
    engine.ledger.put_plugin_value(owner, plugin, key, &rules_hash)?;
    report.profiles = engine.ledger.profile_count()?;
    Ok(if is_one { assignments } else { Assignments::default() })
}

/// The files in runs of about [`UNIFY_ROWS_MAX`] rows, so that memory does not grow with what waits.
fn parts_of(files: &[FileRow]) -> Vec<&[FileRow]> {
    let (mut parts, mut rest, mut rows) = (Vec::new(), files, 0);
    let mut length = 0;
    for file in files {
        rows += file.rows;
        length += 1;
        if rows >= UNIFY_ROWS_MAX {
            let (part, left) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            parts.push(part);
            (rest, rows, length) = (left, 0, 0);
        }
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Resolves the identifiers of some files together with everything they can touch, in one transaction.
async fn resolve_files(
    engine: &Engine,
    lease: &Lease,
    (files, is_whole): (&[FileRow], bool),
    evidence: &mut EvidenceReader<'_>,
    report: &mut ProfilesReport,
) -> Result<Assignments> {
    let kinds = kind_numbers(engine)?;
    let mut found = read_identifiers(engine, files, &kinds)?;
    // Where attributes are compared, a node that carries what it carried may say something else of itself.
    if !is_whole && !engine.plan.identity.compared().contains(&true) {
        found = news_of(engine, found)?;
    }
    engine.notice(Event::Unifying { records: u64::try_from(found.nodes.len()).unwrap_or(0) });
    resolve_part(engine, lease, Part { files, found, is_whole, change: None }, evidence, report).await
}

/// What is resolved at once.
pub(crate) struct Part<'a> {
    /// They are resolved after it.
    pub(crate) files: &'a [FileRow],
    pub(crate) found: Found,
    /// With everything that the ledger knows, not only what can be touched.
    pub(crate) is_whole: bool,
    /// What a person decided, of which it follows.
    pub(crate) change: Option<DecisionChange>,
}

/// Resolves what was found together with everything it can touch, in one transaction; returns whose the nodes are then.
///
/// # Errors
/// Those of the stores.
pub(crate) async fn resolve_part(
    engine: &Engine,
    lease: &Lease,
    mut part: Part<'_>,
    evidence: &mut EvidenceReader<'_>,
    report: &mut ProfilesReport,
) -> Result<Assignments> {
    let ground = Ground::of(engine, &mut part)?;
    let nodes = &ground.nodes;
    report.nodes_new += u64::try_from(nodes.iter().filter(|node| node.profile.is_none()).count()).unwrap_or(0);
    let said = evidence.read(nodes).await?;
    let resolution = ground.resolve(&part.found, &engine.plan.identity, &kind_names(engine)?, said.as_ref());
    drop(said);
    ground.count(&resolution, report);
    let assignments = if ground.is_complete { Assignments::new(nodes, &resolution.assignments) } else { Assignments::default() };
    let Part { files, found, change, .. } = part;
    let mut edges = found.edges;
    edges.extend(found.seen_again);
    let commit = ResolutionCommit {
        resolved_files: files.iter().map(|file| file.id).collect(),
        edges,
        assignments: resolution.assignments,
        created: resolution.created,
        aliases: resolution.aliases,
        removed: Vec::new(),
        relinked_nodes: ground.nodes.iter().map(|node| node.node).collect(),
        links: resolution.links,
        bordering: resolution.bordering,
        blocked: resolution.blocked,
        unblocked: ground.judged_anew,
        decision: change,
        now_us: engine.now_us(),
    };
    engine.ledger.commit_resolution(lease, &commit)?;
    Ok(assignments)
}

/// Everything that a part can touch, as the ledger knows it.
pub(crate) struct Ground {
    /// By id, without erased persons.
    pub(crate) nodes: Vec<ResolveNode>,
    known: Vec<Edge>,
    blocked: Vec<BlockedIdentifier>,
    /// Values that were blocked and are judged anew, since all who carry them are here; sorted.
    judged_anew: Vec<(u16, BlindIndex)>,
    standing: Standing,
    /// The profiles of the nodes have no others.
    is_complete: bool,
}

impl Ground {
    /// Reads it; erased persons and what they carried are taken out of the part.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn of(engine: &Engine, part: &mut Part<'_>) -> Result<Self> {
        let found = &mut part.found;
        let erased = engine.ledger.erased_nodes()?;
        let is_erased = |node: NodeId| erased.binary_search(&node).is_ok();
        if !erased.is_empty() {
            found.nodes.retain(|node| !is_erased(*node));
            found.edges.retain(|edge| !is_erased(edge.node));
        }
        let around = if part.is_whole {
            engine.ledger.whole_graph()?
        } else {
            Reviewed::of_plan(engine)?.add_partners(&mut found.nodes);
            engine.ledger.neighbourhood(&found.nodes, &found.values())?
        };
        // A record of nobody has a node that holds its key, no label and no place among what was found.
        let is_somebody = |row: &NodeRow| row.profile.is_some() || found.nodes.binary_search(&row.node).is_ok();
        let counts = |row: &NodeRow| !is_erased(row.node) && (!part.is_whole || is_somebody(row));
        let is_complete = around.nodes.iter().all(|row| row.profile.is_none() || counts(row));
        let nodes: Vec<ResolveNode> = around.nodes.into_iter().filter(counts).map(resolve_node).collect();
        let standing = Standing::around(engine, &nodes, part.change.as_ref())?;
        let (blocked, judged_anew) = if part.is_whole {
            (Vec::new(), around.blocked.iter().map(|one| (one.kind, one.value)).collect())
        } else {
            (around.blocked, Vec::new())
        };
        Ok(Self { nodes, known: around.edges, blocked, judged_anew, standing, is_complete })
    }

    /// Resolves it with what was found, by these rules; `kinds` are the names of identifier kinds by their numbers.
    pub(crate) fn resolve(
        &self,
        found: &Found,
        rules: &IdentityRules,
        kinds: &[String],
        evidence: Option<&Evidence>,
    ) -> Resolution {
        let mut edges = if self.known.is_empty() {
            Cow::Borrowed(found.edges.as_slice())
        } else {
            Cow::Owned([self.known.as_slice(), found.edges.as_slice()].concat())
        };
        let mut detached: Vec<NodeId> = Vec::new();
        if self.standing.detaches() {
            detached.extend(edges.iter().filter(|edge| !self.standing.joins(edge)).map(|edge| edge.node));
            edges.to_mut().retain(|edge| self.standing.joins(edge));
        }
        let input = ResolveInput { rules, kinds, nodes: &self.nodes, edges: &edges, blocked: &self.blocked };
        let mut resolution = resolve_with(&input, &Knowledge { evidence, ..self.standing.knowledge() });
        if !detached.is_empty() {
            // What they share counts again when the decision is taken back.
            resolution.bordering.extend(detached);
            resolution.bordering.sort_unstable();
            resolution.bordering.dedup();
        }
        resolution
    }

    /// Adds what a resolution did to a report.
    pub(crate) fn count(&self, resolution: &Resolution, report: &mut ProfilesReport) {
        let number = |length: usize| u64::try_from(length).unwrap_or(0);
        let is_blocked_anew = |one: &&BlockedIdentifier| self.judged_anew.binary_search(&(one.kind, one.value)).is_err();
        report.created += number(resolution.created.len());
        report.merged += number(resolution.aliases.len());
        report.split += number(resolution.splits.len());
        report.identifiers_blocked += number(resolution.blocked.iter().filter(is_blocked_anew).count());
        let is_new = |node: NodeId| node_at(&self.nodes, node).is_some_and(|row| row.profile.is_none());
        for link in &resolution.links {
            match &link.verdict {
                LinkVerdict::Joined if is_new(link.node_a) || is_new(link.node_b) => {
                    count_one(&mut report.links_by_rule, &link.rule);
                }
                LinkVerdict::Joined => {}
                LinkVerdict::Refused(reason) => {
                    report.links_refused += 1;
                    count_one(&mut report.refused_by_reason, reason);
                }
            }
        }
    }
}

/// Counts one more of what is mostly counted already.
fn count_one(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// The node with an id, of nodes by id. Ids of a first load have no gaps: then it stands where its id says.
fn node_at(nodes: &[ResolveNode], node: NodeId) -> Option<&ResolveNode> {
    let first = nodes.first()?.node;
    let expected = usize::try_from(node.0.checked_sub(first.0)?).ok().and_then(|at| nodes.get(at));
    expected.filter(|row| row.node == node).or_else(|| nodes.get(nodes.binary_search_by_key(&node, |row| row.node).ok()?))
}

/// What new files say about who is who, and the nodes that somebody decided about.
#[derive(Default)]
pub(crate) struct Found {
    /// Sorted.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) edges: Vec<Edge>,
    /// Edges that the graph knows: only the times they were seen at are new.
    pub(crate) seen_again: Vec<Edge>,
}

/// What the graph does not know, with the nodes that it concerns: what it knows was resolved with it.
fn news_of(engine: &Engine, found: Found) -> Result<Found> {
    let Unknown { mut nodes, edges, seen_again } = engine.ledger.unknown(found.nodes, found.edges)?;
    let mut known: Vec<NodeId> = edges.iter().map(|edge| edge.node).collect();
    known.dedup();
    let mut unknown = nodes.iter().peekable();
    known.retain(|node| {
        while unknown.next_if(|other| *other < node).is_some() {}
        unknown.peek() != Some(&node)
    });
    if !known.is_empty() {
        nodes.extend(known);
        nodes.sort_unstable();
    }
    Ok(Found { nodes, edges, seen_again })
}

impl Found {
    /// With repeats, in no order.
    fn values(&self) -> Vec<(u16, BlindIndex)> {
        self.edges.iter().map(|edge| (edge.kind, edge.value)).collect()
    }
}

pub(crate) fn resolve_node(node: NodeRow) -> ResolveNode {
    let first_seen_ms = u64::try_from(node.first_seen_us / 1_000).unwrap_or(0);
    ResolveNode { node: node.node, key: node.key, first_seen_ms, profile: node.profile }
}

fn kind_numbers(engine: &Engine) -> Result<Vec<(String, u16)>> {
    let rules = &engine.plan.identity.identifiers;
    let marks = rules.iter().filter_map(IdentifierRule::mark).map(|mark| mark.name);
    let names: Vec<String> = rules.iter().map(|rule| rule.name.clone()).chain(marks).collect();
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

/// What files say about who is who, for kinds with their numbers.
///
/// # Errors
/// What the lake reports.
pub(crate) fn read_identifiers(engine: &Engine, files: &[FileRow], kinds: &[(String, u16)]) -> Result<Found> {
    let mut found = Found::default();
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable_by_key(|(_, number)| *number);
    let named: Vec<String> = kinds.iter().map(|(kind, _)| identifier_column(kind)).collect();
    let columns: Vec<&str> = ["_node", "_at"].into_iter().chain(named.iter().map(String::as_str)).collect();
    for file in files {
        engine.lake.scan_file(&file.name, &columns, &mut |batch| take_identifiers(&batch, &kinds, &mut found))?;
    }
    // Mostly in order already, since nodes are numbered as their records come: a stable sort makes use of that.
    found.nodes.sort();
    found.nodes.dedup();
    found.edges.sort_by_key(|edge| (edge.node, edge.kind, edge.value, edge.seen_at_us));
    found.edges.dedup_by_key(|edge| (edge.node, edge.kind, edge.value));
    Ok(found)
}

fn take_identifiers(batch: &RecordBatch, kinds: &[(String, u16)], found: &mut Found) -> Result<()> {
    let nodes = rows::column(batch, "_node")?;
    let nodes = nodes.as_primitive::<Int64Type>();
    let times = rows::cast_to(rows::column(batch, "_at")?, &FieldType::Timestamp.to_arrow())?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    found.nodes.extend(nodes.iter().flatten().map(NodeId));
    let mut columns = Vec::with_capacity(kinds.len());
    for (kind, number) in kinds {
        if let Some(values) = batch.column_by_name(&identifier_column(kind)) {
            columns.push((*number, rows::cast_to(values, &DataType::BinaryView)?.as_binary_view().clone()));
        }
    }
    for row in (0..batch.num_rows()).filter(|row| nodes.is_valid(*row)) {
        for (kind, values) in columns.iter().filter(|(_, values)| values.is_valid(row)) {
            let value = BlindIndex::try_from(values.value(row)).map_err(|_| Error::bug("a blind index is not 17 bytes"))?;
            let (node, seen_at_us) = (NodeId(nodes.value(row)), times.value(row));
            found.edges.push(Edge { node, kind: *kind, value, seen_at_us });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: i64, rows: u64) -> FileRow {
        FileRow { id, rows, table: String::new(), name: String::new(), bytes: 0, sequence: id, generation: 0, is_resolved: false }
    }

    #[test]
    fn files_are_resolved_in_parts_of_a_bounded_size_and_none_is_left_out() {
        let half = UNIFY_ROWS_MAX / 2;
        let cases: [(&[u64], &[usize]); 4] =
            [(&[], &[]), (&[1, 1, 1], &[3]), (&[half, half, half], &[2, 1]), (&[UNIFY_ROWS_MAX * 3, 1, UNIFY_ROWS_MAX], &[1, 2])];
        for (rows, expected) in cases {
            let files: Vec<FileRow> = (1..).zip(rows).map(|(id, rows)| file(id, *rows)).collect();
            let lengths: Vec<usize> = parts_of(&files).into_iter().map(<[FileRow]>::len).collect();
            assert_eq!(lengths, expected, "{rows:?}");
        }
    }
}
