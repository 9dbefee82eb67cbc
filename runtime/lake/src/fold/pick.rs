//! Which row of a key is taken.

use std::collections::BTreeMap;

use affluent_model::fold::{Choose, Pick, Ranks, When};
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::common::{DataFusionError, Result, plan_err};

use super::combine::Combined;
use super::weigh::{Weighed, Weighing};
use super::{integer, typed};

/// A pick over columns by their places.
pub(super) struct Picking {
    when: Qualifies,
    ranks: Option<(usize, BTreeMap<i64, usize>)>,
    /// `None` = the first row of the best rank.
    weighing: Option<Weighing>,
    pub(super) take: Vec<usize>,
}

enum Qualifies {
    NotNull(usize),
    NotEmpty(usize),
    Equals(usize, i64),
}

/// The rows of a batch that qualify for a pick; `None` = all.
pub(super) struct Qualifying(Option<BooleanBuffer>);

impl Qualifying {
    pub(super) fn has(&self, row: usize) -> bool {
        self.0.as_ref().is_none_or(|rows| rows.value(row))
    }
}

/// A row by its batch among those at hand and its place in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    pub(super) batch: usize,
    pub(super) row: usize,
    pub(super) rank: usize,
}

/// What was chosen of the open key so far.
#[derive(Default)]
pub(super) struct Open {
    chosen: Option<Chosen>,
    weighed: Weighed,
}

impl Picking {
    /// # Errors
    /// When a column is missing or has a type that the pick cannot work with.
    pub(super) fn new(input: &Schema, pick: &Pick) -> Result<Self> {
        let when = match &pick.when {
            When::NotNull(name) => Qualifies::NotNull(input.index_of(name)?),
            When::NotEmpty(name) => Qualifies::NotEmpty(typed(input, name, |kind| *kind == DataType::Utf8)?),
            When::Equals(name, value) => Qualifies::Equals(integer(input, name)?, *value),
        };
        let ranks = match &pick.ranks {
            Some(Ranks { column, rank_of }) => Some((integer(input, column)?, rank_of.clone())),
            None => None,
        };
        let weighing = match (pick.choose, &when) {
            (Choose::First, _) => None,
            (choose, Qualifies::NotNull(place) | Qualifies::NotEmpty(place)) => {
                Some(Weighing::new(choose, *place, input.field(*place).data_type())?)
            }
            (choose, Qualifies::Equals(..)) => return plan_err!("a pick by {choose:?} weighs the column that is not null"),
        };
        let take = pick.take.iter().map(|(column, _)| Ok(input.index_of(column)?)).collect::<Result<_>>()?;
        Ok(Self { when, ranks, weighing, take })
    }

    pub(super) fn combines(&self) -> bool {
        self.weighing.is_some_and(Weighing::combines)
    }

    /// True for the column whose values are combined.
    pub(super) fn combines_column(&self, column: usize) -> bool {
        self.weighing.is_some_and(|weighing| weighing.combines() && weighing.column() == column)
    }

    /// Which rows of a batch qualify.
    ///
    /// # Errors
    /// When the batch lacks the column, or it has another type.
    pub(super) fn qualifying(&self, columns: &[ArrayRef]) -> Result<Qualifying> {
        let column = |place: usize| columns.get(place).ok_or_else(missing_column);
        Ok(Qualifying(match &self.when {
            Qualifies::NotNull(place) => column(*place)?.nulls().map(|nulls| nulls.inner().clone()),
            Qualifies::NotEmpty(place) => {
                let texts = column(*place)?.as_string_opt::<i32>().ok_or_else(missing_column)?;
                let is_filled = |row| texts.is_valid(row) && !texts.value(row).is_empty();
                Some(BooleanBuffer::collect_bool(texts.len(), is_filled))
            }
            Qualifies::Equals(place, wanted) => {
                let values = column(*place)?.as_primitive_opt::<Int64Type>().ok_or_else(missing_column)?;
                Some(BooleanBuffer::collect_bool(values.len(), |row| values.is_valid(row) && values.value(row) == *wanted))
            }
        }))
    }

    /// Takes the next row of the open key, which qualifies.
    pub(super) fn offer(&self, columns: &[ArrayRef], (batch, row): (usize, usize), open: &mut Open) -> Result<()> {
        match self.weighing {
            None if open.chosen.is_some_and(|chosen| chosen.rank == 0) => {}
            None => {
                let offered = self.ranked(columns, batch, row)?;
                if open.chosen.is_none_or(|chosen| offered.rank < chosen.rank) {
                    open.chosen = Some(offered);
                }
            }
            Some(weighing) => weighing.offer(columns, self.ranked(columns, batch, row)?, &mut open.weighed)?,
        }
        Ok(())
    }

    /// The row with its rank.
    fn ranked(&self, columns: &[ArrayRef], batch: usize, row: usize) -> Result<Chosen> {
        let rank = match &self.ranks {
            None => 0,
            Some((column, rank_of)) => {
                let value = integer_at(columns, *column, row).ok_or_else(missing_column)?;
                value.and_then(|value| rank_of.get(&value)).copied().unwrap_or(usize::MAX)
            }
        };
        Ok(Chosen { batch, row, rank })
    }
}

impl Open {
    /// The key is complete: the row that was chosen, and what was combined. The next key begins with nothing.
    pub(super) fn close(&mut self) -> (Option<Chosen>, Option<Combined>) {
        let combined = self.weighed.take_combined();
        (self.chosen.take().or_else(|| self.weighed.take()), combined)
    }
}

fn integer_at(columns: &[ArrayRef], column: usize, row: usize) -> Option<Option<i64>> {
    let values = columns.get(column)?.as_primitive_opt::<Int64Type>()?;
    Some(values.is_valid(row).then(|| values.value(row)))
}

pub(super) fn missing_column() -> DataFusionError {
    DataFusionError::Internal("a batch has the columns that its fold was planned for".to_owned())
}
