//! What a trait pass finds, by the number of the profile: an array access where a join would hash.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use affluent_model::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray as _, Decimal128Array, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Decimal128Type, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;

use crate::by_number::by_number;
use crate::snapshot::{PassRows, TraitPass};

/// The table of a pass: row n is about profile n, null where the pass has nothing for it.
pub struct PassTable {
    profiles: usize,
    found: Found,
}

enum Found {
    Values(Values),
    Records(String, Option<Frequencies>),
}

impl PassTable {
    /// An empty table for so many profiles.
    #[must_use]
    pub fn new(pass: &TraitPass, profiles: usize) -> Self {
        let found = match &pass.rows {
            PassRows::Values => Found::Values(Values { batches: Vec::new(), places: vec![(0, 0); profiles] }),
            PassRows::Records(column) => Found::Records(column.clone(), None),
        };
        Self { profiles, found }
    }

    /// Takes rows of the pass, `_profile` first; rows of nobody are left out.
    ///
    /// # Errors
    /// `E0001` for rows of another shape.
    pub fn take(&mut self, rows: RecordBatch) -> Result<()> {
        match &mut self.found {
            Found::Values(values) => values.take(rows),
            Found::Records(_, frequencies) => {
                let [profiles, values, revenues @ ..] = rows.columns() else { return Err(other_shape()) };
                let profiles = profiles.as_primitive_opt::<Int64Type>().ok_or_else(other_shape)?;
                let known = match frequencies.take() {
                    Some(known) => known,
                    None => Frequencies::new(values).map_err(refused)?,
                };
                let revenues = revenues.first().and_then(|column| column.as_primitive_opt::<Decimal128Type>());
                frequencies.insert(known).take(profiles, values, revenues).map_err(refused)
            }
        }
    }

    /// The table.
    ///
    /// # Errors
    /// `E0001` when no rows were taken at all, not even none.
    pub fn finish(self) -> Result<RecordBatch> {
        let columns = match self.found {
            Found::Values(values) => values.finish()?,
            Found::Records(column, frequencies) => {
                let values = frequencies.ok_or_else(other_shape)?.finish(self.profiles).map_err(refused)?;
                vec![(Field::new(column, values.data_type().clone(), true), values)]
            }
        };
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(refused)
    }
}

fn other_shape() -> Error {
    Error::bug("the rows of a trait pass have the columns that it asks for")
}

fn refused(error: ArrowError) -> Error {
    Error::bug(format!("the values of a trait pass fit into columns, yet: {error}"))
}

/// One row per profile at most, in any order.
struct Values {
    batches: Vec<RecordBatch>,
    /// By profile: the number of the batch, from 1, and the row; (0, 0) = none.
    places: Vec<(usize, usize)>,
}

impl Values {
    fn take(&mut self, rows: RecordBatch) -> Result<()> {
        let batch = self.batches.len() + 1;
        let profiles =
            rows.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(other_shape)?;
        for (row, profile) in profiles.iter().enumerate() {
            let Some(profile) = profile else { continue };
            let place = usize::try_from(profile).ok().and_then(|place| self.places.get_mut(place));
            *place.ok_or_else(other_shape)? = (batch, row);
        }
        self.batches.push(rows);
        Ok(())
    }

    fn finish(self) -> Result<Vec<(Field, ArrayRef)>> {
        let schema = self.batches.first().ok_or_else(other_shape)?.schema();
        let columns = schema.fields().iter().enumerate().skip(1).map(|(column, field)| {
            let null = new_null_array(field.data_type(), 1);
            let held = self.batches.iter().filter_map(|batch| batch.columns().get(column)).map(AsRef::as_ref);
            let sources: Vec<&dyn Array> = std::iter::once(null.as_ref()).chain(held).collect();
            let values = interleave(&sources, &self.places).map_err(refused)?;
            Ok((field.as_ref().clone().with_nullable(true), values))
        });
        columns.collect()
    }
}

/// Records of a value, what they are worth together, and the place of the value among all: the greatest wins.
type Best = (usize, i128, Reverse<u32>);

/// How often each profile has which value.
struct Frequencies {
    converter: RowConverter,
    /// Value, in a form whose bytes sort as values do → its number.
    numbers: HashMap<Box<[u8]>, u32, FixedState>,
    /// Profile and number of the value of each record, the profile in the upper half; and what the record is worth.
    records: Vec<(u64, i64)>,
}

