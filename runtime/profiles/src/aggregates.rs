//! Aggregates that are one number per profile while rows come: an access to a list, where grouping would hash each row.

use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use arrow::array::{Array as _, ArrayRef, AsArray as _, Decimal128Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type};

use crate::source::TableColumn;

/// What is made of the values of a profile; null without values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Of its rows.
    Count,
    Sum,
    Least,
    Most,
}

const NAMES: [(&str, Aggregate); 4] =
    [("count", Aggregate::Count), ("sum", Aggregate::Sum), ("min", Aggregate::Least), ("max", Aggregate::Most)];

impl Aggregate {
    /// Reads an expression that the lake has printed: the aggregate, and what it is of. `None` for whatever is not one of these,
    /// of all rows or of one column of exact numbers or times.
    pub(crate) fn of<'a>(expression: &'a str, columns: &[TableColumn]) -> Option<(Self, &'a str)> {
        let (name, argument) = expression.strip_suffix(')')?.split_once('(')?;
        let (_, aggregate) = NAMES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        if aggregate == Self::Count {
            return (argument == "*").then_some((aggregate, ""));
        }
        let quoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let is_word = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let named = quoted.or_else(|| Some(argument).filter(|text| is_word(text) && !text.eq_ignore_ascii_case("null")))?;
        let column = columns.iter().find(|column| column.name == named && !column.sealed)?;
        let fits = match column.kind {
            FieldType::Decimal => true,
            FieldType::Integer | FieldType::Timestamp => aggregate != Self::Sum,
            _ => false,
        };
        fits.then_some((aggregate, argument))
    }

    fn with(self, known: i128, value: i128) -> i128 {
        match self {
            Self::Count | Self::Sum => known.saturating_add(value),
            Self::Least => known.min(value),
            Self::Most => known.max(value),
        }
    }
}

/// Aggregates of so many profiles.
pub(crate) struct Aggregates {
    lists: Vec<List>,
}

struct List {
    name: String,
    aggregate: Aggregate,
    /// By profile.
    values: Vec<i128>,
    is_known: Vec<bool>,
    /// Of the values.
    kind: DataType,
}

fn other_shape() -> Error {
    Error::bug("the rows of a trait pass have the columns that it asks for")
}

impl Aggregates {
    pub(crate) fn new(aggregates: &[(String, Aggregate)], profiles: usize) -> Self {
        let list = |(name, aggregate): &(String, Aggregate)| List {
            name: name.clone(),
            aggregate: *aggregate,
            values: vec![0; profiles],
            is_known: vec![false; profiles],
            kind: DataType::Int64,
        };
        Self { lists: aggregates.iter().map(list).collect() }
    }

    /// Takes rows: `_profile`, then what each aggregate but a count is of.
    ///
    /// # Errors
    /// `E0001` for rows of another shape.
    pub(crate) fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let [profiles, values @ ..] = rows.columns() else { return Err(other_shape()) };
        let profiles = profiles.as_primitive_opt::<Int64Type>().ok_or_else(other_shape)?;
        let mut values = values.iter();
        for list in &mut self.lists {
            if list.aggregate == Aggregate::Count {
                list.note(profiles, |_| Some(1))?;
                continue;
            }
            let values = values.next().ok_or_else(other_shape)?;
            list.kind = values.data_type().clone();
            if let Some(numbers) = values.as_primitive_opt::<Decimal128Type>() {
                list.note(profiles, |row| numbers.is_valid(row).then(|| numbers.value(row)))?;
            } else {
                let numbers = cast(values, &DataType::Int64).map_err(|_| other_shape())?;
                let numbers = numbers.as_primitive::<Int64Type>();
                list.note(profiles, |row| numbers.is_valid(row).then(|| numbers.value(row).into()))?;
            }
        }
        Ok(())
    }

    /// A column of each.
    ///
    /// # Errors
    /// `E0001`.
    pub(crate) fn finish(self) -> Result<Vec<(Field, ArrayRef)>> {
        self.lists.into_iter().map(List::finish).collect()
    }
}

impl List {
    fn note(&mut self, profiles: &Int64Array, value: impl Fn(usize) -> Option<i128>) -> Result<()> {
        for (row, profile) in profiles.iter().enumerate() {
            let (Some(profile), Some(value)) = (profile, value(row)) else { continue };
            let place = usize::try_from(profile).map_err(|_| other_shape())?;
            let slot = self.values.get_mut(place).zip(self.is_known.get_mut(place));
            let (known, is_known) = slot.ok_or_else(other_shape)?;
            *known = if *is_known { self.aggregate.with(*known, value) } else { value };
            *is_known = true;
        }
        Ok(())
    }

