//! The sandbox: runs connectors as WebAssembly components and stands between them and everything else. It loads and
//! checks components, grants each instance what its manifest asks and its connection allows, holds credentials that
//! guests never see, sends their requests, keeps rate limits, and checks every value they return. It knows no vendor
//! and no pipeline.

#![expect(
    clippy::result_large_err,
    reason = "a failed call of a plugin is rare and explains itself; boxing it would only move it"
)]

mod audit;
mod binary;
mod bindings;
mod blind;
mod cache;
mod codec;
mod component;
mod connectors;
mod contract;
mod deadline;
mod destination;
mod egress;
mod engine;
mod failure;
mod imports;
mod instance;
mod limits;
mod linker;
mod options;
mod plugins;
mod recording;
mod secret;
mod signing;
mod source;
mod state;
mod stdio;
mod transform;
mod trap;
mod vault;
mod webhook;
mod worker;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use binary::stamped;
pub use blind::TokenKey;
pub use connectors::Host;
pub use options::{
    AddressResolver, ApproveAll, AuditCallback, AuditEvent, Backoff, CALL_TIMEOUT_MAX, COMPILE_SECONDS, Clock, HostOptions,
    KeyValue, LogCallback, LogEvent, LogLevel, LogLine, RandomSource, SecretResolver, SystemClock, TokenKeySource, WorkerCommand,
    system_resolver,
};
pub use plugins::Inspection;
pub use recording::{Exchanges, Recorder, Repeats, Replay};
pub use secret::Secret;
pub use worker::run_worker;
