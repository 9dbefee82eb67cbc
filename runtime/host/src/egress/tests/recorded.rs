use std::path::Path;

use super::*;
use crate::options::RandomSource;
use crate::recording::{Exchanges, Recorder, Repeats, Replay};

fn recording(server: &Server, folder: &Path) -> (Bench, Arc<Recorder>) {
    let random: RandomSource = Arc::new(|bytes: &mut [u8]| bytes.fill(3));
    let recorder = Arc::new(Recorder::new(folder, 0, &random));
    (bench(server, Setting { exchanges: Exchanges::Record(Arc::clone(&recorder)), ..Setting::default() }), recorder)
}

fn replaying(server: &Server, folder: &Path) -> Bench {
    let replay = Replay::open(folder, Repeats::Refuse).unwrap();
    bench(server, Setting { exchanges: Exchanges::Replay(Arc::new(replay)), ..Setting::default() })
}

#[tokio::test]
async fn a_recording_holds_no_secret_and_its_replay_sends_nothing_and_needs_none() {
    let echo = answer("200 OK", &["x-echo: the-token-value"], b"{\"got\":\"the-token-value\"}");
    let server = Server::answering(&[echo]).await;
    let folder = tempfile::tempdir().unwrap();
    let (bench, recorder) = recording(&server, folder.path());
    let mut expected = Vec::new();
    for slot in ["bearer", "query", "basic"] {
        expected.push(bench.send(with_auth(server.url("/?a=1"), slot)).await.unwrap());
    }
    let path = recorder.write().unwrap().remove(0);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("the-token-value") && !text.contains("bWU6dGhl"), "{text}");
    let sent = server.requests().len();

    let replay = replaying(&server, folder.path());
    let mut replayed = Vec::new();
    for slot in ["bearer", "query", "broken"] {
        replayed.push(replay.send(with_auth(server.url("/?a=1"), slot)).await.unwrap());
    }

    let bodies = |responses: &[Response]| responses.iter().map(|response| response.body.clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&replayed), bodies(&expected));
    assert_eq!(server.requests().len(), sent);
}

#[tokio::test]
async fn attempts_are_replayed_with_their_waits() {
    let busy = answer("429 Too Many Requests", &["retry-after: 7"], b"");
    let server = Server::answering(&[busy, ok(b"done")]).await;
    let folder = tempfile::tempdir().unwrap();
    let (bench, recorder) = recording(&server, folder.path());
    bench.send(get(server.url("/"))).await.unwrap();
    recorder.write().unwrap();

    let replay = replaying(&server, folder.path());
    let response = replay.send(get(server.url("/"))).await.unwrap();

    assert_eq!((response.body.as_slice(), replay.waited_ms()), (&b"done"[..], bench.waited_ms()));
}

#[tokio::test]
async fn a_replay_refuses_hosts_that_are_not_granted_and_requests_that_are_not_recorded() {
    let server = Server::answering(&[ok(b"")]).await;
    let folder = tempfile::tempdir().unwrap();
    let (bench, recorder) = recording(&server, folder.path());
    bench.send(get(server.url("/"))).await.unwrap();
    recorder.write().unwrap();

    let replay = replaying(&server, folder.path());

    for url in ["https://evil.test/".to_owned(), server.url("/other")] {
        let refused = replay.send(get(url)).await;
        assert!(matches!(refused, Err(HttpError::Denied(_))), "{refused:?}");
    }
}
