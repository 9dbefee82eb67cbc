//! Reading a source into the lake, page by page: transform, admit, write, and now and then commit everything read since
//! in one ledger transaction. Killed anywhere, the next run goes on from the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use affluent_lake::LakeWriter;
use affluent_ledger::{EpochCommit, Lease, NewDeadLetter, NewFile, Stage};
use affluent_model::batch::{Batch, Page, Position, Rejected, RowOperation};
use affluent_model::connector::{PageLimits, Source, SourceRequest};
use affluent_model::limits::{EPOCH_AGE_MS_MAX, EPOCH_BYTES_MAX, EPOCH_ROWS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use affluent_model::plan::{Pipeline, ProfileMapping};
use affluent_model::report::StreamReport;
use affluent_model::schema::{StreamSchema, SyncMode};
use affluent_model::{Error, Result};
use arrow::datatypes::SchemaRef;

use crate::admit::{Admitter, Doors, Parents};
use crate::attempts::{Attempts, Verdict, begun};
use crate::breaker::Breaker;
use crate::engine::{Engine, Event, cancelled};
use crate::epoch::Epoch;
use crate::mapping::CompiledMapping;
use crate::run::{RunOptions, paused};
use crate::sealer::RunSealer;
use crate::streams::{StreamContext, table_name};
use crate::suppressed::Suppressed;
use crate::transforms::Transforms;

/// Reads one stream, with its children, until its source has no more.
///
/// # Errors
/// What source, stores and vault report; everything committed before stays.
pub(crate) async fn ingest_stream(
    engine: &Engine,
    lease: &Lease,
    pipeline: &Pipeline,
    context: &StreamContext,
    mappings: &BTreeMap<String, ProfileMapping>,
    options: &RunOptions,
) -> Result<Vec<StreamReport>> {
    let mut ingest = StreamIngest::open(engine, lease, pipeline, context, mappings, options).await?;
    ingest.read_all().await?;
    Ok(ingest.lanes.into_iter().map(|lane| lane.report).collect())
}

/// One stream or child stream on its way into its table.
pub(crate) struct Lane {
    schema: StreamSchema,
    transforms: Transforms,
    admitter: Admitter,
    report: StreamReport,
}

struct StreamIngest<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    context: &'a StreamContext,
    /// The stream first, then its children.
    lanes: Vec<Lane>,
    sealer: RunSealer<'a>,
    breaker: Breaker,
    attempts: Attempts,
    /// Of the last commit.
    state: Option<Vec<u8>>,
    generation: u64,
    /// True when completing drops what older generations read.
    is_refresh: bool,
    /// Records of the stream before this refresh.
    records_before: u64,
    records_max: Option<u64>,
    suppressed: Suppressed,
    now_us: i64,
}

/// What was read since the last commit.
struct Open {
    epoch: Epoch,
    writers: BTreeMap<String, Box<dyn LakeWriter>>,
    dead_letters: Vec<NewDeadLetter>,
    /// The state of the newest page that was a safe point.
    state: Option<Vec<u8>>,
    is_safe: bool,
    counts: Counts,
    bytes: usize,
    since: Instant,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    read: u64,
    filtered: u64,
    rejected: u64,
    admitted: u64,
    suppressed: u64,
}

