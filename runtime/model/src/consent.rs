//! Consent (delivery.md §7): the rows that a mapping makes of records, what a destination needs, and what is left of all
//! that was said about one identifier. The subject of a row is an identifier, so a merge spreads no grant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::Expression;

/// One consent row per record of a stream.
#[derive(Debug, Clone)]
pub struct ConsentMapping {
    /// Unique in the mapping; ends the names of the row's columns.
    pub name: String,
    pub terms: ConsentTerms,
    pub said: SaidBy,
    /// When it was said; when the record changed, if absent.
    pub at: Option<Expression>,
    pub expires_at: Option<Expression>,
    /// ISO 3166 code of the law's place: `FR`, `US-CA`.
    pub jurisdiction: Option<Expression>,
    /// Where the proof lies: the address of a form, the number of a document.
    pub evidence: Option<Expression>,
}

/// How a record says what was decided.
#[derive(Debug, Clone)]
pub enum SaidBy {
    /// True = granted, false = denied, null = nothing said.
    Granted(Expression),
    /// `granted`, `denied`, `revoked` or `pending`; any other word is no grant, null = nothing said.
    Status(Expression),
}

/// What is the same in all rows of a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentTerms {
    pub purpose: String,
    /// The identifier it was said about; every identifier of the record when absent.
    pub identifier: Option<String>,
    /// What it reaches: a brand, a site; everything when absent.
    pub scope: Option<String>,
    /// `email`, `sms`, `phone`…; every channel when absent.
    pub channel: Option<String>,
    pub legal_basis: Option<LegalBasis>,
    /// A grant ends so long after it was given.
    pub expires_after_ms: Option<u64>,
}

/// Why data of a person may be used (GDPR article 6, 1, a to f).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegalBasis {
    Consent,
    Contract,
    LegalObligation,
    VitalInterests,
    PublicTask,
    LegitimateInterests,
}

impl LegalBasis {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::LegalObligation => "legal_obligation",
            Self::VitalInterests => "vital_interests",
            Self::PublicTask => "public_task",
            Self::LegitimateInterests => "legitimate_interests",
        }
    }
}

/// What a destination needs before a person is sent there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentNeed {
    pub purpose: String,
    /// Rows about another scope do not count; rows of every scope do when absent.
    pub scope: Option<String>,
    /// Rows about another channel do not count; rows of every channel do when absent.
    pub channel: Option<String>,
    /// Grants on another basis do not count; every grant does when empty.
    pub legal_bases: Vec<LegalBasis>,
    /// Persons of these jurisdictions are not sent, nor persons of an unknown one: `US` is all of it, `US-CA` a part.
    pub not_in: Vec<String>,
}

impl ConsentNeed {
    /// A grant for a purpose, whatever its scope, channel, basis and place.
    #[must_use]
    pub fn of_purpose(purpose: &str) -> Self {
        Self { purpose: purpose.to_owned(), ..Self::default() }
    }
}

/// What is left of all that was said, the stricter the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsentWord {
    Granted,
    /// Granted once, and its time is over.
    Expired,
    /// Asked for and not confirmed (double opt-in), or granted from a day to come.
    Pending,
    Denied,
}

impl ConsentWord {
    pub const ALL: [Self; 4] = [Self::Granted, Self::Expired, Self::Pending, Self::Denied];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Denied => "denied",
        }
    }

    /// Its place among all, least strict first: 0..=3.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Granted => 0,
            Self::Expired => 1,
            Self::Pending => 2,
            Self::Denied => 3,
        }
    }

    #[must_use]
    pub fn from_rank(rank: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|word| i64::from(word.rank()) == rank)
    }
}

/// True when every identifier that a destination uses was granted: nothing said about one of them (`None`) is no grant, and
/// neither is no identifier at all.
#[must_use]
pub fn is_granted(said: impl IntoIterator<Item = Option<ConsentWord>>) -> bool {
    let mut is_any = false;
    for word in said {
        if word != Some(ConsentWord::Granted) {
            return false;
        }
        is_any = true;
    }
    is_any
}
