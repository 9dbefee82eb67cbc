//! Requests through the host, which checks them against the grant, adds the credential of the named auth slot, keeps
//! the rate limit and repeats what is safe to repeat. A plugin never sees a secret or a socket.

mod service;

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::affluent::plugin::http as types;
use crate::error::{Error, ErrorKind, Result};
use crate::host::http as host;
use crate::json;

pub use service::{Allowance, Service};
pub use types::HttpError;

/// A request being built.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a request is sent by `send`"]
pub struct Request(types::Request);

/// A GET, which the host may repeat.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url).retry_safe(true)
}

/// A POST, which the host does not repeat unless [`Request::retry_safe`] says so.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A PUT, which the host may repeat.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url).retry_safe(true)
}

/// A PATCH, which the host does not repeat unless [`Request::retry_safe`] says so.
pub fn patch(url: impl Into<String>) -> Request {
    Request::new("PATCH", url)
}

/// A DELETE, which the host may repeat.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url).retry_safe(true)
}

impl Request {
    /// `url` is absolute; its host must be granted.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self(types::Request {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            auth: None,
            timeout_ms: None,
            cost: None,
            retry_safe: false,
        })
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a query parameter, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.0.url.push(if self.0.url.contains('?') { '&' } else { '?' });
        percent_encode(name, &mut self.0.url);
        self.0.url.push('=');
        percent_encode(value, &mut self.0.url);
        self
    }

    /// Asks for another URL with the same method, headers and credential: a link of an answer, whole or from the root.
    ///
    /// # Errors
    /// `config` (`page.origin`) when the link leads to another scheme, host or port.
    pub fn follow(mut self, link: &str) -> Result<Self> {
        let origin_of = |url: &str| {
            let start = url.find("://").map_or(0, |at| at + 3);
            let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| start + at);
            url.get(..end).unwrap_or_default().to_ascii_lowercase()
        };
        let origin = origin_of(&self.0.url);
        if link.starts_with('/') && !link.starts_with("//") {
            self.0.url = format!("{origin}{link}");
        } else if origin_of(link) == origin {
            link.clone_into(&mut self.0.url);
        } else {
            return Err(Error::config("the link to the next page leads to another host").code("page.origin"));
        }
        Ok(self)
    }

    /// Sets the body and its media type.
    pub fn body(self, content_type: &str, body: Vec<u8>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.0.body = Some(body);
        request
    }

    /// Sets a JSON body.
    ///
    /// # Errors
    /// `internal` when the value cannot be written as JSON, such as a map with keys that are not text.
    pub fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| Error::internal(format!("the request is no JSON: {error}")))?;
        Ok(self.body("application/json", body))
    }

    /// Lets the host add the credential of this slot of the manifest.
    pub fn auth(mut self, slot: &str) -> Self {
        self.0.auth = Some(slot.to_owned());
        self
    }

    /// Takes this many tokens from the rate limit instead of one.
    pub fn cost(mut self, tokens: u32) -> Self {
        self.0.cost = Some(tokens);
        self
    }

    /// Gives up after this long, instead of after the host's default.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.0.timeout_ms = Some(timeout_ms);
        self
    }

    /// Whether the host may repeat the request after a network error, a 429 or a 5xx.
    pub fn retry_safe(mut self, safe: bool) -> Self {
        self.0.retry_safe = safe;
        self
    }

    /// Sends it and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// See [`From<HttpError>`](Error#impl-From<HttpError>-for-Error).
    pub fn send(self) -> Result<Response> {
        Ok(Response(host::send(&self.0)?))
    }

    /// Sends it and reads the answer piece by piece, for exports larger than the host's limit of a body.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn open(self) -> Result<(Response, Body)> {
        let (head, body) = host::open(&self.0)?;
        Ok((Response(types::Response { status: head.status, headers: head.headers, body: Vec::new() }), Body(body)))
    }
}

