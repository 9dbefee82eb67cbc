//! What all requests to one service share.

#[cfg(test)]
mod tests;

use std::cell::Cell;

use serde_json::Value;

use super::{Meaning, Reasons, Request, Response};
use crate::error::{Error, ErrorKind, Result};
use crate::paging::Paging;
use crate::runtime;

/// A service: where it is, what every request has, and what its refusals mean. Paths begin with a slash.
///
/// ```
/// use affluent_sdk::http::{Reasons, Service};
/// use affluent_sdk::testing;
///
/// let service = Service::new("https://api.shop.test/v1/", "token").header("api-version", "2026-07").reasons(Reasons::JSON_API);
///
/// testing::on_http(|request| {
///     assert_eq!((request.url.as_str(), request.auth.as_deref()), ("https://api.shop.test/v1/lists", Some("token")));
///     Ok(testing::response(201, r#"{"id": "7"}"#))
/// });
/// let made = service.ask(service.post("/lists", r#"{"name": "VIP"}"#.to_owned()))?;
/// assert_eq!(made["id"], "7");
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    base_url: String,
    auth: Option<&'static str>,
    media_type: &'static str,
    headers: Vec<(&'static str, String)>,
    meanings: &'static [Meaning],
    reasons: Option<Reasons>,
    share: Option<(Allowance, u32)>,
    /// An answer said that the share is used up.
    is_spent: Cell<bool>,
}

/// What an account may ask in a day, of which each answer tells how much is used by everybody.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    header: &'static str,
    before: &'static str,
    code: &'static str,
    message: &'static str,
    wait_ms: u64,
}

impl Allowance {
    /// The header of answers that tells it; what stands in it before how much is used and of how much, as in `api-usage=18/5000`;
    /// and when to look again once a share is used up, in milliseconds.
    pub const fn new(header: &'static str, before: &'static str, wait_ms: u64) -> Self {
        Self { header, before, code: "share", message: "the connection's share of the requests is used up", wait_ms }
    }

    /// Code and message of the error once a share is used up.
    #[must_use]
    pub const fn told(self, code: &'static str, message: &'static str) -> Self {
        Self { code, message, ..self }
    }

    fn read(&self, told: &str) -> Option<(u64, u64)> {
        let (used, of) = told.split_once(self.before)?.1.split_once('/')?;
        let digits = of.split(|letter: char| !letter.is_ascii_digit()).next()?;
        Some((used.trim().parse().ok()?, digits.parse().ok()?))
    }
}

impl Service {
    /// A service at a base URL (with or without a slash at its end) whose requests carry the credential of an auth slot.
    /// Bodies are `application/json`, statuses have their usual meaning, until more is said.
    pub fn new(base_url: &str, auth: &'static str) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let (headers, share, is_spent) = (Vec::new(), None, Cell::new(false));
        Self {
            base_url,
            auth: Some(auth),
            media_type: "application/json",
            headers,
            meanings: &[],
            reasons: None,
            share,
            is_spent,
        }
    }

    /// As [`Service::new`], for a service that asks for no credential.
    pub fn without_auth(base_url: &str) -> Self {
        Self { auth: None, ..Self::new(base_url, "") }
    }

    /// A header of every request.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The media type of bodies.
    #[must_use]
    pub fn media_type(mut self, media_type: &'static str) -> Self {
        self.media_type = media_type;
        self
    }

    /// What some statuses mean here.
    #[must_use]
    pub fn meanings(mut self, meanings: &'static [Meaning]) -> Self {
        self.meanings = meanings;
        self
    }

    /// Where answers say why something was refused.
    #[must_use]
    pub fn reasons(mut self, reasons: Reasons) -> Self {
        self.reasons = Some(reasons);
        self
    }

    /// Leaves the rest of an allowance to others: from so many percent on nothing more is asked, and the run ends as paused. What
    /// the answer that told it holds is not lost.
    ///
    /// ```
    /// use affluent_sdk::http::{Allowance, Service};
    /// use affluent_sdk::testing;
    ///
    /// const DAILY: Allowance = Allowance::new("x-used", "", 3_600_000).told("shop.share", "the share of the day is used up");
    /// testing::on_http(|_| {
    ///     let mut answer = testing::response(200, "{}");
    ///     answer.headers.push(("X-Used".to_owned(), "50/100".to_owned()));
    ///     Ok(answer)
    /// });
    /// let service = Service::new("https://api.shop.test", "token").share(DAILY, 50);
    /// assert!(service.ask(service.get("/a")).is_ok());
    /// assert_eq!(service.ask(service.get("/a")).expect_err("it is spent").code, "shop.share");
    /// ```
    #[must_use]
    pub fn share(mut self, of: Allowance, percent: u32) -> Self {
        self.share = Some((of, percent));
        self
    }

    /// A GET of a path.
    pub fn get(&self, path: &str) -> Request {
        super::get(self.url(path))
    }

