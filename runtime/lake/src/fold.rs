//! Folding: sorted rows of one query become a table of another, one row per key. Works batch by batch and column by
//! column: rows are chosen by their places, and the chosen ones are copied together once per flush.

mod combine;
mod weigh;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use affluent_model::fold::{Choose, Fold, Ranks, When};
use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, StringArray, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DataFusionError, Result, internal_err, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;
use futures::stream::try_unfold;

use crate::canonical::{canonical_batch, canonical_schema};
use crate::limits::QUERY_BATCH_ROWS;
use combine::Combined;
use weigh::{Weighed, Weighing};

/// Batches held before the finished rows are copied out: few, because their memory is no query's.
const HELD_BATCHES_MAX: usize = 4;
/// Finished keys before they are copied out, where many have no rows.
const KEYS_MAX: usize = 4 * QUERY_BATCH_ROWS;

/// The folded rows of a plan, as a table that can be read once per query.
pub(crate) struct FoldedRows {
    rows: Arc<dyn ExecutionPlan>,
    layout: Arc<Layout>,
}

impl FoldedRows {
    /// # Errors
    /// When the rows lack a column that the fold names, or one has a type that it cannot work with.
    pub(crate) fn new(rows: Arc<dyn ExecutionPlan>, fold: &Fold, names: Option<Names>) -> Result<Self> {
        let layout = Arc::new(Layout::new(&canonical_schema(&rows.schema()), fold, names)?);
        Ok(Self { rows, layout })
    }
}

impl fmt::Debug for FoldedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldedRows").field("schema", &self.layout.output).finish_non_exhaustive()
    }
}

impl PartitionStream for FoldedRows {
    fn schema(&self) -> &SchemaRef {
        &self.layout.output
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.layout.output);
        let folding = Folding::new(Arc::clone(&self.layout));
        let folded = match execute_stream(Arc::clone(&self.rows), context) {
            Ok(rows) => try_unfold((Some(rows), folding), next_folded).boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, folded))
    }
}

/// Keys that are numbers: place n is about key n.
pub(crate) struct Names {
    pub(crate) texts: StringArray,
    pub(crate) beside: Vec<(Field, ArrayRef)>,
}

/// The rows, until their end, and the fold.
type State = (Option<SendableRecordBatchStream>, Folding);

/// Reads on until rows are finished; `None` after the last.
async fn next_folded((mut rows, mut folding): State) -> Result<Option<(RecordBatch, State)>> {
    loop {
        if let Some(finished) = folding.advance()? {
            return Ok(Some((finished, (rows, folding))));
        }
        let Some(open) = &mut rows else { return Ok(folding.finish()?.map(|last| (last, (rows, folding)))) };
        match open.next().await {
            Some(batch) => folding.take(canonical_batch(batch?, &folding.layout.input)?),
            None => rows = None,
        }
    }
}

/// A fold over columns by their places.
struct Layout {
    input: SchemaRef,
    output: SchemaRef,
    key: usize,
    /// Where keys are numbers.
    names: Option<Names>,
    picks: Vec<Picking>,
}

struct Picking {
    when: Qualifies,
    ranks: Option<(usize, BTreeMap<i64, usize>)>,
    /// `None` = the first row of the best rank.
    weighing: Option<Weighing>,
    take: Vec<usize>,
}

enum Qualifies {
    NotNull(usize),
    Equals(usize, i64),
}

