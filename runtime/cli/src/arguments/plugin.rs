//! The arguments of `affluent plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Writes the folder of a new plugin, which builds, passes its tests and runs in a pipeline
    New(NewPluginArguments),
    /// Builds the plugin of a folder into dist/NAME.wasm
    Build {
        /// Folder of the plugin
        #[arg(default_value = ".", value_name = "DIR")]
        folder: PathBuf,
    },
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

#[derive(Debug, Args)]
pub(crate) struct NewPluginArguments {
    /// What the plugin does
    #[arg(value_enum)]
    pub(crate) kind: NewPluginKind,
    /// Name of the plugin and of the folder to make: small letters, digits and dashes
    pub(crate) name: String,
    /// Language it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewPluginKind {
    /// Reads records
    Source,
    /// Changes records on their way
    Transform,
    /// Writes records
    Destination,
}

/// Languages with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Javascript,
    Python,
}
