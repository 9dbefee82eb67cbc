//! Requests to Klaviyo and what its refusals mean. Of an error answer only codes and pointers are shown: its words can
//! repeat what was sent.

use affluent_sdk::ErrorKind::{Auth, Permission};
use affluent_sdk::http::{Meaning, Reasons, Request, Service};
use affluent_sdk::paging::Paging;
use affluent_sdk::{Error, Result};
use serde_json::Value;

use crate::Config;

/// Media type of JSON:API.
const MEDIA_TYPE: &str = "application/vnd.api+json";
/// The link to the next page may lead elsewhere: only its cursor is taken.
const PAGES: Paging = Paging::CursorInLink { pointer: "/links/next", parameter: "page[cursor]" };
const KEY: &str = "the API key is not accepted: create a private key under Settings > API keys";
const SCOPE: &str = "the API key lacks one of the scopes";
const MEANINGS: &[Meaning] =
    &[Meaning::new(&[401], Auth, "klaviyo.key", KEY), Meaning::new(&[403], Permission, "klaviyo.scope", SCOPE)];

pub(crate) fn service(config: &Config) -> Service {
    Service::new(&config.base_url, "key")
        .media_type(MEDIA_TYPE)
        .header("revision", &config.revision)
        .header("accept", MEDIA_TYPE)
        .meanings(MEANINGS)
        .reasons(Reasons::JSON_API)
}

/// Sends a request that needs these scopes; an error about scopes names them.
pub(crate) fn ask(service: &Service, request: Request, scopes: &str) -> Result<Value> {
    service.ask(request).map_err(|error| naming(error, scopes))
}

/// As [`ask`]: the records of all pages.
pub(crate) fn ask_all(service: &Service, request: Request, scopes: &str) -> Result<Vec<Value>> {
    service.ask_all(request, PAGES, "/data").map_err(|error| naming(error, scopes))
}

fn naming(error: Error, scopes: &str) -> Error {
    if error.kind == Permission { Error { message: format!("{SCOPE} {scopes}"), ..error } } else { error }
}
