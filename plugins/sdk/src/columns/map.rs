//! Columns made from columns, for transforms: one pass over the values, straight into the bytes of the new column.

use super::validity::{all_valid, is_valid};
use super::{BytesColumn, Column, ColumnData, Columns, TextColumn};
use crate::error::Result;
use crate::find;

impl TextColumn<'_> {
    /// A text column `name` made of these values: `write` appends what a value becomes to the bytes it is given, as valid
    /// UTF-8 (the host checks), and says whether there is a value at all. A null stays null, and `write` never sees it.
    ///
    /// ```
    /// use affluent_sdk::columns::lowercase;
    /// use affluent_sdk::{ColumnsBuilder, Field, FieldType};
    ///
    /// let mut rows = ColumnsBuilder::new(&[Field::new("email", FieldType::Text)]);
    /// rows.set("email", " Ada@X.test ")?;
    /// rows.end_row();
    /// let mut columns = rows.finish();
    ///
    /// let email = columns.text("email")?.map("email", |value, out| {
    ///     lowercase(value.trim(), out);
    ///     Ok(true)
    /// })?;
    /// columns.put(email);
    ///
    /// assert_eq!(columns.text("email")?.get(0), Some("ada@x.test"));
    /// # Ok::<(), affluent_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error of `write`.
    pub fn map(&self, name: impl Into<String>, mut write: impl FnMut(&str, &mut Vec<u8>) -> Result<bool>) -> Result<Column> {
        let rows = self.offsets.len().saturating_sub(1);
        let mut validity = self.validity.map(<[u8]>::to_vec);
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut data = Vec::with_capacity(self.text.len());
        offsets.push(0);
        for (row, ends) in self.offsets.array_windows().enumerate() {
            if let Some(value) = self.between(*ends).filter(|_| is_valid(self.validity, row)) {
                let start = data.len();
                if !write(value, &mut data)? {
                    data.truncate(start);
                    clear(validity.get_or_insert_with(|| all_valid(rows)), row);
                }
            }
            // The host's page limit keeps this below 4 GiB; a longer column would fail the host's checks.
            offsets.push(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
        if let Some(bits) = &mut validity {
            bits.truncate(rows.div_ceil(8));
        }
        Ok(Column { name: name.into(), validity, data: ColumnData::Texts(BytesColumn { offsets, data }) })
    }
}

fn clear(bits: &mut [u8], row: usize) {
    if let Some(byte) = bits.get_mut(row / 8) {
        *byte &= !(1 << (row % 8));
    }
}

impl Columns {
    /// Puts a column in the place of the one of its name, or after the last. It must have a value or null for each row.
    pub fn put(&mut self, column: Column) {
        match self.columns.iter_mut().find(|old| old.name == column.name) {
            Some(old) => *old = column,
            None => self.columns.push(column),
        }
    }
}

/// Appends `value` in lower case, as [`str::to_lowercase`] gives it, without an allocation for most texts.
pub fn lowercase(value: &str, out: &mut Vec<u8>) {
    if has_capital_beyond_ascii(value) {
        out.extend_from_slice(value.to_lowercase().as_bytes());
        return;
    }
    let start = out.len();
    out.extend_from_slice(value.as_bytes());
    if let Some(written) = out.get_mut(start..) {
        find::make_ascii_lowercase(written);
    }
}

/// Whether lower case changes a character that is not ASCII.
fn has_capital_beyond_ascii(value: &str) -> bool {
    let mut rest = value;
    while let Some(letter) = find::beyond_ascii(rest.as_bytes()).and_then(|place| rest.get(place..)).map(str::chars) {
        let mut after = letter;
        if after.next().is_some_and(|letter| !letter.to_lowercase().eq([letter])) {
            return true;
        }
        rest = after.as_str();
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::ColumnBuilder;
    use crate::stream::FieldType;

    proptest! {
        #[test]
        fn lower_case_is_that_of_the_standard_library(value in "\\PC{0,24}|[A-ZÀ-ÞΑ-Ωİ@. ]{0,12}") {
            let mut out = b"before".to_vec();

            lowercase(&value, &mut out);

            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("before{}", value.to_lowercase()));
        }

        #[test]
        fn a_mapped_column_equals_one_that_is_filled_value_by_value(values in prop::collection::vec(prop::option::of("[a-e]{0,3}"), 0..40)) {
            let becomes = |value: &str| (value != "a").then(|| format!("{value}!"));
            let (mut given, mut expected) = (ColumnBuilder::new("a", FieldType::Text), ColumnBuilder::new("b", FieldType::Text));
            for value in &values {
                given.push(value.as_deref()).unwrap();
                expected.push(value.as_deref().and_then(becomes).as_deref()).unwrap();
            }
            let columns = Columns { rows: u32::try_from(values.len()).unwrap(), columns: vec![given.finish()] };

            let mapped = columns.text("a").unwrap().map("b", |value, out| {
                out.extend(value.bytes());
                out.push(b'!');
                Ok(value != "a")
            });

            prop_assert_eq!(mapped.unwrap(), expected.finish());
        }
    }

    #[test]
    fn a_column_takes_the_place_of_its_name() {
        let column = |name: &str, value: &str| {
            let mut column = ColumnBuilder::new(name, FieldType::Text);
            column.push(value).unwrap();
            column.finish()
        };
        let mut columns = Columns { rows: 1, columns: vec![column("a", "1"), column("b", "2")] };

        columns.put(column("a", "3"));
        columns.put(column("c", "4"));

        let shown: Vec<_> = columns.columns.iter().map(|column| columns.text(&column.name).unwrap().get(0).unwrap()).collect();
        assert_eq!(shown, ["3", "2", "4"]);
    }
}
