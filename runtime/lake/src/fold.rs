//! Folding: the rows of one query become a table of another, one row per key. Rows are put by ranges of keys (`ranges`), each
//! range is gone through key by key, and what is chosen is copied together once (`folding`).

mod combine;
mod folding;
mod given;
mod pick;
mod ranges;
mod weigh;

use std::fmt;
use std::sync::Arc;

use affluent_model::fold::Fold;
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;
use futures::stream::try_unfold;

use crate::canonical::{canonical_batch, canonical_schema};
use crate::writer::UNLIKE_KEY;
use folding::Folding;
use given::Giving;
use pick::Picking;
use ranges::Ranges;

/// The folded rows of a plan, as a table that can be read once per query.
pub(crate) struct FoldedRows {
    rows: Arc<dyn ExecutionPlan>,
    layout: Arc<Layout>,
}

impl FoldedRows {
    /// # Errors
    /// When the rows lack a column that the fold names, or one has a type that it cannot work with.
    pub(crate) fn new(rows: Arc<dyn ExecutionPlan>, fold: &Fold, names: Names) -> Result<Self> {
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
        let ranges = Ranges::new(&self.layout, &context);
        let folding = Folding::new(Arc::clone(&self.layout), ranges);
        let folded = match execute_stream(Arc::clone(&self.rows), context) {
            Ok(rows) => try_unfold((Some(rows), folding), next_folded).boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, folded))
    }
}

/// The rows, until their end, and the fold.
type State = (Option<SendableRecordBatchStream>, Folding);

/// Takes all rows first; then some keys at a time, `None` after the last.
async fn next_folded((rows, mut folding): State) -> Result<Option<(RecordBatch, State)>> {
    if let Some(mut rows) = rows {
        while let Some(batch) = rows.next().await {
            folding.take(canonical_batch(batch?, &folding.layout().input)?)?;
        }
    }
    Ok(folding.next().await?.map(|batch| (batch, (None, folding))))
}

/// Who keys are, by their numbers: place n is about key n.
pub(crate) struct Names {
    pub(crate) texts: StringArray,
    pub(crate) beside: Vec<(Field, ArrayRef)>,
}

/// A fold over columns by their places.
struct Layout {
    input: SchemaRef,
    output: SchemaRef,
    key: usize,
    latest_by: Vec<usize>,
    names: Names,
    picks: Vec<Picking>,
    givers: Option<Giving>,
}

impl Layout {
    fn new(input: &SchemaRef, fold: &Fold, names: Names) -> Result<Self> {
        let key = integer(input, &fold.key)?;
        let latest_by = fold.latest_by.iter().map(|name| time_or_integer(input, name)).collect::<Result<_>>()?;
        let picks = fold.picks.iter().map(|pick| Picking::new(input, pick)).collect::<Result<Vec<_>>>()?;
        let mark = [(UNLIKE_KEY.to_owned(), String::new())];
        let mut fields = vec![Field::new(&fold.key, DataType::Utf8, false).with_metadata(mark.into())];
        for (column, name) in fold.picks.iter().flat_map(|pick| &pick.take) {
            fields.push(input.field_with_name(column)?.clone().with_name(name).with_nullable(true));
        }
        let givers = fold.givers.as_ref().map(|givers| Giving::new(input, givers, picks.len())).transpose()?;
        fields.extend(givers.as_ref().map(|givers| givers.list.clone()));
        fields.extend(names.beside.iter().map(|(field, _)| field.clone()));
        Ok(Self { input: Arc::clone(input), output: Arc::new(Schema::new(fields)), key, latest_by, names, picks, givers })
    }
}

fn integer(schema: &Schema, name: &str) -> Result<usize> {
    typed(schema, name, |kind| *kind == DataType::Int64)
}

fn time_or_integer(schema: &Schema, name: &str) -> Result<usize> {
    typed(schema, name, |kind| matches!(kind, DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _)))
}

fn typed(schema: &Schema, name: &str, fits: impl Fn(&DataType) -> bool) -> Result<usize> {
    let place = schema.index_of(name)?;
    let kind = schema.field(place).data_type();
    if fits(kind) { Ok(place) } else { plan_err!("a fold cannot work with column {name}, which is {kind}") }
}
