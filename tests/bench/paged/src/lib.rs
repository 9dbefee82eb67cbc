//! The source of workload W2: customers of a paged API, as anybody would write it with the SDK.

use affluent_sdk::http::Service;
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest, Since};
use affluent_sdk::rows::Timestamp;
use affluent_sdk::{Manifest, PiiClass, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The connection's `config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, host and port of the API.
    base_url: String,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Customer {
    id: i64,
    #[schemars(extend("pii" = PiiClass::Email))]
    email: Option<String>,
    #[schemars(extend("pii" = PiiClass::Phone))]
    phone: Option<String>,
    #[schemars(extend("pii" = PiiClass::Name))]
    first_name: Option<String>,
    #[schemars(extend("pii" = PiiClass::Name))]
    last_name: Option<String>,
    #[schemars(extend("pii" = PiiClass::Address))]
    address: Option<String>,
    #[schemars(extend("pii" = PiiClass::Address))]
    city: Option<String>,
    country: Option<String>,
    total_spent: Option<f64>,
    accepts_marketing: Option<bool>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The plugin.
#[derive(Debug)]
pub struct Paged;

impl Plugin for Paged {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("paged", env!("CARGO_PKG_VERSION"), [PluginKind::Source]).host("{config.base_url}", &[])
    }
}

impl Rest for Paged {
    fn service(config: &Config) -> Service {
        Service::without_auth(&config.base_url)
    }

    fn lists(_: &Config) -> Result<Vec<List>> {
        let list = List::of::<Customer>("customers", "/customers")?;
        let list = list.primary_key(["id"]).records_at("/data").size("limit", 250);
        let paging = Paging::Cursor { pointer: "/next_cursor", parameter: "cursor" };
        Ok(vec![list.paging(paging).since("updated_at", Since::parameter("updated_since"))])
    }
}

affluent_sdk::export_source!(Paged, affluent_sdk::rest::RestSource<Paged>);