/// Sends requests with at most `in_flight_max` at once; answers come in the order of the requests.
pub fn send_all(requests: Vec<Request>, in_flight_max: u8) -> Vec<Result<Response>> {
    let requests: Vec<types::Request> = requests.into_iter().map(|request| request.0).collect();
    let answers = host::send_all(&requests, in_flight_max);
    answers.into_iter().map(|answer| answer.map(Response).map_err(Error::from)).collect()
}

/// The rest of an answer that is read piece by piece.
#[derive(Debug)]
pub struct Body(host::Body);

impl Body {
    /// The next piece of up to `bytes_max` bytes; `None` at the end.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn read(&self, bytes_max: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.0.read(bytes_max)?)
    }
}

/// What some statuses mean at one service; see [`Response::error_by`].
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    statuses: &'static [u16],
    kind: ErrorKind,
    code: &'static str,
    message: &'static str,
    word: Option<(&'static str, &'static str)>,
    wait_ms: Option<u64>,
}

impl Meaning {
    /// These statuses are an error of this kind, with a code and a message for operators.
    pub const fn new(statuses: &'static [u16], kind: ErrorKind, code: &'static str, message: &'static str) -> Self {
        Self { statuses, kind, code, message, word: None, wait_ms: None }
    }

    /// Only where the answer holds this word at a pointer (RFC 6901): what its status means depends on it. Put it before the
    /// meaning that the status has otherwise. A [`Service`] lets the host repeat a request only after it has seen the answer
    /// itself, so that a limit of the day ends the run as paused instead of being waited for.
    ///
    /// ```
    /// use affluent_sdk::http::{self, Meaning};
    /// use affluent_sdk::{ErrorKind, testing};
    ///
    /// const SPENT: Meaning = Meaning::new(&[429], ErrorKind::RateLimited, "shop.daily", "the requests of this day are used up")
    ///     .when("/policy", "DAILY")
    ///     .wait_ms(3_600_000);
    ///
    /// testing::on_http(|_| Ok(testing::response(429, r#"{"policy": "DAILY"}"#)));
    /// let error = http::get("https://shop.test").send()?.error_by(&[SPENT]).expect_err("it is spent");
    /// assert_eq!((error.code.as_str(), error.retry_after_ms), ("shop.daily", Some(3_600_000)));
    /// # Ok::<(), affluent_sdk::Error>(())
    /// ```
    #[must_use]
    pub const fn when(self, pointer: &'static str, word: &'static str) -> Self {
        Self { word: Some((pointer, word)), ..self }
    }

    /// The wait, in milliseconds, where the answer names none.
    #[must_use]
    pub const fn wait_ms(self, ms: u64) -> Self {
        Self { wait_ms: Some(ms), ..self }
    }

    fn is_of(&self, answer: &Response) -> bool {
        self.statuses.contains(&answer.status())
            && self.word.is_none_or(|(pointer, word)| {
                let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                json::text(&body, pointer) == word
            })
    }
}

/// Where an error answer lists its reasons (RFC 6901): a list, or a text that has one in JSON behind its words, and in each entry
/// a code and the place it is about. Only these are ever shown: a service's words can repeat what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasons {
    /// The list.
    pub list: &'static str,
    /// The code, in an entry.
    pub code: &'static str,
    /// The field or path at fault, in an entry.
    pub place: &'static str,
}

impl Reasons {
    /// Those of a JSON:API answer (jsonapi.org, "Error Objects").
    pub const JSON_API: Self = Self { list: "/errors", code: "/code", place: "/source/pointer" };

    /// How many are shown.
    const SHOWN_MAX: usize = 3;

