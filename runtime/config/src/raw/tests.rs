//! `tests` of a pipeline: what its sources are given, and what must come of it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};

/// One test, run by `affluent test`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTest {
    /// What it shows, as a sentence; `affluent test --name` finds it by a part of it.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) name: Placed<String>,
    /// The time it runs at: a date or an instant; the moment it is started when absent.
    #[schemars(extend("x-affluent" = "since"))]
    pub(crate) now: Option<Placed<String>>,
    /// Runs in a row; those after the first must change nothing. 1 when absent.
    #[schemars(range(min = 1, max = 10))]
    pub(crate) times: Option<u32>,
    /// Stream → its records. Another pipeline's stream is `pipeline.stream` where its name is not enough.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) given: Option<Placed<Named<RawGiven>>>,
    /// Folder of a recording that the sources are read from, instead of `given`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) recording: Option<Placed<String>>,
    /// What must come of it.
    pub(crate) expect: Placed<RawExpectations>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawGiven {
    List(Vec<RawRow>),
    Map(RawFixture),
}

/// A record: field → value.
type RawRow = Named<serde_json::Value>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFixture {
    /// A CSV file with a header, or JSON Lines: `fixtures/orders.csv`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) fixture: Placed<String>,
}

/// What must come of a test; at least one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExpectations {
    /// Profiles that must be there; there may be others.
    pub(crate) profiles: Option<Vec<Placed<RawExpectedProfile>>>,
    /// What is sent.
    pub(crate) deliveries: Option<Vec<Placed<RawExpectedDelivery>>>,
    /// All refused records; none when absent.
    pub(crate) dead_letters: Option<Vec<Placed<RawExpectedDeadLetters>>>,
    /// Numbers of the first run, over all its pipelines.
    pub(crate) counts: Option<Placed<RawCounts>>,
}

/// A profile. What is not named is not looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExpectedProfile {
    /// Identifier of `profiles/identity.yaml` → value: finds the profile.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) identifiers: RawRow,
    /// Attribute → value; `null` when it must have none.
    pub(crate) attributes: Option<RawRow>,
    /// Computed trait → value; `null` when it must have none.
    pub(crate) traits: Option<RawRow>,
    /// Purpose → what was last said for the identifiers above.
    pub(crate) consent: Option<Named<RawConsentWord>>,
    /// All segments the profile is in.
    pub(crate) segments: Option<Vec<Placed<String>>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawConsentWord {
    Granted,
    Expired,
    Pending,
    Denied,
    Unknown,
}

/// What one pipeline sends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExpectedDelivery {
    /// The pipeline that sends; the one of the test when absent.
    pub(crate) pipeline: Option<Placed<String>>,
    /// All rows that are created or updated, each by some or all of its fields.
    pub(crate) upserts: Option<Vec<RawRow>>,
    /// All rows that are removed, each by some or all of its fields.
    pub(crate) removes: Option<Vec<RawRow>>,
}

/// Refused records of one kind.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawExpectedDeadLetters {
    /// Code of the reason, as `affluent dead-letters list` shows it; any when absent.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) code: Option<Placed<String>>,
    /// Stream, or object of a destination; any when absent.
    pub(crate) stream: Option<Placed<String>>,
    /// How many; 1 when absent.
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCounts {
    /// Profiles there are at the end.
    pub(crate) profiles: Option<u64>,
    /// Records read.
    pub(crate) read: Option<u64>,
    /// Records that a filter left out.
    pub(crate) filtered: Option<u64>,
    /// Records refused.
    pub(crate) refused: Option<u64>,
    /// Records kept.
    pub(crate) kept: Option<u64>,
    /// Rows sent to be created or updated.
    pub(crate) upserts: Option<u64>,
    /// Rows sent to be removed.
    pub(crate) removes: Option<u64>,
    /// People left out for lack of consent.
    pub(crate) without_consent: Option<u64>,
    /// People left out for lack of a value to match by.
    pub(crate) without_match: Option<u64>,
}
