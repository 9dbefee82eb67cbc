//! The reading: who said no, and who cannot be reached. Each list is read whole, then by when a row came to it, 500 a page; rows that
//! left it are not told. Group unsubscribes come in one answer that cannot be narrowed.

use affluent_sdk::http::Service;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest, Since, TimeFormat};
use affluent_sdk::rows::{self, Timestamp};
use affluent_sdk::{Account, PiiClass, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Api, Config, SendGrid};

/// Unsubscribed from everything, or marked a mail as spam.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Refusal {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    #[serde(deserialize_with = "rows::seconds")]
    created: Timestamp,
}

/// A mailbox that takes no mail. The reason repeats what its server said.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Unreachable {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    #[serde(deserialize_with = "rows::seconds")]
    created: Timestamp,
    #[schemars(extend("pii" = PiiClass::FreeText))]
    reason: Option<String>,
    status: Option<String>,
}

/// Unsubscribed from one kind of mail.
#[derive(Deserialize, Serialize, JsonSchema)]
struct GroupUnsubscribe {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    group_id: i64,
    group_name: String,
    #[serde(deserialize_with = "rows::seconds")]
    created_at: Timestamp,
}

impl Rest for SendGrid {
    /// Bounces come as JSON only where it is asked for.
    fn service(config: &Config) -> Service {
        Api::connect(config).service.header("accept", "application/json")
    }

    fn lists(_: &Config) -> Result<Vec<List>> {
        Ok(vec![
            dated::<Refusal>("unsubscribes", "/v3/suppression/unsubscribes")?,
            dated::<Refusal>("spam_reports", "/v3/suppression/spam_reports")?,
            dated::<Unreachable>("bounces", "/v3/suppression/bounces")?,
            dated::<Unreachable>("invalid_emails", "/v3/suppression/invalid_emails")?,
            List::of::<GroupUnsubscribe>("group_unsubscribes", "/v3/asm/suppressions")?.primary_key(["email", "group_id"]),
        ])
    }
}

/// A list that can be asked for a span of time: both ends count, in seconds (description of `ListGlobalSuppression` and others).
fn dated<T: DeserializeOwned + Serialize + JsonSchema + 'static>(stream: &str, path: &str) -> Result<List> {
    let since = Since::parameter("start_time").until("end_time").format(TimeFormat::Seconds);
    let list = List::of::<T>(stream, path)?.primary_key(["email"]).paging(Paging::Offset { parameter: "offset" });
    Ok(list.size("limit", 500).since("created", since))
}
