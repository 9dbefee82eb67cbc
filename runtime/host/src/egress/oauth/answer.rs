//! What a token endpoint's answer means (RFC 6749 §5): tokens, a refusal that a person must mend, or trouble that passes.
//! Nothing that the endpoint wrote is repeated but an error code of plain letters: the rest may hold the credential.

use serde::Deserialize;

use crate::secret::Secret;

/// Longest token, bytes: it has to fit into a header.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A year, in seconds; what lives longer is taken for as long.
const LIFETIME_SECS_MAX: f64 = 31_536_000.0;

/// Tokens as the endpoint gave them.
pub(super) struct Tokens {
    pub(super) access: Secret,
    /// `None` when the one that was used stays.
    pub(super) refresh: Option<Secret>,
    /// `None` when the endpoint does not say: until it is refused.
    pub(super) lifetime_us: Option<i64>,
}

/// Why there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The refresh token: expired, revoked, or used before.
    Grant,
    /// The client's id or secret.
    Client,
    /// A scope is not allowed to the client.
    Scope,
    /// The endpoint takes the request for a wrong one: the plugin's manifest does not fit it.
    Request,
    /// Refused, and the endpoint does not say what.
    Unsaid,
    /// Not now: another try may help.
    Trouble,
}

/// An answer without tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoTokens {
    pub(super) reason: Reason,
    /// `invalid_grant`, `HTTP 503`, `no JSON`: safe to show.
    pub(super) detail: String,
}

/// The fields of RFC 6749 §5.1 and §5.2; all others are skipped.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    access_token: Option<serde_json::Value>,
    #[serde(default)]
    refresh_token: Option<serde_json::Value>,
    #[serde(default)]
    token_type: Option<serde_json::Value>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// Reads an answer.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Tokens, NoTokens> {
    let fields = serde_json::from_slice::<Fields>(body).ok();
    let code = fields.as_ref().and_then(|fields| plain_code(fields.error.as_ref()));
    match (status, code) {
        (408 | 425 | 429 | 500..=599, _) => Err(none(Reason::Trouble, format!("HTTP {status}"))),
        (200..=299 | 400..=499, Some(code)) => Err(none(reason_of(&code), code)),
        // Some answer every error with 200.
        (200..=299, None) => fields.ok_or_else(|| none(Reason::Trouble, "no JSON".to_owned())).and_then(tokens),
        (400 | 401 | 403, None) => Err(none(Reason::Unsaid, format!("HTTP {status}"))),
        (300..=399, _) => Err(none(Reason::Request, format!("HTTP {status}, a redirect, which no credential follows"))),
        _ => Err(none(Reason::Request, format!("HTTP {status}"))),
    }
}

fn tokens(fields: Fields) -> Result<Tokens, NoTokens> {
    let is_bearer = match &fields.token_type {
        None | Some(serde_json::Value::Null) => true,
        Some(kind) => kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
    };
    if !is_bearer {
        return Err(none(Reason::Request, "a token that is no bearer token".to_owned()));
    }
    let access = token(fields.access_token)?.ok_or_else(|| none(Reason::Trouble, "no access token".to_owned()))?;
    Ok(Tokens { access, refresh: token(fields.refresh_token)?, lifetime_us: lifetime_us(fields.expires_in.as_ref()) })
}

/// A token that can stand in a header; `None` where there is none.
fn token(value: Option<serde_json::Value>) -> Result<Option<Secret>, NoTokens> {
    let Some(serde_json::Value::String(token)) = value else { return Ok(None) };
    let secret = Secret::new(token);
    let is_printable = secret.expose().bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !is_printable || secret.expose().len() > TOKEN_BYTES_MAX {
        return Err(none(Reason::Request, "a token that no header can carry".to_owned()));
    }
    Ok(Some(secret).filter(|secret| !secret.expose().is_empty()))
}

