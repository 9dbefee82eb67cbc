use affluent_sdk::columns::{Column, ColumnData};
use affluent_sdk::{Payload, testing};
use proptest::prelude::*;

use super::*;

fn config(yaml_as_json: &str) -> Config {
    serde_json::from_str(yaml_as_json).unwrap()
}

fn customers() -> Config {
    config(r#"{"streams": {"customers": {"files": "customers*.csv", "primary_key": ["id"]}}}"#)
}

fn open(config: &Config, sync: SyncMode, state: Option<Vec<u8>>) -> CsvSource {
    let stream = CsvSource::discover(config).unwrap().remove(0);
    let spec = StreamSpec { stream, sync, since_us: None, lookback_ms: 0, children: Vec::new() };
    CsvSource::open(config.clone(), spec, state).unwrap()
}

/// Values of a record as text, null as `-`.
fn shown(column: &Column, row: usize) -> String {
    if !column.is_present(row) {
        return "-".to_owned();
    }
    let text = |offsets: &[u32], data: &[u8]| {
        String::from_utf8(data[offsets[row] as usize..offsets[row + 1] as usize].to_vec()).unwrap()
    };
    match &column.data {
        ColumnData::Ints(values) | ColumnData::Timestamps(values) => values[row].to_string(),
        ColumnData::Dates(values) => values[row].to_string(),
        ColumnData::Booleans(values) => values[row].to_string(),
        ColumnData::Floats(values) => values[row].to_string(),
        ColumnData::Texts(bytes) | ColumnData::Jsons(bytes) | ColumnData::Decimals(bytes) | ColumnData::Binaries(bytes) => {
            text(&bytes.offsets, &bytes.data)
        }
    }
}

fn records(page: &Page) -> Vec<String> {
    let mut records = Vec::new();
    for part in &page.parts {
        let Payload::Columns(columns) = &part.payload else { panic!("columns") };
        for row in 0..columns.rows as usize {
            records.push(columns.columns.iter().map(|column| shown(column, row)).collect::<Vec<_>>().join("|"));
        }
    }
    records
}

fn rejected(page: &Page) -> Vec<String> {
    page.rejected.iter().map(|row| format!("{}: {}", row.place, row.code)).collect()
}

const WIDE: Limits = Limits { max_rows: 1_000, max_bytes: 1 << 20 };

/// Records and rejected rows of everything that is left, and the last state.
fn drain(source: &mut CsvSource, limits: Limits) -> (Vec<String>, Vec<String>, Vec<u8>) {
    let (mut read, mut refused) = (Vec::new(), Vec::new());
    loop {
        let page = source.next(limits).unwrap();
        read.extend(records(&page));
        refused.extend(rejected(&page));
        if page.position != Position::More {
            return (read, refused, page.state.unwrap());
        }
    }
}

#[test]
fn columns_get_types_and_classes_from_a_sample() {
    testing::put_input("customers.csv", "\u{feff}id, email ,total,joined,phone\n7,a@x.org,19.90,2026-01-31,491701234567\n", 1);

    let streams = CsvSource::discover(&customers()).unwrap();

    let fields = serde_json::to_string(&streams[0].fields).unwrap();
    let expected = r#"[{"name":"id","type":"integer","nullable":false},{"name":"email","type":"text","nullable":true,"pii":"email"},{"name":"total","type":"decimal","nullable":true},{"name":"joined","type":"date","nullable":true},{"name":"phone","type":"text","nullable":true,"pii":"phone"}]"#;
    assert_eq!(fields, expected);
}

#[test]
fn records_keep_their_types_and_nulls() {
    testing::put_input("customers.csv", "id,total,at,ok,zip\n1,19.90,1970-01-01T00:00:01Z,true,01234\n2,,,,\"\"\n", 1);

    let (read, refused, _) = drain(&mut open(&customers(), SyncMode::FullRefresh, None), WIDE);

    assert_eq!(read, ["1|19.90|1000000|1|01234", "2|-|-|-|-"]);
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn a_broken_line_is_rejected_with_its_place_and_the_rest_is_read() {
    let text = b"id,name\n1,a\n2\n3,\"b\"c\nx,d\n,e\n4,\xff\n5,\"two\nlines\"\n6,\"open\n7,z\n";
    testing::put_input("customers.csv", text.to_vec(), 1);
    let config = config(
        r#"{"streams": {"customers": {"files": "customers.csv", "primary_key": ["id"], "columns": {"id": {"type": "integer"}}}}}"#,
    );

    let (read, refused, _) = drain(&mut open(&config, SyncMode::FullRefresh, None), WIDE);

    assert_eq!(read, ["1|a", "5|two\nlines", "7|z"]);
    let expected = [
        "customers.csv line 3: csv.field_count",
        "customers.csv line 4: csv.quote",
        "customers.csv line 5: csv.value",
        "customers.csv line 6: csv.key",
        "customers.csv line 7: csv.encoding",
        "customers.csv line 10: csv.quote",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn a_rejected_row_never_shows_its_values_in_the_reason() {
    testing::put_input("customers.csv", "id\nada@example.org\n", 1);
    let config = config(r#"{"streams": {"customers": {"files": "customers.csv", "columns": {"id": {"type": "integer"}}}}}"#);

    let page = open(&config, SyncMode::FullRefresh, None).next(WIDE).unwrap();

    assert_eq!(page.rejected[0].message, "field `id` is of type integer, which this text does not fit");
    assert_eq!(page.rejected[0].raw.as_deref(), Some(b"ada@example.org".as_slice()));
}

#[test]
fn a_number_with_leading_zeros_after_the_sample_is_not_made_smaller() {
    testing::put_input("customers.csv", format!("id\n{}0042\n", "1\n".repeat(1_000)), 1);

    let (_, refused, _) = drain(&mut open(&customers(), SyncMode::FullRefresh, None), WIDE);

    assert_eq!(refused, ["customers.csv line 1002: csv.value"]);
}

#[test]
fn columns_can_be_declared_renamed_and_formatted() {
    testing::put_input("o.csv", "ref;total;when;note\n007;1,5;31/01/1970;'a;b'\n", 1);
    let config = config(
        r#"{"streams": {"orders": {"files": "o.csv", "delimiter": ";", "quote": "'", "null_values": ["1,5"], "columns": {
            "ref": {"rename": "id", "type": "text"}, "when": {"format": "%d/%m/%Y"}, "note": {"pii": "free_text"}}}}}"#,
    );

    let mut source = open(&config, SyncMode::FullRefresh, None);

    assert_eq!(source.stream.fields[0].name, "id");
    assert_eq!(source.stream.field("note").unwrap().pii, Some(affluent_sdk::PiiClass::FreeText));
    assert_eq!(drain(&mut source, WIDE).0, ["007|-|30|a;b"]);
}

#[test]
fn mistakes_in_headers_name_the_file() {
    let cases = [
        ("id,id\n", "file `customers.csv`: column `id` appears twice"),
        ("id,\n", "file `customers.csv`: column 2 has no name"),
        ("", "every file that matches `customers*.csv` is empty"),
    ];

    for (text, expected) in cases {
        testing::put_input("customers.csv", text, 1);
        assert_eq!(CsvSource::discover(&customers()).unwrap_err().message, expected);
    }
}

#[test]
fn files_of_one_stream_have_one_header() {
    testing::put_input("customers-1.csv", "id,a\n", 1);
    testing::put_input("customers-2.csv", "id,b\n", 1);

    let error = CsvSource::discover(&customers()).unwrap_err();

    assert!(error.message.contains("`customers-2.csv` has other columns than `customers-1.csv`"), "{error}");
}

#[test]
fn an_incremental_read_takes_only_what_is_new() {
    testing::put_input("customers-1.csv", "id\n1\n2\n", 1);
    let (first, _, state) = drain(&mut open(&customers(), SyncMode::Incremental, None), WIDE);
    let (again, _, state) = drain(&mut open(&customers(), SyncMode::Incremental, Some(state)), WIDE);
    testing::put_input("customers-1.csv", "id\n1\n2\nx\n3\n", 2);
    testing::put_input("customers-2.csv", "id\n9\n", 2);

    let (new, refused, _) = drain(&mut open(&customers(), SyncMode::Incremental, Some(state)), WIDE);

    assert_eq!((first.len(), again.len()), (2, 0));
    // The new line makes the column text: a type is guessed anew by each discovery.
    assert_eq!(new, ["x", "3", "9"]);
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn a_last_line_that_was_still_being_written_is_read_again() {
    testing::put_input("customers.csv", "id,name\n1,a\n2,b", 1);
    let (first, _, state) = drain(&mut open(&customers(), SyncMode::Incremental, None), WIDE);
    testing::put_input("customers.csv", "id,name\n1,a\n2,bob\n", 2);

    let (second, _, _) = drain(&mut open(&customers(), SyncMode::Incremental, Some(state)), WIDE);

    assert_eq!((first, second), (vec!["1|a".to_owned(), "2|b".to_owned()], vec!["2|bob".to_owned()]));
}

#[test]
fn records_larger_than_a_chunk_are_read() {
    let long = "x".repeat(700_000);
    testing::put_input("customers.csv", format!("id,note\n1,\"{long}\"\n2,{long}\n3,short\n"), 1);

    let (read, _, _) = drain(&mut open(&customers(), SyncMode::FullRefresh, None), WIDE);

    assert_eq!(read.iter().map(String::len).collect::<Vec<_>>(), [700_002, 700_002, 7]);
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0u32..1_000, "[a-zé ,\"\n]{0,8}").prop_map(|(id, note)| format!("{id},\"{}\"", note.replace('"', "\"\""))),
        1 => "[0-9a-z,\"]{0,10}",
    ]
}

proptest! {
    #[test]
    fn reading_from_any_state_gives_the_rest(lines in prop::collection::vec(any_line(), 0..30), ending in prop::sample::select(vec!["\n", "\r\n"]), max_rows in 1u32..5) {
        testing::reset();
        testing::put_input("customers.csv", format!("id,note{ending}{}", lines.join(ending)), 1);
        let config = config(r#"{"streams": {"customers": {"files": "*.csv", "columns": {"id": {"type": "integer"}}}}}"#);
        let (whole, whole_rejected, _) = drain(&mut open(&config, SyncMode::FullRefresh, None), WIDE);
        let (mut read, mut refused, mut state) = (Vec::new(), Vec::new(), None);

        loop {
            let page = open(&config, SyncMode::FullRefresh, state).next(Limits { max_rows, max_bytes: 1 << 20 }).unwrap();
            read.extend(records(&page));
            refused.extend(rejected(&page));
            state = page.state;
            if page.position != Position::More {
                break;
            }
        }

        prop_assert_eq!(read, whole);
        prop_assert_eq!(refused, whole_rejected);
    }
}
