//! One GraphQL request and what can come back for it. Shopify answers most refusals with HTTP 200, so the status says
//! little; everything that is not whole data becomes an error here, and no text of the answer but names gets into it.

use std::cell::Cell;

use affluent_sdk::ErrorKind::{Auth, Config, Permission};
use affluent_sdk::graphql::{self, Answer};
use affluent_sdk::http::{self, Meaning, Response};
use affluent_sdk::json::{list, text};
use affluent_sdk::{Error, Result, runtime};
use serde_json::Value;

/// Points that a single query may cost, whatever the plan (shopify.dev, "API limits", 2026-11-23).
pub(crate) const QUERY_POINTS_MAX: u32 = 1_000;
/// Code of the error for a query that costs more: smaller pages help.
pub(crate) const TOO_DEAR: &str = "shopify.max_cost";

/// The Admin API of one shop, in one version.
#[derive(Debug)]
pub(crate) struct Api {
    url: String,
    pub(crate) version: String,
    is_version_checked: Cell<bool>,
    is_consent_warned: Cell<bool>,
}

impl Api {
    pub(crate) fn new(config: &crate::Config) -> Self {
        let url = format!("{}/admin/api/{}/graphql.json", config.base_url(), config.api_version);
        Self { url, version: config.api_version.clone(), is_version_checked: Cell::default(), is_consent_warned: Cell::default() }
    }

    /// Asks one query, which costs at most so many points; the answer's `data`.
    ///
    /// # Errors
    /// `auth`, `permission` and `config` for what a person must change, `transient` for an answer that is none.
    pub(crate) fn ask(&self, query: &str, variables: Value, points: u32) -> Result<Value> {
        let response = graphql::send(http::post(&self.url).auth("token").cost(points), query, &variables)?;
        let answer = Answer::read(response.error_by(MEANINGS)?)?;
        self.check_version(answer.response());
        if let Some(warning) = answer.list("/extensions/search").iter().flat_map(|search| list(search, "/warnings")).next() {
            let (field, code) = (text(warning, "/field"), text(warning, "/code"));
            let message = format!("the search by `{field}` is not understood (`{code}`), it would find too much");
            return Err(Error::config(message).code("shopify.search_warning"));
        }
        if let Some(refusal) = answer.errors().iter().find(|refusal| !is_about_consent(refusal)) {
            return Err(refused(refusal, &self.version));
        }
        if !answer.errors().is_empty() && !self.is_consent_warned.replace(true) {
            runtime::warn("the API does not tell the consent of some customers: it is read as `UNKNOWN`");
        }
        answer.data()
    }

    /// An expired version is answered by the oldest that lives (shopify.dev, "API versioning", 2026-11-23).
    fn check_version(&self, response: &Response) {
        if self.is_version_checked.replace(true) {
            return;
        }
        if let Some(served) = response.header("x-shopify-api-version").filter(|served| *served != self.version) {
            let asked = &self.version;
            runtime::warn(&format!("API version `{asked}` is answered by `{served}`: set `api_version` to a version that lives"));
        }
    }
}

/// What statuses mean; 429 is the host's matter until it gives up.
const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "shopify.token", "the shop does not accept the access token: create one for an app of this shop"),
    Meaning::new(
        &[402, 403, 423],
        Permission,
        "shopify.refused",
        "the shop refuses the app: it lacks `read_customers` or `read_orders`, or the shop is frozen",
    ),
    Meaning::new(&[404], Config, "shopify.not_found", "no such shop or API version: check `shop` and `api_version`"),
];

/// True for a single customer's consent that could not be told: `streams` reads it as unknown.
fn is_about_consent(refusal: &Value) -> bool {
    matches!(text(refusal, "/path/3"), "emailMarketing" | "smsMarketing")
}

/// The API's own words are shown only where they speak of the query: about a record they can hold a value.
fn refused(refusal: &Value, version: &str) -> Error {
    let (code, message) = (text(refusal, "/extensions/code"), text(refusal, "/message"));
    let path: Vec<&str> = list(refusal, "/path").iter().filter_map(Value::as_str).collect();
    let place = path.join(".");
    match code {
        "THROTTLED" => Error::rate_limited(1_000).code("shopify.throttled"),
        "MAX_COST_EXCEEDED" => Error::config(format!("a query costs more than {QUERY_POINTS_MAX} points")).code(TOO_DEAR),
        "ACCESS_DENIED" => {
            let help = "grant the app `read_customers` and `read_orders`, and access to protected customer data";
            Error::permission(format!("access to `{place}` is denied: {help}")).code("shopify.access_denied")
        }
        "INTERNAL_SERVER_ERROR" | "TIMEOUT" | "SERVICE_UNAVAILABLE" => {
            Error::transient(format!("the API failed (`{code}`)")).code("shopify.unavailable")
        }
        _ if path.len() > 1 => Error::internal(format!("`{place}` could not be read (`{code}`)")).code("shopify.field"),
        _ => Error::config(format!("API version `{version}` refuses the query (`{code}`): {message}")).code("shopify.query"),
    }
}
