//! From a row to the vendor's contact: its own fields, the account's custom ones by id, and the rows that cannot be sent.

use affluent_sdk::PiiClass::{self, Address, Email, Name, Phone};
use affluent_sdk::described::Described;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::text;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::TargetSchema;
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Field, FieldType, Result};
use serde_json::{Map, Value, json};

/// Any of them tells who is meant; all that a contact has must be there when it is written again (description of `UpdateContact`).
pub(crate) const IDENTIFIERS: Identifiers =
    Identifiers::new(&["email", "phone_number_id", "external_id", "anonymous_id"], "api_key").any_case(&["email"]).at(&["/by"]);

/// The fields of a contact that can be written (`contact-request`), all of them texts.
const FIELDS: [(Option<PiiClass>, &[&str]); 5] = [
    (Some(Email), &["email"]),
    (Some(Phone), &["phone_number_id"]),
    (None, &["external_id", "anonymous_id"]),
    (Some(Name), &["first_name", "last_name"]),
    (Some(Address), &["address_line_1", "address_line_2", "city", "state_province_region", "postal_code", "country"]),
];

/// A custom field as the account describes it.
const CUSTOM: Described = Described::new("/name", "/field_type", &[("Number", FieldType::Float), ("Date", FieldType::Timestamp)]);

/// The object, with the account's custom fields.
pub(crate) fn target(custom: &[Value], is_open: bool) -> TargetSchema {
    let fields = Field::texts(&FIELDS).chain(CUSTOM.written(custom)).collect();
    let target = TargetSchema::of_people("contacts", fields).match_fields(IDENTIFIERS.names());
    if is_open { target.any_fields() } else { target }
}

/// The vendor's type of a field that is to be created.
pub(crate) fn custom_type(field: &Field) -> &'static str {
    match field.field_type {
        FieldType::Integer | FieldType::Float | FieldType::Decimal => "Number",
        FieldType::Date | FieldType::Timestamp => "Date",
        _ => "Text",
    }
}

/// Why a row is not sent.
pub(crate) const UNFIT: &[Unfit] = &[Unfit {
    code: "sendgrid.no_identifier",
    message: "the row has neither email nor phone number nor external nor anonymous id",
}];

/// The JSON text of a row's contact, or the reason why it is not sent. All values are texts, numbers
/// among them (description of `custom_fields`). A text that is null is sent empty. A custom number or date
/// that is null is left out and stays as it was: SendGrid refuses null ("custom field cannot be null", github.com/sendgrid/docs,
/// issue 6323) and has no other form for it.
///
/// # Errors
/// `invalid_data` when a value cannot be read.
pub(crate) fn contact(rows: &JsonRows<'_>, custom: &[Value], row: u32) -> Result<Result<String, usize>> {
    let (mut contact, mut more) = (Map::new(), Map::new());
    for (name, value) in rows.record(row)? {
        let definition = custom.iter().find(|definition| CUSTOM.name(definition) == name);
        let is_text = definition.is_none_or(|definition| text(definition, "/field_type") == "Text");
        let value = if value.is_null() { json!("") } else { value };
        match definition {
            _ if value == "" && (!is_text || IDENTIFIERS.names().contains(&name.as_str())) => None,
            Some(definition) => more.insert(text(definition, "/id").to_owned(), value),
            None => contact.insert(name, value),
        };
    }
    if !IDENTIFIERS.are_in(&contact) {
        return Ok(Err(0));
    }
    if !more.is_empty() {
        contact.insert("custom_fields".to_owned(), more.into());
    }
    Ok(Ok(Value::from(contact).to_string()))
}
