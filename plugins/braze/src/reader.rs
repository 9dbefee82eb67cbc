//! The reading: addresses that unsubscribed, oldest first, and those that bounced for good, newest first, since they come in no other
//! order; asked for by day: the day of the newest one known is read again.

use affluent_sdk::http::Service;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest, Since, TimeFormat};
use affluent_sdk::rows::Timestamp;
use affluent_sdk::{PiiClass, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Braze, Config};

/// 2011-01-01: nothing is older than Braze, which must be told a beginning.
const BEGINNING_US: i64 = 1_293_840_000_000_000;

/// An address that unsubscribed from everything.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Unsubscribe {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    unsubscribed_at: Timestamp,
}

/// An address that takes no mail.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct HardBounce {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    hard_bounced_at: Timestamp,
}

impl Rest for Braze {
    fn service(config: &Config) -> Service {
        crate::service(config)
    }

    fn lists(_: &Config) -> Result<Vec<List>> {
        let since = Since::parameter("start_date").until("end_date").format(TimeFormat::Date).beginning(BEGINNING_US);
        let paged = |list: List| {
            let list = list.primary_key(["email"]).records_at("/emails").paging(Paging::Offset { parameter: "offset" });
            list.size("limit", 500).short_page_is_last()
        };
        let unsubscribes = paged(List::of::<Unsubscribe>("unsubscribes", "/email/unsubscribes")?);
        let unsubscribes = unsubscribes.parameter("sort_direction", "asc").since("unsubscribed_at", since.sorted());
        let bounces = paged(List::of::<HardBounce>("hard_bounces", "/email/hard_bounces")?).since("hard_bounced_at", since);
        Ok(vec![unsubscribes, bounces])
    }
}
