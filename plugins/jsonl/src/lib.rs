//! The `jsonl` plugin: JSON Lines files as a source of streams, and as a destination that other programs can read.
//! Source: types are declared or guessed from a sample, nested objects become `a_b` columns, lists `json` columns.
//! Destination: one line per record, in one file per run or one per batch.

mod config;
mod destination;
mod discover;
mod json;
mod record;
mod source;
mod write;

pub use config::{Config, StreamConfig};
pub use destination::JsonlDestination;
pub use source::JsonlSource;

use affluent_sdk::{CheckReport, Error, Manifest, Plugin, PluginKind, Result, Source};

/// The plugin as the host sees it.
#[derive(Debug)]
pub struct Jsonl;

impl Plugin for Jsonl {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("jsonl", env!("CARGO_PKG_VERSION"), [PluginKind::Source, PluginKind::Destination])
            .description("Reads and writes JSON Lines files")
            .with_files()
    }

    fn check(config: &Config) -> Result<CheckReport> {
        if config.streams.is_empty() && config.path.is_none() {
            return Err(Error::config("neither `streams` to read nor a `path` to write is given"));
        }
        if let Some(path) = &config.path {
            config::check_path(path)?;
        }
        let streams = JsonlSource::discover(config)?;
        let notes = streams.iter().map(|stream| format!("stream `{}` has {} columns", stream.name, stream.fields.len()));
        Ok(CheckReport { notes: notes.collect() })
    }
}

affluent_sdk::export_connector!(Jsonl, JsonlSource, JsonlDestination);
