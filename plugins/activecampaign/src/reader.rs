//! The reading: contacts that unsubscribed, and those whose mailboxes take no mail. Both lists are read whole each time, in the order
//! of their ids: a change of status cannot be asked for.

use affluent_sdk::http::Service;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest};
use affluent_sdk::rows::Timestamp;
use affluent_sdk::{Account, PiiClass, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ActiveCampaign, Api, Config};

/// A contact of a status, with when it changed last.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Contact {
    id: String,
    #[schemars(extend("pii" = PiiClass::Email))]
    email: String,
    udate: Option<Timestamp>,
}

impl Rest for ActiveCampaign {
    fn service(config: &Config) -> Service {
        Api::connect(config).service
    }

    /// Statuses: 2 unsubscribed, 3 bounced ("Contact", developers.activecampaign.com).
    fn lists(_: &Config) -> Result<Vec<List>> {
        let of_status = |stream: &str, status: &str| -> Result<List> {
            let list = List::of::<Contact>(stream, "/contacts")?.primary_key(["id"]).records_at("/contacts");
            let list = list.parameter("status", status).parameter("orders[id]", "ASC");
            Ok(list.paging(Paging::Offset { parameter: "offset" }).size("limit", 100))
        };
        Ok(vec![of_status("unsubscribes", "2")?, of_status("bounces", "3")?])
    }
}
