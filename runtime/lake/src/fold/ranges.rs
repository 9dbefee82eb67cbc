//! The rows of a fold: as they came where all fit into memory, else put by ranges of keys, the largest of which go to disk.

use std::sync::Arc;

use arrow::array::{Array, AsArray as _, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::utils::memory::{RecordBatchMemoryCounter, get_record_batch_memory_size};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SpillFile, SpillWriter, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::SpillManager;
use futures::StreamExt as _;

use super::Layout;

/// Keys of one range, at least: their rows have to fit into memory at once, and of fewer rows come in crumbs.
const RANGE_KEYS: usize = 1 << 10;
/// Beyond, ranges have more keys: each may have a file open.
const RANGES_MAX: usize = 128;
/// Batches that are written to disk as one.
const SPILLED_TOGETHER: usize = 16;

/// The rows of a fold by their keys.
pub(super) struct Ranges {
    /// Place of the column of keys.
    key: usize,
    /// How many keys there are, and how many of them a range has.
    keys: usize,
    keys_of_range: usize,
    schema: SchemaRef,
    /// Rows of any keys, while all fit into memory.
    whole: Range,
    /// Of the whole rows, which may share memory.
    counted: RecordBatchMemoryCounter,
    is_split: bool,
    ranges: Vec<Range>,
    memory: MemoryReservation,
    runtime: Arc<RuntimeEnv>,
    /// The next range that is handed out.
    next: usize,
    /// Of the range that was handed out last.
    open_bytes: usize,
}

/// A file on disk that rows go to.
type Spilled = (Arc<dyn SpillFile>, StreamWriter<Box<dyn SpillWriter>>);

/// In the order they came: those on disk first.
#[derive(Default)]
struct Range {
    spilled: Option<Spilled>,
    held: Vec<RecordBatch>,
    /// Of those held.
    bytes: usize,
}

impl Range {
    fn hold(&mut self, rows: RecordBatch, bytes: usize) {
        self.held.push(rows);
        self.bytes += bytes;
    }

    /// Writes what is held to disk; returns how many bytes it was.
    fn spill(&mut self, runtime: &RuntimeEnv, schema: &SchemaRef) -> Result<usize> {
        let (_, writer) = match &mut self.spilled {
            Some(spilled) => spilled,
            none => {
                let file = runtime.disk_manager.create_tmp_file("rows of a fold")?;
                let writer = StreamWriter::try_new(file.open_writer()?, schema)?;
                none.insert((file, writer))
            }
        };
        for batches in self.held.chunks(SPILLED_TOGETHER) {
            writer.write(&concat_batches(schema, batches)?)?;
        }
        self.held = Vec::new();
        Ok(std::mem::take(&mut self.bytes))
    }
}

/// Who reads a file takes up to twice the memory that values turn out to need.
fn without_spare_memory(rows: RecordBatch) -> Result<RecordBatch> {
    let (schema, mut columns, rows) = rows.into_parts();
    columns.iter_mut().for_each(Array::shrink_to_fit);
    Ok(RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}

impl Ranges {
    pub(super) fn new(layout: &Layout, context: &TaskContext) -> Self {
        let keys = layout.names.texts.len();
        let keys_of_range = keys.div_ceil(RANGES_MAX).max(RANGE_KEYS);
        Self {
            key: layout.key,
            keys,
            keys_of_range,
            schema: Arc::clone(&layout.input),
            whole: Range::default(),
            counted: RecordBatchMemoryCounter::new(),
            is_split: false,
            ranges: std::iter::repeat_with(Range::default).take(keys.div_ceil(keys_of_range)).collect(),
            memory: MemoryConsumer::new("fold").with_can_spill(true).register(context.memory_pool()),
            runtime: context.runtime_env(),
            next: 0,
            open_bytes: 0,
        }
    }

    /// Takes rows of any keys; those of no key are left out.
    ///
    /// # Errors
    /// For a key without a name, when the disk refuses, and when neither memory nor disk has room.
    pub(super) fn take(&mut self, rows: RecordBatch) -> Result<()> {
        let rows = without_spare_memory(rows)?;
        if !self.is_split {
            let bytes = self.counted.count_batch(&rows);
            if self.memory.try_grow(bytes).is_ok() {
                self.whole.hold(rows, bytes);
                return Ok(());
            }
            self.split_whole()?;
        }
        self.split(&rows)
    }

    fn split_whole(&mut self) -> Result<()> {
        self.is_split = true;
        self.counted = RecordBatchMemoryCounter::new();
        let Range { held, mut bytes, .. } = std::mem::take(&mut self.whole);
        for rows in held {
            let freed = get_record_batch_memory_size(&rows).min(bytes);
            self.memory.shrink(freed);
            bytes -= freed;
            self.split(&rows)?;
        }
        self.memory.shrink(bytes);
        Ok(())
    }

    fn split(&mut self, rows: &RecordBatch) -> Result<()> {
        for (range, places) in self.places(rows)?.into_iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            let part = take_record_batch(rows, &UInt32Array::from(places))?;
            let bytes = get_record_batch_memory_size(&part);
            self.reserve(bytes)?;
            if let Some(range) = self.ranges.get_mut(range) {
                range.hold(part, bytes);
            }
        }
        Ok(())
    }

    /// Of each range, the rows that belong to it.
    fn places(&self, rows: &RecordBatch) -> Result<Vec<Vec<u32>>> {
        let keys = rows.columns().get(self.key).and_then(|keys| keys.as_primitive_opt::<Int64Type>());
        let Some(keys) = keys else { return internal_err!("a batch has the column of keys") };
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); self.ranges.len()];
        for (row, key) in (0..).zip(keys).filter_map(|(row, key)| Some((row, key?))) {
            let key = usize::try_from(key).ok().filter(|key| *key < self.keys);
            match key.and_then(|key| places.get_mut(key / self.keys_of_range)) {
                Some(places) => places.push(row),
                None => return internal_err!("a key is a number that has a name"),
            }
        }
        Ok(places)
    }

    /// Takes memory, writing the largest range to disk where there is none left.
    fn reserve(&mut self, bytes: usize) -> Result<()> {
        while let Err(full) = self.memory.try_grow(bytes) {
            self.make_room(full)?;
        }
        Ok(())
    }

    fn make_room(&mut self, full: DataFusionError) -> Result<()> {
        let largest = self.ranges.iter_mut().max_by_key(|range| range.bytes).filter(|range| range.bytes > 0);
        let Some(largest) = largest else { return Err(full) };
        self.memory.shrink(largest.spill(&self.runtime, &self.schema)?);
        Ok(())
    }

    /// The keys of the next range and its rows, in the order they came, of which some may be of nobody; `None` after the last. The
    /// range before is let go.
    ///
    /// # Errors
    /// When the disk refuses, and when the range does not fit into memory.
    pub(super) async fn next(&mut self) -> Result<Option<(std::ops::Range<usize>, Vec<RecordBatch>)>> {
        self.memory.shrink(std::mem::take(&mut self.open_bytes));
        if !self.is_split {
            self.next = self.ranges.len();
            self.is_split = true;
            let whole = std::mem::take(&mut self.whole);
            self.open_bytes = whole.bytes;
            return Ok((self.keys > 0).then_some((0..self.keys, whole.held)));
        }
        let Some(range) = self.ranges.get_mut(self.next).map(std::mem::take) else { return Ok(None) };
        let first = self.next * self.keys_of_range;
        self.next += 1;
        self.open_bytes = range.bytes;
        let mut rows = Vec::new();
        if let Some((file, mut writer)) = range.spilled {
            writer.finish()?;
            let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            let spill = SpillManager::new(Arc::clone(&self.runtime), metrics, Arc::clone(&self.schema));
            let mut spilled = spill.read_spill_as_stream_unbuffered(file, None)?;
            while let Some(batch) = spilled.next().await.transpose()? {
                let bytes = get_record_batch_memory_size(&batch);
                self.reserve(bytes)?;
                self.open_bytes += bytes;
                rows.push(batch);
            }
        }
        rows.extend(range.held);
        Ok(Some((first..self.keys.min(first + self.keys_of_range), rows)))
    }
}
