//! HubSpot as a source and a destination: contacts, companies, deals and who they belong to; contacts and companies upserted,
//! static lists kept, people erased. What is here is the configuration, the manifest, the check and how to ask; `properties`
//! makes fields of what the account tells, `reader` reads, `writer` writes. What people agreed to is read, never written.
//! Facts: developers.hubspot.com (usage guidelines, CRM objects, search, properties, associations, lists, error handling) for the
//! dated versions 2026-03 and 2026-09, and the official client 14.0.1; read 2026-11-27.

mod properties;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use affluent_sdk::ErrorKind::{Auth, RateLimited};
use affluent_sdk::http::{Meaning, Reasons, Service};
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit, Webhooks};
use affluent_sdk::{Account, CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Scheme, host, port and path prefix instead of `https://api.hubapi.com`.
    base_url: Option<String>,
    /// Version of the API: March or September of a year, 2026-09 unless it is given.
    #[schemars(regex(pattern = r"^20\d\d-(03|09)$"))]
    api_version: Option<String>,
    /// Log in as an app that was installed, with its refresh token, instead of by the token of a private app.
    refresh: bool,
    /// Properties to read beside the usual ones: hidden ones, and those that HubSpot computes (`hs_…`).
    properties: Vec<String>,
    /// Whether properties that a pipeline writes and the account lacks are created. Without it they are mistakes.
    create_properties: bool,
}

/// The plugin.
#[derive(Debug)]
pub struct HubSpot;

const SCOPES: &str = "crm.objects.contacts.read crm.objects.companies.read crm.objects.deals.read crm.objects.contacts.write \
    crm.objects.companies.write crm.lists.read crm.lists.write crm.schemas.contacts.write crm.schemas.companies.write";

impl Plugin for HubSpot {
    type Config = Config;

    fn manifest() -> Manifest {
        let scopes: Vec<&str> = SCOPES.split_whitespace().collect();
        // 5 searches a second and account, one less here for what is under way. All requests: 100 in any 10 seconds on the
        // smallest plan, and 250,000 a day ("Usage guidelines"): a burst of 10 and an even flow of 90 never exceed that.
        let searches = ["2026-03", "2026-09", "2027-03"].into_iter().flat_map(|version| {
            ["contacts", "companies", "deals"].map(|kind| format!("POST /crm/objects/{version}/{kind}/search"))
        });
        let urls = ["{config.base_url}/oauth/2026-03/token", "https://api.hubapi.com/oauth/2026-03/token"];
        // Version 3; twelve escapes are undone in the address ("Validating requests" and the tests of the clients, 2026-11-28).
        let signed = Webhooks::of_request("X-HubSpot-Signature-v3", "client_secret", "X-HubSpot-Request-Timestamp");
        Manifest::new::<Config>("hubspot", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Contacts, companies and deals of HubSpot; contacts, companies and static lists written")
            .hosts(&["api.hubapi.com", "{config.base_url}"])
            .auth("token", AuthSlot::bearer("access_token"))
            .installed_app("app", &urls, &scopes)
            .optional_secret("access_token", "access token of a private app", &scopes)
            .webhooks(signed.max_age_s(300).url_unescaped(":/?@!$'()*,;"))
            .rate_limit(RateLimit::new(90, 10_000).burst(10))
            .rate_limits(searches.map(|path| RateLimit::new(4, 1_000).burst(1).matching(&path)))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let api = Api::connect(config);
        let first = |kind: &str| (api.path("objects", &format!("/{kind}?limit=1")), read_scope(kind));
        Ok(CheckReport { notes: api.service.check_reads(&["contacts", "companies", "deals"].map(first))? })
    }
}

fn read_scope(kind: &str) -> String {
    format!("crm.objects.{kind}.read")
}

const MEANINGS: &[Meaning] = &[
    // It ends at midnight in the account's zone, which the token need not tell: looked at again every hour.
    Meaning::new(&[429], RateLimited, "hubspot.daily", "the account's requests of this day are used up")
        .when("/policyName", "DAILY")
        .wait_ms(3_600_000),
    Meaning::new(&[401], Auth, "hubspot.token", "the access token is not accepted: is the app still there, and installed?"),
];
/// Of an error answer only codes and names of properties are shown: its words repeat what was sent.
const REASONS: Reasons = Reasons { list: "/message", code: "/error", place: "/name" };

/// One account.
#[derive(Debug)]
pub struct Api {
    service: Service,
    config: Config,
}

impl Account for Api {
    type Config = Config;

    fn connect(config: &Config) -> Self {
        let base_url = config.base_url.as_deref().unwrap_or("https://api.hubapi.com");
        let service = Service::new(base_url, if config.refresh { "app" } else { "token" });
        Self { service: service.meanings(MEANINGS).reasons(REASONS), config: config.clone() }
    }
}

impl Api {
    /// A path of one part of the API, in the configured version.
    fn path(&self, part: &str, rest: &str) -> String {
        format!("/crm/{part}/{}{rest}", self.config.api_version.as_deref().unwrap_or("2026-09"))
    }

    /// A POST that may be repeated: it reads, or does the same when it is done twice.
    fn post(&self, path: &str, body: &Value, scopes: &str) -> Result<Value> {
        self.service.ask_scoped(self.service.post(path, body.to_string()).retry_safe(true), scopes)
    }
}

affluent_sdk::export_account!(HubSpot, Api);
