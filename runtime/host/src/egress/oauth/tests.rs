//! Against a token server on this machine that rotates as strict services do: the old refresh token is good until the new
//! tokens are used for the first time, and whoever comes with it afterwards loses everything.

pub(super) mod keys;
mod server;
mod signed;
mod store;

use std::sync::Arc;
use std::time::Duration;

use affluent_model::connector::FailureKind;
use affluent_model::manifest::Manifest;
use affluent_model::plan::Connection;
use serde_json::{Value, json};

use crate::bindings::affluent::plugin::http::{HttpError, Request, Response};
use crate::egress::tests::{Bench, bench_of, get};
use crate::options::{Clock, HostOptions, RandomSource};
use crate::recording::{Exchanges, Recorder, Repeats, Replay};
use crate::secret::Secret;
use crate::test_support::connection;
use server::{Rules, TokenServer};
use store::{Fault, TestStore};

const REFRESH: &str = "oauth2-refresh";
const CLIENT: &str = "oauth2-client-credentials";
const SIGNED: &str = "oauth2-jwt-bearer";

/// A process: an egress on the server with a store that outlives it.
struct Process {
    bench: Bench,
    url: String,
}

struct Setting<'a> {
    kind: &'a str,
    client: Value,
    store: Option<Arc<TestStore>>,
    /// The refresh token that is configured.
    refresh: &'a str,
    /// The private key that is configured.
    key: &'a str,
    narrowed: Vec<String>,
    exchanges: Exchanges,
}

impl Setting<'_> {
    fn of(kind: &str) -> Setting<'_> {
        Setting {
            kind,
            client: json!({}),
            store: None,
            refresh: "refresh-0-configured",
            key: keys::RSA,
            narrowed: Vec::new(),
            exchanges: Exchanges::Live,
        }
    }
}

fn manifest(kind: &str, changes: &Value) -> Manifest {
    let mut slot =
        json!({"type": kind, "token_urls": ["{config.base_url}/oauth/token"], "client_id": "id", "client_secret": "key"});
    if kind == REFRESH {
        slot["refresh_token"] = json!("refresh");
    }
    if kind == SIGNED {
        slot["assertion"] = json!({"private_key": "pem", "subject": "{config.user}"});
        slot.as_object_mut().unwrap().remove("client_secret");
    }
    slot.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let manifest = json!({"manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {},
        "hosts": [{"pattern": "{config.base_url}"}, {"pattern": "tokens.example.org"}], "secrets": [{"name": "id"}, {"name": "key"}, {"name": "refresh"}, {"name": "pem"}],
        "auth": {"api": slot}});
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    assert_eq!(manifest.auth_mistakes(), Vec::<String>::new());
    manifest
}

fn process(server: &TokenServer, setting: Setting<'_>) -> Process {
    let mut connection: Connection = connection("p", json!({"base_url": server.url("/"), "user": "me@acme.test"}));
    connection.egress.http = true;
    connection.egress.private = vec![server.address.clone()];
    connection.egress.hosts = setting.narrowed;
    let (refresh, key) = (setting.refresh.to_owned(), setting.key.to_owned());
    let store = setting.store.map(|store| store as Arc<dyn affluent_model::credential::CredentialStore>);
    let exchanges = setting.exchanges;
    let change = |options: &mut HostOptions| {
        options.exchanges = exchanges;
        options.credentials = store;
        options.secrets = Arc::new(move |_, name| {
            let value = match name {
                "refresh" => refresh.as_str(),
                "pem" => key.as_str(),
                "key" => "key-of-the-client",
                _ => "id-of-the-client",
            };
            Ok(Secret::new(value.to_owned()))
        });
    };
    let manifest = manifest(setting.kind, &setting.client);
    let bench = bench_of(manifest, connection, crate::options::system_resolver(), change).unwrap();
    Process { bench, url: server.url("/items") }
}

impl Process {
    async fn ask(&self) -> Result<Response, HttpError> {
        self.bench.send(Request { auth: Some("api".to_owned()), ..get(self.url.clone()) }).await
    }

    async fn status(&self) -> u16 {
        self.ask().await.unwrap().status
    }

