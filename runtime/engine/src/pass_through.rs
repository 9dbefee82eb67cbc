//! Records straight from a source to a destination, without profiles: page by page, committed when the destination holds
//! them. A page that was sent and not committed is sent again under the same key.

use std::sync::Arc;
use std::time::Instant;

use affluent_lake::{RowProgram, RowStep};
use affluent_ledger::{EpochCommit, Lease, NewDeadLetter, Stage};
use affluent_model::batch::{DeliveryReport, OutgoingBatch, Page, Position, Rejected, RowError, RowOperation};
use affluent_model::connector::{DestinationRequest, PageLimits, SourceRequest};
use affluent_model::limits::{EPOCH_AGE_MS_MAX, EPOCH_ROWS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use affluent_model::manifest::{DestinationInfo, Durable as DurableWhen};
use affluent_model::plan::{DestinationPlan, Expression, Pipeline};
use affluent_model::report::StreamReport;
use affluent_model::schema::{Field, SyncMode};
use affluent_model::{Error, Result};
use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::attempts::{Attempts, Verdict, begun};
use crate::breaker::Breaker;
use crate::engine::{Engine, Event, cancelled};
use crate::gate::Gate;
use crate::rows::not_computed;
use crate::run::{RunOptions, paused};
use crate::sealer::RunSealer;
use crate::send::{Durable, Sender, Stopped};
use crate::streams::{StreamContext, connection_of};
use crate::transforms::Transforms;

/// Moves one stream to the destination.
///
/// # Errors
/// What source, destination and ledger report.
pub(crate) async fn pass_stream(
    engine: &Engine,
    lease: &Lease,
    pipeline: &Pipeline,
    plan: &DestinationPlan,
    context: &StreamContext,
    options: &RunOptions,
) -> Result<StreamReport> {
    let mut passage = Passage::open(engine, lease, pipeline, plan, context, options).await?;
    passage.move_all(context).await.map_err(|error| error.at(format!("stream {}", context.schema.name)))?;
    let Passage { sender, report, .. } = passage;
    drop(sender);
    Ok(report)
}

struct Passage<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    gate: Gate,
    transforms: Transforms,
    mapping: Option<RowProgram>,
    sender: Option<Sender<'a>>,
    limits: BatchLimits,
    sealer: RunSealer<'a>,
    breaker: Breaker,
    report: StreamReport,
    state: Option<Vec<u8>>,
    generation: u64,
    sync: SyncMode,
    pages_since_commit: u64,
    records_max: Option<u64>,
    now_us: i64,
}

/// What was sent since the last commit.
struct Sent {
    dead_letters: Vec<NewDeadLetter>,
    state: Option<Vec<u8>>,
    before: StreamReport,
    since: Instant,
}

impl<'a> Passage<'a> {
    async fn open(
        engine: &'a Engine,
        lease: &'a Lease,
        pipeline: &Pipeline,
        plan: &DestinationPlan,
        context: &StreamContext,
        options: &RunOptions,
    ) -> Result<Self> {
        let gate = Gate::open(engine, &context.connection.name, &context.schema)?;
        let transforms = Transforms::open(engine, pipeline, &context.schema).await?;
        let (mapping, schema) = mapping_of(engine, plan, &transforms.schema)?;
        let request = DestinationRequest {
            pipeline: lease.pipeline.clone(),
            connection: connection_of(engine, &plan.connection)?,
            object: plan.object.clone(),
            mode: plan.mode.as_str().to_owned(),
            match_fields: plan.match_by.iter().map(|named| named.name.clone()).collect(),
            list: plan.list.clone(),
            fields: schema.fields().iter().filter_map(|field| Field::from_arrow(field)).collect(),
            plaintext: plaintext_of(engine, plan, &transforms.schema),
            run: lease.run.to_string(),
        };
        let sender = Sender::open(engine, request).await?;
        let now_us = engine.now_us();
        let is_refresh = options.full || context.read.sync == SyncMode::FullRefresh;
        let at_close = sender.info().durable == DurableWhen::Close;
        let checkpoint = engine.ledger.checkpoint(&lease.pipeline, &context.schema.name)?;
        let (state, generation) = match checkpoint {
            Some(checkpoint) if !is_refresh => (checkpoint.state, checkpoint.generation),
            Some(checkpoint) if !checkpoint.is_complete && checkpoint.state.is_some() && !at_close => {
                (checkpoint.state, checkpoint.generation)
            }
            None if !is_refresh => (None, 0),
            _ => (None, engine.ledger.begin_generation(lease, &context.schema.name, now_us)?),
        };
        Ok(Self {
            engine,
            lease,
            gate,
            transforms,
            mapping,
            limits: BatchLimits::of(sender.info(), plan.batch_rows_max),
            sender: Some(sender),
            sealer: RunSealer::new(engine, lease),
            breaker: Breaker::new(pipeline.errors),
            report: StreamReport { stream: context.schema.name.clone(), ..StreamReport::default() },
            state,
            generation,
            sync: if is_refresh { SyncMode::FullRefresh } else { SyncMode::Incremental },
            pages_since_commit: 0,
            records_max: options.limit,
            now_us,
        })
    }

