//! The writing: contacts as bulk imports, a few one by one, what became of them, who carries a tag, and who is erased. A contact that leaves a segment
//! loses the tag; the contact itself and its subscriptions stay as they are.

use affluent_sdk::ErrorKind::NotFound;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::imports::{Imports, JobSize};
use affluent_sdk::json::{id, list, required_text, text};
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{TargetSchema, ValueForm};
use affluent_sdk::outcomes::{JobStatus, Ticket, Unfit};
use affluent_sdk::paging::Paging;
use affluent_sdk::{Error, Field, Report, Result};
use serde_json::{Map, Value, json};

use crate::{Api, contact};

/// "Pagination", developers.activecampaign.com, 2026-11-28.
const PAGES: Paging = Paging::OffsetUntilShort { parameter: "offset", records: 100 };

impl Imports for Api {
    /// 250 contacts; the help center's "Use the Bulk Contact Importer API" says 400 kB.
    const SIZE: JobSize = JobSize { rows: 250, bytes: 400_000, frame: 120 };
    const IDENTIFIERS: Identifiers = contact::IDENTIFIERS;
    /// Contacts are looked for by one address a call.
    const FOUND_MAX: usize = 1;
    const FORMS: &'static [(&'static str, ValueForm)] = &[("email", ValueForm::Email)];
    const IS_KEYED: bool = true;
    /// "The suggested minimum number of contacts is 10. If less than that, then contact/sync api request should be used": description.
    const SINGLE_BELOW: usize = 10;
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

    /// Other names for the same, and none for the account's.
    fn single(&self, record: &str) -> Option<String> {
        let mut contact: Map<String, Value> = serde_json::from_str(record).ok()?;
        for (name, single) in [("first_name", "firstName"), ("last_name", "lastName")] {
            contact.remove(name).and_then(|value| contact.insert(single.to_owned(), value));
        }
        if let Some(fields) = contact.remove("fields") {
            let value = |field: &Value| json!({ "field": id(field, "/id"), "value": field["value"] });
            contact.insert("fieldValues".to_owned(), list(&fields, "").iter().map(value).collect());
        }
        (!contact.contains_key("customer_acct_name")).then(|| json!({ "contact": contact }).to_string())
    }

    fn put(&self, single: String) -> Result<String> {
        required_text(&self.service.ask(self.service.post("/contact/sync", single).retry_safe(true))?, "/contact/id")
    }

    fn join_list(&self, list: &str, id: &str) -> Result<()> {
        let number = |id: &str| id.parse::<u64>().unwrap_or_default();
        let tag = number(list.split(':').next().unwrap_or_default());
        let body = json!({ "contactTag": { "contact": number(id), "tag": tag } }).to_string();
        self.service.ask(self.service.post("/contactTags", body).retry_safe(true)).map(drop)
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

    fn has_list(&self, list: &str) -> Result<bool> {
        Ok(self.find_list(name_of(list))?.as_deref() == Some(list))
    }

    fn leave_list(&self, list: &str, ids: &[String]) -> Result<()> {
        let tag = list.split(':').next();
        for id in ids {
            let tags = match self.all(&format!("/contacts/{id}/contactTags"), "/contactTags") {
                Err(error) if error.kind == NotFound => continue,
                tags => tags?,
            };
            for one in tags.iter().filter(|one| Some(text(one, "/tag")) == tag) {
                self.service.ask_if_there(self.service.delete_at(&format!("/contactTags/{}", text(one, "/id"))), "")?;
            }
        }
        Ok(())
    }
}

impl Api {
    fn all(&self, path: &str, records: &str) -> Result<Vec<Value>> {
        self.service.ask_all(self.service.get(path).query("limit", "100"), PAGES, records)
    }
}

/// A tag as the id of a list: imports name it, and it is taken away by its number.
fn tag_of(tag: &Value, name: &str) -> Result<String> {
    Ok(format!("{}:{name}", required_text(tag, "/id")?))
}

fn name_of(list: &str) -> &str {
    list.split_once(':').map_or(list, |(_, name)| name)
}
