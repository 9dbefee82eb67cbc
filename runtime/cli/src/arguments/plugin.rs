//! The arguments of `affluent plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Shows what a plugin says about itself and what it asks for; runs nothing else of it
    Inspect {
        /// A component file (`dist/acme.wasm`), or the name of a plugin of the project or the program
        plugin: String,
    },
    /// Runs a plugin through the rules of the plugin contract and says what to mend; exit code 4 when one is broken
    Test(TestArguments),
}

#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// A component file, the folder of a plugin, or the name of a plugin of the project or the program
    #[arg(default_value = ".")]
    pub(crate) plugin: String,
    /// What it is tested with; `contract.yaml` or `contract.json` of the plugin's folder when absent
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A connection of the project whose config and secrets are used
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) connection: Option<String>,
    /// Where requests go instead of the config's `base_url`: a stand-in on plain http
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Keeps the answers of an undisturbed pass in this folder, without secrets and personal values
    #[arg(long, value_name = "DIR", conflicts_with = "recordings")]
    pub(crate) record: Option<PathBuf>,
    /// Takes the answers from this folder: nothing goes out
    #[arg(long, value_name = "DIR")]
    pub(crate) recordings: Option<PathBuf>,
}
