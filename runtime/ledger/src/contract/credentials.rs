//! Sealed OAuth tokens of connections, and who may renew them. Several processes may ask for new tokens of the same account;
//! one at a time does, and what it got is durable before it is used (architecture: `host/src/egress/oauth`).

use affluent_model::Result;
use affluent_model::credential::CredentialId;

use super::keys::StoredKeyRow;

/// Tokens as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// Grows by one with each commit, from 1.
    pub version: u64,
    pub sealed: Vec<u8>,
}

/// Who wants to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialClaim<'a> {
    pub id: &'a CredentialId,
    /// Unique among all that may hold a claim at the same time.
    pub holder: &'a str,
    /// A holder that the caller knows to be dead: its claim is taken although it has not ended.
    pub replaces: Option<&'a str>,
    pub now_us: i64,
    pub ends_at_us: i64,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialClaimed {
    /// It is the caller's, over these tokens.
    Granted(Option<CredentialRow>),
    /// It is another's.
    HeldBy(String),
}

pub trait Credentials {
    /// Takes the claim of a connection's slot unless another holds it.
    ///
    /// # Errors
    /// Those of the store.
    fn claim_credential(&self, claim: &CredentialClaim<'_>) -> Result<CredentialClaimed>;

    /// Replaces the tokens and ends the claim; `version` is the one that was claimed, 0 where there were none. False, and
    /// nothing is changed, when the holder has lost the claim.
    ///
    /// # Errors
    /// Those of the store.
    fn commit_credential(&self, id: &CredentialId, holder: &str, version: u64, sealed: &[u8]) -> Result<bool>;

    /// Ends the claim of a holder; one that it does not hold is no error.
    ///
    /// # Errors
    /// Those of the store.
    fn release_credential(&self, id: &CredentialId, holder: &str) -> Result<()>;

    /// Stores the first system key; gives the one that is stored, which is another one where somebody was faster.
    ///
    /// # Errors
    /// Those of the store.
    fn keep_system_key(&self, row: &StoredKeyRow) -> Result<StoredKeyRow>;
}
