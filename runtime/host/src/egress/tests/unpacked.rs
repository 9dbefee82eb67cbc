//! Answers that are packed by their content: what a destination gets of them, and what is refused.

use affluent_model::limits::{ARCHIVE_FILE_BYTES_MAX, ARCHIVE_FILES_MAX, ARCHIVE_NAME_BYTES_MAX};
use affluent_model::pii::PiiClass;

use super::*;
use crate::blind::{BatchValues, TokenKey, ValueColumn};

/// The bench of a destination that sends to Ann, and Ann's tokens: of the address and of the name.
fn destination(server: &Server) -> (Bench, [String; 2]) {
    let vault = TokenVault::new(&TokenKey::new([3; 32])).unwrap();
    let mut values = BatchValues::with_capacity(0, 0);
    let personal = [(PiiClass::Email, "email", "Ann@X.test"), (PiiClass::Name, "name", "Zoë \"Z\" O'Neil\nLee")];
    let tokens = personal.map(|(class, key, text)| {
        values.begin_column(ValueColumn { class, key: key.to_owned(), is_json: false });
        let mark = vault.tokenizer().mark(text.as_bytes());
        values.insert(mark, text);
        crate::blind::token_text(mark)
    });
    vault.hold(Arc::new(values));
    let mut bench = plain(server);
    bench.egress.tokens = Some(Arc::new(vault));
    (bench, tokens)
}

/// One entry of a tar: its header, its bytes, and what fills the last block.
fn entry(kind: u8, size: usize, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..9].copy_from_slice(b"../../etc");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; (512 - bytes.len() % 512) % 512];
    [header.to_vec(), bytes.to_vec(), padding].concat()
}

