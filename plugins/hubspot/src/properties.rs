//! Properties of an account as fields: which are read and written, of which type, and what they say about a person.

use affluent_sdk::FieldType::{Boolean, Date, Float, Timestamp};
use affluent_sdk::described::Described;
use affluent_sdk::json::list;
use affluent_sdk::{Field, PiiClass, Result};
use serde_json::Value;

use crate::{Api, read_scope};

/// Money is exact; other numbers may have any number of places.
pub(crate) const PROPERTY: Described =
    Described::new("/name", "/type", &[("bool", Boolean), ("number", Float), ("date", Date), ("datetime", Timestamp)])
        .exact("/showCurrencySymbol")
        .read_only("/modificationMetadata/readOnlyValue")
        .unique("/hasUniqueValue")
        .hidden("/hidden")
        .personal(&[
            ("/fieldType", &["phonenumber"], PiiClass::Phone),
            ("/fieldType", &["textarea", "html"], PiiClass::FreeText),
            ("/dataSensitivity", &["sensitive", "highly_sensitive"], PiiClass::FreeText),
        ]);
/// Of the properties that HubSpot computes, those that are read unasked; accounts have hundreds of others.
const KEPT: &str = "hs_lastmodifieddate hs_merged_object_ids hs_legal_basis hs_marketable_status hs_lead_status hs_language \
    hs_primary_associated_company hs_is_closed hs_is_closed_won hs_deal_stage_probability";

/// Whether a property says what somebody agreed to: unsubscribed from everything, from a type of mail, and why mail is sent.
pub(crate) fn is_consent(name: &str) -> bool {
    name.starts_with("hs_email_optout") || matches!(name, "hs_legal_basis" | "hs_marketable_status")
}

impl Api {
    /// The properties of a kind of object, as HubSpot describes them.
    pub(crate) fn properties(&self, kind: &str) -> Result<Vec<Value>> {
        let request = self.service.get(&self.path("properties", &format!("/{kind}")));
        Ok(list(&self.service.ask_scoped(request, &read_scope(kind))?, "/results").to_vec())
    }

    /// Whether a property is a column of what is read.
    pub(crate) fn is_read(&self, property: &Value) -> bool {
        let name = PROPERTY.name(property);
        let is_kept = is_consent(name) || KEPT.split_whitespace().any(|kept| kept == name);
        let is_usual = if name.starts_with("hs_") { is_kept } else { !PROPERTY.is_hidden(property) };
        let is_wanted = is_usual || self.config.properties.iter().any(|wanted| wanted == name);
        is_wanted && !matches!(name, "id" | "hs_object_id") && Field::is_plain_name(name)
    }
}
