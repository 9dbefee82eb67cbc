//! Classes of personal data, what a class decides, and the type that carries a personal value in the clear.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of personal data a field holds. A field without a class is not personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PiiClass {
    Email,
    Phone,
    Name,
    Address,
    BirthDate,
    Ip,
    FreeText,
    OnlineId,
    Gender,
}

impl PiiClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Email,
        Self::Phone,
        Self::Name,
        Self::Address,
        Self::BirthDate,
        Self::Ip,
        Self::FreeText,
        Self::OnlineId,
        Self::Gender,
    ];

    /// The word used in YAML and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Name => "name",
            Self::Address => "address",
            Self::BirthDate => "birth_date",
            Self::Ip => "ip",
            Self::FreeText => "free_text",
            Self::OnlineId => "online_id",
            Self::Gender => "gender",
        }
    }

    /// Parses the word used in YAML.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// True where so few values exist that a ciphertext's length would give them away (security A-13).
    #[must_use]
    pub fn is_low_cardinality(self) -> bool {
        matches!(self, Self::Gender | Self::BirthDate)
    }
}

/// What happens to a field of a class before it reaches the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PiiPolicy {
    /// Encrypted under the key of its data subject.
    Seal,
    /// Kept readable: an explicit decision of the project.
    Clear,
    /// Not kept at all.
    Drop,
}

/// A personal value in the clear: no `Serialize`, and it prints as `‹personal›` (invariant I3).
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(String);

impl Plain {
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that hands it to a granted destination or to a person who may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹personal›")
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹personal›")
    }
}