    async fn move_all(&mut self, context: &StreamContext) -> Result<()> {
        let limits = PageLimits { rows_max: PAGE_ROWS_MAX, bytes_max: PAGE_BYTES_MAX };
        let mut attempts = Attempts::default();
        let (engine, request) = (self.engine, self.request(context));
        let mut source = begun(engine, || engine.connectors.open_source(request.clone())).await?;
        let commits_at_close = self.sender()?.info().durable == DurableWhen::Close;
        let mut sent = self.begin();
        loop {
            if self.engine.is_cancelled() {
                return Err(cancelled());
            }
            match source.next(limits).await {
                Ok(page) => {
                    attempts.succeeded();
                    let is_last = page.position != Position::More;
                    self.take_page(page, &mut sent).await?;
                    if is_last || self.records_max.is_some_and(|limit| self.report.read >= limit) {
                        source.close().await;
                        if let Some(sender) = self.sender.take() {
                            sender.close().await?;
                        }
                        return self.commit(sent, true);
                    }
                    if !commits_at_close && sent.is_full(&self.report) {
                        self.commit(sent, false)?;
                        sent = self.begin();
                    }
                }
                Err(failure) => match attempts.judge(&failure, self.sealer.jitter()?) {
                    Verdict::Retry(wait_ms) => self.engine.wait(&failure.error.message, wait_ms).await?,
                    Verdict::Pause(wait_ms) => return Err(paused(&failure.error, wait_ms)),
                    Verdict::Reopen if !commits_at_close => {
                        source = self.engine.connectors.open_source(self.request(context)).await?;
                        self.report = sent.before;
                        sent = self.begin();
                    }
                    Verdict::Reopen | Verdict::Bisect | Verdict::Fail => return Err(failure.error),
                },
            }
        }
    }

    fn request(&self, context: &StreamContext) -> SourceRequest {
        SourceRequest {
            pipeline: self.lease.pipeline.clone(),
            connection: Arc::clone(&context.connection),
            stream: context.schema.clone(),
            children: Vec::new(),
            sync: self.sync,
            since_us: context.read.since_us,
            lookback_ms: context.read.lookback_ms,
            state: self.state.clone(),
        }
    }

    fn begin(&mut self) -> Sent {
        self.pages_since_commit = 0;
        Sent { dead_letters: Vec::new(), state: None, before: self.report.clone(), since: Instant::now() }
    }

