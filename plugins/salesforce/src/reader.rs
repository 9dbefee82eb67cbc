//! The reading: everything by id, or by a query job where it is much; then what was modified, deleted records among it, by
//! `SystemModstamp`, which also moves where `LastModifiedDate` does not. Each page is a query of its own from where the last one
//! ended: no locator can expire. Transactions commit later than the time they write: searches begin five minutes earlier.

use affluent_sdk::changes::{Changes, Found, Job, JobPart, Objects, Span};
use affluent_sdk::json::{required_text, text};
use affluent_sdk::{Field, Result, csv, values};
use serde_json::{Value, json};

use crate::{Api, fields::FIELD};

const OBJECT: Objects = FOUND.gone_where("/IsDeleted").merged_into("/MasterRecordId").aliases("merged_");
const FOUND: Objects = Objects::new("", MODIFIED).any_case().id_at("/Id").lag_ms(300_000);
const MODIFIED: &str = "SystemModstamp";
/// Records of a query's page at most; where they are large Salesforce gives fewer.
const PAGE_RECORDS: usize = 2_000;
/// Records of a part of a job's result, which is held whole.
const PART_RECORDS: &str = "5000";
/// No id is smaller.
const FIRST_ID: &str = "000000000000000";

impl Changes for Api {
    fn objects(&self) -> Vec<Objects> {
        self.config.objects.iter().map(|object| OBJECT.named(object)).collect()
    }

    fn fields(&self, objects: &Objects) -> Result<Vec<Field>> {
        let described = self.fields_of(objects.name())?;
        let read = described.iter().filter(|field| !matches!(FIELD.name(field), "Id" | "IsDeleted"));
        Ok(read.map(|field| FIELD.field(field)).collect())
    }

    fn all(&self, objects: &Objects, fields: &[&str], after: Option<&str>) -> Result<Found> {
        let (all, after) = (select(objects, fields, ""), after.unwrap_or(FIRST_ID));
        self.page("/query", &format!("{all} WHERE Id > '{after}' ORDER BY Id"))
    }

    fn start_job(&self, objects: &Objects, fields: &[&str]) -> Result<Option<Job>> {
        let from = u64::from(self.config.bulk_read_from.unwrap_or(10_000));
        let count = self.service.get("/query").query("q", &format!("SELECT COUNT() FROM {}", objects.name()));
        if from == 0 || self.service.ask(count)?.pointer("/totalSize").and_then(Value::as_u64).unwrap_or(0) < from {
            return Ok(None);
        }
        let body = json!({ "operation": "query", "query": select(objects, fields, "") }).to_string();
        let answer = self.service.send(self.service.post("/jobs/query", body).retry_safe(true))?;
        Ok(Some(Job::begun(required_text(&answer.json()?, "/id")?, answer.date_us())))
    }

    fn job_part(&self, job: &Job, after: Option<&str>) -> Result<JobPart> {
        let path = format!("/jobs/query/{}", job.id());
        if after.is_none() {
            match text(&self.service.ask(self.service.get(&path))?, "/state") {
                "JobComplete" => {}
                "Failed" | "Aborted" => return Ok(JobPart::Lost),
                _ => return Ok(JobPart::Running),
            }
        }
        let request = self.service.get(&format!("{path}/results")).query("maxRecords", PART_RECORDS);
        let answer = self.service.send(after.iter().fold(request, |request, after| request.query("locator", after)))?;
        let records = csv::of_counted(&answer, "sforce-numberofrecords")?;
        let next = answer.header("sforce-locator").filter(|next| *next != "null").map(str::to_owned);
        Ok(JobPart::Ready(Found { records, next, at_us: None }))
    }

    fn changed(&self, objects: &Objects, fields: &[&str], span: Span<'_>) -> Result<Found> {
        let at = values::timestamp_text_ms(span.from_us);
        let which = match span.after_id {
            None => format!("{MODIFIED} >= {at} ORDER BY {MODIFIED}"),
            Some(id) => format!("{MODIFIED} = {at} AND Id > '{}' ORDER BY Id", if id.is_empty() { FIRST_ID } else { id }),
        };
        self.page("/queryAll", &format!("{} WHERE {which}", select(objects, fields, ", IsDeleted")))
    }
}

/// `Id` and when a record was modified are asked for in any case, and nothing twice.
fn select(objects: &Objects, fields: &[&str], more: &str) -> String {
    let others = fields.iter().filter(|name| !name.eq_ignore_ascii_case(MODIFIED)).map(|name| format!(", {name}"));
    format!("SELECT Id, {MODIFIED}{more}{} FROM {}", others.collect::<String>(), objects.name())
}

impl Api {
    /// A page that leads to the one after its last id.
    fn page(&self, path: &str, soql: &str) -> Result<Found> {
        let request = self.service.get(path).query("q", &format!("{soql} LIMIT {PAGE_RECORDS}"));
        let found = Found::read(&self.service.send(request)?, "/records", "/nextRecordsUrl")?;
        Ok(found.then_after_id("/Id", PAGE_RECORDS))
    }
}
