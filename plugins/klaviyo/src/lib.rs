//! Klaviyo as a destination: profiles by bulk import, who is on a list, and the erasure of people. What is here is the
//! configuration, the manifest, the check and how to ask; `profile` makes the vendor's form of a row, `writer` writes. Consent
//! is never touched: no subscription endpoint is called; a profile is deleted only where its person is erased.
//! Facts: the vendor's description, revision 2026-07-15 (github.com/klaviyo/openapi, commit f0a30ba, 2026-07-23).

mod profile;
#[cfg(test)]
mod tests;
mod writer;

use affluent_sdk::ErrorKind::{Auth, Permission};
use affluent_sdk::http::{Meaning, Reasons, Service};
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit};
use affluent_sdk::paging::Paging;
use affluent_sdk::{CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::writer::Writer;

/// The connection's `config`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, host, port and path prefix of the API.
    #[serde(default = "base_url")]
    base_url: String,
    /// Revision of the API, a date.
    #[serde(default = "revision")]
    #[schemars(regex(pattern = r"^20\d\d-\d\d-\d\d$"))]
    revision: String,
}

fn base_url() -> String {
    "https://a.klaviyo.com/api".to_owned()
}

fn revision() -> String {
    "2026-07-15".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct Klaviyo;

impl Plugin for Klaviyo {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("klaviyo", env!("CARGO_PKG_VERSION"), [PluginKind::Destination])
            .description("Profiles and list membership in Klaviyo")
            .hosts(&["a.klaviyo.com", "{config.base_url}"])
            .auth("key", AuthSlot::header("Authorization", "Klaviyo-API-Key ", "api_key"))
            .secret("api_key", "private API key", SCOPES)
            .rate_limits(WINDOWS.iter().map(|(prefix, second, minute)| RateLimit::fixed_windows(prefix, *second, *minute)))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let service = service(config);
        service.ask_scoped(service.get("/lists").query("page[size]", "1"), "lists:read")?;
        let profiles = service.get("/profiles").query("page[size]", "1").query("fields[profile]", "id");
        service.ask_scoped(profiles, "profiles:read")?;
        Ok(CheckReport { notes: vec!["scopes that write show only when something is written".to_owned()] })
    }
}

/// `data-privacy:write` is used only when a person is erased.
const SCOPES: &[&str] = &["profiles:read", "profiles:write", "lists:read", "lists:write", "data-privacy:write"];

/// Requests that an account may send to an endpoint in a second and in a minute, as its description says.
const WINDOWS: &[(&str, u32, u32)] = &[
    ("POST /api/profile-bulk-import-jobs", 10, 150),
    ("GET /api/profile-bulk-import-jobs", 10, 150),
    ("GET /api/lists", 75, 750),
    ("POST /api/lists", 10, 150),
    ("DELETE /api/lists", 10, 150),
    ("GET /api/profiles", 75, 750),
    ("POST /api/data-privacy-deletion-jobs", 3, 60),
];

/// Media type of JSON:API.
const MEDIA_TYPE: &str = "application/vnd.api+json";
/// The link to the next page may lead elsewhere: only its cursor is taken.
const PAGES: Paging = Paging::CursorInLink { pointer: "/links/next", parameter: "page[cursor]" };
const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "klaviyo.key", "the API key is not accepted: create a private key under Settings > API keys"),
    Meaning::new(&[403], Permission, "klaviyo.scope", "the API key lacks one of the scopes"),
];

/// How to ask. Of an error answer only codes and pointers are shown: its words can repeat what was sent.
fn service(config: &Config) -> Service {
    Service::new(&config.base_url, "key")
        .media_type(MEDIA_TYPE)
        .header("revision", &config.revision)
        .header("accept", MEDIA_TYPE)
        .meanings(MEANINGS)
        .reasons(Reasons::JSON_API)
}

affluent_sdk::export_destination!(Klaviyo, Writer);
