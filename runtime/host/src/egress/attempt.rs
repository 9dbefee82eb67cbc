//! One try of one request: leave from the budget, the checks, up to three redirects, the answer within its limits, and
//! the verdict whether another try may help.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;
use zeroize::Zeroizing;

use super::address::AddressPolicy;
use super::body::{BodyLimits, BodyReader};
use super::budget;
use super::client::check_literal;
use super::error::transport_error;
use super::redact::{Scrubber, StreamScrubber};
use super::redirect::Trail;
use super::refusal::Refusals;
use super::request::Outgoing;
use super::{Access, Answer, AnswerBody, Ask, BodyMode, Egress, retry};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::options::{LogEvent, LogLevel};

/// A whole request; bulk exports that are read piece by piece have an hour (security B-24).
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
const STREAM_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Headers of an answer (security B-24).
pub(super) const HEADERS_MAX: usize = 100;
pub(super) const HEADER_BYTES_MAX: usize = 32 << 10;

/// What a request carries: the slot that the guest named, and the access token where the slot has one.
#[derive(Clone)]
pub(super) struct Credential<'a> {
    pub(super) slot: &'a str,
    pub(super) access: Option<Arc<Access>>,
}

/// What became of a try.
pub(super) enum Attempt {
    Done(Answer),
    /// 401: the credential may have been renewed since.
    Unauthorized(Answer),
    Again {
        pause: Option<Duration>,
        give_up: GiveUp,
    },
}

/// What the guest gets when there is no further try.
pub(super) enum GiveUp {
    Answer(Answer),
    /// The remote asked to wait; the answer is for guests that repeat by themselves.
    Throttled(Answer),
    Error(HttpError),
}

impl GiveUp {
    pub(super) fn into_result(self, retry_safe: bool, pause: Option<Duration>) -> Result<Answer, HttpError> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Throttled(answer) if !retry_safe => Ok(answer),
            Self::Throttled(_) => {
                let wait_ms = pause.map_or(1_000, |pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                Err(HttpError::RateLimited(wait_ms))
            }
            Self::Error(error) => Err(error),
        }
    }
}

/// The guest's own limit, within the host's.
pub(super) fn timeout(asked_ms: Option<u32>) -> Duration {
    asked_ms.map_or(TIMEOUT_MAX, |ms| Duration::from_millis(u64::from(ms.max(1)))).min(TIMEOUT_MAX)
}

impl Egress {
    /// Errors here are final; those that another try may cure are in [`Attempt::Again`].
    pub(super) async fn attempt(
        &self,
        outgoing: &Outgoing,
        auth: Option<&Credential<'_>>,
        ask: Ask,
    ) -> Result<Attempt, HttpError> {
        let wanted = budget::Ask { method: outgoing.method.as_str(), path: outgoing.url.path(), cost: ask.cost };
        let leave = self.budget.acquire(wanted, &self.waits).await?;
        if self.waits.is_cancelled() {
            self.budget.settle(leave, None);
            return Err(HttpError::Cancelled);
        }
        let answer = self.exchange_or_replay(outgoing, auth, ask).await;
        let body = answer.as_ref().ok().and_then(|(answer, _)| match &answer.body {
            AnswerBody::Whole(body) => Some(body.as_slice()),
            AnswerBody::Stream(_) => None,
        });
        let throttled = self.budget.settle(leave, body);
        match answer {
            Ok((answer, retry_after)) => {
                if answer.status != 401
                    && let Some(access) = auth.and_then(|auth| auth.access.as_ref())
                {
                    access.note_worked();
                }
                Ok(self.judge(answer, retry_after, throttled))
            }
            Err(error @ (HttpError::Connect(_) | HttpError::Timeout)) => {
                Ok(Attempt::Again { pause: None, give_up: GiveUp::Error(error) })
            }
            Err(error) => Err(error),
        }
    }

    fn judge(&self, answer: Answer, retry_after: Option<Duration>, throttled: Option<Duration>) -> Attempt {
        if throttled.is_some() && answer.status == 200 {
            return Attempt::Again { pause: throttled, give_up: GiveUp::Throttled(answer) };
        }
        match answer.status {
            401 => Attempt::Unauthorized(answer),
            429 | 503 if answer.status == 429 || retry_after.is_some() => {
                // The other instances on the account hold back too.
                if let Some(pause) = retry_after {
                    self.budget.pause_for(pause);
                }
                Attempt::Again { pause: retry_after, give_up: GiveUp::Throttled(answer) }
            }
            status if retry::is_worth_repeating(status) => Attempt::Again { pause: retry_after, give_up: GiveUp::Answer(answer) },
            _ => Attempt::Done(answer),
        }
    }

