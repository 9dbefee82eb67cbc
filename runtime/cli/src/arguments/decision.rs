//! Decisions of stewards, as clap reads them.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DecisionCommand {
    /// Splits a record, an identifier or a pair of records out of a profile; stands against every rule until it is undone
    Split {
        /// A record (`shop/1234`) becomes a person of its own; an identifier (`email:ann@x.test`) joins nobody of its profile
        /// any more
        reference: String,
        /// Only from this record, or without this identifier; of an identifier that several profiles carry, the profile
        #[arg(long, value_name = "REFERENCE")]
        from: Option<String>,
        #[command(flatten)]
        steward: StewardArguments,
    },
    /// Joins two records for good, whatever rules say
    Link {
        /// `shop/1234`; of an identifier or a profile id, its oldest record
        one: String,
        /// The other
        other: String,
        #[command(flatten)]
        steward: StewardArguments,
    },
    /// Lets one record give the value that a profile shows of an attribute, whatever rules say
    Pin {
        /// Profile id, `email:ann@x.test` or `shop/1234`
        profile: String,
        /// The attribute
        attribute: String,
        /// The record whose value is shown, `shop/1234`: what it says now and later
        #[arg(long, value_name = "RECORD")]
        from: String,
        #[command(flatten)]
        steward: StewardArguments,
    },
    /// Takes back the pin of an attribute: its value is chosen by rules again
    Unpin {
        /// Profile id, `email:ann@x.test` or `shop/1234`
        profile: String,
        /// The attribute
        attribute: String,
        /// Who takes it back; the user of the operating system when absent
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Lists what was decided by `split`, `link` and `pin`, newest first
    Decisions,
    /// Lists profiles that guard rails keep apart: over the cap of records, with two values of a unique identifier, decided
    Quarantine {
        /// Pairs of each reason at most
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Takes a decision back: profiles and values are as the rules have them
    Undo {
        /// Its number in `profile decisions`
        decision: i64,
        /// Who takes it back; the user of the operating system when absent
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
}

/// Who decides, and why.
#[derive(Debug, Args)]
pub(crate) struct StewardArguments {
    /// Who decides; the user of the operating system when absent
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why; kept sealed
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
