//! Rows that are about the same record, for services that refuse a request which names a record twice.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use super::{PartialFailure, Sent, Unfit};
use crate::error::{Error, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::plugin::Report;

/// Rows by what identifies their records: one row of each is sent, the last one.
///
/// ```
/// use affluent_sdk::Report;
/// use affluent_sdk::outcomes::Fold;
///
/// let fold = Fold::of([(0, "a@x.test"), (1, "b@x.test"), (3, "a@x.test")]);
/// assert_eq!(fold.rows(), [1, 3]);
///
/// let mut report = Report::accepted(0);
/// report.remote_ids.push((3, "7".to_owned()));
/// fold.share(&mut report);
/// assert_eq!(report.remote_ids, [(3, "7".to_owned()), (0, "7".to_owned())]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    rows: Vec<u32>,
    /// Row that is not sent → the one that is sent for it.
    stands_for: Vec<(u32, u32)>,
}

impl Fold {
    /// Rows by their number in the batch, ascending, each with the key of its record in the form in which equal ones are equal.
    pub fn of<K: AsRef<str>>(keys: impl IntoIterator<Item = (u32, K)>) -> Self {
        let keys: Vec<(u32, K)> = keys.into_iter().collect();
        let last: HashMap<&str, u32> = keys.iter().map(|(row, key)| (key.as_ref(), *row)).collect();
        let mut fold = Self::default();
        for (row, key) in &keys {
            match last.get(key.as_ref()) {
                Some(sent) if sent != row => fold.stands_for.push((*row, *sent)),
                _ => fold.rows.push(*row),
            }
        }
        fold
    }

    /// The rows to send.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Gives rows that were not sent what became of those that were sent for them: their errors and ids.
    pub fn share(&self, report: &mut Report) {
        for (row, sent) in &self.stands_for {
            for errors in [&mut report.skipped, &mut report.failed, &mut report.retryable] {
                let shared = errors.iter().find(|error| error.row == *sent).cloned();
                errors.extend(shared.map(|error| crate::RowError { row: *row, ..error }));
            }
            let id = report.remote_ids.iter().find(|(known, _)| known == sent).map(|(_, id)| (*row, id.clone()));
            report.remote_ids.extend(id);
        }
    }
}

/// The rows of a batch that one request upserts by a field of theirs: each record once, rows without the field refused.
#[derive(Debug)]
pub struct KeyedRows {
    fold: Fold,
    keys: Vec<(u32, String)>,
    report: Report,
    rows: u32,
}

impl KeyedRows {
    /// The rows by a field, whose values are told apart as `identifiers` says. A row that has none is refused with `unfit`.
    ///
    /// # Errors
    /// `invalid_data` when a value cannot be read.
    pub fn by(identifiers: &Identifiers, name: &str, rows: &JsonRows<'_>, unfit: Unfit) -> Result<Self> {
        let (mut keys, mut report) = (Vec::new(), Report::accepted(0));
        for row in 0..rows.rows() {
            match rows.text(name, row)? {
                Some(key) => keys.push((row, key)),
                None => report.refuse(Error::invalid_data(unfit.message).code(unfit.code).at_row(row, Some(name))),
            }
        }
        let fold = Fold::of(keys.iter().map(|(row, key)| (*row, identifiers.comparable(name, key))));
        keys.retain(|(row, _)| fold.rows().binary_search(row).is_ok());
        Ok(Self { fold, keys, report, rows: rows.rows() })
    }

    /// The rows to send, with their keys.
    pub fn sent(&self) -> &[(u32, String)] {
        &self.keys
    }

    /// A mark for a row, where a service gives back one that was sent with it: no key looks like it.
    pub fn mark(row: u32) -> String {
        format!("row {row}")
    }

    /// The report, from an answer that names rows by their mark or by their key: `refused` says where it lists
    /// those that it did not take, `taken` where those that have an id now.
    ///
    /// # Errors
    /// As [`PartialFailure::read`].
    pub fn finish(mut self, answer: &Value, refused: &PartialFailure, taken: &PartialFailure) -> Result<Report> {
        self.read(0..self.keys.len(), answer, refused, taken)?;
        Ok(self.report())
    }

    /// As [`KeyedRows::finish`], from the answer to a request that sent some of the rows, by their places in [`KeyedRows::sent`].
    ///
    /// # Errors
    /// As [`PartialFailure::read`].
    pub fn read(&mut self, some: Range<usize>, answer: &Value, refused: &PartialFailure, taken: &PartialFailure) -> Result<()> {
        let keys = self.keys.get(some).unwrap_or_default();
        let marks = keys.iter().map(|(row, _)| Self::mark(*row));
        let sent = Sent::of(keys.iter().map(|(row, _)| *row)).keys(marks);
        let sent = sent.keys(keys.iter().map(|(_, key)| key.clone()));
        refused.read(answer, &sent, &mut self.report)?;
        taken.read(answer, &sent, &mut self.report)
    }

    /// The report of all answers that were read: rows that none of them refused were accepted.
    pub fn report(mut self) -> Report {
        self.fold.share(&mut self.report);
        self.report.counted(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_not_sent_fail_with_the_row_that_was_sent_for_them() {
        let fold = Fold::of([(0, "a"), (1, "a"), (2, "b"), (3, "a")]);
        let mut report = Report::accepted(0);
        report.refuse(Error::invalid_data("bad").at_row(3, None));

        fold.share(&mut report);

        let failed: Vec<u32> = report.failed.iter().map(|error| error.row).collect();
        assert_eq!((fold.rows(), failed, report.counted(4).accepted), (&[2, 3][..], vec![3, 0, 1], 1));
    }

    #[test]
    fn rows_are_found_by_mark_or_key_and_those_without_a_key_are_refused() {
        use crate::{ColumnsBuilder, Field, FieldType, outcomes::RowPlace};
        const REFUSED: PartialFailure =
            PartialFailure::at("/errors", RowPlace::Key("/mark")).or(RowPlace::Key("/id")).code("x", "/code");
        const TAKEN: PartialFailure = PartialFailure::at("/results", RowPlace::Key("/id")).success_without("/error").id("/new");
        let mut builder = ColumnsBuilder::new(&[Field::new("email", FieldType::Text)]);
        for email in [Some("a@x"), None, Some("b@x"), Some("A@x "), Some("c@x")] {
            builder.set("email", email).unwrap();
            builder.end_row();
        }
        let columns = builder.finish();

        let unfit = Unfit { code: "x.nobody", message: "no email" };
        let by =
            |identifiers: Identifiers| KeyedRows::by(&identifiers, "email", &JsonRows::of(&columns).unwrap(), unfit).unwrap();
        let told_apart = by(Identifiers::new(&["email"], "key"));
        assert_eq!(told_apart.sent().iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 2, 3, 4]);
        let rows = by(Identifiers::new(&["email"], "key").any_case(&["email"]));

        assert_eq!(rows.sent().iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3, 4]);
        let answer = serde_json::json!({ "errors": [{ "mark": "row 3", "code": "bad" }, { "id": "b@x" }],
            "results": [{ "id": "c@x", "new": "7" }] });
        let report = rows.finish(&answer, &REFUSED, &TAKEN).unwrap();
        let failed: Vec<(u32, &str)> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
        assert_eq!(failed, [(1, "x.nobody"), (3, "x.bad"), (2, "x.refused"), (0, "x.bad")]);
        assert_eq!((report.accepted, report.remote_ids), (1, vec![(4, "7".to_owned())]));
    }
}
