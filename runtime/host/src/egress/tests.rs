mod recorded;

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::AddressRefused;
use super::*;
use crate::deadline::CallTime;
use crate::options::HostOptions;
use crate::test_support::{Recorded, TestHost, connection};

mod decisions;
mod hygiene;
mod unpacked;

/// Short, so that a silent remote is found out soon.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), read: Duration::from_millis(300) };

/// A server that gives its answers in turn, the last one again and again, and keeps the requests.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering<A: AsRef<[u8]>>(answers: &[A]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.as_ref().to_vec()).collect();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request);
                    kept.len() - 1
                };
                let answer = answers.get(number).or(answers.last()).unwrap();
                drop(stream.write_all(answer).await);
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 4096];
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if read == 0 {
            return String::new();
        }
    }
}

pub(super) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    headers.iter().for_each(|header| answer.push_str(&format!("{header}\r\n")));
    [answer.as_bytes(), b"\r\n", body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[], body)
}

/// An egress to a server on this machine.
pub(super) struct Bench {
    pub(super) egress: Egress,
    pub(super) recorded: Recorded,
}

/// What a test changes of the plain setting.
#[derive(Default)]
struct Setting {
    rate_limits: serde_json::Value,
    hosts: Vec<&'static str>,
    /// Lets the manifest alone, without the operator's grant of this machine.
    no_private_grant: bool,
    exchanges: crate::recording::Exchanges,
}

fn bench(server: &Server, setting: Setting) -> Bench {
    let mut hosts = vec![json!({"pattern": "{config.base_url}"})];
    hosts.extend(setting.hosts.iter().map(|host| json!({"pattern": host})));
    let limits = if setting.rate_limits.is_null() { json!([]) } else { setting.rate_limits };
    let manifest = json!({
        "manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {}, "hosts": hosts,
        "secrets": [{"name": "token"}, {"name": "missing"}], "rate_limits": limits,
        "auth": {"bearer": {"type": "bearer", "secret": "token"}, "query": {"type": "query", "name": "key", "secret": "token"},
                 "basic": {"type": "basic", "user": "me", "secret": "token"}, "broken": {"type": "bearer", "secret": "missing"}}});
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let mut connection = connection("p", json!({"base_url": server.url("/")}));
    connection.egress.http = true;
    if !setting.no_private_grant {
        connection.egress.private = vec![server.address.clone()];
    }
    let options = |options: &mut HostOptions| options.exchanges = setting.exchanges;
    bench_of(manifest, connection, crate::options::system_resolver(), options).unwrap()
}

pub(super) fn bench_of(
    manifest: Manifest,
    connection: Connection,
    addresses: AddressResolver,
    change: impl FnOnce(&mut HostOptions),
) -> Result<Bench> {
    let (manifest, connection) = (Arc::new(manifest), Arc::new(connection));
    let (mut options, recorded) = TestHost::new().split();
    change(&mut options);
    let options = Arc::new(options);
    let caller = Caller { options: options.clone(), plugin: "p".into(), connection: "c".into(), pipeline: "l".into() };
    let secrets = Arc::new(SecretVault::new(options.clone(), connection.clone(), &manifest));
    let waits = Waits { options, time: Arc::new(CallTime::default()) };
    let network = Arc::new(Network::new(addresses, TIMEOUTS));
    let connection = &connection;
    let tokens = None;
    let parts = EgressParts { caller, manifest, connection, network, secrets, tokens, waits, matching: Matching::Exact };
    Ok(Bench { egress: Egress::new(parts)?, recorded })
}

fn plain(server: &Server) -> Bench {
    bench(server, Setting::default())
}

pub(super) fn get(url: String) -> Request {
    let method = "GET".to_owned();
    Request { method, url, headers: Vec::new(), body: None, auth: None, timeout_ms: None, cost: None, retry_safe: true }
}

fn with_auth(url: String, slot: &str) -> Request {
    Request { auth: Some(slot.to_owned()), ..get(url) }
}

impl Bench {
    pub(super) async fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.egress.send(request, BodyMode::Whole).await.map(Answer::into_response)
    }

    fn waited_ms(&self) -> u128 {
        self.recorded.clock.elapsed().as_millis()
    }
}

#[tokio::test]
async fn a_granted_request_gets_its_answer_and_is_logged_without_its_query() {
    let server = Server::answering(&[answer("201 Created", &["x-a: b", "set-cookie: s=1"], b"body")]).await;
    let bench = plain(&server);

    let response = bench.send(get(server.url("/path?q=ada"))).await.unwrap();

    assert_eq!((response.status, response.body.as_slice()), (201, &b"body"[..]));
    assert!(response.headers.contains(&("x-a".to_owned(), "b".to_owned())));
    assert!(!response.headers.iter().any(|(name, _)| name == "set-cookie"));
    let logged = format!("{:?}", bench.recorded.log.lock().unwrap());
    assert!(logged.contains("/path") && logged.contains("status: 201") && !logged.contains("ada"), "{logged}");
}

