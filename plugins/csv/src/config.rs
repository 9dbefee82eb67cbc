//! The connection's `config`: which files make which stream, and how they are written.

use std::collections::BTreeMap;

use affluent_sdk::file_streams::ColumnSettings;
use affluent_sdk::{Error, Parent, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::scan::Dialect;

/// Streams from delimited text files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Stream name → its files.
    pub streams: BTreeMap<String, StreamConfig>,
}

/// One stream. Its files all have the same header.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Pattern of its files: `customers*.csv`. Read in the order of their names.
    pub files: String,
    /// Between two fields; `,` without it.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Around fields that hold delimiters or line ends; `"` without it. Doubled inside.
    #[serde(default = "double_quote")]
    pub quote: char,
    /// Whether the first line names the columns; without a header they are `column_1`, `column_2`…
    #[serde(default = "yes")]
    pub header: bool,
    #[serde(default)]
    pub encoding: Encoding,
    /// Fields that identify a record.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The field that says when a record was last changed.
    #[serde(default)]
    pub cursor_field: Option<String>,
    /// The stream that these records belong to, and the field that holds its primary key.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Column name in the file → its settings.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnSettings>,
    /// Texts that mean "no value"; the empty text without it.
    #[serde(default = "empty_text")]
    pub null_values: Vec<String>,
}

/// How bytes become text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Encoding {
    /// A byte order mark is skipped.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
}

fn comma() -> char {
    ','
}

fn double_quote() -> char {
    '"'
}

fn yes() -> bool {
    true
}

fn empty_text() -> Vec<String> {
    vec![String::new()]
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

impl StreamConfig {
    /// The two characters that structure a line.
    ///
    /// # Errors
    /// `config` when they are no ASCII characters, line ends, or the same.
    pub(crate) fn dialect(&self) -> Result<Dialect> {
        let byte = |name: &str, character: char| match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() && byte != b'\n' && byte != b'\r' => Ok(byte),
            _ => Err(Error::config(format!("`{name}` must be one ASCII character and no line end"))),
        };
        let dialect = Dialect { delimiter: byte("delimiter", self.delimiter)?, quote: byte("quote", self.quote)? };
        if dialect.delimiter == dialect.quote {
            return Err(Error::config("`delimiter` and `quote` must differ"));
        }
        Ok(dialect)
    }
}
