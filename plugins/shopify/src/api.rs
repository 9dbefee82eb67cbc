//! One GraphQL request and what can come back for it. Shopify answers most refusals with HTTP 200, so the status says
//! little; everything that is not whole data becomes an error here, and no text of the answer but names gets into it.

use std::cell::Cell;

use affluent_sdk::http::{self, Response};
use affluent_sdk::{Error, Result, runtime};
use serde_json::{Value, json};

use crate::Config;

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
    pub(crate) fn new(config: &Config) -> Self {
        let url = format!("{}/admin/api/{}/graphql.json", config.base_url(), config.api_version);
        Self { url, version: config.api_version.clone(), is_version_checked: Cell::default(), is_consent_warned: Cell::default() }
    }

    /// Asks one query, which costs at most so many points; the answer's `data`.
    ///
    /// # Errors
    /// `auth`, `permission` and `config` for what a person must change, `transient` for an answer that is none.
    pub(crate) fn ask(&self, query: &str, variables: Value, points: u32) -> Result<Value> {
        let request = http::post(&self.url).auth("token").json(&json!({ "query": query, "variables": variables }))?;
        let response = checked(request.cost(points).retry_safe(!query.starts_with("mutation")).send()?)?;
        self.check_version(&response);
        let mut answer: Value = response.json()?;
        let searches = list(&answer, "/extensions/search");
        if let Some(warning) = searches.iter().flat_map(|search| list(search, "/warnings")).next() {
            let (field, code) = (text(warning, "/field"), text(warning, "/code"));
            let message = format!("the search by `{field}` is not understood (`{code}`), it would find too much");
            return Err(Error::config(message).code("shopify.search_warning"));
        }
        let refusals = list(&answer, "/errors");
        if let Some(refusal) = refusals.iter().find(|refusal| !is_about_consent(refusal)) {
            return Err(refused(refusal, &self.version));
        }
        if !refusals.is_empty() && !self.is_consent_warned.replace(true) {
            runtime::warn("the API does not tell the consent of some customers: it is read as `UNKNOWN`");
        }
        let data = answer.get_mut("data").map(Value::take).filter(Value::is_object);
        data.ok_or_else(|| Error::transient("the answer holds no data").code("shopify.no_data"))
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

/// Passes what may hold data; 429 is the host's matter until it gives up.
fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    match status {
        401 => {
            Err(Error::auth("the shop does not accept the access token: create one for an app of this shop")
                .code("shopify.token"))
        }
        402 | 403 | 423 => {
            let message = format!(
                "the shop refuses the app (status {status}): it lacks `read_customers` or `read_orders`, or the shop is frozen"
            );
            Err(Error::permission(message).code("shopify.refused"))
        }
        404 => Err(Error::config("no such shop or API version: check `shop` and `api_version`").code("shopify.not_found")),
        _ => response.error_for_status(),
    }
}

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

/// The text at a pointer, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a pointer, empty where there is none.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
