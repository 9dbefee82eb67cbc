//! The arguments of `affluent assess`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct AssessArguments {
    /// Connection of the project, `CONNECTION/STREAM`, or a file: CSV, JSON Lines or Parquet
    pub(crate) source: String,
    /// Records of each stream that are read of a connection, and of a file that are compared with what is known
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub(crate) records: u64,
    /// Writes the proposed pipeline to this file; it is printed when neither this nor --html is given
    #[arg(long, value_name = "FILE")]
    pub(crate) propose: Option<PathBuf>,
    /// Writes a page with charts to this file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
