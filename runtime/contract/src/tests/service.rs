//! The service that the connector is for: items in pages, and a place to write them to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::clock::JumpingClock;
use crate::proxy::{Answer, Proxy, Request, Upstream};

pub(super) const TOKEN: &str = "token-of-the-test-0123456789";
const ITEMS: u64 = 13;

pub(super) struct Service {
    pub(super) origin: String,
    _server: Proxy,
}

impl Service {
    pub(super) async fn start() -> Self {
        let server = Proxy::start(Upstream::Handler(Arc::new(answer)), Arc::new(JumpingClock::default())).await.unwrap();
        Self { origin: server.origin.clone(), _server: server }
    }
}

fn answer(request: &Request) -> Answer {
    let is_authorised =
        request.headers.iter().any(|(name, value)| name == "authorization" && *value == format!("Bearer {TOKEN}"));
    let is_assertion = request.body.starts_with(b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    if request.target == "/oauth/token" && is_assertion {
        return Answer::json(200, &json!({"access_token": TOKEN, "token_type": "Bearer"}).to_string());
    }
    if !is_authorised {
        return Answer::json(401, "{}");
    }
    match request.method.as_str() {
        "GET" => read(&request.target),
        _ => write(&request.body),
    }
}

fn parameter(target: &str, name: &str) -> u64 {
    let query = target.split('?').nth(1).unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn read(target: &str) -> Answer {
    let (cursor, limit) = (parameter(target, "cursor"), parameter(target, "limit").max(1));
    let since = parameter(target, "since");
    let all = (0..ITEMS).filter(|id| updated(*id) > since);
    let items: Vec<Value> =
        all.clone().skip(usize::try_from(cursor).unwrap()).take(usize::try_from(limit).unwrap()).map(item).collect();
    let end = cursor + u64::try_from(items.len()).unwrap();
    let next = (end < u64::try_from(all.count()).unwrap()).then_some(end);
    Answer::json(200, &json!({"items": items, "next": next}).to_string())
}

fn updated(id: u64) -> u64 {
    1_700_000_000_000_000 + id * 1_000_000
}

fn item(id: u64) -> Value {
    let email = (id % 4 != 1).then(|| format!("person.{id}@people.example"));
    json!({"id": id, "name": format!("item {id}"), "email": email, "updated": updated(id)})
}

/// Items named `poison` are refused by their place.
fn write(body: &[u8]) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Answer::json(400, "{}") };
    let items = body["items"].as_array().cloned().unwrap_or_default();
    let refused: Vec<usize> =
        items.iter().enumerate().filter(|(_, item)| item["name"] == "poison").map(|(place, _)| place).collect();
    Answer::json(200, &json!({"refused": refused}).to_string())
}
