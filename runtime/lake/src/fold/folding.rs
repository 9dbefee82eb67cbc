//! One range of keys after the other: its rows in order, of each key what is picked, and the picked rows copied together.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{Result, internal_err};

use super::Layout;
use super::combine::{self, Combined};
use super::given::Given;
use super::pick::{Chosen, Open, Qualifying, missing_column};
use super::ranges::Ranges;
use crate::limits::QUERY_BATCH_ROWS;

/// A fold under way.
pub(super) struct Folding {
    layout: Arc<Layout>,
    ranges: Ranges,
    /// The range at hand, until its keys are gone through.
    at_hand: Option<AtHand>,
}

/// The rows of a range.
struct AtHand {
    batches: Vec<RecordBatch>,
    /// Of each batch, by picks.
    qualifying: Vec<Vec<Qualifying>>,
    rows: InOrder,
    /// The keys that are left.
    keys: Range<usize>,
}

impl Folding {
    pub(super) fn new(layout: Arc<Layout>, ranges: Ranges) -> Self {
        Self { layout, ranges, at_hand: None }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes rows; [`Folding::next`] wants all of them.
    ///
    /// # Errors
    /// As [`Ranges::take`].
    pub(super) fn take(&mut self, rows: RecordBatch) -> Result<()> {
        self.ranges.take(rows)
    }

    /// The next keys; `None` after the last.
    ///
    /// # Errors
    /// As [`Ranges::next`], and for rows of another shape.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut at_hand = match self.at_hand.take() {
            Some(at_hand) => at_hand,
            None => {
                let Some((keys, batches)) = self.ranges.next().await? else { return Ok(None) };
                let of_batch = |batch: &RecordBatch| {
                    self.layout.picks.iter().map(|pick| pick.qualifying(batch.columns())).collect::<Result<Vec<_>>>()
                };
                let qualifying = batches.iter().map(of_batch).collect::<Result<_>>()?;
                AtHand { rows: InOrder::of(&batches, &self.layout, keys.clone())?, batches, qualifying, keys }
            }
        };
        let end = at_hand.keys.end.min(at_hand.keys.start + QUERY_BATCH_ROWS);
        let folded = at_hand.folded(&self.layout, at_hand.keys.start..end)?;
        at_hand.keys.start = end;
        self.at_hand = Some(at_hand).filter(|at_hand| !at_hand.keys.is_empty());
        Ok(Some(folded))
    }
}

/// Rows, by their batch and place, in the order of keys and within a key the latest first.
struct InOrder {
    first_key: usize,
    /// Of each key where its rows begin; one more for the end.
    starts: Vec<usize>,
    rows: Vec<(u32, u32)>,
}

