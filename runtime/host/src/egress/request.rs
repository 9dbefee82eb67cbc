//! A guest's request, checked and cleaned: its method, URL, headers and body as they may leave, and the credential that
//! the named auth slot adds. Headers that decide where a request goes or who it comes from are the host's alone.

use affluent_model::manifest::AuthSlot;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::signature::SecretByName;
use crate::bindings::affluent::plugin::http::{HttpError, Request};
use crate::secret::Secret;

/// Headers of one request (security B-24 bounds those of answers alike).
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 32 << 10;
const URL_BYTES_MAX: usize = 16 << 10;
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Set by the host or by nobody (security B-21); `proxy-…` and `sec-…` too.
const HOST_HEADERS: [&str; 15] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "forwarded",
    "accept-encoding",
    "http2-settings",
    "x-forwarded-host",
];

/// A request that may leave once its host is granted.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// No redirect led it to another origin than the guest named.
    pub(crate) is_first_origin: bool,
}

impl Outgoing {
    /// # Errors
    /// `invalid` with what is wrong with the request.
    pub(crate) fn check(request: Request) -> Result<Self, HttpError> {
        let method = METHODS.into_iter().find(|known| *known == request.method);
        let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let method = method.ok_or_else(|| invalid("the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))?;
        if request.url.len() > URL_BYTES_MAX {
            return Err(invalid("the URL is longer than 16 KiB"));
        }
        if request.url.chars().any(char::is_control) {
            return Err(invalid("the URL holds control characters"));
        }
        let mut url = Url::parse(&request.url).map_err(|_| invalid("the URL is not absolute or not valid"))?;
        url.set_fragment(None);
        if request.body.as_ref().is_some_and(|body| body.len() > BODY_BYTES_MAX) {
            return Err(invalid("the body is larger than 32 MiB"));
        }
        Ok(Self { method, url, headers: clean_headers(&request.headers)?, body: request.body, is_first_origin: true })
    }

    /// The place a redirect leads to; `None` when it is not to be followed and the guest gets the answer.
    pub(crate) fn redirected(&self, status: u16, location: Option<&str>) -> Option<Self> {
        let to = self.url.join(location?).ok()?;
        let same_origin = to.origin() == self.url.origin();
        let is_read = matches!(self.method, Method::GET | Method::HEAD);
        let (method, body) = match status {
            303 if !is_read => (Method::GET, None),
            301 | 302 | 303 | 307 | 308 if is_read => (self.method.clone(), None),
            // A body is never sent again to another origin.
            307 | 308 if same_origin => (self.method.clone(), self.body.clone()),
            _ => return None,
        };
        let mut headers = self.headers.clone();
        if body.is_none() {
            headers.remove(reqwest::header::CONTENT_TYPE);
        }
        let mut url = to;
        url.set_fragment(None);
        Some(Self { method, url, headers, body, is_first_origin: self.is_first_origin && same_origin })
    }

    /// Adds the credential. Gives the form in which it leaves when it is not the secret itself.
    ///
    /// # Errors
    /// Those of `secret`; `invalid` when a secret cannot stand in a header, or is no key of the form that the slot says.
    pub(crate) fn add_credential(
        &mut self,
        slot: &AuthSlot,
        now_us: i64,
        secret: SecretByName<'_>,
    ) -> Result<Option<Secret>, HttpError> {
        match slot {
            AuthSlot::Bearer { secret: name } => {
                self.add_secret_header("authorization", &format!("Bearer {}", secret(name)?.expose()))?;
            }
            AuthSlot::Header { name, prefix, secret: of } => {
                let prefix = prefix.as_deref().unwrap_or_default();
                let name = name.as_deref().unwrap_or("authorization");
                self.add_secret_header(name, &format!("{prefix}{}", secret(of)?.expose()))?;
            }
            AuthSlot::Basic { user, secret: of } => {
                let encoded = STANDARD.encode(format!("{}:{}", user.as_deref().unwrap_or_default(), secret(of)?.expose()));
                self.add_secret_header("authorization", &format!("Basic {encoded}"))?;
                return Ok(Some(Secret::new(encoded)));
            }
            AuthSlot::Query { name, prefix, secret: of } => {
                let value = format!("{}{}", prefix.as_deref().unwrap_or_default(), secret(of)?.expose());
                self.url.query_pairs_mut().append_pair(name.as_deref().unwrap_or("key"), &value);
            }
            AuthSlot::Hmac(signature) => return self.sign(signature, now_us, secret).map(Some),
            AuthSlot::ClientCredentials(_) | AuthSlot::Refresh(_) | AuthSlot::JwtBearer(_) => {
                return Err(invalid("the auth slot has no access token"));
            }
        }
        Ok(None)
    }

    /// Sets a header that says nothing secret.
    ///
    /// # Errors
    /// `invalid` for a name or value that no header can have.
    pub(super) fn set_header(&mut self, name: &str, value: &str) -> Result<(), HttpError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("the auth slot's header name is not valid"))?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid("the auth slot's header value is not valid"))?;
        self.headers.insert(name, value);
        Ok(())
    }

    pub(super) fn add_secret_header(&mut self, name: &str, value: &str) -> Result<(), HttpError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("the auth slot's header name is not valid"))?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| invalid("the secret holds characters that no header may hold"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }
}

