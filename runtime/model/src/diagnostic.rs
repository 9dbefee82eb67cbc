//! One mistake in a project's files: where it stands, what is wrong, what to do. Rendered by `cli` only.

use std::path::PathBuf;

use serde::Serialize;

/// A place in a file of the project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// Relative to the project's folder.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Length of the offending text in characters, at least 1, within its line.
    pub length: usize,
}

impl Location {
    /// The start of a file, for mistakes about the file as a whole.
    #[must_use]
    pub fn file_start(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), line: 1, column: 1, length: 1 }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// `E0203`; one page per code under `schemas/errors/`.
    pub code: &'static str,
    /// Lowercase fragment, values in backticks.
    pub message: String,
    pub at: Location,
    /// The text of the line at `at`, for underlining; empty when the file cannot be read.
    pub line_text: String,
    /// What to do, each a sentence fragment: "did you mean `orders`?".
    pub help: Vec<String>,
}

impl Diagnostic {
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>, at: Location) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), at, line_text: String::new(), help: Vec::new() }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}