impl<'a> StreamIngest<'a> {
    async fn open(
        engine: &'a Engine,
        lease: &'a Lease,
        pipeline: &Pipeline,
        context: &'a StreamContext,
        mappings: &BTreeMap<String, ProfileMapping>,
        options: &RunOptions,
    ) -> Result<Self> {
        let mut lanes = Vec::new();
        for schema in std::iter::once(&context.schema).chain(&context.children) {
            lanes.push(Lane::open(engine, pipeline, &context.connection.name, schema, mappings.get(&schema.name)).await?);
        }
        let now_us = engine.now_us();
        let checkpoint = engine.ledger.checkpoint(&lease.pipeline, &context.schema.name)?;
        let is_refresh = options.full || context.read.sync == SyncMode::FullRefresh;
        let (state, generation) = match &checkpoint {
            Some(checkpoint) if !is_refresh || !checkpoint.is_complete && checkpoint.state.is_some() => {
                (checkpoint.state.clone(), checkpoint.generation)
            }
            None if !is_refresh => (None, 0),
            _ => (None, engine.ledger.begin_generation(lease, &context.schema.name, now_us)?),
        };
        let records_before = checkpoint.filter(|checkpoint| checkpoint.is_complete).map_or(0, |checkpoint| checkpoint.records);
        Ok(Self {
            engine,
            lease,
            context,
            lanes,
            sealer: RunSealer::new(engine, lease),
            breaker: Breaker::new(pipeline.errors),
            attempts: Attempts::default(),
            state,
            generation,
            is_refresh,
            records_before,
            records_max: options.limit,
            suppressed: Suppressed::read(engine)?,
            now_us,
        })
    }

    async fn source(&mut self) -> Result<Box<dyn Source>> {
        let request = SourceRequest {
            pipeline: self.lease.pipeline.clone(),
            connection: Arc::clone(&self.context.connection),
            stream: self.context.schema.clone(),
            children: self.context.children.clone(),
            sync: if self.is_refresh { SyncMode::FullRefresh } else { SyncMode::Incremental },
            since_us: self.context.read.since_us,
            lookback_ms: self.context.read.lookback_ms,
            state: self.state.clone(),
        };
        let engine = self.engine;
        let opened = begun(engine, || engine.connectors.open_source(request.clone())).await;
        opened.map_err(|error| self.place(error))
    }

    async fn read_all(&mut self) -> Result<()> {
        let limits = PageLimits { rows_max: PAGE_ROWS_MAX, bytes_max: PAGE_BYTES_MAX };
        let mut source = self.source().await?;
        let mut open = self.begin()?;
        loop {
            if self.engine.is_cancelled() {
                self.commit_if_safe(open, false)?;
                return Err(cancelled());
            }
            match source.next(limits).await {
                Ok(page) => {
                    self.attempts.succeeded();
                    let is_last = page.position != Position::More || self.has_enough(&open);
                    self.take_page(page, &mut open).await?;
                    if is_last {
                        source.close().await;
                        return self.commit(open, true);
                    }
                    if open.is_safe && open.is_full() {
                        self.commit(open, false)?;
                        open = self.begin()?;
                    }
                }
                Err(failure) => match self.attempts.judge(&failure, self.sealer.jitter()?) {
                    Verdict::Retry(wait_ms) => self.engine.wait(&failure.error.message, wait_ms).await?,
                    Verdict::Reopen => {
                        open = self.begin()?;
                        source = self.source().await?;
                    }
                    Verdict::Pause(wait_ms) => {
                        self.commit_if_safe(open, false)?;
                        return Err(self.place(paused(&failure.error, wait_ms)));
                    }
                    Verdict::Bisect | Verdict::Fail => {
                        self.commit_if_safe(open, false)?;
                        return Err(self.place(failure.error));
                    }
                },
            }
        }
    }

    fn begin(&self) -> Result<Open> {
        Ok(Open {
            epoch: Epoch::new(self.engine.ledger.next_sequence(self.lease)?),
            writers: BTreeMap::new(),
            dead_letters: Vec::new(),
            state: None,
            is_safe: true,
            counts: Counts::default(),
            bytes: 0,
            since: Instant::now(),
        })
    }

    /// `--limit` was reached.
    fn has_enough(&self, open: &Open) -> bool {
        let committed = self.lanes.first().map_or(0, |lane| lane.report.read);
        self.records_max.is_some_and(|limit| committed.max(open.counts.read) >= limit)
    }

