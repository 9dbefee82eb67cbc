//! The writing: contacts as bulk imports, what became of them, who carries a tag, and who is erased. A contact that leaves a segment
//! loses the tag; the contact itself and its subscriptions stay as they are.

use affluent_sdk::identity::Identifiers;
use affluent_sdk::imports::{Imports, JobSize};
use affluent_sdk::json::{list, required_text, text};
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{TargetSchema, ValueForm};
use affluent_sdk::outcomes::{JobStatus, Ticket, Unfit};
use affluent_sdk::{Error, Field, Report, Result};
use serde_json::{Value, json};

use crate::{Api, contact};

/// Records of a page ("Pagination", developers.activecampaign.com, 2026-11-28).
const PAGE_RECORDS: usize = 100;

impl Imports for Api {
    /// 250 contacts; the help center's "Use the Bulk Contact Importer API" says 400 kB.
    const SIZE: JobSize = JobSize { rows: 250, bytes: 400_000, frame: 120 };
    const IDENTIFIERS: Identifiers = contact::IDENTIFIERS;
    /// Contacts are looked for by one address a call.
    const FOUND_MAX: usize = 1;
    const FORMS: &'static [(&'static str, ValueForm)] = &[("email", ValueForm::Email)];
    const IS_KEYED: bool = true;
    /// In the first second it may stand nowhere.
    const STATUS: JobStatus = JobStatus {
        pointer: "/status",
        running: &["", "waiting", "claimed", "active"],
        complete: &["completed"],
        lost: &["failed", "interrupted"],
        prefix: "activecampaign.import",
    };
    const UNFIT: &'static [Unfit] = contact::UNFIT;

    fn target(&self) -> Result<TargetSchema> {
        self.custom.replace(self.all("/fields", "/fields")?.iter().map(contact::known).collect());
        Ok(contact::target(&self.custom.borrow(), self.may_create))
    }

    /// The answer does not say the same everywhere: the field's number is looked up.
    fn create_field(&self, field: &Field) -> Result<()> {
        self.service.ask(self.service.post("/fields", contact::described(field).to_string()))?;
        let is_there = self.target()?.fields.iter().any(|known| known.name == field.name);
        let error = || Error::transient("a field that was made is not there").code("activecampaign.field");
        if is_there { Ok(()) } else { Err(error()) }
    }

    fn record(&self, rows: &JsonRows<'_>, row: u32) -> Result<Result<String, usize>> {
        contact::contact(rows, &self.custom.borrow(), row)
    }

    /// The tag is added to each contact; `subscribe` is never there.
    fn body(&self, records: &[&str], list: Option<&str>) -> String {
        let tags = list.map_or(String::new(), |list| format!(r#","tags":[{}]"#, json!(name_of(list))));
        let tagged = records.iter().map(|record| format!("{}{tags}}}", record.strip_suffix('}').unwrap_or(record)));
        format!(r#"{{"contacts":[{}]}}"#, tagged.collect::<Vec<_>>().join(","))
    }

    fn start(&self, body: String) -> Result<String> {
        let request = self.service.post("/import/bulk_import", body).retry_safe(true);
        required_text(&self.service.ask(request)?, "/batchId")
    }

    fn job(&self, id: &str) -> Result<Value> {
        self.service.ask(self.service.get("/import/info").query("batchId", id))
    }

    /// Who was refused is told by address.
    fn finish(&self, ticket: &Ticket, job: &Value) -> Result<Report> {
        let refused =
            list(job, "/failure").iter().map(|email| contact::IDENTIFIERS.key("email", email.as_str().unwrap_or_default()));
        ticket.with_refused_keys(&refused.collect::<Result<Vec<_>>>()?, Self::UNFIT, "activecampaign.import")
    }

    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for value in values {
            let answer = self.service.ask(self.service.get("/contacts").query(by, value))?;
            found.extend(list(&answer, "/contacts").iter().cloned());
        }
        Ok(found)
    }

    fn erase(&self, _known: &[(&str, String)], found: &[Value]) -> Result<Option<String>> {
        for contact in found {
            let request = self.service.delete_at(&format!("/contacts/{}", text(contact, "/id")));
            self.service.ask_if_there(request, "")?;
        }
        Ok(found.first().map(|contact| text(contact, "/id").to_owned()))
    }

    fn find_list(&self, name: &str) -> Result<Option<String>> {
        let tags = self.service.ask(self.service.get("/tags").query("filters[search][eq]", name))?;
        let is_it = |tag: &&Value| text(tag, "/tag") == name && text(tag, "/tagType") == "contact";
        list(&tags, "/tags").iter().find(is_it).map(|tag| tag_of(tag, name)).transpose()
    }

    fn make_list(&self, name: &str) -> Result<String> {
        let body = json!({ "tag": { "tag": name, "tagType": "contact" } }).to_string();
        let made = self.service.ask(self.service.post("/tags", body))?;
        tag_of(made.get("tag").unwrap_or(&Value::Null), name)
    }

    /// A tag that is not there is made by the import.
    fn has_list(&self, _list: &str) -> Result<bool> {
        Ok(true)
    }

    fn leave_list(&self, list: &str, ids: &[String]) -> Result<()> {
        let tag = list.split(':').next();
        for id in ids {
            for one in self.all(&format!("/contacts/{id}/contactTags"), "/contactTags")? {
                if Some(text(&one, "/tag")) == tag {
                    self.service.ask_if_there(self.service.delete_at(&format!("/contactTags/{}", text(&one, "/id"))), "")?;
                }
            }
        }
        Ok(())
    }
}

impl Api {
    /// All records of a list: a page that is not full is the last one.
    fn all(&self, path: &str, records: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let request =
                self.service.get(path).query("limit", &PAGE_RECORDS.to_string()).query("offset", &all.len().to_string());
            let answer = self.service.ask_if_there(request, "")?.unwrap_or_default();
            all.extend(list(&answer, records).iter().cloned());
            if list(&answer, records).len() < PAGE_RECORDS {
                return Ok(all);
            }
        }
    }
}

/// A tag as the id of a list: imports name it, and it is taken away by its number.
fn tag_of(tag: &Value, name: &str) -> Result<String> {
    Ok(format!("{}:{name}", required_text(tag, "/id")?))
}

fn name_of(list: &str) -> &str {
    list.split_once(':').map_or(list, |(_, name)| name)
}
