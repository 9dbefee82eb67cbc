//! Typed records: a struct says which fields a stream has, [`RowsBuilder`] turns its values into columns, [`Rows`] turns
//! columns back into values. Neither makes a `serde_json::Value` of a record.
//!
//! The struct is the schema: names and nesting as serde writes them, types and nullability from [`JsonSchema`], descriptions
//! from doc comments, and two keys of `#[schemars(extend(…))]`:
//!
//! - `"pii" = PiiClass::Email`: what the field says about a person; on a nested struct it holds for every field in it.
//! - `"column" = FieldType::Decimal`: another type of column than the one that follows from the Rust type.
//!
//! | Rust type | column |
//! |---|---|
//! | `bool` | boolean |
//! | integers | integer, 64 bits signed; a larger `u64` is refused |
//! | `f32`, `f64` | float |
//! | `String`, `&str`, `Cow<str>`, enums of unit variants | text |
//! | [`Date`], [`Timestamp`], [`Decimal`] of this module; types whose schema has the format `date` or `date-time` | date, timestamp, decimal |
//! | a struct | one column per field, `a_b` |
//! | lists, maps, `serde_json::Value`, enums with data | json |
//! | `Option<T>` | as `T`, nullable |
//!
//! ```
//! use affluent_sdk::rows::{Decimal, Rows, RowsBuilder, Timestamp};
//! use affluent_sdk::{FieldType, PiiClass, StreamSchema};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
//! struct Order {
//!     id: i64,
//!     /// Who bought.
//!     #[schemars(extend("pii" = PiiClass::Email))]
//!     email: Option<String>,
//!     total: Decimal,
//!     placed_at: Timestamp,
//!     shipping: Option<Address>,
//! }
//!
//! #[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
//! struct Address {
//!     #[schemars(extend("pii" = PiiClass::Address))]
//!     city: String,
//! }
//!
//! let stream = StreamSchema::of::<Order>("orders")?.primary_key(["id"]);
//! let names: Vec<&str> = stream.fields.iter().map(|field| field.name.as_str()).collect();
//! assert_eq!(names, ["id", "email", "total", "placed_at", "shipping_city"]);
//! assert_eq!(stream.fields[1].pii, Some(PiiClass::Email));
//!
//! let text = r#"{"id": 7, "email": null, "total": "12.50", "placed_at": "2026-01-31T10:20:30Z", "shipping": {"city": "Lyon"}}"#;
//! let order: Order = serde_json::from_str(text).expect("valid");
//! let mut rows = RowsBuilder::new()?;
//! rows.push(&order)?;
//! let columns = rows.finish();
//! assert_eq!(columns.decimals("total")?.get(0), Some("12.50"));
//!
//! assert_eq!(Rows::<Order>::new(&columns)?.get(0)?, order);
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

mod failure;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;

use crate::columns::{Columns, ColumnsBuilder};
use crate::error::Result;
use crate::stream::{Field, StreamSchema};

pub use read::Rows;
pub use values::{Date, Decimal, Timestamp, seconds};

/// The fields of a record type, in the order of its declaration.
///
/// # Errors
/// `internal` when `T` is not a struct with named fields, or a `pii` or `column` key holds an unknown word.
pub fn fields<T: JsonSchema>() -> Result<Vec<Field>> {
    shape::of::<T>().map(|(fields, _)| fields)
}

impl StreamSchema {
    /// A stream of records of type `T`, see [`crate::rows`]; it can only be read whole, until more is said.
    ///
    /// # Errors
    /// As [`fields`].
    pub fn of<T: JsonSchema>(name: impl Into<String>) -> Result<Self> {
        Ok(Self::new(name, fields::<T>()?))
    }
}

/// Records of type `T` on their way into columns. Keep one for all pages: its shape is computed once.
#[derive(Debug)]
pub struct RowsBuilder<T> {
    columns: ColumnsBuilder,
    members: Vec<shape::Member>,
    scratch: Vec<u8>,
    records: PhantomData<fn(&T)>,
}

impl<T: Serialize + JsonSchema> RowsBuilder<T> {
    /// An empty builder.
    ///
    /// # Errors
    /// As [`fields`].
    pub fn new() -> Result<Self> {
        let (fields, members) = shape::of::<T>()?;
        Ok(Self { columns: ColumnsBuilder::new(&fields), members, scratch: Vec::new(), records: PhantomData })
    }

    /// Adds a record. A field that the type's schema leaves out (`#[schemars(skip)]`) is left out here too.
    ///
    /// # Errors
    /// `invalid_data` (`value_type`) when a value does not fit its column; nothing is added then. The message names the row,
    /// from 0, and the field, never the value.
    #[inline]
    pub fn push(&mut self, record: &T) -> Result<()> {
        let rows = self.columns.rows();
        let writer = write::RecordWriter::new(self.columns.columns_mut(), &self.members, &mut self.scratch, rows);
        match record.serialize(writer) {
            Ok(()) => {
                self.columns.end_row();
                Ok(())
            }
            Err(failure) => {
                self.columns.undo_row();
                Err(failure.into_error().context(&format!("row {rows}")))
            }
        }
    }
}

impl<T> RowsBuilder<T> {
    /// Records so far.
    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Bytes of the values so far.
    pub fn bytes(&self) -> usize {
        self.columns.bytes()
    }

    /// The records so far; the builder starts anew.
    pub fn finish(&mut self) -> Columns {
        self.columns.finish()
    }
}
