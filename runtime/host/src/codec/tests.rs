use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::concat_batches;
use serde_json::json;

use super::*;
use crate::bindings::affluent::plugin::types::{BytesColumn, Column, ColumnData, Columns};

fn codec(fields: serde_json::Value) -> StreamCodec {
    let fields: Vec<Field> = serde_json::from_value(fields).unwrap();
    StreamCodec::of_fields("s", &fields).unwrap()
}

fn all_types() -> StreamCodec {
    codec(json!([
        {"name": "b", "type": "boolean"}, {"name": "i", "type": "integer", "nullable": false}, {"name": "f", "type": "float"},
        {"name": "d", "type": "decimal"}, {"name": "day", "type": "date"}, {"name": "at", "type": "timestamp"},
        {"name": "t", "type": "text", "pii": "name"}, {"name": "j", "type": "json"}, {"name": "x", "type": "binary"}]))
}

const LINES: &str = r#"
{"b":true,"i":1,"f":1.5,"d":"12.50","day":"2026-01-31","at":"2026-01-31T10:00:00+02:00","t":"é","j":{"a":[1]},"x":"AP8="}
{"i":-9223372036854775808,"d":0.1,"at":5,"day":1,"f":3,"j":"text"}

{"t":"","i":3,"b":null,"x":""}
"#;

fn text_column(name: &str, offsets: &[u32], data: &[u8], validity: Option<&[u8]>) -> Column {
    let data = ColumnData::Texts(BytesColumn { offsets: offsets.to_vec(), data: data.to_vec() });
    Column { name: name.to_owned(), validity: validity.map(<[u8]>::to_vec), data }
}

fn columns(rows: u32, columns: Vec<Column>) -> Payload {
    Payload::Columns(Columns { rows, columns })
}

#[track_caller]
fn refused(codec: &StreamCodec, payload: Payload, expected: &str) {
    let Err(Invalid(what)) = codec.decode(payload, RowOperation::Upsert) else { panic!("accepted, expected: {expected}") };
    assert!(what.contains(expected), "{what}");
}

#[test]
fn lines_and_columns_carry_the_same_rows() {
    let codec = all_types();
    let from_lines = codec.decode(Payload::Ndjson(LINES.as_bytes().to_vec()), RowOperation::Upsert).unwrap();

    let as_columns = Encoder::Columns.encode(&from_lines).unwrap();
    let as_lines = Encoder::Ndjson.encode(&from_lines).unwrap();

    assert_eq!(codec.decode(as_columns, RowOperation::Upsert).unwrap(), from_lines);
    assert_eq!(codec.decode(as_lines, RowOperation::Upsert).unwrap(), from_lines);
    assert_eq!(from_lines.num_rows(), 3);
    assert_eq!(from_lines.column(3).null_count(), 1);
    let at = from_lines.column(5).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!((at.value(0), at.value(1)), (1_769_846_400_000_000, 5));
}

#[test]
fn a_slice_of_a_batch_is_encoded_as_what_it_shows() {
    let codec = all_types();
    let batch = codec.decode(Payload::Ndjson(LINES.as_bytes().to_vec()), RowOperation::Upsert).unwrap();
    let parts: Vec<RecordBatch> = [(0, 1), (1, 2)].map(|(from, rows)| batch.slice(from, rows)).to_vec();

    let decoded: Vec<RecordBatch> =
        parts.iter().map(|part| codec.decode(Encoder::Columns.encode(part).unwrap(), RowOperation::Upsert).unwrap()).collect();

    assert_eq!(concat_batches(&batch.schema(), &decoded).unwrap(), batch);
}

#[test]
fn columns_that_come_back_unchanged_are_shared_and_changed_ones_are_checked() {
    type Change = fn(&mut Columns);
    let codec = codec(
        json!([{"name": "kept", "type": "text"}, {"name": "changed", "type": "text"}, {"name": "retyped", "type": "json"}]),
    );
    let records =
        codec.decode(columns(2, vec![text_column("kept", &[0, 1, 3], "aé".as_bytes(), None)]), RowOperation::Upsert).unwrap();
    let Payload::Columns(sent) = Encoder::Columns.encode(&records).unwrap() else { panic!() };
    let given = Given { columns: &sent, records: &records };
    let back = |change: Change| {
        let mut columns = sent.clone();
        change(&mut columns);
        codec.decode_from(Payload::Columns(columns), RowOperation::Upsert, Some(given))
    };

    let same = back(|_| ()).unwrap();
    let changed = back(|columns| columns.columns[1] = text_column("changed", &[0, 1, 1], b"x", None)).unwrap();

    assert!(same.columns().iter().zip(records.columns()).all(|(new, old)| Arc::ptr_eq(new, old)));
    assert!(Arc::ptr_eq(changed.column(0), records.column(0)) && !Arc::ptr_eq(changed.column(1), records.column(1)));
    let lies: [(Change, &str); 3] = [
        (|columns| columns.columns[1] = text_column("changed", &[0, 1, 1], b"\xff", None), "not UTF-8"),
        (|columns| columns.columns[0].name = "changed".to_owned(), "there twice"),
        (|columns| columns.rows = 3, "2 values in 3 rows"),
    ];
    for (lie, expected) in lies {
        let Err(Invalid(what)) = back(lie) else { panic!("accepted, expected: {expected}") };
        assert!(what.contains(expected), "{what}");
    }
}

