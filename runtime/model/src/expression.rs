//! What planning an SQL expression yields: its type and columns, or the mistake in it. Made by `lake`, read by
//! `config` when it checks a project; neither knows the other. Not a planner and not a syntax tree.

use arrow::datatypes::DataType;

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
