//! What rules of identity say of one kind of identifier, besides the plan's fields.

use std::fmt;

use crate::normalize::matches_pattern;
use crate::plan::{IdentifierRule, IdentityLimits, NormalizeOptions};

/// Values of one kind that a profile may have, where the file does not say.
const VALUES_MAX: u32 = 5;
const DAY_US: i64 = 86_400_000_000;

/// The time over which the values of a kind are counted: any span of this length, wherever it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Period {
    #[default]
    Ever,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

impl Period {
    /// Its length; `None` = for ever.
    #[must_use]
    pub fn microseconds(self) -> Option<i64> {
        match self {
            Self::Ever => None,
            Self::Week => Some(7 * DAY_US),
            Self::Month => Some(30 * DAY_US),
            Self::Year => Some(365 * DAY_US),
        }
    }
}

/// What follows a number of values: ` a week`; nothing for ever.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ever => "",
            Self::Week => " a week",
            Self::Month => " a month",
            Self::Year => " a year",
        })
    }
}

/// What an anonymous identifier, one of a device or a browser, says where a known person is seen with it. A record is known that
/// has an identifier of a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhenKnown {
    /// What joins any other identifiers' records joins its records too.
    #[default]
    Join,
    /// It belongs to the person who was first seen with it: anonymous records join that one, persons seen later do not join
    /// through it.
    First,
    /// It joins anonymous records with each other alone.
    Never,
}

impl Default for IdentifierRule {
    /// What holds of a kind of which a file says nothing.
    fn default() -> Self {
        Self {
            name: String::new(),
            priority: 1,
            values_max: VALUES_MAX,
            values_per: Period::Ever,
            unique: false,
            fanout_max: IdentityLimits::default().fanout_max,
            weak: false,
            anonymous: None,
            normalize: NormalizeOptions::default(),
            blocked: Vec::new(),
            presets: Vec::new(),
        }
    }
}

impl IdentifierRule {
    /// True when a canonical value is never an edge.
    #[must_use]
    pub fn blocks(&self, canonical: &str) -> bool {
        self.presets.iter().any(|preset| preset.holds(&self.name, canonical))
            || self.blocked.iter().any(|pattern| matches_pattern(pattern, canonical))
    }
}
