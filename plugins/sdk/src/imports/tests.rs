use std::cell::RefCell;

use serde_json::{Value, json};

use super::{ImportDestination, Imports, JobSize};
use crate::columns::Payload;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::manifest::{Target, TargetList, TargetSchema, ValueForm, WriteMode};
use crate::outcomes::{JobStatus, Ticket, Unfit};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::{Field, FieldType};
use crate::{ColumnsBuilder, testing};

thread_local! {
    static DONE: RefCell<Vec<String>> = RefCell::default();
}

fn note(what: String) {
    DONE.with(|done| done.borrow_mut().push(what));
}

/// What was asked for since the last look.
fn done() -> Vec<String> {
    DONE.with(|done| done.borrow_mut().drain(..).collect())
}

/// A tool whose list `gone` is, and that refuses who is called `bad`.
#[derive(Debug)]
struct Mail;

impl Account for Mail {
    type Config = ();

    fn connect((): &()) -> Self {
        Self
    }
}

impl Imports for Mail {
    const SIZE: JobSize = JobSize { rows: 100, bytes: 400, frame: 10 };
    const IDENTIFIERS: Identifiers = Identifiers::new(&["email", "code"], "key").any_case(&["email"]);
    const FOUND_MAX: usize = 2;
    const FORMS: &'static [(&'static str, ValueForm)] = &[("email", ValueForm::Email)];
    const STATUS: JobStatus =
        JobStatus { pointer: "/is", running: &["busy"], complete: &["over"], lost: &["stopped"], prefix: "mail.import" };
    const UNFIT: &'static [Unfit] = &[Unfit { code: "mail.nobody", message: "nobody" }];

    fn target(&self) -> Result<TargetSchema> {
        let fields = ["email", "code", "city"].map(|name| Field::new(name, FieldType::Text)).to_vec();
        let target = TargetSchema::new("people", fields, [WriteMode::Upsert, WriteMode::Mirror]).match_fields(&["email", "code"]);
        Ok(target.any_fields().with_lists().erases().verifies_erasure())
    }

    fn create_field(&self, field: &Field) -> Result<()> {
        note(format!("create {}", field.name));
        Ok(())
    }

    fn record(&self, rows: &JsonRows<'_>, row: u32) -> Result<Result<String, usize>> {
        let record = rows.record(row)?;
        Ok(if Self::IDENTIFIERS.are_in(&record) { Ok(json!(record).to_string()) } else { Err(0) })
    }

    fn body(&self, records: &[&str], list: Option<&str>) -> String {
        format!("{} {}", list.unwrap_or("-"), records.join(","))
    }

    fn start(&self, body: String) -> Result<String> {
        note(format!("import {body}"));
        if body.starts_with("old ") { Err(Error::invalid_data("refused")) } else { Ok("job7".to_owned()) }
    }

    const SINGLE_BELOW: usize = 3;

    fn single(&self, record: &str) -> Option<String> {
        record.contains("alone").then(|| record.to_owned())
    }

    fn put(&self, single: String) -> Result<String> {
        note(format!("put {single}"));
        match single {
            busy if busy.contains("busy") => Err(Error::transient("busy")),
            bad if bad.contains("bad") => Err(Error::invalid_data("bad")),
            good => Ok(format!("id{}", good.len())),
        }
    }

    fn join_list(&self, list: &str, id: &str) -> Result<()> {
        note(format!("join {list} {id}"));
        if list == "old" { Err(Error::not_found("no such list")) } else { Ok(()) }
    }

    fn job(&self, _: &str) -> Result<Value> {
        Ok(json!({ "is": "over", "refused": 1 }))
    }

    fn finish(&self, ticket: &Ticket, job: &Value) -> Result<Report> {
        ticket.with_refused(job["refused"].as_u64().unwrap_or(0), Self::UNFIT, "mail.import")
    }

    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        note(format!("find {by} {}", values.join(",")));
        let known = values.iter().filter(|value| !value.starts_with("nobody"));
        let known = known.map(|value| json!({ by: value, "id": format!("id-{value}") }));
        Ok(known.chain([json!({ by: "stranger", "id": "id-stranger" })]).collect())
    }

    fn erase(&self, known: &[(&str, String)], found: &[Value]) -> Result<Option<String>> {
        note(format!("erase {known:?} {}", found.len()));
        Ok(Some("request".to_owned()))
    }

    fn find_list(&self, name: &str) -> Result<Option<String>> {
        note(format!("list {name}"));
        Ok(match name {
            "gone" => Some("old".to_owned()),
            "VIP" => Some("7".to_owned()),
            _ => None,
        })
    }

    fn make_list(&self, name: &str) -> Result<String> {
        note(format!("make {name}"));
        Ok("8".to_owned())
    }

    fn has_list(&self, list: &str) -> Result<bool> {
        Ok(list != "old")
    }

    fn leave_list(&self, list: &str, ids: &[String]) -> Result<()> {
        note(format!("leave {list} {}", ids.join(",")));
        if list == "old" { Err(Error::not_found("no such list")) } else { Ok(()) }
    }
}

