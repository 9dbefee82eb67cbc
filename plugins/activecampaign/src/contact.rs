//! From a row to the vendor's contact: its own fields, the account's custom ones by number, and the rows that cannot be sent.

use affluent_sdk::FieldType::{Date, Timestamp};
use affluent_sdk::PiiClass::{self, Email, FreeText, Name, Phone};
use affluent_sdk::described::Described;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::text;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::TargetSchema;
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Field, FieldType, Result};
use serde_json::{Map, Value, json};

/// Contacts are known by their address.
pub(crate) const IDENTIFIERS: Identifiers = Identifiers::new(&["email"], "api_key").any_case(&["email"]);

/// The fields of a contact that can be imported, all of them texts (description of `bulk-import-contacts`).
const FIELDS: [(Option<PiiClass>, &[&str]); 4] = [
    (Some(Email), &["email"]),
    (Some(Name), &["first_name", "last_name"]),
    (Some(Phone), &["phone"]),
    (None, &["customer_acct_name"]),
];

/// A custom field, as [`known`] gives it.
const CUSTOM: Described =
    Described::new("/name", "/type", &[("date", Date), ("datetime", Timestamp)]).personal(&[("/type", &["textarea"], FreeText)]);

/// A custom field by what the account says of it: its name is its personalization tag, in lower case.
pub(crate) fn known(field: &Value) -> Value {
    json!({ "name": text(field, "/perstag").to_lowercase(), "type": text(field, "/type"), "id": text(field, "/id") })
}

/// What a custom field that is to be created is called and is.
pub(crate) fn described(field: &Field) -> Value {
    let kind = match field.field_type {
        FieldType::Date => "date",
        FieldType::Timestamp => "datetime",
        _ => "text",
    };
    json!({ "field": { "title": field.name, "perstag": field.name.to_uppercase(), "type": kind, "visible": true } })
}

/// The object, with the account's custom fields.
pub(crate) fn target(custom: &[Value], is_open: bool) -> TargetSchema {
    let fields = Field::texts(&FIELDS).chain(CUSTOM.written(custom)).collect();
    let target = TargetSchema::of_people("contacts", fields).match_fields(IDENTIFIERS.names());
    if is_open { target.any_fields() } else { target }
}

/// Why a row is not sent.
pub(crate) const UNFIT: &[Unfit] = &[Unfit { code: "activecampaign.no_email", message: "the row has no address" }];

/// The JSON text of a row's contact, or the reason why it is not sent. A value that is null is sent as an empty text.
///
/// # Errors
/// `invalid_data` when a value cannot be read.
pub(crate) fn contact(rows: &JsonRows<'_>, custom: &[Value], row: u32) -> Result<Result<String, usize>> {
    let (mut contact, mut fields) = (Map::new(), Vec::new());
    for (name, value) in rows.record(row)? {
        let value = if value.is_null() { json!("") } else { value };
        match custom.iter().find(|field| CUSTOM.name(field) == name) {
            Some(field) => {
                fields.push(json!({ "id": text(field, "/id").parse::<u64>().unwrap_or_default(), "value": value }));
            }
            None => _ = contact.insert(name, value),
        }
    }
    if !IDENTIFIERS.are_in(&contact) {
        return Ok(Err(0));
    }
    if !fields.is_empty() {
        contact.insert("fields".to_owned(), fields.into());
    }
    Ok(Ok(Value::from(contact).to_string()))
}
