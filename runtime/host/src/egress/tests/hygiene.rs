//! What a remote may do on one connection, and how long it may be silent (security B-24, B-25).

use std::net::IpAddr;

use super::*;

/// A server that keeps its connections open. It gives its answers in turn, whatever connection asks, the last one again
/// and again; an empty answer is silence.
struct Persistent {
    address: String,
    /// The number of the connection that each request came over.
    connections: Arc<Mutex<Vec<usize>>>,
}

impl Persistent {
    async fn answering<A: AsRef<[u8]>>(answers: &[A]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Arc<Vec<Vec<u8>>> = Arc::new(answers.iter().map(|answer| answer.as_ref().to_vec()).collect());
        let connections: Arc<Mutex<Vec<usize>>> = Arc::default();
        let kept = Arc::clone(&connections);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, Arc::clone(&answers), Arc::clone(&kept)));
            }
        });
        Self { address, connections }
    }

    /// The gate to it, and its URL.
    fn gate(&self) -> (Bench, String) {
        let server = Server { address: self.address.clone(), requests: Arc::default() };
        (plain(&server), server.url("/"))
    }

    fn connections(&self) -> Vec<usize> {
        self.connections.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: tokio::net::TcpStream,
    connection: usize,
    answers: Arc<Vec<Vec<u8>>>,
    connections: Arc<Mutex<Vec<usize>>>,
) {
    while !read_request(&mut stream).await.is_empty() {
        let number = connections.lock().unwrap().len();
        connections.lock().unwrap().push(connection);
        drop(stream.write_all(answers.get(number).or(answers.last()).unwrap()).await);
    }
}

