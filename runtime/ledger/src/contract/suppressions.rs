//! Persons who are delivered nowhere and are not erased: by keyed hash of their identifiers, and by the records they are
//! made of, so that whatever a destination is matched by finds them.

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};

use super::runs::Lease;

/// Whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuppressedPerson {
    /// Everything the profile is made of; none for a person who is not known yet.
    pub nodes: Vec<NodeId>,
    /// Identifier kind and keyed hash of each value, under the suppression key.
    pub identifiers: Vec<(String, BlindIndex)>,
}

/// An identifier for which everything was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Number of the identifier kind, and its name.
    pub kind: u16,
    pub kind_name: String,
    /// Blind index, by which it is known again until its records are erased.
    pub value: BlindIndex,
    /// Under the suppression key: stays when the records are erased.
    pub hash: BlindIndex,
    /// When the last purpose was taken back, microseconds.
    pub at_us: i64,
}

pub trait Suppressions {
    /// Withdrawals that were seen to, of one kind of identifier: blind index and time of the last one.
    ///
    /// # Errors
    /// Those of the store.
    fn withdrawals(&self, kind: u16) -> Result<Vec<(BlindIndex, i64)>>;

    /// Keeps identifiers out of every delivery and notes the withdrawals as seen to, so that whom a person lets back in stays
    /// so until the next withdrawal.
    ///
    /// # Errors
    /// `E0706`.
    fn suppress_withdrawn(&self, lease: &Lease, withdrawals: &[Withdrawal], now_us: i64) -> Result<()>;

    /// Keeps a person out of every delivery; false when nothing new was said.
    ///
    /// # Errors
    /// Those of the store.
    fn suppress(&self, person: &SuppressedPerson, now_us: i64) -> Result<bool>;

    /// Lets a person be delivered again; false when the person was not kept out. An erased person stays out.
    ///
    /// # Errors
    /// Those of the store.
    fn unsuppress(&self, person: &SuppressedPerson) -> Result<bool>;

    /// Kind and hash under the suppression key of what is delivered nowhere, sorted; without that of erased persons.
    ///
    /// # Errors
    /// Those of the store.
    fn undelivered(&self) -> Result<Vec<(String, BlindIndex)>>;

    /// Profiles that hold a record of a suppressed person, sorted.
    ///
    /// # Errors
    /// Those of the store.
    fn undelivered_profiles(&self) -> Result<Vec<ProfileId>>;
}
