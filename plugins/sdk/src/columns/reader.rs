//! Typed, borrowing views of received columns. A view checks its column once when it is made, so that reading a
//! value is two look-ups and no copy.

use super::validity::is_valid;
use super::{BytesColumn, Column, ColumnData, Columns};
use crate::error::{Error, Result};

impl Columns {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn required(&self, name: &str) -> Result<&Column> {
        self.column(name).ok_or_else(|| Error::invalid_data(format!("the batch has no column `{name}`")))
    }

    /// A view of a `text` column.
    ///
    /// # Errors
    /// `invalid_data` when the batch has no such column, or it is of another type. So do the others below.
    pub fn text(&self, name: &str) -> Result<TextColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Texts(values) => TextColumn::new(column, values),
            _ => Err(wrong_type(name, "text")),
        }
    }

    /// A view of a `json` column: each value is the text of one document.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn json(&self, name: &str) -> Result<TextColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Jsons(values) => TextColumn::new(column, values),
            _ => Err(wrong_type(name, "json")),
        }
    }

    /// A view of a `decimal` column: each value is an exact number as text.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn decimals(&self, name: &str) -> Result<TextColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Decimals(values) => TextColumn::new(column, values),
            _ => Err(wrong_type(name, "decimal")),
        }
    }

    /// A view of a `binary` column.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn binaries(&self, name: &str) -> Result<BinaryColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Binaries(values) => Ok(BinaryColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "binary")),
        }
    }

    /// A view of an `integer` column.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn integers(&self, name: &str) -> Result<IntegerColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Ints(values) => Ok(IntegerColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "integer")),
        }
    }

    /// A view of a `timestamp` column, microseconds since the epoch.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn timestamps(&self, name: &str) -> Result<IntegerColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Timestamps(values) => Ok(IntegerColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "timestamp")),
        }
    }

    /// A view of a `date` column, days since 1970-01-01.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn dates(&self, name: &str) -> Result<DateColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Dates(values) => Ok(DateColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "date")),
        }
    }

    /// A view of a `float` column.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn floats(&self, name: &str) -> Result<FloatColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Floats(values) => Ok(FloatColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "float")),
        }
    }

    /// A view of a `boolean` column.
    ///
    /// # Errors
    /// As [`Columns::text`].
    pub fn booleans(&self, name: &str) -> Result<BooleanColumn<'_>> {
        let column = self.required(name)?;
        match &column.data {
            ColumnData::Booleans(values) => Ok(BooleanColumn { values, validity: column.validity.as_deref() }),
            _ => Err(wrong_type(name, "boolean")),
        }
    }
}

fn wrong_type(name: &str, wanted: &str) -> Error {
    Error::invalid_data(format!("column `{name}` is not of type {wanted}"))
}

impl Column {
    /// Whether row `row` has a value.
    pub fn is_present(&self, row: usize) -> bool {
        is_valid(self.validity.as_deref(), row)
    }
}

/// Texts, JSON documents or decimals.
#[derive(Debug, Clone, Copy)]
pub struct TextColumn<'a> {
    pub(super) text: &'a str,
    pub(super) offsets: &'a [u32],
    pub(super) validity: Option<&'a [u8]>,
}

impl<'a> TextColumn<'a> {
    /// A view of the values of `column`; their UTF-8 is checked at once.
    ///
    /// # Errors
    /// `invalid_data` for bytes that are not UTF-8.
    pub fn new(column: &'a Column, values: &'a BytesColumn) -> Result<Self> {
        let text = std::str::from_utf8(&values.data)
            .map_err(|_| Error::invalid_data(format!("column `{}` is not valid UTF-8", column.name)))?;
        Ok(Self { text, offsets: &values.offsets, validity: column.validity.as_deref() })
    }

    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let text = self.between([*self.offsets.get(row)?, *self.offsets.get(row + 1)?])?;
        is_valid(self.validity, row).then_some(text)
    }

    #[inline]
    pub(super) fn between(&self, [start, end]: [u32; 2]) -> Option<&'a str> {
        self.text.get(start as usize..end as usize)
    }
}

/// Byte strings.
#[derive(Debug, Clone, Copy)]
pub struct BinaryColumn<'a> {
    values: &'a BytesColumn,
    validity: Option<&'a [u8]>,
}

impl<'a> BinaryColumn<'a> {
    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        let (start, end) = (*self.values.offsets.get(row)?, *self.values.offsets.get(row + 1)?);
        let bytes = self.values.data.get(start as usize..end as usize)?;
        is_valid(self.validity, row).then_some(bytes)
    }
}

/// Integers, or timestamps in microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct IntegerColumn<'a> {
    values: &'a [i64],
    validity: Option<&'a [u8]>,
}

impl IntegerColumn<'_> {
    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<i64> {
        self.values.get(row).copied().filter(|_| is_valid(self.validity, row))
    }
}

/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy)]
pub struct DateColumn<'a> {
    values: &'a [i32],
    validity: Option<&'a [u8]>,
}

impl DateColumn<'_> {
    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<i32> {
        self.values.get(row).copied().filter(|_| is_valid(self.validity, row))
    }
}

/// Fractions.
#[derive(Debug, Clone, Copy)]
pub struct FloatColumn<'a> {
    values: &'a [f64],
    validity: Option<&'a [u8]>,
}

impl FloatColumn<'_> {
    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<f64> {
        self.values.get(row).copied().filter(|_| is_valid(self.validity, row))
    }
}

/// Truth values.
#[derive(Debug, Clone, Copy)]
pub struct BooleanColumn<'a> {
    values: &'a [u8],
    validity: Option<&'a [u8]>,
}

impl BooleanColumn<'_> {
    /// The value of row `row`; `None` for null and beyond the last row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<bool> {
        self.values.get(row).filter(|_| is_valid(self.validity, row)).map(|value| *value != 0)
    }
}
