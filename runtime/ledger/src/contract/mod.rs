//! What the runtime may ask of a ledger, one trait per concern, with the rows that cross it. The guarantees written here
//! hold for every implementation; the tests in `tests/` check them through `&dyn Ledger` only.
//!
//! Rules that hold everywhere:
//! - A method that writes does so in one durable transaction: after `Ok` it survives a crash, after `Err` nothing of it stays.
//! - A method that takes a [`runs::Lease`] fails with `E0706` and writes nothing once a newer run of that pipeline exists.
//! - Times are microseconds UTC and are given by the caller.
//! - Rows given to a `visit` function come from one consistent state; it may call the ledger.

pub(crate) mod audit;
pub(crate) mod computed;
pub(crate) mod credentials;
pub(crate) mod dead_letters;
pub(crate) mod decisions;
pub(crate) mod erasure_calls;
pub(crate) mod erasures;
pub(crate) mod identity;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod outbox;
pub(crate) mod plugin_values;
pub(crate) mod runs;
pub(crate) mod suppressions;
pub(crate) mod webhooks;

/// Everything a ledger does. All methods of the traits it is made of can be called on a `&dyn Ledger` without naming them.
pub trait Ledger:
    keys::Keys
    + runs::Runs
    + ingest::Ingest
    + identity::Identity
    + computed::Computed
    + outbox::Outbox
    + dead_letters::DeadLetters
    + decisions::Decisions
    + erasures::Erasures
    + erasure_calls::ErasureCalls
    + suppressions::Suppressions
    + plugin_values::PluginValues
    + credentials::Credentials
    + webhooks::Webhooks
    + audit::Audit
    + Send
    + Sync
{
}