fn kept_alive(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn once(url: &str) -> Request {
    Request { retry_safe: false, ..get(url.to_owned()) }
}

#[tokio::test]
async fn a_clean_connection_is_used_again() {
    let server = Persistent::answering(&[kept_alive("one"), kept_alive("two")]).await;
    let (bench, url) = server.gate();

    for body in ["one", "two"] {
        assert_eq!(bench.send(once(&url)).await.unwrap().body, body.as_bytes());
    }
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_never_taken() {
    for extra in [kept_alive("forged"), "x".to_owned(), "\r\n\r\n".to_owned()] {
        let server = Persistent::answering(&[kept_alive("one") + &extra, kept_alive("two")]).await;
        let (bench, url) = server.gate();

        for body in ["one", "two"] {
            assert_eq!(bench.send(once(&url)).await.unwrap().body, body.as_bytes(), "{extra:?}");
        }
        assert_eq!(server.connections(), [0, 1], "{extra:?}");
    }
}

#[tokio::test]
async fn a_broken_answer_is_an_error_and_ends_its_connection() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (what, broken) in [
        ("a chunk without a length", format!("{chunked}zz\r\nbody\r\n0\r\n\r\n")),
        ("a chunk that is longer than it says", format!("{chunked}2\r\nbody\r\n0\r\n\r\n")),
        ("a chunk of an endless length", format!("{chunked}ffffffffffffffffff\r\nbody\r\n0\r\n\r\n")),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nbody".to_owned()),
        ("a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nbody".to_owned()),
        ("no HTTP", "220 smtp.test ESMTP\r\n".to_owned()),
        ("a header without a name", "HTTP/1.1 200 OK\r\n: x\r\ncontent-length: 0\r\n\r\n".to_owned()),
    ] {
        let server = Persistent::answering(&[broken, kept_alive("two")]).await;
        let (bench, url) = server.gate();

        assert!(matches!(bench.send(once(&url)).await, Err(HttpError::Connect(_))), "{what}");
        assert_eq!(bench.send(once(&url)).await.unwrap().body, b"two", "{what}");
        assert_eq!(server.connections(), [0, 1], "{what}");
    }
}

#[tokio::test]
async fn a_silent_remote_is_a_timeout_wherever_it_falls_silent() {
    for (what, answer) in [
        ("before the headers", ""),
        ("within the headers", "HTTP/1.1 200 OK\r\ncontent-"),
        ("within the body", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        ("within a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf"),
    ] {
        let server = Persistent::answering(&[answer]).await;
        let (bench, url) = server.gate();

        assert!(matches!(bench.send(once(&url)).await, Err(HttpError::Timeout)), "{what}");
    }
}

#[tokio::test]
async fn a_remote_that_trickles_is_ended_by_the_limit_of_the_whole_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap().to_string(), requests: Arc::default() };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await);
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(TIMEOUTS.read / 10).await;
        }
    });

    let request = Request { timeout_ms: Some(600), ..once(&server.url("/")) };

    assert!(matches!(plain(&server).send(request).await, Err(HttpError::Timeout)));
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_two_requests_is_looked_at_again() {
    let server = Server::answering(&[ok(b"first")]).await;
    let port = server.address.rsplit_once(':').unwrap().1;
    let url = format!("http://rebind.test:{port}/");
    let hosts = json!([{"pattern": "{config.base_url}"}]);
    let manifest =
        json!({"manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {}, "hosts": hosts});
    let mut connection = connection("p", json!({"base_url": url}));
    connection.egress.http = true;
    connection.egress.private = vec![server.address.clone()];
    let looked = std::sync::atomic::AtomicUsize::new(0);
    let answers: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "169.254.169.254".parse().unwrap()];
    let addresses: AddressResolver = Arc::new(move |_| {
        let answer = answers[looked.fetch_add(1, Ordering::Relaxed).min(1)];
        Box::pin(async move { Ok(vec![answer]) })
    });
    let bench = bench_of(serde_json::from_value(manifest).unwrap(), connection, addresses, |_| ()).unwrap();

    assert_eq!(bench.send(get(url.clone())).await.unwrap().body, b"first");
    assert!(matches!(bench.send(get(url)).await, Err(HttpError::Denied(reason)) if reason.contains("private")));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_body_is_sent_again_to_its_own_origin_only() {
    let other = Server::answering(&[ok(b"other")]).await;
    let away = answer("308 X", &[&format!("location: {}", other.url("/"))], b"");
    let server = Server::answering(&[answer("307 X", &["location: /two"], b""), ok(b"two"), away]).await;
    let host: &'static str = Box::leak(other.address.clone().into_boxed_str());
    let mut bench = bench(&server, Setting { hosts: vec![host], ..Setting::default() });
    bench.egress.private.extend(PrivateGrant::parse(&other.address).unwrap());
    let post = || Request { method: "POST".to_owned(), body: Some(b"the body".to_vec()), ..get(server.url("/")) };

    assert_eq!(bench.send(post()).await.unwrap().body, b"two");
    assert_eq!(bench.send(post()).await.unwrap().status, 308);
    assert!(server.requests()[1].starts_with("POST /two") && server.requests()[1].ends_with("the body"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn every_answer_that_breaks_a_limit_is_refused_and_audited() {
    let json = "content-type: application/json";
    let twice = gzip(&gzip(b"hello"));
    let many: Vec<String> = (0..101).map(|number| format!("x-{number}: 1")).collect();
    let long = format!("x: {}", "a".repeat(40 << 10));
    for (what, answer, reason) in [
        ("a bomb", answer("200 OK", &["content-encoding: gzip"], &gzip(&vec![0; 8 << 20])), "larger than"),
        ("a long body", ok(&vec![b'a'; (16 << 20) + 1]), "larger than"),
        ("two encodings", answer("200 OK", &["content-encoding: gzip, gzip"], &twice), "encoding"),
        ("an encoding twice", answer("200 OK", &["content-encoding: gzip", "content-encoding: gzip"], &twice), "encoding"),
        ("deep JSON", answer("200 OK", &[json], "[".repeat(129).as_bytes()), "nested deeper than 128"),
        ("deep packed JSON", answer("200 OK", &[json, "content-encoding: gzip"], &gzip(&[b'['; 129])), "nested deeper than 128"),
        ("many headers", answer("200 OK", &many.iter().map(String::as_str).collect::<Vec<_>>(), b""), "larger than 32768"),
        ("long headers", answer("200 OK", &[&long], b""), "larger than 32768"),
        ("redirects without end", answer("302 X", &["location: /again"], b""), "more than three redirects"),
    ] {
        let server = Server::answering(&[answer]).await;
        let bench = plain(&server);

        let refused = bench.send(get(server.url("/"))).await.err();

        assert!(matches!(refused, Some(HttpError::TooLarge(_) | HttpError::Invalid(_))), "{what}: {refused:?}");
        let events = bench.recorded.audit.lock().unwrap().clone();
        let [event] = events.as_slice() else { panic!("{what}: {events:?}") };
        assert_eq!((event.plugin.as_str(), event.object.as_str()), ("p", "127.0.0.1"), "{what}");
        assert!(event.reason.contains(reason), "{what}: {}", event.reason);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_a_limit_is_refused_while_it_is_read() {
    let body = [b"[".repeat(100), b" ".repeat(100_000), b"[".repeat(100)].concat();
    let server = Server::answering(&[answer("200 OK", &["content-type: application/x-ndjson"], &body)]).await;
    let bench = plain(&server);
    let answer = bench.egress.send(get(server.url("/")), BodyMode::Stream).await.ok().unwrap();
    let AnswerBody::Stream(mut reader) = answer.body else { panic!() };

    assert!(matches!(reader.read_all().await, Err(HttpError::Invalid(_))));
    assert_eq!(bench.recorded.audit.lock().unwrap().len(), 1);
}