    /// The error with the reasons of its answer in front, if it has any.
    fn tell(&self, body: &[u8], error: Error) -> Error {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let word = |entry, pointer| json::word(json::text(entry, pointer));
        let shown = |entry| format!("`{}` at `{}`", word(entry, self.code), word(entry, self.place));
        let text = json::text(&answer, self.list);
        let in_text = text.find('[').and_then(|start| text.get(start..)).and_then(|list| serde_json::from_str(list).ok());
        let entries = in_text.unwrap_or_else(|| json::list(&answer, self.list).to_vec());
        let reasons: Vec<String> = entries.iter().take(Self::SHOWN_MAX).map(shown).collect();
        if reasons.is_empty() { error } else { error.context(&format!("refused with {}", reasons.join(", "))) }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response(types::Response);

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The whole body; empty for an answer that is read piece by piece.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// `transient` with the place of the mistake, never the text: a service that answers something else than it
    /// promises is usually in trouble, and asking again is right.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.0.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::transient(format!("the answer is not the expected JSON (line {line}, column {column})")).code("http.body")
        })
    }

    /// The answer, or its status as an error.
    ///
    /// # Errors
    /// [`Error::from_status`] for everything but 2xx.
    pub fn error_for_status(self) -> Result<Self> {
        if self.is_success() { Ok(self) } else { Err(Error::from_status(self.0.status, self.retry_after_ms())) }
    }

    /// The answer, or what the service's own table says about its status, or [`Error::from_status`].
    ///
    /// ```
    /// use affluent_sdk::http::{self, Meaning};
    /// use affluent_sdk::{ErrorKind, testing};
    ///
    /// const MEANINGS: &[Meaning] = &[
    ///     Meaning::new(&[402, 423], ErrorKind::Permission, "shop.frozen", "the shop is frozen: its owner must pay"),
    ///     Meaning::new(&[404], ErrorKind::Config, "shop.unknown", "no such shop: check `shop`"),
    /// ];
    ///
    /// testing::on_http(|_| Ok(testing::response(423, "")));
    /// let error = http::get("https://shop.test").send()?.error_by(MEANINGS).expect_err("it is frozen");
    /// assert_eq!(error.kind, ErrorKind::Permission);
    /// # Ok::<(), affluent_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// For everything but 2xx; the wait of `Retry-After` is kept.
    pub fn error_by(self, meanings: &[Meaning]) -> Result<Self> {
        match meanings.iter().find(|meaning| !self.is_success() && meaning.is_of(&self)) {
            None => self.error_for_status(),
            Some(Meaning { kind, code, message, wait_ms, .. }) => {
                let mut error = Error::new(*kind, *code, *message);
                error.retry_after_ms = self.retry_after_ms().or(*wait_ms);
                Err(error)
            }
        }
    }

    /// As [`Response::error_by`], with the reasons that the answer lists where what was sent is at fault (`invalid_data` and
    /// `not_found`).
    ///
    /// ```
    /// use affluent_sdk::http::{self, Reasons};
    /// use affluent_sdk::testing;
    ///
    /// let body = r#"{"errors": [{"code": "invalid", "source": {"pointer": "/data/attributes/email"}, "detail": "ada@x.test is bad"}]}"#;
    /// testing::on_http(move |_| Ok(testing::response(422, body)));
    /// let error = http::get("https://shop.test").send()?.error_telling(&[], Reasons::JSON_API).expect_err("it is refused");
    /// assert_eq!(error.message, "refused with `invalid` at `/data/attributes/email`: the service answered with status 422");
    /// # Ok::<(), affluent_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Response::error_by`].
    pub fn error_telling(self, meanings: &[Meaning], reasons: Reasons) -> Result<Self> {
        let body = if self.is_success() { Vec::new() } else { self.0.body.clone() };
        self.error_by(meanings).map_err(|error| match error.kind {
            ErrorKind::InvalidData | ErrorKind::NotFound => reasons.tell(&body, error),
            _ => error,
        })
    }

    /// The wait of a `Retry-After` given in seconds (fractions allowed), in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        let secs: f64 = self.header("retry-after")?.trim().parse().ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        (0.0..1e12).contains(&secs).then(|| (secs * 1_000.0).ceil() as u64)
    }

    /// When the service answered, by its own clock: the `Date` header (RFC 9110), in microseconds since the epoch. `None` where
    /// there is none.
    pub fn date_us(&self) -> Option<i64> {
        let since = httpdate::parse_http_date(self.header("date")?).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    }

    /// The URL of the next page by a `Link` header with `rel="next"` (RFC 8288).
    pub fn next_link(&self) -> Option<&str> {
        let header = self.header("link")?;
        header.split(',').find_map(|link| {
            let (url, parameters) = link.split_once(';')?;
            let is_next = parameters.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
            is_next.then(|| url.trim().trim_start_matches('<').trim_end_matches('>'))
        })
    }
}