impl InOrder {
    fn of(batches: &[RecordBatch], layout: &Layout, keys: Range<usize>) -> Result<Self> {
        let mut columns = Vec::with_capacity(batches.len());
        for batch in batches {
            let Some(keys) = batch.columns().get(layout.key).and_then(|keys| keys.as_primitive_opt::<Int64Type>()) else {
                return internal_err!("a batch has the column of keys");
            };
            columns.push(keys);
        }
        let mut starts = vec![0_usize; keys.len() + 1];
        for key in columns.iter().flat_map(|column| column.iter().flatten()) {
            match place_of(key, &keys).and_then(|place| starts.get_mut(place + 1)) {
                Some(count) => *count += 1,
                None => return internal_err!("a key is a number that has a name"),
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        let mut rows = vec![(0, 0); before];
        let mut next = starts.clone();
        for (batch, column) in (0..).zip(&columns) {
            for (row, key) in (0..).zip(column.iter()) {
                let Some(next) = key.and_then(|key| next.get_mut(place_of(key, &keys)?)) else { continue };
                if let Some(slot) = rows.get_mut(*next) {
                    *slot = (batch, row);
                }
                *next += 1;
            }
        }
        let mut in_order = Self { first_key: keys.start, starts, rows };
        in_order.put_latest_first(batches, layout)?;
        Ok(in_order)
    }

    fn put_latest_first(&mut self, batches: &[RecordBatch], layout: &Layout) -> Result<()> {
        let columns = batches.iter().flat_map(|batch| layout.latest_by.iter().map(|place| latest_by(batch, *place)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let values = |batch: u32| columns.chunks(layout.latest_by.len().max(1)).nth(usize::try_from(batch).unwrap_or(usize::MAX));
        let order = |one: &(u32, u32), other: &(u32, u32)| {
            let (ones, others) = (values(one.0).unwrap_or_default(), values(other.0).unwrap_or_default());
            let pairs = ones.iter().zip(others).map(|(ones, others)| value(others, other.1).cmp(&value(ones, one.1)));
            pairs.fold(Ordering::Equal, Ordering::then)
        };
        for bounds in self.starts.windows(2) {
            let [start, end] = bounds else { continue };
            if let Some(of_key) = self.rows.get_mut(*start..*end).filter(|of_key| of_key.len() > 1) {
                of_key.sort_by(order);
            }
        }
        Ok(())
    }

    fn of_key(&self, key: usize) -> &[(u32, u32)] {
        let bounds =
            key.checked_sub(self.first_key).and_then(|place| Some((*self.starts.get(place)?, *self.starts.get(place + 1)?)));
        bounds.and_then(|(start, end)| self.rows.get(start..end)).unwrap_or_default()
    }
}

/// The place of a key among these.
fn place_of(key: i64, keys: &Range<usize>) -> Option<usize> {
    usize::try_from(key).ok()?.checked_sub(keys.start).filter(|place| *place < keys.len())
}

/// Integers or times as they are compared.
fn latest_by(batch: &RecordBatch, place: usize) -> Result<Int64Array> {
    let column = batch.columns().get(place).ok_or_else(missing_column)?;
    let times = column.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.reinterpret_cast::<Int64Type>());
    times.or_else(|| column.as_primitive_opt::<Int64Type>().cloned()).ok_or_else(missing_column)
}

/// `None`, which is less than all others, for null.
fn value(values: &Int64Array, row: u32) -> Option<i64> {
    usize::try_from(row).ok().filter(|row| values.is_valid(*row)).map(|row| values.value(row))
}

impl AtHand {
    /// What is picked of the rows of some keys.
    fn folded(&self, layout: &Layout, keys: Range<usize>) -> Result<RecordBatch> {
        let picks = layout.picks.len();
        let mut open: Vec<Open> = std::iter::repeat_with(Open::default).take(picks).collect();
        let mut chosen: Vec<Vec<Option<Chosen>>> = vec![Vec::new(); picks];
        let mut combined: Vec<Vec<Option<Combined>>> = vec![Vec::new(); picks];
        let mut given = layout.givers.as_ref().map(|giving| (giving, Given::default()));
        for key in keys.clone() {
            for (batch, row) in self.rows.of_key(key) {
                let place = (usize::try_from(*batch).unwrap_or(usize::MAX), usize::try_from(*row).unwrap_or(usize::MAX));
                let columns = self.batches.get(place.0).map(RecordBatch::columns).ok_or_else(missing_column)?;
                let picks = layout.picks.iter().zip(self.qualifying.get(place.0).into_iter().flatten());
                for ((pick, _), open) in picks.zip(&mut open).filter(|((_, qualifying), _)| qualifying.has(place.1)) {
                    pick.offer(columns, place, open)?;
                }
            }
            let finished = chosen.iter_mut().zip(&mut combined).zip(&layout.picks);
            for (((chosen, combined), pick), open) in finished.zip(&mut open) {
                let (row, made) = open.close();
                chosen.push(row);
                combined.extend(pick.combines().then_some(made));
            }
            if let Some((giving, given)) = &mut given {
                given.add(giving, chosen.iter().map(|chosen| chosen.last().copied().flatten()));
            }
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(layout.names.texts.slice(keys.start, keys.len()))];
        for ((pick, chosen), combined) in layout.picks.iter().zip(&chosen).zip(&combined) {
            for place in &pick.take {
                columns.push(if pick.combines_column(*place) {
                    combine::column(combined, column_type(layout, *place)?)?
                } else {
                    self.gathered(layout, *place, chosen)?
                });
            }
        }
        if let Some((giving, given)) = given {
            columns.push(given.finish(giving, |place, rows| self.gathered(layout, place, rows))?);
        }
        columns.extend(layout.names.beside.iter().map(|(_, values)| values.slice(keys.start, keys.len())));
        let options = RecordBatchOptions::new().with_row_count(Some(keys.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&layout.output), columns, &options)?)
    }

    /// Values of a column; null where no row was chosen.
    fn gathered(&self, layout: &Layout, column: usize, chosen: &[Option<Chosen>]) -> Result<ArrayRef> {
        let null = new_null_array(column_type(layout, column)?, 1);
        let held = self.batches.iter().filter_map(|batch| batch.columns().get(column)).map(AsRef::as_ref);
        // Where a null is among the sources, each value is asked whether it is one.
        let is_any_missing = chosen.iter().any(Option::is_none);
        let sources: Vec<&dyn Array> = held.chain(is_any_missing.then_some(null.as_ref())).collect();
        let none = (self.batches.len(), 0);
        let rows = chosen.iter().map(|chosen| chosen.map_or(none, |chosen| (chosen.batch, chosen.row)));
        let rows: Vec<(usize, usize)> = rows.collect();
        Ok(if rows.is_empty() { null.slice(0, 0) } else { interleave(&sources, &rows)? })
    }
}

fn column_type(layout: &Layout, column: usize) -> Result<&DataType> {
    let field = layout.input.fields().get(column).ok_or_else(missing_column)?;
    Ok(field.data_type())
}
