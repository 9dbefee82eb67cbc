//! From a row to Braze's user attributes object: its fields, the names that are never written, and whom it is about.

use affluent_sdk::PiiClass::{self, Address, BirthDate, Email, Gender, Name, Phone};
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{Target, TargetSchema, WriteMode};
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Columns, Error, Field, FieldType, Result};
use serde_json::{Map, Value, json};

use crate::Config;

pub(crate) const EXTERNAL_ID: &str = "external_id";
pub(crate) const USER_ALIAS: &str = "user_alias";
pub(crate) const EMAIL: &str = "email";
/// Ids and addresses that people are found by; ids are what they are, addresses are the same in every case.
pub(crate) const IDENTIFIERS: Identifiers =
    Identifiers::new(&[EXTERNAL_ID, USER_ALIAS, EMAIL], "api_key").any_case(&[EMAIL]).id("/braze_id");
/// Custom attributes have names of their own beside those of fields.
const CUSTOM: &str = "custom_attributes.";

/// The fields of a user that are written (user attributes object), texts but for the date.
const FIELDS: [(&str, Option<PiiClass>); 13] = [
    (EXTERNAL_ID, None),
    (EMAIL, Some(Email)),
    ("phone", Some(Phone)),
    ("first_name", Some(Name)),
    ("last_name", Some(Name)),
    ("country", Some(Address)),
    ("home_city", Some(Address)),
    ("dob", Some(BirthDate)),
    ("gender", Some(Gender)),
    ("language", None),
    ("time_zone", None),
    ("image_url", None),
    (USER_ALIAS, None),
];
/// Not custom attributes: what somebody agreed to, what the SDK of an app knows, and switches of the request.
const NEVER: &str = "email_subscribe push_subscribe subscription_groups marked_email_as_spam_at email_open_tracking_disabled \
    email_click_tracking_disabled push_tokens push_token_import braze_id current_location date_of_first_session \
    date_of_last_session facebook twitter bio _update_existing_only";

/// Fields that the words of a refusal may name.
pub(crate) const TOLD: &[&str] =
    &[EXTERNAL_ID, EMAIL, "phone", "first_name", "last_name", "country", "dob", "gender", "language"];
/// Why a row is not sent.
pub(crate) const NO_KEY: Unfit =
    Unfit { code: "braze.no_identifier", message: "the row has no value in the field that it is matched by" };

pub(crate) fn target(config: &Config) -> TargetSchema {
    let has_aliases = config.alias_label.is_some();
    let field = |(name, pii): &(&str, Option<PiiClass>)| Field { pii: *pii, ..Field::new(*name, FieldType::Text) };
    let fields = FIELDS.iter().filter(|(name, _)| has_aliases || *name != USER_ALIAS).map(field).collect();
    let keys = if has_aliases { &[EXTERNAL_ID, USER_ALIAS, EMAIL][..] } else { &[EXTERNAL_ID, EMAIL] };
    TargetSchema::new("user", fields, [WriteMode::Upsert, WriteMode::Mirror])
        .open_fields(&[CUSTOM])
        .match_fields(keys)
        .with_lists()
        .erases()
        .verifies_erasure()
}

/// The fields that a target is matched by, ids first, once it is certain that nothing is written that may not be. An address beside
/// an id counts where a row has no id, and has the host look up what its owner agreed to.
///
/// # Errors
/// `config`, with what to change.
pub(crate) fn accept(config: &Config, target: &Target) -> Result<Vec<String>> {
    self::target(config).accept(target)?;
    let is_matched = |name: &&&str| target.match_fields.iter().any(|field| field == *name);
    let by: Vec<String> = IDENTIFIERS.names().iter().filter(is_matched).map(|name| (*name).to_owned()).collect();
    let ids = by.iter().filter(|name| *name != EMAIL).count();
    if by.is_empty() || ids > 1 {
        return Err(Error::config(
            "`user` is matched by external_id, or user_alias with `alias_label`, or email, or one of those and email",
        ));
    }
    // Braze takes an object to be about its id, whatever else is in it.
    let other =
        |field: &&Field| field.name != EMAIL && IDENTIFIERS.names().contains(&field.name.as_str()) && !by.contains(&field.name);
    if let Some(field) = target.fields.iter().find(other) {
        let message = format!("`{}` says whom a row is about, too: match by it, or do not write it", field.name);
        return Err(Error::config(message));
    }
    let custom: Vec<&str> = target.fields.iter().filter_map(|field| field.name.strip_prefix(CUSTOM)).collect();
    let is_taken = |name: &str| {
        name.starts_with('$') || NEVER.split_whitespace().chain(FIELDS.map(|(name, _)| name)).any(|taken| taken == name)
    };
    if let Some(name) = custom.iter().copied().chain(target.list_name()).find(|name| is_taken(name)) {
        return Err(Error::config(format!("`{name}` cannot be a custom attribute: it is a field of Braze, or consent")));
    }
    match target.list_name() {
        Some(list) if custom.contains(&list) => {
            Err(Error::config(format!("the custom attribute `{list}` is the list: do not write it as a value, too")))
        }
        _ => Ok(by),
    }
}

/// The rows of a batch: all but custom attributes are texts, whatever their type.
pub(crate) fn rows(columns: &Columns) -> Result<JsonRows<'_>> {
    Ok(JsonRows::of(columns)?.as_text(|name| !name.starts_with(CUSTOM)))
}

/// The values of a row but its ids, and but the address that it is found by. Null takes an attribute away.
pub(crate) fn values(rows: &JsonRows<'_>, row: u32, found_by: &str) -> Result<Map<String, Value>> {
    let is_value = |name: &str| name != found_by && name != EXTERNAL_ID && name != USER_ALIAS;
    let record = rows.record(row)?.into_iter().filter(|(name, _)| is_value(name));
    Ok(record.map(|(name, value)| (name.strip_prefix(CUSTOM).unwrap_or(&name).to_owned(), value)).collect())
}

/// What an object or a request calls whom it is about.
pub(crate) fn identifier(config: &Config, by: &str, value: &str) -> Value {
    match by {
        USER_ALIAS => json!({ "alias_name": value, "alias_label": config.alias_label }),
        _ => value.into(),
    }
}
