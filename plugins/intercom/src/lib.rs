//! Intercom as a destination and a source: contacts found and then created or updated one by one, tags kept, people erased; contacts
//! read with who unsubscribed. What is here is the configuration, the manifest, the check and how to ask; `writer` writes, `reader`
//! reads. What people agreed to is read, never written.
//! Facts: the vendor's description 2.15 (github.com/intercom/Intercom-OpenAPI, commit 8889625, 2026-08-21); the words of a 409:
//! github.com/PostHog/posthog issue 72192 (2026-07-19). Read 2026-11-28.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;

use affluent_sdk::ErrorKind::{Auth, Permission};
use affluent_sdk::changes::ChangesSource;
use affluent_sdk::http::{Meaning, Reasons, Service};
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit};
use affluent_sdk::upserts::UpsertDestination;
use affluent_sdk::{Account, CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// One open stream.
pub type Reader = ChangesSource<Api>;
/// One open target.
pub type Writer = UpsertDestination<Api>;

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the workspace is: `us` unless it is given.
    #[schemars(regex(pattern = r"^(us|eu|au)$"))]
    region: Option<String>,
    /// Scheme, host, port and path prefix instead of the region's.
    base_url: Option<String>,
    /// Version of the API, 2.15 unless it is given.
    #[schemars(regex(pattern = r"^2\.\d{1,2}$"))]
    api_version: Option<String>,
    /// Whether custom attributes that a pipeline writes and the workspace lacks are created. Without it they are mistakes.
    create_attributes: bool,
}

/// The plugin.
#[derive(Debug)]
pub struct Intercom;

/// Requests under way at once. Intercom tells no limit but that of requests in time.
const IN_FLIGHT_MAX: u8 = 8;

const READ: &str = "Read and list users and companies";
const WRITE: &str = "Write users and companies";
const TAGS: &str = "Read tags";
const WRITE_TAGS: &str = "Write tags";

impl Plugin for Intercom {
    type Config = Config;

    fn manifest() -> Manifest {
        // 10,000 a minute and app, counted in windows of 10 seconds: a burst of 150 and an even flow of 1,400 never exceed 1,666.
        Manifest::new::<Config>("intercom", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Contacts and tags of Intercom; contacts read with who unsubscribed")
            .hosts(&["api.intercom.io", "api.eu.intercom.io", "api.au.intercom.io", "{config.base_url}"])
            .auth("token", AuthSlot::bearer("access_token"))
            .secret("access_token", "access token of an app", &[READ, WRITE, TAGS, WRITE_TAGS])
            .rate_limit(RateLimit::new(1_400, 10_000).burst(150))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(IN_FLIGHT_MAX.into()) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let read = |path: &str, scope: &str| (path.to_owned(), scope.to_owned());
        let reads = [read("/contacts?per_page=1", READ), read("/data_attributes?model=contact", READ), read("/tags", TAGS)];
        Ok(CheckReport { notes: Api::connect(config).service.check_reads(&reads)? })
    }
}

const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "intercom.token", "the access token is not accepted"),
    Meaning::new(&[403], Permission, "intercom.scope", "the app lacks a permission"),
];
/// Of an error answer only codes and names of fields are shown: its words repeat what was sent.
const REASONS: Reasons = Reasons { list: "/errors", code: "/code", place: "/field" };

fn base_url(config: &Config) -> String {
    let host = match config.region.as_deref() {
        Some("eu") => "https://api.eu.intercom.io",
        Some("au") => "https://api.au.intercom.io",
        _ => "https://api.intercom.io",
    };
    config.base_url.clone().unwrap_or_else(|| host.to_owned())
}

/// One workspace.
#[derive(Debug)]
pub struct Api {
    service: Service,
    config: Config,
    /// Its attributes, once they were asked for.
    attributes: OnceCell<Vec<Value>>,
    /// Contacts and tags that they have, as answers said.
    tagged: RefCell<BTreeSet<(String, String)>>,
}

impl Account for Api {
    type Config = Config;

    fn connect(config: &Config) -> Self {
        let version = config.api_version.as_deref().unwrap_or("2.15");
        let service = Service::new(&base_url(config), "token").header("intercom-version", version);
        let service = service.meanings(MEANINGS).reasons(REASONS);
        Self { service, config: config.clone(), attributes: OnceCell::new(), tagged: RefCell::default() }
    }
}

affluent_sdk::export_connector!(Intercom, Reader, Writer);
