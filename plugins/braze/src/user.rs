//! From a row to Braze's user attributes object: its fields, the names that are never written, and whom it is about.

use affluent_sdk::FieldType::{Boolean, Float, Timestamp};
use affluent_sdk::PiiClass::{self, Address, BirthDate, Email, Gender, Name, Phone};
use affluent_sdk::described::Described;
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json_columns::JsonRows;
use affluent_sdk::manifest::{Target, TargetSchema};
use affluent_sdk::outcomes::Unfit;
use affluent_sdk::{Columns, Error, Field, Result};
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
const FIELDS: [(Option<PiiClass>, &[&str]); 7] = [
    (None, &[EXTERNAL_ID, "language", "time_zone", "image_url", USER_ALIAS]),
    (Some(Email), &[EMAIL]),
    (Some(Phone), &["phone"]),
    (Some(Name), &["first_name", "last_name"]),
    (Some(Address), &["country", "home_city"]),
    (Some(BirthDate), &["dob"]),
    (Some(Gender), &["gender"]),
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

/// A custom attribute that Braze lists. It may say how it came by a type: `String (Automatically Detected)`.
const ATTRIBUTE: Described =
    Described::new("/name", "/data_type", &[("Number", Float), ("Boolean", Boolean), ("Date", Timestamp), ("Time", Timestamp)])
        .under(CUSTOM)
        .read_only_where(&[("/status", "Blocklisted")]);

/// The object. Custom attributes are those that the workspace has, or of any name where it is not known which those are, or where they
/// may be created.
pub(crate) fn target(config: &Config, attributes: Option<&[Value]>) -> TargetSchema {
    let (has_aliases, known) = (config.alias_label.is_some(), attributes.unwrap_or_default());
    let own = ATTRIBUTE.written(known).filter(|field| !is_taken(field.name.trim_start_matches(CUSTOM)));
    let fields = Field::texts(&FIELDS).filter(|field| has_aliases || field.name != USER_ALIAS).chain(own).collect();
    let keys = if has_aliases { IDENTIFIERS.names() } else { &[EXTERNAL_ID, EMAIL] };
    let target = TargetSchema::of_people("user", fields).match_fields(keys);
    if config.create_attributes || attributes.is_none() { target.open_fields(&[CUSTOM]) } else { target }
}

/// Whether a name is not a custom attribute's: a field, or one that is never written.
fn is_taken(name: &str) -> bool {
    name.starts_with('$')
        || NEVER.split_whitespace().chain(FIELDS.iter().flat_map(|(_, names)| names.iter().copied())).any(|taken| taken == name)
}

/// The fields that a target is matched by, ids first, once it is certain that nothing is written that may not be. An address beside
/// an id counts where a row has no id, and has the host look up what its owner agreed to.
///
/// # Errors
/// `config`, with what to change.
pub(crate) fn accept(object: &TargetSchema, target: &Target) -> Result<Vec<String>> {
    object.accept(target)?;
    // Braze takes an object to be about its id, whatever else is in it.
    let by = IDENTIFIERS.matched(target, &[EMAIL])?;
    if by.is_empty() || by.iter().filter(|name| *name != EMAIL).count() > 1 {
        let message = "`user` is matched by external_id, or user_alias with `alias_label`, or email, or one of those and email";
        return Err(Error::config(message));
    }
    let custom: Vec<&str> = target.fields.iter().filter_map(|field| field.name.strip_prefix(CUSTOM)).collect();
    if let Some(name) = custom.iter().copied().chain(target.list_name()).find(|name| is_taken(name)) {
        return Err(Error::config(format!("`{name}` cannot be a custom attribute: it is a field of Braze, or consent")));
    }
    if let Some(list) = target.list_name().filter(|list| custom.contains(list)) {
        return Err(Error::config(format!("the custom attribute `{list}` is the list: do not write it as a value, too")));
    }
    Ok(by)
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