impl Layout {
    fn new(input: &SchemaRef, fold: &Fold, names: Option<Names>) -> Result<Self> {
        let key = typed(input, &fold.key, if names.is_some() { &DataType::Int64 } else { &DataType::Utf8 })?;
        let mut fields = vec![Field::new(&fold.key, DataType::Utf8, false)];
        let mut picks = Vec::with_capacity(fold.picks.len());
        for pick in &fold.picks {
            let when = match &pick.when {
                When::NotNull(name) => Qualifies::NotNull(input.index_of(name)?),
                When::Equals(name, value) => Qualifies::Equals(typed(input, name, &DataType::Int64)?, *value),
            };
            let ranks = match &pick.ranks {
                Some(Ranks { column, rank_of }) => Some((typed(input, column, &DataType::Int64)?, rank_of.clone())),
                None => None,
            };
            let weighing = match (pick.choose, &when) {
                (Choose::First, _) => None,
                (choose, Qualifies::NotNull(place)) => Some(Weighing::new(choose, *place, input.field(*place).data_type())?),
                (choose, Qualifies::Equals(..)) => return plan_err!("a pick by {choose:?} weighs the column that is not null"),
            };
            let mut take = Vec::with_capacity(pick.take.len());
            for (column, name) in &pick.take {
                let place = input.index_of(column)?;
                fields.push(input.field(place).clone().with_name(name).with_nullable(true));
                take.push(place);
            }
            picks.push(Picking { when, ranks, weighing, take });
        }
        fields.extend(names.iter().flat_map(|names| &names.beside).map(|(field, _)| field.clone()));
        Ok(Self { input: Arc::clone(input), output: Arc::new(Schema::new(fields)), key, names, picks })
    }
}

fn typed(schema: &Schema, name: &str, wanted: &DataType) -> Result<usize> {
    let place = schema.index_of(name)?;
    if schema.field(place).data_type() != wanted {
        return plan_err!("column {name} is {}, a fold needs {wanted}", schema.field(place).data_type());
    }
    Ok(place)
}

/// A row by its batch among the held ones and its place in it.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    batch: usize,
    row: usize,
    rank: usize,
}

/// A fold under way.
struct Folding {
    layout: Arc<Layout>,
    held: Vec<RecordBatch>,
    /// The next row of the newest batch.
    row: usize,
    /// The finished keys.
    keys: Vec<Key>,
    /// Per pick, the row chosen for each finished key.
    chosen: Vec<Vec<Option<Chosen>>>,
    /// Per pick, what was combined for each finished key; empty where nothing is.
    combined: Vec<Vec<Option<Combined>>>,
    /// The key that is not finished, and what was chosen for it so far.
    open: Option<Key>,
    open_chosen: Vec<Option<Chosen>>,
    /// Per pick, what was weighed for it so far.
    open_weighed: Vec<Weighed>,
    /// Where keys are numbers: the least that is neither finished nor open.
    next: i64,
}

/// Where a text stands (batch, row), or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Text(usize, usize),
    Number(i64),
}

impl Folding {
    fn new(layout: Arc<Layout>) -> Self {
        let picks = layout.picks.len();
        Self {
            layout,
            held: Vec::new(),
            row: 0,
            keys: Vec::new(),
            chosen: vec![Vec::new(); picks],
            combined: vec![Vec::new(); picks],
            open: None,
            open_chosen: vec![None; picks],
            open_weighed: std::iter::repeat_with(Weighed::default).take(picks).collect(),
            next: 0,
        }
    }

    /// Takes the next rows; those before were gone through.
    fn take(&mut self, rows: RecordBatch) {
        self.held.push(rows);
        self.row = 0;
    }

