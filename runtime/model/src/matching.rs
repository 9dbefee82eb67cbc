//! How rules of identity look at what people write about themselves: names, dates, addresses. These attributes never
//! identify anybody alone; a rule compares them beside identifiers, or weighs them together.

use std::fmt;

use crate::diagnostic::Location;
use crate::plan::{IdentityRules, MatchRule};

/// A record by the connection that knows it and its subject's id there: `shop/1234`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordReference {
    pub connection: String,
    pub subject: String,
}

/// Two records that somebody decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPair {
    pub one: RecordReference,
    pub other: RecordReference,
    pub at: Location,
}

/// A column that rules compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeRule {
    pub name: String,
    pub form: AttributeForm,
}

/// What an attribute is: it decides its normal form, how alike two values are, and by which parts likely pairs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeForm {
    GivenName,
    FamilyName,
    /// A calendar date, written in this order.
    Date(DateOrder),
    /// House number and street in one line.
    Street,
    /// A postcode, a house number, a number of an authority: letters and digits count, one slip of the hand is near.
    Code,
    Email,
    /// A place, a company: words.
    Text,
}

/// The order of day, month and year in a source's dates. ISO dates and eight digits are read under each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    YearFirst,
    DayFirst,
    MonthFirst,
}

/// One test of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub subject: Subject,
    pub test: Test,
}

/// What a test looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The first given name and the first family name of the rules, also where a source swapped them.
    Names,
    /// An attribute by name.
    Attribute(String),
}

/// What a pair of nodes must show. Unless said otherwise, both must have a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Test {
    /// Equal normal forms.
    Exact,
    /// Nothing contradicts. Where one of two nodes has no value at all, an identifier that both carry joins them only if
    /// no two of its carriers contradict each other: a value that a household shares says nothing of the nameless.
    Compatible,
    /// Nothing contradicts and something agrees, if only an initial.
    Agree,
    /// Of names: given and family name agree, one of them may be an initial. Else as `Agree`.
    Same,
    /// Jaro-Winkler similarity of at least this, 0 to 1; of streets: equal house numbers and similar streets.
    JaroWinkler(f64),
    /// At most so many inserted, lost, changed or swapped letters.
    Damerau(u32),
    /// Equal, or one is a nickname of the other.
    Nickname,
    /// Equal, or one is the initial of the other.
    Initial,
    /// Equal, or of dates: equal with day and month swapped; of names: equal with given and family name swapped.
    Swapped,
    /// At most so many days apart.
    WithinDays(u32),
}

/// Fellegi-Sunter evidence: each attribute's agreement weighs what it tells, by how often it occurs among matches and
/// among strangers. Both are learnt from the records themselves, by expectation maximisation, without labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRule {
    /// Attributes that are weighed; empty = all.
    pub attributes: Vec<String>,
    /// Two nodes are one profile from this probability on, above 0 and below 1.
    pub probability_min: f64,
}

/// Keeps profiles apart whose members contradict each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Veto {
    /// Names of two persons contradict.
    pub is_by_names: bool,
    /// Attributes whose values contradict where they are not even similar.
    pub attributes: Vec<String>,
    /// A join is refused when more than this share of the pairs across the two sides contradicts, 0 to 1.
    pub share_max: f64,
}

impl IdentityRules {
    /// For each of `attributes`, whether a rule or the veto looks at it: no other needs to be read.
    #[must_use]
    pub fn compared(&self) -> Vec<bool> {
        let is_named = |subject: &Subject, one: &AttributeRule| match subject {
            Subject::Names => matches!(one.form, AttributeForm::GivenName | AttributeForm::FamilyName),
            Subject::Attribute(name) => *name == one.name,
        };
        let is_weighed =
            |score: &ScoreRule, one: &AttributeRule| score.attributes.is_empty() || score.attributes.contains(&one.name);
        let is_compared = |one: &AttributeRule| {
            let in_rules = self.rules.iter().any(|rule| {
                rule.compare.iter().any(|comparison| is_named(&comparison.subject, one))
                    || rule.score.as_ref().is_some_and(|score| is_weighed(score, one))
            });
            let in_veto = self
                .veto
                .as_ref()
                .is_some_and(|veto| veto.is_by_names && is_named(&Subject::Names, one) || veto.attributes.contains(&one.name));
            in_rules || in_veto
        };
        self.attributes.iter().map(is_compared).collect()
    }

    /// True when a rule finds pairs that share no identifier: any node may then join any other, so that a part of the nodes
    /// cannot be resolved without the rest.
    #[must_use]
    pub fn joins_without_identifiers(&self) -> bool {
        self.rules.iter().any(|rule| rule.all.is_empty())
    }
}

impl MatchRule {
    /// What the rule looks at besides identifiers, in the words of the file: `names same`, `weighs first_name`.
    #[must_use]
    pub fn compared(&self, attributes: &[AttributeRule]) -> Vec<String> {
        let weighed = self.score.iter().flat_map(|score| {
            let all = attributes.iter().map(|one| &one.name).filter(|_| score.attributes.is_empty());
            score.attributes.iter().chain(all).map(|name| format!("weighs {name}"))
        });
        let tested = self.compare.iter().map(|comparison| match &comparison.subject {
            Subject::Names => format!("names {}", comparison.test),
            Subject::Attribute(name) => format!("{name} {}", comparison.test),
        });
        tested.chain(weighed).collect()
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Compatible => f.write_str("compatible"),
            Self::Agree => f.write_str("agree"),
            Self::Same => f.write_str("same"),
            Self::JaroWinkler(least) => write!(f, "jaro_winkler {least}"),
            Self::Damerau(edits) => write!(f, "damerau {edits}"),
            Self::Nickname => f.write_str("nickname"),
            Self::Initial => f.write_str("initial"),
            Self::Swapped => f.write_str("swapped"),
            Self::WithinDays(days) => write!(f, "within_days {days}"),
        }
    }
}
