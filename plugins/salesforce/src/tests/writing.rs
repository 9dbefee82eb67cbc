//! The destination against a played org: what is sent, what becomes of each row, and that no request could give a consent.

use affluent_sdk::manifest::{Target, WriteMode};
use affluent_sdk::upserts::UpsertDestination;
use affluent_sdk::{Batch, ColumnsBuilder, Destination, Field, Outcome, Report};

use super::*;
use crate::Api;

type Writer = UpsertDestination<Api>;

fn fields() -> [Field; 4] {
    let text = |name: &str| Field::new(name, FieldType::Text);
    [text("Cdp_Id__c"), text("LastName"), Field::new("Spent__c", FieldType::Decimal), text("_remote_id")]
}

fn target(mode: WriteMode, fields: &[Field]) -> Target {
    let (object, match_fields, run) = ("Contact".to_owned(), vec!["Cdp_Id__c".to_owned()], String::new());
    Target { object, mode, match_fields, list: None, fields: fields.to_vec(), run }
}

fn batch(op: RowOp, rows: &[[Option<&str>; 4]]) -> Batch {
    let mut builder = ColumnsBuilder::new(&fields());
    for row in rows {
        for (field, value) in fields().iter().zip(*row) {
            builder.set(&field.name, value).unwrap();
        }
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

fn writer(mode: WriteMode, more: Value, rules: &[Rule]) -> (Writer, Sent) {
    let all: Vec<_> = std::iter::once(told()).chain(rules.iter().cloned()).collect();
    let sent = serve(&all);
    testing::on_hmac(|secret, data| {
        assert_eq!(secret, "client_secret");
        Ok(data.iter().rev().cycle().take(32).copied().collect())
    });
    let writer = Writer::open(config(more), target(mode, &fields())).unwrap().0;
    sent.borrow_mut().clear();
    (writer, sent)
}

fn report(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

const ROWS: [[Option<&str>; 4]; 4] = [
    [Some("c1"), Some("Old"), None, None],
    [Some("C1"), Some("A \"b\",\nc"), Some("12.50"), None],
    [None, Some("Nobody"), None, None],
    [Some("c2"), Some(""), None, None],
];

#[test]
fn what_can_be_written_is_what_the_org_lets_and_never_consent() {
    serve(&[told()]);

    let targets = Writer::discover(&config(json!({}))).unwrap();

    let names: Vec<&str> = targets[0].fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["Email", "LastName", "MailingCity", "AssistantPhone", "Description", "Spent__c", "Score__c", "Cdp_Id__c"]);
    assert_eq!(targets[0].match_fields, ["Cdp_Id__c"]);
    for name in ["HasOptedOutOfEmail", "DoNotCall", "Name"] {
        let fields = [fields()[0].clone(), Field::new(name, FieldType::Text)];
        let error = Writer::open(config(json!({})), target(WriteMode::Upsert, &fields)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{name}");
    }
}

#[test]
fn records_are_upserted_two_hundred_at_a_time_and_each_result_goes_to_its_row() {
    let results = json!([{ "id": "003A", "success": true, "errors": [] },
        { "success": false, "errors": [{ "statusCode": "REQUIRED_FIELD_MISSING", "message": "Old", "fields": ["LastName"] }] }]);
    let (mut writer, sent) = writer(WriteMode::Upsert, json!({}), &[("PATCH /composite", 200, &[], results)]);

    let told = report(writer.write(batch(RowOp::Upsert, &ROWS)).unwrap());

    let (what, body) = sent.borrow()[0].clone();
    assert_eq!(what, "PATCH /composite/sobjects/Contact/Cdp_Id__c");
    let attributes = json!({ "type": "Contact" });
    let records = json!([{ "attributes": attributes, "Cdp_Id__c": "C1", "LastName": "A \"b\",\nc", "Spent__c": 12.5 },
        { "attributes": attributes, "Cdp_Id__c": "c2", "LastName": "", "Spent__c": null }]);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({ "allOrNone": false, "records": records }));
    let failed: Vec<_> = told.failed.iter().map(|error| (error.row, error.code.as_str(), error.field.as_deref())).collect();
    assert_eq!(failed, [(2, "row.no_key", Some("Cdp_Id__c")), (3, "salesforce.REQUIRED_FIELD_MISSING", Some("LastName"))]);
    assert_eq!((told.accepted, told.remote_ids), (2, vec![(1, "003A".to_owned()), (0, "003A".to_owned())]));

    let ids: Vec<String> = (0..401).map(|row| format!("c{row}")).collect();
    let many: Vec<_> = ids.iter().map(|id| [Some(id.as_str()), None, None, None]).collect();
    sent.borrow_mut().clear();
    assert_eq!(writer.write(batch(RowOp::Upsert, &many)).unwrap_err().kind, ErrorKind::Transient);
    let first: Value = serde_json::from_str(&sent.borrow()[0].1).unwrap();
    assert_eq!(first["records"].as_array().map(Vec::len), Some(200));
}

#[test]
fn a_large_batch_is_a_job_and_a_later_process_tells_what_became_of_its_rows() {
    let rules: [Rule; 3] = [
        ("POST /jobs/ingest", 200, &[], json!({ "id": "750B" })),
        ("PUT /jobs/ingest/750B/batches", 201, &[], Value::Null),
        ("PATCH /jobs/ingest/750B", 200, &[], json!({ "id": "750B" })),
    ];
    let (mut begun, sent) = writer(WriteMode::Upsert, json!({ "bulk_write_from": 2 }), &rules);

    let Outcome::Pending((token, _)) = begun.write(batch(RowOp::Upsert, &ROWS)).unwrap() else { panic!("pending") };

    let sent = sent.borrow().clone();
    let job = json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Cdp_Id__c" });
    assert_eq!(serde_json::from_str::<Value>(&sent[0].1).unwrap(), job);
    let lines = "\"Cdp_Id__c\",\"LastName\",\"Spent__c\"\n\"C1\",\"A \"\"b\"\",\nc\",\"12.5\"\n\"c2\",\"#N/A\",\"#N/A\"\n";
    assert_eq!((sent[1].1.as_str(), sent[2].1.as_str()), (lines, r#"{"state":"UploadComplete"}"#));
    assert!(!token.contains("c2"));

    let at = |state: &str, rules: &[Rule]| {
        let stand: Rule = ("GET /jobs/ingest/750B", 200, &[], json!({ "state": state }));
        let all: Vec<Rule> = rules.iter().cloned().chain([stand]).collect();
        writer(WriteMode::Upsert, json!({ "bulk_write_from": 2 }), &all).0.poll(&token).unwrap()
    };
    assert!(matches!(at("InProgress", &[]), Outcome::Pending(_)));
    let taken: Rule = ("GET /jobs/ingest/750B/successfulResults", 200, &[], json!("sf__Id,Cdp_Id__c\n003A,C1\n"));
    let error = "sf__Error,Cdp_Id__c\n\"INVALID_EMAIL_ADDRESS:Email: invalid: a:b@x.test:Email --\",c2\n";
    let refused: Rule = ("GET /jobs/ingest/750B/failedResults", 200, &[], json!(error));
    let told = report(at("JobComplete", &[taken.clone(), refused]));
    let failed: Vec<_> = told.failed.iter().map(|error| (error.row, error.code.as_str(), error.field.as_deref())).collect();
    assert_eq!(failed, [(2, "row.no_key", None), (3, "salesforce.INVALID_EMAIL_ADDRESS", Some("Email"))]);
    assert_eq!((told.accepted, told.remote_ids), (2, vec![(1, "003A".to_owned()), (0, "003A".to_owned())]));

    let none: Rule = ("GET /jobs/ingest/750B/failedResults", 200, &[], json!("sf__Error,Cdp_Id__c\n"));
    let told = report(at("Failed", &[taken, none]));
    assert_eq!(told.retryable.iter().map(|error| (error.row, error.code.as_str())).collect::<Vec<_>>(), [(3, "job.untold")]);
    let told = report(at("Aborted", &[]));
    assert_eq!((told.retryable.len(), told.failed.len()), (3, 1));
}

#[test]
fn a_person_is_deleted_by_id_found_by_a_quoted_value_or_a_path_and_looked_for_in_the_bin() {
    let token = "pii0zqaaaaaaaaaaaaaaaaaaaaaaaa";
    let rules: [Rule; 8] = [
        (
            "GET /queryAll?q=SELECT Id, Cdp_Id__c FROM Contact WHERE Cdp_Id__c = 'o%5C'neil'",
            200,
            &[],
            json!({ "records": [{ "Id": "003A", "Cdp_Id__c": "o'neil" }] }),
        ),
        ("GET /queryAll", 200, &[], json!({ "records": [] })),
        ("GET /sobjects/Contact/Cdp_Id__c/pii0zq", 200, &[], json!({ "Id": "003T", "Cdp_Id__c": token })),
        ("POST /jobs/ingest", 200, &[], json!({ "id": "750B" })),
        ("PUT /jobs/ingest/750B/batches", 201, &[], Value::Null),
        ("PATCH /jobs/ingest/750B", 200, &[], json!({})),
        (
            "GET /jobs/ingest/750B/failedResults",
            200,
            &[],
            json!("sf__Id,sf__Error,Id\n003R,ENTITY_IS_DELETED:entity is deleted:--,003R\n"),
        ),
        ("GET /jobs/ingest/750B", 200, &[], json!({ "state": "JobComplete" })),
    ];
    let people = [
        [Some("o'neil"), None, None, None],
        [Some("x"), None, None, Some("003R")],
        [Some("nobody"), None, None, None],
        [Some(token), None, None, None],
    ];
    for (hard, operation) in [(false, "delete"), (true, "hardDelete")] {
        let (mut erasing, sent) = writer(WriteMode::Erase, json!({ "hard_delete": hard }), &rules);

        assert_eq!(erasing.erase(&batch(RowOp::Delete, &people)).unwrap().accepted, 4);

        let sent = sent.borrow();
        let lines: Vec<&str> = sent.iter().filter(|(what, _)| what.starts_with("PUT")).map(|(_, body)| body.as_str()).collect();
        assert_eq!(lines, ["003A", "003R", "003T"].map(|id| format!("\"Id\"\n\"{id}\"\n")));
        assert!(sent.iter().filter(|(what, _)| what.starts_with("POST")).all(|(_, body)| body.contains(operation)));
    }
    let (mut looking, _) = writer(WriteMode::VerifyErasure, json!({}), &rules);
    let there = looking.verify_erasure(&batch(RowOp::Delete, &people)).unwrap();
    assert_eq!(there.retryable.iter().map(|error| error.row).collect::<Vec<_>>(), [0, 3]);
}
