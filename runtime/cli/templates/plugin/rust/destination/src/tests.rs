//! `cargo test`: no wasm and no network, the tests play the host.

use affluent_sdk::manifest::{Target, WriteMode};
use affluent_sdk::testing::{self, response};
use affluent_sdk::{Batch, ColumnsBuilder, Destination, ErrorKind, Field, FieldType, Outcome, Payload, RowOp};
use serde_json::json;

use crate::{Config, Contacts};

fn open() -> Contacts {
    let config: Config = serde_json::from_value(json!({ "base_url": "https://x.test" })).unwrap();
    let target = Target {
        object: "contact".to_owned(),
        mode: WriteMode::Append,
        match_fields: vec![],
        list: None,
        fields: vec![],
        run: String::new(),
    };
    Contacts::open(config, target).unwrap().0
}

fn batch(emails: &[&str]) -> Batch {
    let mut rows = ColumnsBuilder::new(&[Field::new("email", FieldType::Text)]);
    for email in emails {
        rows.set("email", *email).unwrap();
        rows.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op: RowOp::Upsert, payload: Payload::Columns(rows.finish()) }
}

#[test]
fn every_row_gets_its_outcome_and_the_refused_one_is_named() {
    testing::on_http(|request| {
        assert_eq!(request.auth.as_deref(), Some("token"));
        Ok(response(200, r#"{ "results": [{ "id": 1 }, { "error": "invalid_email", "field": "email" }] }"#))
    });

    let Outcome::Done(report) = open().write(batch(&["ada@example.org", "nobody"])).unwrap() else { panic!("done") };

    assert_eq!((report.accepted, report.failed.len()), (1, 1));
    assert_eq!((report.failed[0].row, report.failed[0].field.as_deref()), (1, Some("email")));
}

#[test]
fn an_answer_that_forgets_rows_is_asked_for_again() {
    testing::on_http(|_| Ok(response(200, r#"{ "results": [] }"#)));

    assert_eq!(open().write(batch(&["ada@example.org"])).unwrap_err().kind, ErrorKind::Transient);
}

#[test]
fn a_status_becomes_what_the_host_should_do() {
    for (status, kind) in [(401, ErrorKind::Auth), (429, ErrorKind::RateLimited), (503, ErrorKind::Transient)] {
        testing::on_http(move |_| Ok(response(status, "")));

        assert_eq!(open().write(batch(&["ada@example.org"])).unwrap_err().kind, kind);
    }
}
