//! The project files as serde reads them: one struct per kind of map, with the doc comments that editors show.
//! Every key is here and nowhere else: the checks ([`crate::shape`]) and the published JSON Schemas are made from
//! these types. What the values mean is decided in [`crate::lower`].
//!
//! Words under `x-affluent` name a check of [`crate::scalar`] or [`crate::shape`]; `x-later` lists keys that are
//! documented but not supported yet.

pub(crate) mod connection;
pub(crate) mod lock;
pub(crate) mod matching;
pub(crate) mod pipeline;
pub(crate) mod profiles;
pub(crate) mod project;
pub(crate) mod tests;