    /// A POST of a body to a path; the host does not repeat it unless [`Request::retry_safe`] says so.
    pub fn post(&self, path: &str, body: String) -> Request {
        super::post(self.url(path)).body(self.media_type, body.into_bytes())
    }

    /// A PUT of a body to a path.
    pub fn put(&self, path: &str, body: String) -> Request {
        super::put(self.url(path)).body(self.media_type, body.into_bytes())
    }

    /// A PATCH of a path with a body; the host does not repeat it unless [`Request::retry_safe`] says so.
    pub fn patch(&self, path: &str, body: String) -> Request {
        super::patch(self.url(path)).body(self.media_type, body.into_bytes())
    }

    /// A DELETE of a path with a body.
    pub fn delete(&self, path: &str, body: String) -> Request {
        super::delete(self.url(path)).body(self.media_type, body.into_bytes())
    }

    /// A DELETE of a path, without a body.
    pub fn delete_at(&self, path: &str) -> Request {
        super::delete(self.url(path))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// Sends a request with the credential and the headers of the service; the answer, when its status is good.
    ///
    /// # Errors
    /// As [`Request::send`], and by status as [`Response::error_by`] and [`Response::error_telling`].
    pub fn send(&self, request: Request) -> Result<Response> {
        let words: Vec<&str> =
            self.meanings.iter().filter(|meaning| meaning.word.is_some()).map(|meaning| meaning.code).collect();
        if request.0.retry_safe && !words.is_empty() {
            let first = self.send_as_it_is(request.clone().retry_safe(false));
            let may_pass = |error: &Error| {
                matches!(error.kind, ErrorKind::Transient | ErrorKind::RateLimited) && !words.contains(&error.code.as_str())
            };
            if !first.as_ref().is_err_and(may_pass) {
                return first;
            }
        }
        self.send_as_it_is(request)
    }

    /// The answer whatever its status, to a request with the credential and the headers of the service.
    ///
    /// # Errors
    /// As [`Request::send`]; the share's where one is kept and used up.
    pub fn answer(&self, request: Request) -> Result<Response> {
        if let (true, Some((of, _))) = (self.is_spent.get(), self.share) {
            let error = Error::new(ErrorKind::RateLimited, of.code, of.message);
            return Err(Error { retry_after_ms: Some(of.wait_ms), ..error });
        }
        let answer = self.complete(request).send()?;
        if let Some((of, percent)) = self.share
            && let Some((used, all)) = answer.header(of.header).and_then(|told| of.read(told))
        {
            self.is_spent.set(used.saturating_mul(100) >= all.saturating_mul(u64::from(percent)));
        }
        Ok(answer)
    }

    fn send_as_it_is(&self, request: Request) -> Result<Response> {
        let answer = self.answer(request)?;
        self.judged(answer)
    }

    /// Sends requests with the credential and the headers of the service, at most `in_flight_max` of them at once; their answers,
    /// whatever their status, in the order of the requests. What one means says [`Service::judged`]; no share of an allowance is kept.
    pub fn send_each(&self, requests: Vec<Request>, in_flight_max: u8) -> Vec<Result<Response>> {
        super::send_all(requests.into_iter().map(|request| self.complete(request)).collect(), in_flight_max)
    }

    fn complete(&self, request: Request) -> Request {
        let request = self.auth.iter().fold(request, |request, slot| request.auth(slot));
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// An answer of the service, when its status is good.
    ///
    /// # Errors
    /// By status as [`Response::error_by`] and [`Response::error_telling`].
    pub fn judged(&self, answer: Response) -> Result<Response> {
        match self.reasons {
            Some(reasons) => answer.error_telling(self.meanings, reasons),
            None => answer.error_by(self.meanings),
        }
    }

    /// As [`Service::judged`], for a request that needed scopes of the credential: an error about permissions names them.
    ///
    /// # Errors
    /// As [`Service::judged`].
    pub fn judged_scoped(&self, answer: Response, scopes: &str) -> Result<Response> {
        self.judged(answer).map_err(|error| naming(error, scopes))
    }

    /// The answer's document; null for an answer without one (204, or 202 with nothing in it). A request that may be repeated is
    /// asked once more where its answer breaks off.
    ///
    /// # Errors
    /// As [`Service::send`]; `transient` (`http.body`) for a body that is no JSON.
    pub fn ask(&self, request: Request) -> Result<Value> {
        let again = request.0.retry_safe.then(|| request.clone());
        match (self.ask_once(request), again) {
            (Err(error), Some(again)) if error.code == "http.body" => self.ask_once(again),
            (answer, _) => answer,
        }
    }

    fn ask_once(&self, request: Request) -> Result<Value> {
        let answer = self.send(request)?;
        let is_empty = answer.status() == 204 || (answer.status() == 202 && answer.body().is_empty());
        if is_empty { Ok(Value::Null) } else { answer.json() }
    }

    /// As [`Service::send`], for a request that needs scopes of the credential: an error about permissions names them.
    ///
    /// # Errors
    /// As [`Service::send`].
    pub fn send_scoped(&self, request: Request, scopes: &str) -> Result<Response> {
        self.send(request).map_err(|error| naming(error, scopes))
    }

    /// As [`Service::ask`], for a request that needs scopes of the credential: an error about permissions names them.
    ///
    /// # Errors
    /// As [`Service::ask`].
    pub fn ask_scoped(&self, request: Request, scopes: &str) -> Result<Value> {
        self.ask(request).map_err(|error| naming(error, scopes))
    }

    /// As [`Service::ask_scoped`], by a POST that may be repeated: it reads, or does the same when it is done twice.
    ///
    /// # Errors
    /// As [`Service::ask`].
    pub fn ask_by_post(&self, path: &str, body: &Value, scopes: &str) -> Result<Value> {
        self.ask_scoped(self.post(path, body.to_string()).retry_safe(true), scopes)
    }

    /// As [`Service::ask_scoped`], of something that need not be there: `None` for `not_found`.
    ///
    /// # Errors
    /// As [`Service::ask`], but for `not_found`.
    pub fn ask_if_there(&self, request: Request, scopes: &str) -> Result<Option<Value>> {
        match self.ask_scoped(request, scopes) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The notes of a check that asks GETs of paths, each with the scope that it needs: the first must be granted, of each other
    /// one that is not there is a note.
    ///
    /// # Errors
    /// As [`Service::ask`]; of the first one also `permission`.
    pub fn check_reads(&self, reads: &[(String, String)]) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        for (number, (path, scope)) in reads.iter().enumerate() {
            match self.ask_scoped(self.get(path), scope) {
                Err(error) if number > 0 && error.kind == ErrorKind::Permission => notes.push(error.message),
                answer => _ = answer?,
            }
        }
        Ok(notes)
    }

    /// The notes of a check that asks requests which do nothing, each with the scope that it needs: the first must be granted, of each
    /// other one that is refused is a note. One that is refused for what it holds was granted.
    ///
    /// # Errors
    /// As [`Service::send`]; of the first one also `auth` and `permission`.
    pub fn check_requests(&self, requests: Vec<(Request, &str)>) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        for (number, (request, scope)) in requests.into_iter().enumerate() {
            match self.send_scoped(request, scope) {
                Err(error) if error.kind == ErrorKind::InvalidData => {}
                Err(error) if number > 0 && matches!(error.kind, ErrorKind::Auth | ErrorKind::Permission) => {
                    notes.push(lacks(scope));
                }
                answer => _ = answer?,
            }
        }
        Ok(notes)
    }

    /// As [`Service::ask_all`], for requests that need scopes of the credential: an error about permissions names them.
    ///
    /// # Errors
    /// As [`Service::ask_all`].
    pub fn ask_all_scoped(&self, request: Request, paging: Paging, records: &str, scopes: &str) -> Result<Vec<Value>> {
        self.ask_all(request, paging, records).map_err(|error| naming(error, scopes))
    }

    /// As [`Service::ask_all`], for what the connector does without where the credential lacks a scope: `None` then, with a warning.
    ///
    /// # Errors
    /// As [`Service::ask_all`], but for `auth`, `permission` and `not_found`.
    pub fn ask_all_granted(&self, request: Request, paging: Paging, records: &str, scope: &str) -> Result<Option<Vec<Value>>> {
        use ErrorKind::{Auth, NotFound, Permission};
        match self.ask_all(request, paging, records) {
            Err(error) if matches!(error.kind, Auth | Permission | NotFound) => {
                runtime::warn(&lacks(scope));
                Ok(None)
            }
            listed => listed.map(Some),
        }
    }

    /// The records of all pages of a list that is small enough to hold; see [`Paging::read_all`]. Read once more where an answer
    /// breaks off.
    ///
    /// # Errors
    /// As [`Service::send`] and [`Paging::read_all`].
    pub fn ask_all(&self, request: Request, paging: Paging, records: &str) -> Result<Vec<Value>> {
        let again = request.0.retry_safe.then(|| request.clone());
        let read = |request| paging.read_all(request, records, |request| self.send(request));
        match (read(request), again) {
            (Err(error), Some(again)) if error.code == "page.no_list" => read(again),
            (all, _) => all,
        }
    }
}

impl Response {
    /// One that stands in another answer.
    pub(crate) fn of(status: u16, body: Vec<u8>) -> Self {
        Self(super::types::Response { status, headers: Vec::new(), body })
    }
}

fn lacks(scope: &str) -> String {
    format!("the credential may lack the scope {scope}")
}

fn naming(error: Error, scopes: &str) -> Error {
    let is_about_scopes = error.kind == ErrorKind::Permission;
    if is_about_scopes { Error { message: format!("the credential lacks one of the scopes {scopes}"), ..error } } else { error }
}
