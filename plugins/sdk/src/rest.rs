//! Sources over lists of a REST API, as declarations: [`Rest`] says where the service is and which [`List`]s it has,
//! [`RestSource`] reads them: paging, resuming at every page, incremental reads, rejected records, loops.
//!
//! ```
//! use affluent_sdk::http::Service;
//! use affluent_sdk::manifest::AuthSlot;
//! use affluent_sdk::paging::Paging;
//! use affluent_sdk::rest::{List, Rest, RestSource, Since};
//! use affluent_sdk::rows::Timestamp;
//! use affluent_sdk::{Manifest, PiiClass, Plugin, PluginKind, Result, testing};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// The connection's `config`.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Name of the shop.
//!     shop: String,
//! }
//!
//! #[derive(Deserialize, Serialize, JsonSchema)]
//! struct Customer {
//!     id: i64,
//!     #[schemars(extend("pii" = PiiClass::Email))]
//!     email: Option<String>,
//!     updated_at: Timestamp,
//! }
//!
//! struct Shop;
//!
//! impl Plugin for Shop {
//!     type Config = Config;
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new::<Config>("shop", env!("CARGO_PKG_VERSION"), [PluginKind::Source])
//!             .host("{config.shop}.example.org", &[("config.shop", "^[a-z0-9-]{1,60}$")])
//!             .auth("token", AuthSlot::bearer("access_token"))
//!             .secret("access_token", "API token", &["read_customers"])
//!     }
//! }
//!
//! impl Rest for Shop {
//!     fn service(config: &Config) -> Service {
//!         Service::new(&format!("https://{}.example.org", config.shop), "token")
//!     }
//!
//!     fn lists(_: &Config) -> Result<Vec<List>> {
//!         Ok(vec![
//!             List::of::<Customer>("customers", "/customers")?
//!                 .primary_key(["id"])
//!                 .records_at("/data")
//!                 .paging(Paging::Cursor { pointer: "/next", parameter: "after" })
//!                 .size("limit", 100)
//!                 .since("updated_at", Since::parameter("updated_after")),
//!         ])
//!     }
//! }
//!
//! affluent_sdk::export_source!(Shop, RestSource<Shop>);
//!
//! testing::on_http(|request| {
//!     assert_eq!(request.url, "https://ada.example.org/customers?limit=100");
//!     Ok(testing::response(200, r#"{"data": [{"id": 7, "email": null, "updated_at": "2026-01-31T10:20:30Z"}], "next": null}"#))
//! });
//! let read = testing::read_all::<RestSource<Shop>>(|| Config { shop: "ada".to_owned() }, "customers")?;
//! assert_eq!(read.rows("customers"), 1);
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

mod list;
mod reader;
#[cfg(test)]
mod tests;

pub use list::{List, Since, TimeFormat};
pub use reader::RestSource;

use crate::error::Result;
use crate::http::Service;
use crate::plugin::Plugin;

/// A service whose streams are lists.
pub trait Rest: Plugin {
    /// What all requests share: where the service is, which the lists' paths follow, the auth slot, headers, what its refusals mean.
    fn service(config: &Self::Config) -> Service;

    /// The lists, one per stream.
    ///
    /// # Errors
    /// Any kind; those of [`List::of`].
    fn lists(config: &Self::Config) -> Result<Vec<List>>;
}
