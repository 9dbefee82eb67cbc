//! Playing exchanges from a file that `affluent run --record` or `affluent plugin test --record` wrote.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{on_http, set_now_us};
use crate::bindings::imports::affluent::plugin::http::{HttpError, Request, Response};
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct Header {
    recording: u32,
    recorded_at_us: i64,
}

#[derive(Deserialize)]
struct Exchange {
    request: Sent,
    response: Option<Given>,
    failure: Option<Failed>,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    url: String,
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Given {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<Body>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failed {
    Connect,
    Timeout,
    TooLarge,
    Invalid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    json: Option<Box<RawValue>>,
    text: Option<String>,
}

impl Body {
    fn bytes(body: Option<Self>) -> Vec<u8> {
        let text = body.and_then(|body| body.json.map(|json| json.get().to_owned()).or(body.text));
        text.unwrap_or_default().into_bytes()
    }
}

type Answers = Vec<Result<Response, HttpError>>;

/// Answers every request from now on as a recording did, and sets the clock to its time. `lines` is the text of one
/// `NAME.exchanges.jsonl`, for instance by `include_str!`. The same request gets its answers in their order, the last one again
/// after that; a request that was not recorded is denied, with its method and URL without the query.
///
/// ```
/// use affluent_sdk::{http, testing};
///
/// testing::play(r#"{"recording":1,"connection":"shop","plugin":"shop","recorded_at_us":0,"seed":""}
/// {"request":{"method":"GET","url":"https://shop.test/orders"},"response":{"status":200,"body":{"json":[{"id":7}]}}}"#)?;
///
/// assert_eq!(http::get("https://shop.test/orders").send()?.body(), br#"[{"id":7}]"#);
/// assert!(http::get("https://shop.test/other").send().is_err());
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
///
/// # Errors
/// `config` with the line for a text that is no recording of version 1, or holds a body that is not text.
pub fn play(lines: &str) -> Result<()> {
    let wrong = |line: usize, what: &str| Error::config(format!("line {line} of the recording {what}"));
    let mut lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header: Header =
        lines.next().and_then(|(_, line)| serde_json::from_str(line).ok()).ok_or_else(|| wrong(1, "is no header"))?;
    if header.recording != 1 {
        return Err(wrong(1, "is of another version than 1"));
    }
    let mut answers: HashMap<(String, String, Vec<u8>), Answers> = HashMap::new();
    for (number, line) in lines {
        let exchange: Exchange =
            serde_json::from_str(line).map_err(|_| wrong(number + 1, "is no exchange that a native test can play"))?;
        let Sent { method, url, body } = exchange.request;
        let answer = match (exchange.response, exchange.failure) {
            (Some(Given { status, headers, body }), None) => Ok(Response { status, headers, body: Body::bytes(body) }),
            (None, Some(failure)) => Err(failed(failure)),
            _ => return Err(wrong(number + 1, "has neither a response nor a failure, or both")),
        };
        answers.entry((method, url, Body::bytes(body))).or_default().push(answer);
    }
    answers.values_mut().for_each(|answers| answers.reverse());
    set_now_us(header.recorded_at_us);
    on_http(move |request| answer(&mut answers, request));
    Ok(())
}

fn answer(answers: &mut HashMap<(String, String, Vec<u8>), Answers>, request: &Request) -> Result<Response, HttpError> {
    let key = (request.method.clone(), request.url.clone(), request.body.clone().unwrap_or_default());
    let unknown = || {
        let place = request.url.split('?').next().unwrap_or_default();
        HttpError::Denied(format!("the recording has no answer to {} {place}", request.method))
    };
    let known = answers.get_mut(&key).ok_or_else(unknown)?;
    let last = known.last().cloned().ok_or_else(unknown)?;
    if known.len() > 1 {
        known.pop();
    }
    last
}

fn failed(failure: Failed) -> HttpError {
    match failure {
        Failed::Connect => HttpError::Connect("as recorded".to_owned()),
        Failed::Timeout => HttpError::Timeout,
        Failed::TooLarge => HttpError::TooLarge(0),
        Failed::Invalid => HttpError::Invalid("as recorded".to_owned()),
    }
}