    fn sender(&self) -> Result<&Sender<'a>> {
        self.sender.as_ref().ok_or_else(|| Error::bug("the destination was closed before the source ended"))
    }

    async fn take_page(&mut self, page: Page, sent: &mut Sent) -> Result<()> {
        if page.state.is_some() {
            sent.state.clone_from(&page.state);
        }
        self.report.pages += 1;
        let mut refused = u64::try_from(page.rejected.len()).unwrap_or(0);
        self.report.read += refused;
        self.refuse(page.rejected, Stage::Read, sent)?;
        let mut read = refused;
        let stream = self.report.stream.clone();
        for part in page.parts.into_iter().filter(|part| part.stream == stream) {
            let rows = u64::try_from(part.records.num_rows()).unwrap_or(0);
            read += rows;
            self.report.read += rows;
            // What a source deleted must go from the destination too, whoever it was.
            let (records, suppressed) = match part.operation {
                RowOperation::Delete => (part.records, 0),
                RowOperation::Upsert => self.gate.admit(part.records, self.now_us)?,
            };
            self.report.suppressed += suppressed;
            let done = self.transforms.apply(records, self.now_us).await?;
            self.report.filtered += done.filtered;
            refused += u64::try_from(done.rejected.len()).unwrap_or(0);
            self.refuse(done.rejected, Stage::Transform, sent)?;
            let records = match &self.mapping {
                Some(mapping) => {
                    let applied = mapping.apply_each(&done.records, self.now_us)?;
                    let rejected: Vec<Rejected> =
                        applied.refused.iter().map(|row| not_computed(&stream, &done.records, row)).collect();
                    refused += u64::try_from(rejected.len()).unwrap_or(0);
                    self.refuse(rejected, Stage::Transform, sent)?;
                    applied.records
                }
                None => done.records,
            };
            refused += self.send(records, part.operation, sent).await?;
        }
        self.breaker.check(read, refused)?;
        let (pipeline, stream) = (self.lease.pipeline.clone(), self.report.stream.clone());
        self.engine.notice(Event::Reading { pipeline, stream, records: self.report.read });
        Ok(())
    }

    /// Sends the rows in batches that the destination takes, halving one that is refused as a whole; returns how many rows were
    /// refused for good.
    async fn send(&mut self, records: RecordBatch, operation: RowOperation, sent: &mut Sent) -> Result<u64> {
        let mut refused = 0;
        let mut waiting = self.limits.split(&records);
        while let Some(records) = waiting.pop() {
            let rows = records.num_rows();
            if rows == 0 {
                continue;
            }
            let outgoing = OutgoingBatch { idempotency_key: self.next_key()?, operation, records: records.clone() };
            let sender = self.sender.as_mut().ok_or_else(|| Error::bug("the destination was closed before the source ended"))?;
            match sender.write(outgoing, &mut NothingDurable).await {
                Ok(delivered) => refused += self.settle(&records, delivered, sent)?,
                Err(Stopped::Refused(_)) if rows > 1 => {
                    waiting.push(records.slice(rows / 2, rows - rows / 2));
                    waiting.push(records.slice(0, rows / 2));
                }
                Err(Stopped::Refused(failure)) => {
                    let error = RowError { row: 0, code: failure.plugin_code, message: failure.error.message, field: None };
                    let report = DeliveryReport { failed: vec![error], ..DeliveryReport::default() };
                    refused += self.settle(&records, report, sent)?;
                }
                Err(Stopped::NotSent(error, _) | Stopped::InFlight(error)) => return Err(error),
            }
        }
        Ok(refused)
    }

    fn settle(&mut self, records: &RecordBatch, delivered: DeliveryReport, sent: &mut Sent) -> Result<u64> {
        if let Some(row) = delivered.retryable.first() {
            return Err(Error::external("E0811", format!("the destination asks to send rows again later ({})", row.code)));
        }
        let refused: Vec<RowError> = delivered.failed.into_iter().chain(delivered.skipped).collect();
        let count = u64::try_from(refused.len()).unwrap_or(0);
        self.report.admitted += u64::try_from(records.num_rows()).unwrap_or(0).saturating_sub(count);
        let letters = refused.into_iter().map(|error| Rejected {
            stream: self.report.stream.clone(),
            place: format!("row {} of a batch", error.row + 1),
            code: error.code,
            message: error.message,
            raw: Some(crate::rows::row_as_json(records, error.row)),
        });
        let letters: Vec<Rejected> = letters.collect();
        self.refuse(letters, Stage::Deliver, sent)?;
        Ok(count)
    }

    fn refuse(&mut self, rejected: Vec<Rejected>, stage: Stage, sent: &mut Sent) -> Result<()> {
        self.report.rejected += u64::try_from(rejected.len()).unwrap_or(0);
        for mut one in rejected {
            one.raw = one.raw.filter(|raw| !self.gate.suppressed().is_mentioned(raw));
            sent.dead_letters.push(self.sealer.dead_letter(one, stage, self.now_us)?);
        }
        Ok(())
    }

    /// The same key for the same page after the same checkpoint.
    fn next_key(&mut self) -> Result<String> {
        self.pages_since_commit += 1;
        let kind = format!("batch/{}/{}", self.lease.pipeline, self.report.stream);
        let mut named = self.generation.to_be_bytes().to_vec();
        named.extend(self.pages_since_commit.to_be_bytes());
        named.extend(self.state.iter().flatten());
        let key = self.engine.vault.blind_indexer(&kind)?.index(&named);
        Ok(key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect())
    }

    fn commit(&mut self, sent: Sent, is_complete: bool) -> Result<()> {
        let now = &self.report;
        let commit = EpochCommit {
            stream: now.stream.clone(),
            state: sent.state.clone(),
            is_complete,
            generation: self.generation,
            dead_letters: sent.dead_letters,
            read: now.read - sent.before.read,
            filtered: now.filtered - sent.before.filtered + now.suppressed - sent.before.suppressed,
            rejected: now.rejected - sent.before.rejected,
            admitted: now.admitted - sent.before.admitted,
            now_us: self.engine.now_us(),
            ..EpochCommit::default()
        };
        self.engine.ledger.commit_epoch(self.lease, &commit)?;
        self.report.commits += 1;
        if sent.state.is_some() {
            self.state = sent.state;
        }
        Ok(())
    }
}

/// What a destination takes at once.
struct BatchLimits {
    rows_max: usize,
    bytes_max: usize,
}

