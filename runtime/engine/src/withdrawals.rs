//! Whoever takes back all that was granted for an identifier is on the suppression list from then on (delivery.md §7): by keyed
//! hash of the identifier, so that it survives erasure, and until somebody says `profile unsuppress`. A later grant alone lets
//! nobody back in: it may be an older one that a source brings late, or given for another purpose.

use std::collections::HashMap;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_ledger::{Lease, Withdrawal};
use affluent_model::consent::SaidBy;
use affluent_model::identity::{BlindIndex, NodeId};
use affluent_model::plan::{IdentifierRule, PipelineDestination};
use affluent_model::report::ProfilesReport;
use affluent_model::{Error, Result};
use affluent_profiles::consent::withdrawn_sql;
use affluent_vault::Purpose;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

use crate::engine::Engine;
use crate::person::records_of;
use crate::rows;
use crate::tables::profile_tables;

/// Records opened at once to find the identifiers.
const RECORDS_MAX: usize = 500;

/// An identifier for which everything was taken back: its blind index, a record that carries it, and when.
struct Withdrawn {
    value: BlindIndex,
    node: NodeId,
    at_us: i64,
}

/// Puts the identifiers for which everything was taken back since the last run on the suppression list; noted in the audit.
///
/// # Errors
/// What lake, ledger and vault report.
pub(crate) async fn suppress_withdrawn(engine: &Engine, lease: &Lease, report: &mut ProfilesReport) -> Result<()> {
    if !can_be_revoked(engine) {
        return Ok(());
    }
    let (sources, tables): (Vec<_>, Vec<_>) =
        profile_tables(engine).await?.into_iter().map(|one| (one.source, one.table)).unzip();
    for rule in &engine.plan.identity.identifiers {
        let Some(sql) = withdrawn_sql(&rule.name, &sources) else { continue };
        let kind = engine.ledger.identifier_kinds(std::slice::from_ref(&rule.name))?.first().copied().unwrap_or_default();
        let seen: HashMap<BlindIndex, i64> = engine.ledger.withdrawals(kind)?.into_iter().collect();
        let mut found = withdrawn(engine, sql, &tables).await?;
        found.retain(|one| seen.get(&one.value).is_none_or(|at_us| *at_us < one.at_us));
        for some in found.chunks(RECORDS_MAX) {
            let hashes = hashes_of(engine, rule, some).await?;
            let known = some.iter().filter_map(|one| {
                let hash = *hashes.get(&one.value)?;
                Some(Withdrawal { kind, kind_name: rule.name.clone(), value: one.value, hash, at_us: one.at_us })
            });
            let withdrawals: Vec<Withdrawal> = known.collect();
            engine.ledger.suppress_withdrawn(lease, &withdrawals, engine.now_us())?;
            report.withdrawn += u64::try_from(withdrawals.len()).unwrap_or(0);
            for one in &withdrawals {
                let profiles = engine.ledger.find_profiles(kind, &one.value)?;
                let who = profiles.first().map_or_else(|| "nobody known".to_owned(), |id| format!("profile {id}"));
                let detail = format!("{who}, {}: every purpose was withdrawn", rule.name);
                engine.ledger.audit(engine.now_us(), "profile.suppressed", &detail)?;
            }
        }
    }
    Ok(())
}

/// True when some mapping says what was revoked.
fn can_be_revoked(engine: &Engine) -> bool {
    let mappings = engine.plan.pipelines.values().filter_map(|pipeline| match &pipeline.destination {
        PipelineDestination::Profiles { streams, .. } => Some(streams.values()),
        PipelineDestination::Connection(_) => None,
    });
    mappings.flatten().flat_map(|mapping| &mapping.consent).any(|row| matches!(row.said, SaidBy::Status(_)))
}

async fn withdrawn(engine: &Engine, sql: String, tables: &[LakeTable]) -> Result<Vec<Withdrawn>> {
    let query = LakeQuery::new(sql, tables.to_vec(), engine.now_us());
    let mut found = Vec::new();
    engine.lake.stream(query, &mut |batch| take(&batch, &mut found)).await?;
    let erased = engine.ledger.erased_nodes()?;
    found.retain(|one| erased.binary_search(&one.node).is_err());
    Ok(found)
}

fn take(batch: &RecordBatch, found: &mut Vec<Withdrawn>) -> Result<()> {
    let values = rows::cast_to(rows::column(batch, "value")?, &DataType::Binary)?;
    let nodes = rows::cast_to(rows::column(batch, "node")?, &DataType::Int64)?;
    let times = rows::cast_to(rows::column(batch, "at")?, &DataType::Int64)?;
    let (values, nodes, times) =
        (values.as_binary::<i32>(), nodes.as_primitive::<Int64Type>(), times.as_primitive::<Int64Type>());
    for row in (0..values.len()).filter(|row| values.is_valid(*row) && nodes.is_valid(*row)) {
        let value = BlindIndex::try_from(values.value(row)).map_err(|_| Error::bug("a blind index is not 17 bytes"))?;
        found.push(Withdrawn { value, node: NodeId(nodes.value(row)), at_us: times.value(row) });
    }
    Ok(())
}

/// Hash under the suppression key by blind index, from the records that carry the identifiers.
async fn hashes_of(engine: &Engine, rule: &IdentifierRule, found: &[Withdrawn]) -> Result<HashMap<BlindIndex, BlindIndex>> {
    let nodes: Vec<NodeId> = found.iter().map(|one| one.node).collect();
    let (blind, suppression) = (engine.vault.blind_indexer(&rule.name)?, engine.vault.suppression_indexer(&rule.name)?);
    let held = records_of(engine, &nodes, Some(Purpose::IdentityResolution)).await?;
    let values = held.into_iter().flat_map(|record| record.identifiers).filter(|(kind, _)| *kind == rule.name);
    let canonical = values.filter_map(|(_, value)| rule.canonical(&value));
    Ok(canonical.map(|text| (blind.index(text.as_bytes()), suppression.index(text.as_bytes()))).collect())
}
