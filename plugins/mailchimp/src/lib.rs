//! Mailchimp as a source and a destination: the members of one audience read with what they agreed to, written with merge fields,
//! tagged, and erased. What people agreed to is never written: no request has a `status`, and who is new gets no subscription unless the
//! connection says otherwise. Facts: Swagger 3.0.55 (2026-08-22); mailchimp.com/developer (batch guide, merge fields), read 2026-11-28.

mod fields;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use affluent_sdk::ErrorKind::{Auth, InvalidData, NotFound, Permission};
use affluent_sdk::changes::ChangesSource;
use affluent_sdk::http::{Meaning, Service};
use affluent_sdk::manifest::{AuthSlot, Manifest, PluginLimits};
use affluent_sdk::puts::PutDestination;
use affluent_sdk::{Account, CheckReport, Error, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One open stream.
pub type Reader = ChangesSource<Api>;
/// One open target.
pub type Writer = PutDestination<Api>;

/// The connection's `config`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data centre: what follows the last `-` of the API key.
    #[schemars(regex(pattern = r"^[a-z]{2}\d{1,3}$"))]
    data_center: Option<String>,
    /// Scheme, host, port and path prefix instead of `https://DATA_CENTER.api.mailchimp.com/3.0`.
    base_url: Option<String>,
    /// The audience, by its id: Audience > Settings > Audience name and defaults.
    #[schemars(regex(pattern = r"^[a-zA-Z0-9]{1,40}$"))]
    audience: String,
    /// Whether merge fields that a pipeline writes and the audience lacks are created. Without it they are mistakes.
    #[serde(default)]
    create_merge_fields: bool,
    /// What somebody becomes who is not in the audience yet. Nobody's status is ever changed.
    #[serde(default)]
    new_members: NewMembers,
}

/// The status of a new member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewMembers {
    /// A contact that gets no marketing mail.
    #[default]
    Transactional,
    /// A subscriber, for pipelines whose `purpose` lets through only people who agreed to this mail.
    Subscribed,
    /// Mailchimp asks the person by mail to confirm.
    Pending,
}

/// The plugin.
#[derive(Debug)]
pub struct Mailchimp;

/// Requests at once: a key has 10 connections ("Fundamentals"), two of them are left to what else uses it.
const IN_FLIGHT_MAX: u8 = 8;

impl Plugin for Mailchimp {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("mailchimp", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Members of a Mailchimp audience with their consent; merge fields and tags written")
            .host("{config.data_center}.api.mailchimp.com", &[("config.data_center", r"^[a-z]{2}\d{1,3}$")])
            .hosts(&["{config.base_url}", "mailchimp-api-batch.s3.amazonaws.com"])
            .auth("key", AuthSlot::basic("affluent", "api_key"))
            .secret("api_key", "API key", &[])
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(IN_FLIGHT_MAX.into()) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        if config.data_center.is_none() && config.base_url.is_none() {
            return Err(Error::config("`data_center` is missing: it is what follows the last `-` of the API key, such as us21"));
        }
        Api::connect(config).merge_fields()?;
        let note = "a key may do what its owner may: that it may write shows only when something is written";
        Ok(CheckReport { notes: vec![note.to_owned()] })
    }
}

const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "mailchimp.key", "the API key is not accepted: create one under Account > Extras > API keys"),
    Meaning::new(&[403], Permission, "mailchimp.role", "the owner of the API key may not do this: use a manager's or admin's"),
    Meaning::new(&[404], NotFound, "mailchimp.unknown", "it is not there: check `audience`, and that the key is of its account"),
    Meaning::new(&[400], InvalidData, "mailchimp.compliance_state", "the person unsubscribed or bounced: only they come back")
        .when("/title", "Member In Compliance State"),
    Meaning::new(&[400], InvalidData, "mailchimp.forgotten", "the person was erased there: only they come back")
        .when("/title", "Forgotten Email Not Subscribed"),
    Meaning::new(&[400], InvalidData, "mailchimp.refused", "the service refused the member"),
];

/// One audience.
#[derive(Debug)]
pub struct Api {
    service: Service,
    root: Service,
    config: Config,
}

impl Account for Api {
    type Config = Config;

    fn connect(config: &Config) -> Self {
        let own = || format!("https://{}.api.mailchimp.com/3.0", config.data_center.as_deref().unwrap_or_default());
        let base_url = config.base_url.clone().unwrap_or_else(own);
        let service = |path: &str| Service::new(&format!("{}{path}", base_url.trim_end_matches('/')), "key").meanings(MEANINGS);
        Self { service: service(&format!("/lists/{}", config.audience)), root: service(""), config: config.clone() }
    }
}

affluent_sdk::export_connector!(Mailchimp, Reader, Writer);
