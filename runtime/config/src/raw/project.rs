//! `affluent.yaml`.

use affluent_model::lock::IsolationRule;
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
    /// Plugins that are not inside the program: where they are looked for, and which of them may run.
    pub(crate) plugins: Option<RawPlugins>,
    /// What happens to personal data of a class: `seal` (encrypt, the default), `clear` (keep readable) or `drop`.
    #[schemars(extend("x-keys" = "pii"))]
    pub(crate) pii: Option<Named<PiiPolicy>>,
    /// In which currency values of orders are told, and what other currencies are worth; that of most orders, and nothing, when
    /// absent.
    pub(crate) money: Option<RawMoney>,
}

/// Values of orders are converted at the day of the order; those in a currency without a rate then count without a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMoney {
    /// ISO 4217 code of the currency in which values are told: `EUR`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) currency: Placed<String>,
    /// CSV files of the project with the columns `date`, `currency` and `rate`: what one unit is worth from that day on.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) rates: Vec<Placed<String>>,
}

/// A keyring file, or the id of a key in the environment: exactly one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct RawKeys {
    /// A keyring file, relative to the project's folder.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) file: Option<Placed<String>>,
    /// The id of a key: `"1"` takes it from the variable `AFFLUENT_KEK_1`, 32 random bytes as base64. A variable can be seen by
    /// whoever may look at the process; a key file that a service manager hands over is the better place.
    #[schemars(extend("x-affluent" = "key_id"))]
    pub(crate) env: Option<Placed<String>>,
}

/// Where plugins are looked for, and which of them may run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlugins {
    /// Folders, relative to the project's folder; `[plugins]` when absent. `affluent plugin add` puts plugins into the first.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) dirs: Option<Vec<Placed<String>>>,
    /// Public keys of minisign, `RW…`. When there are any, a plugin from outside must be signed by one of them.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "public_key" }))]
    pub(crate) trust: Option<Vec<Placed<String>>>,
    /// Plugins that never run, besides those that this release of the program refuses.
    pub(crate) deny: Option<Vec<Placed<RawDenied>>>,
    /// Which plugins from outside run in processes of their own, without keys, stores, files and network: `unsigned` (those
    /// that no trusted key signed; the default), `process` (all), or `none`.
    pub(crate) isolation: Option<IsolationRule>,
    /// Plugins under development: name → component file, relative to the project's folder. They run as they are, unpinned;
    /// `--locked` refuses them.
    #[schemars(extend("x-keys" = "plugin"))]
    pub(crate) develop: Option<Named<Placed<String>>>,
}

/// A plugin that never runs: by `sha256`, by `key`, or by `name` with `versions`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct RawDenied {
    /// SHA-256 of the component.
    #[schemars(extend("x-affluent" = "sha256"))]
    pub(crate) sha256: Option<Placed<String>>,
    /// Key of whoever signed it: its id of 16 hex digits, or the public key.
    #[schemars(extend("x-affluent" = "key"))]
    pub(crate) key: Option<Placed<String>>,
    /// Name of the plugin.
    #[schemars(extend("x-affluent" = "plugin"))]
    pub(crate) name: Option<Placed<String>>,
    /// Its versions, such as `<1.2.0`; all when absent.
    #[schemars(extend("x-affluent" = "versions"))]
    pub(crate) versions: Option<Placed<String>>,
    /// Why; shown when it is met.
    pub(crate) reason: Option<String>,
}