#[test]
fn columns_come_in_any_order_and_missing_ones_are_null() {
    let codec = codec(json!([{"name": "a", "type": "text"}, {"name": "b", "type": "integer"}]));
    let ints = Column { name: "b".to_owned(), validity: None, data: ColumnData::Ints(vec![1, 2]) };

    let batch = codec.decode(columns(2, vec![ints]), RowOperation::Upsert).unwrap();

    assert_eq!((batch.column(0).null_count(), batch.num_columns(), batch.num_rows()), (2, 2, 2));
}

#[test]
fn a_deletion_may_hold_the_key_only() {
    let codec =
        codec(json!([{"name": "id", "type": "text", "nullable": false}, {"name": "n", "type": "integer", "nullable": false}]));
    let key = || columns(1, vec![text_column("id", &[0, 1], b"7", None)]);

    refused(&codec, key(), "column `n` has a null");
    assert_eq!(codec.decode(key(), RowOperation::Delete).unwrap().column(1).null_count(), 1);
}

#[test]
fn broken_offsets_are_refused() {
    let codec = codec(json!([{"name": "t", "type": "text"}]));
    let broken: [&[u32]; 6] =
        [&[1, 2, 3], &[0, 3, 2], &[0, 1, 4], &[0, u32::MAX, 3], &[0, 1, u32::MAX], &[0, 0x8000_0000, 0x8000_0000]];
    for offsets in broken {
        refused(&codec, columns(2, vec![text_column("t", offsets, b"abc", None)]), "offsets");
    }
    for offsets in [&[][..], &[0], &[0, 1], &[0, 1, 2, 3]] {
        refused(&codec, columns(2, vec![text_column("t", offsets, b"abc", None)]), "values in 2 rows");
    }
}

#[test]
fn text_must_be_utf8_and_offsets_must_not_cut_characters() {
    let codec = codec(json!([{"name": "t", "type": "text"}]));

    refused(&codec, columns(1, vec![text_column("t", &[0, 2], b"\xff\xfe", None)]), "not UTF-8");
    refused(&codec, columns(2, vec![text_column("t", &[0, 1, 2], "é".as_bytes(), None)]), "not UTF-8");
}

#[test]
fn columns_that_do_not_fit_the_schema_are_refused() {
    let codec = codec(json!([{"name": "t", "type": "text"}, {"name": "j", "type": "json"}, {"name": "b", "type": "boolean"}]));
    let text = || text_column("t", &[0, 1], b"a", None);
    let column = |name: &str, data| Column { name: name.to_owned(), validity: None, data };
    let json = BytesColumn { offsets: vec![0, 4], data: b"{\"a\"".to_vec() };

    refused(&codec, columns(1, vec![text_column("u", &[0, 1], b"a", None)]), "not in the schema");
    refused(&codec, columns(1, vec![text(), text()]), "there twice");
    refused(&codec, columns(1, vec![column("t", ColumnData::Ints(vec![1]))]), "is sent as ints, its schema says text");
    refused(&codec, columns(1, vec![column("j", ColumnData::Jsons(json))]), "no JSON document in row 0");
    refused(&codec, columns(1, vec![column("b", ColumnData::Booleans(vec![2]))]), "neither 0 nor 1");
    refused(&codec, columns(9, vec![text_column("t", &[0; 10], b"", Some(&[1]))]), "validity of 1 bytes for 9 rows");
}

#[test]
fn more_than_the_ceilings_is_refused() {
    let codec = codec(json!([{"name": "t", "type": "text"}]));
    let megabyte = 1 << 20;
    let record = vec![b'a'; megabyte + 1];
    let page = vec![b'a'; 17 * megabyte];

    refused(&codec, columns(10_001, vec![]), "10001 rows at once");
    refused(&codec, columns(u32::MAX, vec![]), "rows at once");
    refused(
        &codec,
        columns(1, vec![text_column("t", &[0, u32::try_from(record.len()).unwrap()], &record, None)]),
        "row 0 is larger",
    );
    refused(&codec, columns(1, vec![text_column("t", &[0, 1], &page, None)]), "bytes at once");
    refused(&codec, Payload::Ndjson(page), "bytes at once");
    refused(&codec, Payload::Ndjson([b"{\"t\":\"", record.as_slice(), b"\"}"].concat()), "line 1 is larger");
    refused(&codec, Payload::Ndjson(b"{}\n".repeat(10_001)), "rows at once");
}