    async fn jump(&self, seconds: u64) {
        self.bench.recorded.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Kind, code and text of why there was no token.
    fn failure(&self) -> (FailureKind, &'static str, String) {
        let failure = self.bench.egress.take_failure().unwrap();
        (failure.kind, failure.error.code, format!("{} {}", failure.error.message, failure.error.help))
    }

    /// Everything that was logged and audited.
    fn said(&self) -> String {
        let (log, audit) = (self.bench.recorded.log.lock().unwrap(), self.bench.recorded.audit.lock().unwrap());
        format!("{log:?} {audit:?}")
    }
}

#[tokio::test]
async fn one_exchange_serves_all_that_ask_at_once_and_the_next_ones() {
    for (kind, grant) in [(CLIENT, "client_credentials"), (REFRESH, "refresh_token"), (SIGNED, signed::GRANT)] {
        let server = TokenServer::start(Rules::default()).await;
        let process = process(&server, Setting { store: Some(TestStore::new()), ..Setting::of(kind) });

        let asked = futures::future::join_all((0..20).map(|_| process.status())).await;

        assert_eq!(asked, [200; 20], "{kind}");
        assert_eq!(process.status().await, 200);
        assert_eq!(server.exchanges(), [grant], "{kind}");
    }
}

#[tokio::test]
async fn a_token_request_says_what_the_slot_says() {
    let basic = "Basic aWQtb2YtdGhlLWNsaWVudDprZXktb2YtdGhlLWNsaWVudA==";
    for (kind, client, form, authorization) in [
        (CLIENT, json!({}), "grant_type=client_credentials&client_id=id-of-the-client&client_secret=key-of-the-client", ""),
        (CLIENT, json!({"client_auth": "basic", "scopes": ["a b", "c"]}), "grant_type=client_credentials&scope=a+b+c", basic),
        (
            REFRESH,
            json!({"parameters": {"audience": "x&y"}, "client_auth": "basic"}),
            "grant_type=refresh_token&refresh_token=refresh-0-configured&audience=x%26y",
            basic,
        ),
    ] {
        let server = TokenServer::start(Rules::default()).await;
        let setting = Setting { client, store: Some(TestStore::new()), ..Setting::of(kind) };

        assert_eq!(process(&server, setting).status().await, 200);

        assert_eq!(server.last_exchange(), (form.to_owned(), authorization.to_owned()));
    }
}

#[tokio::test]
async fn the_access_token_goes_where_the_slot_says() {
    let server = TokenServer::start(Rules { header: "x-shop-token", ..Rules::default() }).await;
    let setting = Setting { client: json!({"name": "X-Shop-Token"}), ..Setting::of(CLIENT) };

    assert_eq!(process(&server, setting).status().await, 200);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_once_when_it_is_refused() {
    let server = TokenServer::start(Rules { expires_in: Some(100), ..Rules::default() }).await;
    let process = process(&server, Setting { store: Some(TestStore::new()), ..Setting::of(REFRESH) });

    assert_eq!(process.status().await, 200);
    process.jump(89).await;
    assert_eq!((process.status().await, server.exchanges().len()), (200, 1));
    process.jump(2).await;
    assert_eq!((process.status().await, server.exchanges().len()), (200, 2));
    server.revoke_access();
    assert_eq!((process.status().await, server.exchanges().len()), (200, 3));
}

#[tokio::test]
async fn a_client_that_the_service_refuses_as_such_is_asked_for_no_more_tokens() {
    let server = TokenServer::start(Rules { refuses_all: true, ..Rules::default() }).await;
    let process = process(&server, Setting::of(CLIENT));

    for _ in 0..5 {
        assert_eq!(process.status().await, 401);
    }

    assert_eq!(server.exchanges().len(), 1);
}

#[tokio::test]
async fn tokens_appear_nowhere() {
    let server = TokenServer::start(Rules { echoes: true, ..Rules::default() }).await;
    let process = process(&server, Setting { store: Some(TestStore::new()), ..Setting::of(REFRESH) });

    let mut seen = String::new();
    for _ in 0..3 {
        let response = process.ask().await.unwrap();
        seen.push_str(&format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body)));
        server.revoke_access();
    }
    seen.push_str(&process.said());

