//! The connection's `config`: which files make which stream, and where output goes.

use std::collections::BTreeMap;

use affluent_sdk::file_streams::ColumnSettings;
use affluent_sdk::{Error, Parent, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Streams to read, a path to write, or both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Stream name → its files.
    #[serde(default)]
    pub streams: BTreeMap<String, StreamConfig>,
    /// File to write. With `{batch}` in it each batch makes a file of its own, at once; without it one file appears
    /// when the run ends. `{run}` is the run's name.
    #[serde(default)]
    pub path: Option<String>,
}

/// One stream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Pattern of its files: `events*.jsonl`. Read in the order of their names.
    pub files: String,
    /// Fields that identify a record.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The field that says when a record was last changed.
    #[serde(default)]
    pub cursor_field: Option<String>,
    /// The stream that these records belong to, and the field that holds its primary key.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Name in the file (`address_city` for `city` inside `address`) → its settings. A column that the sample does not
    /// show is read too if its type is given here.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnSettings>,
}

impl Config {
    /// The settings of a stream.
    ///
    /// # Errors
    /// `config` when there is no such stream.
    pub(crate) fn stream(&self, name: &str) -> Result<&StreamConfig> {
        let known = || self.streams.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.streams.get(name).ok_or_else(|| Error::config(format!("there is no stream `{name}`, only {}", known())))
    }
}

/// Checks the placeholders of an output path.
///
/// # Errors
/// `config` for others than `{batch}` and `{run}`.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let rest = path.replace("{batch}", "").replace("{run}", "");
    if path.trim().is_empty() || rest.contains(['{', '}']) {
        return Err(Error::config(format!("`path: {path}`: the placeholders are {{batch}} and {{run}}")));
    }
    Ok(())
}
