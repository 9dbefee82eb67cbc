//! Sending what waits in the outbox: batches that a crash left in doubt first, then the rest. A batch is marked in flight
//! before it is sent and settled row by row with what the destination said; the same rows always carry the same key.

use std::sync::Arc;

use affluent_ledger::{BatchRelease, Lease, OutboxBatch, RowOutcome, RowResult, Stage, TakeBatch};
use affluent_model::batch::{DeliveryReport, OutgoingBatch, Rejected, RowError, RowOperation};
use affluent_model::connector::{DestinationRequest, Failure};
use affluent_model::limits::ATTEMPTS_MAX;
use affluent_model::manifest::Idempotence;
use affluent_model::plan::DestinationPlan;
use affluent_model::report::ActivationReport;
use affluent_model::schema::{Field, FieldType};
use affluent_model::{Error, Result};
use affluent_vault::{BlindIndexer, Purpose};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Schema;

use crate::desired::DesiredRows;
use crate::engine::{Engine, Event, cancelled};
use crate::row_codec;
use crate::sealer::{Place, RunOpener, RunSealer};
use crate::send::{Durable, Sender, Stopped};
use crate::streams::connection_of;

/// Rows of a batch where neither pipeline nor destination says.
const BATCH_ROWS: usize = 1_000;
/// Bytes of a batch where the destination does not say.
const BATCH_BYTES: usize = 4 << 20;
/// The column of a removal that holds the id at the destination, where one is known.
const REMOTE_ID: &str = "_remote_id";

/// An open destination with everything needed to send and settle.
pub(crate) struct Delivery<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    sender: Sender<'a>,
    match_count: usize,
    rows_max: usize,
    bytes_max: usize,
    sealer: RunSealer<'a>,
    opener: RunOpener<'a>,
    batch_keyer: BlindIndexer,
    remote_ids: std::collections::HashMap<affluent_model::identity::ProfileId, String>,
}

