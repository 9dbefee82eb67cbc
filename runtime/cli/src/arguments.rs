//! The command line, as clap reads it. Names and order are those of the documentation.

mod assess;
mod connection;
mod decision;
mod plugin;
mod requests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use assess::AssessArguments;
pub(crate) use connection::ConnectionCommand;
pub(crate) use decision::{DecisionCommand, StewardArguments};
pub(crate) use plugin::{
    AddArguments, Language, NewPluginArguments, NewPluginKind, PackArguments, PluginCommand, SignArguments, TestArguments,
};
pub(crate) use requests::{AnswerReason, RequestsCommand};

/// Affluent keeps customer data in step: sources in, one profile per person, back out to the tools.
#[derive(Debug, Parser)]
#[command(name = "affluent", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shared {
    /// Folder of the project; the nearest parent folder that holds affluent.yaml when absent
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// Sets a variable for `{ var: NAME }` in the files
    #[arg(long = "var", global = true, value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// How results are printed on stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Prints nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Runs only plugins that are in affluent.lock as they are, and leaves that file alone; AFFLUENT_LOCKED=1 does the same
    #[arg(long, global = true)]
    pub(crate) locked: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a new project with a key file
    Init {
        /// Folder to make
        directory: PathBuf,
    },
    /// Checks every file of the project and reports all mistakes
    Validate,
    /// Shows what `run` would do; changes nothing
    Plan {
        /// Pipelines; all when absent
        pipelines: Vec<String>,
    },
    /// Runs pipelines, each after those it waits for
    Run(RunArguments),
    /// Runs the tests that stand in pipelines; exit code 4 when one fails
    Test(PipelineTestArguments),
    /// Runs schedules until it is stopped
    Serve(ServeArguments),
    /// Shows runs, streams, segments and what waits
    Status,
    /// Looks at a source before it is integrated: fields, personal data, identifiers, overlap with what is known
    Assess(AssessArguments),
    /// Groups the records of files by rules of identity, without a project: the way to develop rules
    Resolve(ResolveArguments),
    /// Looks at profiles
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Shows purchase behaviour over all profiles: cohorts, RFM, categories, trend
    Insights(InsightsArguments),
    /// Looks at segments
    #[command(subcommand)]
    Segment(SegmentCommand),
    /// Looks at refused records
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Lists and closes what services ask of a person by webhooks
    #[command(subcommand)]
    Requests(RequestsCommand),
    /// Looks at connections: whether they work, and what they offer
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// Makes, builds and looks at plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Manages the key file
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Writes the JSON Schemas that editors use
    Schema {
        /// Folder to write to
        #[arg(default_value = "schemas/json")]
        directory: PathBuf,
        /// Writes nothing; fails when a file is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Explains an error code
    Explain {
        /// `E0203`
        code: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Pipelines; all of the project when absent
    pub(crate) pipelines: Vec<String>,
    /// Reads everything again
    #[arg(long)]
    pub(crate) full: bool,
    /// Reads only this stream; may be repeated
    #[arg(long = "stream", value_name = "NAME")]
    pub(crate) streams: Vec<String>,
    /// Stops each stream after about so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Keeps what plugins send and get, without secrets and personal values, as files in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Runs from the recording in this folder: sends nothing and touches no data of the project
    #[arg(long, value_name = "DIR")]
    pub(crate) replay: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PipelineTestArguments {
    /// Pipelines; all of the project when absent
    pub(crate) pipelines: Vec<String>,
    /// Runs only tests whose name holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArguments {
    /// Rules, in the form of profiles/identity.yaml
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// Records as CSV with a header; may be repeated
    #[arg(long = "in", value_name = "FILE", required = true)]
    pub(crate) records: Vec<PathBuf>,
    /// Where to write the group of each record, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Who the records are, as CSV: the first column is the id, the last the person
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Pairs of ids that are one profile, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) must_link: Option<PathBuf>,
    /// Pairs of ids that are never one profile, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) cannot_link: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address of the status page
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDRESS")]
    pub(crate) listen: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Shows one profile
    Show {
        /// Profile id, `email:ann@x.test` or `shop/1234`
        profile: String,
        /// Opens sealed values; noted in the audit
        #[arg(long)]
        reveal: bool,
    },
    /// Shows why two records are one person or two, or where each attribute of one profile comes from
    Why {
        /// Profile id, `email:ann@x.test` or `shop/1234`
        one: String,
        /// The other; without, which record gave each attribute, and which did not
        other: Option<String>,
    },
    /// Shows which profiles would merge or split under changed rules of identity, before a run applies them; writes nothing
    Diff {
        /// Rules in the form of profiles/identity.yaml; the project's own when absent
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
    /// Prints everything held of a person as JSON, with sources, purposes and recipients; noted in the audit
    Export {
        /// Profile id, `email:ann@x.test` or `shop/1234`
        profile: String,
    },
    /// Erases a person: destroys the keys, keeps the person out, empties refused records, takes receipts of destinations; noted
    /// in the audit. Columns that were stored in the clear stay in the lake
    Erase {
        /// Profile id, `email:ann@x.test` or `shop/1234`; with --resume, none
        #[arg(required_unless_present = "resume")]
        profile: Option<String>,
        /// Does it; without, nothing is erased
        #[arg(long)]
        yes: bool,
        /// Goes on with erasures that were begun and not ended
        #[arg(long, conflicts_with_all = ["profile", "yes"])]
        resume: bool,
    },
    /// Lists erasures and their receipts, newest first
    Erasures,
    /// Keeps a person out of every delivery without erasing; noted in the audit
    Suppress {
        /// Profile id, `email:ann@x.test` (known or not) or `shop/1234`
        profile: String,
    },
    /// Lets a suppressed person be delivered again; noted in the audit
    Unsuppress {
        /// Profile id, `email:ann@x.test` (known or not) or `shop/1234`
        profile: String,
    },
    #[command(flatten)]
    Decide(DecisionCommand),
}

#[derive(Debug, Args)]
pub(crate) struct InsightsArguments {
    /// The last day that is looked at; today when absent
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) as_of: Option<String>,
    /// Writes a page with charts to this file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Bins of recency, frequency and value
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=9))]
    pub(crate) bins: u8,
    /// Counts orders of value zero too
    #[arg(long)]
    pub(crate) count_free_orders: bool,
    /// Stream with the categories; order lines, or orders, with a column of a usual name when absent
    #[arg(long, value_name = "STREAM")]
    pub(crate) from: Option<String>,
    /// SQL expression of a line's category
    #[arg(long, value_name = "SQL")]
    pub(crate) category: Option<String>,
    /// SQL expression of a line's units
    #[arg(long, value_name = "SQL")]
    pub(crate) units: Option<String>,
    /// SQL expression of a line's net value
    #[arg(long, value_name = "SQL")]
    pub(crate) revenue: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SegmentCommand {
    /// Counts the members segments would have now, by the files as they are
    Size {
        /// Segment; all when absent
        #[arg(conflicts_with = "condition")]
        segment: Option<String>,
        /// Counts the profiles for which this condition is true, as it would stand in `where` of a segment
        #[arg(long = "where", value_name = "CONDITION")]
        condition: Option<String>,
    },
    /// Lists the members of a segment as of the last run, or of any time before
    Members {
        segment: String,
        /// RFC 3339 time, or a date for its first instant
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// Lists refused records, newest first
    List {
        /// Only of this pipeline
        pipeline: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes the key file of the project
    Init,
}
