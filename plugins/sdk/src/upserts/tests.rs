use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{JobRow, Jobs, Membership, Upsert, UpsertDestination, Upserts};
use crate::columns::Payload;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identifiers;
use crate::manifest::{Target, TargetList, TargetSchema, WriteMode};
use crate::outcomes::{JobStatus, PartialFailure, RowPlace};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::{Field, FieldType, PiiClass};
use crate::{ColumnsBuilder, testing};

thread_local! {
    static STATE: RefCell<&'static str> = const { RefCell::new("busy") };
    static DONE: Rc<RefCell<Vec<String>>> = Rc::default();
}

fn note(what: String) {
    DONE.with(|done| done.borrow_mut().push(what));
}

/// What was asked for since the last look.
fn done() -> Vec<String> {
    DONE.with(|done| done.borrow_mut().drain(..).collect())
}

/// A service whose people are found by the part of their address before the `@`, and whose list `gone` is.
#[derive(Debug)]
struct Crm;

impl Account for Crm {
    type Config = bool;

    fn connect(_: &bool) -> Self {
        Self
    }
}

impl Upserts for Crm {
    const OBJECTS: &'static [&'static str] = &["people", "firms", "secrets"];
    const ROWS_MAX: u32 = 3;
    const IDENTIFIERS: Identifiers = Identifiers::new(&["email"], "key").any_case(&["email"]);
    const REFUSED: PartialFailure = PartialFailure::at("/errors", RowPlace::Key("/mark")).code("crm", "/code");
    const TAKEN: PartialFailure = PartialFailure::at("/taken", RowPlace::Key("/mark")).success_without("/code").id("/id");

    fn target(&self, object: &str) -> Result<TargetSchema> {
        if object == "secrets" {
            return Err(Error::permission("no scope"));
        }
        let fields = vec![Field::new("email", FieldType::Text).pii(PiiClass::Email), Field::new("city", FieldType::Text)];
        let target = TargetSchema::new(object, fields, [WriteMode::Upsert, WriteMode::Mirror]).with_lists().any_fields();
        Ok(if object == "people" { target.match_fields(&["email"]).erases().verifies_erasure() } else { target })
    }

    fn create_fields(&self, object: &str, fields: &[&Field]) -> Result<()> {
        fields.iter().for_each(|field| note(format!("create {object}.{}", field.name)));
        Ok(())
    }

    fn upsert(&self, _: &str, by: &str, rows: &[Upsert]) -> Result<Value> {
        let (mut taken, mut errors) = (Vec::new(), Vec::new());
        for row in rows {
            note(format!("upsert {by} {} {}", row.key, json!(row.values)));
            let name = row.key.split('@').next().unwrap_or_default();
            match name {
                "bad" => errors.push(json!({ "mark": row.mark, "code": "refused" })),
                _ => taken.push(json!({ "mark": row.mark, "id": format!("id-{name}") })),
            }
        }
        Ok(json!({ "taken": taken, "errors": errors }))
    }

    fn jobs(&self) -> Option<Jobs> {
        let status = JobStatus { pointer: "/is", running: &["busy"], complete: &["done"], lost: &["stopped"], prefix: "crm.job" };
        Some(Jobs { from_rows: 8, rows_max: 25, status })
    }

    fn start_job(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<String> {
        note(format!("job {object} {by} {}", rows.len()));
        Ok("j1".to_owned())
    }

    fn job(&self, id: &str) -> Result<Value> {
        note(format!("ask {id}"));
        Ok(json!({ "is": STATE.with(|state| *state.borrow()) }))
    }

    fn job_rows(&self, _: &str, _: &str) -> Result<Vec<JobRow>> {
        let row = |key: &str, outcome| JobRow { key: key.to_owned(), outcome, field: None };
        let bad = Error::invalid_data("it is bad").code("crm.bad");
        Ok(vec![row("P1@x", Err(bad)), row("p0@x", Ok("id-p0".to_owned())), row("stranger", Ok("id".to_owned()))])
    }

    fn find(&self, _: &str, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        let known = values.iter().filter(|value| !value.starts_with("nobody"));
        Ok(known.map(|value| json!({ by: value, "id": format!("id-{}", value.split('@').next().unwrap_or_default()) })).collect())
    }

    fn erase(&self, _: &str, by: &str, value: &str) -> Result<()> {
        note(format!("erase {by} {value}"));
        Ok(())
    }

    fn find_list(&self, _: &str, name: &str) -> Result<Option<String>> {
        note(format!("find {name}"));
        Ok((name == "gone").then(|| "old".to_owned()))
    }

    fn make_list(&self, _: &str, name: &str) -> Result<String> {
        note(format!("make {name}"));
        Ok("7".to_owned())
    }

    fn change_members(&self, list: &str, change: Membership, ids: &[String]) -> Result<()> {
        note(format!("{change:?} {list} {}", ids.join(",")));
        if list == "old" { Err(Error::not_found("no such list")) } else { Ok(()) }
    }
}

