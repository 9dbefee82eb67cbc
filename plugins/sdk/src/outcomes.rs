//! From a service's answer to a report by row: partial failures as declarations, batches in parts, pending jobs.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::json;
use crate::plugin::{Outcome, Report};

/// How an entry of an answer says which row it is about. Pointers are RFC 6901, into the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPlace {
    /// The entries are as many as the rows that were sent, in their order.
    InOrder,
    /// A number, from 0, among the rows that were sent.
    Index(&'static str),
    /// A path into the request that holds the number after a prefix: `/data/attributes/profiles/data/7/…`.
    IndexInPath(&'static str, &'static str),
    /// A text that was sent as the row's key.
    Key(&'static str),
}

/// Where an answer lists rows that it did not take: a 207, `errors[]` in a 200, one result per row.
///
/// ```
/// use affluent_sdk::Report;
/// use affluent_sdk::outcomes::{PartialFailure, RowPlace, Sent};
///
/// const REFUSED: PartialFailure = PartialFailure::at("/errors", RowPlace::Key("/email")).code("mail", "/error_code");
///
/// let answer = serde_json::json!({ "updated": 1, "errors": [{ "email": "b@x.test", "error_code": "ERROR_INVALID" }] });
/// let sent = Sent::of([0, 2]).keys(["a@x.test".to_owned(), "b@x.test".to_owned()]);
/// let mut report = Report::accepted(0);
/// REFUSED.read(&answer, &sent, &mut report)?;
///
/// assert_eq!((report.failed[0].row, report.failed[0].code.as_str()), (2, "mail.ERROR_INVALID"));
/// assert_eq!(report.counted(3).accepted, 2);
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PartialFailure {
    list: &'static str,
    place: RowPlace,
    prefix: &'static str,
    code: &'static str,
    field: Option<&'static str>,
    success: Option<(&'static str, &'static str)>,
    transient: &'static [&'static str],
    id: Option<&'static str>,
}

impl PartialFailure {
    /// The list at a pointer names rows; without more said, each entry is a failure.
    pub const fn at(list: &'static str, place: RowPlace) -> Self {
        Self { list, place, prefix: "row", code: "", field: None, success: None, transient: &[], id: None }
    }

    /// Where an entry holds its code; a row's error gets `PREFIX.CODE`, or `PREFIX.refused` where there is none.
    #[must_use]
    pub const fn code(self, prefix: &'static str, pointer: &'static str) -> Self {
        Self { prefix, code: pointer, ..self }
    }

    /// Where an entry names the field at fault, or the path to it: its last part is told.
    #[must_use]
    pub const fn field(self, pointer: &'static str) -> Self {
        Self { field: Some(pointer), ..self }
    }

    /// Entries whose value at a pointer is this word or JSON literal are successes: `("/success", "true")`.
    #[must_use]
    pub const fn success(self, pointer: &'static str, word: &'static str) -> Self {
        Self { success: Some((pointer, word)), ..self }
    }

    /// Codes of rows that are worth another try; all others have failed for good.
    #[must_use]
    pub const fn transient(self, codes: &'static [&'static str]) -> Self {
        Self { transient: codes, ..self }
    }

    /// Where a successful entry holds the record's id at the service.
    #[must_use]
    pub const fn id(self, pointer: &'static str) -> Self {
        Self { id: Some(pointer), ..self }
    }

    /// Puts the rows of an answer into a report, each once; an answer without the list names none. Close the report with
    /// [`Report::counted`].
    ///
    /// # Errors
    /// `invalid_data` (`PREFIX.untold`) when a failure does not say whose it is: the host halves the batch until the row is
    /// alone. `transient` (`PREFIX.results`) when results in order are not as many as the rows.
    pub fn read(&self, answer: &Value, sent: &Sent, report: &mut Report) -> Result<()> {
        let entries = json::list(answer, self.list);
        if self.place == RowPlace::InOrder && entries.len() != sent.rows.len() {
            let message = format!("the answer has {} results for {} rows", entries.len(), sent.rows.len());
            return Err(Error::transient(message).code(format!("{}.results", self.prefix)));
        }
        let mut told: BTreeSet<u32> = report.failed.iter().chain(&report.retryable).map(|error| error.row).collect();
        for (index, entry) in entries.iter().enumerate() {
            let row = self.row(index, entry, sent);
            if self.is_success(entry) {
                let id = self.id.map(|pointer| json::text(entry, pointer)).filter(|id| !id.is_empty());
                report.remote_ids.extend(row.zip(id.map(str::to_owned)));
                continue;
            }
            let Some(row) = row else {
                let message = "the service refused rows without telling which";
                return Err(Error::invalid_data(message).code(format!("{}.untold", self.prefix)));
            };
            if told.insert(row) {
                report.refuse(self.error(entry).at_row(row, self.field_of(entry)));
            }
        }
        Ok(())
    }

    fn row(&self, index: usize, entry: &Value, sent: &Sent) -> Option<u32> {
        let index = match self.place {
            RowPlace::InOrder => index,
            RowPlace::Index(pointer) => usize::try_from(entry.pointer(pointer)?.as_u64()?).ok()?,
            RowPlace::IndexInPath(pointer, prefix) => {
                json::text(entry, pointer).strip_prefix(prefix)?.split('/').next()?.parse().ok()?
            }
            RowPlace::Key(pointer) => return sent.keys.get(json::text(entry, pointer)).copied(),
        };
        sent.rows.get(index).copied()
    }

    fn is_success(&self, entry: &Value) -> bool {
        let Some((pointer, word)) = self.success else { return false };
        match entry.pointer(pointer) {
            Some(Value::String(text)) => text == word,
            Some(found) => serde_json::from_str::<Value>(word).is_ok_and(|literal| literal == *found),
            None => false,
        }
    }

    fn error(&self, entry: &Value) -> Error {
        let code = match entry.pointer(self.code) {
            Some(Value::String(code)) if !code.is_empty() => json::word(code).to_owned(),
            Some(Value::Number(code)) => code.to_string(),
            _ => "refused".to_owned(),
        };
        let is_transient = self.transient.contains(&code.as_str());
        let kind = if is_transient { ErrorKind::Transient } else { ErrorKind::InvalidData };
        Error::new(kind, format!("{}.{code}", self.prefix), "the service refused the row")
    }

    fn field_of<'a>(&self, entry: &'a Value) -> Option<&'a str> {
        let path = json::text(entry, self.field?);
        path.rsplit('/').next().map(json::word).filter(|field| !field.is_empty())
    }
}

