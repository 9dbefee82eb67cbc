//! The `csv` source: streams from delimited text files that the connection grants. Types are declared or guessed from
//! a sample; lines that do not fit are rejected with their place and never stop the read. It writes nothing: JSON
//! Lines is the format for output.

mod config;
mod discover;
mod header;
mod scan;
mod source;

pub use config::{Config, Encoding, StreamConfig};
pub use source::CsvSource;

use affluent_sdk::{CheckReport, Manifest, Plugin, PluginKind, Result, Source};

/// The plugin as the host sees it.
#[derive(Debug)]
pub struct Csv;

impl Plugin for Csv {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("csv", env!("CARGO_PKG_VERSION"), [PluginKind::Source])
            .description("Reads delimited text files")
            .with_files()
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let streams = CsvSource::discover(config)?;
        let notes = streams.iter().map(|stream| format!("stream `{}` has {} columns", stream.name, stream.fields.len()));
        Ok(CheckReport { notes: notes.collect() })
    }
}

affluent_sdk::export_source!(Csv, CsvSource);
