//! Customers of a service with a paged JSON API, as a source.

mod config;
#[cfg(test)]
mod tests;

use affluent_sdk::http::Service;
use affluent_sdk::manifest::{AuthSlot, RateLimit};
use affluent_sdk::paging::Paging;
use affluent_sdk::rest::{List, Rest, Since};
use affluent_sdk::rows::{Decimal, Timestamp};
use affluent_sdk::{CheckReport, Manifest, PiiClass, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::config::Config;

/// One record: its fields are the stream's columns, those of `address` become `address_city`. A personal field names its
/// class: the host seals it, and nothing personal leaves without a grant.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Customer {
    id: i64,
    #[schemars(extend("pii" = PiiClass::Email))]
    email: Option<String>,
    #[schemars(extend("pii" = PiiClass::Name))]
    first_name: Option<String>,
    address: Option<Address>,
    total_spent: Option<Decimal>,
    updated_at: Timestamp,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Address {
    #[schemars(extend("pii" = PiiClass::Address))]
    city: Option<String>,
}

/// The plugin: what it is and what it asks for. Nothing is granted by asking; the token never gets here.
#[derive(Debug)]
pub struct MyPlugin;

impl Plugin for MyPlugin {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("my-plugin", env!("CARGO_PKG_VERSION"), [PluginKind::Source])
            .description("Customers of my-plugin")
            .host("{config.base_url}", &[])
            .auth("token", AuthSlot::bearer("api_token"))
            .secret("api_token", "API token", &["customers:read"])
            .rate_limit(RateLimit::new(20, 1_000))
    }

    /// Asks for one record: a wrong address or token shows before the first run.
    fn check(config: &Config) -> Result<CheckReport> {
        let service = Self::service(config);
        service.send(service.get("/customers").query("limit", "1"))?;
        Ok(CheckReport::default())
    }
}

/// The streams: where their records are, how pages follow each other, how the API is asked for what changed. The SDK reads
/// them: every page can be resumed, a record that does not fit is rejected alone, a cursor that leads nowhere is an error.
impl Rest for MyPlugin {
    fn service(config: &Config) -> Service {
        Service::new(&config.base_url, "token")
    }

    fn lists(_config: &Config) -> Result<Vec<List>> {
        let customers = List::of::<Customer>("customers", "/customers")?
            .primary_key(["id"])
            .records_at("/items")
            .paging(Paging::Cursor { pointer: "/next_cursor", parameter: "cursor" })
            .size("limit", 100)
            .since("updated_at", Since::parameter("updated_since").sorted());
        Ok(vec![customers])
    }
}

affluent_sdk::export_source!(MyPlugin, affluent_sdk::rest::RestSource<MyPlugin>);
