//! What a plugin says about itself: its manifest, and the objects a destination can write.

mod auth;
mod costs;
mod oauth;
mod signature;
mod webhooks;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::ConnectionLimits;
use crate::schema::Field;

pub use auth::AuthSlot;
pub use costs::{CostOf, Costs, RequestCost};
pub use oauth::{Assertion, ClientAuth, OauthClient};
pub use signature::{
    BinaryEncoding, BodyDigest, HashAlgorithm, HmacSignature, KeyHeader, SecretForm, SignedPart, Timestamp, TimestampForm,
};
pub use webhooks::{WebhookRequests, Webhooks};

/// What a plugin can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    Source,
    Transform,
    Destination,
}

impl PluginKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Destination => "destination",
        }
    }
}

/// The manifest: JSON returned by the plugin without any grant; asks, never takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 1.
    pub manifest_version: u32,
    /// What connections name: `shopify`, `acme/order-tagger`.
    pub name: String,
    /// Of the plugin, semantic.
    pub version: String,
    /// What it can be.
    pub kinds: Vec<PluginKind>,
    /// One sentence for lists.
    #[serde(default)]
    pub description: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: String,
    /// JSON Schema draft 2020-12 of the connection's `config`.
    pub config_schema: serde_json::Value,
    /// Payload formats it takes and gives.
    #[serde(default)]
    pub formats: Formats,
    /// Hosts it asks to reach.
    #[serde(default)]
    pub hosts: Vec<HostRequest>,
    /// Auth slot name → how the host adds the credential.
    #[serde(default)]
    pub auth: BTreeMap<String, AuthSlot>,
    /// Secrets it needs the host to hold.
    #[serde(default)]
    pub secrets: Vec<SecretRequest>,
    /// How the service signs the requests by which it tells that something changed; it sends none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
    /// The vendor's published limits.
    #[serde(default)]
    pub rate_limits: Vec<RateLimit>,
    /// What its work costs in requests, for the forecast of a plan.
    #[serde(default, skip_serializing_if = "Costs::is_unsaid")]
    pub costs: Costs,
    /// What it asks of the machine.
    #[serde(default)]
    pub limits: PluginLimits,
    /// True when the plugin works on files granted by the connection.
    #[serde(default)]
    pub files: bool,
    /// Host features without which the plugin cannot work; an unknown one refuses the plugin.
    #[serde(default)]
    pub required_features: Vec<String>,
}

impl Manifest {
    /// Whether personal values reach the plugin as tokens: always, unless it can write nowhere but to files of the operator.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        !self.files || !self.hosts.is_empty()
    }

    /// The limits that hold on a connection, all at once: the vendor's and, as one more window, the connection's own.
    #[must_use]
    pub fn limits_on(&self, own: &ConnectionLimits) -> Vec<RateLimit> {
        let own = own.rate.map(|(requests, per_ms)| RateLimit { requests, per_ms, burst: own.burst, matches: None, cost: None });
        self.rate_limits.iter().cloned().chain(own).collect()
    }
}

/// Payload formats a plugin accepts and emits: `columns`, `ndjson`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Formats {
    #[serde(default)]
    pub accepts: Vec<String>,
    #[serde(default)]
    pub emits: Vec<String>,
}

/// A host the plugin asks to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRequest {
    /// `a.klaviyo.com`, `{config.shop}.myshopify.com`, or with `{config.base_url}` the origin of that URL.
    pub pattern: String,
    /// `https` unless the connection grants more.
    #[serde(default)]
    pub schemes: Vec<String>,
    /// Placeholder → regular expression that its value must match whole.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
}

/// A secret the plugin needs the host to hold for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Vendor scopes that the credential must carry.
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub optional: bool,
}

/// The vendor's published limit; the connection may lower it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per `per_ms`.
    pub requests: u32,
    pub per_ms: u64,
    /// Requests that may leave at once; `requests` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// `METHOD /path` prefix it is for; every request when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Counts points instead of requests, and takes what is left of them from each JSON answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostFeedback>,
}

/// Where a JSON answer says how many points are left (RFC 6901 pointers).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostFeedback {
    /// Points left.
    pub available: String,
    /// Points that come back per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_per_s: Option<String>,
    /// Points at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// Points that the request asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// Marks a 200 as "too many requests".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<ThrottledMarker>,
}

/// A value in a JSON answer that means: refused for want of points, nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThrottledMarker {
    pub pointer: String,
    pub equals: String,
}

/// What the plugin asks of the machine; the host's ceilings win.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout_s: Option<u32>,
    /// Requests in flight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// A word of [`TargetSchema::modes`] that no pipeline writes: a person can be erased. Batches are deletions with the match
/// columns; accepted = the request was taken.
pub const ERASE_MODE: &str = "erase";
/// Another: whether a person was erased can be looked up, with the same batches. Accepted = gone, retryable = still there.
pub const VERIFY_ERASURE_MODE: &str = "verify_erasure";

/// An object that a destination can write, as its `discover` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSchema {
    /// What a pipeline names as `object`.
    pub name: String,
    /// Known fields; more are allowed where `any_fields` or a prefix of `open_fields` says so.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// True when any name is allowed.
    #[serde(default)]
    pub any_fields: bool,
    /// Prefixes under which any name is allowed: `properties.`.
    #[serde(default)]
    pub open_fields: Vec<String>,
    /// Names that `match` may use; empty = any.
    #[serde(default)]
    pub match_fields: Vec<String>,
    /// `insert | update | upsert | mirror | append`; `erase` and `verify_erasure` where a person can be erased, which no pipeline
    /// writes: batches are deletions with the match columns.
    pub modes: Vec<String>,
    /// True when membership in a named list can be kept.
    #[serde(default)]
    pub lists: bool,
    /// Personal fields that the plugin cannot write blind: the pipeline must let it see them in the clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<String>,
    /// Rows of a batch at most, whatever their fields; [`DestinationInfo::max_rows`] may be lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
}

/// What a destination says when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationInfo {
    /// When accepted rows are safe.
    pub durable: Durable,
    /// What a repeated write does.
    pub idempotent: Idempotence,
    /// Rows per batch at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
    /// Bytes per batch at most, values counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Field → the form that its values must have: the host brings them into it, or refuses the row with its reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forms: BTreeMap<String, ValueForm>,
    /// True when rows are removed in every mode: profiles that were merged away leave no duplicates then. A mirror removes
    /// in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removes: bool,
}

/// A form that a destination wants a field's values in; it cannot look at personal values itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueForm {
    /// A phone number in E.164: `+33612345678`.
    E164,
    /// An email address, trimmed, lower-case, its domain in ASCII.
    Email,
    /// Trimmed and lower-case.
    Lower,
    /// Without space around it.
    Trimmed,
}

/// When accepted rows are safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durable {
    /// With the outcome of each write.
    Write,
    /// Only when the destination is closed.
    Close,
}

/// What a repeated write of the same batch does (delivery.md R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Idempotence {
    /// The same rows again change nothing.
    ByKey,
    /// The vendor deduplicates on the idempotency key.
    ByHeader,
    No,
}
