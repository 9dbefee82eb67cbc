//! Persons who are delivered nowhere and are not erased: by keyed hash of their identifiers, and by the records they are
//! made of, so that whatever a destination is matched by finds them.

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};

/// Whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuppressedPerson {
    /// Everything the profile is made of; none for a person who is not known yet.
    pub nodes: Vec<NodeId>,
    /// Identifier kind and keyed hash of each value, under the suppression key.
    pub identifiers: Vec<(String, BlindIndex)>,
}

pub trait Suppressions {
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
