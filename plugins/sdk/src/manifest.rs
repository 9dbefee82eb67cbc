//! What a plugin says about itself, and what a destination says about its objects: the JSON that the host's `manifest`
//! module reads. A manifest asks; what is granted is the intersection with the connection.

mod auth;
mod oauth;
mod signature;
mod target;
mod webhooks;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use auth::AuthSlot;
pub use oauth::{Assertion, ClientAuth, OauthClient};
pub use signature::{
    BinaryEncoding, BodyDigest, HashAlgorithm, HmacSignature, KeyHeader, SecretForm, SignedPart, Timestamp, TimestampForm,
};
pub use target::{DestinationInfo, Durable, Idempotence, Target, TargetList, TargetSchema, ValueForm, WriteMode};
pub use webhooks::{WebhookRequests, Webhooks};

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
    /// How the service signs its webhooks; it sends none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
    /// The vendor's limits, all of which hold at once.
    pub rate_limits: Vec<RateLimit>,
    /// What its work costs in requests, see [`Manifest::costs`]; null when it does not say.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub costs: Value,
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
            webhooks: None,
            rate_limits: Vec::new(),
            costs: Value::Null,
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

    /// Asks for hosts by patterns without placeholders of their own: `api.example.org`, or `{config.base_url}` for the origin of that
    /// URL.
    #[must_use]
    pub fn hosts(self, patterns: &[&str]) -> Self {
        patterns.iter().fold(self, |manifest, pattern| manifest.host(pattern, &[]))
    }

    /// Keys of `config` that exclude each other: where the first is given, the second is a mistake, told at its line with `help`.
    /// Null and false are not given.
    ///
    /// ```
    /// # use affluent_sdk::{Manifest, PluginKind};
    /// let manifest = Manifest::new::<()>("crm", "0.1.0", [PluginKind::Source]).never_both("user", "refresh", "leave one of them out");
    /// assert!(manifest.config_schema["allOf"][0]["then"]["properties"]["refresh"].is_object());
    /// ```
    #[must_use]
    pub fn never_both(mut self, first: &str, second: &str, help: &str) -> Self {
        let nothing = json!([null, false]);
        let is_given = json!({ "required": [first], "properties": { first: { "not": { "enum": nothing } } } });
        let is_not_given = json!({ "properties": { second: { "enum": nothing, "description": help } } });
        let rule = json!({ "if": is_given, "then": is_not_given });
        match self.config_schema.get_mut("allOf").and_then(Value::as_array_mut) {
            Some(rules) => rules.push(rule),
            None => _ = self.config_schema.as_object_mut().map(|schema| schema.insert("allOf".to_owned(), json!([rule]))),
        }
        self
    }

    /// Names an auth slot that requests refer to with [`crate::http::Request::auth`].
    #[must_use]
    pub fn auth(mut self, slot: &str, auth: impl Into<AuthSlot>) -> Self {
        self.auth.insert(slot.to_owned(), auth.into());
        self
    }

    /// Asks the host to hold a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, description: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.secrets.push(SecretRequest { name: name.to_owned(), description: description.to_owned(), scopes, optional: false });
        self
    }

    /// As [`Manifest::secret`], for one that only some configurations need.
    #[must_use]
    pub fn optional_secret(mut self, name: &str, description: &str, scopes: &[&str]) -> Self {
        self = self.secret(name, description, scopes);
        self.secrets.iter_mut().filter(|secret| secret.name == name).for_each(|secret| secret.optional = true);
        self
    }

    /// Says how the service signs its webhooks: the host verifies them, and each makes the pipelines due that read the connection.
    /// Their secret is one that connections may leave out, unless it was declared before.
    #[must_use]
    pub fn webhooks(mut self, webhooks: Webhooks) -> Self {
        let secret = &webhooks.signature.secret;
        if !self.secrets.iter().any(|declared| declared.name == *secret) {
            let secret = secret.clone();
            self = self.optional_secret(&secret, "what webhooks are signed with; without it none are taken", &[]);
        }
        self.webhooks = Some(webhooks);
        self
    }

    /// Adds a limit of the vendor.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limits.push(limit);
        self
    }

    /// Adds limits of the vendor.
    #[must_use]
    pub fn rate_limits(mut self, limits: impl IntoIterator<Item = RateLimit>) -> Self {
        self.rate_limits.extend(limits);
        self
    }

    /// Says what reading and writing costs in requests, for the forecast of `affluent plan`: the text of a file beside `Cargo.toml`,
    /// `include_str!("../costs.json")`. The host checks its form, and refuses the manifest with the place of a mistake.
    ///
    /// ```
    /// # use affluent_sdk::{Manifest, PluginKind};
    /// let manifest = Manifest::new::<()>("shop", "0.1.0", [PluginKind::Destination]).costs(
    ///     r#"{ "write": { "people": [
    ///         { "request": "GET /v3/fields", "requests": 2 },
    ///         { "request": "POST /v3/people", "per_rows": 100 },
    ///         { "request": "POST /v3/tags", "per_rows": 1, "of": "listed" },
    ///         { "request": "DELETE /v3/tags", "per_rows": 1, "of": "removed" } ] } }"#,
    /// );
    /// assert_eq!(manifest.costs["write"]["people"][1]["per_rows"], 100);
    /// ```
    #[must_use]
    pub fn costs(mut self, json: &str) -> Self {
        // What is no JSON stands in its own place, where the host refuses it with these words.
        self.costs = serde_json::from_str(json).unwrap_or_else(|error| Value::String(format!("no JSON: {error}")));
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

    /// Limits on requests of a `METHOD /path` prefix, for a vendor that counts in fixed windows of a second and of a minute:
    /// the host lets a burst go and then an even flow, so what both windows allow together is a burst below the second's
    /// (seven tenths, for what is still under way), and a minute's flow less that burst.
    ///
    /// ```
    /// use affluent_sdk::manifest::RateLimit;
    ///
    /// let limit = RateLimit::fixed_windows("GET /lists", 10, 150);
    /// assert_eq!((limit.burst, limit.requests, limit.per_ms), (Some(7), 140, 60_000));
    /// ```
    pub fn fixed_windows(prefix: &str, a_second: u32, a_minute: u32) -> Self {
        let burst = (a_second * 7 / 10).max(1);
        Self::new(a_minute.saturating_sub(burst + 3).max(1), 60_000).burst(burst).matching(prefix)
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

impl CostFeedback {
    /// Where an answer says how many points are left.
    pub fn available(pointer: &str) -> Self {
        Self { available: pointer.to_owned(), ..Self::default() }
    }

    /// Where it says how many come back per second.
    #[must_use]
    pub fn restore_per_s(mut self, pointer: &str) -> Self {
        self.restore_per_s = Some(pointer.to_owned());
        self
    }

    /// Where it says how many there are at most.
    #[must_use]
    pub fn capacity(mut self, pointer: &str) -> Self {
        self.capacity = Some(pointer.to_owned());
        self
    }

    /// Where it says how many the request asked for.
    #[must_use]
    pub fn requested(mut self, pointer: &str) -> Self {
        self.requested = Some(pointer.to_owned());
        self
    }

    /// What marks a 200 as "too many requests": this text at a pointer.
    #[must_use]
    pub fn throttled(mut self, pointer: &str, equals: &str) -> Self {
        self.throttled = Some(ThrottledMarker { pointer: pointer.to_owned(), equals: equals.to_owned() });
        self
    }
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
