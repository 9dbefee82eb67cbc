//! Fields of members: those that all have, and the merge fields that the audience tells.

use affluent_sdk::FieldType::{self, Boolean, Date, Float, Integer, Json, Text, Timestamp};
use affluent_sdk::described::Described;
use affluent_sdk::paging::Paging;
use affluent_sdk::{Error, Field, PiiClass, Result};
use serde_json::Value;

use crate::Api;

/// Records of one page (parameter `count`).
pub(crate) const PAGE_RECORDS: usize = 1_000;
pub(crate) const PAGES: Paging = Paging::OffsetUntilShort { parameter: "offset", records: PAGE_RECORDS };
/// Before the tag of a merge field in what is written.
pub(crate) const MERGE: &str = "merge_fields.";
const ADDRESS_PARTS: [&str; 6] = ["addr1", "addr2", "city", "state", "zip", "country"];
pub(crate) const EMAIL: &str = "email_address";

/// A merge field. What a text says about somebody only its tag or kind can tell.
const MERGE_FIELD: Described =
    Described::new("/tag", "/type", &[("number", Float), ("date", Date), ("address", Json)]).personal(&[
        ("/tag", &["FNAME", "LNAME"], PiiClass::Name),
        ("/type", &["phone"], PiiClass::Phone),
        ("/type", &["address", "zip"], PiiClass::Address),
        ("/type", &["birthday"], PiiClass::BirthDate),
    ]);

/// What is read of each member beside merge fields: texts, personal or not, and others.
const PERSONAL: [(&str, PiiClass); 5] = [
    (EMAIL, PiiClass::Email),
    ("sms_phone_number", PiiClass::Phone),
    ("unsubscribe_reason", PiiClass::FreeText),
    ("ip_signup", PiiClass::Ip),
    ("ip_opt", PiiClass::Ip),
];
const TEXTS: [&str; 4] = ["status", "sms_subscription_status", "language", "source"];
const DOCUMENTS: [&str; 3] = ["tags", "interests", "marketing_permissions"];
const TIMES: [&str; 3] = ["timestamp_signup", "timestamp_opt", "last_changed"];

/// The column of a merge field.
pub(crate) fn column(tag: &str) -> String {
    format!("merge_fields_{}", tag.to_lowercase())
}

impl Api {
    /// The merge fields, as the audience describes them.
    pub(crate) fn merge_fields(&self) -> Result<Vec<Value>> {
        let request = self.service.get("/merge-fields").query("count", &PAGE_RECORDS.to_string());
        self.service.ask_all(request.query("fields", "merge_fields.tag,merge_fields.type"), PAGES, "/merge_fields")
    }

    /// The columns of a member. Merge fields whose tag makes no name of a column are passed over.
    pub(crate) fn columns(&self) -> Result<Vec<Field>> {
        let personal = PERSONAL.map(|(name, class)| Field { pii: Some(class), ..Field::new(name, Text) });
        let others =
            [(&TEXTS[..], Text), (&DOCUMENTS, Json), (&TIMES, Timestamp), (&["vip"], Boolean), (&["member_rating"], Integer)];
        let others = others.into_iter().flat_map(|(names, kind)| names.iter().map(move |name| Field::new(*name, kind)));
        let merged = self.merge_fields()?.into_iter().map(|merge| MERGE_FIELD.field(&merge));
        let merged = merged.map(|field| Field { name: column(&field.name), ..field });
        Ok(personal.into_iter().chain(others).chain(merged.filter(|field| Field::is_plain_name(&field.name))).collect())
    }

    /// What is written of a member; an address by its parts.
    pub(crate) fn written(&self) -> Result<Vec<Field>> {
        let email = Field { pii: Some(PiiClass::Email), ..Field::new(EMAIL, Text) };
        let mut fields = vec![email, Field::new("email_type", Text), Field::new("language", Text)];
        for field in self.merge_fields()?.iter().map(|merge| MERGE_FIELD.field(merge)) {
            let named = |name: String, field_type| Field { name: format!("{MERGE}{name}"), field_type, ..field.clone() };
            match field.field_type {
                Json => fields.extend(ADDRESS_PARTS.map(|part| named(format!("{}.{part}", field.name), Text))),
                other => fields.push(named(field.name.clone(), other)),
            }
        }
        Ok(fields)
    }
}

/// Tag and kind of the merge field that is created for a field of a pipeline.
pub(crate) fn merge_field(field: &Field) -> Result<(&str, &'static str)> {
    let tag = field.name.strip_prefix(MERGE).unwrap_or_default();
    let is_tag = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if tag.is_empty() || tag.len() > 10 || !tag.bytes().all(is_tag) {
        return Err(Error::config(format!("`{tag}` is no merge tag: at most 10 capital letters, digits and `_`")));
    }
    Ok(match field.field_type {
        Integer | Float | FieldType::Decimal => (tag, "number"),
        Date | Timestamp => (tag, "date"),
        _ => (tag, "text"),
    })
}
