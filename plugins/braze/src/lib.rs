//! Braze as a destination and a source: attributes of users, who is in an audience, the erasure of people; addresses that
//! unsubscribed or bounced are read. What is here is the configuration, the manifest, the check and how to ask; `user` makes
//! Braze's form of a row, `writer` writes, `reader` reads. No subscription state is ever written.
//! Facts: the vendor's description 1.0.0 (2026-08-22) and its documentation (github.com/braze-inc/braze-docs: the endpoints named
//! here, the user attributes object, errors; braze.com/docs/api/api_limits), read 2026-11-28.

mod reader;
#[cfg(test)]
mod tests;
mod user;
mod writer;

use affluent_sdk::ErrorKind::{Auth, Permission};
use affluent_sdk::http::{Meaning, Service};
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit};
use affluent_sdk::rest::RestSource;
use affluent_sdk::{CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub use crate::writer::Writer;

/// One open stream.
pub type Reader = RestSource<Braze>;

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The end of the REST endpoint that Braze shows under *Settings > APIs and Identifiers*: `iad-01.braze.com`, `fra-01.braze.eu`.
    #[schemars(regex(pattern = r"^[a-z]{2,4}-\d{2}\.braze\.(com|eu)$"))]
    instance: String,
    /// Scheme, host, port and path prefix instead of `https://rest.` and `instance`.
    base_url: Option<String>,
    /// The label of the user aliases that a pipeline matches by `user_alias`.
    alias_label: Option<String>,
    /// Sends all values of a user that changed, also those that are as they were sent last. Braze bills each.
    #[serde(default)]
    send_unchanged: bool,
    /// Whether custom attributes that a pipeline writes and the workspace lacks are created, as Braze does with every new one.
    /// Without it they are mistakes.
    #[serde(default)]
    create_attributes: bool,
}

/// The plugin.
#[derive(Debug)]
pub struct Braze;

const TRACK: &str = "users.track";
const DELETE: &str = "users.delete";
const EXPORT: &str = "users.export.ids";
const UNSUBSCRIBES: &str = "email.unsubscribe";
const BOUNCES: &str = "email.hard_bounces";
const ATTRIBUTES: &str = "custom_attributes.get";

impl Plugin for Braze {
    type Config = Config;

    fn manifest() -> Manifest {
        // All requests of users/track: 3,000 in 3 seconds now, 50,000 a minute in the description: a burst of 500 and an even flow of
        // 800 a second exceed neither. Exports: 250 a minute for newer accounts; deletions share 20,000; custom attributes and what is
        // listed like them 1,000 an hour; all else 250,000.
        let minute = |(count, path): (u32, &str)| RateLimit::new(count - count / 20, 60_000).burst(count / 25).matching(path);
        let slower = [(250, "POST /users/export/ids"), (20_000, "POST /users/delete"), (4_000, "GET /email/")].map(minute);
        Manifest::new::<Config>("braze", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Attributes and audiences of Braze users; unsubscribed and bounced addresses read")
            .host("rest.{config.instance}", &[("config.instance", r"^[a-z]{2,4}-\d{2}\.braze\.(com|eu)$")])
            .host("{config.base_url}", &[])
            .auth("token", AuthSlot::bearer("api_key"))
            .secret("api_key", "REST API key", &[TRACK, DELETE, EXPORT, UNSUBSCRIBES, BOUNCES, ATTRIBUTES])
            .rate_limit(RateLimit::new(48_000, 60_000).burst(500))
            .rate_limits(slower)
            .rate_limit(RateLimit::new(900, 3_600_000).burst(50).matching("GET /custom_attributes"))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    /// A request to track nothing is refused as such by a key that may track, and does nothing.
    fn check(config: &Config) -> Result<CheckReport> {
        let service = service(config);
        let nothing = service.post("/users/track", json!({ "attributes": [] }).to_string()).retry_safe(true);
        let nobody = json!({ "external_ids": ["affluent-check"], "fields_to_export": ["external_id"] });
        let of_nobody = |list: &str| service.get(&format!("/email/{list}?email=nobody@example.org&end_date=2026-01-01"));
        let mut notes = service.check_requests(vec![
            (nothing, TRACK),
            (service.post("/users/export/ids", nobody.to_string()).retry_safe(true), EXPORT),
            (of_nobody("unsubscribes"), UNSUBSCRIBES),
            (of_nobody("hard_bounces"), BOUNCES),
            (service.get("/custom_attributes"), ATTRIBUTES),
        ])?;
        notes.push(format!("whether the key may erase ({DELETE}) shows only when somebody is erased"));
        Ok(CheckReport { notes })
    }
}

const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "braze.key", "the key is not accepted, or lacks the permission"),
    Meaning::new(&[403], Permission, "braze.account", "the plan or the key does not allow this"),
];

/// How to ask. No words of an answer are shown: they repeat what was sent.
fn service(config: &Config) -> Service {
    let of_instance = || format!("https://rest.{}", config.instance);
    Service::new(&config.base_url.clone().unwrap_or_else(of_instance), "token").meanings(MEANINGS)
}

affluent_sdk::export_connector!(Braze, Reader, Writer);
