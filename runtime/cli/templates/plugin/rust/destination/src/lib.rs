//! Contacts of a service with a JSON API, as a destination: batches out, one outcome for every row.

mod config;
#[cfg(test)]
mod tests;

use affluent_sdk::http::{Request, Service};
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{AuthSlot, DestinationInfo, Durable, Idempotence, Manifest, Target, TargetSchema, WriteMode};
use affluent_sdk::outcomes::{PartialFailure, RowPlace, Sent};
use affluent_sdk::{Batch, CheckReport, Destination, Error, Outcome, Plugin, PluginKind, Report, Result, RowOp};
use serde_json::{Map, Value, json};

pub use crate::config::Config;

/// The plugin: what it is and what it asks for. Nothing is granted by asking.
#[derive(Debug)]
pub struct MyPlugin;

impl Plugin for MyPlugin {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("my-plugin", env!("CARGO_PKG_VERSION"), [PluginKind::Destination])
            .description("Contacts of my-plugin")
            .host("{config.base_url}", &[])
            .auth("token", AuthSlot::bearer("api_token"))
            .secret("api_token", "API token", &["contacts:write"])
    }

    /// Sends an empty batch: a wrong address or token shows before the first run.
    fn check(config: &Config) -> Result<CheckReport> {
        let service = service(config);
        service.ask(post(&service, &[]))?;
        Ok(CheckReport::default())
    }
}

/// The API answers with one result for each contact, in their order; those with an error were refused.
const RESULTS: PartialFailure = PartialFailure::at("/results", RowPlace::InOrder)
    .success_without("/error")
    .id("/id")
    .code("my-plugin", "/error")
    .field("/field");

/// One open target.
#[derive(Debug)]
pub struct Contacts {
    service: Service,
}

impl Destination for Contacts {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![contact()])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        contact().accept(&target)?;
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByHeader).max_rows(1_000);
        Ok((Self { service: service(&config) }, info))
    }

    /// Personal values arrive as opaque tokens; the host puts the real ones into the request as it leaves. So they are
    /// passed on as they are: a form such as lower case is asked for, not computed here.
    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        if batch.op == RowOp::Delete {
            return Err(Error::unsupported("contacts are not deleted"));
        }
        let rows = JsonRows::of(batch.columns()?)?;
        let contacts = (0..rows.rows()).map(|row| rows.record(row)).collect::<Result<Vec<_>>>()?;
        // The same key twice is the same batch to the API, so the host may repeat the request.
        let request = post(&self.service, &contacts).header("idempotency-key", &batch.idempotency_key).retry_safe(true);
        let answer = self.service.ask(request)?;
        // One outcome for every row: the host counts them.
        let mut report = Report::accepted(0);
        RESULTS.read(&answer, &Sent::of(0..rows.rows()), &mut report)?;
        Ok(report.counted(rows.rows()).into())
    }
}

/// The one object that is written: any field is allowed.
fn contact() -> TargetSchema {
    TargetSchema::new("contact", Vec::new(), [WriteMode::Append, WriteMode::Upsert]).any_fields().match_fields(&["email", "id"])
}

/// Where the API is. The host adds the token of the slot; the plugin never sees it.
fn service(config: &Config) -> Service {
    Service::new(&config.base_url, "token")
}

fn post(service: &Service, contacts: &[Map<String, Value>]) -> Request {
    service.post("/contacts", json!({ "contacts": contacts }).to_string())
}

affluent_sdk::export_destination!(MyPlugin, Contacts);
