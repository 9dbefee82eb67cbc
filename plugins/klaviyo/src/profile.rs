//! From a row to the vendor's profile: the fields of the one object that is written, and the rows that cannot be.

use affluent_sdk::PiiClass::{self, Address, Email, Ip, Name, Phone};
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::TargetSchema;
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Columns, Field, Result};
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
const FIELDS: [(Option<PiiClass>, &[&str]); 7] = [
    (Some(Email), &["email"]),
    (Some(Phone), &["phone_number"]),
    (None, &["external_id", "organization", "locale", "title", "image", "location.timezone"]),
    (Some(Name), &["first_name", "last_name"]),
    (Some(Address), &["location.address1", "location.address2", "location.city", "location.country", "location.region"]),
    (Some(Address), &["location.zip", "location.latitude", "location.longitude"]),
    (Some(Ip), &["location.ip"]),
];

pub(crate) fn target() -> TargetSchema {
    TargetSchema::of_people("profile", Field::texts(&FIELDS).collect())
        .open_fields(&[PROPERTIES])
        .match_fields(IDENTIFIERS.names())
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