impl<'a> Delivery<'a> {
    /// Opens the destination of an activation.
    ///
    /// # Errors
    /// What the plugin reports.
    pub(crate) async fn open(
        engine: &'a Engine,
        lease: &'a Lease,
        plan: &DestinationPlan,
        desired: &DesiredRows<'_>,
    ) -> Result<Self> {
        let request = DestinationRequest {
            pipeline: lease.pipeline.clone(),
            connection: connection_of(engine, &plan.connection)?,
            object: plan.object.clone(),
            mode: plan.mode.as_str().to_owned(),
            match_fields: plan.match_by.iter().map(|named| named.name.clone()).collect(),
            list: plan.list.clone(),
            fields: desired.fields.clone(),
            plaintext: desired.plaintext.clone(),
            run: lease.run.to_string(),
        };
        let sender = Sender::open(engine, request).await?;
        let info = sender.info();
        let asked = plan.batch_rows_max.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(BATCH_ROWS);
        let rows_max = info.max_rows.and_then(|rows| usize::try_from(rows).ok()).map_or(asked, |most| asked.min(most));
        let bytes_max = info.max_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BATCH_BYTES);
        let mut delivery = Self {
            engine,
            lease,
            sender,
            match_count: desired.match_count,
            rows_max,
            bytes_max,
            sealer: RunSealer::new(engine, lease),
            opener: RunOpener::new(engine),
            batch_keyer: engine.vault.blind_indexer(&format!("batch/{}", lease.pipeline))?,
            remote_ids: std::collections::HashMap::new(),
        };
        delivery.read_remote_ids()?;
        Ok(delivery)
    }

    /// Reads by which ids the destination knows its rows.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn read_remote_ids(&mut self) -> Result<()> {
        let mut remote_ids = std::collections::HashMap::new();
        self.engine.ledger.image(&self.lease.pipeline, &mut |row| {
            remote_ids.extend(row.remote_id.map(|id| (row.key, id)));
            Ok(())
        })?;
        self.remote_ids = remote_ids;
        Ok(())
    }

    /// True when the destination removes rows, whatever the mode.
    pub(crate) fn takes_removals(&self) -> bool {
        self.sender.info().removes
    }

    /// Ends what a run before left in flight (delivery R8): an import that was started is asked after; other batches are
    /// sent again under the same key where that is safe, and hold the run where it is not.
    ///
    /// # Errors
    /// `E0810` when a batch is in doubt and the destination cannot take it twice.
    pub(crate) async fn settle_in_flight(&mut self, report: &mut ActivationReport) -> Result<()> {
        for batch in self.engine.ledger.in_flight(&self.lease.pipeline)? {
            if batch.token.is_none() && self.sender.info().idempotent == Idempotence::No {
                return Err(in_doubt(&batch));
            }
            if batch.token.is_none() {
                self.engine.ledger.mark_resent(self.lease, batch.batch)?;
            }
            self.deliver(batch, report).await?;
        }
        Ok(())
    }

    /// Sends everything that is pending, upserts first.
    ///
    /// # Errors
    /// What the destination reports for good; what was accepted before stays settled.
    pub(crate) async fn send_all(mut self, report: &mut ActivationReport) -> Result<()> {
        let all = self.engine.ledger.outbox_counts(&self.lease.pipeline)?.pending;
        for operation in [RowOperation::Upsert, RowOperation::Delete] {
            loop {
                if self.engine.is_cancelled() {
                    return Err(cancelled());
                }
                let take =
                    TakeBatch { operation, rows_max: self.rows_max, bytes_max: self.bytes_max, now_us: self.engine.now_us() };
                let Some(batch) = self.engine.ledger.take_batch(self.lease, &take)? else { break };
                self.deliver(batch, report).await?;
                let sent = report.accepted + report.removed + report.failed + report.skipped + report.retryable;
                self.engine.notice(Event::Sending { pipeline: self.lease.pipeline.clone(), sent, of: all });
            }
        }
        self.sender.close().await
    }

    /// Brings one batch to its end.
    async fn deliver(&mut self, batch: OutboxBatch, report: &mut ActivationReport) -> Result<()> {
        report.batches += 1;
        let mut ranges = vec![(0, batch.rows.len())];
        let mut token = batch.token.clone();
        while let Some((from, to)) = ranges.pop() {
            let whole = to - from == batch.rows.len();
            let outgoing = self.outgoing(&batch, from, to)?;
            let mut durable = InFlight { engine: self.engine, lease: self.lease, batch: whole.then_some(batch.batch) };
            let outcome = match token.take() {
                Some(token) => self.sender.poll_to_end(token, &outgoing).await,
                None => self.sender.write(outgoing, &mut durable).await,
            };
            match outcome {
                Ok(delivered) => self.settle(&batch, from, to, &delivered, report)?,
                Err(Stopped::Refused(failure)) if to - from > 1 => {
                    let middle = from + (to - from) / 2;
                    self.engine.notice(Event::Waiting {
                        reason: format!("splitting a refused batch: {}", failure.error.message),
                        for_ms: 0,
                    });
                    ranges.push((middle, to));
                    ranges.push((from, middle));
                }
                Err(Stopped::Refused(failure)) => self.settle(&batch, from, to, &refused_row(&failure), report)?,
                Err(Stopped::NotSent(error, wait_ms)) => {
                    let retry_at_us = self.engine.now_us() + i64::try_from(wait_ms.saturating_mul(1_000)).unwrap_or(0);
                    self.engine.ledger.release_batch(self.lease, batch.batch, &BatchRelease { retry_at_us, was_sent: false })?;
                    return Err(error);
                }
                Err(Stopped::InFlight(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The rows of a batch as the destination gets them.
    fn outgoing(&mut self, batch: &OutboxBatch, from: usize, to: usize) -> Result<OutgoingBatch> {
        let rows = batch.rows.get(from..to).ok_or_else(|| Error::bug("a batch is split outside its rows"))?;
        let mut named = Vec::with_capacity(rows.len() * 32);
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            named.extend_from_slice(&row.idempotency_key);
            let (sealed, place) = match batch.operation {
                RowOperation::Upsert => (&row.payload_sealed, Place::OutboxPayload),
                RowOperation::Delete => (&row.match_sealed, Place::OutboxMatch),
            };
            opened.push(self.opener.open(sealed, place, &row.key.to_string(), Purpose::Activation)?);
        }
        let records = match batch.operation {
            RowOperation::Upsert => row_codec::decode(&self.sender.request.fields, &opened)?,
            RowOperation::Delete => {
                let matches = self.sender.request.fields.get(..self.match_count).unwrap_or_default();
                let ids = rows.iter().map(|row| self.remote_ids.get(&row.key).map(String::as_str)).collect();
                with_remote_ids(row_codec::decode(matches, &opened)?, ids)?
            }
        };
        let key = self.batch_keyer.index(&named);
        let idempotency_key = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
        Ok(OutgoingBatch { idempotency_key, operation: batch.operation, records })
    }

    /// Writes down what became of rows `from..to`.
    fn settle(
        &mut self,
        batch: &OutboxBatch,
        from: usize,
        to: usize,
        delivered: &DeliveryReport,
        report: &mut ActivationReport,
    ) -> Result<()> {
        let now_us = self.engine.now_us();
        let rows = batch.rows.get(from..to).ok_or_else(|| Error::bug("a batch is settled outside its rows"))?;
        let mut outcomes = Vec::with_capacity(rows.len());
        let named = |errors: &'_ [RowError], row: usize| errors.iter().find(|error| error.row == row).cloned();
        for (place, row) in rows.iter().enumerate() {
            let result = if let Some(error) = named(&delivered.failed, place) {
                report.failed += 1;
                RowResult::Failed { dead_letter: self.dead_letter(batch, place + from, error, now_us)? }
            } else if let Some(error) = named(&delivered.skipped, place) {
                report.skipped += 1;
                RowResult::Skipped { code: error.code, message: error.message }
            } else if named(&delivered.retryable, place).is_some() {
                report.retryable += 1;
                RowResult::Retry { at_us: now_us + retry_delay_us(row.attempts) }
            } else {
                match batch.operation {
                    RowOperation::Upsert => report.accepted += 1,
                    RowOperation::Delete => report.removed += 1,
                }
                let remote_id = delivered.remote_ids.iter().find(|(at, _)| *at == place).map(|(_, id)| id.clone());
                RowResult::Accepted { remote_id }
            };
            outcomes.push(RowOutcome { key: row.key, result });
        }
        self.engine.ledger.acknowledge(self.lease, batch.batch, &outcomes, now_us)
    }

    fn dead_letter(
        &mut self,
        batch: &OutboxBatch,
        row: usize,
        error: RowError,
        now_us: i64,
    ) -> Result<affluent_ledger::NewDeadLetter> {
        let outgoing = self.outgoing(batch, row, row + 1)?;
        let raw = crate::rows::row_as_json(&outgoing.records, 0);
        let field = error.field.map_or_else(String::new, |field| format!(" (field `{field}`)"));
        let rejected = Rejected {
            stream: self.sender.request.object.clone(),
            place: format!("batch {} row {}", batch.batch, row + 1),
            code: error.code,
            message: format!("{}{field}", error.message),
            raw: Some(raw),
        };
        self.sealer.dead_letter(rejected, Stage::Deliver, now_us)
    }
}

/// The batch in the ledger, told of what must be durable before the next step.
struct InFlight<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    /// `None` while a part of a split batch is written: its token and attempts are not kept.
    batch: Option<i64>,
}

impl Durable for InFlight<'_> {
    fn import_started(&mut self, token: &str) -> Result<()> {
        self.batch.map_or(Ok(()), |batch| self.engine.ledger.set_token(self.lease, batch, token))
    }

    fn sent_again(&mut self) -> Result<()> {
        self.batch.map_or(Ok(()), |batch| self.engine.ledger.mark_resent(self.lease, batch).map(drop))
    }
}

fn in_doubt(batch: &OutboxBatch) -> Error {
    let message = format!(
        "batch {} with {} rows was being sent when the run before stopped, and the destination cannot take it twice",
        batch.batch,
        batch.rows.len()
    );
    Error::held("E0810", message).help("look at the destination for its rows; to give the batch up, give the pipeline another name: it then sends every row again")
}

fn refused_row(failure: &Failure) -> DeliveryReport {
    let error = RowError { row: 0, code: failure.plugin_code.clone(), message: failure.error.message.clone(), field: None };
    DeliveryReport { failed: vec![error], ..DeliveryReport::default() }
}

/// Doubles from one minute on, up to an hour.
fn retry_delay_us(attempts: u32) -> i64 {
    60_000_000 << attempts.min(ATTEMPTS_MAX).min(5)
}

/// Removals with the ids that the destination gave their rows, where it did.
pub(crate) fn with_remote_ids(records: RecordBatch, ids: StringArray) -> Result<RecordBatch> {
    let mut fields: Vec<_> = records.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(REMOTE_ID, FieldType::Text).to_arrow());
    let mut columns: Vec<ArrayRef> = records.columns().to_vec();
    columns.push(Arc::new(ids));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| Error::bug(error.to_string()))
}
