//! The reading: addresses that unsubscribed, oldest first, asked for by day: the day of the newest one known is read again.

use affluent_sdk::http::Response;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest, Since, TimeFormat};
use affluent_sdk::rows::Timestamp;
use affluent_sdk::{PiiClass, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Braze, Config, MEANINGS};

/// 2011-01-01: nothing is older than Braze, which must be told a beginning.
const BEGINNING_US: i64 = 1_293_840_000_000_000;

/// An address that unsubscribed from everything.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Unsubscribe {
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    unsubscribed_at: Timestamp,
}

impl Rest for Braze {
    fn base_url(config: &Config) -> String {
        crate::base_url(config)
    }

    fn lists(_: &Config) -> Result<Vec<List>> {
        let since = Since::parameter("start_date").until("end_date").format(TimeFormat::Date).beginning(BEGINNING_US).sorted();
        let list = List::of::<Unsubscribe>("unsubscribes", "/email/unsubscribes")?.primary_key(["email"]).records_at("/emails");
        let list = list.paging(Paging::Offset { parameter: "offset" }).size("limit", 500).short_page_is_last();
        Ok(vec![list.parameter("sort_direction", "asc").since("unsubscribed_at", since)])
    }

    fn accept(answer: Response) -> Result<Response> {
        answer.error_by(MEANINGS)
    }
}
