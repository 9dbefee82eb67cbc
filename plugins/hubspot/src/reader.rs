//! The reading: contacts, companies and deals as plain lists, then by search for what was modified; archived and merged records
//! are gone. Lists give 100 records a page, searches 200 and no more than 10,000 in all: no search is turned to a second page.
//! A search shows a change some seconds after it was made.

use affluent_sdk::FieldType::Text;
use affluent_sdk::changes::{Changes, Child, Found, Objects, Span};
use affluent_sdk::http::Request;
use affluent_sdk::json::{list, text};
use affluent_sdk::records::Column;
use affluent_sdk::{Field, Result, values};
use serde_json::{Value, json};

use crate::properties::PROPERTY;
use crate::{Api, read_scope};

/// Contacts of a deal; the first of them is a column of the deal, too.
const DEAL_CONTACTS: Child = Child {
    stream: "deal_contacts",
    list: "/contacts",
    columns: &[Column::new("deal_id", Text, "/deal_id").required(), Column::new("contact_id", Text, "/contact_id").required()],
    primary_key: &["deal_id", "contact_id"],
    parent: "deal_id",
    first: Some("contact_id"),
};
/// Longer lists of properties are not put into a URL.
const URL_BYTES_MAX: usize = 6_000;

const fn objects(name: &'static str, modified: &'static str) -> Objects {
    Objects::new(name, modified).values("/properties").lag_ms(60_000).replaces("/properties/hs_merged_object_ids")
}

impl Changes for Api {
    const OBJECTS: &'static [Objects] = &[
        objects("contacts", "lastmodifieddate").aliases("merged_contacts"),
        objects("companies", "hs_lastmodifieddate"),
        objects("deals", "hs_lastmodifieddate").children(&[DEAL_CONTACTS]),
    ];

    fn fields(&self, objects: &Objects) -> Result<Vec<Field>> {
        let properties = self.properties(objects.name())?;
        Ok(properties.iter().filter(|property| self.is_read(property)).map(|property| PROPERTY.field(property)).collect())
    }

    fn all(&self, objects: &Objects, fields: &[&str], after: Option<&str>) -> Result<Found> {
        let joined = fields.join(",");
        let is_short = joined.len() <= URL_BYTES_MAX;
        let mut found = self.page(objects, &[("properties", if is_short { &joined } else { "hs_object_id" })], after)?;
        if !is_short && !found.records.is_empty() {
            let body = json!({ "inputs": inputs(&found.records), "properties": fields });
            let path = self.path("objects", &format!("/{}/batch/read", objects.name()));
            found.records = list(&self.post(&path, &body, &read_scope(objects.name()))?, "/results").to_vec();
        }
        self.with_contacts(objects, found)
    }

    fn changed(&self, objects: &Objects, fields: &[&str], span: Span<'_>) -> Result<Found> {
        let at = span.from_us.div_euclid(1_000) + i64::from(span.from_us.rem_euclid(1_000) > 0);
        let filter = |name: &str, op: &str, value: &str| json!({ "propertyName": name, "operator": op, "value": value });
        let modified = |op| filter(objects.changed(), op, &at.to_string());
        let key = "hs_object_id";
        let (filters, sort) = match span.after_id {
            None => (vec![modified("GTE")], objects.changed()),
            Some(id) => (vec![modified("EQ"), filter(key, "GT", if id.is_empty() { "0" } else { id })], key),
        };
        let sorts = [json!({ "propertyName": sort, "direction": "ASCENDING" })];
        let body = json!({ "filterGroups": [{ "filters": filters }], "sorts": sorts, "properties": fields, "limit": 200 });
        let path = self.path("objects", &format!("/{}/search", objects.name()));
        self.with_contacts(objects, self.found(objects, self.service.post(&path, body.to_string()).retry_safe(true))?)
    }

    /// Archived records stay in this list for 90 days, and say when they were archived.
    fn deleted(&self, objects: &Objects, since_us: i64, after: Option<&str>) -> Result<Found> {
        let mut found = self.page(objects, &[("archived", "true"), ("properties", "hs_object_id")], after)?;
        found.records.retain(|record| values::parse_timestamp(text(record, "/archivedAt")).is_none_or(|us| us >= since_us));
        Ok(found)
    }
}

impl Api {
    fn page(&self, objects: &Objects, parameters: &[(&str, &str)], after: Option<&str>) -> Result<Found> {
        let first = self.service.get(&self.path("objects", &format!("/{}", objects.name()))).query("limit", "100");
        let parameters = parameters.iter().copied().chain(after.map(|after| ("after", after)));
        self.found(objects, parameters.fold(first, |request, (name, value)| request.query(name, value)))
    }

    fn found(&self, objects: &Objects, request: Request) -> Result<Found> {
        Found::read(&self.service.send_scoped(request, &read_scope(objects.name()))?, "/results", "/paging/next/after")
    }

    /// Puts the contacts of deals into their records; other objects stay as they are. Some answers write ids as numbers.
    fn with_contacts(&self, objects: &Objects, mut found: Found) -> Result<Found> {
        if objects.name() == "deals" && !found.records.is_empty() {
            let (path, body) =
                (self.path("associations", "/deals/contacts/batch/read"), json!({ "inputs": inputs(&found.records) }));
            let answer = self.post(&path, &body, "crm.objects.deals.read crm.objects.contacts.read")?;
            let as_id = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            for record in &mut found.records {
                let deal = text(record, "/id").to_owned();
                let is_of_deal = |one: &&Value| one.pointer("/from/id").is_some_and(|id| as_id(id) == deal);
                let contacts = list(&answer, "/results").iter().filter(is_of_deal).flat_map(|one| list(one, "/to"));
                let contact = |to: &Value| Some(json!({ "deal_id": deal, "contact_id": as_id(to.pointer("/toObjectId")?) }));
                let contacts: Vec<Value> = contacts.filter_map(contact).collect();
                record.as_object_mut().and_then(|record| record.insert("contacts".to_owned(), contacts.into()));
            }
        }
        Ok(found)
    }
}

fn inputs(records: &[Value]) -> Vec<Value> {
    records.iter().map(|record| json!({ "id": text(record, "/id") })).collect()
}