    fn finish(self) -> Result<(Field, ArrayRef)> {
        let refused = |error: arrow::error::ArrowError| Error::bug(error.to_string());
        let values = || self.values.iter().zip(&self.is_known).map(|(value, is_known)| is_known.then_some(*value));
        let column: ArrayRef = if let DataType::Decimal128(precision, scale) = &self.kind {
            let limit = 10_u128.saturating_pow(u32::from(*precision));
            let fitting = values().map(|value| value.filter(|value| value.unsigned_abs() < limit));
            let numbers = fitting.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale);
            std::sync::Arc::new(numbers.map_err(refused)?)
        } else {
            let numbers: Int64Array = values().map(|value| i64::try_from(value?).ok()).collect();
            cast(&numbers, &self.kind).map_err(refused)?
        };
        Ok((Field::new(self.name, column.data_type().clone(), true), column))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;

    fn column(name: &str, kind: FieldType) -> TableColumn {
        TableColumn { name: name.to_owned(), kind, sealed: false }
    }

    #[test]
    fn an_aggregate_of_rows_or_of_one_column_is_read_and_nothing_else() {
        let columns = [
            column("net", FieldType::Decimal),
            column("at", FieldType::Timestamp),
            column("weight", FieldType::Float),
            column("odd name", FieldType::Integer),
            column("null", FieldType::Decimal),
        ];
        let cases = [
            ("count(*)", Some((Aggregate::Count, ""))),
            ("SUM(net)", Some((Aggregate::Sum, "net"))),
            ("max(at)", Some((Aggregate::Most, "at"))),
            ("min(\"odd name\")", Some((Aggregate::Least, "\"odd name\""))),
            ("sum(\"odd name\")", None),
            ("count(net)", None),
            ("count(DISTINCT net)", None),
            ("sum(DISTINCT net)", None),
            ("sum(weight)", None),
            ("sum(null)", None),
            ("sum(at)", None),
            ("sum(other)", None),
            ("sum(net) + max(net)", None),
            ("sum(net) FILTER (WHERE true)", None),
            ("avg(net)", None),
            ("net", None),
        ];
        for (expression, expected) in cases {
            assert_eq!(Aggregate::of(expression, &columns), expected, "{expression}");
        }
    }

    #[test]
    fn values_come_to_one_number_per_profile_and_null_is_none() {
        let named = |name: &str, aggregate| (name.to_owned(), aggregate);
        let of = [named("n", Aggregate::Count), named("sum", Aggregate::Sum), named("least", Aggregate::Least)];
        let mut aggregates = Aggregates::new(&of, 3);
        let take = |aggregates: &mut Aggregates, profiles: Vec<Option<i64>>, nets: Vec<Option<i128>>, ats: Vec<Option<i64>>| {
            let nets = Decimal128Array::from(nets).with_precision_and_scale(38, 6).unwrap();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(profiles)), Arc::new(nets), Arc::new(Int64Array::from(ats))];
            let fields = columns.iter().map(|column| Field::new("c", column.data_type().clone(), true)).collect::<Vec<_>>();
            aggregates.take(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
        };
        let ten = 10_i128.pow(38) - 1;
        take(&mut aggregates, vec![Some(2), None, Some(0)], vec![Some(5), Some(9), Some(ten)], vec![Some(7), Some(1), None])
            .unwrap();
        take(&mut aggregates, vec![Some(2), Some(2), Some(0)], vec![Some(-1), None, Some(1)], vec![Some(8), Some(6), None])
            .unwrap();
        assert!(take(&mut aggregates, vec![Some(3)], vec![None], vec![None]).is_err(), "a profile beyond the list");

        let found: Vec<ArrayRef> = aggregates.finish().unwrap().into_iter().map(|(_, column)| column).collect();

        let integers = |place: usize| found[place].as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        let sums: Vec<Option<i128>> = found[1].as_primitive::<Decimal128Type>().iter().collect();
        assert_eq!(integers(0), [Some(2), None, Some(3)]);
        assert_eq!(sums, [None, None, Some(4)], "a sum that no decimal holds is none");
        assert_eq!(integers(2), [None, None, Some(6)]);
    }
}
