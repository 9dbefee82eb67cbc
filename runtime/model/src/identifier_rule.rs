//! What rules of identity say of one kind of identifier, besides the plan's fields.

use std::fmt;

use crate::junk::BlockPreset;
use crate::normalize::{self, IdentifierForm, NormalizeOptions, is_fixed_line, matches_pattern};
use crate::plan::{IdentifierRule, IdentityLimits};

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

/// Which values of a kind are those of a household or an office, and so never join on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeakValues {
    /// Mailboxes of a function: `info@`.
    RoleMailboxes,
    /// Telephones that do not leave the house, where the numbering plan tells.
    FixedLines,
}

impl WeakValues {
    /// True when a canonical value of a form is one of them.
    #[must_use]
    pub fn holds(self, form: IdentifierForm, canonical: &str) -> bool {
        match self {
            Self::RoleMailboxes => BlockPreset::RoleMailboxes.holds(form, canonical),
            Self::FixedLines => is_fixed_line(canonical),
        }
    }
}

impl Default for IdentifierRule {
    /// What holds of a kind of which a file says nothing.
    fn default() -> Self {
        Self {
            name: String::new(),
            form: None,
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
            weak_values: None,
            mark_of: None,
        }
    }
}

impl IdentifierRule {
    /// True when a canonical value is never an edge.
    #[must_use]
    pub fn blocks(&self, canonical: &str) -> bool {
        self.presets.iter().any(|preset| preset.holds(self.form(), canonical))
            || self.blocked.iter().any(|pattern| matches_pattern(pattern, canonical))
    }

    /// The kind whose values these are: of a mark that which it marks.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.mark_of.as_deref().unwrap_or(&self.name)
    }

    /// What its values are: as the project says, or as the kind's name does.
    #[must_use]
    pub fn form(&self) -> IdentifierForm {
        self.form.unwrap_or_else(|| IdentifierForm::of_kind(self.kind()))
    }

    /// The canonical form of a value; `None` for what is no value of the kind.
    #[must_use]
    pub fn canonical(&self, value: &str) -> Option<String> {
        self.canonical_with(value, &self.normalize)
    }

    /// The same under other options than the project's.
    #[must_use]
    pub fn canonical_with(&self, value: &str, options: &NormalizeOptions) -> Option<String> {
        normalize::identifier(self.form(), value, options)
    }

    /// The canonical form of a value that is an edge; `None` for what is no value of the kind, or is blocked.
    #[must_use]
    pub fn usable(&self, value: &str) -> Option<String> {
        let canonical = self.canonical(value)?;
        let is_taken = self.mark_of.is_none() || self.is_weak_value(&canonical);
        (is_taken && !self.blocks(&canonical)).then_some(canonical)
    }

    /// True for a usable value that never joins on its own.
    #[must_use]
    pub fn is_weak_value(&self, canonical: &str) -> bool {
        self.weak_values.is_some_and(|weak| weak.holds(self.form(), canonical))
    }

    /// Where some values are weak: a kind of its own with an edge for each of them beside that of the kind itself,
    /// under the same blind index. Who resolves sees no values, and knows by these edges which are weak.
    #[must_use]
    pub fn mark(&self) -> Option<Self> {
        self.weak_values.map(|_| Self { name: mark_of(&self.name), mark_of: Some(self.name.clone()), ..self.clone() })
    }
}

/// What ends the name of a mark: no name of a kind can. Ledgers hold it.
const MARK: &str = "~mailbox";

/// The name of a kind's mark.
#[must_use]
pub fn mark_of(kind: &str) -> String {
    format!("{kind}{MARK}")
}

/// True for the name of a mark.
#[must_use]
pub fn is_mark(kind: &str) -> bool {
    kind.ends_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_takes_the_usable_weak_values_alone() {
        let blocked = vec!["sales@*".to_owned()];
        let rule = IdentifierRule {
            name: "email".to_owned(),
            weak_values: Some(WeakValues::RoleMailboxes),
            blocked,
            ..IdentifierRule::default()
        };
        let mark = rule.mark().unwrap();
        let cases = [("Info@X.test", Some("info@x.test")), ("ann@x.test", None), ("sales@x.test", None), ("info", None)];
        for (value, expected) in cases {
            assert_eq!(mark.usable(value).as_deref(), expected, "{value}");
            assert!(expected.is_none() || rule.usable(value).as_deref() == expected, "{value}");
        }
        let rule =
            IdentifierRule { name: "phone".to_owned(), weak_values: Some(WeakValues::FixedLines), ..IdentifierRule::default() };
        let line = rule.mark().unwrap();
        assert_eq!(line.usable("+33 1 42 68 53 00").as_deref(), Some("+33142685300"));
        assert_eq!(line.usable("+33 6 12 34 56 78"), None);
        assert!(is_mark(&mark.name) && !is_mark("email") && mark.kind() == "email");
        assert_eq!(IdentifierRule::default().mark().map(|mark| mark.name), None);
    }
}
