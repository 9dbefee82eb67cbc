use std::fs;
use std::path::Path;
use std::sync::Arc;

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, StreamSchema};
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;

use super::*;
use crate::recording::file::{Exchange, Failed};

const URL: &str = "https://shop.test/graphql?page=1";

fn recorder(folder: &Path) -> Recorder {
    Recorder::new(folder, 1_700_000_000_000_000, &(Arc::new(|bytes: &mut [u8]| bytes.fill(3)) as RandomSource))
}

fn taken(body: &str, answer: &[u8]) -> Taken {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let answer = Ok(TakenAnswer { status: 200, headers: headers.clone(), body: answer.to_vec() });
    Taken { method: "POST".to_owned(), url: URL.to_owned(), headers, body: body.as_bytes().to_vec(), answer }
}

/// Tells the recorder of people with these columns.
fn note(recorder: &Recorder, columns: &[(&str, PiiClass, &[&str])]) {
    let fields: Vec<Field> = columns.iter().map(|(name, class, _)| Field::new(*name, FieldType::Text).with_pii(*class)).collect();
    let arrays = columns.iter().map(|(_, _, values)| Arc::new(StringArray::from(values.to_vec())) as ArrayRef).collect();
    let stream = StreamSchema {
        name: "people".to_owned(),
        fields: fields.clone(),
        primary_key: Vec::new(),
        cursor_field: None,
        sync_modes: Vec::new(),
        parent: None,
    };
    recorder.note(&fields, &RecordBatch::try_new(stream.to_arrow(), arrays).unwrap());
}

fn ask(replay: &Replay, body: &str, matching: Matching) -> Result<Exchange, String> {
    replay.answer(&Wanted { connection: "shop", method: "POST", url: URL, body: body.as_bytes(), matching })
}

fn body_of(exchange: &Exchange) -> String {
    let body = exchange.response.as_ref().and_then(|response| response.body.as_ref()).and_then(file::Body::bytes);
    String::from_utf8(body.unwrap_or_default()).unwrap()
}

/// Records one exchange with people noted, and gives the file's text.
fn written(answer: &str, columns: &[(&str, PiiClass, &[&str])]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(folder.path());
    note(&recorder, columns);
    recorder.keep("shop", "p", taken("{}", answer.as_bytes()));
    fs::read_to_string(&recorder.write().unwrap()[0]).unwrap()
}

#[test]
fn what_was_recorded_is_given_again_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(folder.path());
    for answer in ["{ \"n\" : 1.50 }", "[2]", "three\r\n"] {
        recorder.keep("shop", "p", taken("{\"q\":1}", answer.as_bytes()));
    }
    recorder.keep("shop", "p", Taken { answer: Err(Failed::Timeout), ..taken("{\"q\":2}", b"") });
    recorder.write().unwrap();

    let replay = Replay::open(folder.path(), Repeats::Refuse).unwrap();

    let answers: Vec<String> = (0..3).map(|_| body_of(&ask(&replay, "{\"q\":1}", Matching::Exact).unwrap())).collect();
    assert_eq!(answers, ["{ \"n\" : 1.50 }", "[2]", "three\r\n"]);
    assert_eq!(ask(&replay, "{\"q\":2}", Matching::Exact).unwrap().failure, Some(Failed::Timeout));
    assert_eq!((replay.unused(), replay.recorded_at_us()), (0, 1_700_000_000_000_000));
    assert!(replay.check().is_ok());
}

#[test]
fn a_request_that_was_not_recorded_is_told_and_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(folder.path());
    recorder.keep("shop", "p", taken("{\"q\":1}", b"[1]"));
    recorder.write().unwrap();
    let replay = Replay::open(folder.path(), Repeats::Refuse).unwrap();

    assert!(ask(&replay, "{\"q\":2}", Matching::Exact).is_err());
    assert!(ask(&replay, "{\"q\":1}", Matching::Exact).is_ok());
    assert!(ask(&replay, "{\"q\":1}", Matching::Exact).is_err());

    let error = replay.check().unwrap_err();
    assert_eq!(error.code, "E0924");
    assert!(error.message.contains("POST https://shop.test/graphql of connection `shop`"), "{}", error.message);
}

