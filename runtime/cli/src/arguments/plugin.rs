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
    /// Shows what a plugin asks for, and lets the project run it: copies it into the plugins folder and pins it in affluent.lock
    Add(AddArguments),
    /// Lists the plugins at hand and whether they may run
    List,
    /// Makes a component ready to travel: with its manifest written in it, under its name and version
    Pack(PackArguments),
    /// Signs a component, or makes a key to sign with
    Sign(SignArguments),
    /// Verifies the signature beside a component
    Verify {
        /// Component file; its signature is FILE.minisig
        file: PathBuf,
        /// Public key, `RW…`; may be repeated; those that the project trusts when absent
        #[arg(long = "public-key", value_name = "KEY")]
        public_keys: Vec<String>,
    },
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

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Name of the plugin, with its version where there are several: `acme/order-tagger@1.4.0`
    pub(crate) plugin: String,
    /// Component file, folder registry, or OCI layout folder; the project's own folders and the program when absent
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
    /// Approves what it asks for without a question
    #[arg(long)]
    pub(crate) approve: bool,
    /// Accepts a version below the one that was approved
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PackArguments {
    /// Component file, or folder of a plugin that was built
    pub(crate) plugin: PathBuf,
    /// Folder for NAME-VERSION.wasm
    #[arg(long, value_name = "DIR", required_unless_present_any = ["registry", "oci"])]
    pub(crate) out: Option<PathBuf>,
    /// Folder registry to add it to; made when there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) registry: Option<PathBuf>,
    /// Folder in the OCI image layout to add it to; made when there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) oci: Option<PathBuf>,
    /// Secret key to sign it with, and the registry's index
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// Component file
    #[arg(required_unless_present = "new_key")]
    pub(crate) file: Option<PathBuf>,
    /// Secret key file of minisign
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Makes the key file, and beside it FILE.pub with the public key
    #[arg(long)]
    pub(crate) new_key: bool,
    /// Leaves the new key without a passphrase: whoever reads the file can sign
    #[arg(long, requires = "new_key")]
    pub(crate) no_passphrase: bool,
}
