//! What stands behind the proxy: a service at a plain-http address.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use url::Url;

use super::message::{self, Answer, Request};

/// An answer of the service.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers requests without a network; what the suite's own tests put behind the proxy.
pub(crate) type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Where requests are passed on to.
#[derive(Clone)]
pub(crate) enum Upstream {
    /// Host, port, and the origin as it stands in URLs.
    Origin { host: String, port: u16, origin: String },
    #[cfg_attr(not(test), expect(dead_code, reason = "the suite's own tests need no second server"))]
    Handler(Handler),
}

impl Upstream {
    /// `None` for anything but plain http.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        if url.scheme() != "http" {
            return None;
        }
        let host = url.host_str()?.to_owned();
        Some(Self::Origin { host, port: url.port_or_known_default()?, origin: url.origin().ascii_serialization() })
    }

    /// The service's answer, with its own address replaced by the proxy's; 502 when there is none.
    pub(super) async fn send(&self, request: &Request, proxy_origin: &str) -> Answer {
        match self {
            Self::Handler(handler) => handler(request),
            Self::Origin { host, port, origin } => {
                let asked = tokio::time::timeout(TIMEOUT, exchange(host, *port, request)).await;
                match asked {
                    Ok(Ok(answer)) => readdressed(answer, origin, proxy_origin),
                    _ => Answer::json(502, r#"{"error":"the service behind the suite does not answer"}"#),
                }
            }
        }
    }
}

async fn exchange(host: &str, port: u16, request: &Request) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port)).await?;
    let mut request = request.clone();
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("accept-encoding"));
    request.headers.push(("host".to_owned(), format!("{host}:{port}")));
    message::write_request(&mut stream, &request).await?;
    message::read_answer(&mut stream).await
}

/// Links to further pages lead through the proxy, too.
fn readdressed(mut answer: Answer, from: &str, to: &str) -> Answer {
    for (_, value) in &mut answer.headers {
        *value = value.replace(from, to);
    }
    if let Ok(body) = std::str::from_utf8(&answer.body)
        && body.contains(from)
    {
        answer.body = body.replace(from, to).into_bytes();
    }
    answer
}
