//! The answers to calls of segments, by the number of the profile.

use affluent_model::{Error, Result};
use arrow::array::{Array as _, AsArray as _, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::expiries::Expiries;

/// No answer for the profile: what a list of numbers in the lake has for null.
pub const NONE: u32 = u32::MAX;

fn other_shape() -> Error {
    Error::bug("the rows of a pass have the columns that it asks for")
}

fn profiles_of(rows: &RecordBatch) -> Result<&Int64Array> {
    rows.column_by_name("_profile").and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(other_shape)
}

fn values_of(rows: &RecordBatch) -> Result<&BinaryArray> {
    rows.column_by_name("value").and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(other_shape)
}

/// The place of each row's profile; `None` for nobody.
fn places(profiles: &Int64Array) -> impl Iterator<Item = Option<usize>> {
    profiles.iter().map(|profile| profile.and_then(|profile| usize::try_from(profile).ok()))
}

/// How many records of each profile a call counts; [`NONE`] for none.
pub struct CallCounts {
    /// Per call.
    counts: Vec<Vec<u32>>,
    /// Per call, how long records count, milliseconds.
    windows: Vec<Option<u64>>,
}

impl CallCounts {
    /// Counts of calls with these windows for so many profiles.
    #[must_use]
    pub fn new(windows: Vec<Option<u64>>, profiles: usize) -> Self {
        Self { counts: vec![vec![NONE; profiles]; windows.len()], windows }
    }

    /// Takes rows of the pass: `_profile`, then a truth value per call, then, where a call has a window, `_at`.
    ///
    /// # Errors
    /// `E0001` for rows of another shape.
    pub fn take(&mut self, rows: &RecordBatch, expiries: &mut Expiries) -> Result<()> {
        let profiles = profiles_of(rows)?;
        let times = rows.column_by_name(EVENT_TIME).and_then(|column| column.as_primitive_opt::<Int64Type>());
        for ((counts, window), column) in self.counts.iter_mut().zip(&self.windows).zip(rows.columns().iter().skip(1)) {
            let is_counted = column.as_boolean_opt().ok_or_else(other_shape)?;
            let window = window.map(|window_ms| times.map(|times| (window_ms, times)).ok_or_else(other_shape)).transpose()?;
            for (row, place) in places(profiles).enumerate() {
                let Some(place) = place.filter(|_| is_counted.is_valid(row) && is_counted.value(row)) else { continue };
                let count = counts.get_mut(place).ok_or_else(other_shape)?;
                *count = if *count == NONE { 1 } else { count.saturating_add(1).min(NONE - 1) };
                if let Some((window_ms, times)) = window.filter(|(_, times)| times.is_valid(row)) {
                    expiries.note_window(place, times.value(row), window_ms);
                }
            }
        }
        Ok(())
    }

    /// Per call, the count of each profile.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u32>> {
        self.counts
    }
}

/// Column of a pass with the time of its records, microseconds UTC.
pub(crate) const EVENT_TIME: &str = "_at";

/// The strictest word that was said for the identifiers of each profile, by its rank; [`NONE`] where nothing was said. What
/// is said and who carries it are sorted lists that are walked side by side: a table by hash would miss the cache at every
/// look.
pub struct StrictestWords {
    words: Vec<u32>,
    /// Of the kind at hand: value, reach, last word with its time.
    said: Vec<(u128, i64, i64)>,
    /// Of the kind at hand: value, when what is said of it next changes by itself.
    turns: Vec<(u128, i64)>,
    /// Value, place of a profile.
    carriers: Vec<(u128, u32)>,
}

