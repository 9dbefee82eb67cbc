//! The arguments of `affluent connection`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// Tries connections: the credential, and each scope that can be tried without writing; exit code 2 or 3 when one fails
    Check {
        /// Connections; all when absent
        connections: Vec<String>,
    },
    /// Shows what a connection offers: streams to read, objects to write, their fields and classes of personal data
    Discover {
        connection: String,
        /// Only this stream or object, with all of its fields
        name: Option<String>,
    },
}