impl From<HttpError> for Error {
    /// Denied and invalid requests are `config`: the grant or the address must change. A stopped run is `transient`.
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(reason) => Self::config(format!("the request is not granted: {reason}")).code("http.denied"),
            HttpError::Invalid(reason) => Self::config(format!("the request is invalid: {reason}")).code("http.invalid"),
            HttpError::Connect(reason) => Self::transient(format!("no connection: {reason}")).code("http.connect"),
            HttpError::Timeout => Self::transient("no answer in time").code("http.timeout"),
            HttpError::TooLarge(limit) => {
                Self::unsupported(format!("the answer is larger than {limit} bytes")).code("http.too_large")
            }
            HttpError::RateLimited(wait_ms) => Self::rate_limited(wait_ms).code("http.rate_limited"),
            HttpError::Cancelled => Self::transient("the run is being stopped").code("http.cancelled"),
        }
    }
}

/// A text in which everything but RFC 3986's unreserved characters is encoded, for a segment of a path.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    percent_encode(text, &mut encoded);
    encoded
}

/// Encodes everything but RFC 3986's unreserved characters.
pub fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let mut response = testing::response(status, body);
        response.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Response(response)
    }

    #[test]
    fn the_time_of_an_answer_is_the_services() {
        let dated = |date: &str| answered(200, &[("Date", date)], "").date_us();

        assert_eq!(dated("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000_000));
        assert_eq!((dated("soon"), answered(200, &[], "").date_us()), (None, None));
    }

    #[test]
    fn reasons_may_stand_as_json_inside_a_text_and_values_in_it_are_not_shown() {
        const REASONS: Reasons = Reasons { list: "/message", code: "/error", place: "/name" };
        let told = |message: &str| {
            let body = serde_json::json!({ "message": message }).to_string();
            answered(400, &[], &body).error_telling(&[], REASONS).unwrap_err().message
        };

        let list = r#"[{"message":"ada@x.test is invalid","error":"INVALID_EMAIL","name":"email"}]"#;
        let expected = "refused with `INVALID_EMAIL` at `email`: the service answered with status 400";
        assert_eq!(told(&format!("not valid: {list}")), expected);
        assert_eq!(told("Duplicate IDs: [ada@x.test]"), "the service answered with status 400");
    }

    #[test]
    fn query_values_are_percent_encoded() {
        let request = get("https://x.test/a").query("filter", "a b&c=ü").query("n", "1");

        assert_eq!(request.0.url, "https://x.test/a?filter=a%20b%26c%3D%C3%BC&n=1");
    }

    #[test]
    fn only_repeatable_methods_are_repeated_by_default() {
        assert!(get("u").0.retry_safe && put("u").0.retry_safe && delete("u").0.retry_safe);
        assert!(!post("u").0.retry_safe && !patch("u").0.retry_safe);
    }

    #[test]
    fn the_next_page_is_found_in_the_link_header() {
        let link = r#"<https://x.test/p?page=1>; rel="previous", <https://x.test/p?page=3>; rel="next""#;

        assert_eq!(answered(200, &[("Link", link)], "").next_link(), Some("https://x.test/p?page=3"));
        assert_eq!(answered(200, &[], "").next_link(), None);
    }

    #[test]
    fn a_throttled_answer_becomes_a_wait() {
        let error = answered(429, &[("Retry-After", "1.5")], "").error_for_status().unwrap_err();

        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(1_500)));
    }

    #[test]
    fn a_broken_body_is_reported_without_its_text() {
        let error = answered(200, &[], r#"{"email": "ada@example.org""#).json::<serde_json::Value>().unwrap_err();

        assert!(!error.message.contains("ada"), "{error}");
    }

    #[test]
    fn a_refused_host_is_a_matter_of_configuration() {
        testing::on_http(|_| Err(HttpError::Denied("host `evil.test`".to_owned())));

        assert_eq!(get("https://evil.test").send().unwrap_err().kind, ErrorKind::Config);
    }
}
