//! Errors of the transport in the words of the contract; never a URL, a query or an address book of the machine.

use std::error::Error as _;

use super::attempt::HEADER_BYTES_MAX;
use super::client::AddressRefused;
use super::wait::WaitRefused;
use crate::bindings::affluent::plugin::http::HttpError;

/// The error of a request that got no answer, or only a part of one.
pub(crate) fn transport_error(error: &reqwest::Error) -> HttpError {
    if let Some(refused) = find_refusal(error) {
        return HttpError::Denied(refused);
    }
    if has_too_many_headers(error) {
        return HttpError::TooLarge(u64::try_from(HEADER_BYTES_MAX).unwrap_or(u64::MAX));
    }
    if error.is_timeout() {
        return HttpError::Timeout;
    }
    if error.is_builder() {
        return HttpError::Invalid("the request cannot be built".to_owned());
    }
    HttpError::Connect(deepest_cause(error))
}

impl From<WaitRefused> for HttpError {
    fn from(refused: WaitRefused) -> Self {
        match refused {
            WaitRefused::TooLong(wait) => Self::RateLimited(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            WaitRefused::Cancelled => Self::Cancelled,
        }
    }
}

fn find_refusal(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<AddressRefused>() {
            return Some(refused.to_string());
        }
        cause = current.source();
    }
    None
}

/// The head of the answer is over the limits that the client was made with.
fn has_too_many_headers(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        if current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return true;
        }
        cause = current.source();
    }
    false
}

fn deepest_cause(error: &reqwest::Error) -> String {
    let mut deepest = "no connection".to_owned();
    let mut cause = error.source();
    while let Some(current) = cause {
        deepest = current.to_string();
        cause = current.source();
    }
    deepest
}