fn clean_headers(headers: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(invalid("more than 100 headers or 32 KiB of them"));
    }
    let mut clean = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("a header's name is not valid"))?;
        let is_hosts =
            HOST_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-") || name.as_str().starts_with("sec-");
        if !is_hosts {
            let value = HeaderValue::from_str(value).map_err(|_| invalid("a header's value is not valid"))?;
            clean.append(name, value);
        }
    }
    Ok(clean)
}

pub(super) fn invalid(reason: &str) -> HttpError {
    HttpError::Invalid(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (method, url) = (method.to_owned(), url.to_owned());
        Request { method, url, headers, body: None, auth: None, timeout_ms: None, cost: None, retry_safe: true }
    }

    #[test]
    fn headers_that_are_the_hosts_are_stripped() {
        let forbidden =
            ["Authorization", "Cookie", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Proxy-Authorization"];
        let headers: Vec<_> = forbidden.iter().chain(&["X-Mine"]).map(|name| (*name, "v")).collect();

        let outgoing = Outgoing::check(request("GET", "https://a.test", &headers)).unwrap();

        assert_eq!(outgoing.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
    }

    #[test]
    fn requests_that_could_be_split_or_misread_are_refused() {
        let refused = [
            request("GET /x HTTP/1.1\r\n", "https://a.test", &[]),
            request("CONNECT", "https://a.test", &[]),
            request("get", "https://a.test", &[]),
            request("GET", "/relative", &[]),
            request("GET", "https://", &[]),
            request("GET", "https://a.test", &[("x", "a\r\nhost: evil")]),
            request("GET", "https://a.test", &[("x y", "a")]),
            request("GET", "https://a.test", &[("a", "b"); 101]),
        ];
        for request in refused {
            assert!(matches!(Outgoing::check(request.clone()), Err(HttpError::Invalid(_))), "{request:?}");
        }
    }

    #[test]
    fn a_credential_goes_where_its_slot_says() {
        let secret = |_: &str| Ok(Arc::new(Secret::new("s+ecret".to_owned())));
        let mut sent = Vec::new();
        for slot in [
            json!({"type": "bearer", "secret": "s"}),
            json!({"type": "header", "name": "X-Key", "prefix": "K ", "secret": "s"}),
            json!({"type": "basic", "user": "me", "secret": "s"}),
            json!({"type": "query", "name": "X-Key", "prefix": "K ", "secret": "s"}),
        ] {
            let slot: AuthSlot = serde_json::from_value(slot).unwrap();
            let mut outgoing = Outgoing::check(request("GET", "https://a.test/?a=1", &[])).unwrap();
            outgoing.add_credential(&slot, 0, &secret).unwrap();
            let headers = outgoing.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            sent.push(headers.chain([outgoing.url.query().unwrap().to_owned()]).collect::<Vec<_>>().join(", "));
        }
        let expected = [
            "authorization: Bearer s+ecret, a=1",
            "x-key: K s+ecret, a=1",
            "authorization: Basic bWU6cytlY3JldA==, a=1",
            "a=1&X-Key=K+s%2Becret",
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_redirect_never_takes_a_body_to_another_origin() {
        let mut post = Outgoing::check(request("POST", "https://a.test/x", &[])).unwrap();
        post.body = Some(b"data".to_vec());
        let follow =
            |status, location| post.redirected(status, Some(location)).map(|next| (next.method.to_string(), next.body.is_some()));

        assert_eq!(follow(307, "/y"), Some(("POST".to_owned(), true)));
        assert_eq!(follow(307, "https://b.test/y"), None);
        assert_eq!(follow(303, "https://b.test/y"), Some(("GET".to_owned(), false)));
        assert_eq!(follow(302, "/y"), None);
        assert!(post.redirected(307, None).is_none());
    }
}
