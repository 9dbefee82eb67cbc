//! Choosing a row by its value instead of its place: the first one, the last one, the least, the most, the longest, the most
//! frequent, the strictest value of a key. Only picks that ask for it pay for it.

use std::cmp::Ordering;

use affluent_model::consent::ConsentWord;
use affluent_model::fold::Choose;
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, plan_err};

use super::combine::{Combined, can_combine};
use super::pick::{Chosen, missing_column};

/// A value that can be compared with others of its column.
#[derive(Debug, Clone, PartialEq)]
enum Weight {
    Number(i128),
    Float(f64),
    Text(String),
}

impl Weight {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

/// How a pick weighs rows: by which column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing {
    choose: Choose,
    column: usize,
}

/// What was seen of the open key.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    /// Values with the rows they are chosen by; more than one only where they are counted.
    candidates: Vec<(Weight, u64, Chosen)>,
    combined: Option<Combined>,
}

impl Weighing {
    /// # Errors
    /// When the column's values cannot be weighed so.
    pub(super) fn new(choose: Choose, column: usize, kind: &DataType) -> Result<Self> {
        let fits = match choose {
            Choose::First | Choose::Last => true,
            Choose::Longest => *kind == DataType::Utf8,
            Choose::Strictest => matches!(kind, DataType::Boolean | DataType::Utf8),
            Choose::Sum | Choose::Union | Choose::UnionOfLists => can_combine(choose, kind),
            Choose::Least | Choose::Most | Choose::MostFrequent => is_comparable(kind),
        };
        if !fits {
            return plan_err!("values of type {kind} cannot be weighed by {choose:?}");
        }
        Ok(Self { choose, column })
    }

    pub(super) fn combines(self) -> bool {
        self.choose.combines()
    }

    pub(super) fn column(self) -> usize {
        self.column
    }

    /// Takes a row that qualifies; rows of a worse rank than one before have no part.
    pub(super) fn offer(self, columns: &[ArrayRef], row: Chosen, weighed: &mut Weighed) -> Result<()> {
        let best = weighed.candidates.first().map(|(_, _, chosen)| chosen.rank);
        match best.map(|best| row.rank.cmp(&best)) {
            Some(Ordering::Greater) => return Ok(()),
            Some(Ordering::Less) => {
                weighed.candidates.clear();
                weighed.combined = None;
            }
            _ => {}
        }
        let values = columns.get(self.column).ok_or_else(missing_column)?;
        if self.combines() {
            weighed.combined = Some(Combined::with(weighed.combined.take(), self.choose, values, row.row));
            if weighed.candidates.is_empty() {
                weighed.candidates.push((Weight::Number(0), 1, row));
            }
            return Ok(());
        }
        let weight = self.weight(values, row.row);
        if self.choose == Choose::MostFrequent {
            match weighed.candidates.iter_mut().find(|(known, _, _)| *known == weight) {
                Some((_, rows, _)) => *rows += 1,
                None => weighed.candidates.push((weight, 1, row)),
            }
            return Ok(());
        }
        let wins = weighed.candidates.first().is_none_or(|(known, _, _)| match self.choose {
            Choose::Last => true,
            Choose::Least | Choose::Strictest => weight.order(known) == Ordering::Less,
            _ => weight.order(known) == Ordering::Greater,
        });
        if wins {
            weighed.candidates.clear();
            weighed.candidates.push((weight, 1, row));
        }
        Ok(())
    }

    fn weight(self, values: &ArrayRef, row: usize) -> Weight {
        match values.data_type() {
            _ if self.choose == Choose::Last => Weight::Number(0),
            DataType::Utf8 if self.choose == Choose::Longest => {
                let letters = values.as_string::<i32>().value(row).chars().count();
                Weight::Number(i128::try_from(letters).unwrap_or(i128::MAX))
            }
            DataType::Utf8 if self.choose == Choose::Strictest => {
                Weight::Number(-i128::from(said(values.as_string::<i32>().value(row)).rank()))
            }
            DataType::Utf8 => Weight::Text(values.as_string::<i32>().value(row).to_owned()),
            DataType::Boolean => Weight::Number(values.as_boolean().value(row).into()),
            DataType::Int64 => Weight::Number(values.as_primitive::<Int64Type>().value(row).into()),
            DataType::Date32 => Weight::Number(values.as_primitive::<Date32Type>().value(row).into()),
            DataType::Timestamp(_, _) => Weight::Number(values.as_primitive::<TimestampMicrosecondType>().value(row).into()),
            DataType::Decimal128(_, _) => Weight::Number(values.as_primitive::<Decimal128Type>().value(row)),
            _ => Weight::Float(values.as_primitive::<Float64Type>().value(row)),
        }
    }
}

/// What a word says; one that is none of those of consent is a no.
fn said(word: &str) -> ConsentWord {
    let word = word.trim();
    let known = ConsentWord::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word));
    known.unwrap_or(ConsentWord::Denied)
}

impl Weighed {
    /// What was combined of the closed key.
    pub(super) fn take_combined(&mut self) -> Option<Combined> {
        self.combined.take()
    }

    /// The row of the closed key; of values as frequent as each other the one that came first.
    pub(super) fn take(&mut self) -> Option<Chosen> {
        let most = self.candidates.iter().map(|(_, rows, _)| *rows).max()?;
        let chosen = self.candidates.iter().find(|(_, rows, _)| *rows == most).map(|(_, _, chosen)| *chosen);
        self.candidates.clear();
        chosen
    }
}

fn is_comparable(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Utf8
            | DataType::Boolean
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Decimal128(_, _)
            | DataType::Float64
    )
}
