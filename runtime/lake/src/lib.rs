//! The lake: immutable Parquet files, SQL over explicit lists of them, and the one expression language of the
//! project (filters, mappings, computed traits, segments). The only crate that names DataFusion. It holds no keys,
//! sees no plaintext of sealed columns and keeps no list of files: the ledger does.

mod canonical;
mod classes;
mod conditions;
mod embedded;
mod expressions;
mod failures;
mod files;
mod fold;
mod functions;
mod lake;
pub mod limits;
mod lookup;
mod mistakes;
mod outside;
mod replaced;
mod rewrite;
mod rows;
mod session;
mod syntax;
#[cfg(test)]
mod tests;
mod writer;

pub use embedded::EmbeddedLake;
pub use expressions::Expressions;
pub use lake::{Lake, LakeFile, LakeOptions, LakeQuery, LakeTable, LakeWriter, Replaces};
pub use lookup::{Find, Lookup};
pub use outside::read_parquet;
pub use rows::{Applied, RefusedRow, RowProgram, RowStep};
