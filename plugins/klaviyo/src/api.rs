//! One request to Klaviyo and what its refusals mean. Of an error answer only codes and pointers are shown: its words
//! can repeat what was sent.

use affluent_sdk::http::{self, Request, Response};
use affluent_sdk::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::Config;

/// Media type of JSON:API.
const MEDIA_TYPE: &str = "application/vnd.api+json";
/// Errors of an answer that are shown.
const SHOWN_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Api {
    base_url: String,
    revision: String,
}

impl Api {
    pub(crate) fn new(config: &Config) -> Self {
        Self { base_url: config.base_url.trim_end_matches('/').to_owned(), revision: config.revision.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        http::get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str, body: Vec<u8>) -> Request {
        http::post(self.url(path)).body(MEDIA_TYPE, body)
    }

    pub(crate) fn delete(&self, path: &str, body: Vec<u8>) -> Request {
        http::delete(self.url(path)).body(MEDIA_TYPE, body)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// Sends a request that needs these scopes; the answer's document, null for an answer without one.
    ///
    /// # Errors
    /// By status; `permission` names the scopes.
    pub(crate) fn ask(&self, request: Request, scopes: &str) -> Result<Value> {
        let response = request.auth("key").header("revision", &self.revision).header("accept", MEDIA_TYPE).send()?;
        match response.status() {
            204 => Ok(Value::Null),
            200..=299 => response.json(),
            401 => {
                Err(Error::auth("the API key is not accepted: create a private key under Settings > API keys")
                    .code("klaviyo.key"))
            }
            403 => Err(Error::permission(format!("the API key lacks one of the scopes {scopes}")).code("klaviyo.scope")),
            _ => Err(refused(&response)),
        }
    }
}

fn refused(response: &Response) -> Error {
    let error = Error::from_status(response.status(), response.retry_after_ms());
    if error.kind != ErrorKind::InvalidData && error.kind != ErrorKind::NotFound {
        return error;
    }
    let answer: Value = response.json().unwrap_or_default();
    let shown = |one: &Value| format!("`{}` at `{}`", word(text(one, "/code")), word(text(one, "/source/pointer")));
    let errors = answer.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let reasons: Vec<String> = errors.iter().take(SHOWN_MAX).map(shown).collect();
    if reasons.is_empty() { error } else { error.context(&format!("refused with {}", reasons.join(", "))) }
}

/// The text at a pointer, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A code or pointer, and nothing that a code or pointer cannot be.
pub(crate) fn word(text: &str) -> &str {
    let is_plain = text.len() <= 120 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
    if is_plain { text } else { "?" }
}
