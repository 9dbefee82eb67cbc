//! What a connection to the service says.

use schemars::JsonSchema;
use serde::Deserialize;

/// The connection's `config`; these comments are the descriptions that users see.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, host, port and path prefix of the API.
    #[serde(default = "base_url")]
    pub base_url: String,
}

fn base_url() -> String {
    "https://api.example.org".to_owned()
}