    async fn take_page(&mut self, page: Page, open: &mut Open) -> Result<()> {
        open.is_safe = page.state.is_some();
        if page.state.is_some() {
            open.state.clone_from(&page.state);
        }
        for rejected in page.rejected {
            let stream = rejected.stream.clone();
            self.count(&stream, open, Counts { read: 1, rejected: 1, ..Counts::default() });
            self.refuse(rejected, Stage::Read, open)?;
        }
        let mut parents = Parents::of_page(self.lanes.len() > 1);
        for part in page.parts {
            self.take_part(part, open, &mut parents).await?;
        }
        if let Some(lane) = self.lanes.first_mut() {
            lane.report.pages += 1;
            let (pipeline, stream, records) = (self.lease.pipeline.clone(), lane.report.stream.clone(), lane.report.read);
            self.engine.notice(Event::Reading { pipeline, stream, records });
        }
        Ok(())
    }

    async fn take_part(&mut self, part: Batch, open: &mut Open, parents: &mut Parents) -> Result<()> {
        let rows = part.records.num_rows();
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.schema.name == part.stream) else {
            return Err(self.place(Error::bug(format!("the host let rows of `{}` through, which nobody asked for", part.stream))));
        };
        open.bytes += part.records.get_array_memory_size();
        let done = lane.transforms.apply(part.records, self.now_us).await?;
        let doors =
            Doors { ledger: &*self.engine.ledger, vault: &self.engine.vault, suppressed: &self.suppressed, now_us: self.now_us };
        let deleted = part.operation == RowOperation::Delete;
        let admitted = lane.admitter.admit(&done.records, deleted, &mut open.epoch, &doors, parents)?;
        lane.report.sealed += admitted.sealed;
        let rows_in = u64::try_from(admitted.records.num_rows()).unwrap_or(0);
        if rows_in > 0 {
            let table = table_name(&self.context.connection.name, &part.stream);
            writer_of(self.engine, open, &table, lane)?.write(&admitted.records)?;
        }
        let counts = Counts {
            read: u64::try_from(rows).unwrap_or(0),
            filtered: done.filtered,
            rejected: u64::try_from(done.rejected.len() + admitted.rejected.len()).unwrap_or(0),
            admitted: rows_in,
            suppressed: admitted.suppressed,
        };
        self.count(&part.stream, open, counts);
        for rejected in done.rejected {
            self.refuse(rejected, Stage::Transform, open)?;
        }
        for rejected in admitted.rejected {
            self.refuse(rejected, Stage::Admit, open)?;
        }
        self.breaker.check(counts.read, counts.rejected).map_err(|error| self.place(error))
    }

    fn count(&mut self, stream: &str, open: &mut Open, counts: Counts) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.schema.name == stream) {
            lane.report.read += counts.read;
            lane.report.filtered += counts.filtered;
            lane.report.rejected += counts.rejected;
            lane.report.admitted += counts.admitted;
            lane.report.suppressed += counts.suppressed;
        }
        open.counts.read += counts.read;
        open.counts.filtered += counts.filtered;
        open.counts.rejected += counts.rejected;
        open.counts.admitted += counts.admitted;
        open.counts.suppressed += counts.suppressed;
    }

    fn refuse(&mut self, mut rejected: Rejected, stage: Stage, open: &mut Open) -> Result<()> {
        rejected.raw = rejected.raw.filter(|raw| !self.suppressed.is_mentioned(raw));
        open.dead_letters.push(self.sealer.dead_letter(rejected, stage, self.now_us)?);
        if stage == Stage::Read {
            self.breaker.check(1, 1).map_err(|error| self.place(error))?;
        }
        Ok(())
    }

    /// Keeps what is complete of an epoch that must end early.
    fn commit_if_safe(&mut self, open: Open, is_complete: bool) -> Result<()> {
        if open.is_safe && open.state.is_some() { self.commit(open, is_complete) } else { Ok(()) }
    }

    /// Everything since the last commit becomes visible, or nothing.
    fn commit(&mut self, open: Open, is_complete: bool) -> Result<()> {
        // Records of erased persons are records: a source may have no others.
        let found_now = self.lanes.first().map_or(0, |lane| lane.report.admitted + lane.report.suppressed);
        if is_complete && self.is_refresh && found_now == 0 && self.state.is_none() && self.records_before > 0 {
            return Err(self.place(suspiciously_empty(self.records_before)));
        }
        let mut files = Vec::new();
        for (table, writer) in open.writers {
            let file = writer.finish()?;
            files.push(NewFile { table, name: file.name, rows: file.rows, bytes: file.bytes, sequence: open.epoch.sequence });
        }
        let commit = EpochCommit {
            stream: self.context.schema.name.clone(),
            state: open.state.clone(),
            is_complete,
            generation: self.generation,
            new_nodes: open.epoch.new_nodes,
            files,
            dead_letters: open.dead_letters,
            read: open.counts.read,
            filtered: open.counts.filtered + open.counts.suppressed,
            rejected: open.counts.rejected,
            admitted: open.counts.admitted,
            now_us: self.engine.now_us(),
            drops_older_generations: is_complete && self.is_refresh && self.records_max.is_none(),
        };
        self.engine.ledger.commit_epoch(self.lease, &commit)?;
        if let Some(lane) = self.lanes.first_mut() {
            lane.report.commits += 1;
        }
        if open.state.is_some() {
            self.state = open.state;
        }
        Ok(())
    }

    fn place(&self, error: Error) -> Error {
        let stream = &self.context.schema.name;
        error.at(format!("stream {stream}")).at(format!("pipeline {}", self.lease.pipeline))
    }
}