type Writer = ImportDestination<Mail>;

fn target(mode: WriteMode, list: Option<&str>) -> Target {
    let fields = ["email", "code", "city", "age", "_remote_id"].map(|name| Field::new(name, FieldType::Text)).to_vec();
    let list = list.map(|name| TargetList { name: name.to_owned() });
    let match_fields = vec!["email".to_owned(), "code".to_owned()];
    Target { object: "people".to_owned(), mode, match_fields, list, fields, run: String::new() }
}

fn writer(list: Option<&str>) -> Writer {
    testing::reset();
    let writer = Writer::open((), target(WriteMode::Upsert, list)).unwrap().0;
    assert_eq!(done(), ["create age"]);
    writer
}

fn batch(op: RowOp, rows: &[[Option<&str>; 2]]) -> Batch {
    let mut builder = ColumnsBuilder::new(&["email", "code"].map(|name| Field::new(name, FieldType::Text)));
    for [email, code] in rows {
        builder.set("email", *email).unwrap();
        builder.set("code", *code).unwrap();
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

#[test]
fn each_record_is_sent_once_and_a_refusal_without_a_name_halves_the_batch() {
    let mut writer = writer(None);
    let rows = [[Some("a@x"), None], [None, None], [Some("A@x"), None], [None, Some("7")]];
    let Outcome::Pending((token, _)) = writer.write(batch(RowOp::Upsert, &rows)).unwrap() else { panic!("pending") };

    assert_eq!(done(), [r#"import - {"code":null,"email":"A@x"},{"code":"7","email":null}"#]);
    assert_eq!(writer.poll(&token).unwrap_err().code, "mail.import.untold");

    let Outcome::Pending((token, _)) = writer.write(batch(RowOp::Upsert, &rows[..2])).unwrap() else { panic!("pending") };
    let Outcome::Done(report) = writer.poll(&token).unwrap() else { panic!("done") };
    let failed: Vec<_> = report.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!((failed, report.accepted), (vec![(1, "mail.nobody"), (0, "mail.import.refused")], 0));
    done();
    let Outcome::Done(report) = writer.write(batch(RowOp::Upsert, &rows[1..2])).unwrap() else { panic!("done") };
    assert_eq!((report.failed.len(), done().len()), (1, 0));
    let long = "l".repeat(500);
    assert_eq!(writer.write(batch(RowOp::Upsert, &[[Some(&long), None]])).unwrap_err().code, "mail.import.too_large");
}

#[test]
fn few_records_that_need_no_job_go_one_by_one_and_tell_at_once_what_became_of_them() {
    let mut one_by_one = writer(None);
    let [good, bad, busy] = [Some("a@x"), Some("bad@x"), Some("busy@x")].map(|email| [email, Some("alone")]);
    let mut write = |rows: &[[Option<&str>; 2]]| match one_by_one.write(batch(RowOp::Upsert, rows)).unwrap() {
        Outcome::Done(report) => (report, done()),
        Outcome::Pending(_) => (Report::accepted(0), done()),
    };

    let (report, sent) = write(&[good, bad, [None, None]]);
    assert_eq!(sent, [r#"put {"code":"alone","email":"a@x"}"#, r#"put {"code":"alone","email":"bad@x"}"#]);
    assert_eq!((report.accepted, report.remote_ids.len()), (1, 1));
    assert_eq!(report.failed.iter().map(|error| error.row).collect::<Vec<_>>(), [2, 1]);
    let (report, _) = write(&[good, busy]);
    assert_eq!((report.accepted, report.retryable.len()), (1, 1));

    let needs_job = [Some("b@x"), Some("7")];
    for rows in [&[good, needs_job][..], &[good, needs_job, [Some("c@x"), Some("alone")]]] {
        assert!(write(rows).1.iter().all(|what| what.starts_with("import")), "{rows:?}");
    }
    let mut kept = writer(Some("VIP"));
    kept.write(batch(RowOp::Upsert, &[good])).unwrap();
    assert_eq!(done(), ["list VIP", r#"put {"code":"alone","email":"a@x"}"#, "join 7 id30"]);
    let mut gone = writer(Some("gone"));
    assert_eq!(gone.write(batch(RowOp::Upsert, &[good])).unwrap_err().code, "list.gone");
    // A record that is refused says nothing of the list.
    let Outcome::Done(report) = gone.write(batch(RowOp::Upsert, &[bad])).unwrap() else { panic!("done") };
    assert_eq!((report.failed.len(), report.failed[0].code.as_str()), (1, "invalid_data"));
    done();
}

#[test]
fn who_leaves_is_looked_for_some_at_a_time() {
    let mut writer = writer(Some("VIP"));
    let rows = [[Some("a@x"), None], [Some("b@x"), None], [Some("nobody"), Some("7")]];

    let Outcome::Done(report) = writer.write(batch(RowOp::Delete, &rows)).unwrap() else { panic!("done") };

    assert_eq!(report.accepted, 3);
    let asked = ["list VIP", "find email a@x,b@x", "find email nobody", "find code 7", "leave 7 id-a@x,id-b@x", "leave 7 id-7"];
    assert_eq!(done(), asked);
}

#[test]
fn a_list_that_was_deleted_is_looked_for_again_and_none_is_made_to_leave_it() {
    let mut gone = writer(Some("gone"));
    for _ in 0..2 {
        let error = gone.write(batch(RowOp::Upsert, &[[Some("a@x"), None]])).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Transient, "list.gone"));
    }
    assert!(gone.write(batch(RowOp::Delete, &[[Some("a@x"), None]])).is_ok());
    assert_eq!(done().iter().filter(|what| *what == "list gone").count(), 3);

    let mut new = writer(Some("new"));
    new.write(batch(RowOp::Delete, &[[Some("a@x"), None]])).unwrap();
    assert_eq!(done(), ["list new"]);
    new.write(batch(RowOp::Upsert, &[[Some("a@x"), None]])).unwrap();
    assert_eq!(done()[..2], ["list new", "make new"]);
}

#[test]
fn people_are_erased_by_all_that_is_known_and_looked_for() {
    testing::reset();
    let mut writer = Writer::open((), target(WriteMode::Erase, None)).unwrap().0;
    let people = batch(RowOp::Delete, &[[Some("a@x"), Some("7")], [Some("nobody"), None]]);

    let report = writer.erase(&people).unwrap();

    assert_eq!((report.accepted, report.remote_ids.len()), (2, 2));
    let erased: Vec<String> = done().into_iter().filter(|what| what.starts_with("erase")).collect();
    assert_eq!(erased, [r#"erase [("email", "a@x"), ("code", "7")] 2"#, r#"erase [("email", "nobody")] 0"#]);
    let there = writer.verify_erasure(&people).unwrap();
    assert_eq!((there.accepted, there.retryable.len()), (1, 1));
}

#[test]
fn what_cannot_be_kept_is_refused_and_what_a_batch_may_hold_is_told() {
    let error = Writer::open((), target(WriteMode::Mirror, None)).unwrap_err();
    assert_eq!(error.message, "a mirror needs a `list`: `people` is never deleted");
    let info = Writer::open((), target(WriteMode::Mirror, Some("VIP"))).unwrap().1;
    assert_eq!((info.max_rows, info.removes, info.forms.len()), (Some(1), true, 1));
}