/// The rows of a batch that were sent in one request, in its order.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    rows: Vec<u32>,
    keys: HashMap<String, u32>,
}

impl Sent {
    /// Rows by their number in the batch.
    pub fn of(rows: impl IntoIterator<Item = u32>) -> Self {
        Self { rows: rows.into_iter().collect(), keys: HashMap::new() }
    }

    /// What identifies each of them in the answer, in the same order. Of two rows with one key the first is meant.
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        for (key, row) in keys.into_iter().zip(&self.rows) {
            self.keys.entry(key).or_insert(*row);
        }
        self
    }

    /// Rows by their number in the batch.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(failure: PartialFailure, answer: &Value) -> Result<Report> {
        let sent = Sent::of([1, 3, 5]).keys(["a", "b", "c"].map(str::to_owned));
        let mut report = Report::accepted(0);
        failure.read(answer, &sent, &mut report)?;
        Ok(report.counted(6))
    }

    #[test]
    fn a_refused_row_is_found_in_every_way_that_services_name_it() {
        let cases = [
            (RowPlace::Index("/index"), json!({ "errors": [{ "index": 1, "code": "bad" }] })),
            (RowPlace::IndexInPath("/path", "/rows/"), json!({ "errors": [{ "path": "/rows/1/email", "code": "bad" }] })),
            (RowPlace::Key("/id"), json!({ "errors": [{ "id": "b", "code": "bad" }, { "id": "b", "code": "worse" }] })),
            (RowPlace::InOrder, json!({ "errors": [{ "code": "ok" }, { "code": "bad" }, { "code": "ok" }] })),
        ];

        for (place, answer) in cases {
            let failure = PartialFailure::at("/errors", place).code("x", "/code").field("/path").success("/code", "ok");
            let report = read(failure, &answer).unwrap();
            assert_eq!((report.accepted, report.failed.len()), (5, 1), "{place:?}");
            assert_eq!((report.failed[0].row, report.failed[0].code.as_str()), (3, "x.bad"), "{place:?}");
        }
    }

    #[test]
    fn results_tell_ids_what_is_worth_another_try_and_never_a_value() {
        let failure = PartialFailure::at("/results", RowPlace::InOrder)
            .code("x", "/error/code")
            .success("/success", "true")
            .transient(&["LOCKED"])
            .id("/id");
        let answer = json!({ "results": [{ "success": true, "id": "r1" }, { "success": false, "error": { "code": "LOCKED" } },
            { "success": false, "error": { "code": "ada@x.test" } }] });

        let report = read(failure, &answer).unwrap();

        assert_eq!(report.remote_ids, [(1, "r1".to_owned())]);
        assert_eq!(report.retryable[0].row, 3);
        assert_eq!(report.failed[0].code, "x.?");
    }

    #[test]
    fn a_failure_without_a_row_refuses_the_batch_and_missing_results_are_asked_again() {
        let untold = PartialFailure::at("/errors", RowPlace::Key("/id")).code("x", "/code");
        let results = PartialFailure::at("/results", RowPlace::InOrder);

        assert_eq!(read(untold, &json!({ "errors": [{ "id": "z" }] })).unwrap_err().code, "x.untold");
        assert_eq!(read(results, &json!({ "results": [] })).unwrap_err().kind, ErrorKind::Transient);
        assert_eq!(read(untold, &json!({})).unwrap().accepted, 6);
    }

    #[test]
    fn waiting_ends_with_the_answer_the_last_try_or_the_run() {
        crate::testing::reset();
        let mut asked = 0;
        let found = wait_for(5, 100, || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!((found.unwrap(), crate::testing::slept_ms()), (Some(3), 200));
        assert_eq!(wait_for::<()>(2, 100, || Ok(None)).unwrap(), None);
        crate::testing::cancel();
        let before = crate::testing::slept_ms();
        assert_eq!(wait_for::<()>(9, 100, || Ok(None)).unwrap(), None);
        assert_eq!(crate::testing::slept_ms(), before);
    }

    proptest! {
        #[test]
        fn parts_hold_every_row_once_and_keep_the_limits(sizes in prop::collection::vec(0usize..50, 0..60), rows_max in 1usize..9, bytes_max in 1usize..120) {
            let parts = split(&sizes, rows_max, bytes_max);

            let rows: Vec<usize> = parts.iter().cloned().flatten().collect();
            prop_assert_eq!(rows, (0..sizes.len()).collect::<Vec<_>>());
            for part in parts {
                let bytes: usize = sizes[part.clone()].iter().sum();
                prop_assert!(part.len() <= rows_max && (bytes <= bytes_max || part.len() == 1));
            }
        }
    }
}
