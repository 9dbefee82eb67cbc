//! The writing: attributes of 75 users a request, those that changed; who is in an audience, as a custom attribute that is true or
//! false; who is erased. Who leaves a segment stays a user, and what they agreed to stays as it is.

use affluent_sdk::http::Service;
use affluent_sdk::json::{list, required_list, text};
use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm};
use affluent_sdk::outcomes::{PartialFailure, RowPlace};
use affluent_sdk::paging::Paging;
use affluent_sdk::sent::{ChangedRow, ChangedRows, SentValues};
use affluent_sdk::{Batch, Destination, Outcome, Report, Result, RowOp};
use serde_json::{Map, Value, json};

use crate::user::{self, EMAIL, EXTERNAL_ID, IDENTIFIERS, NO_KEY, TOLD, USER_ALIAS};
use crate::{ATTRIBUTES, Config, DELETE, EXPORT, TRACK, service};

/// Users of one users/track, and ids of one users/export/ids or users/delete.
const USERS_MAX: usize = 75;
const IDS_MAX: usize = 50;
/// Bytes of one users/track that are surely taken; Braze tells no limit.
const BODY_BYTES_MAX: usize = 2_000_000;
/// Where the answer lists objects that were not taken, under a 2xx and a 400 alike: `{ type, input_array, index }`, in words.
const REFUSED: PartialFailure =
    PartialFailure::at("/errors", RowPlace::Index("/index")).code("braze", "/code").field_in_words("/type", TOLD);

/// One open target.
#[derive(Debug)]
pub struct Writer {
    service: Service,
    config: Config,
    by: Vec<String>,
    /// The custom attribute that says who is in the audience.
    audience: Option<String>,
}

impl Destination for Writer {
    type Config = Config;

    fn discover(config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![user::target(config, attributes(&service(config))?.as_deref())])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let service = service(&config);
        let known = if target.mode.is_erasure() { None } else { attributes(&service)? };
        let object = user::target(&config, known.as_deref());
        let (by, audience) = (user::accept(&object, &target)?, target.list_name().map(str::to_owned));
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey)
            .fitting(USERS_MAX, BODY_BYTES_MAX, target.json_frame_bytes())
            .form(EMAIL, ValueForm::Email)
            .form("phone", ValueForm::E164)
            .removes(audience.is_some());
        Ok((Self { service, config, by, audience }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let (rows, are_leaving) = (user::rows(batch.columns()?)?, batch.op == RowOp::Delete);
        let changed = ChangedRows::of(IDENTIFIERS, &self.by, &rows, NO_KEY, |row, by| {
            let mut values = if are_leaving { Map::new() } else { user::values(&rows, row, by)? };
            values.extend(self.audience.iter().map(|name| (name.clone(), (!are_leaving).into())));
            Ok(values)
        })?;
        let changed = if self.config.send_unchanged { changed } else { changed.only_changed() };
        let objects: Vec<Value> = changed.sent().iter().map(|row| self.object(row, are_leaving)).collect();
        let body = json!({ "attributes": objects });
        let answer = if objects.is_empty() { Value::Null } else { self.service.ask_by_post("/users/track", &body, TRACK)? };
        Ok(changed.finish(&answer, &REFUSED, are_leaving)?.into())
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let rows = user::rows(people.columns()?)?;
        IDENTIFIERS.erase_by_all(&rows, &self.by, |name, value| self.delete(name, value))
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        let rows = user::rows(people.columns()?)?;
        IDENTIFIERS.verify_gone(&rows, &self.by, IDS_MAX, |name, values| self.find(name, values))
    }
}

impl Writer {
    /// Users are made where they are not known, but never in order to leave an audience.
    fn object(&self, row: &ChangedRow, are_leaving: bool) -> Value {
        let mut object = row.values.clone();
        object.insert(row.by.clone(), user::identifier(&self.config, &row.by, &row.key));
        object.insert("_update_existing_only".to_owned(), are_leaving.into());
        object.into()
    }

    /// Deletes whoever has an identifier, and forgets what was sent.
    fn delete(&self, name: &str, value: &str) -> Result<()> {
        SentValues::erase("api_key", &IDENTIFIERS.comparable(name, value))?;
        let identifier = user::identifier(&self.config, name, value);
        let (ids_of, ids) = match name {
            EXTERNAL_ID => ("external_ids", vec![identifier]),
            USER_ALIAS => ("user_aliases", vec![identifier]),
            _ => ("braze_ids", self.find(name, &[value])?.iter().map(|user| text(user, "/braze_id").into()).collect()),
        };
        for ids in ids.chunks(IDS_MAX) {
            self.service.ask_by_post("/users/delete", &json!({ ids_of: ids }), DELETE)?;
        }
        Ok(())
    }

    /// The users that have one of these values of an identifier, each with that value.
    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let export = |name: &str, wanted: Value| {
            let fields = ["braze_id", "external_id", "email", "user_aliases"];
            let answer =
                self.service.ask_by_post("/users/export/ids", &json!({ name: wanted, "fields_to_export": fields }), EXPORT)?;
            required_list(&answer, "/users")
        };
        match by {
            EMAIL => {
                let users: Result<Vec<_>> = values.iter().map(|value| export("email_address", json!(value))).collect();
                Ok(users?.concat())
            }
            USER_ALIAS => {
                let aliases: Vec<Value> = values.iter().map(|value| user::identifier(&self.config, USER_ALIAS, value)).collect();
                let users = export("user_aliases", aliases.into())?;
                let own = |alias: &&Value| alias.get("alias_label").and_then(Value::as_str) == self.config.alias_label.as_deref();
                let aliases = users.iter().flat_map(|user| list(user, "/user_aliases")).filter(own);
                Ok(aliases.map(|alias| json!({ USER_ALIAS: text(alias, "/alias_name") })).collect())
            }
            _ => export("external_ids", json!(values)),
        }
    }
}

/// The custom attributes of the workspace; `None` where the key may not list them, which it need not.
fn attributes(service: &Service) -> Result<Option<Vec<Value>>> {
    service.ask_all_granted(service.get("/custom_attributes"), Paging::LinkHeader, "/attributes", ATTRIBUTES)
}
