//! Bulk operations: the shop writes the answer to one query into a file of JSON lines, whatever its size, for 10 points.
//! The lines of an order follow it; the orders are in no order of time.
//! Facts: description of 2026-10 (@shopify/dev-mcp 1.16.0) and shopify.dev, "Perform bulk operations", 2026-11-23.

use affluent_sdk::lines::JsonLines;
use affluent_sdk::{Error, Result, http, json::text, outcomes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;

/// Seconds that one call waits for an operation to end.
const WAIT_SECS_MAX: u32 = 20;

const START: &str = "mutation($query:String!){bulkOperationRunQuery(query:$query,groupObjects:true)\
    {bulkOperation{id createdAt} userErrors{code}}}";
const STATUS: &str = "query($id:ID!){bulkOperation(id:$id){status url objectCount}}";

/// An operation and how far its result was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bulk {
    pub(crate) id: String,
    pub(crate) created_at: String,
    /// Bytes and objects so far.
    pub(crate) offset: u64,
    pub(crate) objects: u64,
    /// Calls that found it running: two places in a row are never the same.
    pub(crate) waits: u32,
}

/// Starts an operation; `None` when the shop has too many of them.
pub(crate) fn start(api: &Api, query: &str) -> Result<Option<Bulk>> {
    let data = api.ask(START, json!({ "query": query }), 10)?;
    let found = |pointer: &str| text(&data, &format!("/bulkOperationRunQuery{pointer}")).to_owned();
    let (id, created_at) = (found("/bulkOperation/id"), found("/bulkOperation/createdAt"));
    match found("/userErrors/0/code").as_str() {
        "OPERATION_IN_PROGRESS" | "LIMIT_REACHED" => Ok(None),
        "" if !id.is_empty() => Ok(Some(Bulk { id, created_at, offset: 0, objects: 0, waits: 0 })),
        code => Err(Error::config(format!("the bulk operation is refused (`{code}`)")).code("shopify.bulk")),
    }
}

/// How an operation that is over ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Its result where the reading stands, and how many objects it holds in all.
    Ready(JsonLines, u64),
    /// Failed, cancelled or too old: its result is not to be had.
    Lost,
}

/// Waits some time for the operation to end; `None` while it runs.
pub(crate) fn wait(api: &Api, bulk: &Bulk) -> Result<Option<Ended>> {
    outcomes::wait_for(WAIT_SECS_MAX, 1_000, || {
        let data = api.ask(STATUS, json!({ "id": bulk.id }), 1)?;
        match text(&data, "/bulkOperation/status") {
            "CREATED" | "RUNNING" => Ok(None),
            "COMPLETED" => open(&data, bulk).map(Some),
            _ => Ok(Some(Ended::Lost)),
        }
    })
}

fn open(data: &Value, bulk: &Bulk) -> Result<Ended> {
    let (url, total) = (text(data, "/bulkOperation/url"), text(data, "/bulkOperation/objectCount").parse().unwrap_or_default());
    let body = if url.is_empty() {
        None // nothing was found
    } else {
        let (head, body) = http::get(url).open()?;
        if matches!(head.status(), 403 | 404 | 410) {
            return Ok(Ended::Lost);
        }
        head.error_for_status()?;
        Some(body)
    };
    Ok(Ended::Ready(JsonLines::from(body, bulk.offset, bulk.objects)?, total))
}
