//! Requests of services, as clap reads them.

use clap::{ArgGroup, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum RequestsCommand {
    /// Lists what services ask and nobody has closed, the most urgent first
    List {
        /// With those that were closed, newest first
        #[arg(long)]
        all: bool,
    },
    /// Closes a request and says with what; noted in the audit
    #[command(group = ArgGroup::new("answer").required(true))]
    Close {
        /// Its number in `requests list`
        request: i64,
        /// It is answered by this erasure, a number in `profile erasures`
        #[arg(long, value_name = "NUMBER", group = "answer")]
        erasure: Option<i64>,
        /// It is answered by an export of this profile since it was asked: profile id, `email:ann@x.test` or `shop/1234`
        #[arg(long, value_name = "PROFILE", group = "answer")]
        export: Option<String>,
        /// Why neither is its answer
        #[arg(long, value_enum, group = "answer")]
        because: Option<AnswerReason>,
        /// Who closes it; the user of the operating system when absent
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum AnswerReason {
    /// Nothing is held of whom it is about
    NothingHeld,
    /// A law has the data kept
    KeptByLaw,
    /// It was done by other means
    DoneElsewhere,
}
