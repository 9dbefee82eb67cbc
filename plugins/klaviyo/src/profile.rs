//! From a row to the vendor's profile: the fields of the one object that is written, and the rows that cannot be.

use affluent_sdk::PiiClass::{self, Address, Email, Ip, Name, Phone};
use affluent_sdk::json_columns::JsonColumn;
use affluent_sdk::manifest::{TargetSchema, WriteMode};
use affluent_sdk::{Error, Field, FieldType, Result, RowError};
use serde_json::{Map, Value, json};

/// Bytes of one profile (description of `bulk_import_profiles`: 100 kB).
const PROFILE_BYTES_MAX: usize = 100_000;

/// Any of them tells who is meant.
pub(crate) const IDENTIFIERS: [&str; 3] = ["email", "phone_number", "external_id"];
const LOCATION: &str = "location.";
const PROPERTIES: &str = "properties.";

/// The fields of a profile (`ProfileUpsertQueryResourceObject`), all of them texts that may be null.
const FIELDS: [(&str, Option<PiiClass>); 19] = [
    ("email", Some(Email)),
    ("phone_number", Some(Phone)),
    ("external_id", None),
    ("first_name", Some(Name)),
    ("last_name", Some(Name)),
    ("organization", None),
    ("locale", None),
    ("title", None),
    ("image", None),
    ("location.address1", Some(Address)),
    ("location.address2", Some(Address)),
    ("location.city", Some(Address)),
    ("location.country", Some(Address)),
    ("location.region", Some(Address)),
    ("location.zip", Some(Address)),
    ("location.latitude", Some(Address)),
    ("location.longitude", Some(Address)),
    ("location.timezone", None),
    ("location.ip", Some(Ip)),
];

pub(crate) fn target() -> TargetSchema {
    let field = |(name, pii): &(&str, Option<PiiClass>)| Field { pii: *pii, ..Field::new(*name, FieldType::Text) };
    TargetSchema {
        name: "profile".to_owned(),
        fields: FIELDS.iter().map(field).collect(),
        any_fields: false,
        open_fields: vec![PROPERTIES.to_owned()],
        match_fields: IDENTIFIERS.map(str::to_owned).to_vec(),
        modes: vec![WriteMode::Upsert, WriteMode::Mirror],
        lists: true,
        plaintext: Vec::new(),
    }
}

pub(crate) fn is_field(name: &str) -> bool {
    name.starts_with(PROPERTIES) || FIELDS.iter().any(|(known, _)| *known == name)
}

/// Bytes that a profile takes beside its values, at most.
pub(crate) fn frame_bytes(fields: &[Field]) -> usize {
    100 + fields.iter().map(|field| field.name.len() + 26).sum::<usize>()
}

/// Why a row is not sent: it would be refused, in the worst case with its whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Nobody,
    TooLarge,
}

impl Unfit {
    pub(crate) const ALL: [Self; 2] = [Self::Nobody, Self::TooLarge];

    pub(crate) fn at_row(self, row: u32) -> RowError {
        let (code, message, field) = match self {
            Self::Nobody => ("klaviyo.no_identifier", "the row has neither email nor phone number nor external id", None),
            Self::TooLarge => ("klaviyo.profile_too_large", "the profile takes more than 100 kB", None),
        };
        Error::invalid_data(message).code(code).at_row(row, field)
    }
}

/// The JSON text of a row's profile. A null value is sent as null, which clears the field.
///
/// # Errors
/// `invalid_data` when a value cannot be read.
pub(crate) fn profile(columns: &[JsonColumn<'_>], row: usize) -> Result<Result<Vec<u8>, Unfit>> {
    let (mut attributes, mut location, mut properties) = (Map::new(), Map::new(), Map::new());
    for column in columns.iter().filter(|column| is_field(column.name())) {
        let value = column.get(row)?;
        if let Some(name) = column.name().strip_prefix(PROPERTIES) {
            properties.insert(name.to_owned(), value);
        } else if let Some(name) = column.name().strip_prefix(LOCATION) {
            location.insert(name.to_owned(), as_text(value));
        } else {
            attributes.insert(column.name().to_owned(), as_text(value));
        }
    }
    let identifier = |name: &&str| attributes.get(*name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !IDENTIFIERS.iter().any(identifier) {
        return Ok(Err(Unfit::Nobody));
    }
    for (name, part) in [("location", location), ("properties", properties)] {
        if !part.is_empty() {
            attributes.insert(name.to_owned(), Value::Object(part));
        }
    }
    let text = json!({ "type": "profile", "attributes": attributes }).to_string().into_bytes();
    Ok(if text.len() > PROFILE_BYTES_MAX { Err(Unfit::TooLarge) } else { Ok(text) })
}

fn as_text(value: Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value,
        other => Value::String(other.to_string()),
    }
}
