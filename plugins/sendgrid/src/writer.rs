//! The writing: contacts as imports, what became of them, who is on a list, and who is erased. A contact that leaves a segment leaves
//! the list; the contact itself and its suppressions stay as they are.

use std::collections::BTreeSet;

use affluent_sdk::identity::Identifiers;
use affluent_sdk::imports::{Imports, JobSize};
use affluent_sdk::json::{list, required_text, text};
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{TargetSchema, ValueForm};
use affluent_sdk::outcomes::{JobStatus, Ticket, Unfit};
use affluent_sdk::paging::Paging;
use affluent_sdk::{Error, Field, Report, Result};
use serde_json::{Value, json};

use crate::{Api, ERASURE, MARKETING, WRITING, contact};

/// The link to the next page may lead elsewhere: only its cursor is taken.
const PAGES: Paging = Paging::CursorInLink { pointer: "/_metadata/next", parameter: "page_token" };

impl Imports for Api {
    /// Description of `UpdateContact`.
    const SIZE: JobSize = JobSize { rows: 30_000, bytes: 6_000_000, frame: 30 };
    const IDENTIFIERS: Identifiers = contact::IDENTIFIERS;
    /// Description of `GetContactByIdentifiers`.
    const FOUND_MAX: usize = 100;
    const FORMS: &'static [(&'static str, ValueForm)] = &[("email", ValueForm::Email), ("phone_number_id", ValueForm::E164)];
    /// "errored" took some contacts, "failed" none.
    const STATUS: JobStatus = JobStatus {
        pointer: "/status",
        running: &["pending"],
        complete: &["completed", "errored", "failed"],
        lost: &[],
        prefix: "sendgrid.import",
    };
    const UNFIT: &'static [Unfit] = contact::UNFIT;

    fn target(&self) -> Result<TargetSchema> {
        let answer = self.service.ask_scoped(self.service.get("/v3/marketing/field_definitions"), MARKETING)?;
        self.custom.replace(list(&answer, "/custom_fields").to_vec());
        Ok(contact::target(&self.custom.borrow(), self.may_create))
    }

    fn create_field(&self, field: &Field) -> Result<()> {
        let body = json!({ "name": field.name, "field_type": contact::custom_type(field) }).to_string();
        let made = self.service.ask_scoped(self.service.post("/v3/marketing/field_definitions", body), WRITING)?;
        self.custom.borrow_mut().push(made);
        Ok(())
    }

    fn record(&self, rows: &JsonRows<'_>, row: u32) -> Result<Result<String, usize>> {
        contact::contact(rows, &self.custom.borrow(), row)
    }

    fn body(&self, records: &[&str], list: Option<&str>) -> String {
        let lists = list.map_or(String::new(), |id| format!(r#""list_ids":[{}],"#, json!(id)));
        format!(r#"{{{lists}"contacts":[{}]}}"#, records.join(","))
    }

    fn start(&self, body: String) -> Result<String> {
        required_text(&self.service.ask_scoped(self.service.put("/v3/marketing/contacts", body), WRITING)?, "/job_id")
    }

    fn job(&self, id: &str) -> Result<Value> {
        self.service.ask_scoped(self.service.get(&format!("/v3/marketing/contacts/imports/{id}")), MARKETING)
    }

    /// Which contacts were refused stands in a file whose form and place nobody publishes, so only their number is read.
    fn finish(&self, ticket: &Ticket, job: &Value) -> Result<Report> {
        let refused = job.pointer("/results/errored_count").and_then(Value::as_u64).unwrap_or(0);
        match text(job, "/status") {
            "failed" if refused == 0 => {
                let error = Error::transient("the import came to nothing").code("sendgrid.import.failed");
                Ok(ticket.again(Self::UNFIT, &error))
            }
            status => ticket.with_refused(refused.max(u64::from(status != "completed")), Self::UNFIT, "sendgrid.import"),
        }
    }

    /// A contact is found by an alternate address, too, so by what it was found is put beside it.
    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let path = format!("/v3/marketing/contacts/search/identifiers/{by}");
        let request = self.service.post(&path, json!({ "identifiers": values }).to_string()).retry_safe(true);
        let answer = self.service.ask_if_there(request, MARKETING)?.unwrap_or_default();
        let found = answer.pointer("/result").and_then(Value::as_object).into_iter().flatten();
        let found = found.filter_map(|(value, one)| Some((value, one.get("contact")?)));
        Ok(found.map(|(value, one)| json!({ "id": one["id"], "email": one["email"], "by": { by: value } })).collect())
    }

    /// Everything about the addresses first: a contact that was found by another identifier tells its address only until it is gone.
    fn erase(&self, known: &[(&str, String)], found: &[Value]) -> Result<Option<String>> {
        let of_found = |pointer| found.iter().map(move |contact| text(contact, pointer).to_owned());
        let addresses =
            known.iter().filter(|(name, _)| *name == "email").map(|(name, value)| contact::IDENTIFIERS.comparable(name, value));
        let addresses: BTreeSet<String> = addresses.chain(of_found("/email")).filter(|address| !address.is_empty()).collect();
        let ids: BTreeSet<String> = of_found("/id").collect();
        let mut reference = ids.first().cloned();
        if !addresses.is_empty() {
            let body = json!({ "email_addresses": addresses }).to_string();
            let request = self.service.post("/v3/recipients/erasejob", body).retry_safe(true);
            reference = Some(required_text(&self.service.ask_scoped(request, ERASURE)?, "/job_id")?);
        }
        if !ids.is_empty() {
            let ids = ids.into_iter().collect::<Vec<_>>().join(",");
            self.service.ask_scoped(self.service.delete_at("/v3/marketing/contacts").query("ids", &ids), WRITING)?;
        }
        Ok(reference)
    }

    fn find_list(&self, name: &str) -> Result<Option<String>> {
        let lists = self.service.get("/v3/marketing/lists").query("page_size", "1000");
        let lists = self.service.ask_all_scoped(lists, PAGES, "/result", MARKETING)?;
        lists.iter().find(|list| text(list, "/name") == name).map(|list| required_text(list, "/id")).transpose()
    }

    fn make_list(&self, name: &str) -> Result<String> {
        let request = self.service.post("/v3/marketing/lists", json!({ "name": name }).to_string());
        required_text(&self.service.ask_scoped(request, WRITING)?, "/id")
    }

    fn has_list(&self, list: &str) -> Result<bool> {
        Ok(self.service.ask_if_there(self.service.get(&format!("/v3/marketing/lists/{list}")), MARKETING)?.is_some())
    }

    fn leave_list(&self, list: &str, ids: &[String]) -> Result<()> {
        let request = self.service.delete_at(&format!("/v3/marketing/lists/{list}/contacts"));
        self.service.ask_scoped(request.query("contact_ids", &ids.join(",")), WRITING).map(drop)
    }
}
