//! `affluent.lock`.

use affluent_model::lock::PluginSource;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};

/// `affluent.lock`: the plugins a project may run, with what each was allowed. Written by `affluent`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLock {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Plugin by name.
    #[schemars(extend("x-keys" = "plugin"))]
    pub(crate) plugins: Named<RawLocked>,
}

/// One plugin, pinned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLocked {
    /// Of the plugin, when it was approved.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) version: Placed<String>,
    /// Where it came from.
    pub(crate) source: PluginSource,
    /// SHA-256 of the component.
    #[schemars(extend("x-affluent" = "sha256"))]
    pub(crate) sha256: Placed<String>,
    /// Version of the plugin contract it was built for.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) contract: Placed<String>,
    /// Id of the key that signed it.
    #[schemars(extend("x-affluent" = "key"))]
    pub(crate) signer: Option<Placed<String>>,
    /// SHA-256 of the grants, so that nobody widens them by hand and unseen.
    #[schemars(extend("x-affluent" = "sha256"))]
    pub(crate) grants_sha256: Placed<String>,
    /// What it was allowed, by category, in words.
    pub(crate) grants: Named<Vec<String>>,
}
