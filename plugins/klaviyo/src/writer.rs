//! The writing: batches of profiles as bulk imports, what became of them, who leaves a list, and who is erased. A profile that
//! leaves a segment leaves the list; the profile itself, its consent and its suppressions stay as they are.

use affluent_sdk::http::Service;
use affluent_sdk::json::{list, required_text, text};
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm};
use affluent_sdk::outcomes::{JobStatus, PartialFailure, RowPlace, Ticket};
use affluent_sdk::{Batch, Destination, Error, Outcome, Report, Result, RowOp, kv, outcomes, token};
use serde_json::{Value, json};

use crate::profile::{self, IDENTIFIERS, UNFIT};
use crate::{Config, PAGES, service};

/// Profiles and bytes of one import (description of `bulk_import_profiles`: 10,000 and 5 MB).
const IMPORT_ROWS_MAX: usize = 10_000;
const IMPORT_BYTES_MAX: usize = 5_000_000;
/// Profiles that leave a list with one call (description of `remove_profiles_from_list`).
const REMOVE_MAX: usize = 1_000;
/// Records of one page (description of `get_profiles_for_bulk_import_profiles_job` and others).
const PAGE_RECORDS: usize = 100;
/// What a deletion may name beside the id.
const DELETED_BY: &[&str] = &["email", "phone_number"];
/// Rows of a batch whose profiles are asked for their ids at once; in larger ones when somebody leaves a list, as few do.
const KNOWN_ROWS_MAX: usize = 1_000;

/// Where an import stands. One that was cancelled, or that Klaviyo forgot, is sent again: twice changes nothing.
const STATUS: JobStatus = JobStatus {
    pointer: "/data/attributes/status",
    running: &["queued", "processing"],
    complete: &["complete"],
    lost: &["cancelled"],
    prefix: "klaviyo.import",
};

/// Errors of an import name their row by its place in the import, or repeat what was sent about the person.
const REFUSED: PartialFailure =
    PartialFailure::at("/data", RowPlace::IndexInPath("/attributes/source/pointer", "/data/attributes/profiles/data/"))
        .or(RowPlace::Keys(|error| IDENTIFIERS.keys_of(error)))
        .code("klaviyo.import", "/attributes/code")
        .field_after("/attributes/source/pointer", "/attributes/");

/// One open target.
#[derive(Debug)]
pub struct Writer {
    service: Service,
    list: Option<String>,
    match_fields: Vec<String>,
}

impl Destination for Writer {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![profile::target()])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        profile::target().accept(&target)?;
        let list = target.list_name().map(str::to_owned);
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey)
            .fitting(IMPORT_ROWS_MAX, IMPORT_BYTES_MAX, profile::FRAME_BYTES + target.json_frame_bytes())
            // The vendor refuses other forms. Who was merged into another profile leaves the list, where there is one.
            .form("phone_number", ValueForm::E164)
            .removes(list.is_some());
        Ok((Self { service: service(&config), list, match_fields: target.match_fields }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let rows = profile::rows(batch.columns()?)?;
        match batch.op {
            RowOp::Upsert => self.import(&rows),
            RowOp::Delete => self.leave(&rows).map(|()| Report::accepted(rows.rows()).into()),
        }
    }

    fn poll(&mut self, token: &str) -> Result<Outcome> {
        let ticket = Ticket::of(token)?;
        let path = format!("/profile-bulk-import-jobs/{}", ticket.job());
        let answer = self.service.ask_scoped(self.service.get(&path), "profiles:read lists:read");
        ticket.follow(answer, &STATUS, UNFIT, |job| self.finish(&ticket, &path, job))
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let rows = profile::rows(people.columns()?)?;
        let find = |name: &str, values: &[&str]| self.find(name, values);
        IDENTIFIERS.erase_each(&rows, &self.match_fields, DELETED_BY, find, |name, value| self.delete(name, value))
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        let rows = profile::rows(people.columns()?)?;
        IDENTIFIERS.verify_gone(&rows, &self.match_fields, PAGE_RECORDS, |name, values| self.find(name, values))
    }
}

impl Writer {
    fn import(&self, rows: &JsonRows<'_>) -> Result<Outcome> {
        let (ticket, sent, profiles) = Ticket::of_rows(rows.rows(), |row| profile::profile(rows, row))?;
        if profiles.is_empty() {
            return Ok(ticket.begin(UNFIT).0.into());
        }
        let known = if self.list.is_some() && sent.len() <= KNOWN_ROWS_MAX { sent } else { Vec::new() };
        let keys = known.iter().map(|row| IDENTIFIERS.key_of_row(&self.match_fields, rows, *row)).collect::<Result<_>>()?;
        let list = self.list.as_deref().map(|name| self.list_id(name, true)).transpose()?.flatten();
        let body = import_body(&profiles, list.as_deref())?;
        let request = self.service.post("/profile-bulk-import-jobs", body).retry_safe(true);
        let answer = self.service.ask_scoped(request, "profiles:write lists:write").map_err(|error| self.without_list(error))?;
        ticket.keys(keys).pending(&required_text(&answer, "/data/id")?)
    }

