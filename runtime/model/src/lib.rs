//! The nouns of Affluent and their invariants: schemas with PII classes, batches, identities, the validated
//! [`plan::Plan`] and the traits that connectors implement. It does no IO, reads no clock and draws no randomness;
//! every other crate of the runtime speaks in these types.

pub mod batch;
pub mod connector;
pub mod consent;
pub mod credential;
pub mod diagnostic;
pub mod duration;
pub mod error;
pub mod expression;
pub mod fold;
pub mod identifier_rule;
pub mod identity;
pub mod junk;
pub mod limits;
pub mod lock;
pub mod manifest;
pub mod matching;
pub mod money;
pub mod normalize;
pub mod personal_names;
pub mod pii;
pub mod pipeline_test;
pub mod plan;
pub mod prediction;
pub mod report;
pub mod schema;
#[cfg(test)]
mod sdk_tests;
pub mod survivorship;
pub mod webhook;

pub use error::{Error, Result};