impl Frequencies {
    fn new(values: &ArrayRef) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
        Ok(Self { converter, numbers: HashMap::default(), records: Vec::new() })
    }

    fn take(&mut self, profiles: &Int64Array, values: &ArrayRef, revenues: Option<&Decimal128Array>) -> Result<(), ArrowError> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        self.records.reserve(rows.num_rows());
        for (place, (profile, row)) in profiles.iter().zip(rows.iter()).enumerate() {
            let Some(profile) = profile.and_then(|profile| u64::try_from(profile).ok()) else { continue };
            let number = match self.numbers.get(row.as_ref()) {
                Some(number) => *number,
                None => {
                    let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
                    self.numbers.insert(row.as_ref().into(), next);
                    next
                }
            };
            let revenue = revenues.filter(|revenues| revenues.is_valid(place)).map_or(0, |revenues| revenues.value(place));
            let revenue = i64::try_from(revenue).unwrap_or(if revenue < 0 { i64::MIN } else { i64::MAX });
            self.records.push((profile << 32 | u64::from(number), revenue));
        }
        Ok(())
    }

    /// The value with the most records of each profile; ties: the one of more revenue, then the smaller value.
    fn finish(mut self, profiles: usize) -> Result<ArrayRef, ArrowError> {
        let mut sorted: Vec<(Box<[u8]>, u32)> = self.numbers.drain().collect();
        sorted.sort_unstable();
        let mut rank_of = vec![0_u32; sorted.len()];
        for ((_, number), rank) in sorted.iter().zip(0..) {
            if let Some(slot) = usize::try_from(*number).ok().and_then(|number| rank_of.get_mut(number)) {
                *slot = rank;
            }
        }
        let parser = self.converter.parser();
        let values = self.converter.convert_rows(sorted.iter().map(|(value, _)| parser.parse(value)))?;
        let profile_of = |record: &(u64, i64)| u32::try_from(record.0 >> 32).unwrap_or(u32::MAX);
        let mut records = by_number(std::mem::take(&mut self.records), profile_of);
        for of_profile in records.chunk_by_mut(|one, other| profile_of(one) == profile_of(other)) {
            of_profile.sort_unstable_by_key(|(record, _)| *record);
        }
        let mut best: Vec<Option<Best>> = vec![None; profiles];
        for run in records.chunk_by(|one, other| one.0 == other.0) {
            let Some((record, _)) = run.first() else { continue };
            let place = usize::try_from(record >> 32).ok().and_then(|profile| best.get_mut(profile));
            let number = usize::try_from(record & u64::from(u32::MAX)).ok();
            let (Some(best), Some(rank)) = (place, number.and_then(|number| rank_of.get(number))) else { continue };
            let revenue = run.iter().map(|(_, revenue)| i128::from(*revenue)).sum();
            *best = (*best).max(Some((run.len(), revenue, Reverse(*rank))));
        }
        let ranks: UInt32Array = best.into_iter().map(|best| best.map(|(_, _, Reverse(rank))| rank)).collect();
        let Some(values) = values.first() else { return Err(ArrowError::ComputeError("a column was converted".to_owned())) };
        take(values, &ranks, None)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::DataType;

    use super::*;

    fn batch(profiles: &[i64], values: ArrayRef) -> RecordBatch {
        let fields = vec![Field::new("_profile", DataType::Int64, false), Field::new("value", values.data_type().clone(), true)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(Int64Array::from(profiles.to_vec())), values]).unwrap()
    }

    fn table(rows: PassRows, batches: Vec<RecordBatch>) -> RecordBatch {
        let mut table = PassTable::new(&TraitPass { sql: String::new(), rows, table: "t".to_owned(), oldest: None }, 4);
        for rows in batches {
            table.take(rows).unwrap();
        }
        table.finish().unwrap()
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn values_stand_at_the_number_of_their_profile() {
        let found = table(PassRows::Values, vec![batch(&[2, 0], texts(&["c", "a"])), batch(&[3], texts(&["d"]))]);

        let expected = StringArray::from(vec![Some("a"), None, Some("c"), Some("d")]);
        assert_eq!(found.column(0).as_string::<i32>(), &expected);
    }

    #[test]
    fn what_belongs_to_nobody_is_left_out() {
        let nobody = || {
            let profiles = Int64Array::from(vec![None, Some(1)]);
            let fields = vec![Field::new("_profile", DataType::Int64, true), Field::new("value", DataType::Utf8, true)];
            RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(profiles), texts(&["x", "y"])]).unwrap()
        };
        for rows in [PassRows::Values, PassRows::Records("top".to_owned())] {
            let expected = StringArray::from(vec![None, Some("y"), None, None]);
            assert_eq!(table(rows, vec![nobody()]).column(0).as_string::<i32>(), &expected);
        }
    }

    #[test]
    fn a_profile_beyond_the_table_is_refused() {
        let pass = TraitPass { sql: String::new(), rows: PassRows::Values, table: "t".to_owned(), oldest: None };
        assert!(PassTable::new(&pass, 1).take(batch(&[1], texts(&["x"]))).is_err());
    }

    #[test]
    fn the_value_with_the_most_records_is_the_most_frequent_and_the_smaller_of_equals() {
        let first = batch(&[0, 0, 0, 2, 2, 3], texts(&["b", "a", "b", "z", "y", "q"]));
        let second = batch(&[0, 0, 2], texts(&["c", "c", "x"]));

        let found = table(PassRows::Records("top".to_owned()), vec![first, second]);

        let expected = StringArray::from(vec![Some("b"), None, Some("x"), Some("q")]);
        assert_eq!((found.schema().field(0).name().as_str(), found.column(0).as_string::<i32>()), ("top", &expected));
    }

    #[test]
    fn numbers_are_smaller_as_numbers_are_not_as_texts() {
        let found = table(PassRows::Records("top".to_owned()), vec![batch(&[1, 1], Arc::new(Int64Array::from(vec![10, 9])))]);

        assert_eq!(found.column(0).as_primitive::<Int64Type>(), &Int64Array::from(vec![None, Some(9), None, None]));
    }

    #[test]
    fn a_pass_without_rows_has_a_table_without_values() {
        let none = batch(&[], texts(&[]));

        for rows in [PassRows::Values, PassRows::Records("top".to_owned())] {
            let found = table(rows, vec![none.clone()]);
            assert_eq!((found.num_rows(), found.column(0).null_count()), (4, 4));
        }
    }
}