type Writer = UpsertDestination<Crm>;

fn target(object: &str, mode: WriteMode, list: Option<&str>, fields: &[&str]) -> Target {
    let fields = fields.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
    let list = list.map(|name| TargetList { name: name.to_owned() });
    Target { object: object.to_owned(), mode, match_fields: vec!["email".to_owned()], list, fields, run: String::new() }
}

fn batch(op: RowOp, rows: &[[Option<&str>; 2]]) -> Batch {
    let mut builder = ColumnsBuilder::new(&["email", "city"].map(|name| Field::new(name, FieldType::Text)));
    for [email, city] in rows {
        builder.set("email", *email).unwrap();
        builder.set("city", *city).unwrap();
        builder.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(builder.finish()) }
}

fn report(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

#[test]
fn each_record_is_sent_once_and_every_row_has_its_outcome_and_the_list_its_members() {
    testing::reset();
    let (mut writer, info) =
        Writer::open(true, target("people", WriteMode::Mirror, Some("VIP"), &["email", "city", "age"])).unwrap();
    assert_eq!((info.max_rows, info.removes, info.forms.contains_key("email")), (Some(25), true, true));
    assert_eq!(done(), ["create people.age"]);

    let rows = [[Some("ada@x"), Some("Lyon")], [None, None], [Some("bad@x"), None], [Some("ADA@x"), None], [Some("bad@x"), None]];
    let written = report(writer.write(batch(RowOp::Upsert, &rows)).unwrap());

    let failed: Vec<(u32, &str)> = written.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(failed, [(1, "row.no_key"), (4, "crm.refused"), (2, "crm.refused")]);
    assert_eq!(written.remote_ids, [(3, "id-ADA".to_owned()), (0, "id-ADA".to_owned())]);
    assert_eq!(written.accepted, 2);
    let sent = [r#"upsert email ADA@x {"city":null}"#, r#"upsert email bad@x {"city":null}"#];
    assert_eq!(done(), [sent[0], sent[1], "find VIP", "make VIP", "Add 7 id-ADA"]);

    let gone = batch(RowOp::Delete, &[[Some("ada@x"), None], [Some("nobody@x"), None]]);
    assert_eq!(report(writer.write(gone).unwrap()).accepted, 2);
    assert_eq!(done(), ["Remove 7 id-ada"]);
}

#[test]
fn a_large_batch_is_a_job_and_rows_that_it_does_not_tell_are_sent_again() {
    testing::reset();
    testing::on_hmac(|_, data| Ok(data.iter().rev().copied().cycle().take(32).collect()));
    let open = || Writer::open(true, target("people", WriteMode::Upsert, None, &["email", "city"])).unwrap().0;
    let emails: Vec<String> = (0..8).map(|number| format!("p{number}@x")).chain(["P0@x".to_owned()]).collect();
    let rows: Vec<[Option<&str>; 2]> = emails.iter().map(|email| [Some(email.as_str()), None]).chain([[None, None]]).collect();

    let Outcome::Pending((token, _)) = open().write(batch(RowOp::Upsert, &rows)).unwrap() else { panic!("pending") };

    assert_eq!(done(), ["job people email 8"]);
    let mut later = open();
    let waits: Vec<u32> = (0..12)
        .map(|_| match later.poll(&token).unwrap() {
            Outcome::Pending((_, wait_ms)) => wait_ms,
            Outcome::Done(_) => 0,
        })
        .collect();
    assert_eq!(waits, [1_000, 1_000, 1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    STATE.with(|state| *state.borrow_mut() = "done");
    let told = report(later.poll(&token).unwrap());
    let failed: Vec<(u32, &str)> = told.failed.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(failed, [(9, "row.no_key"), (1, "crm.bad")]);
    assert!(told.retryable.len() == 6 && told.retryable.iter().all(|error| error.code == "job.untold"));
    assert_eq!((told.accepted, told.remote_ids), (2, vec![(8, "id-p0".to_owned()), (0, "id-p0".to_owned())]));
    done();
}

#[test]
fn a_batch_below_a_job_goes_in_several_requests() {
    testing::reset();
    let emails: Vec<String> = (0..7).map(|number| format!("p{number}@x")).collect();
    let rows: Vec<[Option<&str>; 2]> = emails.iter().map(|email| [Some(email.as_str()), None]).collect();
    let mut writer = Writer::open(true, target("people", WriteMode::Upsert, None, &["email", "city"])).unwrap().0;

    let told = report(writer.write(batch(RowOp::Upsert, &rows)).unwrap());

    assert_eq!((told.accepted, told.remote_ids.len(), done().len()), (7, 7, 7));
}

#[test]
fn a_list_that_was_deleted_is_looked_for_again_and_none_is_made_to_leave_it() {
    testing::reset();
    let mut writer = Writer::open(true, target("people", WriteMode::Mirror, Some("gone"), &["email"])).unwrap().0;
    for _ in 0..2 {
        let error = writer.write(batch(RowOp::Upsert, &[[Some("ada@x"), None]])).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Transient, "list.gone"));
    }
    assert_eq!(done().iter().filter(|what| *what == "find gone").count(), 2);
    let mut writer = Writer::open(true, target("people", WriteMode::Mirror, Some("new"), &["email"])).unwrap().0;
    writer.write(batch(RowOp::Delete, &[[Some("ada@x"), None]])).unwrap();
    assert_eq!(done(), ["find new"]);
}

#[test]
fn people_are_erased_and_looked_for() {
    testing::reset();
    let mut writer = Writer::open(true, target("people", WriteMode::Erase, None, &["email", "city", "age"])).unwrap().0;
    let people = batch(RowOp::Delete, &[[Some("ada@x"), None], [Some("nobody@x"), None]]);

    assert_eq!(writer.erase(&people).unwrap().accepted, 2);
    assert_eq!(done(), ["erase email ada@x", "erase email nobody@x"]);
    let there = writer.verify_erasure(&people).unwrap();
    assert_eq!((there.accepted, there.retryable.len()), (1, 1));
}

#[test]
fn what_cannot_be_written_is_not_offered_and_is_refused() {
    let offered = Writer::discover(&true).unwrap();
    assert_eq!(offered.iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["people"]);
    for (target, told) in [
        (target("deals", WriteMode::Upsert, None, &["email"]), "there is no object `deals`: write people, firms, secrets"),
        (target("people", WriteMode::Mirror, None, &["email"]), "a mirror needs a `list`: `people` is never deleted"),
        (
            Target { match_fields: Vec::new(), ..target("people", WriteMode::Upsert, None, &["email"]) },
            "`people` is matched by one field: use email",
        ),
    ] {
        assert_eq!(Writer::open(true, target).unwrap_err().message, told);
    }
}
