//! What an assessment says. No value of a field that may be personal is in it: only counts, shares and masked shapes.

use affluent_model::pii::PiiClass;
use affluent_model::schema::FieldType;
use serde::Serialize;

use super::personal::PersonalKind;

/// What was found in a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// The connection or file.
    pub source: String,
    pub streams: Vec<StreamAssessment>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamAssessment {
    pub stream: String,
    /// Records that were looked at.
    pub records: u64,
    /// False when there are more.
    pub is_whole: bool,
    /// Records that the source could not read.
    pub rejected: u64,
    pub fields: Vec<FieldAssessment>,
    /// Fields, alone or in pairs, that tell records apart.
    pub keys: Vec<KeyCandidate>,
    /// Fields that point to a person or a thing.
    pub identifiers: Vec<IdentifierCandidate>,
    /// Field that identifies the person at the source.
    pub subject: Option<String>,
    pub times: Vec<TimeCandidate>,
    pub consents: Vec<ConsentCandidate>,
    /// How the records would meet the profiles that are known; `None` without a project that holds any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<MatchForecast>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldAssessment {
    pub name: String,
    /// What the source says, else the narrowest type that holds all values.
    #[serde(rename = "type")]
    pub kind: FieldType,
    pub nulls: u64,
    pub empty: u64,
    /// Records with a value that stands for none, by preset.
    pub junk: Vec<JunkCount>,
    /// Part of the records with a value that is no junk, 0 to 1.
    pub fill_rate: f64,
    pub distinct: u64,
    /// False = estimated, with a standard error of 0.5 %.
    pub distinct_is_exact: bool,
    /// Forms that values have, with the part of the values that have them.
    pub formats: Vec<Share>,
    /// The most frequent shapes.
    pub shapes: Vec<Share>,
    /// Of numbers and dates in fields that are not personal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    /// The values themselves, where they are few and nothing speaks for personal data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personal: Option<Personal>,
}

/// A text and its part of the values, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    pub name: String,
    pub share: f64,
}

/// Records with values of a preset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JunkCount {
    /// As in `presets` of `profiles/identity.yaml`.
    pub preset: &'static str,
    pub records: u64,
}

/// What speaks for personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The source says so.
    Declared,
    Name,
    Content,
}

/// Personal data in a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Personal {
    pub kind: PersonalKind,
    /// The class for `pii` in a pipeline.
    pub class: PiiClass,
    /// 0 to 1.
    pub confidence: f64,
    pub by: Vec<Ground>,
}

/// Fields that no two records share and every record has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyCandidate {
    pub fields: Vec<String>,
    /// False = as far as a sample of the values, or the first records, tell.
    pub is_exact: bool,
}

/// A field whose values stand for somebody or something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdentifierCandidate {
    pub field: String,
    /// The kind of identifier that it would be.
    pub kind: String,
    /// It points to a person: the proposed pipeline uses it.
    pub is_of_person: bool,
    pub fill_rate: f64,
    pub distinct: u64,
    pub records_per_value: f64,
    /// 99 of 100 values have no more records.
    pub records_per_value_p99: u64,
    pub records_per_value_max: u64,
    pub junk_share: f64,
    /// What is known of its values already, by kind of identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<KnownValues>,
}

/// Values of a field that the ledger holds as a kind of identifier, by blind index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownValues {
    pub kind: String,
    /// Distinct usable values that were looked up.
    pub values: u64,
    pub known: u64,
    /// `known` of `values`, 0 to 1.
    pub share: f64,
}

/// A field that says when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeCandidate {
    pub field: String,
    pub role: TimeRole,
    pub format: &'static str,
}

/// What a time is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeRole {
    /// When the record last changed, by its name: what an incremental read goes by.
    Changed,
    Created,
    /// Of whatever the record tells.
    Event,
}

/// A field that says whether somebody agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsentCandidate {
    pub field: String,
    pub purpose: String,
    /// SQL expression: true = granted, false = denied, null = nothing said.
    pub granted: String,
}

/// How records would meet known profiles, by the rules of the project over identifiers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MatchForecast {
    /// Records that were resolved.
    pub records: u64,
    /// Of them, those that would join a profile that exists.
    pub joining: u64,
    /// `joining` of `records`, 0 to 1.
    pub match_rate: f64,
    /// Profiles that exist and would get records.
    pub profiles_met: u64,
    /// Profiles that the other records would make among themselves.
    pub profiles_made: u64,
    /// Records without a usable identifier.
    pub without_identifier: u64,
    /// Profiles that exist and would become one through these records.
    pub profiles_merged: u64,
    /// True when rules compare attributes, which a forecast does not.
    pub leaves_out_comparisons: bool,
}