#[test]
fn a_destination_is_answered_by_url_when_its_rows_differ() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(folder.path());
    recorder.keep("shop", "p", taken("{\"rows\":1}", b"[1]"));
    recorder.write().unwrap();

    let replay = Replay::open(folder.path(), Repeats::LastAnswer).unwrap();

    assert_eq!(body_of(&ask(&replay, "{\"rows\":9}", Matching::Target).unwrap()), "[1]");
    assert_eq!(body_of(&ask(&replay, "{\"rows\":1}", Matching::Exact).unwrap()), "[1]");
}

#[test]
fn an_answer_names_rows_by_the_tokens_of_the_replay_and_not_by_those_of_the_recording() {
    let token = |letter: &str| format!("pii0zq{}", letter.repeat(24));
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(folder.path());
    let [ann, bo, other] = ["a", "b", "c"].map(token);
    let request = |ann: &str, bo: &str| format!("[{{\"first_name\":\"{ann}\"}},\"{bo}.lower.md5\"]");
    recorder.keep("shop", "p", taken(&request(&ann, &bo), b"{\"job\":1}"));
    recorder.keep("shop", "p", taken("{}", format!("{{\"refused\":[\"{bo}.json\",\"{other}\"]}}").as_bytes()));
    recorder.write().unwrap();
    let replay = Replay::open(folder.path(), Repeats::Refuse).unwrap();

    ask(&replay, &request(&token("x"), &token("y")), Matching::Target).unwrap();
    let told = body_of(&ask(&replay, "{}", Matching::Target).unwrap());

    assert_eq!(told, format!("{{\"refused\":[\"{}.json\",\"{other}\"]}}", token("y")));
}

#[test]
fn personal_values_are_replaced_wherever_they_stand_and_alike() {
    let answer = r#"{"people":[{"mail":"Ann@x.test","n":"Ann","tags":["VIP"],"note":"ask ann@x.test or +33 6 12 34 56 78"},
{"mail":"ann@x.test","billing":{"firstName":"Zoe"}}],"type":"Ann"}"#;

    let text = written(answer, &[("mail", PiiClass::Email, &["Ann@x.test"]), ("n", PiiClass::Name, &["Ann"])]);

    for personal in ["ann@x.test", "Zoe", "34 56 78", "\\\"n\\\":\\\"Ann\\\""] {
        assert!(!text.to_lowercase().contains(&personal.to_lowercase()), "{personal} in {text}");
    }
    assert!(text.contains("VIP") && text.contains("\\\"type\\\":\\\"Ann\\\""), "{text}");
    let mails: Vec<String> = text.match_indices("@x.test").map(|(at, _)| text.get(at - 3..at).unwrap().to_lowercase()).collect();
    assert!(mails.len() == 3 && mails.iter().all(|mail| *mail == mails[0]), "{mails:?}");
}

#[test]
fn personal_values_of_text_that_is_no_json_are_replaced_too() {
    let text = written("id,name\n1,Ann Smith\n2,\"Smith, Bo\"\n", &[("n", PiiClass::Name, &["Ann Smith"])]);

    assert!(!text.contains("Ann Smith") && text.contains("id,name\\n1,"), "{text}");
}

#[test]
fn a_recording_that_cannot_be_redacted_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let people: &[(&str, PiiClass, &[&str])] = &[("mail", PiiClass::Email, &["ann@x.test"])];
    for (answer, code) in [(&b"\xff\xfe\x00"[..], "E0921"), (b"{\"pixel\":\"YW5u\"}", "")] {
        let recorder = recorder(folder.path());
        note(&recorder, people);
        recorder.keep("shop", "p", taken("{}", answer));

        let done = recorder.write();

        assert_eq!(done.as_ref().err().map_or("", |error| error.code), code);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), usize::from(done.is_ok()));
    }
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Replay::open(folder.path(), Repeats::Refuse).unwrap_err().code, "E0920");
    let header = r#"{"recording":1,"connection":"c","plugin":"p","recorded_at_us":0,"seed":""}"#;
    for (text, place) in [
        (String::new(), "line 1"),
        (header.replace(":1,", ":2,"), "line 1"),
        (format!("{header}\n\n{{\"request\":1}}"), "line 3"),
        (format!("{header}\n{{\"request\":{{\"method\":\"GET\",\"url\":\"\"}}}}"), "line 2"),
    ] {
        fs::write(folder.path().join("c.exchanges.jsonl"), &text).unwrap();
        let error = Replay::open(folder.path(), Repeats::Refuse).unwrap_err();
        assert!(error.code == "E0923" && error.message.contains(place), "{text}: {}", error.message);
    }
}