    /// Sends, follows redirects, reads the answer.
    pub(super) async fn exchange(
        &self,
        first: Outgoing,
        auth: Option<&Credential<'_>>,
        ask: Ask,
    ) -> Result<(Answer, Option<Duration>), HttpError> {
        let mut trail = Trail::new(first, auth);
        loop {
            let refusals = self.refusals(trail.next.url.host_str().unwrap_or_default());
            let policy = self.check_destination(&trail.next.url)?;
            let started = self.caller.options.clock.monotonic();
            let response = self.send_once(&trail.next, trail.auth, &policy, ask).await?;
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let sent = trail.next.clone();
            if trail.follow(status, location).map_err(|error| refusals.refuse(error))? {
                self.log_request(&sent, status, 0, started);
                continue;
            }
            let retry_after = self.asked_for(status, response.headers());
            let scrubber = self.secrets.scrubber();
            let (answer, bytes) = self.read(response, ask.mode, scrubber, refusals).await?;
            self.log_request(&sent, status, bytes, started);
            return Ok((answer, retry_after));
        }
    }

    /// The wait that an answer asks for.
    fn asked_for(&self, status: u16, headers: &HeaderMap) -> Option<Duration> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        retry::asked_for(status, header, self.caller.options.clock.now_us())
    }

    async fn send_once(
        &self,
        outgoing: &Outgoing,
        auth: Option<&Credential<'_>>,
        policy: &AddressPolicy,
        ask: Ask,
    ) -> Result<reqwest::Response, HttpError> {
        let refusals = self.refusals(outgoing.url.host_str().unwrap_or_default());
        let mut outgoing = outgoing.clone();
        self.put_values_in(&mut outgoing)?;
        if let Some(credential) = auth {
            self.add_credential(&mut outgoing, credential).map_err(|error| refusals.refuse(error))?;
        }
        self.transmit(outgoing, policy, ask).await
    }

    async fn transmit(&self, outgoing: Outgoing, policy: &AddressPolicy, ask: Ask) -> Result<reqwest::Response, HttpError> {
        let client = self.network.clients.get(policy).map_err(|error| HttpError::Connect(error.message))?;
        let refusals = self.refusals(outgoing.url.host_str().unwrap_or_default());
        let timeout = if ask.mode == BodyMode::Stream { STREAM_TIMEOUT } else { ask.timeout };
        let mut request = client.request(outgoing.method, outgoing.url.clone()).headers(outgoing.headers).timeout(timeout);
        request = request.header(reqwest::header::ACCEPT_ENCODING, "gzip");
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        let sent = tokio::time::timeout(ask.timeout, request.send()).await.map_err(|_| HttpError::Timeout)?;
        sent.map_err(|error| refusals.refuse(transport_error(&error)))
    }

    /// Sends a token request. No credential of a slot goes with it, no redirect is followed, and the answer, which is for
    /// the host alone, is read as it is.
    ///
    /// # Errors
    /// As for every request; those of the gate are in the audit.
    pub(super) async fn post_for_token(
        &self,
        request: &Outgoing,
        timeout: Duration,
    ) -> Result<(u16, Option<Duration>, Zeroizing<Vec<u8>>), HttpError> {
        let policy = self.check_destination(&request.url)?;
        let wanted = budget::Ask { method: request.method.as_str(), path: request.url.path(), cost: 1 };
        let leave = self.budget.acquire(wanted, &self.waits).await?;
        if self.waits.is_cancelled() {
            return Err(HttpError::Cancelled);
        }
        let started = self.caller.options.clock.monotonic();
        let ask = Ask { cost: 1, timeout, mode: BodyMode::Whole };
        let response = self.transmit(request.clone(), &policy, ask).await?;
        let retry_after = self.asked_for(response.status().as_u16(), response.headers());
        let refusals = self.refusals(request.url.host_str().unwrap_or_default());
        let (answer, bytes) = self.read(response, BodyMode::Whole, Scrubber::none(), refusals).await?;
        self.budget.settle(leave, None);
        self.log_request(request, answer.status, bytes, started);
        Ok((answer.status, retry_after, Zeroizing::new(answer.into_response().body)))
    }

    fn add_credential(&self, outgoing: &mut Outgoing, credential: &Credential<'_>) -> Result<(), HttpError> {
        let slot_name = credential.slot;
        let Some(slot) = self.manifest.auth.get(slot_name) else {
            return Err(HttpError::Invalid(format!(
                "auth slot `{}` is not in the manifest",
                crate::failure::clean_code(slot_name)
            )));
        };
        if let (Some(client), Some(access)) = (slot.oauth(), &credential.access) {
            return outgoing.add_secret_header(client.header(), &format!("{}{}", client.header_prefix(), access.expose()));
        }
        let secret = |name: &str| {
            let secret = self.secrets.get(name).map_err(|error| HttpError::Denied(error.message))?;
            secret.ok_or_else(|| {
                HttpError::Invalid(format!("auth slot `{slot_name}` names a secret that the manifest does not list"))
            })
        };
        let now_us = self.caller.wall_us();
        if let Some(encoded) = outgoing.add_credential(slot, now_us, &secret)? {
            self.secrets.remember(&format!("{slot_name} as sent"), encoded);
        }
        Ok(())
    }

    /// The checks of scheme, host and address; names are checked again when they are resolved.
    pub(super) fn check_destination(&self, url: &Url) -> Result<AddressPolicy, HttpError> {
        let refusals = self.refusals(url.host_str().unwrap_or_default());
        self.grants.permits(url).map_err(|reason| refusals.refuse(HttpError::Denied(reason)))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let policy = AddressPolicy { private: self.private.clone(), port, private_only: url.scheme() == "http" };
        check_literal(url, &policy).map_err(|refused| refusals.refuse(HttpError::Denied(refused.to_string())))?;
        Ok(policy)
    }

    async fn read(
        &self,
        response: reqwest::Response,
        mode: BodyMode,
        scrubber: Scrubber,
        refusals: Refusals,
    ) -> Result<(Answer, u64), HttpError> {
        let status = response.status().as_u16();
        let headers = clean_headers(response.headers(), &scrubber).map_err(|error| refusals.refuse(error))?;
        let headers = headers.into_iter().map(|(name, value)| (name, self.clean_of_values(value))).collect();
        let limits = if mode == BodyMode::Whole { BodyLimits::WHOLE } else { BodyLimits::STREAM };
        let scrubber = self.without_values(StreamScrubber::new(scrubber), response.headers());
        let mut reader = BodyReader::new(response, limits, scrubber, refusals)?.unpacking(self.tokens.is_some());
        // An answer that will be judged is read whole; a stream is for the guest.
        if mode == BodyMode::Stream && (200..300).contains(&status) {
            return Ok((Answer { status, headers, body: AnswerBody::Stream(Box::new(reader)) }, 0));
        }
        let body = reader.read_all().await?;
        Ok((Answer { status, headers, body: AnswerBody::Whole(body) }, reader.wire_bytes()))
    }

    fn log_request(&self, outgoing: &Outgoing, status: u16, bytes: u64, started: Duration) {
        let elapsed = self.caller.options.clock.monotonic().saturating_sub(started);
        let scrubber = self.secrets.scrubber();
        let event = LogEvent::Request {
            method: outgoing.method.to_string(),
            host: outgoing.url.host_str().unwrap_or_default().to_owned(),
            path: self.clean_of_values(scrubber.clean_text(outgoing.url.path())),
            status,
            bytes,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        };
        self.caller.log(LogLevel::Debug, event);
    }
}

/// The headers that a guest may see: no cookies, no secret.
fn clean_headers(headers: &HeaderMap, scrubber: &Scrubber) -> Result<Vec<(String, String)>, HttpError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(HttpError::TooLarge(u64::try_from(HEADER_BYTES_MAX).unwrap_or(u64::MAX)));
    }
    let shown = headers.iter().filter(|(name, value)| {
        !name.as_str().starts_with("set-cookie")
            && !matches!(name.as_str(), "content-encoding")
            && !scrubber.is_in(value.as_bytes())
    });
    Ok(shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect())
}
