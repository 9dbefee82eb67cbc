//! Which of the values that records give to an attribute a profile shows, or what it makes of them.

use crate::schema::FieldType;

/// Key under which the rule for all attributes without one of their own stands.
pub const DEFAULT: &str = "default";

/// The rule of one attribute. Connections are preferred first, then the strategy decides among the values of the best.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survivorship {
    pub strategy: Strategy,
    /// Connections, best first; empty = all are alike.
    pub prefer: Vec<String>,
    /// Values of records older than this, in milliseconds, are not shown.
    pub max_age_ms: Option<u64>,
    /// The record that is chosen may show that it says nothing; else a record without a value, or with an empty one, is passed over.
    pub counts_empty: bool,
}

/// JSON documents that say nothing, without spaces. Of texts, only the one without letters does.
pub const EMPTY_DOCUMENTS: [&str; 5] = ["", "null", "[]", "{}", "\"\""];

/// How one value is chosen, or made of all; among equally good ones the most recent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    MostRecent,
    FirstSeen,
    /// The value of the record that has most of the attributes with this strategy, so that what belongs together, as street and
    /// city do, comes from one record.
    MostCompleteRecord,
    /// The value of most records.
    MostFrequent,
    /// The text of most letters.
    Longest,
    Min,
    Max,
    /// True when any record says true.
    AnyTrue,
    /// True when no record says false.
    AllTrue,
    /// All distinct values: of texts that are not empty in sorted order with `, ` between, of JSON documents as one list, in
    /// which lists are taken apart.
    Union,
    /// Null where the sum has no place in the type.
    Sum,
    /// A single no wins: false over true; of words `granted`, `expired`, `pending` the strictest, and any other word is a no.
    ConsentStrictest,
}

/// Types whose values have an order.
const COMPARABLE: [FieldType; 8] = [
    FieldType::Boolean,
    FieldType::Integer,
    FieldType::Float,
    FieldType::Decimal,
    FieldType::Date,
    FieldType::Timestamp,
    FieldType::Text,
    FieldType::Json,
];

impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::MostRecent,
        Self::FirstSeen,
        Self::MostCompleteRecord,
        Self::MostFrequent,
        Self::Longest,
        Self::Min,
        Self::Max,
        Self::AnyTrue,
        Self::AllTrue,
        Self::Union,
        Self::Sum,
        Self::ConsentStrictest,
    ];

    /// The word used in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MostRecent => "most_recent",
            Self::FirstSeen => "first_seen",
            Self::MostCompleteRecord => "most_complete_record",
            Self::MostFrequent => "most_frequent",
            Self::Longest => "longest",
            Self::Min => "min",
            Self::Max => "max",
            Self::AnyTrue => "any_true",
            Self::AllTrue => "all_true",
            Self::Union => "union",
            Self::Sum => "sum",
            Self::ConsentStrictest => "consent_strictest",
        }
    }

    /// True when values are compared with each other: impossible where they are sealed. The lake chooses and holds no keys;
    /// equal values have different ciphertexts, and opening all values of all profiles for it would undo what sealing is for.
    #[must_use]
    pub fn compares_values(self) -> bool {
        !matches!(self, Self::MostRecent | Self::FirstSeen | Self::MostCompleteRecord)
    }

    /// True when the value is made of those of all records, not chosen among them.
    #[must_use]
    pub fn combines(self) -> bool {
        matches!(self, Self::Union | Self::Sum)
    }

    /// True when one record is chosen, whatever its value is: it may as well say nothing.
    #[must_use]
    pub fn chooses_a_record(self) -> bool {
        matches!(self, Self::MostRecent | Self::MostCompleteRecord)
    }

    /// True when no record may be passed over, neither for its connection nor for its age.
    #[must_use]
    pub fn hears_all(self) -> bool {
        self == Self::ConsentStrictest
    }

    /// Types of values that the strategy works with; empty = all.
    #[must_use]
    pub fn kinds(self) -> &'static [FieldType] {
        match self {
            Self::MostRecent | Self::FirstSeen | Self::MostCompleteRecord => &[],
            Self::Longest => &[FieldType::Text],
            Self::AnyTrue | Self::AllTrue => &[FieldType::Boolean],
            Self::Union => &[FieldType::Text, FieldType::Json],
            Self::Sum => &[FieldType::Integer, FieldType::Decimal, FieldType::Float],
            Self::ConsentStrictest => &[FieldType::Boolean, FieldType::Text],
            Self::MostFrequent | Self::Min | Self::Max => &COMPARABLE,
        }
    }

    /// True when the strategy works with values of this type.
    #[must_use]
    pub fn fits(self, kind: FieldType) -> bool {
        let kinds = self.kinds();
        kinds.is_empty() || kinds.contains(&kind)
    }
}

impl Survivorship {
    /// The most recent value of the best of these connections.
    #[must_use]
    pub fn prefer(connections: Vec<String>) -> Self {
        Self { prefer: connections, ..Self::default() }
    }
}
