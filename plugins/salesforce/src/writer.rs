//! The writing: objects upserted by an external id, 200 a request, or by an ingest job; who is erased is deleted by such a job.

use affluent_sdk::ErrorKind::{InvalidData, NotFound, Transient};
use affluent_sdk::http::percent_encoded;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::{list, required_text, text, word};
use affluent_sdk::manifest::{TargetSchema, WriteMode};
use affluent_sdk::outcomes::{JobStatus, PartialFailure, RowPlace};
use affluent_sdk::upserts::{JobRow, Jobs, Upsert, Upserts};
use affluent_sdk::{Error, Result, csv, token};
use serde_json::{Value, json};

use crate::Api;
use crate::fields::{FIELD, is_consent};

/// A job that failed tells what it did before, too.
const STATUS: JobStatus = JobStatus {
    pointer: "/state",
    running: &["Open", "UploadComplete", "InProgress"],
    complete: &["JobComplete", "Failed"],
    lost: &["Aborted"],
    prefix: "salesforce.job",
};
/// Refusals that pass by themselves, and those of a deletion of what is not there.
const PASSING: &[&str] = &["UNABLE_TO_LOCK_ROW", "REQUEST_RUNNING_TOO_LONG", "SERVER_UNAVAILABLE"];
const GONE: &[&str] = &["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"];

impl Upserts for Api {
    const AS_TEXT: bool = false;
    const ROWS_MAX: u32 = 200;
    const IDENTIFIERS: Identifiers = Identifiers::new(&[], "client_secret").or_secret("private_key").all_any_case().id("/Id");
    /// One result for each record, in their order.
    const REFUSED: PartialFailure = PartialFailure::at("", RowPlace::InOrder)
        .success("/success", "true")
        .code("salesforce", "/errors/0/statusCode")
        .field("/errors/0/fields/0")
        .transient(PASSING)
        .id("/id");

    fn objects(&self) -> Vec<String> {
        self.config.objects.clone()
    }

    fn target(&self, object: &str) -> Result<TargetSchema> {
        let mut fields = self.fields_of(object)?;
        fields.retain(|field| field.pointer("/updateable") == Some(&true.into()) && !is_consent(FIELD.name(field)));
        let keys: Vec<&str> = fields.iter().filter(|field| FIELD.is_unique(field)).map(|field| FIELD.name(field)).collect();
        let target = TargetSchema::new(object, fields.iter().map(|field| FIELD.field(field)).collect(), [WriteMode::Upsert]);
        Ok(target.match_fields(&keys).erases().verifies_erasure())
    }

    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value> {
        let record = |row: &Upsert| {
            let mut record = row.values.clone();
            record.extend([(by.to_owned(), json!(row.key)), ("attributes".to_owned(), json!({ "type": object }))]);
            record
        };
        let body = json!({ "allOrNone": false, "records": rows.iter().map(record).collect::<Vec<_>>() }).to_string();
        self.service.ask(self.service.patch(&format!("/composite/sobjects/{object}/{by}"), body).retry_safe(true))
    }

    fn jobs(&self) -> Option<Jobs> {
        Some(Jobs { from_rows: self.config.bulk_write_from.unwrap_or(2_000), rows_max: 3_000, status: STATUS })
    }

    /// `#N/A` clears a field, an empty value would leave it ("Prepare CSV Files").
    fn start_job(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<String> {
        let job = json!({ "object": object, "operation": "upsert", "externalIdFieldName": by });
        self.ingest(job, Upsert::csv(rows, by, "#N/A"))
    }

    fn job(&self, id: &str) -> Result<Value> {
        self.service.ask(self.service.get(&format!("/jobs/ingest/{id}")))
    }

    /// What was not worked on is not told, so it is sent again.
    fn job_rows(&self, id: &str, by: &str) -> Result<Vec<JobRow>> {
        let row = |record: &Value| {
            let (outcome, field) = match text(record, "/sf__Error") {
                "" => (Ok(text(record, "/sf__Id").to_owned()), None),
                told => refusal(told),
            };
            JobRow { key: text(record, &format!("/{by}")).to_owned(), outcome, field }
        };
        let all = [self.results(id, "successfulResults")?, self.results(id, "failedResults")?].concat();
        Ok(all.iter().map(row).collect())
    }

    /// Deleted records are found until they are gone from the recycle bin. A value that is not seen cannot be quoted for a query: a
    /// path takes any.
    fn find(&self, object: &str, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for value in values {
            let literal = value.replace('\\', "\\\\").replace('\'', "\\'");
            let soql = format!("SELECT Id, {by} FROM {object} WHERE {by} = '{literal}'");
            let path = format!("/sobjects/{object}/{by}/{}?fields=Id,{by}", percent_encoded(value));
            let is_token = token::is_token(value);
            let query = || self.service.get("/queryAll").query("q", &soql);
            match self.service.ask(if is_token { self.service.get(&path) } else { query() }) {
                Err(error) if error.kind == NotFound => {}
                record if is_token => found.push(record?),
                records => found.extend_from_slice(list(&records?, "/records")),
            }
        }
        Ok(found)
    }

    fn erase(&self, object: &str, _by: &str, id: &str) -> Result<()> {
        let operation = if self.config.hard_delete { "hardDelete" } else { "delete" };
        let job = self.ingest(json!({ "object": object, "operation": operation }), csv::line(["Id"]) + &csv::line([id]))?;
        STATUS.wait_over(|| self.job(&job))?;
        match self.results(&job, "failedResults")?.first().map(|row| text(row, "/sf__Error")) {
            Some(told) if !GONE.iter().any(|code| told.starts_with(code)) => refusal(told).0.map(drop),
            _ => Ok(()),
        }
    }
}

impl Api {
    /// Begins an ingest job with all its data; its id. One whose data did not arrive is never worked on.
    fn ingest(&self, job: Value, data: String) -> Result<String> {
        let id = required_text(&self.service.ask(self.service.post("/jobs/ingest", job.to_string()).retry_safe(true))?, "/id")?;
        let (path, lines) = (format!("/jobs/ingest/{id}"), self.service.clone().media_type("text/csv"));
        lines.send(lines.put(&format!("{path}/batches"), data))?;
        let close = self.service.patch(&path, json!({ "state": "UploadComplete" }).to_string());
        self.service.send(close.retry_safe(true)).map(|_| id)
    }

    fn results(&self, id: &str, which: &str) -> Result<Vec<Value>> {
        csv::of(&self.service.send(self.service.get(&format!("/jobs/ingest/{id}/{which}")))?)
    }
}

/// `CODE:words:FIELD --`, or several fields with commas; the words repeat what was sent.
fn refusal(told: &str) -> (Result<String>, Option<String>) {
    let code = word(told.split(':').next().unwrap_or_default());
    let kind = if PASSING.contains(&code) { Transient } else { InvalidData };
    let fields = told.rsplit(':').next().unwrap_or_default().trim_end_matches('-').trim();
    let field = Some(word(fields.split(',').next().unwrap_or_default())).filter(|field| !matches!(*field, "" | "?"));
    (Err(Error::new(kind, format!("salesforce.{code}"), "Salesforce refused the row")), field.map(str::to_owned))
}