    assert!(server.exchanges().len() == 3 && seen.contains("[redacted]"), "{seen}");
    for token in server.every_token().iter().map(String::as_str).chain(["key-of-the-client"]) {
        assert!(!seen.contains(token), "{token} in {seen}");
    }
}

#[tokio::test]
async fn answers_of_the_token_endpoint_become_errors_that_say_what_to_do() {
    let cases = [
        (
            CLIENT,
            401,
            r#"{"error":"invalid_client","error_description":"key-of-the-client"}"#,
            FailureKind::Auth,
            "E0418",
            "check the secret `id`",
        ),
        (REFRESH, 400, r#"{"error":"invalid_grant"}"#, FailureKind::Auth, "E0418", "put a new one into the secret `refresh`"),
        (SIGNED, 400, r#"{"error":"invalid_grant"}"#, FailureKind::Auth, "E0418", "the user in `config.user`"),
        (SIGNED, 400, r#"{"error":"invalid_client_id"}"#, FailureKind::Auth, "E0418", "certificate of the secret `pem`"),
        (REFRESH, 400, r#"{"error":"invalid_scope"}"#, FailureKind::Auth, "E0418", "allow the client"),
        (CLIENT, 404, "<html>", FailureKind::Auth, "E0418", "check the connection's config"),
        (CLIENT, 302, "", FailureKind::Auth, "E0418", "a redirect"),
        (CLIENT, 503, "", FailureKind::Transient, "E0419", "run again later"),
        (CLIENT, 200, "<html>", FailureKind::Transient, "E0419", "no JSON"),
        (CLIENT, 429, "", FailureKind::RateLimited, "E0419", "HTTP 429"),
    ];
    for (kind, status, body, failure_kind, code, says) in cases {
        let server = TokenServer::start(Rules { answer: Some((status, body)), ..Rules::default() }).await;
        let process = process(&server, Setting { store: Some(TestStore::new()), ..Setting::of(kind) });

        let answered = process.ask().await;

        let (found_kind, found_code, text) = process.failure();
        assert_eq!((found_kind, found_code), (failure_kind, code), "{status} {body}");
        assert!(text.contains(says) && !text.contains("key-of-the-client"), "{status} {body}: {text}");
        assert_eq!(answered.is_ok_and(|answer| answer.status == 401), failure_kind == FailureKind::Auth, "{status} {body}");
        let tries = if failure_kind == FailureKind::Transient { 3 } else { 1 };
        assert_eq!(server.exchanges().len(), tries, "{status} {body}");
        // Who asks at once again hears the same.
        assert_eq!((process.ask().await.is_ok_and(|answer| answer.status == 200), server.exchanges().len()), (false, tries));
    }
}

#[tokio::test]
async fn the_gate_holds_for_token_requests_too() {
    let server = TokenServer::start(Rules::default()).await;
    let client = json!({"token_urls": ["https://tokens.example.org/token"]});
    let process = process(&server, Setting { client, narrowed: vec![server.address.clone()], ..Setting::of(CLIENT) });

    assert!(matches!(process.ask().await, Err(HttpError::Denied(_))));

    assert!(server.exchanges().is_empty() && process.said().contains("egress.hosts"), "{}", process.said());
}

#[tokio::test]
async fn nothing_is_refreshed_where_nothing_can_be_kept() {
    let server = TokenServer::start(Rules::default()).await;
    let process = process(&server, Setting::of(REFRESH));

    assert!(matches!(process.ask().await, Err(HttpError::Denied(_))));

    assert_eq!((process.failure().1, server.exchanges().len()), ("E0420", 0));
}

#[tokio::test]
async fn a_service_that_rotates_never_meets_an_old_token_again() {
    let server = TokenServer::start(Rules { rotates: true, ..Rules::default() }).await;
    let store = TestStore::new();
    for _ in 0..4 {
        let process = process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(REFRESH) });
        for _ in 0..3 {
            assert_eq!(process.status().await, 200);
            server.revoke_access();
        }
    }

    assert!(!server.is_family_revoked());
    assert_eq!(server.exchanges().len(), 12);
}

#[tokio::test]
async fn tokens_are_durable_before_anything_of_them_is_used() {
    let server = TokenServer::start(Rules { rotates: true, ..Rules::default() }).await;
    let store = TestStore::new();
    for fault in [Fault::Commit, Fault::Commit, Fault::AfterCommit, Fault::Commit] {
        let process = process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(REFRESH) });
        store.fail_at(fault);

        assert!(process.ask().await.is_err(), "{fault:?}");

        // Ends here; the next one finds what the store has.
        store.fail_at(Fault::None);
        store.forget_claims();
        server.revoke_access();
        assert!(!server.is_family_revoked(), "{fault:?}");
    }
    let process = process(&server, Setting { store: Some(store), ..Setting::of(REFRESH) });
    assert_eq!(process.status().await, 200);
    server.revoke_access();
    assert_eq!((process.status().await, server.is_family_revoked()), (200, false));
}

