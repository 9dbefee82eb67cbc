//! The inline tests of a pipeline: what its sources are given, and what must come of it.

use std::path::PathBuf;

use serde_json::Value;

use crate::diagnostic::Location;

/// One test of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineTest {
    /// What it shows, as a sentence.
    pub name: String,
    /// The time it runs at, microseconds UTC; the moment it is started when absent.
    pub now_us: Option<i64>,
    /// Runs in a row, at least 1; those after the first must change nothing.
    pub times: u32,
    pub given: Vec<GivenStream>,
    /// Folder of a recording that sources are read from instead, relative to the project.
    pub recording: Option<PathBuf>,
    pub expect: Expectations,
    pub at: Location,
}

/// The records of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenStream {
    /// Set where the stream is named with its pipeline: `shop_to_profiles.orders`.
    pub pipeline: Option<String>,
    pub stream: String,
    pub rows: GivenRows,
    pub at: Location,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GivenRows {
    Rows(Vec<Vec<PlacedValue>>),
    /// A CSV or JSON Lines file, relative to the project.
    Fixture(PathBuf),
}

/// A named value and where its name stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedValue {
    pub name: String,
    pub value: Value,
    pub at: Location,
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedName {
    pub name: String,
    pub at: Location,
}

/// What must come of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    pub profiles: Vec<ExpectedProfile>,
    pub deliveries: Vec<ExpectedDelivery>,
    /// All that there are: a refused record that is not expected fails the test.
    pub dead_letters: Vec<ExpectedDeadLetters>,
    /// `profiles`, `read`, `filtered`, `refused`, `kept`, `upserts`, `removes`, `without_consent`, `without_match`.
    pub counts: Vec<PlacedValue>,
}

/// A profile that must be there. What is not named is not looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedProfile {
    /// Kind → value, not empty: all of them must lead to this profile.
    pub identifiers: Vec<PlacedValue>,
    /// A null means: the profile has none.
    pub attributes: Vec<PlacedValue>,
    pub traits: Vec<PlacedValue>,
    /// Purpose → `granted`, `denied` or `unknown`.
    pub consent: Vec<PlacedValue>,
    /// All segments the profile is in.
    pub segments: Option<Vec<PlacedName>>,
    pub at: Location,
}

/// What a pipeline must send.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedDelivery {
    /// The pipeline of the test when absent.
    pub pipeline: Option<PlacedName>,
    /// All rows sent to be created or updated, by some or all of their fields; not looked at when absent.
    pub upserts: Option<Vec<Vec<PlacedValue>>>,
    /// All rows sent to be removed.
    pub removes: Option<Vec<Vec<PlacedValue>>>,
    pub at: Location,
}

/// Refused records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedDeadLetters {
    pub code: Option<String>,
    pub stream: Option<PlacedName>,
    pub count: u64,
    pub at: Location,
}
