//! `connections/*.yaml`, and the connection inside a pipeline.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};

/// One account at a vendor, shared by every pipeline on it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-plugin" = true))]
pub(crate) struct RawConnection {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Name of the connection.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) connection: Placed<String>,
    /// The plugin that speaks to the vendor: `shopify`, `acme/order-tagger`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) plugin: Placed<String>,
    /// What the plugin asks for; its own schema checks it. `{ env: NAME }` and `{ var: name }` stand for texts.
    pub(crate) config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Secrets by the name the plugin gives them. Never the secret itself: a reference to where it is kept.
    pub(crate) secrets: Option<Named<Placed<RawSecret>>>,
    /// One budget of requests for every pipeline on this account.
    pub(crate) limits: Option<RawLimits>,
    /// What the plugin may reach beyond its vendor's hosts over https.
    pub(crate) egress: Option<RawEgress>,
    /// Files that the plugin may read and write.
    pub(crate) files: Option<RawFiles>,
    /// Where the service sends what it tells by itself (webhooks), for connections that give the secret they are signed with.
    pub(crate) webhooks: Option<RawWebhooks>,
}

/// A connection of one pipeline, written inside it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-plugin" = true))]
pub(crate) struct RawInlineConnection {
    /// The plugin that speaks to the vendor: `csv`, `acme/order-tagger`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) plugin: Placed<String>,
    /// What the plugin asks for; its own schema checks it. `{ env: NAME }` and `{ var: name }` stand for texts.
    pub(crate) config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Secrets by the name the plugin gives them. Never the secret itself: a reference to where it is kept.
    pub(crate) secrets: Option<Named<Placed<RawSecret>>>,
    /// The budget of requests.
    pub(crate) limits: Option<RawLimits>,
    /// What the plugin may reach beyond its vendor's hosts over https.
    pub(crate) egress: Option<RawEgress>,
    /// Files that the plugin may read and write.
    pub(crate) files: Option<RawFiles>,
    /// Where the service sends what it tells by itself (webhooks), for connections that give the secret they are signed with.
    pub(crate) webhooks: Option<RawWebhooks>,
}

/// Where a secret is kept: exactly one of both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1, "x-affluent" = "secrets"))]
pub(crate) struct RawSecret {
    /// Its name at the secret provider: `shop/token`.
    #[schemars(extend("x-affluent" = "secret"))]
    pub(crate) secret: Option<Placed<String>>,
    /// The environment variable that holds it.
    #[schemars(extend("x-affluent" = "environment"))]
    pub(crate) env: Option<Placed<String>>,
}

/// Limits below those of the vendor.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    /// Requests per time: `2/s`, `100/10s`.
    #[schemars(extend("x-affluent" = "rate"))]
    pub(crate) rate: Option<Placed<String>>,
    /// Requests that may leave at once after a pause.
    #[schemars(range(min = 1))]
    pub(crate) burst: Option<u32>,
    /// Requests in flight at once.
    #[schemars(range(min = 1))]
    pub(crate) concurrency: Option<u32>,
}

/// What is allowed beyond the plugin's own hosts over public https.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEgress {
    /// Only these of the plugin's hosts.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "host" }))]
    pub(crate) hosts: Option<Vec<Placed<String>>>,
    /// Private or loopback addresses that may be reached: `127.0.0.1:8080`.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "address" }))]
    pub(crate) private: Option<Vec<Placed<String>>>,
    /// Allows plain http toward the addresses in `private`.
    pub(crate) http: Option<bool>,
}

/// Files granted to the plugin, relative to the project's folder or absolute.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFiles {
    /// Patterns of files that may be read: `exports/*.csv`.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "files" }))]
    pub(crate) read: Option<Vec<Placed<String>>>,
    /// Folders below which files may be written: `out`.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "files" }))]
    pub(crate) write: Option<Vec<Placed<String>>>,
}

/// Where webhooks come in: `affluent serve` answers them under `/webhooks/CONNECTION`, behind a proxy of yours.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWebhooks {
    /// The address as the service was given it: `https://hooks.example.com/webhooks/crm`. Some services sign it.
    #[schemars(extend("x-affluent" = "webhook_url"))]
    pub(crate) url: Placed<String>,
}
