//! Fields of an org: which are read and written, of which type, and what they say about a person.

use affluent_sdk::PiiClass::{Address, Email, FreeText, Name, Phone};
use affluent_sdk::Result;
use affluent_sdk::described::{Described, USUAL_TYPES};
use affluent_sdk::json::{list, text};
use serde_json::Value;

use crate::Api;

pub(crate) const FIELD: Described = Described::new("/name", "/type", USUAL_TYPES).unique("/externalId").personal(&[
    ("/type", &["email"], Email),
    ("/type", &["phone"], Phone),
    ("/type", &["textarea", "encryptedstring"], FreeText),
    ("/compoundFieldName", &["Name"], Name),
    ("/extraTypeInfo", &["personname", "switchablepersonname"], Name),
    ("/compoundFieldName", &["Address", "MailingAddress", "OtherAddress", "BillingAddress", "ShippingAddress"], Address),
    ("/compoundFieldName", &["PersonMailingAddress", "PersonOtherAddress"], Address),
]);

/// Whether a field says what somebody agreed to, of contacts, leads and person accounts.
pub(crate) fn is_consent(name: &str) -> bool {
    let name = name.strip_prefix("Person").unwrap_or(name);
    name.starts_with("HasOptedOutOf") || name == "DoNotCall"
}

impl Api {
    /// The fields of an object, as Salesforce describes them, but for those that are several values, or none that a query gives.
    pub(crate) fn fields_of(&self, object: &str) -> Result<Vec<Value>> {
        let request = self.descriptions.get(&format!("/sobjects/{object}/describe"));
        let mut fields = list(&self.descriptions.ask_scoped(request, &format!("to read `{object}`"))?, "/fields").to_vec();
        fields.retain(|field| !matches!(text(field, "/type"), "address" | "location" | "complexvalue" | "base64" | "anyType"));
        Ok(fields)
    }
}
