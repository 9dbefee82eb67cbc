//! What a run did, in numbers that add up: read = admitted + rejected + filtered + suppressed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One execution of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    pub pipeline: String,
    pub run: String,
    pub outcome: RunOutcome,
    /// Milliseconds from start to end.
    pub took_ms: u64,
    pub streams: Vec<StreamReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<ProfilesReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationReport>,
    /// Set when the run failed: the error's code and text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    #[default]
    Succeeded,
    /// Done, with refused records, or with a segment whose size changed more than its alert lets pass.
    Partial,
    /// Paused by a remote limit; resumes itself.
    Paused,
    /// Held by a guard.
    Held,
    Failed,
    Cancelled,
}

/// Records of one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    pub stream: String,
    pub read: u64,
    pub filtered: u64,
    pub rejected: u64,
    pub admitted: u64,
    /// Records of erased persons, dropped; where records pass straight through, of suppressed persons too.
    #[serde(default)]
    pub suppressed: u64,
    /// Field values sealed.
    pub sealed: u64,
    pub pages: u64,
    pub commits: u64,
}

/// What unifying and computing made of the records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfilesReport {
    pub nodes_new: u64,
    pub profiles: u64,
    pub created: u64,
    /// Profiles that were computed: those that something new is about, or all.
    #[serde(default)]
    pub computed: u64,
    /// Profiles with other clear values than before, where all were computed again; where the touched alone were, each of them has
    /// something new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    pub merged: u64,
    pub split: u64,
    /// Rule name → links it made in this run.
    pub links_by_rule: BTreeMap<String, u64>,
    pub links_refused: u64,
    /// Guard rail in words → links that it refused among the records that were looked at.
    #[serde(default)]
    pub refused_by_reason: BTreeMap<String, u64>,
    pub identifiers_blocked: u64,
    /// Identifiers for which everything was taken back since the run before: suppressed from now on.
    #[serde(default, skip_serializing_if = "is_none")]
    pub withdrawn: u64,
    /// Segment → members now, entered, left.
    pub segments: BTreeMap<String, SegmentReport>,
    /// Milliseconds spent on finding who is who.
    pub unified_ms: u64,
    /// Milliseconds spent on attributes, traits and segments.
    pub computed_ms: u64,
}

/// One segment after a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentReport {
    pub members: u64,
    pub entered: u64,
    pub left: u64,
    /// The size changed by more than the segment's `alert` lets pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_alert: bool,
}

impl SegmentReport {
    /// Members before the run.
    #[must_use]
    pub fn members_before(&self) -> u64 {
        (self.members + self.left).saturating_sub(self.entered)
    }
}

/// What an activation sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivationReport {
    pub destination: String,
    pub object: String,
    /// Rows wanted at the destination.
    pub desired: u64,
    /// Left out: no consent for the purpose.
    pub without_consent: u64,
    /// Left out: suppressed or erased.
    #[serde(default)]
    pub suppressed: u64,
    /// Withdrew or are suppressed, and the destination holds them still: the mode removes nothing.
    #[serde(default)]
    pub kept_after_withdrawal: u64,
    /// Left out: no value to match by.
    pub without_match: u64,
    /// Left out: another profile has the same match value.
    pub duplicate_match: u64,
    pub unchanged: u64,
    pub upserts: u64,
    pub removes: u64,
    /// Of `removes`: rows of profiles that were merged into others.
    #[serde(default)]
    pub merged: u64,
    /// Rows of merged profiles that stay, because the destination cannot remove in this mode.
    #[serde(default)]
    pub merged_left: u64,
    /// Of `removes`: rows of persons who are matched by other values now.
    #[serde(default, skip_serializing_if = "is_none")]
    pub former: u64,
    /// Rows of persons who are matched by other values now that stay, because the mode removes nothing.
    #[serde(default, skip_serializing_if = "is_none")]
    pub former_left: u64,
    /// Persons whom the destination was asked to erase, and took the request.
    #[serde(default, skip_serializing_if = "is_none")]
    pub erased: u64,
    /// Requests to erase that it did not take; asked again by the next run.
    #[serde(default, skip_serializing_if = "is_none")]
    pub erasures_refused: u64,
    pub accepted: u64,
    pub removed: u64,
    pub skipped: u64,
    pub failed: u64,
    /// Not sent for good or ill: tried again by the next run.
    pub retryable: u64,
    pub batches: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}
