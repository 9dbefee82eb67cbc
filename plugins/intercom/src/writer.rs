//! The writing: contacts, 50 looked for at once by external id or address, then updated or created one by one, since Intercom has no
//! bulk upsert; who has a tag; who is erased.

use affluent_sdk::ErrorKind::{InvalidData, NotFound};
use affluent_sdk::FieldType::{Boolean, Float, Integer, Timestamp};
use affluent_sdk::described::Described;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::{list, required_text, text};
use affluent_sdk::manifest::{TargetSchema, WriteMode};
use affluent_sdk::outcomes::{PartialFailure, RowPlace};
use affluent_sdk::upserts::{Membership, Upsert, Upserts};
use affluent_sdk::{Error, Field, FieldType, PiiClass, Result, values};
use serde_json::{Map, Value, json};

use crate::{Api, READ, TAGS, WRITE, WRITE_TAGS};

const IDENTIFIERS: Identifiers = Identifiers::new(&["external_id", "email"], "access_token").any_case(&["email"]);
const CUSTOM: &str = "custom_attributes.";
/// The fields of a contact that are written (create and update payloads), without its role and what it agreed to.
const FIELDS: [(&str, FieldType, Option<PiiClass>); 8] = [
    ("external_id", FieldType::Text, None),
    ("email", FieldType::Text, Some(PiiClass::Email)),
    ("phone", FieldType::Text, Some(PiiClass::Phone)),
    ("name", FieldType::Text, Some(PiiClass::Name)),
    ("avatar", FieldType::Text, None),
    ("signed_up_at", Timestamp, None),
    ("last_seen_at", Timestamp, None),
    ("owner_id", Integer, None),
];
const ATTRIBUTE: Described =
    Described::new("/name", "/data_type", &[("boolean", Boolean), ("integer", Integer), ("float", Float), ("date", Timestamp)]);
/// Fields that are no texts.
const TYPED: [&str; 3] = ["signed_up_at", "last_seen_at", "owner_id"];
/// A row to be sent again, since the request did not come to an answer about it.
const LATER: &str = "later";

impl Upserts for Api {
    const OBJECTS: &'static [&'static str] = &["contact"];
    const ROWS_MAX: u32 = 50;
    const AS_TEXT: bool = false;
    const IDENTIFIERS: Identifiers = IDENTIFIERS;
    const REFUSED: PartialFailure =
        PartialFailure::at("/errors", RowPlace::Key("/mark")).code("intercom", "/code").field("/field").transient(&[LATER]);
    const TAKEN: PartialFailure = PartialFailure::at("/taken", RowPlace::Key("/mark")).success_without("/code").id("/id");

    fn target(&self, object: &str) -> Result<TargetSchema> {
        let is_written = |attribute: &&Value| {
            let is = |pointer: &str| attribute.pointer(pointer).and_then(Value::as_bool);
            is("/custom") == Some(true) && is("/archived") != Some(true) && is("/api_writable") != Some(false)
        };
        let own = self.attributes()?.iter().filter(is_written).map(|attribute| {
            let field = ATTRIBUTE.field(attribute);
            Field { name: format!("{CUSTOM}{}", field.name), ..field }
        });
        let fields = FIELDS.iter().map(|(name, kind, pii)| Field { pii: *pii, ..Field::new(*name, *kind) }).chain(own).collect();
        let target = TargetSchema::new(object, fields, [WriteMode::Upsert, WriteMode::Mirror]).match_fields(IDENTIFIERS.names());
        let target = if self.config.create_attributes { target.any_fields() } else { target };
        Ok(target.with_lists().erases().verifies_erasure())
    }

    fn create_fields(&self, _: &str, fields: &[&Field]) -> Result<()> {
        for field in fields {
            let Some(name) = field.name.strip_prefix(CUSTOM) else {
                let message = format!(
                    "`{}` is never written: own ones are `{CUSTOM}…`, the rest Intercom sets, or it is consent",
                    field.name
                );
                return Err(Error::config(message));
            };
            let kind = match field.field_type {
                Boolean => "boolean",
                Integer => "integer",
                Float | FieldType::Decimal => "float",
                FieldType::Date | Timestamp => "date",
                _ => "string",
            };
            let body = json!({ "name": name, "model": "contact", "data_type": kind }).to_string();
            self.service.ask_scoped(self.service.post("/data_attributes", body), WRITE)?;
        }
        Ok(())
    }

    /// What became of each row, in one answer. An error that is not about the row alone leaves the rest for later.
    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value> {
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let known = self.find(object, by, &keys)?;
        let (mut taken, mut errors) = (Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let id = known.iter().find(|contact| IDENTIFIERS.is_of(by, &row.key, contact)).map(|contact| text(contact, "/id"));
            match self.put(id, &self.contact(by, row)) {
                Ok(id) => taken.push(json!({ "mark": row.mark, "id": id })),
                Err(error) if matches!(error.kind, InvalidData | NotFound) => {
                    // The reasons stand in front of the message: `code` at `field`.
                    let told: Vec<&str> = error.message.split('`').collect();
                    errors.push(json!({ "mark": row.mark, "code": told.get(1), "field": told.get(3) }));
                }
                Err(error) if number == 0 => return Err(error),
                Err(_) => {
                    errors.extend(rows.iter().skip(number).map(|row| json!({ "mark": row.mark, "code": LATER })));
                    break;
                }
            }
        }
        Ok(json!({ "taken": taken, "errors": errors }))
    }

    /// Users come before leads with the same address.
    fn find(&self, _: &str, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let query = json!({ "field": by, "operator": "IN", "value": values });
        let body = json!({ "query": query, "pagination": { "per_page": 150 } }).to_string();
        let answer = self.service.ask_scoped(self.service.post("/contacts/search", body).retry_safe(true), READ)?;
        let no_list = || Error::transient("the answer holds no list at `/data`").code("page.no_list");
        let mut found = answer.pointer("/data").and_then(Value::as_array).cloned().ok_or_else(no_list)?;
        found.sort_by_key(|contact| text(contact, "/role") != "user");
        Ok(found)
    }

    /// Only who holds the very value is deleted, whatever the search found.
    fn erase(&self, object: &str, by: &str, value: &str) -> Result<()> {
        let found = if by == "id" { vec![json!({ "id": value })] } else { self.find(object, by, &[value])? };
        for contact in found.iter().filter(|contact| IDENTIFIERS.is_of(by, value, contact)) {
            self.service.ask_if_there(self.service.delete_at(&format!("/contacts/{}", text(contact, "/id"))), WRITE)?;
        }
        Ok(())
    }

    fn find_list(&self, _: &str, name: &str) -> Result<Option<String>> {
        let tags = self.service.ask_scoped(self.service.get("/tags"), TAGS)?;
        let mut named = list(&tags, "/data").iter().filter(|tag| text(tag, "/name").eq_ignore_ascii_case(name));
        Ok(named.next().map(|tag| text(tag, "/id").to_owned()))
    }

    fn make_list(&self, _: &str, name: &str) -> Result<String> {
        let request = self.service.post("/tags", json!({ "name": name }).to_string()).retry_safe(true);
        required_text(&self.service.ask_scoped(request, WRITE_TAGS)?, "/id")
    }

    fn change_members(&self, tag: &str, change: Membership, ids: &[String]) -> Result<()> {
        for id in ids {
            let has_it = self.tagged.borrow().contains(&(id.clone(), tag.to_owned()));
            let path = format!("/contacts/{id}/tags");
            match change {
                Membership::Add if has_it => {}
                Membership::Add => {
                    let request = self.service.post(&path, json!({ "id": tag }).to_string()).retry_safe(true);
                    self.service.ask_scoped(request, WRITE_TAGS)?;
                }
                Membership::Remove => {
                    self.service.ask_if_there(self.service.delete_at(&format!("{path}/{tag}")), WRITE_TAGS)?;
                }
            }
        }
        Ok(())
    }
}

