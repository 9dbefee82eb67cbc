//! SendGrid as a destination and a source: contacts by import, who is on a list, the erasure of people; who unsubscribed, complained
//! or could not be reached. What is here is the configuration, the manifest, the check and how to ask; `contact` makes the vendor's
//! form of a row, `writer` writes, `reader` reads. No suppression is ever made or taken away: that is consent.
//! Facts: the vendor's description of v3 (github.com/twilio/sendgrid-oai, commit dbe0e0d, 2026-01-22); for headers of limits, names
//! of scopes and the host in the EU the pages "Rate Limits", "API Key permissions" and "FAQ on Data Residency for EU" of
//! twilio.com/docs/sendgrid, read 2026-11-28.

mod contact;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::RefCell;

use affluent_sdk::ErrorKind::Auth;
use affluent_sdk::http::{Meaning, Reasons, Service};
use affluent_sdk::imports::ImportDestination;
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits, RateLimit};
use affluent_sdk::rest::RestSource;
use affluent_sdk::{Account, CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// One open stream.
pub type Reader = RestSource<SendGrid>;
/// One open target.
pub type Writer = ImportDestination<Api>;

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the key is of a subuser whose data stays in the EU: then `https://api.eu.sendgrid.com` is asked.
    eu: bool,
    /// Scheme, host, port and path prefix instead of `https://api.sendgrid.com`.
    base_url: Option<String>,
    /// Whether custom fields that a pipeline writes and the account lacks are created. Without it they are mistakes.
    create_fields: bool,
}

impl Config {
    fn base_url(&self) -> String {
        let of_region = if self.eu { "https://api.eu.sendgrid.com" } else { "https://api.sendgrid.com" };
        self.base_url.as_deref().unwrap_or(of_region).trim_end_matches('/').to_owned()
    }
}

/// The plugin.
#[derive(Debug)]
pub struct SendGrid;

impl Plugin for SendGrid {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("sendgrid", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Contacts and lists of SendGrid written; unsubscribes, complaints and bounces read")
            .hosts(&["api.sendgrid.com", "api.eu.sendgrid.com", "{config.base_url}"])
            .auth("key", AuthSlot::bearer("api_key"))
            .secret("api_key", "API key", &[MARKETING, ERASURE, SUPPRESSIONS, GROUPS])
            // SendGrid tells limits in the headers of answers only: imports are reported at 3 in 2 seconds, all else at 600 a minute;
            // `erasejob` says 100 a minute in its description. A burst and what flows after it stay within each in any window.
            .rate_limit(RateLimit::new(540, 60_000).burst(50))
            .rate_limit(RateLimit::new(3, 2_200).burst(1).matching("PUT /v3/marketing/contacts"))
            .rate_limit(RateLimit::new(80, 60_000).burst(10).matching("POST /v3/recipients/erasejob"))
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let reads = [
            ("/v3/marketing/field_definitions", MARKETING),
            ("/v3/suppression/unsubscribes?limit=1", SUPPRESSIONS),
            ("/v3/asm/groups", GROUPS),
        ];
        let mut notes =
            Api::connect(config).service.check_reads(&reads.map(|(path, scope)| (path.to_owned(), scope.to_owned())))?;
        notes.push("what the key may write or erase shows only when it is done".to_owned());
        Ok(CheckReport { notes })
    }
}

/// Scopes of a key. `Marketing: Full Access`, as the settings call it, is what writing contacts needs as well.
const MARKETING: &str = "marketing.read";
const WRITING: &str = "Marketing: Full Access";
const ERASURE: &str = "recipients.erasejob.create";
const SUPPRESSIONS: &str = "suppression.read";
const GROUPS: &str = "asm.groups.read";

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
        let service = Service::new(&config.base_url(), "key").meanings(MEANINGS).reasons(REASONS);
        Self { service, custom: RefCell::default(), may_create: config.create_fields }
    }
}

const MEANINGS: &[Meaning] =
    &[Meaning::new(&[401], Auth, "sendgrid.key", "the API key is not accepted: create one under Settings > API Keys")];
/// Of an error answer only codes and names of fields are shown: its words can repeat what was sent.
const REASONS: Reasons = Reasons { list: "/errors", code: "/error_id", place: "/field" };

affluent_sdk::export_connector!(SendGrid, Reader, Writer);
