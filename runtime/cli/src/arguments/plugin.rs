//! The arguments of `affluent plugin`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Shows what a plugin says about itself and what it asks for; runs nothing else of it
    Inspect {
        /// A component file (`dist/acme.wasm`), or the name of a plugin of the project or the program
        plugin: String,
    },
}
