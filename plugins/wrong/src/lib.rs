//! A connector that keeps every rule of the plugin contract, or breaks exactly one: the contract suite must tell which.
//! Only tests load it; it is never part of the product. `mistake` says what is wrong, in the configuration or, for the
//! manifest, which is asked for without one, in [`SWITCH`].

mod api;
mod manifest;
mod reader;
mod transform;
mod writer;

use affluent_sdk::{CheckReport, Error, Manifest, Plugin, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::Api;
pub use crate::reader::Reader;
pub use crate::transform::Tidy;
pub use crate::writer::Writer;

/// The connection's `config`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, host and port of the service.
    #[serde(default)]
    pub base_url: String,
    /// What is wrong; nothing when empty.
    #[serde(default)]
    pub mistake: String,
    /// The account whose items are read.
    #[serde(default)]
    pub account: u32,
    /// Put into the state by a mistake.
    #[serde(default)]
    pub label: String,
}

/// The account that the service does not have.
const UNKNOWN_ACCOUNT: u32 = 7;

impl Config {
    pub(crate) fn is(&self, mistake: &str) -> bool {
        self.mistake == mistake
    }
}

/// The plugin.
#[derive(Debug)]
pub struct Wrong;

impl Plugin for Wrong {
    type Config = Config;

    fn manifest() -> Manifest {
        manifest::manifest()
    }

    fn check(config: &Config) -> Result<CheckReport> {
        if config.account == UNKNOWN_ACCOUNT {
            let what = "there is no such account";
            return Err(if config.is("check_calls_it_internal") { Error::internal(what) } else { Error::config(what) });
        }
        if config.is("check_is_blind") {
            return Ok(CheckReport::default());
        }
        let answer = Api::new(config).get("/items?cursor=0&limit=1").send()?;
        if !answer.is_success() {
            match config.mistake.as_str() {
                "check_repeats_the_answer" => return Err(Error::auth(String::from_utf8_lossy(answer.body()).into_owned())),
                "check_takes_401_for_trouble" => return Err(Error::transient("the service is in trouble")),
                _ => {}
            }
        }
        answer.error_for_status()?;
        if config.is("check_refuses") { Err(Error::internal("not today")) } else { Ok(CheckReport::default()) }
    }
}

/// What a forgotten `unwrap` does.
#[expect(clippy::panic, reason = "the mistake is about it")]
fn trap() -> ! {
    panic!("no answer")
}

affluent_sdk::export_connector!(Wrong, Reader, Writer);
affluent_sdk::__export_transform_interface!(Tidy);
