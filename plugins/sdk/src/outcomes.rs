//! From a service's answer to a report by row: partial failures as declarations, batches in parts, pending jobs.

mod partial;
#[cfg(test)]
mod tests;
mod ticket;

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::plugin::Outcome;

pub use partial::{PartialFailure, RowPlace, Sent};
pub use ticket::{JobStatus, Ticket, Unfit};

/// Splits rows of these sizes, in bytes, into consecutive parts of at most `rows_max` rows and `bytes_max` bytes. A row that is
/// larger by itself is a part of its own.
///
/// ```
/// let parts = affluent_sdk::outcomes::split(&[10, 10, 90, 10, 10, 10], 2, 100);
/// assert_eq!(parts, [0..2, 2..4, 4..6]);
/// ```
pub fn split(sizes: &[usize], rows_max: usize, bytes_max: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0usize);
    for (row, size) in sizes.iter().enumerate() {
        if row > start && (row - start >= rows_max || bytes.saturating_add(*size) > bytes_max) {
            parts.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < sizes.len() {
        parts.push(start..sizes.len());
    }
    parts
}

/// The outcome of a batch that the service works on: `job` is all that a later process needs to ask after it, and nothing
/// personal, since tokens are stored in the clear. The host polls after `wait_ms` milliseconds.
///
/// # Errors
/// `internal` when `job` cannot be written as JSON.
pub fn pending(job: &impl Serialize, wait_ms: u32) -> Result<Outcome> {
    let token = serde_json::to_string(job).map_err(|_| Error::internal("a token cannot be written as JSON"))?;
    Ok(Outcome::Pending((token, wait_ms)))
}

/// The job of a token that [`pending`] wrote.
///
/// # Errors
/// `internal` when the token is not of this plugin.
pub fn job<J: DeserializeOwned>(token: &str) -> Result<J> {
    serde_json::from_str(token).map_err(|_| Error::internal("the token is not of this plugin"))
}

/// Asks after something until it is there: `ask` answers `None` as long as it is not. Waits `wait_ms` between two questions and
/// gives up after `tries_max`, or when the run is being stopped: then `None`.
///
/// # Errors
/// Those of `ask`.
pub fn wait_for<T>(tries_max: u32, wait_ms: u32, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    for _ in 0..tries_max {
        if let Some(found) = ask()? {
            return Ok(Some(found));
        }
        if crate::runtime::cancelled() {
            break;
        }
        crate::runtime::sleep_ms(wait_ms);
    }
    Ok(None)
}