/// Seconds as a number or a text; anything else is as if it were not said.
fn lifetime_us(value: Option<&serde_json::Value>) -> Option<i64> {
    let seconds = match value? {
        serde_json::Value::Number(number) => number.as_f64()?,
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (seconds >= 0.0).then(|| (seconds.min(LIFETIME_SECS_MAX) * 1e6) as i64)
}

fn reason_of(code: &str) -> Reason {
    match code {
        "invalid_grant" => Reason::Grant,
        "invalid_client" | "unauthorized_client" | "access_denied" => Reason::Client,
        "invalid_scope" => Reason::Scope,
        "invalid_request" | "unsupported_grant_type" => Reason::Request,
        "server_error" | "temporarily_unavailable" | "slow_down" => Reason::Trouble,
        _ => Reason::Unsaid,
    }
}

/// A code of lower-case letters and `_`, at most 40; anything else is no code.
fn plain_code(value: Option<&serde_json::Value>) -> Option<String> {
    let code = value?.as_str()?;
    let is_plain = (1..=40).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    Some(if is_plain { code.to_owned() } else { "an error of its own".to_owned() })
}

fn none(reason: Reason, detail: String) -> NoTokens {
    NoTokens { reason, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: u16, body: &str) -> String {
        match read(status, body.as_bytes()) {
            Ok(Tokens { access, refresh, lifetime_us }) => {
                let refresh = refresh.map_or_else(|| "-".to_owned(), |refresh| refresh.expose().to_owned());
                format!("{} {refresh} {lifetime_us:?}", access.expose())
            }
            Err(NoTokens { reason, detail }) => format!("{reason:?}: {detail}"),
        }
    }

    #[test]
    fn an_answer_is_tokens_a_refusal_or_trouble() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(TOKEN_BYTES_MAX + 1));
        for (status, body, expected) in [
            (200, r#"{"access_token":"A","token_type":"bearer","expires_in":3600,"refresh_token":"R"}"#, "A R Some(3600000000)"),
            (200, r#"{"access_token":"A"}"#, "A - None"),
            (
                201,
                r#"{"access_token":"A","token_type":"Bearer","expires_in":"1800","refresh_token":null}"#,
                "A - Some(1800000000)",
            ),
            (200, r#"{"access_token":"A","expires_in":-5,"refresh_token":""}"#, "A - None"),
            (200, r#"{"access_token":"A","expires_in":"soon","instance_url":"https://x.test"}"#, "A - None"),
            (200, r#"{"access_token":"A","expires_in":1e99}"#, "A - Some(31536000000000)"),
            (200, r#"{"access_token":"A","token_type":"mac"}"#, "Request: a token that is no bearer token"),
            (200, r#"{"access_token":"A\r\nX: y"}"#, "Request: a token that no header can carry"),
            (200, &long, "Request: a token that no header can carry"),
            (200, r#"{"access_token":""}"#, "Trouble: no access token"),
            (200, r#"{"access_token":{"a":1}}"#, "Trouble: no access token"),
            (200, "<html>maintenance</html>", "Trouble: no JSON"),
            (200, r#"{"access_token":"A"#, "Trouble: no JSON"),
            (200, "null", "Trouble: no JSON"),
            (204, "", "Trouble: no JSON"),
            (200, r#"{"error":"invalid_grant"}"#, "Grant: invalid_grant"),
            (400, r#"{"error":"invalid_grant","error_description":"token R-1 is revoked"}"#, "Grant: invalid_grant"),
            (401, r#"{"error":"invalid_client"}"#, "Client: invalid_client"),
            (400, r#"{"error":"unauthorized_client"}"#, "Client: unauthorized_client"),
            (400, r#"{"error":"invalid_scope"}"#, "Scope: invalid_scope"),
            (400, r#"{"error":"unsupported_grant_type"}"#, "Request: unsupported_grant_type"),
            (400, r#"{"error":"temporarily_unavailable"}"#, "Trouble: temporarily_unavailable"),
            (400, r#"{"error":"R-1 is not known"}"#, "Unsaid: an error of its own"),
            (400, r#"{"status":"BAD_REFRESH_TOKEN","message":"R-1"}"#, "Unsaid: HTTP 400"),
            (401, "", "Unsaid: HTTP 401"),
            (403, "<html>", "Unsaid: HTTP 403"),
            (404, "<html>", "Request: HTTP 404"),
            (302, "", "Request: HTTP 302, a redirect, which no credential follows"),
            (429, r#"{"error":"invalid_grant"}"#, "Trouble: HTTP 429"),
            (500, r#"{"error":"invalid_grant"}"#, "Trouble: HTTP 500"),
            (503, "", "Trouble: HTTP 503"),
        ] {
            assert_eq!(shown(status, body), expected, "{status} {body}");
        }
    }
}
