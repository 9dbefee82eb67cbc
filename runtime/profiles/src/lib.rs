//! What profiles are: which nodes are one profile and why ([`resolve`]), the lake SQL that turns records into profile rows,
//! segments and consent ([`snapshot`], [`segment`], [`consent`]), and what orders say of their buyers
//! ([`purchases`]). Pure and synchronous: no store, no IO, no clock; the engine feeds it from the ledger and runs its SQL
//! in the lake.

pub mod assess;
mod attributes;
mod by_number;
pub mod call_table;
mod computed_traits;
pub mod consent;
pub mod events;
pub mod evidence;
pub mod evidence_rows;
pub mod expiries;
pub mod explain;
#[cfg(test)]
mod lake_tests;
pub mod lineage;
pub mod measure;
pub mod order_rows;
pub mod pass_table;
pub mod purchases;
pub mod records;
pub mod resolve;
pub mod segment;
pub mod snapshot;
pub mod source;
mod sql;
pub mod weigh;
