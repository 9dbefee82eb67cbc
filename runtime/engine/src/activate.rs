//! Keeping a destination in step: what should be there, compared with the image of what was accepted before; the
//! difference becomes a plan in the outbox, in one transaction, and only then is anything sent.

use std::collections::HashMap;

use affluent_ledger::{ImageMove, Lease, NewOutboxRow, OutboxPlan};
use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;
use affluent_model::plan::{DestinationPlan, Pipeline, PipelineDestination, PipelineSource};
use affluent_model::report::ActivationReport;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_vault::BlindIndexer;
use arrow::array::ArrayRef;

use crate::comparison::{Comparison, ShortHash, short_hash};
use crate::deliver::Delivery;
use crate::desired::{DesiredBatch, DesiredRows};
use crate::engine::Engine;
use crate::erase_calls::ask_to_erase;
use crate::row_codec;
use crate::sealer::{Place, RunSealer};

/// Rows handed to the ledger at once while a plan is written.
const PLAN_ROWS: usize = 10_000;

/// Settles what an earlier run left in flight, plans the difference and sends it.
///
/// # Errors
/// `E0809` when the guard holds the run (nothing was planned); what destination and stores report.
pub(crate) async fn activate(engine: &Engine, lease: &Lease, pipeline: &Pipeline, report: &mut ActivationReport) -> Result<()> {
    let (PipelineDestination::Connection(plan), PipelineSource::Profiles { segment, .. }) =
        (&pipeline.destination, &pipeline.source)
    else {
        return Err(Error::bug("an activation is a pipeline out of profiles into a connection"));
    };
    report.destination.clone_from(&plan.connection);
    report.object.clone_from(&plan.object);
    let desired = DesiredRows::prepare(engine, plan, segment.as_deref()).await?;
    let mut delivery = Delivery::open(engine, lease, plan, &desired).await?;
    delivery.settle_in_flight(report).await?;
    ask_to_erase(engine, lease, plan, &desired, report).await?;
    let difference = plan_difference(engine, lease, plan, (&desired, delivery.takes_removals()), report).await?;
    guard(plan, &difference)?;
    if !difference.moves.is_empty() {
        engine.ledger.move_images(lease, &difference.moves)?;
        delivery.read_remote_ids()?;
    }
    engine.ledger.commit_plan(lease, difference.plan)?;
    delivery.send_all(report).await
}

/// What `run` would send, without planning it.
///
/// # Errors
/// What the stores report.
pub(crate) async fn preview(
    engine: &Engine,
    pipeline: &Pipeline,
    report: &mut ActivationReport,
) -> Result<Vec<(String, ProfileId)>> {
    let (PipelineDestination::Connection(plan), PipelineSource::Profiles { segment, .. }) =
        (&pipeline.destination, &pipeline.source)
    else {
        return Err(Error::bug("an activation is a pipeline out of profiles into a connection"));
    };
    report.destination.clone_from(&plan.connection);
    report.object.clone_from(&plan.object);
    let desired = DesiredRows::prepare(engine, plan, segment.as_deref()).await?;
    let mut comparison = Comparison::start(engine, &pipeline.name, plan.mode, false)?;
    let mut counts = ActivationReport::default();
    let mut moves = Vec::new();
    let hasher = engine.vault.blind_indexer(&payload_kind(&pipeline.name))?;
    desired
        .visit(report, &mut |batch| {
            compare(&mut comparison, (&desired, &batch), &hasher, &mut counts, &mut |key, _, _, _| {
                moves.push(("upsert".to_owned(), key));
                Ok(())
            })
        })
        .await?;
    comparison.settle(&mut counts)?;
    let removals = comparison.removals(&mut counts);
    moves.extend(removals.into_iter().map(|(key, _)| ("remove".to_owned(), comparison.owner(key))));
    report.unchanged = counts.unchanged;
    report.kept_after_withdrawal = counts.kept_after_withdrawal;
    report.upserts = counts.upserts;
    report.removes = u64::try_from(moves.len()).unwrap_or(0) - report.upserts;
    Ok(moves)
}

