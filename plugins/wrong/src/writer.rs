//! The destination: items by key. The service refuses an item named `poison` by its place in the request.

use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, WriteMode};
use affluent_sdk::{Batch, Destination, Error, Field, FieldType, Outcome, PiiClass, Report, Result, RowOp};
use serde::Deserialize;
use serde_json::json;

use crate::Config;
use crate::api::Api;

const ROWS_MAX: u32 = 20;

/// What the service says of a write.
#[derive(Debug, Deserialize)]
struct Taken {
    /// Places of items that it refuses.
    refused: Vec<u32>,
}

/// The open target.
#[derive(Debug)]
pub struct Writer {
    config: Config,
    api: Api,
    last_key: String,
    has_failed: bool,
}

impl Destination for Writer {
    type Config = Config;

    fn discover(config: &Config) -> Result<Vec<TargetSchema>> {
        let match_field = if config.is("match_is_no_field") { "key" } else { "id" };
        Ok(vec![TargetSchema {
            name: "items".to_owned(),
            fields: vec![
                Field::new("id", FieldType::Text).required(),
                Field::new("name", FieldType::Text),
                Field::new("email", FieldType::Text).pii(PiiClass::Email),
            ],
            any_fields: false,
            open_fields: Vec::new(),
            match_fields: vec![match_field.to_owned()],
            modes: vec![WriteMode::Upsert, WriteMode::Mirror, WriteMode::Erase, WriteMode::VerifyErasure],
            lists: false,
            plaintext: Vec::new(),
            max_rows: None,
        }])
    }

    fn open(config: Config, _target: Target) -> Result<(Self, DestinationInfo)> {
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).max_rows(ROWS_MAX);
        Ok((Self { api: Api::new(&config), config, last_key: String::new(), has_failed: false }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let is = |mistake: &str| self.config.mistake == mistake;
        let columns = batch.columns()?;
        let rows = columns.rows;
        let mistake = match self.config.mistake.as_str() {
            "forgets_deletes" if batch.op == RowOp::Delete => Some("deletions are not known"),
            "takes_no_full_batch" if rows == ROWS_MAX => Some("too many rows"),
            "stays_broken" if self.has_failed => Some("an earlier batch failed"),
            _ => None,
        };
        if let Some(mistake) = mistake {
            return Err(Error::internal(mistake));
        }
        let (ids, names, emails) = (columns.text("id")?, columns.text("name")?, columns.text("email")?);
        let item =
            |row: u32| json!({"id": ids.get(row as usize), "name": names.get(row as usize), "email": emails.get(row as usize)});
        if is("needs_every_value") && (0..rows).any(|row| names.get(row as usize).is_none()) {
            return Err(Error::internal("a name is missing"));
        }
        let body = if is("joins_strings") {
            let items = (0..rows).map(|row| {
                format!(
                    "{{\"id\":\"{}\",\"name\":\"{}\"}}",
                    ids.get(row as usize).unwrap_or_default(),
                    names.get(row as usize).unwrap_or_default()
                )
            });
            format!("{{\"items\":[{}]}}", items.collect::<Vec<_>>().join(",")).into_bytes()
        } else {
            json!({"items": (0..rows).map(item).collect::<Vec<_>>()}).to_string().into_bytes()
        };
        let request = self.api.post("/items").header("idempotency-key", &batch.idempotency_key).body("application/json", body);
        let answer = request.send()?;
        let status = answer.status();
        if is("takes_429_for_refusal") && status == 429 || is("takes_500_for_refusal") && status >= 500 {
            return Ok(refuse_all(rows));
        }
        if is("takes_401_for_refusal") && matches!(status, 401 | 403) {
            return Ok(refuse_all(rows));
        }
        if status == 400 {
            return Err(Error::internal("the service does not understand the request"));
        }
        let answer = answer.error_for_status()?;
        let taken = match answer.json::<Taken>() {
            Ok(taken) => taken,
            Err(_) if is("takes_half_for_refusal") => return Ok(refuse_all(rows)),
            Err(error) => return Err(error),
        };
        let is_again = self.last_key == batch.idempotency_key;
        self.last_key.clone_from(&batch.idempotency_key);
        self.has_failed |= !taken.refused.is_empty();
        Ok(self.report(rows, &taken, is_again).into())
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        if self.config.is("cannot_erase") {
            return Err(Error::unsupported("this destination erases nobody"));
        }
        let rows = self.name_people(people)?;
        let mut report = Report::accepted(0);
        if self.config.is("erases_no_strangers") {
            report.refuse(
                Error::invalid_data("nobody is known by that").code("wrong.unknown").at_row(rows.saturating_sub(1), None),
            );
        }
        Ok(report.counted(rows))
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        let rows = self.name_people(people)?;
        let mut report = Report::accepted(0);
        if self.config.is("sees_ghosts") {
            (0..rows).for_each(|row| report.refuse(Error::transient("still there").code("wrong.there").at_row(row, None)));
        }
        Ok(report.counted(rows))
    }
}

impl Writer {
    /// Tells the service who is meant; how many they are.
    fn name_people(&self, people: &Batch) -> Result<u32> {
        let columns = people.columns()?;
        let ids = columns.text("id")?;
        let ids: Vec<_> = (0..columns.rows).map(|row| ids.get(row as usize)).collect();
        let request = self.api.post("/items/erased").body("application/json", json!({ "ids": ids }).to_string().into_bytes());
        request.send()?.error_for_status()?;
        Ok(columns.rows)
    }

    fn report(&self, rows: u32, taken: &Taken, is_again: bool) -> Report {
        let is = |mistake: &str| self.config.mistake == mistake;
        let mut report = Report::accepted(0);
        let refused: Vec<u32> =
            if taken.refused.is_empty() || !is("refuses_the_batch") { taken.refused.clone() } else { (0..rows).collect() };
        for row in refused {
            report.refuse(Error::invalid_data("the name is not allowed").code("wrong.name").at_row(row, Some("name")));
        }
        if is("second_report_differs") && is_again {
            report.refuse(Error::invalid_data("known already").code("wrong.known").at_row(0, None));
        }
        let mut report = report.counted(rows);
        if is("counts_short") {
            report.accepted = report.accepted.saturating_sub(1);
        }
        report
    }
}

fn refuse_all(rows: u32) -> Outcome {
    let mut report = Report::accepted(0);
    (0..rows).for_each(|row| report.refuse(Error::invalid_data("refused").code("wrong.refused").at_row(row, None)));
    report.counted(rows).into()
}
