//! `cargo test`: no wasm, the tests play the host.

use affluent_sdk::{ColumnsBuilder, ErrorKind, Field, FieldType, Payload, StreamSchema, Transform};
use serde_json::json;

use crate::{Config, Domains};

fn config() -> Config {
    serde_json::from_value(json!({})).unwrap()
}

fn people() -> StreamSchema {
    StreamSchema::new("people", vec![Field::new("email", FieldType::Text)])
}

#[test]
fn the_domain_is_added_and_null_stays_null() {
    let (mut domains, output) = Domains::open(config(), people()).unwrap();
    let mut rows = ColumnsBuilder::new(&people().fields);
    for email in [Some("ada@example.org"), None, Some("nobody")] {
        rows.set("email", email).unwrap();
        rows.end_row();
    }

    let Payload::Columns(columns) = domains.apply(Payload::Columns(rows.finish())).unwrap().payload else { panic!("columns") };

    let found = columns.text("email_domain").unwrap();
    assert_eq!([found.get(0), found.get(1), found.get(2)], [Some("example.org"), None, None]);
    assert_eq!(output.fields.len(), 2);
}

#[test]
fn a_stream_without_the_column_is_a_matter_of_configuration() {
    let without = StreamSchema::new("orders", vec![Field::new("email", FieldType::Integer)]);

    assert_eq!(Domains::open(config(), without).unwrap_err().kind, ErrorKind::Config);
}
