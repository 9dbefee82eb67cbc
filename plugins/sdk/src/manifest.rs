//! What a plugin says about itself, and what a destination says about its objects: the JSON that the host's `manifest`
//! module reads. A manifest asks; what is granted is the intersection with the connection.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stream::Field;

/// What a plugin can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    /// Reads records.
    Source,
    /// Turns batches into batches.
    Transform,
    /// Writes rows.
    Destination,
}

/// The manifest, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub manifest_version: u32,
    /// What pipelines call the plugin: lower case, digits, `-`.
    pub name: String,
    /// The plugin's own version, semantic.
    pub version: String,
    /// What it is; both for a connector.
    pub kinds: Vec<PluginKind>,
    /// One line for users.
    pub description: String,
    /// SPDX expression.
    pub license: String,
    /// JSON Schema of the connection's `config`; secrets are not in it.
    pub config_schema: Value,
    /// Payloads it takes and gives.
    pub formats: Formats,
    /// Hosts it asks to reach; none for a transform.
    pub hosts: Vec<HostRequest>,
    /// Auth slot name → how the host adds the credential.
    pub auth: BTreeMap<String, AuthSlot>,
    /// Secrets it asks the host to hold.
    pub secrets: Vec<SecretRequest>,
    /// The vendor's limits, all of which hold at once.
    pub rate_limits: Vec<RateLimit>,
    /// What it asks of the machine.
    pub limits: PluginLimits,
    /// The plugin works on files that the connection grants.
    pub files: bool,
    /// Features that the host must have; an older host refuses the plugin.
    pub required_features: Vec<String>,
}

impl Manifest {
    /// A manifest that asks for nothing. `C` is the type of the plugin's configuration.
    ///
    /// Use `env!("CARGO_PKG_VERSION")` as the version.
    pub fn new<C: JsonSchema>(name: &str, version: &str, kinds: impl IntoIterator<Item = PluginKind>) -> Self {
        let columns = || vec!["columns".to_owned()];
        Self {
            manifest_version: 1,
            name: name.to_owned(),
            version: version.to_owned(),
            kinds: kinds.into_iter().collect(),
            description: String::new(),
            license: "Apache-2.0".to_owned(),
            config_schema: schemars::schema_for!(C).to_value(),
            formats: Formats { accepts: columns(), emits: columns() },
            hosts: Vec::new(),
            auth: BTreeMap::new(),
            secrets: Vec::new(),
            rate_limits: Vec::new(),
            limits: PluginLimits::default(),
            files: false,
            required_features: Vec::new(),
        }
    }

    /// One line for users.
    #[must_use]
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// Asks for a host by pattern, https only: `a.klaviyo.com`, or `{config.shop}.myshopify.com` with a regular
    /// expression for each placeholder.
    #[must_use]
    pub fn host(mut self, pattern: &str, vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(name, regex)| ((*name).to_owned(), (*regex).to_owned())).collect();
        self.hosts.push(HostRequest { pattern: pattern.to_owned(), schemes: vec!["https".to_owned()], vars });
        self
    }

    /// Names an auth slot that requests refer to with [`crate::http::Request::auth`].
    #[must_use]
    pub fn auth(mut self, slot: &str, auth: AuthSlot) -> Self {
        self.auth.insert(slot.to_owned(), auth);
        self
    }

    /// Asks the host to hold a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, description: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.secrets.push(SecretRequest { name: name.to_owned(), description: description.to_owned(), scopes, optional: false });
        self
    }

    /// Adds a limit of the vendor.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limits.push(limit);
        self
    }

    /// Asks for memory, time or concurrency.
    #[must_use]
    pub fn limits(mut self, limits: PluginLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Asks for the files that the connection grants.
    #[must_use]
    pub fn with_files(mut self) -> Self {
        self.files = true;
        self
    }
}

/// Payload formats: `columns`, `ndjson`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// What batches may arrive as.
    pub accepts: Vec<String>,
    /// What pages may be given as.
    pub emits: Vec<String>,
}

/// A host the plugin asks to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRequest {
    /// Host name, with placeholders such as `{config.shop}`.
    pub pattern: String,
    /// `https`, or `http` too where an operator grants it.
    pub schemes: Vec<String>,
    /// Placeholder → regular expression that its value must match whole.
    pub vars: BTreeMap<String, String>,
}

/// How the host adds a credential to a request that names the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthSlot {
    /// Where the credential goes.
    #[serde(rename = "type")]
    pub kind: AuthKind,
    /// For `header`: its name. For `query`: the parameter's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text before the secret: `Klaviyo-API-Key `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Name of the secret. For `basic`: the password.
    pub secret: String,
    /// For `basic`: the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl AuthSlot {
    /// `Authorization: Bearer SECRET`.
    pub fn bearer(secret: &str) -> Self {
        Self { kind: AuthKind::Bearer, name: None, prefix: None, secret: secret.to_owned(), user: None }
    }

    /// `NAME: PREFIX SECRET`; the prefix carries its own space.
    pub fn header(name: &str, prefix: &str, secret: &str) -> Self {
        let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
        Self { kind: AuthKind::Header, name: Some(name.to_owned()), prefix, secret: secret.to_owned(), user: None }
    }

    /// `?NAME=SECRET`.
    pub fn query(name: &str, secret: &str) -> Self {
        Self { kind: AuthKind::Query, name: Some(name.to_owned()), prefix: None, secret: secret.to_owned(), user: None }
    }

    /// HTTP basic authentication, the secret as the password.
    pub fn basic(user: &str, secret: &str) -> Self {
        Self { kind: AuthKind::Basic, name: None, prefix: None, secret: secret.to_owned(), user: Some(user.to_owned()) }
    }
}

