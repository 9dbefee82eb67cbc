//! The SQL of this crate, run in the embedded lake on tables written as text.

mod cases;
mod consent;
mod refusals;
mod segments;
mod snapshot;
mod traits;
