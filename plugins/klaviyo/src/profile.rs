//! From a row to the vendor's profile: the fields of the one object that is written, and the rows that cannot be.

use affluent_sdk::PiiClass::{self, Address, Email, Ip, Name, Phone};
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{TargetSchema, WriteMode};
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Columns, Field, FieldType, Result};
use serde_json::json;

/// Bytes of one profile (description of `bulk_import_profiles`: 100 kB).
const PROFILE_BYTES_MAX: usize = 100_000;
/// Bytes of a profile beside its fields, at most.
pub(crate) const FRAME_BYTES: usize = 100;

/// Any of them tells who is meant. Emails are the same in every case. Errors of an import repeat what was sent.
pub(crate) const IDENTIFIERS: Identifiers =
    Identifiers::new(&["email", "phone_number", "external_id"], "api_key").any_case(&["email"]).at(&[
        "/attributes/original_payload/data/attributes",
        "/attributes/original_payload/attributes",
        "/attributes/original_payload",
        "/attributes",
    ]);
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
    TargetSchema::new("profile", FIELDS.iter().map(field).collect(), [WriteMode::Upsert, WriteMode::Mirror])
        .open_fields(&[PROPERTIES])
        .match_fields(IDENTIFIERS.names())
        .with_lists()
        .erases()
        .verifies_erasure()
}

/// The rows of a batch: all but properties are texts, whatever their type.
pub(crate) fn rows(columns: &Columns) -> Result<JsonRows<'_>> {
    Ok(JsonRows::of(columns)?.as_text(|name| !name.starts_with(PROPERTIES)))
}

/// Why a row is not sent.
pub(crate) const UNFIT: &[Unfit] = &[
    Unfit { code: "klaviyo.no_identifier", message: "the row has neither email nor phone number nor external id" },
    Unfit { code: "klaviyo.profile_too_large", message: "the profile takes more than 100 kB" },
];
const NOBODY: usize = 0;
const TOO_LARGE: usize = 1;

/// The JSON text of a row's profile, or the reason why it is not sent. A null value is sent as null, which clears the field.
///
/// # Errors
/// `invalid_data` when a value cannot be read.
pub(crate) fn profile(rows: &JsonRows<'_>, row: u32) -> Result<Result<String, usize>> {
    let attributes = rows.nested(row, &[LOCATION, PROPERTIES])?;
    if !IDENTIFIERS.are_in(&attributes) {
        return Ok(Err(NOBODY));
    }
    let text = json!({ "type": "profile", "attributes": attributes }).to_string();
    Ok(if text.len() > PROFILE_BYTES_MAX { Err(TOO_LARGE) } else { Ok(text) })
}
