//! A destination that lets out everything it sees, against a host that repeats every request in its answer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{ArrayRef, Date32Array, StringArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::*;
use crate::options::KeyValue;

const ROWS: usize = 20;

/// Answers every request with itself; keeps what it got.
fn echo() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut piece) = (Vec::new(), [0u8; 4096]);
            let request = loop {
                let read = stream.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) || read == 0 {
                    break text;
                }
            };
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let answer = format!("{{\"head\":{},\"body\":{body}}}", serde_json::to_string(head).unwrap());
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-echo: ada3@example.org\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            // Before it is answered: who has the answer looks at once.
            kept.lock().unwrap().push(request);
            drop(stream.write_all([head, answer].concat().as_bytes()));
        }
    });
    (address, got)
}

fn fields() -> Vec<Field> {
    vec![
        Field::new("email", FieldType::Text).with_pii(PiiClass::Email),
        Field::new("name", FieldType::Text).with_pii(PiiClass::Name),
        Field::new("born", FieldType::Date).with_pii(PiiClass::BirthDate),
        Field::new("country", FieldType::Text),
    ]
}

fn people() -> OutgoingBatch {
    let texts =
        |text: &dyn Fn(usize) -> String| Arc::new((0..ROWS).map(|row| Some(text(row))).collect::<StringArray>()) as ArrayRef;
    let columns = vec![
        texts(&|row| format!("ada{row}@example.org")),
        texts(&|row| format!("Ada \"{row}\" Lovelace")),
        Arc::new((0..ROWS).map(|row| Some(i32::try_from(row).unwrap())).collect::<Date32Array>()) as ArrayRef,
        texts(&|_| "GB".to_owned()),
    ];
    let schema = Schema::new(fields().iter().map(Field::to_arrow).collect::<Vec<_>>());
    let records = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    OutgoingBatch { idempotency_key: "key".to_owned(), operation: RowOperation::Upsert, records }
}

/// Keeps what plugins put into their store.
#[derive(Default)]
struct OpenStore(Mutex<Vec<u8>>);

impl KeyValue for OpenStore {
    fn get(&self, _: &str, _: &str, _: &str) -> affluent_model::Result<Option<Vec<u8>>> {
        Ok(Some(self.0.lock().unwrap().clone()))
    }

    fn put(&self, _: &str, _: &str, _: &str, value: &[u8]) -> affluent_model::Result<()> {
        *self.0.lock().unwrap() = value.to_vec();
        Ok(())
    }

    fn delete(&self, _: &str, _: &str, _: &str) -> affluent_model::Result<()> {
        Ok(())
    }
}

fn dumping_host(store: Arc<OpenStore>) -> (Host, Recorded) {
    let (mut options, recorded) = TestHost::new().with_plugins(plugins_built()).with_real_clock().split();
    options.cache_dir = Some(plugins_built().join("host-test-cache"));
    options.key_value = store;
    (Host::new(options).unwrap(), recorded)
}

async fn open(host: &Host, address: &str, plaintext: &[&str]) -> Box<dyn Destination> {
    let mut connection = connection("hostile", json!({"behaviour": "dump_everything", "url": format!("http://{address}")}));
    connection.egress.http = true;
    connection.egress.private = vec![address.split('/').next().unwrap().to_owned()];
    let request = DestinationRequest {
        pipeline: "pipe".to_owned(),
        connection: Arc::new(connection),
        object: "items".to_owned(),
        mode: "upsert".to_owned(),
        match_fields: vec!["email".to_owned()],
        list: None,
        fields: fields(),
        plaintext: plaintext.iter().map(|name| (*name).to_owned()).collect(),
        run: "run-1".to_owned(),
    };
    host.open_destination(request).await.unwrap()
}

