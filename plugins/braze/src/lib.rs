//! Braze as a destination and a source: attributes of users, who is in an audience, the erasure of people; addresses that
//! unsubscribed are read. What is here is the configuration, the manifest, the check and how to ask; `user` makes Braze's
//! form of a row, `writer` writes, `reader` reads. No subscription state is ever written.
//! Facts: the vendor's description 1.0.0 (2026-08-22) and its documentation (github.com/braze-inc/braze-docs: users/track, user
//! attributes object, users/delete, users/export/ids, email/unsubscribes, errors; braze.com/docs/api/api_limits), read 2026-11-28.

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
use serde_json::{Value, json};

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
    #[serde(default)]
    base_url: Option<String>,
    /// The label of the user aliases that a pipeline matches by `user_alias`.
    #[serde(default)]
    alias_label: Option<String>,
    /// Sends all values of a user that changed, also those that are as they were sent last. Braze bills each.
    #[serde(default)]
    send_unchanged: bool,
}

/// The plugin.
#[derive(Debug)]
pub struct Braze;

const TRACK: &str = "users.track";
const DELETE: &str = "users.delete";
const EXPORT: &str = "users.export.ids";
const UNSUBSCRIBES: &str = "email.unsubscribe";

impl Plugin for Braze {
    type Config = Config;

    fn manifest() -> Manifest {
        // All requests of users/track: 3,000 in 3 seconds now, 50,000 a minute in the description: a burst of 500 and an even flow of
        // 800 a second exceed neither. Exports: 250 a minute for newer accounts; deletions share 20,000; all else 250,000 an hour.
        let minute = |(count, path): (u32, &str)| RateLimit::new(count - count / 20, 60_000).burst(count / 25).matching(path);
        let slower = [(250, "POST /users/export/ids"), (20_000, "POST /users/delete"), (4_000, "GET /email/")].map(minute);
        Manifest::new::<Config>("braze", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Attributes and audiences of Braze users; unsubscribed addresses read")
            .host("rest.{config.instance}", &[("config.instance", r"^[a-z]{2,4}-\d{2}\.braze\.(com|eu)$")])
            .host("{config.base_url}", &[])
            .auth("token", AuthSlot::bearer("api_key"))
            .secret("api_key", "REST API key", &[TRACK, DELETE, EXPORT, UNSUBSCRIBES])
            .rate_limit(RateLimit::new(48_000, 60_000).burst(500))
            .rate_limits(slower)
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    /// A request to track nothing is refused as such by a key that may track, and does nothing.
    fn check(config: &Config) -> Result<CheckReport> {
        let service = service(config);
        let nothing = service.post("/users/track", json!({ "attributes": [] }).to_string()).retry_safe(true);
        let nobody = json!({ "external_ids": ["affluent-check"], "fields_to_export": ["external_id"] });
        let unsubscribes = service.get("/email/unsubscribes?email=nobody@example.org&end_date=2026-01-01");
        let mut notes = service.check_requests(vec![
            (nothing, TRACK),
            (service.post("/users/export/ids", nobody.to_string()).retry_safe(true), EXPORT),
            (unsubscribes, UNSUBSCRIBES),
        ])?;
        notes.push(format!("whether the key may erase ({DELETE}) shows only when somebody is erased"));
        Ok(CheckReport { notes })
    }
}

const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "braze.key", "the key is not accepted, or lacks the permission"),
    Meaning::new(&[403], Permission, "braze.account", "the plan or the key does not allow this"),
];

fn base_url(config: &Config) -> String {
    config.base_url.clone().unwrap_or_else(|| format!("https://rest.{}", config.instance))
}

/// How to ask. No words of an answer are shown: they repeat what was sent.
fn service(config: &Config) -> Service {
    Service::new(&base_url(config), "token").meanings(MEANINGS)
}

/// Asks for what may be asked for again: it reads, or does the same when it is done twice.
fn ask(service: &Service, path: &str, body: &Value, scope: &str) -> Result<Value> {
    service.ask_scoped(service.post(path, body.to_string()).retry_safe(true), scope)
}

affluent_sdk::export_connector!(Braze, Reader, Writer);
