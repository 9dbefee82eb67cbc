//! Tokens that are given for an assertion.

use super::*;

/// As the service reads it.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn form_of(server: &TokenServer) -> Vec<(String, String)> {
    url::form_urlencoded::parse(server.last_exchange().0.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn an_assertion_is_all_that_is_sent_and_it_is_in_the_name_of_the_configured_user() {
    let server = TokenServer::start(Rules::default()).await;
    let process = process(&server, Setting::of(SIGNED));

    assert_eq!(process.status().await, 200);

    let form = form_of(&server);
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, server.last_exchange().1), (vec!["grant_type", "assertion"], String::new()));
    let claims = keys::claims_of(&form[1].1).unwrap();
    let said = [&claims["iss"], &claims["sub"], &claims["aud"]].map(|claim| claim.as_str().unwrap().to_owned());
    assert_eq!(said, ["id-of-the-client".to_owned(), "me@acme.test".to_owned(), server.url("/oauth/token")]);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[tokio::test]
async fn a_client_with_a_secret_sends_it_beside_the_assertion() {
    let server = TokenServer::start(Rules::default()).await;
    let assertion = json!({"private_key": "pem", "audience": "https://login.test"});
    let client = json!({"client_secret": "key", "assertion": assertion, "scopes": ["api"]});

    assert_eq!(process(&server, Setting { client, ..Setting::of(SIGNED) }).status().await, 200);

    let form = form_of(&server);
    let claims = keys::claims_of(&form[1].1).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("id-of-the-client"), &json!("https://login.test")));
    let rest: Vec<String> = form.iter().skip(2).map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(rest, ["scope=api", "client_id=id-of-the-client", "client_secret=key-of-the-client"]);
}

#[tokio::test]
async fn a_token_is_kept_for_the_next_process_until_it_is_refused() {
    let server = TokenServer::start(Rules::default()).await;
    let store = TestStore::new();
    let next = || process(&server, Setting { store: Some(Arc::clone(&store)), ..Setting::of(SIGNED) });

    assert_eq!((next().status().await, next().status().await, server.exchanges().len()), (200, 200, 1));
    server.revoke_access();
    assert_eq!((next().status().await, server.exchanges().len()), (200, 2));
}

#[tokio::test]
async fn another_key_asks_for_another_token() {
    let server = TokenServer::start(Rules::default()).await;
    let store = TestStore::new();
    let with = |key| process(&server, Setting { store: Some(Arc::clone(&store)), key, ..Setting::of(SIGNED) });

    assert_eq!(with(keys::RSA).status().await, 200);
    assert_eq!((with(keys::RSA_PKCS1).status().await, server.exchanges().len()), (200, 2));
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_a_mistake_of_the_configuration_and_nothing_is_asked() {
    for (key, says) in [
        (keys::CERTIFICATE, "is a certificate or a public key"),
        (keys::ENCRYPTED, "is encrypted"),
        (keys::EC, "is no RSA key"),
        (keys::SHORT, "2,048"),
        ("hunter2", "holds no key"),
    ] {
        let server = TokenServer::start(Rules::default()).await;
        let process = process(&server, Setting { key, store: Some(TestStore::new()), ..Setting::of(SIGNED) });

        let answered = process.ask().await;

        let (kind, code, text) = process.failure();
        assert_eq!((kind, code, server.exchanges().len()), (FailureKind::Config, "E0421", 0), "{says}");
        assert!(text.contains("the secret `pem` of connection") && text.contains(says), "{text}");
        let Err(HttpError::Denied(seen)) = answered else { panic!("{says}: {answered:?}") };
        let body = key.lines().nth(1).unwrap_or(key);
        assert!(![text, seen, process.said()].iter().any(|shown| shown.contains(body)), "{says}");
    }
}

#[tokio::test]
async fn a_config_without_the_user_asks_for_nothing() {
    let server = TokenServer::start(Rules::default()).await;
    let assertion = json!({"private_key": "pem", "subject": "{config.login}"});
    let process = process(&server, Setting { client: json!({"assertion": assertion}), ..Setting::of(SIGNED) });

    let answered = process.ask().await;

    let Err(HttpError::Denied(reason)) = answered else { panic!("{answered:?}") };
    assert!(reason.contains("`login`, who the client acts for") && server.exchanges().is_empty(), "{reason}");
}

#[tokio::test]
async fn neither_the_key_nor_an_assertion_appears_anywhere_and_a_replay_needs_neither() {
    let server = TokenServer::start(Rules { echoes: true, ..Rules::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::new(folder.path(), 0, &(Arc::new(|bytes: &mut [u8]| bytes.fill(3)) as RandomSource)));
    let with = |exchanges, key| process(&server, Setting { exchanges, key, ..Setting::of(SIGNED) });
    let recording = with(Exchanges::Record(Arc::clone(&recorder)), keys::RSA);
    let recorded = recording.ask().await.unwrap();
    let text = std::fs::read_to_string(recorder.write().unwrap().remove(0)).unwrap();

    let replay = Replay::open(folder.path(), Repeats::Refuse).unwrap();
    let replayed = with(Exchanges::Replay(Arc::new(replay)), "not a key").ask().await.unwrap();

    assert_eq!((replayed.body, server.exchanges().len()), (recorded.body.clone(), 1));
    let (said, seen) = (recording.said(), String::from_utf8_lossy(&recorded.body).into_owned());
    let assertion = form_of(&server).remove(1).1;
    let secrets = [assertion.as_str(), keys::RSA.lines().nth(1).unwrap(), "access-token-1"];
    let shown = secrets.into_iter().find(|secret| [&text, &said, &seen].iter().any(|shown| shown.contains(secret)));
    assert_eq!(shown, None, "{text} {said} {seen}");
}