#[tokio::test]
async fn the_credential_is_added_and_what_the_guest_sets_is_stripped() {
    let server = Server::answering(&[ok(b"")]).await;
    let forged = ["Authorization", "Cookie", "Host", "Content-Length", "Proxy-Authorization"]
        .map(|name| (name.to_owned(), "forged".to_owned()));

    plain(&server).send(Request { headers: forged.to_vec(), ..with_auth(server.url("/"), "bearer") }).await.unwrap();

    let request = server.requests().remove(0).to_lowercase();
    assert!(request.contains("authorization: bearer the-token-value"), "{request}");
    assert!(!request.contains("forged"), "{request}");
}

#[tokio::test]
async fn an_echoed_secret_is_blotted_out_of_headers_and_body() {
    let echo = answer("200 OK", &["x-echo: the-token-value"], b"{\"got\":\"the-token-value\"} bWU6dGhlLXRva2VuLXZhbHVl");
    let server = Server::answering(&[echo]).await;
    let bench = plain(&server);

    for slot in ["bearer", "query", "basic"] {
        let response = bench.send(with_auth(server.url("/"), slot)).await.unwrap();
        let text = format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body));
        assert!(!text.contains("the-token-value"), "{slot}: {text}");
        assert!(slot != "basic" || !text.contains("bWU6"), "{text}");
    }
    assert!(!format!("{:?}", bench.recorded.log.lock().unwrap()).contains("the-token-value"));
}

