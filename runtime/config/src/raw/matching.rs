//! The parts of `profiles/identity.yaml` that compare attributes.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};

/// A column that rules compare.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAttribute {
    /// What it is: decides how values are made comparable and how alike two are.
    pub(crate) is: RawForm,
    /// Order of day, month and year in dates; `year_first` when absent. ISO dates are always read.
    pub(crate) order: Option<Placed<RawDateOrder>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawForm {
    GivenName,
    FamilyName,
    Date,
    /// House number and street in one line.
    Street,
    /// Postcode, house number, number of an authority.
    Code,
    Email,
    /// Words: a place, a company.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are the words of the file")]
pub(crate) enum RawDateOrder {
    YearFirst,
    DayFirst,
    MonthFirst,
}

/// What a pair of records must show. `exact`: equal normal forms. `compatible`: nothing contradicts; an identifier that
/// contradicting records share does not join records without a value. `agree`: nothing contradicts and something agrees, if
/// only an initial. `same`: given and family name agree, one of them may be an initial. `nickname`, `initial`: equal, or that.
/// `swapped`: equal also with given and family name, or day and month, swapped. `jaro_winkler`: similarity of at least 0.9, of streets 0.85.
/// `damerau`: one inserted, lost, changed or swapped letter at most. Or a map with a number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawTest {
    Text(RawTestWord),
    Map(Placed<RawTestMap>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawTestWord {
    Exact,
    Compatible,
    Agree,
    Same,
    Nickname,
    Initial,
    Swapped,
    JaroWinkler,
    Damerau,
}

/// Exactly one of the keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTestMap {
    /// Similarity of at least this, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) jaro_winkler: Option<f64>,
    /// So many inserted, lost, changed or swapped letters at most.
    pub(crate) damerau: Option<u32>,
    /// So many days apart at most.
    pub(crate) within_days: Option<u32>,
}

/// Fellegi-Sunter evidence over attributes, learnt from the records without labels.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawScore {
    /// Two records are one profile from this probability on: 0.9 when absent.
    #[schemars(range(min = 0.5, max = 0.999_999))]
    pub(crate) probability: Option<f64>,
    /// Attributes that are weighed; all when absent.
    #[schemars(extend("minItems" = 1))]
    pub(crate) attributes: Option<Vec<Placed<String>>>,
}

/// Keeps records apart that contradict each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVeto {
    /// `names` and attributes in which two persons differ.
    #[schemars(extend("minItems" = 1))]
    pub(crate) contradicting: Vec<Placed<String>>,
    /// Share of the pairs across two sides that may contradict, 0 to 1; 0.34 when absent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) share_max: Option<f64>,
}

/// How `affluent resolve` finds identifiers and attributes in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRecords {
    /// Column that tells records apart; the first when absent.
    pub(crate) id: Option<Placed<String>>,
    /// Column that tells when a record was observed, as a date or time of ISO 8601: what was seen first counts where a profile
    /// would have too many values. Without it all were seen at once.
    pub(crate) at: Option<Placed<String>>,
    /// Identifier or attribute → column, where the two have different names.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) columns: Option<Named<Placed<String>>>,
}

/// A shipped list of values that join nothing, or not on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawPreset {
    /// `info@`, `sales@`, `noreply@` join nothing.
    RoleMailboxes,
    /// `info@`, `sales@`, `noreply@` join only where a rule asks for something else too: another identifier, or a comparison in
    /// which both sides agree. Of records that were read before, after `run --full`.
    WeakRoleMailboxes,
    /// Of `phone`: lines of a house or an office, where the numbering plan tells them from mobile numbers, join only where a rule
    /// asks for something else too, as mailboxes of a function do. Of records that were read before, after `run --full`.
    WeakFixedLines,
    /// `test@test.com`, `0000000000`, `null` join nothing.
    Junk,
}