#[tokio::test]
async fn two_processes_at_once_do_not_end_each_others_tokens() {
    let server = TokenServer::start(Rules { rotates: true, one_access_token: true, ..Rules::default() }).await;
    let store = TestStore::new();
    let one = process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(REFRESH) });
    let other = process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(REFRESH) });

    for round in 0..5 {
        let (first, second) = tokio::join!(one.status(), other.status());
        assert_eq!((first, second, server.exchanges().len()), (200, 200, round + 1));
        server.revoke_access();
    }

    assert!(!server.is_family_revoked());
}

#[tokio::test]
async fn the_kept_token_wins_until_another_is_configured() {
    let server = TokenServer::start(Rules { rotates: true, ..Rules::default() }).await;
    let store = TestStore::new();
    let with = |refresh| Setting { store: Some(Arc::clone(&store)), refresh, ..Setting::of(REFRESH) };
    assert_eq!(process(&server, with("refresh-0-configured")).status().await, 200);
    server.revoke_access();
    assert_eq!(process(&server, with("refresh-0-configured")).status().await, 200);

    server.install_again("refresh-0-installed-again");
    assert_eq!(process(&server, with("refresh-0-configured")).status().await, 401);
    assert_eq!(process(&server, with("refresh-0-installed-again")).status().await, 200);
    server.revoke_access();
    assert_eq!(process(&server, with("refresh-0-installed-again")).status().await, 200);
}

#[tokio::test]
async fn a_caller_that_is_given_up_loses_nothing() {
    let server = TokenServer::start(Rules { rotates: true, waits: true, ..Rules::default() }).await;
    let store = TestStore::new();
    let process = Arc::new(process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(REFRESH) }));
    let asking = Arc::clone(&process);
    let asking = tokio::spawn(async move { asking.status().await });

    server.asked(1).await;
    asking.abort();
    server.answer_all();
    store.committed(1).await;

    assert_eq!((process.status().await, server.exchanges().len()), (200, 1));
}

#[tokio::test]
async fn a_recording_holds_no_exchange_of_tokens_and_its_replay_needs_none() {
    let server = TokenServer::start(Rules { echoes: true, ..Rules::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::new(folder.path(), 0, &(Arc::new(|bytes: &mut [u8]| bytes.fill(3)) as RandomSource)));
    let with = |exchanges| Setting { exchanges, store: Some(TestStore::new()), ..Setting::of(REFRESH) };
    let recorded = process(&server, with(Exchanges::Record(Arc::clone(&recorder)))).ask().await.unwrap();
    let text = std::fs::read_to_string(recorder.write().unwrap().remove(0)).unwrap();

    let replay = Replay::open(folder.path(), Repeats::Refuse).unwrap();
    let replayed = process(&server, with(Exchanges::Replay(Arc::new(replay)))).ask().await.unwrap();

    assert_eq!((replayed.body, server.exchanges().len()), (recorded.body, 1));
    let shown = server.every_token().into_iter().chain(["/oauth/token".to_owned()]).find(|token| text.contains(token));
    assert_eq!(shown, None, "{text}");
}
