//! Bulk operations: the shop writes the answer to one query into a file of JSON lines, whatever its size, for 10 points.
//! The lines of an order follow it; the orders are in no order of time.
//! Facts: description of 2026-10 (@shopify/dev-mcp 1.16.0) and shopify.dev, "Perform bulk operations", 2026-11-23.

use affluent_sdk::lines::Lines;
use affluent_sdk::{Error, Result, http, runtime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Api, text};

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
    let answer = data.get("bulkOperationRunQuery").unwrap_or(&Value::Null);
    let (id, created_at) = (text(answer, "/bulkOperation/id"), text(answer, "/bulkOperation/createdAt"));
    match text(answer, "/userErrors/0/code") {
        "OPERATION_IN_PROGRESS" | "LIMIT_REACHED" => Ok(None),
        "" if !id.is_empty() => {
            Ok(Some(Bulk { id: id.to_owned(), created_at: created_at.to_owned(), offset: 0, objects: 0, waits: 0 }))
        }
        code => Err(Error::config(format!("the bulk operation is refused (`{code}`)")).code("shopify.bulk")),
    }
}

/// How an operation stands.
#[derive(Debug)]
pub(crate) enum Progress {
    Running,
    Ready(Export),
    /// Failed, cancelled or too old: its result is not to be had.
    Lost,
}

/// Waits some time for the operation to end; opens its result where the reading stands.
pub(crate) fn wait(api: &Api, bulk: &Bulk) -> Result<Progress> {
    for _ in 0..WAIT_SECS_MAX {
        let data = api.ask(STATUS, json!({ "id": bulk.id }), 1)?;
        match text(&data, "/bulkOperation/status") {
            "CREATED" | "RUNNING" if runtime::cancelled() => break,
            "CREATED" | "RUNNING" => runtime::sleep_ms(1_000),
            "COMPLETED" => return open(&data, bulk.clone()),
            _ => return Ok(Progress::Lost),
        }
    }
    Ok(Progress::Running)
}

fn open(data: &Value, bulk: Bulk) -> Result<Progress> {
    let (url, total) = (text(data, "/bulkOperation/url"), text(data, "/bulkOperation/objectCount"));
    let total = total.parse().unwrap_or_default();
    if url.is_empty() {
        return Ok(Progress::Ready(Export { lines: None, bulk, total, next: None }));
    }
    let (head, body) = http::get(url).open()?;
    if matches!(head.status(), 403 | 404 | 410) {
        return Ok(Progress::Lost);
    }
    head.error_for_status()?;
    Ok(Progress::Ready(Export { lines: Some(Lines::from(body, bulk.offset)?), bulk, total, next: None }))
}

/// The result of an operation while it is read.
#[derive(Debug)]
pub(crate) struct Export {
    /// An operation that found nothing has no file.
    lines: Option<Lines>,
    /// Where the reading stands: before `next`.
    pub(crate) bulk: Bulk,
    total: u64,
    next: Option<(Value, u64)>,
}

impl Export {
    /// The record that [`Export::take`] gives; `None` at the end.
    ///
    /// # Errors
    /// `transient` for a file that breaks off.
    pub(crate) fn peek(&mut self) -> Result<Option<&Value>> {
        let broken = || Error::transient("the result of the bulk operation breaks off").code("shopify.bulk_result");
        if self.next.is_none() {
            let line = self.lines.as_mut().map_or(Ok(None), Lines::next_line)?;
            let Some((line, bytes)) = line else {
                return if self.bulk.objects == self.total { Ok(None) } else { Err(broken()) };
            };
            self.next = Some((serde_json::from_slice(&line).map_err(|_| broken())?, bytes));
        }
        Ok(self.next.as_ref().map(|(record, _)| record))
    }

    pub(crate) fn take(&mut self) -> Value {
        let (record, bytes) = self.next.take().unwrap_or_default();
        self.bulk.offset += bytes;
        self.bulk.objects += 1;
        record
    }
}
