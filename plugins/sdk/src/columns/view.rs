//! A column of any type as its typed view, for readers that take columns as they come.

use super::{BinaryColumn, BooleanColumn, Column, ColumnData, Columns, DateColumn, FloatColumn, IntegerColumn, TextColumn};
use crate::error::Result;

/// The view that fits a column's type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    Boolean(BooleanColumn<'a>),
    Integer(IntegerColumn<'a>),
    Float(FloatColumn<'a>),
    Date(DateColumn<'a>),
    Timestamp(IntegerColumn<'a>),
    Text(TextColumn<'a>),
    Decimal(TextColumn<'a>),
    Json(TextColumn<'a>),
    Binary(BinaryColumn<'a>),
}

impl<'a> View<'a> {
    /// The view of one of a batch's columns.
    ///
    /// # Errors
    /// `invalid_data` for texts that are not UTF-8.
    pub(crate) fn of(columns: &'a Columns, column: &'a Column) -> Result<Self> {
        let name = column.name.as_str();
        Ok(match &column.data {
            ColumnData::Booleans(_) => Self::Boolean(columns.booleans(name)?),
            ColumnData::Ints(_) => Self::Integer(columns.integers(name)?),
            ColumnData::Floats(_) => Self::Float(columns.floats(name)?),
            ColumnData::Dates(_) => Self::Date(columns.dates(name)?),
            ColumnData::Timestamps(_) => Self::Timestamp(columns.timestamps(name)?),
            ColumnData::Texts(_) => Self::Text(columns.text(name)?),
            ColumnData::Decimals(_) => Self::Decimal(columns.decimals(name)?),
            ColumnData::Jsons(_) => Self::Json(columns.json(name)?),
            ColumnData::Binaries(_) => Self::Binary(columns.binaries(name)?),
        })
    }
}