impl Api {
    fn attributes(&self) -> Result<&[Value]> {
        if let Some(known) = self.attributes.get() {
            return Ok(known);
        }
        let answer = self.service.ask_scoped(self.service.get("/data_attributes?model=contact"), READ)?;
        Ok(self.attributes.get_or_init(|| list(&answer, "/data").to_vec()))
    }

    /// The payload of a row: instants in seconds since the epoch; null clears all but what contacts are found by.
    fn contact(&self, by: &str, row: &Upsert) -> Value {
        let (mut contact, mut own) = (Map::new(), Map::new());
        contact.insert(by.to_owned(), row.key.as_str().into());
        for (name, value) in &row.values {
            let seconds = value.as_str().filter(|_| self.is_instant(name)).and_then(values::parse_timestamp);
            let value = seconds.map_or_else(|| value.clone(), |us| us.div_euclid(1_000_000).into());
            match name.strip_prefix(CUSTOM) {
                Some(name) => _ = own.insert(name.to_owned(), value),
                None if value.is_null() && IDENTIFIERS.names().contains(&name.as_str()) => {}
                None if value.is_number() && !TYPED.contains(&name.as_str()) => {
                    _ = contact.insert(name.clone(), value.to_string().into());
                }
                None => _ = contact.insert(name.clone(), value),
            }
        }
        if !own.is_empty() {
            contact.insert("custom_attributes".to_owned(), own.into());
        }
        contact.into()
    }

    fn is_instant(&self, name: &str) -> bool {
        let is_own = |attribute: &Value| {
            Some(ATTRIBUTE.name(attribute)) == name.strip_prefix(CUSTOM) && text(attribute, "/data_type") == "date"
        };
        name.ends_with("_at") || self.attributes.get().is_some_and(|attributes| attributes.iter().any(is_own))
    }

    /// Updates a contact, or creates a user, which may turn out to be there: the search shows a new contact minutes late. The id.
    fn put(&self, id: Option<&str>, contact: &Value) -> Result<String> {
        let update = |id: &str| self.service.put(&format!("/contacts/{id}"), contact.to_string());
        let Some(id) = id else {
            let mut user = contact.clone();
            user.as_object_mut().map(|user| user.insert("role".to_owned(), "user".into()));
            let create = self.service.post("/contacts", user.to_string()).retry_safe(true);
            let answer = self.service.answer(create)?;
            if answer.status() != 409 {
                let accepted = answer.error_telling(crate::MEANINGS, crate::REASONS)?;
                return self.noted(&accepted.json()?);
            }
            let conflict: Value = answer.json()?;
            let after = text(&conflict, "/errors/0/message").rsplit_once("id=").map_or("", |(_, id)| id);
            let id: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
            if id.is_empty() {
                return Err(Error::invalid_data("refused with `conflict` at `id`").code("intercom.conflict"));
            }
            return self.noted(&self.service.ask_scoped(update(&id), WRITE)?);
        };
        self.noted(&self.service.ask_scoped(update(id), WRITE)?)
    }

    /// The id of a contact, whose tags are noted.
    fn noted(&self, contact: &Value) -> Result<String> {
        let id = required_text(contact, "/id")?;
        let tags = list(contact, "/tags/data").iter().map(|tag| (id.clone(), text(tag, "/id").to_owned()));
        self.tagged.borrow_mut().extend(tags);
        Ok(id)
    }
}