    /// Goes through the newest rows; returns finished ones now and then, `None` at the end of the newest.
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        let layout = Arc::clone(&self.layout);
        let Some(rows) = self.held.last().cloned() else { return Ok(None) };
        let Some(keys) = rows.columns().get(layout.key) else { return internal_err!("a batch has the column of keys") };
        let batch = self.held.len().saturating_sub(1);
        while self.row < rows.num_rows() {
            let row = self.row;
            if !self.is_open(keys, row) {
                self.close();
                let is_next = self.open_key(keys, row)?;
                if !is_next || self.held.len() > HELD_BATCHES_MAX {
                    self.open = None;
                    return self.flush().map(Some);
                }
            }
            for (pick, (chosen, weighed)) in layout.picks.iter().zip(self.open_chosen.iter_mut().zip(&mut self.open_weighed)) {
                match pick.weighing {
                    None => pick.offer(rows.columns(), batch, row, chosen)?,
                    Some(weighing) => {
                        if let Some(row) = pick.qualified(rows.columns(), batch, row)? {
                            weighing.offer(rows.columns(), row, weighed)?;
                        }
                    }
                }
            }
            self.row += 1;
        }
        Ok(None)
    }

    /// The last rows, part by part; `None` after them.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.close();
        if let Some(names) = &self.layout.names {
            let count = i64::try_from(names.texts.len()).unwrap_or(i64::MAX);
            self.skip_to(count);
        }
        if self.keys.is_empty() { Ok(None) } else { self.flush().map(Some) }
    }

    /// True when this row of the newest batch has the key that is open.
    fn is_open(&self, keys: &ArrayRef, row: usize) -> bool {
        match self.open {
            None => false,
            Some(Key::Number(open)) => keys.as_primitive::<Int64Type>().value(row) == open,
            Some(Key::Text(batch, first)) => {
                let open = self.held.get(batch).and_then(|batch| batch.columns().get(self.layout.key));
                open.is_some_and(|open| open.as_string::<i32>().value(first) == keys.as_string::<i32>().value(row))
            }
        }
    }

    /// Opens the key of this row of the newest batch; false when so many keys without rows come before it that those are to
    /// be flushed first.
    fn open_key(&mut self, keys: &ArrayRef, row: usize) -> Result<bool> {
        let Some(names) = &self.layout.names else {
            self.open = Some(Key::Text(self.held.len().saturating_sub(1), row));
            return Ok(true);
        };
        let keys = keys.as_primitive::<Int64Type>();
        let key = keys.value(row);
        let has_name = usize::try_from(key).is_ok_and(|place| place < names.texts.len());
        if keys.is_null(row) || !has_name || key < self.next {
            return internal_err!("a key is a number of its own that has a name, and keys are sorted");
        }
        if !self.skip_to(key) {
            return Ok(false);
        }
        self.open = Some(Key::Number(key));
        Ok(true)
    }

    /// Finishes keys without rows, up to this one or so many that they are to be flushed; false then.
    fn skip_to(&mut self, key: i64) -> bool {
        while self.next < key && self.keys.len() < KEYS_MAX {
            self.keys.push(Key::Number(self.next));
            self.chosen.iter_mut().for_each(|chosen| chosen.push(None));
            for (combined, pick) in self.combined.iter_mut().zip(&self.layout.picks) {
                combined.extend(pick.combines().then_some(None));
            }
            self.next += 1;
        }
        self.next >= key
    }

    /// The finished keys: their texts, and what is known beside the rows.
    fn keys(&self) -> Result<Vec<ArrayRef>> {
        let Some(names) = &self.layout.names else {
            let rows = self.keys.iter().map(|key| if let Key::Text(batch, row) = key { (batch + 1, *row) } else { (0, 0) });
            return Ok(vec![self.gather(self.layout.key, rows)?]);
        };
        let numbers: Int64Array =
            self.keys.iter().map(|key| if let Key::Number(number) = key { Some(*number) } else { None }).collect();
        let of_key = std::iter::once(&names.texts as &dyn Array).chain(names.beside.iter().map(|(_, values)| values.as_ref()));
        of_key.map(|values| Ok(take(values, &numbers, None)?)).collect()
    }

    /// The open key is complete.
    fn close(&mut self) {
        let Some(key) = self.open.take() else { return };
        if let Key::Number(number) = key {
            self.next = number + 1;
        }
        self.keys.push(key);
        let open = self.open_chosen.iter_mut().zip(&mut self.open_weighed);
        let finished = self.chosen.iter_mut().zip(self.combined.iter_mut().zip(&self.layout.picks));
        for ((chosen, (combined, pick)), (open, weighed)) in finished.zip(open) {
            combined.extend(pick.combines().then(|| weighed.take_combined()));
            chosen.push(open.take().or_else(|| weighed.take()));
        }
    }

    /// Copies the finished rows together and lets go of all batches but the newest, in which the next key begins.
    fn flush(&mut self) -> Result<RecordBatch> {
        let mut columns = self.keys()?;
        let beside = columns.split_off(1);
        for (pick, (chosen, combined)) in self.layout.picks.iter().zip(self.chosen.iter().zip(&self.combined)) {
            for place in &pick.take {
                if pick.combines_column(*place) {
                    columns.push(combine::column(combined, self.layout.input.field(*place).data_type())?);
                    continue;
                }
                let rows = chosen.iter().map(|chosen| chosen.map_or((0, 0), |chosen| (chosen.batch + 1, chosen.row)));
                columns.push(self.gather(*place, rows)?);
            }
        }
        columns.extend(beside);
        let options = RecordBatchOptions::new().with_row_count(Some(self.keys.len()));
        let finished = RecordBatch::try_new_with_options(Arc::clone(&self.layout.output), columns, &options)?;
        self.keys.clear();
        self.chosen.iter_mut().for_each(Vec::clear);
        self.combined.iter_mut().for_each(Vec::clear);
        let before = self.held.len().saturating_sub(1);
        self.held.drain(..before);
        Ok(finished)
    }

    /// Values of a column by the numbers of their batches, from 1, and their rows; batch 0 stands for null.
    fn gather(&self, column: usize, rows: impl Iterator<Item = (usize, usize)>) -> Result<ArrayRef> {
        let Some(field) = self.layout.input.fields().get(column) else {
            return internal_err!("a column that was found when planning is there");
        };
        let null = new_null_array(field.data_type(), 1);
        let held = self.held.iter().filter_map(|batch| batch.columns().get(column)).map(AsRef::as_ref);
        let sources: Vec<_> = std::iter::once(null.as_ref()).chain(held).collect();
        Ok(interleave(&sources, &rows.collect::<Vec<_>>())?)
    }
}