/// A blind index as a number: its last 16 bytes, which are all that tell two apart.
fn number_of(value: &[u8]) -> u128 {
    let tail = value.get(value.len().saturating_sub(16)..).unwrap_or(value);
    tail.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

impl StrictestWords {
    /// Words for so many profiles.
    #[must_use]
    pub fn new(profiles: usize) -> Self {
        Self { words: vec![NONE; profiles], said: Vec::new(), turns: Vec::new(), carriers: Vec::new() }
    }

    /// Takes statements about values of a kind.
    ///
    /// # Errors
    /// `E0001` for rows of another shape.
    pub fn take_said(&mut self, rows: &RecordBatch) -> Result<()> {
        let integers = |name: &str| {
            rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(other_shape)
        };
        let (values, reaches, lasts, turns) = (values_of(rows)?, integers("reach")?, integers("last")?, integers("turns")?);
        let said = values.iter().zip(reaches.values()).zip(lasts.values());
        self.said.extend(said.filter_map(|((value, reach), last)| Some((number_of(value?), *reach, *last))));
        let turns = values.iter().zip(turns).filter_map(|(value, turns)| Some((number_of(value?), turns?)));
        self.turns.extend(turns);
        Ok(())
    }

    /// Takes the profiles that carry values of the kind.
    ///
    /// # Errors
    /// `E0001` for rows of another shape.
    pub fn take_carriers(&mut self, rows: &RecordBatch) -> Result<()> {
        for (place, value) in places(profiles_of(rows)?).zip(values_of(rows)?) {
            let (Some(place), Some(value)) = (place, value) else { continue };
            let place = u32::try_from(place).ok().filter(|_| place < self.words.len()).ok_or_else(other_shape)?;
            self.carriers.push((number_of(value), place));
        }
        Ok(())
    }

    /// All of the kind was taken: its words go to the profiles.
    pub fn settle(&mut self, expiries: &mut Expiries) {
        self.said.sort_unstable();
        self.carriers.sort_unstable();
        let mut carriers = self.carriers.iter().peekable();
        for of_value in self.said.chunk_by(|one, other| one.0 == other.0) {
            let Some((value, _, _)) = of_value.first() else { continue };
            // Of each reach the last word counts, and of those the strictest.
            let lasts = of_value.chunk_by(|one, other| one.1 == other.1).filter_map(|of_reach| of_reach.last());
            let Some(word) = lasts.filter_map(|(_, _, last)| u32::try_from(last & 3).ok()).max() else { continue };
            while carriers.next_if(|(other, _)| other < value).is_some() {}
            while let Some((_, place)) = carriers.next_if(|(other, _)| other == value) {
                let known = usize::try_from(*place).ok().and_then(|place| self.words.get_mut(place));
                if let Some(known) = known {
                    *known = if *known == NONE { word } else { word.max(*known) };
                }
            }
        }
        self.note_turns(expiries);
        self.said.clear();
        self.turns.clear();
        self.carriers.clear();
    }

    fn note_turns(&mut self, expiries: &mut Expiries) {
        for (value, at_us) in &self.turns {
            let first = self.carriers.partition_point(|(other, _)| other < value);
            let carriers = self.carriers.iter().skip(first).take_while(|(other, _)| other == value);
            carriers.filter_map(|(_, place)| usize::try_from(*place).ok()).for_each(|place| expiries.note(place, *at_us));
        }
    }

    /// The word of each profile.
    #[must_use]
    pub fn finish(self) -> Vec<u32> {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<Field> =
            columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, values)| values).collect()).unwrap()
    }

    fn numbers(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn each_call_counts_its_own_records_and_nobody_has_none() {
        let profiles: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), None, Some(0), Some(2)]));
        let first: ArrayRef = Arc::new(BooleanArray::from(vec![true, true, true, true]));
        let second: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None]));
        let at = numbers(&[5_000, 1_000, 7_000, 6_000]);
        let (mut counts, mut expiries) = (CallCounts::new(vec![Some(2), None], 3), Expiries::new(3));

        counts.take(&batch(vec![("_profile", profiles), ("a", first), ("b", second), ("_at", at)]), &mut expiries).unwrap();

        assert_eq!(counts.finish(), [[1, NONE, 2], [NONE, NONE, 1]]);
        assert_eq!(expiries.iter().collect::<Vec<_>>(), [(0, 9_000), (2, 7_000)], "the first record that leaves its window");
    }

    #[test]
    fn of_each_reach_the_last_word_counts_and_of_those_the_strictest() {
        // (value, reach, time, rank)
        let said = [(b'a', 0, 1, 3), (b'a', 0, 2, 0), (b'b', 0, 1, 0), (b'b', 1, 0, 3), (b'c', 0, 5, 0), (b'c', 0, 5, 3)];
        let values: ArrayRef = Arc::new(BinaryArray::from_iter_values(said.iter().map(|(value, _, _, _)| [*value])));
        let reaches = numbers(&said.map(|(_, reach, _, _)| reach));
        let lasts = numbers(&said.map(|(_, _, time, rank)| time * 4 + rank));
        let carriers: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"a", b"b", b"c", b"d", b"a"]));
        let turns: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(9), Some(8), Some(7), None, None]));
        let (mut words, mut expiries) = (StrictestWords::new(5), Expiries::new(5));

        words.take_said(&batch(vec![("value", values), ("reach", reaches), ("last", lasts), ("turns", turns)])).unwrap();
        words.take_carriers(&batch(vec![("_profile", numbers(&[0, 1, 2, 3, 1])), ("value", carriers)])).unwrap();
        words.settle(&mut expiries);

        assert_eq!(words.finish(), [0, 3, 3, NONE, NONE]);
        assert_eq!(expiries.iter().collect::<Vec<_>>(), [(0, 9), (1, 7)]);
    }
}
