//! The rows of a batch beside what was sent last.

use serde_json::{Map, Value};

use super::{Change, SentValues};
use crate::error::{Error, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::outcomes::{Fold, PartialFailure, Sent, Unfit};
use crate::plugin::Report;

/// A row that is sent.
#[derive(Debug)]
pub struct ChangedRow {
    /// Its number in the batch.
    pub row: u32,
    /// The identifier that its record is found by.
    pub by: String,
    /// The value of that, in its comparable form.
    pub key: String,
    /// What is sent beside it.
    pub values: Map<String, Value>,
    change: Change,
}

/// The rows of a batch that one request sends: each record once, rows without an identifier refused.
#[derive(Debug)]
pub struct ChangedRows {
    memory: SentValues,
    fold: Fold,
    sent: Vec<ChangedRow>,
    report: Report,
    rows: u32,
}

impl ChangedRows {
    /// All rows, by the first identifier of `by` that they have; one that has none is refused with `unfit`. `values` makes of a row,
    /// and what it is found by, what the service is to hold of it.
    ///
    /// # Errors
    /// Those of `values`; as [`SentValues::load`]; `invalid_data` when a value cannot be read.
    pub fn of(
        identifiers: Identifiers,
        by: &[String],
        rows: &JsonRows<'_>,
        unfit: Unfit,
        values: impl Fn(u32, &str) -> Result<Map<String, Value>>,
    ) -> Result<Self> {
        let (mut found, mut report) = (Vec::new(), Report::accepted(0));
        for row in 0..rows.rows() {
            match identifiers.first_of_row(by, rows, row)? {
                Some((by, key)) => found.push((row, by, key)),
                None => report.refuse(Error::invalid_data(unfit.message).code(unfit.code).at_row(row, None)),
            }
        }
        let fold = Fold::of(found.iter().map(|(row, by, key)| (*row, format!("{by} {key}"))));
        let (memory, mut sent) = (SentValues::load(identifiers.secret())?, Vec::new());
        for (row, by, key) in found.into_iter().filter(|(row, ..)| fold.rows().binary_search(row).is_ok()) {
            let values = values(row, &by)?;
            let change = memory.change(&key, &values)?;
            sent.push(ChangedRow { row, by, key, values, change });
        }
        Ok(Self { memory, fold, sent, report, rows: rows.rows() })
    }

    /// Of all rows only those with something to send, and of their values only those that changed. A record that is not remembered
    /// is sent in any case.
    #[must_use]
    pub fn only_changed(mut self) -> Self {
        self.sent.iter_mut().for_each(|row| row.change.retain(&mut row.values));
        self.sent.retain(|row| row.change.is_new() || !row.values.is_empty());
        self
    }

    /// The rows to send, in the order of the batch.
    pub fn sent(&self) -> &[ChangedRow] {
        &self.sent
    }

    /// The report, from the answer to the request: where it lists rows that were not taken, by their place among those that were
    /// sent. The others are remembered, or, where they leave, forgotten.
    ///
    /// # Errors
    /// As [`PartialFailure::read`] and [`SentValues::store`].
    pub fn finish(mut self, answer: &Value, refused: &PartialFailure, are_leaving: bool) -> Result<Report> {
        let before = self.report.failed.len();
        refused.read(answer, &Sent::of(self.sent.iter().map(|row| row.row)), &mut self.report)?;
        let failed = self.report.failed.iter().skip(before).chain(&self.report.retryable);
        let failed: Vec<u32> = failed.map(|error| error.row).collect();
        for row in self.sent.into_iter().filter(|row| !failed.contains(&row.row)) {
            if are_leaving { self.memory.forget(&row.key)? } else { self.memory.keep(row.change) }
        }
        self.memory.store()?;
        self.fold.share(&mut self.report);
        Ok(self.report.counted(self.rows))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcomes::RowPlace;
    use crate::{ColumnsBuilder, Field, FieldType, testing};

    const IDENTIFIERS: Identifiers = Identifiers::new(&["id", "email"], "key").any_case(&["email"]);
    const NOBODY: Unfit = Unfit { code: "x.nobody", message: "nobody" };
    const REFUSED: PartialFailure = PartialFailure::at("/errors", RowPlace::Index("/at"));

    fn changed(rows: &[[Option<&str>; 3]]) -> ChangedRows {
        testing::on_hmac(|_, data| {
            let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
            Ok(data.iter().fold(7, mix).to_be_bytes().repeat(4))
        });
        let names = ["id", "email", "city"];
        let mut builder = ColumnsBuilder::new(&names.map(|name| Field::new(name, FieldType::Text)));
        for row in rows {
            for (name, value) in names.iter().zip(row) {
                builder.set(name, *value).unwrap();
            }
            builder.end_row();
        }
        let columns = builder.finish();
        let rows = JsonRows::of(&columns).unwrap();
        let by = ["id", "email"].map(str::to_owned);
        let values = |row, _: &str| Ok(json!({ "city": rows.text("city", row)? }).as_object().cloned().unwrap_or_default());
        ChangedRows::of(IDENTIFIERS, &by, &rows, NOBODY, values).unwrap().only_changed()
    }

    fn keys(rows: &ChangedRows) -> Vec<(u32, &str, &str)> {
        rows.sent().iter().map(|row| (row.row, row.by.as_str(), row.key.as_str())).collect()
    }

    #[test]
    fn each_record_is_sent_once_and_what_was_taken_is_not_sent_again() {
        testing::reset();
        let rows = [
            [Some("1"), Some("a@x"), Some("Lyon")],
            [None, Some("B@x"), Some("old")],
            [None, None, Some("Nice")],
            [None, Some("b@x "), Some("Nice")],
            [Some("2"), None, Some("Brest")],
        ];
        let sent = changed(&rows);
        assert_eq!(keys(&sent), [(0, "id", "1"), (3, "email", "b@x"), (4, "id", "2")]);

        let report = sent.finish(&json!({ "errors": [{ "at": 1 }] }), &REFUSED, false).unwrap();

        assert_eq!(report.failed.iter().map(|error| error.row).collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(report.accepted, 2);
        assert_eq!(keys(&changed(&rows)), [(3, "email", "b@x")]);
        changed(&[[Some("1"), None, Some("left")]]).finish(&json!({}), &REFUSED, true).unwrap();
        assert_eq!(keys(&changed(&rows)), [(0, "id", "1"), (3, "email", "b@x")]);
    }
}
