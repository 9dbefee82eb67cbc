//! ActiveCampaign as a destination and a source: contacts by bulk import or one by one, who carries a tag, the erasure of people; who
//! unsubscribed or could not be reached. What is here is the configuration, the manifest, the check and how to ask; `contact` makes the
//! vendor's form of a row, `writer` writes, `reader` reads. No list is ever subscribed to or left: that is consent. Audiences are tags.
//! Facts: the vendor's description of v3 (2026-08-22); for limits, words of an import and tags of a contact the pages "Bulk import
//! contacts", "Bulk import status info" and "Contact Tags" of developers.activecampaign.com, read 2026-11-28.

mod contact;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::RefCell;

use affluent_sdk::ErrorKind::{Auth, RateLimited};
use affluent_sdk::http::{Meaning, Service};
use affluent_sdk::imports::ImportDestination;
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit};
use affluent_sdk::rest::RestSource;
use affluent_sdk::{Account, CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// One open stream.
pub type Reader = RestSource<ActiveCampaign>;
/// One open target.
pub type Writer = ImportDestination<Api>;

/// The connection's `config`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The account's name: `acme` for `acme.api-us1.com`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,59}$"))]
    account: String,
    /// Scheme, host, port and path prefix instead of `https://{account}.api-us1.com/api/3`.
    base_url: Option<String>,
    /// Whether custom fields that a pipeline writes and the account lacks are created. Without it they are mistakes.
    #[serde(default)]
    create_fields: bool,
}

impl Config {
    fn base_url(&self) -> String {
        let usual = || format!("https://{}.api-us1.com/api/3", self.account);
        self.base_url.as_deref().map_or_else(usual, |url| url.trim_end_matches('/').to_owned())
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ActiveCampaign;

impl Plugin for ActiveCampaign {
    type Config = Config;

    fn manifest() -> Manifest {
        // 5 requests a second and account, in windows of which nothing is told; 100 imports a minute.
        Manifest::new::<Config>("activecampaign", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Contacts and tags of ActiveCampaign written; unsubscribed and bounced contacts read")
            .host("{config.account}.api-us1.com", &[("config.account", "^[a-z0-9][a-z0-9-]{0,59}$")])
            .host("{config.base_url}", &[])
            .auth("key", AuthSlot::header("Api-Token", "", "api_key"))
            .secret("api_key", "API key of a user who may manage contacts, tags and fields", &[])
            .rate_limit(RateLimit::new(9, 2_000).burst(1))
            .rate_limit(RateLimit::new(90, 60_000).burst(5).matching("POST /api/3/import/bulk_import"))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let service = Api::connect(config).service;
        for path in ["/fields?limit=1", "/tags?limit=1", "/contacts?limit=1"] {
            service.ask(service.get(path))?;
        }
        let note = "what the key's user may write or delete shows only when it is done";
        Ok(CheckReport { notes: vec![note.to_owned()] })
    }
}

/// One account, with its custom fields as far as they are known.
#[derive(Debug)]
pub struct Api {
    service: Service,
    custom: RefCell<Vec<Value>>,
    may_create: bool,
}

impl Account for Api {
    type Config = Config;

    fn connect(config: &Config) -> Self {
        let service = Service::new(&config.base_url(), "key").meanings(MEANINGS);
        Self { service, custom: RefCell::default(), may_create: config.create_fields }
    }
}

const MEANINGS: &[Meaning] = &[
    Meaning::new(
        &[401, 403],
        Auth,
        "activecampaign.key",
        "the API key is not accepted, or its user may not do this: see Settings > Developer",
    ),
    // 100 imports a minute, 20 of a single contact.
    Meaning::new(&[400], RateLimited, "activecampaign.imports", "the imports of this minute are used up")
        .when("/message", "Rate limit exceeded.")
        .wait_ms(60_000),
];

affluent_sdk::export_connector!(ActiveCampaign, Reader, Writer);