#[tokio::test]
async fn a_slot_without_a_secret_sends_nothing() {
    let server = Server::answering(&[ok(b"")]).await;
    let bench = plain(&server);

    assert!(matches!(bench.send(with_auth(server.url("/"), "other")).await, Err(HttpError::Invalid(_))));
    assert!(matches!(bench.send(with_auth(server.url("/"), "broken")).await, Err(HttpError::Denied(_))));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn refusals_reach_nobody_and_are_audited() {
    let server = Server::answering(&[ok(b"")]).await;
    let bench = plain(&server);

    for url in ["https://evil.test/", "http://127.0.0.1:1/", "ftp://127.0.0.1/", "https://127.0.0.1/"] {
        assert!(matches!(bench.send(get(url.to_owned())).await, Err(HttpError::Denied(_))), "{url}");
    }
    assert_eq!(bench.recorded.audit.lock().unwrap().len(), 4);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_private_address_needs_the_operators_grant() {
    let server = Server::answering(&[ok(b"")]).await;
    let bench = bench(&server, Setting { no_private_grant: true, ..Setting::default() });

    assert!(matches!(bench.send(get(server.url("/"))).await, Err(HttpError::Denied(_))));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused() {
    let server = Server::answering(&[ok(b"")]).await;
    let bench = bench(&server, Setting { hosts: vec!["localhost"], ..Setting::default() });

    let Err(HttpError::Denied(reason)) = bench.send(get("https://localhost/".to_owned())).await else { panic!() };

    assert!(reason.contains("private"), "{reason}");
    assert_eq!(bench.recorded.audit.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn retry_after_is_honoured_in_the_hosts_own_time() {
    let server = Server::answering(&[answer("429 Too Many Requests", &["retry-after: 7"], b""), ok(b"done")]).await;
    let bench = plain(&server);

    let response = bench.send(get(server.url("/"))).await.unwrap();

    assert_eq!((response.body.as_slice(), server.requests().len()), (&b"done"[..], 2));
    assert!((7_000..7_100).contains(&bench.waited_ms()), "{}", bench.waited_ms());
}

#[tokio::test]
async fn server_errors_are_repeated_with_growing_waits_up_to_eight_times() {
    for status in ["500 X", "502 X", "503 X", "504 X", "408 X", "425 X"] {
        let server = Server::answering(&[answer(status, &[], b"broken")]).await;
        let bench = plain(&server);

        let response = bench.send(get(server.url("/"))).await.unwrap();

        assert_eq!((response.body.as_slice(), server.requests().len()), (&b"broken"[..], 8), "{status}");
    }
}

#[tokio::test]
async fn a_throttle_without_end_becomes_rate_limited() {
    let server = Server::answering(&[answer("429 X", &["retry-after: 2"], b"")]).await;

    assert!(matches!(plain(&server).send(get(server.url("/"))).await, Err(HttpError::RateLimited(2_000))));
    assert_eq!(server.requests().len(), 8);
}

#[tokio::test]
async fn a_wait_of_many_minutes_is_given_back() {
    let server = Server::answering(&[answer("429 X", &["retry-after: 3000"], b"")]).await;
    let bench = plain(&server);

    assert!(matches!(bench.send(get(server.url("/"))).await, Err(HttpError::RateLimited(3_000_000))));
    // The next request on the account does not even leave.
    assert!(matches!(bench.send(get(server.url("/"))).await, Err(HttpError::RateLimited(_))));
    assert_eq!((server.requests().len(), bench.waited_ms()), (1, 0));
}

#[tokio::test]
async fn client_errors_and_unsafe_requests_are_not_repeated() {
    for (status, retry_safe) in
        [("403 X", true), ("404 X", true), ("409 X", true), ("422 X", true), ("401 X", true), ("500 X", false), ("429 X", false)]
    {
        let server = Server::answering(&[answer(status, &["retry-after: 1"], b"")]).await;

        let response = plain(&server).send(Request { retry_safe, ..get(server.url("/")) }).await.unwrap();

        assert_eq!((format!("{} X", response.status).as_str(), server.requests().len()), (status, 1));
    }
}

#[tokio::test]
async fn a_cut_off_body_is_repeated() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let server = Server::answering(&[cut, ok(b"whole")]).await;

    assert_eq!(plain(&server).send(get(server.url("/"))).await.unwrap().body, b"whole");
}

#[tokio::test]
async fn no_server_is_a_connection_error() {
    let server = Server::answering(&[ok(b"")]).await;
    let bench = plain(&server);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let elsewhere = Server { address: closed.to_string(), requests: Arc::default() };
    let other = plain(&elsewhere);

    assert!(matches!(other.send(get(elsewhere.url("/"))).await, Err(HttpError::Connect(_))));
    assert!(bench.send(get(server.url("/"))).await.is_ok());
}

#[tokio::test]
async fn a_stopped_run_ends_waits() {
    let server = Server::answering(&[answer("429 X", &["retry-after: 60"], b"")]).await;
    let bench = plain(&server);
    bench.recorded.cancelled.store(true, Ordering::Relaxed);

    assert!(matches!(bench.send(get(server.url("/"))).await, Err(HttpError::Cancelled)));
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_grant_only() {
    let away = answer("302 Found", &["location: https://evil.test/x"], b"");
    let server = Server::answering(&[answer("302 Found", &["location: /two"], b""), ok(b"two"), away]).await;
    let bench = plain(&server);

    assert_eq!(bench.send(with_auth(server.url("/one"), "bearer")).await.unwrap().body, b"two");
    assert!(matches!(bench.send(get(server.url("/three"))).await, Err(HttpError::Denied(_))));
    let requests = server.requests();
    assert!(requests[1].starts_with("GET /two") && requests[1].to_lowercase().contains("authorization"), "{}", requests[1]);
}

#[tokio::test]
async fn a_credential_does_not_follow_to_another_origin() {
    let other = Server::answering(&[ok(b"other")]).await;
    let server = Server::answering(&[answer("307 X", &[&format!("location: {}", other.url("/"))], b"")]).await;
    let host: &'static str = Box::leak(other.address.clone().into_boxed_str());
    let mut bench = bench(&server, Setting { hosts: vec![host], ..Setting::default() });
    bench.egress.private.extend(PrivateGrant::parse(&other.address).unwrap());

    assert_eq!(bench.send(with_auth(server.url("/"), "bearer")).await.unwrap().body, b"other");
    assert!(server.requests()[0].to_lowercase().contains("authorization"));
    assert!(!other.requests()[0].to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn redirects_without_end_are_refused() {
    let server = Server::answering(&[answer("302 X", &["location: /again"], b"")]).await;

    assert!(matches!(plain(&server).send(get(server.url("/"))).await, Err(HttpError::Invalid(_))));
    assert_eq!(server.requests().len(), 4);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_answers_are_inflated() {
    let text = b"the same again and again ".repeat(1_000);
    let server = Server::answering(&[answer("200 OK", &["content-encoding: gzip"], &gzip(&text))]).await;

    let response = plain(&server).send(get(server.url("/"))).await.unwrap();

    assert_eq!(response.body, text);
    assert!(!response.headers.iter().any(|(name, _)| name == "content-encoding"));
}

#[tokio::test]
async fn answers_that_are_too_large_are_refused() {
    let bomb = gzip(&vec![0u8; 20 << 20]);
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let headers = format!("x: {}", "a".repeat(40 << 10));
    for (what, answer) in [
        ("a bomb", answer("200 OK", &["content-encoding: gzip"], &bomb)),
        ("an announced length", announced),
        ("a long body", ok(&vec![b'a'; (16 << 20) + 1])),
        ("headers", answer("200 OK", &[&headers], b"")),
    ] {
        let server = Server::answering(&[answer]).await;
        assert!(matches!(plain(&server).send(get(server.url("/"))).await, Err(HttpError::TooLarge(_))), "{what}");
    }
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_refused() {
    let server = Server::answering(&[answer("200 OK", &["content-encoding: br"], b"x")]).await;

    assert!(matches!(plain(&server).send(get(server.url("/"))).await, Err(HttpError::Invalid(_))));
}

#[tokio::test]
async fn a_broken_compression_is_an_error_and_not_an_empty_answer() {
    let whole = gzip(b"hello hello hello");
    let server = Server::answering(&[answer("200 OK", &["content-encoding: gzip"], &whole[..whole.len() - 9])]).await;

    assert!(matches!(plain(&server).send(get(server.url("/"))).await, Err(HttpError::Connect(_))));
}

#[tokio::test]
async fn a_stream_is_read_piece_by_piece_and_scrubbed() {
    let body = [vec![b'a'; 100_000], b" the-token-value ".to_vec(), vec![b'b'; 100_000]].concat();
    let server = Server::answering(&[ok(&body)]).await;
    let bench = plain(&server);

    let answer = bench.egress.send(with_auth(server.url("/"), "bearer"), BodyMode::Stream).await.ok().unwrap();
    let AnswerBody::Stream(mut reader) = answer.body else { panic!() };
    let read = reader.read_all().await.unwrap();

    assert_eq!(read.len(), body.len() - "the-token-value".len() + "[redacted]".len());
}

#[tokio::test]
async fn answers_of_many_requests_come_in_their_order() {
    let server = Server::answering(&[ok(b"x")]).await;
    let bench = plain(&server);
    let requests = vec![get(server.url("/a")), get("https://evil.test/".to_owned()), get(server.url("/c"))];

    let answers = bench.egress.send_all(requests, 3).await;

    let shown: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(shown, [true, false, true]);
}

#[tokio::test]
async fn several_windows_hold_at_once() {
    let server = Server::answering(&[ok(b"")]).await;
    let limits = json!([{"requests": 10, "per_ms": 1000, "burst": 1}, {"requests": 150, "per_ms": 60000, "burst": 1, "matches": "GET /slow"}]);
    let bench = bench(&server, Setting { rate_limits: limits, ..Setting::default() });

    for _ in 0..6 {
        bench.send(get(server.url("/fast"))).await.unwrap();
    }
    assert!((500..560).contains(&bench.waited_ms()), "{}", bench.waited_ms());
    for _ in 0..3 {
        bench.send(get(server.url("/slow/x"))).await.unwrap();
    }
    assert!((1_300..1_500).contains(&bench.waited_ms()), "{}", bench.waited_ms());
}

#[tokio::test]
async fn points_are_waited_for_and_a_throttled_answer_is_repeated() {
    let cost = json!([{"requests": 100, "per_ms": 1000, "burst": 1000, "cost": {
        "available": "/extensions/cost/throttleStatus/currentlyAvailable", "restore_per_s": "/extensions/cost/throttleStatus/restoreRate",
        "requested": "/extensions/cost/requestedQueryCost", "throttled": {"pointer": "/errors/0/extensions/code", "equals": "THROTTLED"}}}]);
    let throttled = ok(br#"{"errors":[{"extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":500,"throttleStatus":{"currentlyAvailable":100,"restoreRate":50}}}}"#);
    let done = ok(br#"{"data":{},"extensions":{"cost":{"throttleStatus":{"currentlyAvailable":10,"restoreRate":50}}}}"#);
    let server = Server::answering(&[throttled, done]).await;
    let bench = bench(&server, Setting { rate_limits: cost, ..Setting::default() });

    let response = bench.send(Request { cost: Some(100), ..get(server.url("/")) }).await.unwrap();
    assert!(response.body.starts_with(b"{\"data\""));
    assert!((8_000..8_100).contains(&bench.waited_ms()), "{}", bench.waited_ms());

    // 10 points are left, 100 are needed, 50 come back per second.
    bench.send(Request { cost: Some(100), ..get(server.url("/")) }).await.unwrap();
    assert!((9_800..9_950).contains(&bench.waited_ms()), "{}", bench.waited_ms());
}
