//! Salesforce as a source and a destination: any object read, and upserted by an external id. `fields` makes fields of what the org
//! tells, `reader` reads, `writer` writes; what people agreed to is read, never written.
//! Facts: developer.salesforce.com (REST API guide: query, queryAll, describe, sObject collections, headers, status codes; Bulk API 2.0
//! guide: jobs, states, results, CSV files), API versions 66.0 and 67.0; read 2026-11-28.

mod fields;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use affluent_sdk::ErrorKind::{Permission, RateLimited};
use affluent_sdk::http::{Allowance, Meaning, Reasons, Service};
use affluent_sdk::manifest::{Assertion, AuthSlot, Manifest, OauthClient, PluginLimits};
use affluent_sdk::{Account, CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;

const DOMAIN: &str = r"^[a-z0-9][a-z0-9-]{0,79}(\.[a-z0-9-]{1,40}){0,2}$";

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of My Domain: `acme` for `acme.my.salesforce.com`, `acme--uat.sandbox` for a sandbox. It is where tokens come from, too.
    #[schemars(regex(pattern = DOMAIN))]
    domain: String,
    /// Scheme, host, port and path prefix instead of `https://{domain}.my.salesforce.com`.
    base_url: Option<String>,
    /// Version of the API, 66.0 unless it is given.
    #[schemars(regex(pattern = r"^[0-9]{2,3}\.0$"))]
    api_version: Option<String>,
    /// Log in as this user, by its name in Salesforce, with an assertion that a key of the app signs, instead of as the app.
    user: Option<String>,
    /// Log in with a refresh token that a person granted, instead of as the app.
    refresh: bool,
    /// The objects, by their API names, `Invoice__c`.
    #[serde(default = "usual")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z][A-Za-z0-9_]{0,79}$")))]
    objects: Vec<String>,
    /// A first or full read of at least so many records, 10,000 unless it is given, is a job; 0 for never.
    bulk_read_from: Option<u32>,
    /// A batch of at least so many rows, 2,000 unless it is given, is written by a job; 0 for never.
    #[schemars(range(max = 3_000))]
    bulk_write_from: Option<u32>,
    /// Percent of the org's daily requests from which on this connection leaves the rest to others: 50 unless it is given.
    #[schemars(range(min = 1, max = 100))]
    api_share: Option<u32>,
    /// Whether erased people are deleted past the recycle bin: needs the permission Bulk API Hard Delete.
    hard_delete: bool,
}

fn usual() -> Vec<String> {
    ["Contact", "Lead", "Account", "Opportunity"].map(str::to_owned).to_vec()
}

/// The plugin.
#[derive(Debug)]
pub struct Salesforce;

impl Plugin for Salesforce {
    type Config = Config;

    fn manifest() -> Manifest {
        let urls = ["{config.base_url}/services/oauth2/token", "https://{config.domain}.my.salesforce.com/services/oauth2/token"];
        let client = || OauthClient::new(&urls, "client_id", "client_secret");
        let signed = |audience| {
            let assertion = Assertion::new("private_key").subject("{config.user}").audience(audience);
            AuthSlot::jwt_bearer(OauthClient::without_secret(&urls, "client_id"), assertion)
        };
        Manifest::new::<Config>("salesforce", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Contacts, leads, accounts, opportunities and any other object of Salesforce, read and upserted")
            .host("{config.domain}.my.salesforce.com", &[("config.domain", DOMAIN)])
            .host("{config.base_url}", &[])
            .never_both("user", "refresh", "`user` logs in by a key, `refresh` by a token: leave one of them out")
            .auth("app", AuthSlot::client_credentials(client()))
            .auth("person", AuthSlot::refresh(client(), "refresh_token"))
            .auth("user", signed("https://login.salesforce.com"))
            .auth("user_of_sandbox", signed("https://test.salesforce.com"))
            .secret("client_id", "consumer key of an external client app", &["api"])
            .optional_secret("client_secret", "consumer secret of the app, without `user`", &[])
            .optional_secret("private_key", "with `user`: RSA key in PEM, whose certificate the app has", &["api"])
            .optional_secret("refresh_token", "with `refresh: true`", &["api", "refresh_token"])
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(256), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let api = Api::connect(config);
        let described = |object: &String| (format!("/sobjects/{object}/describe"), format!("to read `{object}`"));
        Ok(CheckReport { notes: api.descriptions.check_reads(&config.objects.iter().map(described).collect::<Vec<_>>())? })
    }
}

/// It ends as older requests leave the last 24 hours, or others the org: looked at again after a quarter of an hour.
const SPENT: Meaning =
    Meaning::new(&[403], RateLimited, "salesforce.spent", "the org has no request left, of the day or at once")
        .when("/0/errorCode", "REQUEST_LIMIT_EXCEEDED")
        .wait_ms(900_000);
/// An object that the user does not see is not there for Salesforce.
const UNSEEN: Meaning = Meaning::new(&[404], Permission, "salesforce.unseen", "the user does not see the object");
/// Of an error answer only codes and names of fields are shown: its words repeat what was sent.
const REASONS: Reasons = Reasons { list: "", code: "/errorCode", place: "/fields/0" };
const ALLOWANCE: Allowance = Allowance::new("sforce-limit-info", "api-usage=", 900_000)
    .told("salesforce.share", "the share of the org's daily requests is used up (`api_share`)");

/// One org.
#[derive(Debug)]
pub struct Api {
    service: Service,
    /// Descriptions are asked for whatever is used up: without them nothing goes on.
    descriptions: Service,
    config: Config,
}

impl Account for Api {
    type Config = Config;

    fn connect(config: &Config) -> Self {
        let base_url = config.base_url.clone().unwrap_or_else(|| format!("https://{}.my.salesforce.com", config.domain));
        let (base_url, version) = (base_url.trim_end_matches('/'), config.api_version.as_deref().unwrap_or("66.0"));
        let slot = match &config.user {
            Some(_) if config.domain.ends_with(".sandbox") => "user_of_sandbox",
            Some(_) => "user",
            None if config.refresh => "person",
            None => "app",
        };
        let base_url = format!("{base_url}/services/data/v{version}");
        let service = Service::new(&base_url, slot).meanings(&[SPENT]).reasons(REASONS);
        let descriptions = service.clone().meanings(&[SPENT, UNSEEN]);
        Self { service: service.share(ALLOWANCE, config.api_share.unwrap_or(50)), descriptions, config: config.clone() }
    }
}

affluent_sdk::export_account!(Salesforce, Api);
