//! What destinations are asked of erased persons: one call for each row that they hold. A call is written down before it is
//! made and settled by what was answered, so that whichever process comes next goes on; made twice it changes nothing.

use affluent_model::Result;
use affluent_model::identity::ProfileId;

use super::runs::Lease;

/// A call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureCall {
    pub erasure: i64,
    /// Under which the destination's row was sent: the profile, or one that was merged into it.
    pub key: ProfileId,
    /// The match values last accepted, sealed; they go once nothing is left to ask.
    pub match_sealed: Vec<u8>,
    pub remote_id: Option<String>,
    /// The destination took the request, and is asked whether the person is gone.
    pub is_accepted: bool,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// The destination took the request. `is_last`: it cannot tell later whether the person is gone.
    Accepted { reference: Option<String>, is_last: bool },
    /// The person is not there any more.
    Verified,
    /// The destination would not, or did not answer: code and message. The call stays to be made.
    Refused { reason: String },
}

pub trait ErasureCalls {
    /// True when receipts of a pipeline are requested, or calls are left to be looked after.
    ///
    /// # Errors
    /// Those of the store.
    fn has_erasure_calls(&self, pipeline: &str) -> Result<bool>;

    /// Writes down the calls of the lease's pipeline for persons of whom nothing is left here, from what the destination holds
    /// of them, and gives those to be made, oldest first. Persons who were to be gone since `looked_since_us` and are still
    /// there are not looked for any more.
    ///
    /// # Errors
    /// `E0706`.
    fn open_erasure_calls(&self, lease: &Lease, looked_since_us: i64) -> Result<Vec<ErasureCall>>;

    /// Settles a call and its receipt: an accepted one takes the row out of the image.
    ///
    /// # Errors
    /// `E0706`.
    fn settle_erasure_call(&self, lease: &Lease, call: &ErasureCall, outcome: &CallOutcome, now_us: i64) -> Result<()>;

    /// Settles the requested receipts of the lease's pipeline whose destination has no call after all, and forgets what it was
    /// sent.
    ///
    /// # Errors
    /// `E0706`.
    fn settle_unsupported(&self, lease: &Lease, now_us: i64) -> Result<()>;
}