impl Picking {
    fn combines(&self) -> bool {
        self.weighing.is_some_and(Weighing::combines)
    }

    /// True for the column whose values are combined.
    fn combines_column(&self, column: usize) -> bool {
        self.weighing.is_some_and(|weighing| weighing.combines() && weighing.column() == column)
    }

    /// Chooses the row when it qualifies and is better than what was chosen before.
    fn offer(&self, columns: &[ArrayRef], batch: usize, row: usize, chosen: &mut Option<Chosen>) -> Result<()> {
        if chosen.is_some_and(|chosen| chosen.rank == 0) {
            return Ok(());
        }
        if let Some(offered) = self.qualified(columns, batch, row)?
            && chosen.is_none_or(|chosen| offered.rank < chosen.rank)
        {
            *chosen = Some(offered);
        }
        Ok(())
    }

    /// The row with its rank when it qualifies.
    fn qualified(&self, columns: &[ArrayRef], batch: usize, row: usize) -> Result<Option<Chosen>> {
        let qualifies = match &self.when {
            Qualifies::NotNull(column) => columns.get(*column).map(|values| values.is_valid(row)),
            Qualifies::Equals(column, wanted) => integer(columns, *column, row).map(|value| value == Some(*wanted)),
        };
        if !qualifies.ok_or_else(missing_column)? {
            return Ok(None);
        }
        let rank = match &self.ranks {
            None => 0,
            Some((column, rank_of)) => {
                let value = integer(columns, *column, row).ok_or_else(missing_column)?;
                value.and_then(|value| rank_of.get(&value)).copied().unwrap_or(usize::MAX)
            }
        };
        Ok(Some(Chosen { batch, row, rank }))
    }
}

fn integer(columns: &[ArrayRef], column: usize, row: usize) -> Option<Option<i64>> {
    let values = columns.get(column)?.as_primitive_opt::<Int64Type>()?;
    Some(values.is_valid(row).then(|| values.value(row)))
}

fn missing_column() -> DataFusionError {
    DataFusionError::Internal("a batch has the columns that its fold was planned for".to_owned())
}
