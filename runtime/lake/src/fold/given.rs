//! The rows of each key that something was taken of, as a list.

use std::sync::Arc;

use affluent_model::fold::Givers;
use arrow::array::{ArrayRef, BinaryArray, ListArray, StructArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::{Result, exec_err};

use super::pick::Chosen;

/// Which columns the list has.
pub(super) struct Giving {
    /// Places of the columns that are taken.
    take: Vec<usize>,
    /// Of the structs; the last one says what a row gave.
    fields: Fields,
    pub(super) list: Field,
    /// Bytes that hold a bit for each pick.
    width: usize,
}

impl Giving {
    /// # Errors
    /// When the rows lack a column.
    pub(super) fn new(input: &Schema, givers: &Givers, picks: usize) -> Result<Self> {
        let places = givers.take.iter().map(|(column, _)| Ok(input.index_of(column)?)).collect::<Result<Vec<_>>>()?;
        let named = givers.take.iter().zip(&places);
        let taken = named.map(|((_, name), place)| Field::new(name, input.field(*place).data_type().clone(), true));
        let fields: Fields = taken.chain([Field::new(&givers.gives, DataType::Binary, true)]).collect();
        let item = Field::new_list_field(DataType::Struct(fields.clone()), true);
        let metadata = givers.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let list = Field::new(&givers.column, DataType::List(Arc::new(item)), true).with_metadata(metadata);
        Ok(Self { take: places, fields, list, width: picks.div_ceil(8) })
    }
}

/// What is known of the keys so far.
#[derive(Default)]
pub(super) struct Given {
    /// The rows that give something, those of one key together.
    rows: Vec<Option<Chosen>>,
    /// Of each row which picks it gives, in so many bytes as these need.
    bits: Vec<u8>,
    /// How many rows there were at the end of each key.
    ends: Vec<usize>,
}

impl Given {
    /// Takes the next key: what was chosen for each pick.
    pub(super) fn add(&mut self, giving: &Giving, chosen: impl Iterator<Item = Option<Chosen>>) {
        let first = self.ends.last().copied().unwrap_or_default();
        for (pick, chosen) in chosen.enumerate().filter_map(|(pick, chosen)| Some((pick, chosen?))) {
            let is_known = |row: &Option<Chosen>| row.is_some_and(|row| (row.batch, row.row) == (chosen.batch, chosen.row));
            let known = self.rows.iter().skip(first).position(is_known).map(|place| first + place);
            let place = known.unwrap_or(self.rows.len());
            if known.is_none() {
                self.rows.push(Some(chosen));
                self.bits.resize(self.rows.len() * giving.width, 0);
            }
            if let Some(byte) = self.bits.get_mut(place * giving.width + pick / 8) {
                *byte |= 1 << (pick % 8);
            }
        }
        self.ends.push(self.rows.len());
    }

    /// The list of each key; `gather` copies values of a column together.
    ///
    /// # Errors
    /// What `gather` returns, and for more bytes than a column holds.
    pub(super) fn finish(
        self,
        giving: &Giving,
        gather: impl Fn(usize, &[Option<Chosen>]) -> Result<ArrayRef>,
    ) -> Result<ArrayRef> {
        if i32::try_from(self.bits.len().max(self.rows.len())).is_err() {
            return exec_err!("the rows of some thousand keys are too many for a column");
        }
        let mut columns = giving.take.iter().map(|place| gather(*place, &self.rows)).collect::<Result<Vec<_>>>()?;
        let widths = OffsetBuffer::from_lengths(std::iter::repeat_n(giving.width, self.rows.len()));
        columns.push(Arc::new(BinaryArray::try_new(widths, Buffer::from_vec(self.bits), None)?));
        let records = StructArray::try_new(giving.fields.clone(), columns, None)?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lengths = OffsetBuffer::from_lengths(self.ends.iter().zip(starts).map(|(end, start)| end - start));
        let DataType::List(item) = giving.list.data_type() else { return exec_err!("a list is a list") };
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), lengths, Arc::new(records), None)?))
    }
}
