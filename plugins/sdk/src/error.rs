//! The one error an author returns, with a constructor for each kind. The kind decides what the host does: stop and
//! alert, wait, back off, or split the batch; so choose it by what should happen, not by where it came from.

use std::fmt;

pub use crate::bindings::imports::affluent::plugin::types::ErrorKind;
use crate::bindings::imports::affluent::plugin::types::PluginError;

/// What an author's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a whole call.
///
/// `message` is shown to operators and stored: a lowercase fragment, never a record's value, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the host does next.
    pub kind: ErrorKind,
    /// Stable and machine-readable, `plugin.reason`: "shopify.throttled". The constructors set a general one.
    pub code: String,
    /// What happened, where, and what to do.
    pub message: String,
    /// The earliest time worth another try, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// A JSON document for tools, under the same rule as `message`.
    pub details: Option<String>,
}

impl Error {
    /// An error of this kind and code; the constructors below set the usual code.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), retry_after_ms: None, details: None }
    }

    /// The user must change the configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, "config", message)
    }

    /// Credentials were refused: the sync stops and alerts.
    pub fn auth(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Auth, "auth", message)
    }

    /// Credentials are good but a scope or right is missing.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permission, "permission", message)
    }

    /// What was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", message)
    }

    /// The host waits `retry_after_ms`, then calls again.
    pub fn rate_limited(retry_after_ms: u64) -> Self {
        let mut error = Self::new(ErrorKind::RateLimited, "rate_limited", "the service asked for fewer requests");
        error.retry_after_ms = Some(retry_after_ms);
        error
    }

    /// The host calls again with growing waits.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, "transient", message)
    }

    /// The whole batch is refused; the host splits it to find the row at fault.
    pub fn invalid_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, "invalid_data", message)
    }

    /// The plugin cannot do what it is asked.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, "unsupported", message)
    }

    /// A state that cannot be; `message` says why it cannot be.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }

    /// The usual meaning of an HTTP status: 401 auth, 403 permission, 404 and 410 not found, 408, 425 and 5xx transient,
    /// 429 rate limited (`retry_after_ms`, or 1,000), every other invalid data.
    pub fn from_status(status: u16, retry_after_ms: Option<u64>) -> Self {
        let message = format!("the service answered with status {status}");
        let error = match status {
            401 => Self::auth(message),
            403 => Self::permission(message),
            404 | 410 => Self::not_found(message),
            429 => Self::rate_limited(retry_after_ms.unwrap_or(1_000)),
            408 | 425 | 500..=599 => Self { retry_after_ms, ..Self::transient(message) },
            _ => Self::invalid_data(message),
        };
        error.code(format!("http.{status}"))
    }

    /// Replaces the general code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Adds a JSON document for tools.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Puts what was being done in front of the message: "orders: the service answered …".
    #[must_use]
    pub fn context(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The error of one row of a batch.
    #[must_use]
    pub fn at_row(self, row: u32, field: Option<&str>) -> RowError {
        let field = field.map(str::to_owned);
        RowError { row, kind: self.kind, code: self.code, message: self.message, field }
    }
}

/// The error of one row; see [`Error::at_row`].
pub use crate::bindings::imports::affluent::plugin::types::RowError;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        let Error { kind, code, message, retry_after_ms, details } = error;
        Self { kind, code, message, retry_after_ms, details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_the_kind_that_makes_the_host_do_the_right_thing() {
        let cases = [
            (401, ErrorKind::Auth),
            (403, ErrorKind::Permission),
            (404, ErrorKind::NotFound),
            (408, ErrorKind::Transient),
            (422, ErrorKind::InvalidData),
            (429, ErrorKind::RateLimited),
            (503, ErrorKind::Transient),
        ];

        for (status, kind) in cases {
            assert_eq!(Error::from_status(status, None).kind, kind, "{status}");
        }
    }

    #[test]
    fn a_throttled_answer_keeps_the_wait_it_asked_for() {
        assert_eq!(Error::from_status(429, Some(7_000)).retry_after_ms, Some(7_000));
        assert_eq!(Error::from_status(503, Some(2_000)).retry_after_ms, Some(2_000));
    }
}