#[test]
fn a_line_that_does_not_fit_is_refused_without_its_text() {
    let codec = all_types();
    for (line, expected) in [
        ("{\"i\":1}\n{\"i\":1", "line 2 is no JSON object"),
        ("[1]", "does not fit the schema"),
        (r#"{"secret-name":1}"#, "has a column that is not in the schema"),
        (r#"{"i":1,"i":2}"#, "has column `i` twice"),
        (r#"{"i":"ada@example.org"}"#, "has a value of column `i` that is no integer"),
        (r#"{"i":1.5}"#, "that is no integer"),
        (r#"{"i":1,"d":"1.2345678"}"#, "that is no decimal"),
        (r#"{"i":1,"day":"2026-02-30"}"#, "that is no date"),
        (r#"{"i":1,"at":"ada@example.org"}"#, "that is no timestamp"),
        (r#"{"i":1,"x":"%%"}"#, "that is no binary"),
        (r#"{"i":1,"t":{"a":1}}"#, "does not fit the schema"),
        (r#"{"i":1} x"#, "is no JSON object"),
        (r#"{"b":true}"#, "column `i` has a null"),
    ] {
        let payload = Payload::Ndjson(line.as_bytes().to_vec());
        refused(&codec, payload.clone(), expected);
        let Err(Invalid(what)) = codec.decode(payload, RowOperation::Upsert) else { panic!() };
        assert!(!what.contains("ada") && !what.contains("secret"), "{what}");
    }
}

#[test]
fn a_refused_row_is_kept_as_json() {
    let codec = all_types();
    let batch = codec.decode(Payload::Ndjson(LINES.as_bytes().to_vec()), RowOperation::Upsert).unwrap();

    let line = String::from_utf8(row_json(&batch, 2).unwrap()).unwrap();

    assert_eq!(line, r#"{"b":null,"i":3,"f":null,"d":null,"day":null,"at":null,"t":"","j":null,"x":""}"#);
    assert!(row_json(&batch, 3).is_err());
}

#[test]
fn other_string_types_of_a_query_become_text() {
    let codec = codec(json!([{"name": "t", "type": "text"}]));
    let views = arrow::compute::cast(&StringArray::from(vec!["a", "b"]), &arrow::datatypes::DataType::Utf8View).unwrap();
    let schema = Schema::new(vec![arrow::datatypes::Field::new("t", arrow::datatypes::DataType::Utf8View, true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![views]).unwrap();

    let decoded = codec.decode(Encoder::Columns.encode(&batch).unwrap(), RowOperation::Upsert).unwrap();

    assert_eq!(decoded.column(0).as_string::<i32>().value(1), "b");
}

/// A small generator, so that a failure can be repeated.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

fn damage(columns: &mut Columns, random: &mut Lcg) {
    let number = random.below(columns.columns.len());
    let garbage = u32::try_from(random.below(usize::MAX) % 0x1_0000_0000).unwrap();
    let column = &mut columns.columns[number];
    match (random.below(6), &mut column.data) {
        (0, _) => column.validity = Some(vec![u8::try_from(garbage % 256).unwrap(); random.below(3)]),
        (1, _) => columns.rows = if garbage.is_multiple_of(2) { garbage } else { garbage % 5 },
        (2, ColumnData::Ints(values)) => values.truncate(random.below(4)),
        (3, ColumnData::Booleans(values)) => values.iter_mut().for_each(|value| *value = u8::try_from(garbage % 3).unwrap()),
        (_, ColumnData::Texts(bytes) | ColumnData::Jsons(bytes) | ColumnData::Decimals(bytes) | ColumnData::Binaries(bytes)) => {
            let place = random.below(bytes.offsets.len());
            if random.below(2) == 0 && !bytes.offsets.is_empty() {
                bytes.offsets[place] = if garbage.is_multiple_of(3) { garbage } else { garbage % 30 };
            } else if !bytes.data.is_empty() {
                let place = random.below(bytes.data.len());
                bytes.data[place] = u8::try_from(garbage % 256).unwrap();
            }
        }
        _ => {}
    }
}

#[test]
fn damaged_columns_are_refused_or_read_and_nothing_panics() {
    let codec = all_types();
    let batch = codec.decode(Payload::Ndjson(LINES.as_bytes().to_vec()), RowOperation::Upsert).unwrap();
    let Payload::Columns(sound) = Encoder::Columns.encode(&batch).unwrap() else { panic!() };
    let mut random = Lcg(7);
    let mut read = 0;
    for _ in 0..10_000 {
        let mut columns = sound.clone();
        (0..=random.below(3)).for_each(|_| damage(&mut columns, &mut random));
        if let Ok(batch) = codec.decode(Payload::Columns(columns), RowOperation::Upsert) {
            // What was accepted is sound: it can be printed, sliced and sent on.
            assert!(Encoder::Ndjson.encode(&batch).is_ok());
            read += 1;
        }
    }
    assert!((500..9_500).contains(&read), "{read} of 10,000 were accepted");
}

#[test]
fn damaged_lines_are_refused_or_read_and_nothing_panics() {
    let codec = all_types();
    let mut random = Lcg(11);
    for _ in 0..10_000 {
        let mut lines = LINES.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let place = random.below(lines.len());
            lines[place] = u8::try_from(random.below(256)).unwrap();
        }
        drop(codec.decode(Payload::Ndjson(lines), RowOperation::Upsert).map_err(|Invalid(what)| assert!(what.len() < 200)));
    }
}
