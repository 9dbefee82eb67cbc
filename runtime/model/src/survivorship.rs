//! Which of the values that records give to an attribute a profile shows.

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
}

/// How one value is chosen; among equally good ones the most recent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    MostRecent,
    FirstSeen,
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
}

impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::MostRecent,
        Self::FirstSeen,
        Self::MostFrequent,
        Self::Longest,
        Self::Min,
        Self::Max,
        Self::AnyTrue,
        Self::AllTrue,
    ];

    /// The word used in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MostRecent => "most_recent",
            Self::FirstSeen => "first_seen",
            Self::MostFrequent => "most_frequent",
            Self::Longest => "longest",
            Self::Min => "min",
            Self::Max => "max",
            Self::AnyTrue => "any_true",
            Self::AllTrue => "all_true",
        }
    }

    /// True when values are compared with each other: impossible where they are sealed. The lake chooses and holds no keys;
    /// equal values have different ciphertexts, and opening all values of all profiles for it would undo what sealing is for.
    #[must_use]
    pub fn compares_values(self) -> bool {
        !matches!(self, Self::MostRecent | Self::FirstSeen)
    }

    /// What the strategy needs values to be, where it cannot work with all types.
    #[must_use]
    pub fn needs(self) -> Option<crate::schema::FieldType> {
        match self {
            Self::Longest => Some(crate::schema::FieldType::Text),
            Self::AnyTrue | Self::AllTrue => Some(crate::schema::FieldType::Boolean),
            _ => None,
        }
    }
}

impl Survivorship {
    /// The most recent value of the best of these connections.
    #[must_use]
    pub fn prefer(connections: Vec<String>) -> Self {
        Self { prefer: connections, ..Self::default() }
    }
}
