//! Contacts of a service with a JSON API, as a destination: batches out, one outcome for every row.

#[cfg(test)]
mod tests;

use affluent_sdk::json_columns::JsonColumn;
use affluent_sdk::manifest::{AuthSlot, DestinationInfo, Durable, Idempotence, Manifest, Target, TargetSchema, WriteMode};
use affluent_sdk::{Batch, CheckReport, Destination, Error, Outcome, Plugin, PluginKind, Report, Result, RowOp, http};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The connection's `config`; these comments are the descriptions that users see.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, host, port and path prefix of the API.
    #[serde(default = "base_url")]
    pub base_url: String,
}

fn base_url() -> String {
    "https://api.example.org".to_owned()
}

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
        post(config, &[])?.send()?.error_for_status()?;
        Ok(CheckReport::default())
    }
}

/// The API's answer: one result for each contact, in their order.
#[derive(Deserialize)]
struct Answer {
    results: Vec<Taken>,
}

#[derive(Deserialize)]
struct Taken {
    id: Option<Value>,
    error: Option<String>,
    field: Option<String>,
}

/// One open target.
#[derive(Debug)]
pub struct Contacts {
    config: Config,
}

impl Destination for Contacts {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![TargetSchema {
            name: "contact".to_owned(),
            fields: Vec::new(),
            any_fields: true,
            open_fields: Vec::new(),
            match_fields: vec!["email".to_owned(), "id".to_owned()],
            modes: vec![WriteMode::Append, WriteMode::Upsert],
            lists: false,
            plaintext: Vec::new(),
        }])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        if target.object != "contact" {
            return Err(Error::config(format!("there is no object `{}`: write `contact`", target.object)));
        }
        Ok((Self { config }, DestinationInfo::new(Durable::Write, Idempotence::ByHeader).max_rows(1_000)))
    }

    /// Personal values arrive as opaque tokens; the host puts the real ones into the request as it leaves. So they are
    /// passed on as they are: a form such as lower case is asked for, not computed here.
    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let columns = batch.columns()?;
        if batch.op == RowOp::Delete {
            return Err(Error::unsupported("contacts are not deleted"));
        }
        let readers = JsonColumn::all(columns)?;
        let contact = |row: u32| {
            let values = readers.iter().map(|column| Ok((column.name().to_owned(), column.get(row as usize)?)));
            values.collect::<Result<Map<_, _>>>().map(Value::Object)
        };
        let contacts = (0..columns.rows).map(contact).collect::<Result<Vec<_>>>()?;
        let request = post(&self.config, &contacts)?.header("idempotency-key", batch.idempotency_key.clone()).retry_safe(true);
        let answer = request.send()?.error_for_status()?.json::<Answer>()?;
        report(&answer, columns.rows).map(Outcome::from)
    }
}

/// One outcome for every row: the host counts them.
fn report(answer: &Answer, rows: u32) -> Result<Report> {
    if answer.results.len() != rows as usize {
        return Err(Error::transient("the API did not answer for every contact").code("my-plugin.results"));
    }
    let mut report = Report::accepted(0);
    for (row, result) in (0..).zip(&answer.results) {
        match (&result.error, &result.id) {
            (Some(code), _) => {
                let error = Error::invalid_data("the API refused the contact").code(format!("my-plugin.{code}"));
                report.refuse(error.at_row(row, result.field.as_deref()));
            }
            (None, Some(id)) => report.remote_ids.push((row, id.to_string())),
            (None, None) => {}
        }
    }
    Ok(report.counted(rows))
}

/// The host adds the token of the slot; the plugin never sees it.
fn post(config: &Config, contacts: &[Value]) -> Result<http::Request> {
    http::post(&format!("{}/contacts", config.base_url)).auth("token").json(&json!({ "contacts": contacts }))
}

affluent_sdk::export_destination!(MyPlugin, Contacts);