fn file(text: &str) -> Vec<u8> {
    entry(b'0', text.len(), text.as_bytes())
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

async fn sent(answers: &[Vec<u8>], mode: BodyMode) -> (Bench, Result<Vec<u8>, HttpError>, [String; 2]) {
    let server = Server::answering(answers).await;
    let (bench, tokens) = destination(&server);
    let body = match bench.egress.send(get(server.url("/")), mode).await {
        Ok(Answer { body: AnswerBody::Whole(body), .. }) => Ok(body),
        Ok(Answer { body: AnswerBody::Stream(mut reader), .. }) => reader.read_all().await,
        Err(error) => Err(error),
    };
    (bench, body, tokens)
}

#[tokio::test]
async fn an_archive_becomes_one_array_without_personal_values_also_where_they_are_escaped_twice() {
    let text = "{\"email_address\":\"ann@x.test\",\"id\":\"ddfb97efd93ca3019049ed7ddc4bf6a9\",\"name\":\"Zo\\u00eb \\\"Z\\\" O'Neil\\nLee\",\"n\":1}";
    let told = json!([{ "status_code": 400, "operation_id": "row 1", "response": text }]).to_string();
    let long_name = entry(b'L', 300, &[b'a'; 300]);
    let archive = tar(&[entry(b'5', 0, b""), file(&told), long_name, file(""), file("{\"of\": \"ann%40x.test\"}\n")]);
    for (what, headers, body) in [
        ("by content", vec!["content-type: application/x-gzip"], gzip(&archive)),
        ("by header", vec!["content-encoding: gzip"], gzip(&archive)),
        ("by both", vec!["content-encoding: gzip"], gzip(&gzip(&archive))),
        ("unpacked", vec![], archive.clone()),
        ("without its end", vec![], archive[..archive.len() - 1024].to_vec()),
    ] {
        for mode in [BodyMode::Whole, BodyMode::Stream] {
            let (_, body, [email, name]) = sent(&[answer("200 OK", &headers, &body)], mode).await;

            let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
            let response = json!({ "email_address": email, "id": format!("{email}.lower.md5"), "name": name, "n": 1 });
            let read: serde_json::Value = serde_json::from_str(body[0][0]["response"].as_str().unwrap()).unwrap();
            assert_eq!(read, response, "{what}");
            assert_eq!((&body[0][0]["operation_id"], &body[1]), (&json!("row 1"), &json!({ "of": email })), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_compressed_and_no_archive_is_cleared_too_and_a_source_gets_it_as_it_is() {
    let packed = gzip(b"email\nann@x.test\n");
    let (_, body, [email, _]) = sent(&[ok(&packed)], BodyMode::Whole).await;
    assert_eq!(body.unwrap(), format!("email\n{email}\n").as_bytes());

    for short in [&b""[..], b"{}", b"ab", b"\x1f"] {
        assert_eq!(sent(&[ok(short)], BodyMode::Whole).await.1.unwrap(), short);
    }
    let server = Server::answering(&[ok(&packed)]).await;
    assert_eq!(plain(&server).send(get(server.url("/"))).await.unwrap().body, packed);
}

#[tokio::test]
async fn an_archive_that_breaks_a_limit_or_holds_what_cannot_be_looked_into_is_refused_and_audited() {
    let zeros = |count: usize| vec![0u8; count];
    let many: Vec<Vec<u8>> = (0..=ARCHIVE_FILES_MAX).map(|_| file("1")).collect();
    let no_sum = {
        let mut file = file("{}");
        file[0] = b'x';
        tar(&[super::unpacked::file("{}"), file])
    };
    let deep = "[".repeat(129) + &"]".repeat(129);
    for (what, body, reason) in [
        ("a bomb", gzip(&zeros(20 << 20)), "larger than"),
        ("a bomb of a file", gzip(&tar(&[entry(b'0', 12 << 20, &[b' '; 12 << 20])])), "larger than"),
        ("a bomb in a bomb", gzip(&gzip(&zeros(20 << 20))), "compressed twice"),
        ("a file over the limit", gzip(&entry(b'0', ARCHIVE_FILE_BYTES_MAX + 1, b"")), "larger than 16777216"),
        ("a huge name", gzip(&tar(&[entry(b'L', ARCHIVE_NAME_BYTES_MAX + 1, b""), file("1")])), "larger than 65536"),
        ("many files", tar(&many), "too many files"),
        ("a link", gzip(&tar(&[file("1"), entry(b'2', 0, b"")])), "something else than files"),
        ("a wrong checksum", gzip(&no_sum), "is broken"),
        ("a file that is no JSON", gzip(&tar(&[file("ann@x.test")])), "no JSON"),
        ("deep JSON", gzip(&tar(&[file(&deep)])), "nested deeper than 128"),
        ("a zip", b"PK\x03\x04 and more".to_vec(), "cannot be looked into"),
        ("a zip in gzip", gzip(b"PK\x03\x04 and more"), "cannot be looked into"),
    ] {
        let (bench, body, _) = sent(&[ok(&body)], BodyMode::Whole).await;

        assert!(matches!(body, Err(HttpError::TooLarge(_) | HttpError::Invalid(_))), "{what}: {body:?}");
        let events = bench.recorded.audit.lock().unwrap().clone();
        let [event] = events.as_slice() else { panic!("{what}: {events:?}") };
        assert!(event.reason.contains(reason), "{what}: {}", event.reason);
    }
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_an_error_that_another_try_may_cure() {
    let archive = tar(&[file("[1, 2, 3]"), file("[4]")]);
    let packed = gzip(&archive);
    for cut in [gzip(&archive[..515]), gzip(&archive[..1030]), packed[..packed.len() - 9].to_vec(), packed[..20].to_vec()] {
        let (_, body, _) = sent(&[ok(&cut)], BodyMode::Whole).await;
        assert!(matches!(body, Err(HttpError::Connect(_))), "{body:?}");
    }
    let (_, body, _) = sent(&[ok(&packed[..20]), ok(&packed)], BodyMode::Whole).await;
    assert_eq!(body.unwrap(), b"[[1, 2, 3],[4]]");
}
