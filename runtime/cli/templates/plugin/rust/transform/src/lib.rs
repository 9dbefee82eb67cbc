//! A transform: columns in, columns out. It has no network and no store; what it is given leaves only by its output.

#[cfg(test)]
mod tests;

use affluent_sdk::manifest::Manifest;
use affluent_sdk::{ColumnBuilder, Error, Field, FieldType, Output, Payload, Plugin, PluginKind, Result, StreamSchema, Transform};
use schemars::JsonSchema;
use serde::Deserialize;

/// The step's `config`; these comments are the descriptions that users see.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column with an e-mail address.
    #[serde(default = "from")]
    pub from: String,
    /// Column to add: the domain of the address.
    #[serde(default = "to")]
    pub to: String,
}

fn from() -> String {
    "email".to_owned()
}

fn to() -> String {
    "email_domain".to_owned()
}

/// The plugin: what it is and what it asks for.
#[derive(Debug)]
pub struct MyPlugin;

impl Plugin for MyPlugin {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("my-plugin", env!("CARGO_PKG_VERSION"), [PluginKind::Transform])
            .description("Adds the domain of an e-mail address")
    }
}

/// One open transform.
#[derive(Debug)]
pub struct Domains {
    config: Config,
}

impl Transform for Domains {
    type Config = Config;

    /// Says which form records leave in, before the first one comes.
    fn open(config: Config, mut input: StreamSchema) -> Result<(Self, StreamSchema)> {
        match input.field(&config.from) {
            Some(field) if field.field_type == FieldType::Text => {}
            _ => return Err(Error::config(format!("the stream has no text column `{}`", config.from))),
        }
        input.fields.push(Field::new(&config.to, FieldType::Text));
        Ok((Self { config }, input))
    }

    fn apply(&mut self, batch: Payload) -> Result<Output> {
        let Payload::Columns(mut columns) = batch else { return Err(Error::unsupported("this plugin takes columns only")) };
        let mut domains = ColumnBuilder::new(&self.config.to, FieldType::Text);
        let emails = columns.text(&self.config.from)?;
        for row in 0..columns.rows as usize {
            match emails.get(row).and_then(|email| email.rsplit_once('@')) {
                Some((_, domain)) => domains.push_text(domain)?,
                None => domains.push_null(),
            }
        }
        columns.columns.push(domains.finish());
        Ok(Output { payload: Payload::Columns(columns), rejected: Vec::new() })
    }
}

affluent_sdk::export_transform!(MyPlugin, Domains);