impl Open {
    fn is_full(&self) -> bool {
        let rows = usize::try_from(self.counts.read).unwrap_or(usize::MAX);
        let age_ms = self.since.elapsed().as_millis();
        rows >= EPOCH_ROWS_MAX || self.bytes >= EPOCH_BYTES_MAX || age_ms >= u128::from(EPOCH_AGE_MS_MAX)
    }
}

impl Lane {
    /// Opens the transforms and plans the admission of a stream.
    ///
    /// # Errors
    /// What transforms, mapping and vault report.
    pub(crate) async fn open(
        engine: &Engine,
        pipeline: &Pipeline,
        connection: &str,
        schema: &StreamSchema,
        mapping: Option<&ProfileMapping>,
    ) -> Result<Self> {
        let transforms = Transforms::open(engine, pipeline, schema).await?;
        let mapping = match mapping {
            Some(mapping) => {
                let identity = &engine.plan.identity;
                Some(CompiledMapping::compile(&engine.expressions, &transforms.schema, mapping, identity)?)
            }
            None => None,
        };
        let admitter = Admitter::new(&engine.plan, &engine.vault, connection, schema.clone(), &transforms.schema, mapping)?;
        let report = StreamReport { stream: schema.name.clone(), ..StreamReport::default() };
        Ok(Self { schema: schema.clone(), transforms, admitter, report })
    }

    /// The columns of the lake table.
    pub(crate) fn table_schema(&self) -> SchemaRef {
        Arc::clone(&self.admitter.schema)
    }
}

fn writer_of<'o>(engine: &Engine, open: &'o mut Open, table: &str, lane: &Lane) -> Result<&'o mut Box<dyn LakeWriter>> {
    if !open.writers.contains_key(table) {
        let writer = engine.lake.create_file(&engine.file_name("records")?, Arc::clone(&lane.admitter.schema))?;
        open.writers.insert(table.to_owned(), writer);
    }
    open.writers.get_mut(table).ok_or_else(|| Error::bug("a writer was just made"))
}

fn suspiciously_empty(before: u64) -> Error {
    Error::held("E0805", format!("a full refresh found no records, and the one before had {before}"))
        .help("mend the source and run again; if it is really empty, take the stream out of the pipeline")
}