/// A plan that was written but not committed, and what the guard must know of it.
struct Difference {
    plan: OutboxPlan,
    /// Rows that changed their owner at the destination.
    moves: Vec<ImageMove>,
    image_rows: u64,
    removes: u64,
}

async fn plan_difference(
    engine: &Engine,
    lease: &Lease,
    plan: &DestinationPlan,
    (desired, takes_removals): (&DesiredRows<'_>, bool),
    report: &mut ActivationReport,
) -> Result<Difference> {
    let mut comparison = Comparison::start(engine, &lease.pipeline, plan.mode, takes_removals)?;
    let image_rows = comparison.image_rows();
    let batch_rows = usize::try_from(plan.batch_rows_max.unwrap_or(1_000)).unwrap_or(1_000);
    let outbox = engine.ledger.begin_plan(lease, batch_rows)?;
    let hasher = engine.vault.blind_indexer(&payload_kind(&lease.pipeline))?;
    let mut writer = PlanWriter::new(engine, lease, &outbox)?;
    let mut counts = ActivationReport::default();
    let mut take = |batch: DesiredBatch| {
        compare(&mut comparison, (desired, &batch), &hasher, &mut counts, &mut |key, hash, payload, match_values| {
            writer.upsert(key, hash, payload, match_values)
        })
    };
    desired.visit(report, &mut take).await?;
    let (removes, moves) = writer.finish(comparison, &hasher, &mut counts)?;
    report.unchanged += counts.unchanged;
    report.kept_after_withdrawal += counts.kept_after_withdrawal;
    report.upserts += counts.upserts;
    report.removes += removes;
    report.merged += counts.merged;
    report.merged_left += counts.merged_left;
    report.former += counts.former;
    report.former_left += counts.former_left;
    Ok(Difference { plan: outbox, moves, image_rows, removes })
}

fn guard(plan: &DestinationPlan, difference: &Difference) -> Result<()> {
    if difference.image_rows < plan.guard.rows_min.max(1) {
        return Ok(());
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of rows does not need more than 52 bits")]
    let share = difference.removes as f64 / difference.image_rows as f64;
    if share <= plan.guard.remove_share_max {
        return Ok(());
    }
    let message = format!(
        "this run would remove {} of {} rows, more than `guard.max_remove` of {:.0}%",
        difference.removes,
        difference.image_rows,
        plan.guard.remove_share_max * 100.0
    );
    Err(Error::held("E0809", message).help("look at `affluent plan`; if it is right, raise `guard.max_remove` and run again"))
}

/// Gets a row that must be sent: key, hash, payload and match values.
type Send<'s> = dyn FnMut(ProfileId, ShortHash, &[u8], &[u8]) -> Result<()> + 's;

/// Tells a comparison the rows of a batch, and `send` those that must be sent.
fn compare(
    comparison: &mut Comparison<'_>,
    (desired, batch): (&DesiredRows<'_>, &DesiredBatch),
    hasher: &BlindIndexer,
    counts: &mut ActivationReport,
    send: &mut Send<'_>,
) -> Result<()> {
    let columns: Vec<(FieldType, &ArrayRef)> = desired.fields.iter().map(|field| field.kind).zip(&batch.columns).collect();
    counts.kept_after_withdrawal += comparison.stay(&batch.withheld);
    let matches = columns.get(..desired.match_count).unwrap_or_default();
    let (mut payload, mut match_values) = (Vec::new(), Vec::new());
    for (row, key) in batch.keys.iter().enumerate() {
        payload.clear();
        row_codec::encode(&columns, row, &mut payload);
        match_values.clear();
        row_codec::encode(matches, row, &mut match_values);
        let hash = short_hash(hasher, &payload);
        if comparison.differs(*key, &hash, &match_values, counts)? {
            send(*key, hash, &payload, &match_values)?;
        }
    }
    Ok(())
}

/// Writes the rows of a plan, sealed, in groups.
struct PlanWriter<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    outbox: &'a OutboxPlan,
    refused: HashMap<ProfileId, (ShortHash, u32)>,
    sealer: RunSealer<'a>,
    keyer: [BlindIndexer; 2],
    rows: Vec<NewOutboxRow>,
}

impl<'a> PlanWriter<'a> {
    fn new(engine: &'a Engine, lease: &'a Lease, outbox: &'a OutboxPlan) -> Result<Self> {
        let mut refused = HashMap::new();
        engine.ledger.refusals(&lease.pipeline, &mut |row| {
            refused.insert(row.key, (row.payload_hash, row.attempts));
            Ok(())
        })?;
        let sync = &lease.pipeline;
        let keyer = [
            engine.vault.blind_indexer(&format!("idempotency/a/{sync}"))?,
            engine.vault.blind_indexer(&format!("idempotency/b/{sync}"))?,
        ];
        Ok(Self { engine, lease, outbox, refused, sealer: RunSealer::new(engine, lease), keyer, rows: Vec::new() })
    }

    fn upsert(&mut self, key: ProfileId, hash: ShortHash, payload: &[u8], match_values: &[u8]) -> Result<()> {
        let record = key.to_string();
        let payload_sealed = self.sealer.seal(payload, Place::OutboxPayload, &record)?;
        let match_sealed = self.sealer.seal(match_values, Place::OutboxMatch, &record)?;
        self.add(key, RowOperation::Upsert, hash, payload_sealed, match_sealed)
    }

    fn add(
        &mut self,
        key: ProfileId,
        operation: RowOperation,
        payload_hash: ShortHash,
        payload_sealed: Vec<u8>,
        match_sealed: Vec<u8>,
    ) -> Result<()> {
        let attempts_before =
            self.refused.get(&key).filter(|(hash, _)| *hash == payload_hash).map_or(0, |(_, attempts)| *attempts);
        let idempotency_key = self.idempotency_key(key, operation, &payload_hash);
        self.rows.push(NewOutboxRow {
            key,
            operation,
            payload_hash,
            idempotency_key,
            payload_sealed,
            match_sealed,
            attempts_before,
        });
        if self.rows.len() >= PLAN_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.engine.ledger.add_plan_rows(self.lease, self.outbox, &self.rows)?;
        self.rows.clear();
        Ok(())
    }

    /// Adds the removals and writes the rest; returns how many removals there are, and which rows changed their owner.
    fn finish(
        mut self,
        mut comparison: Comparison<'_>,
        hasher: &BlindIndexer,
        counts: &mut ActivationReport,
    ) -> Result<(u64, Vec<ImageMove>)> {
        comparison.settle(counts)?;
        let moves = comparison.moves(&mut self.sealer)?;
        let removals = comparison.removals(counts);
        let count = u64::try_from(removals.len()).unwrap_or(0);
        for (key, match_sealed) in removals {
            // Of what is removed, so that a removal planned before its row changed the owner is not kept for this one.
            let hash = short_hash(hasher, &match_sealed);
            self.add(key, RowOperation::Delete, hash, Vec::new(), match_sealed)?;
        }
        self.flush()?;
        Ok((count, moves))
    }

    /// The same on every attempt at this row, another for every plan that changes it.
    fn idempotency_key(&self, key: ProfileId, operation: RowOperation, hash: &ShortHash) -> [u8; 32] {
        let mut named = Vec::with_capacity(64);
        named.extend_from_slice(&key.0.to_be_bytes());
        named.extend_from_slice(operation.as_str().as_bytes());
        named.extend_from_slice(hash);
        named.extend_from_slice(&self.outbox.version.to_be_bytes());
        let mut keyed = [0u8; 32];
        let halves = self.keyer.iter().flat_map(|indexer| indexer.index(&named).into_iter().skip(1));
        for (slot, byte) in keyed.iter_mut().zip(halves) {
            *slot = byte;
        }
        keyed
    }
}

fn payload_kind(sync: &str) -> String {
    format!("payload/{sync}")
}
