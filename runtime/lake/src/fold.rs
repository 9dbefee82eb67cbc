//! Folding: sorted rows of one query become a table of another, one row per key. Works batch by batch and column by
//! column: rows are chosen by their places, and the chosen ones are copied together once per flush.

mod weigh;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use affluent_model::fold::{Choose, Fold, Ranks, When};
use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, new_null_array};
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
use weigh::{Weighed, Weighing};

/// Batches held before the finished rows are copied out: few, because their memory is no query's.
const HELD_BATCHES_MAX: usize = 4;

/// The folded rows of a plan, as a table that can be read once per query.
pub(crate) struct FoldedRows {
    rows: Arc<dyn ExecutionPlan>,
    layout: Arc<Layout>,
}

impl FoldedRows {
    /// # Errors
    /// When the rows lack a column that the fold names, or one has a type that it cannot work with.
    pub(crate) fn new(rows: Arc<dyn ExecutionPlan>, fold: &Fold, names: Option<StringArray>) -> Result<Self> {
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
            Ok(rows) => try_unfold((rows, Some(folding)), next_folded).boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, folded))
    }
}

type State = (SendableRecordBatchStream, Option<Folding>);

/// Reads on until rows are finished; `None` after the last.
async fn next_folded((mut rows, folding): State) -> Result<Option<(RecordBatch, State)>> {
    let Some(mut folding) = folding else { return Ok(None) };
    while let Some(batch) = rows.next().await {
        let finished = folding.take(canonical_batch(batch?, &folding.layout.input)?)?;
        if let Some(finished) = finished {
            return Ok(Some((finished, (rows, Some(folding)))));
        }
    }
    Ok(folding.finish()?.map(|last| (last, (rows, None))))
}

/// A fold over columns by their places.
struct Layout {
    input: SchemaRef,
    output: SchemaRef,
    key: usize,
    /// Number → text, where keys are numbers.
    names: Option<StringArray>,
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
    fn new(input: &SchemaRef, fold: &Fold, names: Option<StringArray>) -> Result<Self> {
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
    /// Where the key of each finished row stands.
    keys: Vec<(usize, usize)>,
    /// Per pick, the row chosen for each finished row.
    chosen: Vec<Vec<Option<Chosen>>>,
    /// The key that is not finished, and what was chosen for it so far.
    open: Option<(usize, usize)>,
    open_chosen: Vec<Option<Chosen>>,
    /// Per pick, what was weighed for it so far.
    open_weighed: Vec<Weighed>,
}

impl Folding {
    fn new(layout: Arc<Layout>) -> Self {
        let picks = layout.picks.len();
        Self {
            layout,
            held: Vec::new(),
            keys: Vec::new(),
            chosen: vec![Vec::new(); picks],
            open: None,
            open_chosen: vec![None; picks],
            open_weighed: std::iter::repeat_with(Weighed::default).take(picks).collect(),
        }
    }

    /// Takes the next rows; returns finished ones now and then.
    fn take(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        let layout = Arc::clone(&self.layout);
        let mut finished = None;
        let count = rows.num_rows();
        let columns = rows.columns().to_vec();
        self.held.push(rows);
        for row in 0..count {
            if !self.is_open_key(row)? {
                self.close();
                if self.held.len() > HELD_BATCHES_MAX {
                    finished = Some(self.flush()?);
                }
                self.open = Some((self.held.len().saturating_sub(1), row));
            }
            let batch = self.held.len().saturating_sub(1);
            for (pick, (chosen, weighed)) in layout.picks.iter().zip(self.open_chosen.iter_mut().zip(&mut self.open_weighed)) {
                match pick.weighing {
                    None => pick.offer(&columns, batch, row, chosen)?,
                    Some(weighing) => {
                        if let Some(row) = pick.qualified(&columns, batch, row)? {
                            weighing.offer(&columns, row, weighed)?;
                        }
                    }
                }
            }
        }
        Ok(finished)
    }

    /// The last rows.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.close();
        if self.keys.is_empty() { Ok(None) } else { self.flush().map(Some) }
    }

    /// True when this row of the newest batch has the key that is open.
    fn is_open_key(&self, row: usize) -> Result<bool> {
        let Some((batch, first)) = self.open else { return Ok(false) };
        let column = |batch: Option<&RecordBatch>| batch.and_then(|batch| batch.columns().get(self.layout.key).cloned());
        let (Some(open), Some(keys)) = (column(self.held.get(batch)), column(self.held.last())) else {
            return internal_err!("the rows of an open key are held");
        };
        Ok(if self.layout.names.is_some() {
            open.as_primitive::<Int64Type>().value(first) == keys.as_primitive::<Int64Type>().value(row)
        } else {
            open.as_string::<i32>().value(first) == keys.as_string::<i32>().value(row)
        })
    }

    /// The texts of the finished keys.
    fn keys(&self) -> Result<ArrayRef> {
        let keys = self.gather(self.layout.key, self.keys.iter().map(|(batch, row)| (batch + 1, *row)))?;
        let Some(names) = &self.layout.names else { return Ok(keys) };
        // Without this check a number beyond the names would be a panic.
        let is_named = |key: Option<i64>| key.is_some_and(|key| usize::try_from(key).is_ok_and(|key| key < names.len()));
        if !keys.as_primitive::<Int64Type>().iter().all(is_named) {
            return internal_err!("the number of a key has no name");
        }
        Ok(take(names, keys.as_ref(), None)?)
    }

    /// The open key is complete.
    fn close(&mut self) {
        let Some(key) = self.open.take() else { return };
        self.keys.push(key);
        let open = self.open_chosen.iter_mut().zip(&mut self.open_weighed);
        for (chosen, (open, weighed)) in self.chosen.iter_mut().zip(open) {
            chosen.push(open.take().or_else(|| weighed.take()));
        }
    }

    /// Copies the finished rows together and lets go of all batches but the newest, in which the next key begins.
    fn flush(&mut self) -> Result<RecordBatch> {
        let mut columns = vec![self.keys()?];
        for (pick, chosen) in self.layout.picks.iter().zip(&self.chosen) {
            for place in &pick.take {
                let rows = chosen.iter().map(|chosen| chosen.map_or((0, 0), |chosen| (chosen.batch + 1, chosen.row)));
                columns.push(self.gather(*place, rows)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.keys.len()));
        let finished = RecordBatch::try_new_with_options(Arc::clone(&self.layout.output), columns, &options)?;
        self.keys.clear();
        self.chosen.iter_mut().for_each(Vec::clear);
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