    /// What became of each row of an import that is complete.
    fn finish(&self, ticket: &Ticket, path: &str, job: &Value) -> Result<Report> {
        let (mut report, sent) = ticket.begin(UNFIT);
        let failed = job.pointer("/data/attributes/failed_count").and_then(Value::as_u64).unwrap_or(0);
        let page = |name: &str| self.service.get(&format!("{path}/{name}")).query("page[size]", &PAGE_RECORDS.to_string());
        if failed > 0 {
            let errors = self.service.ask_all_scoped(page("import-errors"), PAGES, "/data", "profiles:read")?;
            REFUSED.read_counted(&errors, failed, &sent, &mut report)?;
        }
        if sent.has_keys() {
            let request = page("profiles").query("fields[profile]", &IDENTIFIERS.names().join(","));
            let profiles = self.service.ask_all_scoped(request, PAGES, "/data", "profiles:read")?;
            IDENTIFIERS.identify(&profiles, &sent, &mut report)?;
        }
        Ok(report.counted(ticket.rows()))
    }

    /// A list that was deleted at the vendor is looked for again at the next try.
    fn without_list(&self, error: Error) -> Error {
        let is_about_list = error.code == "http.404" || error.message.contains("/relationships/lists");
        match &self.list {
            Some(name) if is_about_list => {
                kv::delete(&list_key(name));
                Error::transient("the list is not known any more").code("klaviyo.list_gone")
            }
            _ => error,
        }
    }

    /// The id of the list of this name; `None` when there is none and none is to be made.
    fn list_id(&self, name: &str, is_made: bool) -> Result<Option<String>> {
        let find = || {
            let named = self.service.get("/lists").query("filter", &format!("equals(name,{})", json!(name)));
            let answer = self.service.ask_scoped(named.query("fields[list]", "name"), "lists:read")?;
            let found = list(&answer, "/data").iter().find(|list| text(list, "/attributes/name") == name);
            found.map(|list| required_text(list, "/id")).transpose()
        };
        let make = || {
            let body = json!({ "data": { "type": "list", "attributes": { "name": name } } }).to_string();
            required_text(&self.service.ask_scoped(self.service.post("/lists", body), "lists:write")?, "/data/id")
        };
        kv::found_or_made(&list_key(name), find, is_made.then_some(make))
    }

    /// Takes people off the list; who is not on it, or not known at all, is off it already.
    fn leave(&self, rows: &JsonRows<'_>) -> Result<()> {
        let Some(name) = &self.list else { return Err(Error::unsupported("profiles leave lists, they are never deleted")) };
        let Some(list) = self.list_id(name, false)? else { return Ok(()) };
        let ids = IDENTIFIERS.look_up(rows, &self.match_fields, PAGE_RECORDS, |name, values| self.find(name, values))?;
        for some in ids.chunks(REMOVE_MAX) {
            let members: Vec<Value> = some.iter().map(|id| json!({ "type": "profile", "id": id })).collect();
            let path = format!("/lists/{list}/relationships/profiles");
            let request = self.service.delete(&path, json!({ "data": members }).to_string());
            match self.service.ask_scoped(request, "lists:write profiles:write") {
                Err(error) if error.code == "http.404" => {
                    kv::delete(&list_key(name));
                    if self.list_id(name, false)?.is_some_and(|found| found == list) && rows.rows() > 1 {
                        // The list is there, so one of the profiles is not: the host halves the batch until it is alone.
                        return Err(Error::invalid_data("a profile to remove is not known any more").code("klaviyo.profile_gone"));
                    }
                }
                other => _ = other?,
            }
        }
        Ok(())
    }

    /// Profiles with one of these values of an identifier.
    fn find(&self, name: &str, values: &[&str]) -> Result<Vec<Value>> {
        let named = self.service.get("/profiles").query("filter", &format!("any({name},{})", token::json_list(values)));
        let request = named.query("fields[profile]", name).query("page[size]", &PAGE_RECORDS.to_string());
        Ok(list(&self.service.ask_scoped(request, "profiles:read")?, "/data").to_vec())
    }

    /// Has whoever has this identifier or `id` deleted; twice does nothing more (description of `request_profile_deletion`).
    fn delete(&self, name: &str, value: &str) -> Result<()> {
        let profile = match name {
            "id" => json!({ "type": "profile", "id": value, "attributes": {} }),
            _ => json!({ "type": "profile", "attributes": { name: value } }),
        };
        let job = json!({ "type": "data-privacy-deletion-job", "attributes": { "profile": { "data": profile } } });
        let request = self.service.post("/data-privacy-deletion-jobs", json!({ "data": job }).to_string()).retry_safe(true);
        self.service.ask_scoped(request, "data-privacy:write").map(drop)
    }
}

fn list_key(name: &str) -> String {
    format!("list/{name}")
}

/// The body of an import.
///
/// # Errors
/// `invalid_data` when it is too large: the host halves the batch.
fn import_body(profiles: &[String], list: Option<&str>) -> Result<String> {
    let in_list = |id| format!(r#","relationships":{{"lists":{{"data":[{{"type":"list","id":{}}}]}}}}"#, json!(id));
    let (profiles, lists) = (profiles.join(","), list.map_or(String::new(), in_list));
    let attributes = format!(r#"{{"profiles":{{"data":[{profiles}]}}}}"#);
    let body = format!(r#"{{"data":{{"type":"profile-bulk-import-job","attributes":{attributes}{lists}}}}}"#);
    outcomes::body_within(body, IMPORT_BYTES_MAX, "klaviyo.too_large")
}