/// Where the credential goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// A header of any name.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// A query parameter.
    Query,
}

/// A secret the plugin needs the host to hold for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRequest {
    /// The name that connections and auth slots use.
    pub name: String,
    /// What it is and where to get it, for users.
    pub description: String,
    /// Vendor scopes that the credential must carry.
    pub scopes: Vec<String>,
    /// The plugin works without it.
    pub optional: bool,
}

/// The vendor's published limit; the connection may lower it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests per `per_ms`.
    pub requests: u32,
    /// Length of the window, in milliseconds.
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

impl RateLimit {
    /// A limit on every request.
    pub fn new(requests: u32, per_ms: u64) -> Self {
        Self { requests, per_ms, burst: None, matches: None, cost: None }
    }

    /// Requests that may leave at once.
    #[must_use]
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }

    /// Limits only requests of this `METHOD /path` prefix.
    #[must_use]
    pub fn matching(mut self, prefix: &str) -> Self {
        self.matches = Some(prefix.to_owned());
        self
    }

    /// Counts points, see [`CostFeedback`].
    #[must_use]
    pub fn cost(mut self, cost: CostFeedback) -> Self {
        self.cost = Some(cost);
        self
    }
}

/// Where a JSON answer says how many points are left (RFC 6901 pointers).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottledMarker {
    /// Where the value stands (RFC 6901).
    pub pointer: String,
    /// The text it must equal.
    pub equals: String,
}

/// What the plugin asks of the machine; the host's ceilings win.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginLimits {
    /// Memory of an instance, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Longest call, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout_s: Option<u32>,
    /// Requests in flight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// An object that a destination can write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSchema {
    /// The word that pipelines write.
    pub name: String,
    /// Known fields; more are allowed where `any_fields` or a prefix of `open_fields` says so.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Any name is allowed.
    #[serde(default)]
    pub any_fields: bool,
    /// Prefixes under which any name is allowed: `properties.`.
    #[serde(default)]
    pub open_fields: Vec<String>,
    /// Names that `match` may use; empty = any.
    #[serde(default)]
    pub match_fields: Vec<String>,
    /// What can be done with rows of it.
    pub modes: Vec<WriteMode>,
    /// Membership in a named list can be kept.
    #[serde(default)]
    pub lists: bool,
    /// Personal fields that cannot be written blind: `validate` tells the author of a pipeline to grant them in the clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<String>,
}

/// How a destination writes the rows of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// New records only.
    Insert,
    /// Known records only.
    Update,
    /// Both, by the `match` fields.
    Upsert,
    /// As `Upsert`, and what is gone here is taken away there.
    Mirror,
    /// Adds records without looking for known ones.
    Append,
}

/// What the host asks a destination to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the [`TargetSchema`].
    pub object: String,
    /// What is to be done with the rows.
    pub mode: WriteMode,
    /// Columns that identify a record at the destination.
    #[serde(rename = "match", default)]
    pub match_fields: Vec<String>,
    /// The list whose membership is kept.
    #[serde(default)]
    pub list: Option<TargetList>,
    /// All columns of the batches, match columns included.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Unique per run: file names, remote labels.
    #[serde(default)]
    pub run: String,
}

impl Target {
    /// The name of the list whose membership is kept, if any.
    pub fn list_name(&self) -> Option<&str> {
        self.list.as_ref().map(|list| list.name.as_str())
    }
}

/// A list at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetList {
    /// Its name there.
    pub name: String,
}

/// What a destination promises when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Field → the form that its values must have. The host brings them into it, or refuses the row: a plugin that sees
    /// tokens cannot look.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forms: BTreeMap<String, ValueForm>,
}

/// A form of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl DestinationInfo {
    /// Promises without limits on a batch.
    pub fn new(durable: Durable, idempotent: Idempotence) -> Self {
        Self { durable, idempotent, max_rows: None, max_bytes: None, forms: BTreeMap::new() }
    }

    /// Rows per batch at most.
    #[must_use]
    pub fn max_rows(mut self, rows: u32) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// Bytes of values per batch at most.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Wants the values of a field in a form.
    #[must_use]
    pub fn form(mut self, field: &str, form: ValueForm) -> Self {
        self.forms.insert(field.to_owned(), form);
        self
    }
}

/// When accepted rows are safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durable {
    /// With the outcome of each write.
    Write,
    /// Only when the destination is closed.
    Close,
}

/// What a repeated write of the same batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotence {
    /// The same rows again change nothing.
    ByKey,
    /// The vendor deduplicates on the idempotency key.
    ByHeader,
    /// It may write them twice.
    No,
}
