//! Says to the audit what the gate refuses, with the host that was asked or that answered (security B-27).

use crate::bindings::affluent::plugin::http::HttpError;
use crate::state::Caller;

/// Refusals toward one host.
#[derive(Clone)]
pub(crate) struct Refusals {
    pub(crate) caller: Caller,
    pub(crate) host: String,
}

impl Refusals {
    /// Gives the error back; an answer or a request that broke a rule is in the audit then. A remote that cannot be
    /// reached broke none.
    pub(crate) fn refuse(&self, error: HttpError) -> HttpError {
        match &error {
            HttpError::Denied(reason) | HttpError::Invalid(reason) => self.audit(reason),
            HttpError::TooLarge(bytes) => self.audit(&format!("larger than {bytes} bytes")),
            HttpError::Connect(_) | HttpError::Timeout | HttpError::RateLimited(_) | HttpError::Cancelled => {}
        }
        error
    }

    fn audit(&self, reason: &str) {
        self.caller.audit("egress", &crate::failure::clean_text(&self.host, 256), &crate::failure::clean_text(reason, 512));
    }
}
