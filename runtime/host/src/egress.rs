//! The one gate to the network. A request of a guest leaves only to a granted host at a permitted address, with the
//! host's credential, within the connection's rate budget; what is safe to repeat is repeated; what comes back is
//! bounded and cleared of secrets (security B-20..B-29, delivery.md §4). Every refusal is an audit event.

mod address;
mod attempt;
mod blind;
mod body;
mod budget;
mod client;
mod cost;
mod error;
mod exchanges;
mod grant;
mod inflate;
mod nesting;
mod oauth;
mod pointers;
pub(crate) mod redact;
mod redirect;
mod refusal;
mod request;
mod retry;
mod signature;
mod unpack;
pub(crate) mod wait;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use affluent_model::connector::Failure;
use affluent_model::manifest::{AuthSlot, Manifest};
use affluent_model::plan::Connection;
use affluent_model::{Error, Result};
use futures::StreamExt;
use futures::stream;
use url::Url;

use crate::bindings::affluent::plugin::http::{HttpError, Request, Response};
use crate::blind::TokenVault;
use crate::options::AddressResolver;
use crate::recording::Matching;
use crate::state::Caller;
use crate::vault::SecretVault;

use address::PrivateGrant;
use attempt::{Attempt, Credential};
pub(crate) use body::BodyReader;
use budget::{Budget, Budgets};
use client::Clients;
pub(crate) use client::Timeouts;
use grant::HostGrants;
pub(crate) use oauth::KnownTokens;
use oauth::{Access, AccessTokens, Endpoint, NoAccess};
use refusal::Refusals;
use request::Outgoing;
use wait::Waits;

/// Answers that one `send-all` may hold at once, bytes.
const ANSWERS_BYTES_MAX: usize = 48 << 20;
/// Requests of one `send-all`, and of them in flight.
const REQUESTS_MAX: usize = 1_000;
const IN_FLIGHT_MAX: usize = 32;

/// What all connections share: clients, budgets and access tokens.
pub(crate) struct Network {
    clients: Clients,
    budgets: Budgets,
    tokens: AccessTokens,
}

impl Network {
    pub(crate) fn new(addresses: AddressResolver, timeouts: Timeouts) -> Self {
        Self { clients: Clients::new(addresses, timeouts), budgets: Budgets::default(), tokens: AccessTokens::default() }
    }
}

/// The way out of one instance.
#[derive(Clone)]
pub(crate) struct Egress {
    caller: Caller,
    manifest: Arc<Manifest>,
    grants: HostGrants,
    private: Vec<PrivateGrant>,
    network: Arc<Network>,
    budget: Arc<Budget>,
    secrets: Arc<SecretVault>,
    /// Of a destination: what its tokens stand for.
    tokens: Option<Arc<TokenVault>>,
    waits: Waits,
    matching: Matching,
    /// Auth slot → where its access tokens come from.
    endpoints: Arc<BTreeMap<String, Endpoint>>,
    /// Why there was no access token, until the guest's call is over.
    failed: Arc<Mutex<Option<Failure>>>,
}

/// An answer whose body is still to be read, or was read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: AnswerBody,
}

pub(crate) enum AnswerBody {
    Whole(Vec<u8>),
    Stream(Box<BodyReader>),
}

/// How a body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyMode {
    Whole,
    Stream,
}

/// What an [`Egress`] is made of.
pub(crate) struct EgressParts<'a> {
    pub(crate) caller: Caller,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) connection: &'a Connection,
    pub(crate) network: Arc<Network>,
    pub(crate) secrets: Arc<SecretVault>,
    pub(crate) tokens: Option<Arc<TokenVault>>,
    pub(crate) waits: Waits,
    /// How its requests find their answers in a recording.
    pub(crate) matching: Matching,
}

impl Egress {
    /// # Errors
    /// `E0411` when a grant of the connection or a host of the manifest has the wrong form.
    pub(crate) fn new(parts: EgressParts<'_>) -> Result<Self> {
        let EgressParts { caller, manifest, connection, network, secrets, tokens, waits, matching } = parts;
        let grants = HostGrants::new(&manifest, connection)?;
        let mut private = Vec::new();
        for text in &connection.egress.private {
            private.extend(PrivateGrant::parse(text).ok_or_else(|| not_an_address(text))?);
        }
        let budget = network.budgets.get(connection, &manifest, &caller.options.clock);
        secrets.blot_out(network.tokens.known(&connection.name));
        let endpoints = Arc::new(oauth::endpoints(&manifest, connection)?);
        let failed = Arc::default();
        Ok(Self { caller, manifest, grants, private, network, budget, secrets, tokens, waits, matching, endpoints, failed })
    }

    /// Sends one request, repeating it where that is safe.
    pub(crate) async fn send(&self, request: Request, mode: BodyMode) -> Result<Answer, HttpError> {
        let result = self.send_with_retries(request, mode).await;
        result.map_err(|error| self.clean_error(error))
    }

