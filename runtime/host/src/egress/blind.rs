//! Where a request changes from tokens to values: after everything about it was checked and recorded, beside the
//! credential. Answers change back.

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::Egress;
use super::redact::StreamScrubber;
use super::request::{BODY_BYTES_MAX, Outgoing};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::blind::{self, AnswerScrubber, BatchValues, BodyKind, Refusal};

impl Egress {
    /// Puts the values of the batch at hand where the request has their tokens.
    ///
    /// # Errors
    /// `denied` for a token that stands for nothing or stands where no value may; an audit event with its reason.
    pub(super) fn put_values_in(&self, outgoing: &mut Outgoing) -> Result<(), HttpError> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let values = tokens.values().unwrap_or_else(|| Arc::new(BatchValues::with_capacity(0, 0)));
        put_values_in(outgoing, &values).map_err(|refusal| {
            let host = outgoing.url.host_str().unwrap_or_default();
            // A host that begins like a token is not shown: it may be one.
            let host = if refusal == Refusal::Host { "a token" } else { host };
            self.refusals(host).refuse(HttpError::Denied(refusal.to_string()))
        })
    }

    /// Clears an answer's body also of the values that were sent.
    pub(super) fn without_values(&self, scrubber: StreamScrubber, headers: &HeaderMap) -> StreamScrubber {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match self.sent_values() {
            Some(values) => scrubber.then(AnswerScrubber::new(values, content_type)),
            None => scrubber,
        }
    }

    /// A text with tokens in place of the values that were sent.
    pub(super) fn clean_of_values(&self, text: String) -> String {
        match self.sent_values() {
            Some(values) => blind::clean_text(&values, &text),
            None => text,
        }
    }

    fn sent_values(&self) -> Option<Arc<BatchValues>> {
        self.tokens.as_ref()?.values().filter(|values| !values.is_empty())
    }
}

fn put_values_in(outgoing: &mut Outgoing, values: &BatchValues) -> Result<(), Refusal> {
    let url = &outgoing.url;
    let authority = [url.host_str().unwrap_or_default(), url.username(), url.password().unwrap_or_default()];
    if authority.into_iter().any(|part| blind::has_token(part.as_bytes())) {
        return Err(Refusal::Host);
    }
    if outgoing.headers.values().any(|value| blind::has_token(value.as_bytes())) {
        return Err(Refusal::Header);
    }
    let in_path = blind::has_token(url.path().as_bytes());
    let in_query = url.query().is_some_and(|query| blind::has_token(query.as_bytes()));
    let in_body = outgoing.body.as_ref().is_some_and(|body| blind::has_token(body));
    if !outgoing.is_first_origin && (in_path || in_query || in_body) {
        return Err(Refusal::Redirected);
    }
    if in_path {
        let path = blind::in_url(outgoing.url.path(), true, values)?;
        outgoing.url.set_path(&path);
    }
    if in_query {
        let query = outgoing.url.query().map(|query| blind::in_url(query, false, values)).transpose()?;
        outgoing.url.set_query(query.as_deref());
    }
    if let Some(body) = outgoing.body.as_mut().filter(|_| in_body) {
        let content_type = outgoing.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = BodyKind::of(content_type).ok_or(Refusal::MediaType)?;
        *body = blind::in_body(body, kind, values, BODY_BYTES_MAX)?;
    }
    Ok(())
}
