//! The reading: all contacts, page by page. Intercom searches for changes only by whole days of the workspace's zone, and never shows
//! who was merged away, so that every read is a full one.

use affluent_sdk::http::Service;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest};
use affluent_sdk::rows::{self, Timestamp};
use affluent_sdk::{Account, PiiClass, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Api, Config, Intercom};

/// A user or lead.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Contact {
    id: String,
    role: Option<String>,
    external_id: Option<String>,
    #[schemars(extend("pii" = PiiClass::Email))]
    email: Option<String>,
    #[schemars(extend("pii" = PiiClass::Phone))]
    phone: Option<String>,
    #[schemars(extend("pii" = PiiClass::Name))]
    name: Option<String>,
    unsubscribed_from_emails: Option<bool>,
    has_hard_bounced: Option<bool>,
    marked_email_as_spam: Option<bool>,
    #[serde(deserialize_with = "rows::seconds")]
    updated_at: Timestamp,
}

impl Rest for Intercom {
    fn service(config: &Config) -> Service {
        Api::connect(config).service
    }

    fn lists(_: &Config) -> Result<Vec<List>> {
        let contacts = List::of::<Contact>("contacts", "/contacts")?.primary_key(["id"]).records_at("/data");
        let paging = Paging::Cursor { pointer: "/pages/next/starting_after", parameter: "starting_after" };
        Ok(vec![contacts.paging(paging).size("per_page", 150)])
    }
}
