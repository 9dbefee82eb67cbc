//! Shopify as a source: customers, and orders with their lines, over the Admin GraphQL API. What is here is the
//! configuration, the manifest and the check; `streams` says what is read, `api` how it is asked for. Nothing is ever
//! written to the shop.

mod api;
mod streams;
#[cfg(test)]
mod tests;

use affluent_sdk::graphql::{Graphql, GraphqlSource};
use affluent_sdk::json::{list, text};
use affluent_sdk::manifest::{AuthSlot, CostFeedback, Manifest, PluginLimits, RateLimit, Webhooks};
use affluent_sdk::{CheckReport, Plugin, PluginKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub use crate::api::Api;

/// One open stream.
pub type Reader = GraphqlSource<Api>;

/// The connection's `config`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The shop's handle: `acme` for `acme.myshopify.com`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,59}$"))]
    shop: String,
    /// Version of the Admin API: the first month of a quarter.
    #[serde(default = "api_version")]
    #[schemars(regex(pattern = r"^20\d\d-(01|04|07|10)$"))]
    api_version: String,
    /// Scheme, host, port and path prefix instead of `https://{shop}.myshopify.com`.
    base_url: Option<String>,
    /// Records per query at most; a query's cost allows fewer anyway.
    #[schemars(range(min = 1, max = 250))]
    page_size: Option<u32>,
    /// Whether test orders are read; they have `test` set.
    #[serde(default = "yes")]
    include_test_orders: bool,
    /// A first or full read of at least so many records (up to 10,000) is done as a bulk operation; 0 for never.
    #[serde(default = "bulk_from")]
    #[schemars(range(max = 10_000))]
    bulk_from: u32,
}

/// The newest version whose description this plugin was checked against (@shopify/dev-mcp 1.16.0, 2026-11-23).
fn api_version() -> String {
    "2026-10".to_owned()
}

fn yes() -> bool {
    true
}

/// From here on a bulk operation is faster than paging on the smallest plan (100 points per second, 22 per order).
fn bulk_from() -> u32 {
    1_000
}

impl Config {
    fn base_url(&self) -> String {
        let shop = || format!("https://{}.myshopify.com", self.shop);
        self.base_url.as_deref().map_or_else(shop, |url| url.trim_end_matches('/').to_owned())
    }
}

/// The plugin.
#[derive(Debug)]
pub struct Shopify;

impl Plugin for Shopify {
    type Config = Config;

    fn manifest() -> Manifest {
        let signed = Webhooks::of_body("X-Shopify-Hmac-Sha256", "client_secret"); // shopify.dev, "Verify webhook deliveries", 2026-11-28
        let asked = ["customers/data_request", "customers/redact", "shop/redact"]; // "Privacy law compliance", then: 30 days
        Manifest::new::<Config>("shopify", env!("CARGO_PKG_VERSION"), [PluginKind::Source])
            .description("Customers, orders and order lines of a Shopify shop")
            .host("{config.shop}.myshopify.com", &[("config.shop", "^[a-z0-9][a-z0-9-]{0,59}$")])
            // Storage holds results of bulk operations (shopify.dev, "Perform bulk operations with the GraphQL Admin API", 2026-11-23).
            .hosts(&["{config.base_url}", "storage.googleapis.com"])
            .auth("token", AuthSlot::header("X-Shopify-Access-Token", "", "access_token"))
            .secret("access_token", "Admin API access token of an app of the shop", &["read_customers", "read_orders"])
            .webhooks(signed.requests("X-Shopify-Topic", &asked, "/customer/id").within_days(30))
            .rate_limit(cost_bucket())
            .costs(include_str!("../costs.json"))
            .limits(PluginLimits { memory_mib: Some(128), call_timeout_s: Some(300), concurrency: Some(4) })
    }

    fn check(config: &Config) -> Result<CheckReport> {
        let data = Api::connect(config.clone()).ask(CHECK, json!({}), 10)?;
        let sees_all =
            list(&data, "/currentAppInstallation/accessScopes").iter().any(|scope| text(scope, "/handle") == "read_all_orders");
        let note = "without the scope `read_all_orders` only the orders of the last 60 days are read";
        Ok(CheckReport { notes: if sees_all { Vec::new() } else { vec![note.to_owned()] } })
    }
}

/// Asks what the reading will ask, so that a missing scope shows; see [`api`] for what becomes of it.
const CHECK: &str = "{currentAppInstallation{accessScopes{handle}} customers(first:1){nodes{id}} orders(first:1){nodes{id}}}";

/// The smallest plan until the first answer says more: 100 points per second, 2,000 at once (shopify.dev, "API limits",
/// 2026-11-23). Larger plans restore up to 2,000 per second, so the numbers of the answers count.
fn cost_bucket() -> RateLimit {
    let cost = CostFeedback::available("/extensions/cost/throttleStatus/currentlyAvailable")
        .restore_per_s("/extensions/cost/throttleStatus/restoreRate")
        .capacity("/extensions/cost/throttleStatus/maximumAvailable")
        .requested("/extensions/cost/requestedQueryCost")
        .throttled("/errors/0/extensions/code", "THROTTLED");
    RateLimit::new(100, 1_000).burst(2_000).cost(cost)
}

affluent_sdk::export_source!(Shopify, Reader);