/// Everything that the host recorded of the plugin.
async fn recorded_texts(recorded: &Recorded, store: &OpenStore, destination: &mut dyn Destination) -> String {
    let outcome = destination.write(people()).await.unwrap();
    let Outcome::Pending { token, .. } = outcome else { panic!("{outcome:?}") };
    let failure = destination.poll(&token, &people()).await.unwrap_err();
    let (log, audit) = (recorded.log.lock().unwrap(), recorded.audit.lock().unwrap());
    let kept = String::from_utf8_lossy(&store.0.lock().unwrap()).into_owned();
    format!("{token}\n{failure:?}\n{:?}\n{:?}\n{kept}", *log, *audit)
}

fn personal(text: &str) -> Option<&'static str> {
    ["ada3", "@example", "Lovelace", "1970-01", "the-token-value"].into_iter().find(|personal| text.contains(personal))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_dumps_all_it_sees_shows_no_personal_value_and_no_secret() {
    let (address, got) = echo();
    let store = Arc::new(OpenStore::default());
    let (host, recorded) = dumping_host(Arc::clone(&store));
    let mut destination = open(&host, &address, &[]).await;

    let shown = recorded_texts(&recorded, &store, &mut *destination).await;

    assert_eq!(personal(&shown), None, "{shown}");
    assert!(shown.matches("pii0zq").count() > 4 * ROWS && shown.contains("GB"), "{shown}");
    let got = got.lock().unwrap();
    let body: Value = serde_json::from_str(got[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    let seen: Vec<&str> = body["seen"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (at, expected) in
        [(3, "ada3@example.org"), (ROWS + 3, "Ada \"3\" Lovelace"), (2 * ROWS + 3, "1970-01-04"), (3 * ROWS, "GB")]
    {
        assert_eq!(seen[at], expected);
    }
    assert!(got[0].to_lowercase().contains("authorization: bearer the-token-value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_granted_in_the_clear_is_seen_and_no_other() {
    let (address, got) = echo();
    let store = Arc::new(OpenStore::default());
    let (host, recorded) = dumping_host(Arc::clone(&store));
    let mut destination = open(&host, &address, &["name"]).await;

    let shown = recorded_texts(&recorded, &store, &mut *destination).await;

    assert!(shown.contains("Lovelace") && !shown.contains("@example") && !shown.contains("1970-01"), "{shown}");
    assert!(got.lock().unwrap()[0].contains("ada3@example.org"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_batch_is_refused_and_audited() {
    let (address, got) = echo();
    let (host, recorded) = dumping_host(Arc::default());
    let mut destination = open(&host, &format!("{address}/?who={}", foreign_token()), &[]).await;

    let failure = destination.write(people()).await.unwrap_err();

    let audit = recorded.audit.lock().unwrap();
    assert!(audit.iter().any(|event| event.reason.contains("stands for no value of this batch")), "{audit:?} {failure:?}");
    assert!(got.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_the_clear_that_looks_like_a_token_arrives_as_it_is() {
    let (address, got) = echo();
    let (host, _) = dumping_host(Arc::default());
    let mut destination = open(&host, &address, &["name"]).await;
    let mut columns: Vec<ArrayRef> = people().records.columns().to_vec();
    let texts = [foreign_token(), format!("so: {}.md5", foreign_token()), "pii0zq".to_owned()];
    for column in [1, 3] {
        columns[column] = Arc::new((0..ROWS).map(|row| texts.get(row).cloned()).collect::<StringArray>());
    }
    let records = RecordBatch::try_new(people().records.schema(), columns).unwrap();

    destination.write(OutgoingBatch { records, ..people() }).await.unwrap();

    let got = got.lock().unwrap();
    let body: Value = serde_json::from_str(got[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    let seen: Vec<&str> = body["seen"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for text in texts {
        assert_eq!(seen.iter().filter(|seen| **seen == text).count(), 2, "{text}: {seen:?}");
    }
}

fn foreign_token() -> String {
    format!("pii0zq{}", "a".repeat(24))
}
