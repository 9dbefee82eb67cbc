//! GraphQL over the host: one query, what it must not cost, what came back; pages of connections; and whole sources over
//! them as declarations: a [`Graphql`] service says how one query is asked and which [`List`]s it has, [`GraphqlSource`] reads
//! them, page by page or as bulk operations.
//!
//! GraphQL services answer most refusals with 200, so the caller looks at [`Answer::errors`] before it takes the data;
//! [`Refusal`]s say what the codes of errors mean.
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

mod bulk;
mod list;
mod source;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Request, Response};
use crate::json;

pub use bulk::{Bulk, BulkStatus};
pub use list::{Child, List};
pub use source::GraphqlSource;

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

/// What a query may be, as the service's documentation says.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Records of one page at most.
    pub page_records: u32,
    /// Records that turning pages reaches; before that a new search begins at the last update.
    pub reach_records: usize,
    /// Points that one query may cost; `u32::MAX` where nothing is counted.
    pub query_points: u32,
    /// Points of one object that is asked for by itself.
    pub object_points: u32,
    /// Points of one connection, beside those of its records.
    pub connection_points: u32,
    /// Code of the error of [`Graphql::ask`] for a query that costs more: it is asked again for half as many records.
    pub too_dear: &'static str,
}

/// A service whose streams are connections. The value is one open account: what it keeps lasts as long as a stream is read.
pub trait Graphql: Sized + 'static {
    /// As the plugin's.
    type Config: DeserializeOwned;

    /// Its streams.
    const LISTS: &'static [List];
    /// What it allows of a query.
    const BOUNDS: Bounds;

    /// The account of a configuration; asks nothing yet.
    fn connect(config: Self::Config) -> Self;

    /// Asks one query, which costs at most so many points; the answer's `data`, whole.
    ///
    /// # Errors
    /// For every answer that is none; see [`send`], [`Answer`] and [`Refusal`].
    fn ask(&self, query: &str, variables: Value, points: u32) -> Result<Value>;

    /// The search for everything of a list updated at or after an instant (microseconds since the epoch), or for all of it;
    /// empty where there is nothing to search for. Two instants that are searched alike give the same text.
    fn search(&self, list: &List, from_us: Option<i64>) -> String;

    /// What is asked of each record of a list; the list's own words unless they differ by version.
    fn selection(&self, list: &List) -> String {
        list.selection().to_owned()
    }

    /// Records per page that the configuration wants at most.
    fn page_size(&self) -> Option<u32> {
        None
    }

    /// Whether what a search finds is worth a bulk operation; asked before a first or full read.
    ///
    /// # Errors
    /// As [`Graphql::ask`].
    fn is_large(&self, _list: &List, _search: &str) -> Result<bool> {
        Ok(false)
    }

    /// Starts a bulk operation for a query; `None` when none is to be had now.
    ///
    /// # Errors
    /// As [`Graphql::ask`].
    fn start_bulk(&self, _query: &str) -> Result<Option<Bulk>> {
        Ok(None)
    }

    /// How a bulk operation stands.
    ///
    /// # Errors
    /// As [`Graphql::ask`].
    fn bulk_status(&self, _id: &str) -> Result<BulkStatus> {
        Ok(BulkStatus::Lost)
    }
}

/// What some codes of errors (`/extensions/code`) mean at one service.
///
/// ```
/// use affluent_sdk::ErrorKind;
/// use affluent_sdk::graphql::{Refusal, refused};
///
/// const REFUSALS: &[Refusal] = &[Refusal::new(&["FORBIDDEN"], ErrorKind::Permission, "shop.denied", "grant `read_orders`")];
///
/// let error = serde_json::json!({ "message": "…", "path": ["orders"], "extensions": { "code": "FORBIDDEN" } });
/// let error = refused(&error, REFUSALS, "shop");
/// assert_eq!((error.code.as_str(), error.message.as_str()), ("shop.denied", "`orders` is refused (`FORBIDDEN`): grant `read_orders`"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    codes: &'static [&'static str],
    kind: ErrorKind,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    /// These codes are an error of this kind, with a code and a message for operators. `RateLimited` waits a second.
    pub const fn new(codes: &'static [&'static str], kind: ErrorKind, code: &'static str, message: &'static str) -> Self {
        Self { codes, kind, code, message }
    }
}

/// What an entry of [`Answer::errors`] means: what the service's own table says about its code; `internal` (`PREFIX.field`) for
/// a single field that could not be read; and `config` (`PREFIX.query`) for a query that is refused as a whole. The service's
/// words are shown only in the last case, where they speak of the query: about a record they can hold a value.
pub fn refused(error: &Value, refusals: &[Refusal], prefix: &str) -> Error {
    let code = json::text(error, "/extensions/code");
    let path: Vec<&str> = json::list(error, "/path").iter().filter_map(Value::as_str).collect();
    let place = if path.is_empty() { "the query".to_owned() } else { format!("`{}`", path.join(".")) };
    let known = refusals.iter().find(|refusal| refusal.codes.contains(&code));
    match known {
        Some(Refusal { kind, code: own, message, .. }) => {
            let mut error = Error::new(*kind, *own, format!("{place} is refused (`{code}`): {message}"));
            error.retry_after_ms = (*kind == ErrorKind::RateLimited).then_some(1_000);
            error
        }
        None if path.len() > 1 => {
            Error::internal(format!("{place} could not be read (`{}`)", json::word(code))).code(format!("{prefix}.field"))
        }
        None => {
            let words = json::text(error, "/message");
            let message = format!("the API refuses the query (`{}`): {words}", json::word(code));
            Error::config(message).code(format!("{prefix}.query"))
        }
    }
}

fn no_data(message: &str) -> Error {
    Error::transient(message).code("graphql.no_data")
}
