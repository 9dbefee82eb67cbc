//! What planning an SQL expression yields: its type and columns, or the mistake in it. Made by `lake`, read by
//! `config` when it checks a project; neither knows the other. Not a planner and not a syntax tree.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema};

use crate::consent::ConsentTerms;

/// An expression that planned against a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedExpression {
    pub data_type: DataType,
    pub nullable: bool,
    /// Columns it reads, sorted, each once.
    pub columns: Vec<String>,
    /// The column's name when the expression is that column and nothing else, however it was quoted.
    pub bare_column: Option<String>,
}

/// What a condition of a segment asks beyond the profile's own columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentCall {
    /// `did('orders', '90d', net > 50)`: how many records of a stream the profile has; a whole number.
    Did {
        step: EventStep,
        /// Only records of the last so many milliseconds.
        window_ms: Option<u64>,
    },
    /// `did_sequence('7d', 'carts', 'orders')`: true when each step came later than the one before, and the last no more
    /// than the window after the first.
    Sequence { steps: Vec<EventStep>, window_ms: u64 },
    /// `consent('email_marketing', channel => 'email', scope => 'shop_fr')`: `granted`, `expired`, `pending`, `denied` or
    /// `unknown`: the strictest of what was said about the profile's identifiers and reaches the channel and the scope, where
    /// they are named; every row of the purpose reaches where they are not.
    Consent { purpose: String, channel: Option<String>, scope: Option<String> },
    /// `in_segment('vip')`: true for members.
    InSegment { segment: String },
}

/// Records of a stream for which a condition is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStep {
    pub stream: String,
    /// Over the columns of the stream; printed again, safe inside parentheses.
    pub condition: Option<String>,
}

/// What a segment's condition may name.
#[derive(Debug, Clone, Copy)]
pub struct SegmentScope<'a> {
    /// Of the profile.
    pub columns: &'a Schema,
    /// Streams that lead into profiles with their columns; `None` where those are not known.
    pub streams: &'a BTreeMap<String, Option<Schema>>,
    pub segments: &'a [&'a str],
    /// Purposes that some pipeline maps consent for, with channel and scope of each mapping.
    pub consents: &'a [ConsentReach<'a>],
    /// There may be more streams, segments and purposes than these.
    pub is_partial: bool,
}

/// What a mapping of consent reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentReach<'a> {
    pub purpose: &'a str,
    /// Every channel when absent.
    pub channel: Option<&'a str>,
    /// Everything when absent.
    pub scope: Option<&'a str>,
}

impl<'a> ConsentReach<'a> {
    /// Of a mapping.
    #[must_use]
    pub fn of(terms: &'a ConsentTerms) -> Self {
        Self { purpose: &terms.purpose, channel: terms.channel.as_deref(), scope: terms.scope.as_deref() }
    }
}

/// A condition of a segment that planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSegment {
    pub expression: PlannedExpression,
    /// Each once.
    pub calls: Vec<SegmentCall>,
    /// Streams and the columns of them that their conditions read.
    pub read: Vec<(String, Vec<String>)>,
}

/// Why an expression did not plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionMistake {
    /// Lowercase fragment, values in backticks.
    pub message: String,
    /// Where the offending text starts in the expression, in characters from 0; `None` when only the whole is known.
    pub offset: Option<usize>,
    /// Length of the offending text in characters; 0 when `offset` is `None`.
    pub length: usize,
    /// What to do, each a sentence fragment: "did you mean `total`?".
    pub help: Vec<String>,
}

impl ExpressionMistake {
    /// A mistake of the expression as a whole.
    #[must_use]
    pub fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), offset: None, length: 0, help: Vec::new() }
    }
}
