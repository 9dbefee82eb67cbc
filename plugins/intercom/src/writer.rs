//! The writing: contacts, 50 looked for at once by external id or address, then updated or created one by one, since Intercom has no
//! bulk upsert; who has a tag; who is erased.

use affluent_sdk::ErrorKind::NotFound;
use affluent_sdk::FieldType::{Boolean, Float, Integer, Timestamp};
use affluent_sdk::PiiClass::{self, Email, Name, Phone};
use affluent_sdk::described::Described;
use affluent_sdk::http::{Request, Response};
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::{list, required_list, required_text, text};
use affluent_sdk::manifest::TargetSchema;
use affluent_sdk::outcomes::PartialFailure;
use affluent_sdk::upserts::{Membership, Upsert, Upserts, each};
use affluent_sdk::{Error, Field, FieldType, Result, values};
use serde_json::{Map, Value, json};

use crate::{Api, IN_FLIGHT_MAX, READ, TAGS, WRITE, WRITE_TAGS};

const IDENTIFIERS: Identifiers = Identifiers::new(&["external_id", "email"], "access_token").any_case(&["email"]);
const CUSTOM: &str = "custom_attributes.";
/// The fields of a contact that are written (create and update payloads), without its role and what it agreed to.
const TEXTS: [(Option<PiiClass>, &[&str]); 4] =
    [(None, &["external_id", "avatar"]), (Some(Email), &["email"]), (Some(Phone), &["phone"]), (Some(Name), &["name"])];
const OTHERS: [(&str, FieldType); 3] = [("signed_up_at", Timestamp), ("last_seen_at", Timestamp), ("owner_id", Integer)];
const ATTRIBUTE: Described =
    Described::new("/name", "/data_type", &[("boolean", Boolean), ("integer", Integer), ("float", Float), ("date", Timestamp)])
        .under(CUSTOM)
        .read_only_where(&[("/custom", "false"), ("/archived", "true"), ("/api_writable", "false")]);

impl Upserts for Api {
    const OBJECTS: &'static [&'static str] = &["contact"];
    const ROWS_MAX: u32 = 50;
    const AS_TEXT: bool = false;
    const IDENTIFIERS: Identifiers = IDENTIFIERS;
    const REFUSED: PartialFailure = each::refused("intercom");
    const TAKEN: PartialFailure = each::TAKEN;

    fn target(&self, object: &str) -> Result<TargetSchema> {
        let others = OTHERS.map(|(name, kind)| Field::new(name, kind));
        let fields = Field::texts(&TEXTS).chain(others).chain(ATTRIBUTE.written(self.attributes()?)).collect();
        let target = TargetSchema::of_people(object, fields).match_fields(IDENTIFIERS.names());
        Ok(if self.config.create_attributes { target.any_fields() } else { target })
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

    /// Several rows are under way at once.
    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value> {
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let known = self.find(object, by, &keys)?;
        let known_as = |row: &Upsert| known.iter().find(|contact| IDENTIFIERS.is_of(by, &row.key, contact));
        let contacts: Vec<(Option<&str>, Value)> =
            rows.iter().map(|row| (known_as(row).map(|contact| text(contact, "/id")), self.contact(by, row))).collect();
        let requests = contacts.iter().map(|(id, contact)| self.put(*id, contact)).collect();
        let answers = self.service.send_each(requests, IN_FLIGHT_MAX);
        let ids = answers.into_iter().zip(&contacts);
        each::told(rows, ids.map(|(answer, (id, contact))| self.id_of(answer?, *id, contact)))
    }

    /// Users come before leads with the same address.
    fn find(&self, _: &str, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let query = json!({ "field": by, "operator": "IN", "value": values });
        let body = json!({ "query": query, "pagination": { "per_page": 150 } });
        let answer = self.service.ask_by_post("/contacts/search", &body, READ)?;
        let mut found = required_list(&answer, "/data")?;
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
        required_text(&self.service.ask_by_post("/tags", &json!({ "name": name }), WRITE_TAGS)?, "/id")
    }

    fn change_members(&self, tag: &str, change: Membership, ids: &[String]) -> Result<()> {
        let has_it = |id: &String| self.tagged.borrow().contains(&(id.clone(), tag.to_owned()));
        let request = |id: &String| match change {
            Membership::Add if has_it(id) => None,
            Membership::Add => Some(self.service.post(&format!("/contacts/{id}/tags"), json!({ "id": tag }).to_string())),
            Membership::Remove => Some(self.service.delete_at(&format!("/contacts/{id}/tags/{tag}"))),
        };
        let requests = ids.iter().filter_map(request).map(|request| request.retry_safe(true)).collect();
        for answer in self.service.send_each(requests, IN_FLIGHT_MAX) {
            match self.service.judged_scoped(answer?, WRITE_TAGS) {
                Err(error) if error.kind == NotFound && change == Membership::Remove => {}
                answer => _ = answer?,
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
                None if value.is_number() && OTHERS.iter().all(|(other, _)| other != name) => {
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

    /// Updates a contact, or creates a user.
    fn put(&self, id: Option<&str>, contact: &Value) -> Request {
        let Some(id) = id else {
            let mut user = contact.clone();
            user.as_object_mut().map(|user| user.insert("role".to_owned(), "user".into()));
            return self.service.post("/contacts", user.to_string()).retry_safe(true);
        };
        self.service.put(&format!("/contacts/{id}"), contact.to_string())
    }

    /// The id that an answer tells. Who was to be created may turn out to be there, and is updated: the search shows a new contact
    /// minutes late.
    fn id_of(&self, answer: Response, known: Option<&str>, contact: &Value) -> Result<String> {
        if known.is_some() || answer.status() != 409 {
            return self.noted(&self.service.judged_scoped(answer, WRITE)?.json()?);
        }
        let conflict: Value = answer.json()?;
        let after = text(&conflict, "/errors/0/message").rsplit_once("id=").map_or("", |(_, id)| id);
        let id: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
        if id.is_empty() {
            return Err(Error::invalid_data("refused with `conflict` at `id`").code("intercom.conflict"));
        }
        self.noted(&self.service.ask_scoped(self.put(Some(&id), contact), WRITE)?)
    }

    /// The id of a contact, whose tags are noted.
    fn noted(&self, contact: &Value) -> Result<String> {
        let id = required_text(contact, "/id")?;
        let tags = list(contact, "/tags/data").iter().map(|tag| (id.clone(), text(tag, "/id").to_owned()));
        self.tagged.borrow_mut().extend(tags);
        Ok(id)
    }
}
