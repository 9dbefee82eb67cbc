//! The Admin API of one shop: one request and what can come back for it, searches, and bulk operations. Shopify answers
//! most refusals with HTTP 200; everything that is not whole data becomes an error here.
//! Facts: description of 2026-10 (@shopify/dev-mcp 1.16.0) and shopify.dev ("API limits", "API versioning", "Paginating
//! results", "Perform bulk operations"), read 2026-11-23.

use std::cell::Cell;

use affluent_sdk::ErrorKind::{Auth, Config as Configuration, Permission, RateLimited, Transient};
use affluent_sdk::graphql::{self, Answer, Bounds, Bulk, BulkStatus, Graphql, List, Refusal};
use affluent_sdk::http::{self, Meaning, Response};
use affluent_sdk::json::{list, text};
use affluent_sdk::{Error, Result, runtime, values};
use serde_json::{Value, json};

use crate::Config;
use crate::streams::{CUSTOMERS, ORDERS};

const START: &str = "mutation($query:String!){bulkOperationRunQuery(query:$query,groupObjects:true)\
    {bulkOperation{id createdAt} userErrors{code}}}";
const STATUS: &str = "query($id:ID!){bulkOperation(id:$id){status url objectCount}}";

/// What statuses mean; 429 is the host's matter until it gives up.
const MEANINGS: &[Meaning] = &[
    Meaning::new(&[401], Auth, "shopify.token", "the shop does not accept the access token: create one for an app of this shop"),
    Meaning::new(
        &[402, 403, 423],
        Permission,
        "shopify.refused",
        "the shop refuses the app: it lacks `read_customers` or `read_orders`, or the shop is frozen",
    ),
    Meaning::new(&[404], Configuration, "shopify.not_found", "no such shop or API version: check `shop` and `api_version`"),
];

/// What the codes of errors mean.
const REFUSALS: &[Refusal] = &[
    Refusal::new(&["THROTTLED"], RateLimited, "shopify.throttled", "its points are used up"),
    Refusal::new(&["MAX_COST_EXCEEDED"], Configuration, Api::BOUNDS.too_dear, "it costs more than 1,000 points"),
    Refusal::new(
        &["ACCESS_DENIED"],
        Permission,
        "shopify.access_denied",
        "grant the app `read_customers` and `read_orders`, and access to protected customer data",
    ),
    Refusal::new(&["INTERNAL_SERVER_ERROR", "TIMEOUT", "SERVICE_UNAVAILABLE"], Transient, "shopify.unavailable", "it failed"),
];

/// The Admin API of one shop, in one version.
#[derive(Debug)]
pub struct Api {
    config: Config,
    is_version_checked: Cell<bool>,
    is_consent_warned: Cell<bool>,
}

impl Graphql for Api {
    type Config = Config;

    const LISTS: &'static [List] = &[CUSTOMERS, ORDERS];
    /// The points are those of every plan.
    const BOUNDS: Bounds = Bounds {
        page_records: 250,
        reach_records: 25_000,
        query_points: 1_000,
        object_points: 1,
        connection_points: 2,
        too_dear: "shopify.max_cost",
    };

    fn connect(config: Config) -> Self {
        Self { config, is_version_checked: Cell::default(), is_consent_warned: Cell::default() }
    }

    fn ask(&self, query: &str, variables: Value, points: u32) -> Result<Value> {
        let url = format!("{}/admin/api/{}/graphql.json", self.config.base_url(), self.config.api_version);
        let response = graphql::send(http::post(url).auth("token").cost(points), query, &variables)?;
        let answer = Answer::read(response.error_by(MEANINGS)?)?;
        self.check_version(answer.response());
        if let Some(warning) = answer.list("/extensions/search").iter().flat_map(|search| list(search, "/warnings")).next() {
            let (field, code) = (text(warning, "/field"), text(warning, "/code"));
            let message = format!("the search by `{field}` is not understood (`{code}`), it would find too much");
            return Err(Error::config(message).code("shopify.search_warning"));
        }
        if let Some(refusal) = answer.errors().iter().find(|refusal| !is_about_consent(refusal)) {
            let version = format!("API version `{}`", self.config.api_version);
            return Err(graphql::refused(refusal, REFUSALS, "shopify").context(&version));
        }
        if !answer.errors().is_empty() && !self.is_consent_warned.replace(true) {
            runtime::warn("the API does not tell the consent of some customers: it is read as `UNKNOWN`");
        }
        answer.data()
    }

    fn search(&self, list: &List, from_us: Option<i64>) -> String {
        let from = from_us.map(|us| format!("updated_at:>='{}'", values::timestamp_text(us - us.rem_euclid(1_000_000))));
        let without_tests = !self.config.include_test_orders && list.name() == ORDERS.name();
        [from, without_tests.then(|| "test:false".to_owned())].into_iter().flatten().collect::<Vec<_>>().join(" AND ")
    }

    /// Until 2026-07 the consent to SMS stood on the phone number itself.
    fn selection(&self, list: &List) -> String {
        let consent = match self.config.api_version.as_str() < "2026-10" {
            true => "state:marketingState updatedAt:marketingUpdatedAt",
            false => "consent:smsMarketingConsent{state updatedAt}",
        };
        list.selection().replace("SMS_CONSENT", consent)
    }

    fn page_size(&self) -> Option<u32> {
        self.config.page_size
    }

    fn is_large(&self, list: &List, search: &str) -> Result<bool> {
        if self.config.bulk_from == 0 {
            return Ok(false);
        }
        let query = format!("query($query:String){{found:{}Count(query:$query){{count}}}}", list.name());
        let data = self.ask(&query, json!({ "query": search }), 10)?;
        Ok(data.pointer("/found/count").and_then(Value::as_u64) >= Some(self.config.bulk_from.into()))
    }

    /// An operation costs 10 points, whatever its size.
    fn start_bulk(&self, query: &str) -> Result<Option<Bulk>> {
        let data = self.ask(START, json!({ "query": query }), 10)?;
        let found = |pointer: &str| text(&data, &format!("/bulkOperationRunQuery{pointer}"));
        match (found("/userErrors/0/code"), found("/bulkOperation/id")) {
            ("OPERATION_IN_PROGRESS" | "LIMIT_REACHED", _) => Ok(None),
            ("", id) if !id.is_empty() => Ok(Some(Bulk::started(id, found("/bulkOperation/createdAt")))),
            (code, _) => Err(Error::config(format!("the bulk operation is refused (`{code}`)")).code("shopify.bulk")),
        }
    }

    fn bulk_status(&self, id: &str) -> Result<BulkStatus> {
        let data = self.ask(STATUS, json!({ "id": id }), 1)?;
        Ok(match text(&data, "/bulkOperation/status") {
            "CREATED" | "RUNNING" => BulkStatus::Running,
            "COMPLETED" => BulkStatus::ready(text(&data, "/bulkOperation/url"), text(&data, "/bulkOperation/objectCount")),
            _ => BulkStatus::Lost,
        })
    }
}

impl Api {
    /// An expired version is answered by the oldest that lives.
    fn check_version(&self, response: &Response) {
        let asked = &self.config.api_version;
        let served = response.header("x-shopify-api-version").filter(|_| !self.is_version_checked.replace(true));
        if let Some(served) = served.filter(|served| served != asked) {
            runtime::warn(&format!("API version `{asked}` is answered by `{served}`: set `api_version` to a version that lives"));
        }
    }
}

/// True for a single customer's consent that could not be told: `streams` reads it as unknown.
fn is_about_consent(refusal: &Value) -> bool {
    matches!(text(refusal, "/path/3"), "emailMarketing" | "smsMarketing")
}
