//! `contract.yaml` or `contract.json` of a plugin's folder: what the suite cannot guess. Everything in it is made up for
//! tests; a real credential does not belong there.

use std::collections::BTreeMap;

use affluent_model::schema::StreamSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A sample row: field name → value. Times are RFC 3339, dates `2026-01-31`, decimals text or numbers.
pub(crate) type SampleRow = Map<String, Value>;

/// What a plugin is tested with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fixture {
    /// The `config` that `check` must accept.
    pub config: Value,
    /// A `config` that `check` must refuse; without it the suite puts a value of the wrong type into `config`.
    pub bad_config: Option<Value>,
    /// Secret name → a value for tests.
    pub secrets: BTreeMap<String, String>,
    /// Where requests go instead of `config.base_url`.
    pub base_url: Option<String>,
    /// Files that may be read, relative to the folder of this file.
    pub read_files: Vec<String>,
    /// Folders that may be written to, relative to the folder of this file.
    pub write_files: Vec<String>,
    /// Streams to read; all when empty.
    pub streams: Vec<String>,
    pub destination: Option<DestinationFixture>,
    pub transform: Option<TransformFixture>,
}

/// What is written to a destination.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationFixture {
    /// The first that `discover` lists when absent.
    pub object: Option<String>,
    /// `upsert` when absent, or what the object can.
    pub mode: Option<String>,
    /// Fields that identify a record.
    #[serde(rename = "match")]
    pub match_fields: Vec<String>,
    /// The list whose membership is kept.
    pub list: Option<String>,
    /// Names of the object's fields to write; those of the sample rows when empty.
    pub fields: Vec<affluent_model::schema::Field>,
    /// Good rows, at least two; made up from the object's fields when empty.
    pub rows: Vec<Map<String, Value>>,
    /// A row that the destination must refuse.
    pub poison: Option<Map<String, Value>>,
}

/// What a transform is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformFixture {
    /// The stream that it transforms.
    pub stream: Option<StreamSchema>,
    /// Good rows, at least two; made up from the stream's fields when empty.
    pub rows: Vec<Map<String, Value>>,
    /// A row that the transform must reject.
    pub poison: Option<Map<String, Value>>,
    /// True for a filter: rows may be left out without being rejected.
    pub drops_rows: bool,
}
