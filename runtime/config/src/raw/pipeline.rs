//! `pipelines/*.yaml`.

use affluent_model::consent::LegalBasis;
use affluent_model::schema::SyncMode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};
use crate::raw::connection::RawInlineConnection;
use crate::raw::tests::RawTest;

/// One pipeline: a source, transforms, a destination, and when it runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPipeline {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Name of the pipeline.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) pipeline: Placed<String>,
    /// When it runs; without it, only by hand.
    pub(crate) schedule: Option<Placed<RawSchedule>>,
    /// Where records come from.
    pub(crate) source: Placed<RawSource>,
    /// What happens to records on the way, in this order.
    pub(crate) transforms: Option<Vec<Placed<RawTransform>>>,
    /// Where records go.
    pub(crate) destination: Placed<RawDestination>,
    /// What happens to refused records.
    pub(crate) errors: Option<RawErrors>,
    /// What must come of given records; `affluent test` runs them.
    pub(crate) tests: Option<Vec<Placed<RawTest>>>,
}

/// When a pipeline runs: at times, after other pipelines, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSchedule {
    /// Five crontab fields: minute, hour, day of month, month, day of week (0 and 7 = Sunday).
    #[schemars(extend("x-affluent" = "cron"))]
    pub(crate) cron: Option<Placed<String>>,
    /// IANA time zone of `cron`, such as `Europe/Paris`; `UTC` when absent.
    #[schemars(extend("x-affluent" = "timezone"))]
    pub(crate) timezone: Option<Placed<String>>,
    /// Starts up to this much later, always the same for a pipeline: `60s`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) jitter: Option<Placed<String>>,
    /// What a due run does while the one before is still going: `skip` (when absent) or `queue`.
    pub(crate) overlap: Option<RawOverlap>,
    /// Runs missed while nothing ran: `none`, `last` (when absent), or `{ all: 5 }` for at most five.
    pub(crate) catch_up: Option<RawCatchUp>,
    /// Stops a run that takes longer: `1h`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) timeout: Option<Placed<String>>,
    /// Runs when these pipelines have run.
    pub(crate) after: Option<Vec<Placed<String>>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawOverlap {
    Skip,
    Queue,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawCatchUp {
    Text(RawCatchUpWord),
    Map(RawCatchUpAll),
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawCatchUpWord {
    None,
    Last,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCatchUpAll {
    /// Missed runs made up for at most.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) all: u32,
}

/// Where records come from: `connection` and `streams`, or `profiles`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSource {
    /// Name of a connection, or one written here.
    pub(crate) connection: Option<RawConnectionUse>,
    /// Streams to read: names, or a map from name to how it is read.
    pub(crate) streams: Option<RawStreams>,
    /// Unified profiles: `{ segment: name }`, or `{}` for all.
    pub(crate) profiles: Option<Placed<RawProfilesSource>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawConnectionUse {
    Text(Placed<String>),
    Map(Placed<Box<RawInlineConnection>>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawStreams {
    List(Vec<Placed<String>>),
    Map(Named<RawStream>),
}

/// How a stream is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStream {
    /// `full_refresh` (when absent) reads everything in every run, `incremental` what changed.
    pub(crate) sync: Option<SyncMode>,
    /// Nothing older than this: a date or an instant.
    #[schemars(extend("x-affluent" = "since"))]
    pub(crate) since: Option<Placed<String>>,
    /// How far back an incremental read looks again: `10m`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) lookback: Option<Placed<String>>,
    /// Field → class of personal data, or `none`: corrects what the plugin says.
    pub(crate) pii: Option<Named<RawPii>>,
}

/// A class of personal data, or `none`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawPii {
    None,
    Email,
    Phone,
    Name,
    Address,
    BirthDate,
    Ip,
    FreeText,
    OnlineId,
    Gender,
}

/// Which profiles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfilesSource {
    /// Only the members of this segment.
    pub(crate) segment: Option<Placed<String>>,
}

/// One step: exactly one of these keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct RawTransform {
    /// Keeps the records for which the condition is true.
    pub(crate) filter: Option<RawFilter>,
    /// Sets and drops columns.
    pub(crate) map: Option<Placed<RawMap>>,
    /// Runs a plugin.
    pub(crate) plugin: Option<Placed<RawPluginStep>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFilter {
    /// The stream it is for.
    pub(crate) stream: Placed<String>,
    /// SQL condition over the stream's columns.
    #[serde(rename = "where")]
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) condition: Placed<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMap {
    /// The stream it is for.
    pub(crate) stream: Placed<String>,
    /// Column → SQL expression; all see the values before this step.
    #[schemars(extend("additionalProperties" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) set: Option<Named<Placed<String>>>,
    /// Columns that are not kept; dropped after `set`.
    pub(crate) drop: Option<Vec<Placed<String>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPluginStep {
    /// The plugin.
    #[serde(rename = "use")]
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) plugin: Placed<String>,
    /// The streams it is for.
    #[schemars(extend("minItems" = 1))]
    pub(crate) streams: Vec<Placed<String>>,
    /// What the plugin asks for; its own schema checks it.
    pub(crate) config: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Where records go: `profiles`, or `connection` and `object`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDestination {
    /// Stream → how its records become parts of profiles.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) profiles: Option<Placed<Named<RawMapping>>>,
    /// Name of a connection, or one written here.
    pub(crate) connection: Option<RawConnectionUse>,
    /// What the destination calls these records: `profile`, `contact`, `file`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) object: Option<Placed<String>>,
    /// Purpose of the consent without which nobody is sent.
    pub(crate) purpose: Option<Placed<String>>,
    /// Channel of that consent: what was said about another does not count; about any does when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) channel: Option<Placed<String>>,
    /// Scope of that consent: what was said about another does not count; about any does when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) scope: Option<Placed<String>>,
    /// What else that consent must be.
    pub(crate) require: Option<Placed<RawRequire>>,
    /// Field of the destination → identifier or expression that finds the record there.
    #[serde(rename = "match")]
    #[schemars(extend("additionalProperties" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) match_by: Option<Placed<Named<Placed<String>>>>,
    /// How rows are written; `upsert` for profiles and `append` for records when absent.
    pub(crate) mode: Option<Placed<RawMode>>,
    /// The list or tag that mirrors the segment.
    pub(crate) list: Option<Placed<RawList>>,
    /// Field of the destination → attribute, computed trait, column or SQL expression; `email|sha256` passes a
    /// personal value in a form: sha256, md5, lower, upper or e164.
    #[schemars(extend("additionalProperties" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) map: Option<Placed<Named<Placed<String>>>>,
    /// Every personal attribute, identifier or column that leaves.
    pub(crate) grants: Option<Vec<Placed<String>>>,
    /// Those of `grants` that the plugin sees in the clear. The others reach it as tokens, and the host puts the values
    /// into its requests.
    pub(crate) plaintext: Option<Vec<Placed<String>>>,
    /// Holds a run that would remove too much.
    pub(crate) guard: Option<Placed<RawGuard>>,
    /// Size of the batches.
    pub(crate) batch: Option<RawBatch>,
}

/// How a stream's records become parts of profiles. Values are SQL expressions over the stream's columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMapping {
    /// Identifies the person at this source; null or absent = a guest, known by identifiers alone.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) subject: Option<Placed<String>>,
    /// Identifier of `profiles/identity.yaml` → value.
    #[schemars(extend("additionalProperties" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) identifiers: Option<Named<Placed<String>>>,
    /// Attribute → value.
    #[schemars(extend("x-keys" = "name", "additionalProperties" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) attributes: Option<Named<Placed<String>>>,
    /// Purpose → what was decided, when and how; or any name → the same, with `purpose`.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) consent: Option<Named<RawConsent>>,
    /// The record is an order.
    pub(crate) order: Option<RawOrder>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConsent {
    /// True = granted, false = denied, null = nothing said; `granted` or `status`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) granted: Option<Placed<String>>,
    /// `granted`, `denied`, `revoked`, or `pending` (a double opt-in that was not confirmed); any other word is no grant,
    /// null = nothing said.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) status: Option<Placed<String>>,
    /// When it was said; when the record changed, if absent.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) at: Option<Placed<String>>,
    /// The purpose; the name of this row when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) purpose: Option<Placed<String>>,
    /// The identifier it was said about; every identifier of the record when absent.
    pub(crate) identifier: Option<Placed<String>>,
    /// The channel it is for, such as `email` or `sms`; every channel when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) channel: Option<Placed<String>>,
    /// What it reaches, such as a brand; everything when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) scope: Option<Placed<String>>,
    /// Basis in law (GDPR article 6).
    pub(crate) legal_basis: Option<LegalBasis>,
    /// Expression of the place whose law counts: ISO 3166, `FR` or `US-CA`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) jurisdiction: Option<Placed<String>>,
    /// Expression of the time at which a grant ends.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) expires_at: Option<Placed<String>>,
    /// A grant ends so long after it was given: `730d`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) expires_after: Option<Placed<String>>,
    /// Expression of where the proof lies: the address of a form, the number of a document.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) evidence: Option<Placed<String>>,
}

/// What the consent that a destination needs must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct RawRequire {
    /// Grants on another basis do not count.
    #[schemars(extend("minItems" = 1))]
    pub(crate) legal_basis: Option<Vec<LegalBasis>>,
    /// Persons of these places are not sent, nor persons of an unknown one: ISO 3166, `US` or `US-CA`.
    #[schemars(extend("minItems" = 1, "items" = { "type": "string", "x-affluent": "jurisdiction" }))]
    pub(crate) not_in: Option<Vec<Placed<String>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOrder {
    /// The order's id.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) id: Placed<String>,
    /// When it was placed.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) at: Placed<String>,
    /// ISO 4217 code.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) currency: Option<Placed<String>>,
    /// Net value after refunds.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) net: Placed<String>,
    /// Status at the source.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) status: Option<Placed<String>>,
    /// The child stream that holds its lines.
    pub(crate) lines: Option<Placed<String>>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawMode {
    Insert,
    Update,
    Upsert,
    Mirror,
    Append,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawList {
    /// Name of the list at the destination.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) name: Placed<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGuard {
    /// Holds the run when more than this share would be removed; `10%` when absent.
    #[schemars(extend("x-affluent" = "percent"))]
    pub(crate) max_remove: Option<Placed<String>>,
    /// The share is not looked at below this many rows; 100 when absent.
    pub(crate) min_rows: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["every"]))]
pub(crate) struct RawBatch {
    /// Rows per batch at most.
    #[schemars(range(min = 1))]
    pub(crate) max: Option<u32>,
}

/// What happens to refused records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawErrors {
    /// Always `dead_letter`: a refused record is kept with its reason.
    #[serde(rename = "on_record")]
    pub(crate) _on_record: Option<RawOnRecord>,
    /// Fails the run when too many records are refused.
    pub(crate) breaker: Option<Placed<RawBreaker>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawOnRecord {
    DeadLetter,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBreaker {
    /// Records looked at; 1000 when absent.
    #[schemars(range(min = 1))]
    pub(crate) window: Option<u64>,
    /// Refused records among them at most; 50 when absent.
    pub(crate) max: Option<u64>,
}