    /// Sends many; answers come in the order of the requests.
    pub(crate) async fn send_all(&self, requests: Vec<Request>, in_flight: u8) -> Vec<Result<Response, HttpError>> {
        let in_flight = usize::from(in_flight).clamp(1, IN_FLIGHT_MAX);
        let mut left = ANSWERS_BYTES_MAX;
        let numbered = requests.into_iter().enumerate();
        let send = |(number, request)| async move {
            if number >= REQUESTS_MAX {
                return Err(self.refusals("").refuse(HttpError::Invalid("more than 1,000 requests at once".to_owned())));
            }
            self.send(request, BodyMode::Whole).await.map(Answer::into_response)
        };
        let mut answers = stream::iter(numbered).map(send).buffered(in_flight);
        let mut collected = Vec::new();
        while let Some(answer) = answers.next().await {
            let size = answer.as_ref().map_or(0, |answer| answer.body.len());
            let fits = size <= left;
            left = left.saturating_sub(size);
            collected.push(if fits {
                answer
            } else {
                Err(self.refusals("").refuse(HttpError::TooLarge(u64::try_from(ANSWERS_BYTES_MAX).unwrap_or(u64::MAX))))
            });
        }
        collected
    }

    /// Refusals toward a host go to the audit.
    fn refusals(&self, host: &str) -> Refusals {
        Refusals { caller: self.caller.clone(), host: host.to_owned() }
    }

    async fn send_with_retries(&self, request: Request, mode: BodyMode) -> Result<Answer, HttpError> {
        let (auth, cost) = (request.auth.clone(), request.cost.unwrap_or(1));
        let (timeout, retry_safe) = (attempt::timeout(request.timeout_ms), request.retry_safe);
        let timeout = timeout.min(self.waits.time.request_limit());
        let asked = Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let outgoing = Outgoing::check(request).map_err(|error| self.refusals(&asked).refuse(error))?;
        let settings = self.caller.options.backoff;
        let mut credential_refreshed = false;
        let mut refused = None;
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.check_destination(&outgoing.url)?;
            let access = match self.access(auth.as_deref(), refused.as_ref()).await {
                Ok(access) => access,
                Err(reason) => return self.without_access(&reason),
            };
            let credential = auth.as_deref().map(|slot| Credential { slot, access });
            let started = self.caller.options.clock.monotonic();
            let attempt = self.attempt(&outgoing, credential.as_ref(), Ask { cost, timeout, mode }).await?;
            let (pause, give_up) = match attempt {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Unauthorized(answer) => match credential {
                    Some(credential) if !credential_refreshed && self.may_renew(&credential) => {
                        credential_refreshed = true;
                        refused = credential.access;
                        continue;
                    }
                    _ => return Ok(answer),
                },
                Attempt::Again { pause, give_up } => (pause, give_up),
            };
            if !retry_safe || attempts >= settings.attempts_max {
                return give_up.into_result(retry_safe, pause);
            }
            // A try that came to nothing is the remote's time, not the guest's.
            self.waits.time.push_back(self.caller.options.clock.monotonic().saturating_sub(started));
            let pause = pause.unwrap_or_else(|| retry::backoff(&settings, attempts, &self.caller.options.random));
            self.waits.wait(pause).await?;
        }
    }

    /// Whether another try may go with another credential than the one that was refused.
    fn may_renew(&self, refused: &Credential<'_>) -> bool {
        match &refused.access {
            Some(access) => access.may_be_stale(self.caller.options.clock.monotonic()),
            None => self.refresh(refused.slot),
        }
    }

    fn refresh(&self, slot: &str) -> bool {
        let secrets = self.manifest.auth.get(slot).map(AuthSlot::secrets).unwrap_or_default();
        // All of them are asked for again, whichever has changed.
        secrets.into_iter().filter(|secret| self.secrets.refresh(secret)).count() > 0
    }

    /// What the guest gets without an access token; the reason is kept for the person.
    fn without_access(&self, reason: &NoAccess) -> Result<Answer, HttpError> {
        if let NoAccess::Failed(failure) = reason {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        }
        reason.for_guest()
    }

    /// Why there was no access token since this was last asked.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn clean_error(&self, error: HttpError) -> HttpError {
        let scrubber = self.secrets.scrubber();
        let clean = |text: String| crate::failure::clean_text(&scrubber.clean_text(&text), 512);
        match error {
            HttpError::Denied(text) => HttpError::Denied(clean(text)),
            HttpError::Invalid(text) => HttpError::Invalid(clean(text)),
            HttpError::Connect(text) => HttpError::Connect(clean(text)),
            other => other,
        }
    }
}

/// What one attempt needs beside the request.
#[derive(Debug, Clone, Copy)]
struct Ask {
    cost: u32,
    timeout: Duration,
    mode: BodyMode,
}

impl Answer {
    pub(crate) fn into_response(self) -> Response {
        let body = match self.body {
            AnswerBody::Whole(body) => body,
            AnswerBody::Stream(_) => Vec::new(),
        };
        Response { status: self.status, headers: self.headers, body }
    }
}

fn not_an_address(text: &str) -> Error {
    let message = format!("`{text}` in `egress.private` is no address with a port");
    Error::configuration("E0411", message).help("write `127.0.0.1:18080`, `10.1.2.0/24:443` or `[::1]:8080`")
}
