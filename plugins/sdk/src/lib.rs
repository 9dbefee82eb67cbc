//! The SDK for authors of Affluent plugins: traits to implement, columns to fill and read, and the host's services as
//! plain functions that a native test can play. It is not the host: nothing here reaches a file, a socket or a secret
//! by itself. `plugins/README.md` is the guide.
//!
//! A plugin is a type that implements [`Plugin`], and one that implements [`Source`], [`Destination`] or [`Transform`]; a macro
//! exports them ([`export_source!`], [`export_destination!`], [`export_connector!`], [`export_transform!`]). Most services need no
//! `Source` of their own: [`rest`] reads lists, [`graphql`] connections, [`changes`] objects that are listed once and then searched for
//! what changed, all from declarations; [`upserts`] writes objects in batches, [`imports`] in
//! jobs. Any other destination finds what it needs
//! in [`json_columns`] (rows as JSON), [`http::Service`] (requests), [`outcomes`] (which rows were refused, jobs that go on) and
//! [`identity`] (whom a row is about).

#![deny(missing_docs)]

#[doc(hidden)]
pub mod bindings;
pub mod changes;
pub mod columns;
pub mod crypto;
pub mod csv;
pub mod date_format;
pub mod described;
mod error;
#[doc(hidden)]
pub mod export;
pub mod file_streams;
pub mod files;
pub mod find;
pub mod graphql;
mod host;
pub mod http;
pub mod identity;
pub mod imports;
pub mod json;
pub mod json_columns;
pub mod kv;
pub mod lines;
pub mod manifest;
pub mod outcomes;
pub mod paging;
mod plugin;
pub mod puts;
pub mod records;
pub mod rest;
pub mod rows;
pub mod runtime;
pub mod sent;
mod stream;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod token;
pub mod upserts;
pub mod values;

pub use columns::{ColumnBuilder, Columns, ColumnsBuilder, Payload, Value};
pub use error::{Error, ErrorKind, Result, RowError};
pub use manifest::{Manifest, PluginKind};
pub use plugin::{
    Account, Batch, CheckReport, Destination, Limits, Outcome, Output, Page, Part, Plugin, Position, RAW_BYTES_MAX, RejectedRow,
    Report, RowOp, Source, Transform,
};
pub use stream::{Field, FieldType, Parent, PiiClass, StreamSchema, StreamSpec, SyncMode};
