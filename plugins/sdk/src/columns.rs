//! The record path: records cross the border as flat typed columns in Arrow's layout, never one value at a time.
//! Sources fill a [`ColumnsBuilder`], destinations and transforms look at received columns through typed readers
//! that borrow, and transforms make columns of columns ([`TextColumn::map`]). The layout: variable-width value `i` is `data[offsets[i]..offsets[i + 1]]`; bit `i` of the validity,
//! least significant first, is set where value `i` is present; no validity means no nulls.

mod builder;
mod map;
mod reader;
mod validity;
mod view;

pub use builder::{ColumnBuilder, ColumnsBuilder, Value};
pub use map::lowercase;
pub use reader::{BinaryColumn, BooleanColumn, DateColumn, FloatColumn, IntegerColumn, TextColumn};
pub use validity::Validity;
pub(crate) use view::View;

pub use crate::bindings::imports::affluent::plugin::types::{BytesColumn, Column, ColumnData, Columns, Payload};

/// The columns of a payload.
///
/// # Errors
/// `unsupported` for NDJSON: a plugin whose manifest accepts only `columns` is never sent it.
pub fn into_columns(payload: Payload) -> crate::Result<Columns> {
    match payload {
        Payload::Columns(columns) => Ok(columns),
        Payload::Ndjson(_) => Err(crate::Error::unsupported("this plugin accepts columns only")),
    }
}
