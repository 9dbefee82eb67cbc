use affluent_sdk::columns::Columns;
use affluent_sdk::{Payload, testing};
use proptest::prelude::*;

use super::*;
use crate::write::{Shape, write_lines};

fn config(text: &str) -> Config {
    serde_json::from_str(text).unwrap()
}

fn events() -> Config {
    config(r#"{"streams": {"events": {"files": "*.jsonl"}}}"#)
}

fn open(config: &Config, sync: SyncMode, state: Option<Vec<u8>>) -> JsonlSource {
    let stream = JsonlSource::discover(config).unwrap().remove(0);
    let spec = StreamSpec { stream, sync, since_us: None, lookback_ms: 0, children: Vec::new() };
    JsonlSource::open(config.clone(), spec, state).unwrap()
}

const WIDE: Limits = Limits { max_rows: 1_000, max_bytes: 1 << 20 };

fn columns(page: &Page) -> Vec<&Columns> {
    let of = |part: &'_ Part| matches!(part.payload, Payload::Columns(_));
    assert!(page.parts.iter().all(of));
    page.parts
        .iter()
        .filter_map(|part| if let Payload::Columns(columns) = &part.payload { Some(columns) } else { None })
        .collect()
}

/// Records as the destination would write them.
fn records(page: &Page) -> Vec<String> {
    let mut out = Vec::new();
    for columns in columns(page) {
        write_lines(columns, &[], Shape::Plain, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn rejected(page: &Page) -> Vec<String> {
    page.rejected.iter().map(|row| format!("{}: {}", row.place, row.code)).collect()
}

fn read_all(config: &Config) -> (Vec<String>, Vec<String>) {
    let mut source = open(config, SyncMode::FullRefresh, None);
    let page = source.next(WIDE).unwrap();
    assert_eq!(page.position, Position::End);
    (records(&page), rejected(&page))
}

#[test]
fn nested_objects_become_columns_and_lists_documents() {
    testing::put_input(
        "e.jsonl",
        r#"{"id":"007","at":"2026-01-31T10:00:00Z","who":{"email":"a@x.org","tags":["b"],"deep":{"n":1.50}}}"#,
        1,
    );

    let streams = JsonlSource::discover(&events()).unwrap();

    let fields: Vec<String> =
        streams[0].fields.iter().map(|field| format!("{}:{}", field.name, field.field_type.as_str())).collect();
    assert_eq!(fields, ["id:text", "at:timestamp", "who_email:text", "who_tags:json", "who_deep_n:decimal"]);
    assert_eq!(streams[0].fields[2].pii, Some(affluent_sdk::PiiClass::Email));
    let expected = r#"{"id":"007","at":"2026-01-31T10:00:00Z","who_email":"a@x.org","who_tags":["b"],"who_deep_n":1.50}"#;
    assert_eq!(read_all(&events()).0, [expected]);
}

#[test]
fn members_may_come_in_any_order_or_not_at_all() {
    testing::put_input(
        "e.jsonl",
        "{\"a\":1,\"b\":{\"c\":2},\"d\":\"x\"}\n{\"d\":\"y\",\"b\":{\"c\":3}}\n\n{\"b\":null,\"a\":4}\n{}\n",
        1,
    );

    let expected = [
        r#"{"a":1,"b_c":2,"d":"x"}"#,
        r#"{"a":null,"b_c":3,"d":"y"}"#,
        r#"{"a":4,"b_c":null,"d":null}"#,
        r#"{"a":null,"b_c":null,"d":null}"#,
    ];
    assert_eq!(read_all(&events()).0, expected);
}

#[test]
fn a_broken_line_is_rejected_with_its_place_and_the_rest_is_read() {
    let text = b"{\"a\":1}\n{\"a\":\n[1]\n{\"a\":\"x\"}\n{\"a\":1,\"a\":2}\n{\"a\":\"\xff\"}\n{\"a\":[2]}\n{\"b\":1}\n{\"a\":3}";
    testing::put_input("e.jsonl", text.to_vec(), 1);
    let config = config(
        r#"{"streams": {"e": {"files": "e.jsonl", "primary_key": ["a"], "columns": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}"#,
    );

    let (read, refused) = read_all(&config);

    assert_eq!(read, [r#"{"a":1,"b":null}"#, r#"{"a":3,"b":null}"#]);
    let codes = [
        "2: jsonl.syntax",
        "3: jsonl.object",
        "4: jsonl.value",
        "5: jsonl.twice",
        "6: jsonl.encoding",
        "7: jsonl.value",
        "8: jsonl.key",
    ];
    assert_eq!(refused, codes.map(|code| format!("e.jsonl line {code}")));
}

#[test]
fn fields_that_the_sample_did_not_show_are_ignored_and_counted() {
    testing::put_input("e.jsonl", format!("{}{{\"a\":2,\"new\":{{\"x\":1}}}}\n", "{\"a\":1}\n".repeat(1_000)), 1);
    let mut source = open(&events(), SyncMode::FullRefresh, None);

    let count: u32 = [WIDE, WIDE]
        .iter()
        .map(|limits| columns(&source.next(*limits).unwrap()).iter().map(|columns| columns.rows).sum::<u32>())
        .sum();

    assert_eq!(count, 1_001);
    let logs = testing::logs();
    assert_eq!(logs.len(), 1, "{logs:?}");
}

#[test]
fn a_field_with_objects_and_other_values_is_one_document() {
    testing::put_input("e.jsonl", "{\"a\":{\"x\":1}}\n{\"a\":2}\n{\"a\":null}\n", 1);

    assert_eq!(read_all(&events()).0, [r#"{"a":{"x":1}}"#, r#"{"a":2}"#, r#"{"a":null}"#]);
}

#[test]
fn exact_numbers_stay_exact() {
    let line = r#"{"money":19.90,"big":123456789012345678,"huge":12345678901234567890,"ratio":0.1234567}"#;
    testing::put_input("e.jsonl", line, 1);

    let expected = r#"{"money":19.90,"big":123456789012345678,"huge":"12345678901234567890","ratio":0.1234567}"#;
    assert_eq!(read_all(&events()).0, [expected]);
}

#[test]
fn columns_can_be_declared_renamed_and_formatted() {
    testing::put_input("e.jsonl", r#"{"a":{"when":"31/01/1970"},"keep":{"x":1}}"#, 1);
    let config = config(
        r#"{"streams": {"e": {"files": "e.jsonl", "columns": {"a_when": {"format": "%d/%m/%Y", "rename": "day"}, "keep": {"type": "json"}, "later": {"type": "text"}}}}}"#,
    );

    assert_eq!(read_all(&config).0, [r#"{"day":"1970-01-31","keep":{"x":1},"later":null}"#]);
}

#[test]
fn an_incremental_read_goes_on_where_a_file_grew() {
    testing::put_input("e.jsonl", "{\"a\":1}\n{\"a\":2}", 1);
    let mut source = open(&events(), SyncMode::Incremental, None);
    let first = source.next(WIDE).unwrap();
    testing::put_input("e.jsonl", "{\"a\":1}\n{\"a\":22}\n{\"a\":3}\n", 2);

    let second = open(&events(), SyncMode::Incremental, first.state.clone()).next(WIDE).unwrap();

    assert_eq!((records(&first).len(), first.position), (2, Position::Idle));
    assert_eq!(records(&second), [r#"{"a":22}"#, r#"{"a":3}"#]);
}

#[test]
fn a_line_beyond_the_limit_is_rejected_and_passed() {
    testing::put_input("e.jsonl", format!("{{\"a\":\"x\"}}\n{{\"a\":\"{}\"}}\n{{\"a\":\"y\"}}\n", "z".repeat(3 << 20)), 1);

    let (read, refused) = read_all(&events());

    assert_eq!(read, [r#"{"a":"x"}"#, r#"{"a":"y"}"#]);
    assert_eq!(refused, ["e.jsonl line 2: jsonl.too_long"]);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(texts in prop::collection::vec((any::<i64>(), prop::option::of(any::<String>()), -1_000_000i64..1_000_000), 1..20)) {
        testing::reset();
        let line = |(id, text, cents): &(i64, Option<String>, i64)| format!("{}\n", serde_json::json!({"id": id.to_string(), "text": text, "n": {"cents": cents}}));
        testing::put_input("e.jsonl", texts.iter().map(line).collect::<String>(), 1);
        let config = config(r#"{"streams": {"e": {"files": "e.jsonl", "columns": {"id": {"type": "integer"}, "text": {"type": "text"}, "n_cents": {"type": "integer"}}}}}"#);

        let (read, refused) = read_all(&config);

        prop_assert_eq!(refused, Vec::<String>::new());
        for (line, (id, text, cents)) in read.iter().zip(&texts) {
            let expected = serde_json::json!({"id": id, "text": text, "n_cents": cents});
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap(), expected);
        }
        prop_assert_eq!(read.len(), texts.len());
    }
}
