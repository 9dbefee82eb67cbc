//! Where the OAuth tokens of connections are kept between requests, runs and processes. `engine` implements it over the
//! ledger and the vault, `host` uses it; neither knows the other.

use zeroize::Zeroizing;

use crate::error::Result;

/// Whose tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialId {
    /// Name of the connection.
    pub connection: String,
    /// Auth slot of its plugin's manifest.
    pub slot: String,
}

/// What is kept, in the host's own form; a secret as a whole.
pub struct KeptCredential {
    /// Grows with each commit, from 1.
    pub version: u64,
    pub value: Zeroizing<Vec<u8>>,
}

/// Whether the caller may ask for new tokens.
pub enum Claim {
    /// Nobody else may, until the claim is committed, released or `lease_ms` old.
    Granted(Option<KeptCredential>),
    /// Another holder does; look again soon.
    Busy,
}

/// Keeps tokens sealed, and lets one holder at a time renew them: several processes may share it.
pub trait CredentialStore: Send + Sync {
    /// Claims the right to renew, also from a holder that is known to have ended.
    ///
    /// # Errors
    /// Those of the store, and of keys that do not open what it holds.
    fn claim(&self, id: &CredentialId, now_us: i64, lease_ms: u64) -> Result<Claim>;

    /// Replaces what is kept and ends the claim; durable before it returns. `version` is that of the claim, 0 where it had
    /// nothing. False, and nothing is changed, when the claim was lost: what was to be kept must not be used then.
    ///
    /// # Errors
    /// Those of the store; what was to be kept must not be used then either.
    fn commit(&self, id: &CredentialId, version: u64, value: &[u8]) -> Result<bool>;

    /// Ends the claim without a change.
    ///
    /// # Errors
    /// Those of the store.
    fn release(&self, id: &CredentialId) -> Result<()>;
}
