//! The one error type that crosses crate borders: who must act (domain), whether trying again can help (retry),
//! a stable code with a page under `schemas/errors/`, and a message that is safe to show and store.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The project's files or the command line: exit code 2.
    Configuration,
    /// Keys are missing, wrong or unsafe: exit code 78, nothing was written.
    Keys,
    /// Something outside this process: exit code 3, safe to run again.
    External,
    /// A guard held the run until a person approves: exit code 5.
    Held,
    /// A bug of ours: exit code 1.
    Internal,
}

/// Whether the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// Not before this many milliseconds have passed.
    After(u64),
    /// With growing, jittered waits.
    Backoff,
}

/// A failure with what, where and what to do.
///
/// `message` is a lowercase fragment, values in backticks; it never holds a secret or a personal value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub domain: Domain,
    pub retry: Retry,
    /// `E0000` form; one page per code under `schemas/errors/`.
    pub code: &'static str,
    pub message: String,
    /// Where: "pipeline shop, stream orders, page 3", or a file with its line. Outermost first.
    pub at: Vec<String>,
    /// What to do; may be empty.
    pub help: String,
}

impl Error {
    fn new(domain: Domain, retry: Retry, code: &'static str, message: impl Into<String>) -> Self {
        Self { domain, retry, code, message: message.into(), at: Vec::new(), help: String::new() }
    }

    /// The user must change a file or a flag.
    pub fn configuration(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Configuration, Retry::Never, code, message)
    }

    /// Key material is missing, wrong or unsafe.
    pub fn keys(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Keys, Retry::Never, code, message)
    }

    /// The outside world failed; running again is safe.
    pub fn external(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::External, Retry::Backoff, code, message)
    }

    /// A guard stopped the run; nothing was sent.
    pub fn held(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Held, Retry::Never, code, message)
    }

    /// A state that cannot be; `message` says why it cannot be. Always `E0001`.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Domain::Internal, Retry::Never, "E0001", message)
    }

    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.at.insert(0, place.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)?;
        if !self.at.is_empty() {
            write!(f, " (at {})", self.at.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
