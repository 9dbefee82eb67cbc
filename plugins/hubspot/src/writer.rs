//! The writing: contacts and companies upserted by a unique property, 100 a request; who is on a static list; who is erased.

use affluent_sdk::ErrorKind::NotFound;
use affluent_sdk::http::percent_encoded;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::{list, required_text};
use affluent_sdk::manifest::{TargetSchema, WriteMode};
use affluent_sdk::outcomes::{PartialFailure, RowPlace};
use affluent_sdk::upserts::{Membership, Upsert, Upserts};
use affluent_sdk::{Error, Field, FieldType, Result};
use serde_json::{Value, json};

use crate::properties::{PROPERTY, is_consent};
use crate::{Api, read_scope};

impl Upserts for Api {
    const OBJECTS: &'static [&'static str] = &["contacts", "companies"];
    const ROWS_MAX: u32 = 100;
    const IDENTIFIERS: Identifiers =
        Identifiers::new(&["email"], "access_token").or_secret("client_secret").any_case(&["email"]).at(&["/properties"]);
    /// A 207 names rows by the mark that was sent with them, or by their key.
    const REFUSED: PartialFailure = PartialFailure::at("/errors", RowPlace::Key("/context/objectWriteTraceId/0"))
        .or(RowPlace::Key("/context/ids/0"))
        .code("hubspot", "/category");
    const TAKEN: PartialFailure = PartialFailure::at("/results", RowPlace::Key("/objectWriteTraceId"))
        .or(RowPlace::Key("/properties/email"))
        .success_without("/category")
        .id("/id");

    fn target(&self, object: &str) -> Result<TargetSchema> {
        let properties = self.properties(object)?;
        let is_written = |property: &&Value| PROPERTY.is_written(property) && !is_consent(PROPERTY.name(property));
        let is_key = |property: &&Value| PROPERTY.is_unique(property) || PROPERTY.name(property) == "email";
        let fields = properties.iter().filter(is_written).map(|property| PROPERTY.field(property)).collect();
        let keys: Vec<&str> = properties.iter().filter(is_key).map(|property| PROPERTY.name(property)).collect();
        let target = TargetSchema::new(object, fields, [WriteMode::Upsert, WriteMode::Mirror]).match_fields(&keys).with_lists();
        let target = if self.config.create_properties { target.any_fields() } else { target };
        Ok(if object == "contacts" { target.erases().verifies_erasure() } else { target })
    }

    fn create_fields(&self, object: &str, fields: &[&Field]) -> Result<()> {
        let known = self.properties(object)?;
        let is_there = |name: &str| known.iter().any(|property| PROPERTY.name(property) == name);
        if let Some(field) = fields.iter().find(|field| is_consent(&field.name) || is_there(&field.name)) {
            return Err(Error::config(format!("`{}` is never written: HubSpot sets it, or it is consent", field.name)));
        }
        let inputs: Vec<Value> = fields.iter().map(|field| described(object, field)).collect();
        let path = self.path("properties", &format!("/{object}/batch/create"));
        self.post(&path, &json!({ "inputs": inputs }), &format!("crm.schemas.{object}.write")).map(drop)
    }

    /// An empty text clears a property.
    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value> {
        let input = |row: &Upsert| {
            let text = |value: &Value| if value.is_null() { json!("") } else { value.clone() };
            let values: serde_json::Map<_, _> = row.values.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            json!({ "idProperty": by, "id": row.key, "properties": values, "objectWriteTraceId": row.mark })
        };
        let body = json!({ "inputs": rows.iter().map(input).collect::<Vec<_>>() });
        self.post(&self.path("objects", &format!("/{object}/batch/upsert")), &body, &format!("crm.objects.{object}.write"))
    }

    fn find(&self, object: &str, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let inputs: Vec<Value> = values.iter().map(|value| json!({ "id": value })).collect();
        let body = json!({ "idProperty": by, "properties": [by], "inputs": inputs });
        let path = self.path("objects", &format!("/{object}/batch/read"));
        Ok(list(&self.post(&path, &body, &read_scope(object))?, "/results").to_vec())
    }

    /// HubSpot keeps the address on a list of its own, too, which makes the contact impossible to create again.
    fn erase(&self, object: &str, by: &str, value: &str) -> Result<()> {
        let body = if by == "id" { json!({ "objectId": value }) } else { json!({ "objectId": value, "idProperty": by }) };
        let path = self.path("objects", &format!("/{object}/gdpr-delete"));
        match self.post(&path, &body, &format!("crm.objects.{object}.write")) {
            Err(error) if error.kind == NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn find_list(&self, object: &str, name: &str) -> Result<Option<String>> {
        let path = self.path("lists", &format!("/object-type-id/{}/name/{}", type_id(object), percent_encoded(name)));
        match self.service.ask_scoped(self.service.get(&path), "crm.lists.read") {
            Err(error) if error.kind == NotFound => Ok(None),
            answer => required_text(&answer?, "/list/listId").map(Some),
        }
    }

    fn make_list(&self, object: &str, name: &str) -> Result<String> {
        let body = json!({ "name": name, "objectTypeId": type_id(object), "processingType": "MANUAL" }).to_string();
        let request = self.service.post(&self.path("lists", ""), body);
        required_text(&self.service.ask_scoped(request, "crm.lists.write")?, "/list/listId")
    }

    fn change_members(&self, list: &str, change: Membership, ids: &[String]) -> Result<()> {
        let act = if change == Membership::Add { "add" } else { "remove" };
        let request = self.service.put(&self.path("lists", &format!("/{list}/memberships/{act}")), json!(ids).to_string());
        self.service.ask_scoped(request, "crm.lists.write").map(drop)
    }
}

/// What lists call a kind of object.
fn type_id(object: &str) -> &'static str {
    if object == "contacts" { "0-1" } else { "0-2" }
}

/// A property to be created, in the group of the usual ones.
fn described(object: &str, field: &Field) -> Value {
    let (kind, form) = match field.field_type {
        FieldType::Boolean => ("bool", "booleancheckbox"),
        FieldType::Integer | FieldType::Float | FieldType::Decimal => ("number", "number"),
        FieldType::Date => ("date", "date"),
        FieldType::Timestamp => ("datetime", "date"),
        _ => ("string", "text"),
    };
    let options = ["true", "false"].map(|word| json!({ "label": word, "value": word, "hidden": false }));
    let options = if kind == "bool" { &options[..] } else { &[] };
    let group = if object == "contacts" { "contactinformation" } else { "companyinformation" };
    json!({ "name": field.name, "label": field.name, "type": kind, "fieldType": form, "groupName": group, "options": options })
}
