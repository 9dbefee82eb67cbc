//! A small HTTP server between the plugin and the service: passes requests on and, where told to, answers as services do
//! on bad days. It listens on loopback, speaks plain HTTP/1.1 and closes each connection after its answer.

mod message;
mod upstream;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use affluent_host::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) use message::{Answer, Request};
pub(crate) use upstream::Upstream;

/// What a throttled answer asks to wait.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(600);
/// A personal value in the body of a refused credential: it may turn up nowhere.
pub(crate) const CANARY: &str = "canary.person@contract.example";

/// A disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429 with [`RETRY_AFTER`]; the service is not asked.
    Throttled,
    /// This status with a JSON body; the service is not asked.
    Status(u16),
    /// Half of the service's body, under a `content-length` that fits it.
    Truncated,
    /// Half of the service's body, under the `content-length` of the whole.
    CutOff,
    /// The service's answer, late.
    Slow,
    /// The service's answer with its longest list of records emptied.
    EmptyPage,
    /// The answer that the request before got, again.
    Repeat,
}

/// Which requests are disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// The first disturbed request, from 0, counted from when the plan was made.
    pub(crate) from: usize,
    /// How many; `usize::MAX` for all that follow.
    pub(crate) times: usize,
}

/// A request that came by.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// By the host's clock.
    pub(crate) at: Duration,
    pub(crate) disturbed: bool,
    pub(crate) status: u16,
    /// The answer says where the next page is.
    pub(crate) has_next: bool,
}

#[derive(Default)]
struct Record {
    plan: Option<Plan>,
    seen: Vec<Seen>,
    last: Option<Answer>,
}

/// The running proxy; ends when it is dropped.
pub(crate) struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub(crate) origin: String,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Upstream,
    origin: String,
    clock: Arc<dyn Clock>,
    record: Mutex<Record>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// # Errors
    /// When no port can be opened.
    pub(crate) async fn start(upstream: Upstream, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let origin = format!("http://{address}");
        let shared = Arc::new(Shared { upstream, origin: origin.clone(), clock, record: Mutex::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { origin, address, shared, server })
    }

    /// Forgets what was seen, and disturbs as planned from now on.
    pub(crate) fn disturb(&self, plan: Option<Plan>) {
        *self.shared.record() = Record { plan, ..Record::default() };
    }

    /// The requests since the last [`Proxy::disturb`].
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.record().seen.clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A peer that goes away in the middle is no matter of ours.
            drop(shared.answer(stream).await);
        });
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(request) = message::read_request(&mut stream).await? else { return Ok(()) };
        let (fault, place) = self.admit();
        let last = self.record().last.clone();
        let answer = match fault {
            Some(Fault::Throttled) => {
                Answer::json(429, r#"{"error":"slow down"}"#).with("retry-after", &RETRY_AFTER.as_secs().to_string())
            }
            Some(Fault::Status(status)) => Answer::json(status, &refusal(&request)),
            Some(Fault::Repeat) if last.is_some() => last.unwrap_or_else(|| Answer::json(500, "{}")),
            _ => self.upstream.send(&request, &self.origin).await,
        };
        if let Some(seen) = self.record().seen.get_mut(place) {
            (seen.status, seen.has_next) = (answer.status, answer.has_next());
        }
        let (answer, length) = match fault {
            Some(Fault::Truncated) => (answer.halved(), None),
            Some(Fault::CutOff) => (answer.halved(), Some(answer.body.len())),
            Some(Fault::EmptyPage) => (answer.emptied(), None),
            _ => {
                self.record().last = Some(answer.clone());
                (answer, None)
            }
        };
        if fault == Some(Fault::Slow) {
            tokio::time::sleep(SLOW).await;
        }
        message::write_answer(&mut stream, &answer, length).await
    }

    /// Counts a request; whether it is disturbed, and its number.
    fn admit(&self) -> (Option<Fault>, usize) {
        let at = self.clock.monotonic();
        let mut record = self.record();
        let place = record.seen.len();
        let is_planned = |plan: &Plan| place >= plan.from && place - plan.from < plan.times;
        let fault = record.plan.filter(is_planned).map(|plan| plan.fault);
        record.seen.push(Seen { at, disturbed: fault.is_some(), status: 0, has_next: false });
        (fault, place)
    }
}

/// What a service says of a request that it refuses: it repeats the credential, and a person's address.
fn refusal(request: &Request) -> String {
    let credential = request
        .headers
        .iter()
        .find(|(name, _)| ["authorization", "token", "key"].iter().any(|part| name.to_lowercase().contains(part)));
    let shown = credential.map_or("", |(_, value)| value.as_str());
    let detail = format!("the credential {shown} of {CANARY} is not accepted");
    serde_json::json!({"errors": [{"message": detail, "detail": detail}], "error": detail, "message": detail}).to_string()
}
