//! From a service's answer to a report by row: partial failures as declarations, batches in parts, pending jobs.

mod fold;
mod partial;
#[cfg(test)]
mod tests;
mod ticket;

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Outcome, Report};

pub use fold::{Fold, KeyedRows};
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

/// A body that is at most so many bytes.
///
/// # Errors
/// `invalid_data` with the code when it is larger: the host halves the batch.
pub fn body_within(body: String, bytes_max: usize, code: &str) -> Result<String> {
    if body.len() > bytes_max {
        return Err(Error::invalid_data(format!("the request takes more than {bytes_max} bytes")).code(code));
    }
    Ok(body)
}

/// The report of a batch whose rows are sent one by one: what `act` returns is the row's remote id, where there is one. Rows that
/// the service will not have are refused. Any other error ends it: rows that were done stay done, the others are sent again; an
/// error at the first row is the batch's.
///
/// ```
/// use affluent_sdk::{Error, outcomes};
///
/// let report = outcomes::by_row(3, |row| match row {
///     1 => Err(Error::invalid_data("the service does not take it")),
///     _ => Ok(Some(format!("id{row}"))),
/// })?;
/// assert_eq!((report.accepted, report.failed.len(), report.remote_ids.len()), (2, 1, 2));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// That of the first row, unless it is about the row alone.
pub fn by_row(rows: u32, mut act: impl FnMut(u32) -> Result<Option<String>>) -> Result<Report> {
    let all: Vec<(u32, u32)> = (0..rows).map(|row| (row, row)).collect();
    Ok(of_rows(Report::accepted(0), &all, |row| act(*row))?.counted(rows))
}

/// As [`by_row`], of some rows, each with what is sent of it; rows that are accepted are not counted.
pub(crate) fn of_rows<T>(
    mut report: Report,
    rows: &[(u32, T)],
    mut act: impl FnMut(&T) -> Result<Option<String>>,
) -> Result<Report> {
    for (place, (row, what)) in rows.iter().enumerate() {
        match act(what) {
            Ok(id) => report.remote_ids.extend(id.map(|id| (*row, id))),
            Err(error) if matches!(error.kind, ErrorKind::InvalidData | ErrorKind::NotFound) => {
                report.failed.push(error.at_row(*row, None));
            }
            Err(error) if place == 0 => return Err(error),
            Err(error) => {
                let left = rows.iter().skip(place).map(|(row, _)| error.clone().at_row(*row, None));
                report.retryable.extend(left);
                break;
            }
        }
    }
    Ok(report)
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