impl BatchLimits {
    /// The lower of what the destination says and the pipeline asks for.
    fn of(info: &DestinationInfo, asked_rows_max: Option<u32>) -> Self {
        let most = |limit: Option<u64>| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX).max(1);
        let rows_max = most(info.max_rows.map(u64::from)).min(most(asked_rows_max.map(u64::from)));
        Self { rows_max, bytes_max: most(info.max_bytes) }
    }

    /// Batches to be sent from the last to the first. Bytes are reckoned by the mean row: a batch that is too large all the same is
    /// halved where the destination refuses it.
    fn split(&self, records: &RecordBatch) -> Vec<RecordBatch> {
        let rows = records.num_rows();
        let sizes = records.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        let row_bytes = sizes.sum::<usize>().div_ceil(rows.max(1)).max(1);
        let rows_max = self.rows_max.min(self.bytes_max / row_bytes).max(1);
        let starts = (0..rows).step_by(rows_max);
        starts.rev().map(|start| records.slice(start, rows_max.min(rows - start))).collect()
    }
}

impl Sent {
    fn is_full(&self, report: &StreamReport) -> bool {
        let rows = usize::try_from(report.read - self.before.read).unwrap_or(usize::MAX);
        self.state.is_some() && (rows >= EPOCH_ROWS_MAX || self.since.elapsed().as_millis() >= u128::from(EPOCH_AGE_MS_MAX))
    }
}

/// Records that pass through are kept by nobody before the destination has them.
struct NothingDurable;

impl Durable for NothingDurable {
    fn import_started(&mut self, _token: &str) -> Result<()> {
        Ok(())
    }

    fn sent_again(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The columns whose personal values are all granted in the clear, by their names at the destination.
fn plaintext_of(engine: &Engine, plan: &DestinationPlan, schema: &SchemaRef) -> Vec<String> {
    let named: Vec<_> = plan.match_by.iter().chain(&plan.map).collect();
    if named.is_empty() {
        return plan.plaintext.clone();
    }
    let is_personal =
        |name: &String| schema.field_with_name(name).ok().and_then(Field::from_arrow).is_some_and(|field| field.pii.is_some());
    let is_granted = |expression: &Expression| {
        let planned = engine.expressions.plan_row(&expression.text, schema);
        planned.is_ok_and(|planned| {
            planned.columns.iter().filter(|name| is_personal(name)).all(|name| plan.plaintext.contains(name))
        })
    };
    named.into_iter().filter(|one| is_granted(&one.expression)).map(|one| one.name.clone()).collect()
}

/// The mapping of a pipeline without profiles; none = all columns as they are.
fn mapping_of(engine: &Engine, plan: &DestinationPlan, schema: &SchemaRef) -> Result<(Option<RowProgram>, SchemaRef)> {
    let named = plan.match_by.iter().chain(&plan.map);
    let set: Vec<(String, String)> = named.map(|one| (one.name.clone(), one.expression.text.clone())).collect();
    if set.is_empty() {
        return Ok((None, Arc::clone(schema)));
    }
    let keep = set.iter().map(|(name, _)| name.clone()).collect();
    let mut steps = vec![RowStep::Set(set)];
    if !plan.map.is_empty() {
        steps.push(RowStep::Keep(keep));
    }
    let program = engine.expressions.compile(Arc::clone(schema), steps)?;
    let schema = program.output_schema();
    Ok((Some(program), schema))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use affluent_model::manifest::Idempotence;
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn batches_are_as_large_as_the_destination_takes() {
        // Rows of eight bytes: most rows, most bytes, batches.
        let cases: [(usize, usize, &[usize]); 5] = [
            (usize::MAX, usize::MAX, &[10]),
            (4, usize::MAX, &[4, 4, 2]),
            (usize::MAX, 24, &[3, 3, 3, 1]),
            (2, 24, &[2, 2, 2, 2, 2]),
            (usize::MAX, 1, &[1; 10]),
        ];
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        let records = RecordBatch::try_from_iter([("number", numbers)]).unwrap();
        for (rows_max, bytes_max, expected) in cases {
            let mut batches = BatchLimits { rows_max, bytes_max }.split(&records);
            batches.reverse();

            assert_eq!(
                batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(),
                expected,
                "{rows_max} rows, {bytes_max} bytes"
            );
            assert_eq!(arrow::compute::concat_batches(&records.schema(), &batches).unwrap(), records);
        }
    }

    #[test]
    fn the_lower_limit_of_destination_and_pipeline_holds() {
        let info = |max_rows| DestinationInfo {
            durable: DurableWhen::Write,
            idempotent: Idempotence::ByKey,
            max_rows,
            max_bytes: None,
            forms: BTreeMap::new(),
            removes: false,
        };
        for (of_destination, of_pipeline, expected) in
            [(Some(100), None, 100), (Some(100), Some(20), 20), (Some(100), Some(500), 100), (None, Some(20), 20)]
        {
            assert_eq!(BatchLimits::of(&info(of_destination), of_pipeline).rows_max, expected);
        }
    }
}
