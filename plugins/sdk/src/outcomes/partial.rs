//! Which rows an answer says that it did not take.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::json;
use crate::plugin::Report;

/// How an entry of an answer says which row it is about. Pointers are RFC 6901, into the entry.
#[derive(Debug, Clone, Copy)]
pub enum RowPlace {
    /// The entries are as many as the rows that were sent, in their order.
    InOrder,
    /// A number, from 0, among the rows that were sent.
    Index(&'static str),
    /// A path into the request that holds the number after a prefix: `/data/attributes/profiles/data/7/…`.
    IndexInPath(&'static str, &'static str),
    /// A text that was sent as the row's key.
    Key(&'static str),
    /// What a function makes of the entry: keys that the row may have, see [`crate::identity::Identifiers`]. Not called where
    /// no keys were sent.
    Keys(fn(&Value) -> Result<Vec<String>>),
}

/// Which entries are no failures.
#[derive(Debug, Clone, Copy)]
enum Success {
    Never,
    Word(&'static str, &'static str),
    Without(&'static str),
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
    other_place: Option<RowPlace>,
    prefix: &'static str,
    code: &'static str,
    field: Option<(&'static str, &'static str)>,
    quoted: Option<(&'static str, &'static [&'static str])>,
    success: Success,
    transient: &'static [&'static str],
    id: Option<&'static str>,
}

impl PartialFailure {
    /// The list at a pointer names rows; without more said, each entry is a failure.
    pub const fn at(list: &'static str, place: RowPlace) -> Self {
        let (other_place, field, quoted, id) = (None, None, None, None);
        Self { list, place, other_place, prefix: "row", code: "", field, quoted, success: Success::Never, transient: &[], id }
    }

    /// Another way that entries say it, for those that do not say it in the first.
    #[must_use]
    pub const fn or(self, place: RowPlace) -> Self {
        Self { other_place: Some(place), ..self }
    }

    /// Where an entry holds its code; a row's error gets `PREFIX.CODE`, or `PREFIX.refused` where there is none.
    #[must_use]
    pub const fn code(self, prefix: &'static str, pointer: &'static str) -> Self {
        Self { prefix, code: pointer, ..self }
    }

    /// Where an entry names the field at fault, or the path to it: its last part is told.
    #[must_use]
    pub const fn field(self, pointer: &'static str) -> Self {
        self.field_after(pointer, "/")
    }

    /// As [`PartialFailure::field`], but what follows the last `marker` in it; a path without one names no field.
    #[must_use]
    pub const fn field_after(self, pointer: &'static str, marker: &'static str) -> Self {
        Self { field: Some((pointer, marker)), ..self }
    }

    /// Where an entry names the field at fault in words, as `'email'`: only these names are told, since the words may quote values.
    #[must_use]
    pub const fn field_in_words(self, pointer: &'static str, names: &'static [&'static str]) -> Self {
        Self { quoted: Some((pointer, names)), ..self }
    }

    /// Entries whose value at a pointer is this word or JSON literal are successes: `("/success", "true")`.
    #[must_use]
    pub const fn success(self, pointer: &'static str, word: &'static str) -> Self {
        Self { success: Success::Word(pointer, word), ..self }
    }

    /// Entries that hold nothing at a pointer are successes: `"/error"`.
    #[must_use]
    pub const fn success_without(self, pointer: &'static str) -> Self {
        Self { success: Success::Without(pointer), ..self }
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
        if matches!(self.place, RowPlace::InOrder) && entries.len() != sent.rows.len() {
            let message = format!("the answer has {} results for {} rows", entries.len(), sent.rows.len());
            return Err(Error::transient(message).code(format!("{}.results", self.prefix)));
        }
        if self.read_entries(entries, sent, report)? > 0 { Err(self.untold()) } else { Ok(()) }
    }

    /// As [`PartialFailure::read`], for entries that were collected from several answers, which say by `failed` how many rows
    /// were refused: entries that do not say whose they are do no harm when the others name so many.
    ///
    /// # Errors
    /// `invalid_data` (`PREFIX.untold`) when fewer than `failed` rows were named.
    pub fn read_counted(&self, entries: &[Value], failed: u64, sent: &Sent, report: &mut Report) -> Result<()> {
        let refused = |report: &Report| (report.failed.len() + report.retryable.len()) as u64;
        let before = refused(report);
        self.read_entries(entries, sent, report)?;
        if refused(report) - before < failed { Err(self.untold()) } else { Ok(()) }
    }

    /// The ids of all records that an answer says were taken, in its order.
    pub fn ids(&self, answer: &Value) -> Vec<String> {
        let taken = json::list(answer, self.list).iter().filter(|entry| self.is_success(entry));
        taken.filter_map(|entry| self.id_of(entry)).collect()
    }

    fn untold(&self) -> Error {
        Error::invalid_data("the service refused rows without telling which").code(format!("{}.untold", self.prefix))
    }

    /// How many failures do not say whose they are.
    fn read_entries(&self, entries: &[Value], sent: &Sent, report: &mut Report) -> Result<usize> {
        let mut told: BTreeSet<u32> = report.failed.iter().chain(&report.retryable).map(|error| error.row).collect();
        let mut untold = 0;
        for (index, entry) in entries.iter().enumerate() {
            let row = self.row(index, entry, sent)?;
            if self.is_success(entry) {
                report.remote_ids.extend(row.zip(self.id_of(entry)));
                continue;
            }
            match row {
                Some(row) if told.insert(row) => report.refuse(self.error(entry).at_row(row, self.field_of(entry))),
                Some(_) => {}
                None => untold += 1,
            }
        }
        Ok(untold)
    }

    /// The row of an entry; a failure of a row that was sent alone is its own.
    fn row(&self, index: usize, entry: &Value, sent: &Sent) -> Result<Option<u32>> {
        for place in [Some(self.place), self.other_place].into_iter().flatten() {
            if let Some(row) = place.row(index, entry, sent)? {
                return Ok(Some(row));
            }
        }
        Ok(match sent.rows.as_slice() {
            [row] => Some(*row),
            _ => None,
        })
    }

    fn is_success(&self, entry: &Value) -> bool {
        match self.success {
            Success::Never => false,
            Success::Without(pointer) => entry.pointer(pointer).is_none_or(Value::is_null),
            Success::Word(pointer, word) => match entry.pointer(pointer) {
                Some(Value::String(text)) => text == word,
                Some(found) => serde_json::from_str::<Value>(word).is_ok_and(|literal| literal == *found),
                None => false,
            },
        }
    }

    /// The record's id, a text or a number.
    fn id_of(&self, entry: &Value) -> Option<String> {
        json::id(entry, self.id?)
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
        if let Some((pointer, names)) = self.quoted {
            return json::text(entry, pointer).split('\'').find(|word| names.contains(word));
        }
        let (pointer, marker) = self.field?;
        let path = json::text(entry, pointer);
        let field = match path.rsplit_once(marker) {
            Some((_, field)) => field,
            None if marker == "/" => path,
            None => return None,
        };
        Some(json::word(field)).filter(|field| !field.is_empty())
    }
}

impl RowPlace {
    fn row(self, index: usize, entry: &Value, sent: &Sent) -> Result<Option<u32>> {
        let index = match self {
            Self::InOrder => Some(index),
            Self::Index(pointer) => entry.pointer(pointer).and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()),
            Self::IndexInPath(pointer, prefix) => {
                let number = json::text(entry, pointer).strip_prefix(prefix).and_then(|rest| rest.split('/').next());
                number.and_then(|number| number.parse().ok())
            }
            Self::Key(pointer) => return Ok(sent.keys.get(json::text(entry, pointer)).copied()),
            Self::Keys(keys_of) if !sent.keys.is_empty() => return Ok(sent.row_of(&keys_of(entry)?)),
            Self::Keys(_) => None,
        };
        Ok(index.and_then(|index| sent.rows.get(index).copied()))
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

    /// The row that has one of these keys: of several, that of the first.
    pub fn row_of(&self, keys: &[String]) -> Option<u32> {
        keys.iter().find_map(|key| self.keys.get(key).copied())
    }

    /// Whether it was said what identifies the rows.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Rows by their number in the batch.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }
}
