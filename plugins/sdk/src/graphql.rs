//! GraphQL over the host: one query, what it must not cost, what came back; and pages of connections.
//!
//! GraphQL services answer most refusals with 200, so the caller looks at [`Answer::errors`] before it takes the data.
//!
//! ```
//! use affluent_sdk::{graphql, http, testing};
//! use serde_json::json;
//!
//! testing::on_http(|_| {
//!     let body = r#"{"data": {"page": {"nodes": [{"id": "1"}], "pageInfo": {"hasNextPage": false, "endCursor": null}}}}"#;
//!     Ok(testing::response(200, body))
//! });
//! let request = http::post("https://api.test/graphql").auth("token");
//! let answer = graphql::ask(request, "query{page:items(first:2){nodes{id} pageInfo{hasNextPage endCursor}}}", json!({}))?;
//! assert!(answer.errors().is_empty());
//! let mut data = answer.data()?;
//! let page = graphql::Connection::take(&mut data, "/page")?;
//! assert_eq!((page.nodes.len(), page.next), (1, None));
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::json;

/// An answer, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    response: Response,
    body: Value,
}

/// Sends a query with its variables. The host may repeat everything but a mutation.
///
/// # Errors
/// As [`Request::send`]. The status is not looked at: [`Answer::data`] does, unless the caller did before.
pub fn send(request: Request, query: &str, variables: &Value) -> Result<Response> {
    let request = request.json(&json!({ "query": query, "variables": variables }))?;
    request.retry_safe(!query.trim_start().starts_with("mutation")).send()
}

/// Sends a query and reads its answer.
///
/// # Errors
/// As [`send`], and by status as [`Response::error_for_status`].
pub fn ask(request: Request, query: &str, variables: Value) -> Result<Answer> {
    Answer::read(send(request, query, &variables)?.error_for_status()?)
}

impl Answer {
    /// Reads an answer whose status is good.
    ///
    /// # Errors
    /// `transient` for a body that is no JSON.
    pub fn read(response: Response) -> Result<Self> {
        let body = response.json()?;
        Ok(Self { response, body })
    }

    /// Its `errors`. Their messages may hold values of records: show codes and paths only.
    pub fn errors(&self) -> &[Value] {
        json::list(&self.body, "/errors")
    }

    /// The list at a pointer of the whole answer, such as `/extensions/search`.
    pub fn list(&self, pointer: &str) -> &[Value] {
        json::list(&self.body, pointer)
    }

    /// The answer's status and headers.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Its `data`.
    ///
    /// # Errors
    /// `transient` (`graphql.no_data`) where there is none.
    pub fn data(mut self) -> Result<Value> {
        let data = self.body.get_mut("data").map(Value::take).filter(Value::is_object);
        data.ok_or_else(|| no_data("the answer holds no data"))
    }
}

/// One page of a connection that was asked for `nodes` and `pageInfo{hasNextPage endCursor}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The records.
    pub nodes: Vec<Value>,
    /// The cursor of the page after this one.
    pub next: Option<String>,
}

impl Connection {
    /// Takes a page out of an answer, at an RFC 6901 pointer.
    ///
    /// # Errors
    /// `transient` (`graphql.no_data`) for what is no page, or does not say how it goes on: never an empty page.
    pub fn take(data: &mut Value, pointer: &str) -> Result<Self> {
        let mut page = data.pointer_mut(pointer).map(Value::take).unwrap_or_default();
        let next =
            match (page.pointer("/pageInfo/hasNextPage").and_then(Value::as_bool), json::text(&page, "/pageInfo/endCursor")) {
                (Some(false), _) => None,
                (Some(true), cursor) if !cursor.is_empty() => Some(cursor.to_owned()),
                _ => return Err(no_data("the answer does not say how its pages go on")),
            };
        match page.get_mut("nodes").map(Value::take) {
            Some(Value::Array(nodes)) => Ok(Self { nodes, next }),
            _ => Err(no_data("the answer holds no page")),
        }
    }

    /// The text that asks for a connection of these fields.
    pub fn of(fields: &str) -> String {
        format!("{{nodes{{{fields}}} pageInfo{{hasNextPage endCursor}}}}")
    }
}

fn no_data(message: &str) -> Error {
    Error::transient(message).code("graphql.no_data")
}
