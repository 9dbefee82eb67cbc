//! The contract suite: runs any plugin, in any language, through the real host and says which rules of the plugin
//! contract it keeps, which it breaks and what to mend. It knows no vendor: what it talks to is the address it is given,
//! through a proxy of its own that disturbs the answers. It decides nothing about
//! pipelines and keeps nothing.

#![expect(
    clippy::result_large_err,
    reason = "a failed call of a plugin is rare and explains itself; boxing it would only move it"
)]

mod bench;
mod credentials;
mod fixture;
mod proxy;
mod reading;
mod report;
mod rows;
mod rules;
mod samples;
mod writing;

#[cfg(test)]
mod tests;

pub use bench::{Subject, run};
pub use fixture::{DestinationFixture, Fixture, TransformFixture};
pub use report::{Figures, Finding, Report, Verdict};
