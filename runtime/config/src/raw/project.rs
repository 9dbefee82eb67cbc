//! `affluent.yaml`.

use affluent_model::pii::PiiPolicy;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};

/// `affluent.yaml`: the name of the project, and where its data, keys and plugins are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["ledger", "lake"]))]
pub(crate) struct RawProject {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Name of the project.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) project: Placed<String>,
    /// The isolated data space, bound into every encrypted value; the project's name when absent.
    #[schemars(extend("x-affluent" = "name"))]
    pub(crate) workspace: Option<Placed<String>>,
    /// Folder of the stores, relative to the project's folder; `.affluent` when absent.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) data_dir: Option<Placed<String>>,
    /// Where the key comes from that wraps all other keys; `{ file: .affluent/keys/keyring }` when absent.
    pub(crate) keys: Option<Placed<RawKeys>>,
    /// Where plugins are looked for before those inside the program.
    pub(crate) plugins: Option<RawPlugins>,
    /// What happens to personal data of a class: `seal` (encrypt, the default), `clear` (keep readable) or `drop`.
    #[schemars(extend("x-keys" = "pii"))]
    pub(crate) pii: Option<Named<PiiPolicy>>,
}

/// A keyring file, or the id of a key in the environment: exactly one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct RawKeys {
    /// A keyring file, relative to the project's folder.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) file: Option<Placed<String>>,
    /// The id in `AFFLUENT_KEK_<ID>`.
    #[schemars(extend("x-affluent" = "environment"))]
    pub(crate) env: Option<Placed<String>>,
}

/// Where plugins are looked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlugins {
    /// Folders, relative to the project's folder.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) dirs: Vec<Placed<String>>,
}
