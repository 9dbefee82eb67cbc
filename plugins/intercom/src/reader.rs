//! The reading: all contacts, page by page, then those that changed. Intercom searches by whole days of the workspace's zone: "greater"
//! is from the next midnight there. Who was merged away or deleted it never shows: a full read does.

use affluent_sdk::FieldType::{Boolean, Timestamp};
use affluent_sdk::PiiClass::{self, Email, Name, Phone};
use affluent_sdk::changes::{Changes, Found, Objects};
use affluent_sdk::http::Request;
use affluent_sdk::{Field, Result, values};
use serde_json::json;

use crate::{Api, READ};

const UPDATED: &str = "updated_at";
/// Three days: the one that a search leaves out, and two more, so that later searches find what one passes over. Its pages may, where
/// contacts change meanwhile (github.com/airbytehq/airbyte issue 26301), and it shows a new contact minutes late.
const LAG_MS: u64 = 3 * 86_400_000;
/// Contacts of a page.
const PAGE_RECORDS: u32 = 150;
const SECOND_US: i64 = 1_000_000;

/// The fields that are read, beside the id and when a contact was updated.
const TEXTS: [(Option<PiiClass>, &[&str]); 4] =
    [(None, &["role", "external_id"]), (Some(Email), &["email"]), (Some(Phone), &["phone"]), (Some(Name), &["name"])];
const MARKS: [&str; 3] = ["unsubscribed_from_emails", "has_hard_bounced", "marked_email_as_spam"];

impl Changes for Api {
    const OBJECTS: &'static [Objects] = &[Objects::new("contacts", UPDATED).lag_ms(LAG_MS).paged()];

    fn fields(&self, _: &Objects) -> Result<Vec<Field>> {
        let marks = MARKS.map(|name| Field::new(name, Boolean));
        Ok(Field::texts(&TEXTS).chain(marks).chain([Field::new(UPDATED, Timestamp).required()]).collect())
    }

    fn all(&self, _: &Objects, _: &[&str], after: Option<&str>) -> Result<Found> {
        let request = self.service.get("/contacts").query("per_page", &PAGE_RECORDS.to_string());
        self.page(after.iter().fold(request, |request, after| request.query("starting_after", after)))
    }

    fn changed_since(&self, _: &Objects, _: &[&str], since_us: i64, after: Option<&str>) -> Result<Found> {
        let query = json!({ "field": UPDATED, "operator": ">", "value": since_us.div_euclid(SECOND_US) });
        let first = || json!({ "per_page": PAGE_RECORDS });
        let pagination = after.map_or_else(first, |after| json!({ "per_page": PAGE_RECORDS, "starting_after": after }));
        let body = json!({ "query": query, "pagination": pagination }).to_string();
        self.page(self.service.post("/contacts/search", body).retry_safe(true))
    }
}

impl Api {
    /// Contacts say in seconds when they were updated.
    fn page(&self, request: Request) -> Result<Found> {
        let answer = self.service.send_scoped(request, READ)?;
        let mut found = Found::read(&answer, "/data", "/pages/next/starting_after")?;
        for contact in &mut found.records {
            if let Some(seconds) = contact[UPDATED].as_i64() {
                contact[UPDATED] = values::timestamp_text(seconds.saturating_mul(SECOND_US)).into();
            }
        }
        Ok(found)
    }
}
