//! Verifies webhooks: requests that a service signs as its plugin's manifest says. The plugin has no part in it and sees
//! nothing of them. What was signed is known from the configuration and the request; nothing that a proxy adds is believed.

use affluent_model::limits::WEBHOOK_REQUEST_DAYS;
use affluent_model::manifest::{Timestamp, TimestampForm, Webhooks};
use affluent_model::webhook::{Asked, Webhook, WebhookCheck, WebhookRequest};
use affluent_model::{Error, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::signing::{SecretByName, Signed, UrlTexts, decoded, is_mac, key_bytes};

/// Characters of an id that is told of whom a request is about.
const ABOUT_CHARACTERS_MAX: usize = 64;

/// Whether the service signed this request, for this address, and not longer ago than it says.
///
/// Compares signatures in constant time. `url` is the address that the service was given, as it was given.
///
/// # Errors
/// Those of `secret`; `E0819` when the secret is not of the form that the manifest says; a bug when the address is signed and
/// not known.
pub(crate) fn verify(
    webhooks: &Webhooks,
    url: Option<&str>,
    request: &WebhookRequest,
    now_us: i64,
    secret: SecretByName<'_, Error>,
) -> Result<WebhookCheck> {
    let slot = &webhooks.signature;
    let headers = headers_of(request);
    let signature = match only(&headers, &slot.name) {
        Ok(text) => text.strip_prefix(slot.prefix.as_deref().unwrap_or_default()).and_then(|text| decoded(text, slot.encoding)),
        Err(wrong) => return Ok(WebhookCheck::Refused(wrong)),
    };
    let Some(signature) = signature else {
        return Ok(WebhookCheck::Refused("its signature is not written as its service writes them"));
    };
    let (timestamp, expires_after_ms) = match time_left(webhooks, &headers, now_us) {
        Ok(time) => time,
        Err(wrong) => return Ok(WebhookCheck::Refused(wrong)),
    };
    let url = url.map(|url| (url, Url::parse(url)));
    let url = match &url {
        Some((text, Ok(url))) => UrlTexts { whole: (*text).into(), ..UrlTexts::of(url) },
        _ if webhooks.signs_url() => {
            return Err(Error::bug("the address of signed webhooks passed validation without being one"));
        }
        _ => UrlTexts::default(),
    };
    let url = url.unescaped(&webhooks.url_unescaped);
    let signed = Signed { method: &request.method, url, headers: &headers, body: &request.body, timestamp };
    let key = key_bytes(secret(&slot.secret)?.expose(), slot.secret_form).map_err(|what| {
        Error::configuration("E0819", format!("the secret `{}` is no {what}", slot.secret)).help("copy it again from the service")
    })?;
    if !is_mac(slot.algorithm, &key, &signed.parts(slot, secret)?, &signature) {
        return Ok(WebhookCheck::Refused("its signature does not fit: another secret, another address, or not from the service"));
    }
    let asks = asked(webhooks, &headers, &request.body);
    Ok(WebhookCheck::Genuine(Webhook { signature, expires_after_ms, asks }))
}

/// What can be a header of HTTP.
fn headers_of(request: &WebhookRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// The text of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(text)), None) => Ok(text),
        (None, _) => Err("it lacks a header that its service signs with"),
        (Some(_), _) => Err("a header that its service signs with is there twice or is no text"),
    }
}

/// The signed time as it is written, and the milliseconds that are left of its age; nothing where no time is signed.
fn time_left<'a>(webhooks: &Webhooks, headers: &'a HeaderMap, now_us: i64) -> Result<(&'a str, Option<u64>), &'static str> {
    let Some(Timestamp { name, form }) = &webhooks.signature.timestamp else { return Ok(("", None)) };
    let text = only(headers, name)?;
    let at_us = instant_us(text, *form).ok_or("its time is not written as its service writes it")?;
    let age_us = i64::from(webhooks.max_age_s.unwrap_or(0)).saturating_mul(1_000_000);
    let left_us = at_us.saturating_add(age_us).saturating_sub(now_us);
    if left_us < 0 {
        return Err("it was signed too long ago");
    }
    if at_us.saturating_sub(now_us) > age_us {
        return Err("its time is still to come: compare the clocks");
    }
    Ok((text, Some(u64::try_from(left_us).unwrap_or(0) / 1_000 + 1)))
}

fn instant_us(text: &str, form: TimestampForm) -> Option<i64> {
    let number = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    match form {
        TimestampForm::Seconds => number()?.checked_mul(1_000_000),
        TimestampForm::Milliseconds => number()?.checked_mul(1_000),
        TimestampForm::Rfc3339 => crate::codec::parse_timestamp(text),
        TimestampForm::HttpDate => {
            let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since_epoch.as_micros()).ok()
        }
    }
}

impl UrlTexts<'_> {
    /// The same with the percent-encodings of these characters undone.
    fn unescaped(self, characters: &str) -> UrlTexts<'static> {
        let plain = |text: &str| unescaped(text, characters).into();
        UrlTexts {
            whole: plain(&self.whole),
            host: plain(&self.host),
            path: plain(&self.path),
            query: plain(&self.query),
            path_and_query: plain(&self.path_and_query),
        }
    }
}

fn unescaped(text: &str, characters: &str) -> String {
    let mut pieces = text.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        match (code.filter(|code| characters.contains(*code)), piece.get(2..)) {
            (Some(code), Some(rest)) => plain.extend([code.encode_utf8(&mut [0; 4]), rest]),
            _ => plain.extend(["%", piece]),
        }
    }
    plain
}

/// What a genuine request asks of a person. The header that says so need not be signed, so that nothing is done by it alone.
fn asked(webhooks: &Webhooks, headers: &HeaderMap, body: &[u8]) -> Option<Asked> {
    let requests = webhooks.requests.as_ref()?;
    let header = headers.get(requests.header.as_str())?.to_str().ok()?;
    let topic = requests.topics.iter().find(|topic| *topic == header)?.clone();
    let about = requests.about.as_ref().and_then(|pointer| {
        let body: Value = serde_json::from_slice(body).ok()?;
        match body.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    });
    let is_id = |text: &String| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=ABOUT_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(allowed)
    };
    Some(Asked { topic, about: about.filter(is_id), within_days: requests.within_days.unwrap_or(WEBHOOK_REQUEST_DAYS) })
}

#[cfg(test)]
mod tests;
