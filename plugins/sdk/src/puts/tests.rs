use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::outcomes::JobStatus;
use crate::{ColumnsBuilder, FieldType, Payload, testing};

struct Crm {
    service: Service,
    looks: bool,
}

const STATUS: JobStatus =
    JobStatus { pointer: "/status", running: &["running"], complete: &["done"], lost: &["cancelled"], prefix: "crm.job" };

const RESULTS: JobResults = JobResults { url: "/results", mark: "/of", status: "/status", body: "/body" };

impl Account for Crm {
    type Config = bool;

    fn connect(looks: &bool) -> Self {
        Self { service: Service::new("https://crm.test", "key"), looks: *looks }
    }
}

impl Puts for Crm {
    const ROWS_MAX: u32 = 10;
    const IN_FLIGHT_MAX: u8 = 2;
    const IDENTIFIERS: Identifiers = Identifiers::new(&["email"], "key").any_case(&["email"]);
    const FIELD: &'static str = "/field";
    const JOBS: Option<Jobs> = Some(Jobs { rows_min: 3, id: "/job", status: STATUS, failed: "/failed", results: Some(RESULTS) });

    fn service(&self) -> &Service {
        &self.service
    }

    fn target(&self) -> Result<TargetSchema> {
        let email = Field { pii: Some(PiiClass::Email), ..Field::new("email", FieldType::Text) };
        let fields = vec![email, Field::new("name", FieldType::Text)];
        let target = TargetSchema::new("people", fields, [WriteMode::Upsert, WriteMode::Mirror]).match_fields(&["email"]);
        Ok(target.with_lists().erases().verifies_erasure())
    }

    fn put(&self, row: &Upsert) -> Request {
        self.service.put(&format!("/people/{}", row.key), json!(row.values).to_string())
    }

    fn job(&self, rows: &[Upsert]) -> Result<Request> {
        Ok(self.service.post("/jobs", json!(rows.iter().map(|row| &row.key).collect::<Vec<_>>()).to_string()))
    }

    fn job_status(&self, id: &str) -> Result<Request> {
        Ok(self.service.get(&format!("/jobs/{id}")))
    }

    fn get(&self, key: &str) -> Request {
        self.service.get(&format!("/people/{key}"))
    }

    fn unfit(&self) -> Option<UnfitIf> {
        self.looks.then_some((Unfit { code: "crm.closed", message: "closed" }, |record| record["closed"] == true))
    }

    fn erase(&self, key: &str) -> Result<Request> {
        Ok(self.service.delete(&format!("/people/{key}"), String::new()))
    }

    fn find_list(&self, _: &str) -> Result<Option<String>> {
        Ok(Some("7".to_owned()))
    }

    fn change_members(&self, list: &str, change: Membership, keys: &[&str]) -> Result<Vec<String>> {
        let request = self.service.post(&format!("/lists/{list}/{change:?}"), json!(keys).to_string());
        let answer = self.service.ask(request)?;
        Ok(json::list(&answer, "/not").iter().filter_map(|key| Some(key.as_str()?.to_owned())).collect())
    }
}

/// Answers by `METHOD /path`; 200 with an id otherwise. What was asked.
fn serve(rules: &'static [(&'static str, u16, &'static str)]) -> Rc<RefCell<Vec<String>>> {
    testing::reset();
    let asked = Rc::<RefCell<Vec<String>>>::default();
    let seen = Rc::clone(&asked);
    testing::on_http(move |request| {
        let what = format!("{} {}", request.method, request.url.strip_prefix("https://crm.test").unwrap());
        let known = rules.iter().find(|(rule, _, _)| *rule == what);
        let (status, body) = known.map_or((200, r#"{"id":"1"}"#), |(_, status, body)| (*status, *body));
        assert_eq!(request.auth.is_none(), what.starts_with("GET /results/"), "{what}");
        seen.borrow_mut().push(what);
        Ok(testing::response(status, body))
    });
    asked
}

fn open(looks: bool, list: Option<&str>) -> PutDestination<Crm> {
    let list = list.map(|name| crate::manifest::TargetList { name: name.to_owned() });
    let (mode, fields) = (WriteMode::Upsert, vec![Field::new("email", FieldType::Text)]);
    let target =
        Target { object: "people".to_owned(), mode, match_fields: vec!["email".to_owned()], list, fields, run: String::new() };
    PutDestination::open(looks, target).unwrap().0
}

fn batch(op: RowOp, emails: &[&str]) -> Batch {
    let mut rows = ColumnsBuilder::new(&[Field::new("email", FieldType::Text)]);
    for email in emails {
        rows.set("email", *email).unwrap();
        rows.end_row();
    }
    Batch { idempotency_key: "k".to_owned(), op, payload: Payload::Columns(rows.finish()) }
}

fn done(outcome: Outcome) -> Report {
    let Outcome::Done(report) = outcome else { panic!("done") };
    report
}

fn codes(report: &Report) -> Vec<(u32, &str)> {
    report.failed.iter().chain(&report.retryable).map(|error| (error.row, error.code.as_str())).collect()
}

const TOKENS: [&str; 3] = ["pii0zqaaaaaaaaaaaaaaaaaaaaaaaa", "pii0zqaaaaaaaaaaaaaaaaaaaaaaab", "pii0zqaaaaaaaaaaaaaaaaaaaaaaac"];

#[test]
fn each_record_is_put_once_and_what_becomes_of_it_goes_to_its_rows() {
    let asked = serve(&[("PUT /people/b", 422, r#"{"field":"name"}"#), ("PUT /people/c", 503, "{}")]);

    let report = done(open(false, None).write(batch(RowOp::Upsert, &["a", "b", "", "c", "A"])).unwrap());

    assert_eq!(codes(&report), [(2, "row.no_key"), (1, "http.422"), (3, "http.503")]);
    assert_eq!((report.accepted, report.failed[1].field.as_deref()), (2, Some("name")));
    assert_eq!(report.remote_ids, [(4, "1".to_owned()), (0, "1".to_owned())]);
    assert_eq!(*asked.borrow(), ["PUT /people/b", "PUT /people/c", "PUT /people/A"]);
}

#[test]
fn an_error_that_is_not_about_rows_is_the_batchs() {
    serve(&[("PUT /people/b", 401, "")]);
    assert_eq!(open(false, None).write(batch(RowOp::Upsert, &["a", "b"])).unwrap_err().kind, ErrorKind::Auth);
    serve(&[("PUT /people/a", 429, "")]);
    assert_eq!(open(false, None).write(batch(RowOp::Upsert, &["a"])).unwrap_err().kind, ErrorKind::RateLimited);
}

#[test]
fn many_are_a_job_and_are_put_on_the_list_when_it_is_done() {
    let asked = serve(&[("POST /jobs", 200, r#"{"job":"j"}"#), ("GET /jobs/j", 200, r#"{"status":"done","failed":0}"#)]);
    let Outcome::Pending((token, _)) = open(false, Some("VIP")).write(batch(RowOp::Upsert, &TOKENS)).unwrap() else { panic!() };

    let report = done(open(false, Some("VIP")).poll(&token).unwrap());

    assert_eq!((report.accepted, asked.borrow().last().unwrap().as_str()), (3, "POST /lists/7/Add"));
    serve(&[("GET /jobs/j", 200, r#"{"status":"done","failed":1}"#)]);
    assert_eq!(open(false, None).poll(&token).unwrap_err().code, "crm.job.untold");
    assert_eq!(done(open(false, None).write(batch(RowOp::Upsert, &["a", "b", "c"])).unwrap()).accepted, 3);
}

/// A job's ticket, of three rows and one that is sent as the last of them.
fn started() -> String {
    serve(&[("POST /jobs", 200, r#"{"job":"j"}"#)]);
    let rows = [TOKENS[0], TOKENS[1], TOKENS[2], TOKENS[2]];
    let Outcome::Pending((token, _)) = open(false, None).write(batch(RowOp::Upsert, &rows)).unwrap() else { panic!() };
    token
}

const FAILED: (&str, u16, &str) =
    ("GET /jobs/j", 200, r#"{"status":"done","failed":2,"results":"https://crm.test/results/j?signed=yes"}"#);
const RESULTS_OF_J: &str = "GET /results/j?signed=yes";

#[test]
fn a_job_that_tells_what_became_of_each_put_is_read_row_by_row() {
    let token = started();
    let asked = serve(&[
        FAILED,
        (
            RESULTS_OF_J,
            200,
            r#"[[{"of":"row 3","status":422,"body":"{\"field\":\"name\"}"},{"of":"row 0","status":200,"body":"{\"id\":\"9\"}"}],
                [{"of":"row 77","status":500,"body":""},{"no":"entry"},7]]"#,
        ),
    ]);

    let report = done(open(false, Some("VIP")).poll(&token).unwrap());

    assert_eq!(codes(&report), [(3, "http.422"), (2, "http.422"), (1, "crm.job.untold")]);
    assert_eq!((report.failed.len(), report.retryable.len(), report.accepted), (2, 1, 1));
    assert_eq!((report.failed[0].field.as_deref(), report.remote_ids), (Some("name"), vec![(0, "9".to_owned())]));
    assert_eq!(asked.borrow().last().unwrap(), "POST /lists/7/Add");
}

#[test]
fn a_job_whose_results_cannot_be_had_is_halved_and_a_bad_moment_is_waited_for() {
    for (status, told, code) in [
        (404, "", "crm.job.untold"),
        (403, "", "crm.job.untold"),
        (200, "no JSON", "crm.job.untold"),
        (200, "[]", "crm.job.untold"),
        (503, "", "http.503"),
        (429, "", "http.429"),
    ] {
        let token = started();
        serve(Box::leak(Box::new([FAILED, (RESULTS_OF_J, status, told)])));
        let error = open(false, None).poll(&token).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.kind == ErrorKind::InvalidData),
            (code, code == "crm.job.untold"),
            "{status} {told}"
        );
    }
    // An operation that says the whole account is wrong.
    let token = started();
    serve(&[FAILED, (RESULTS_OF_J, 200, r#"[{"of":"row 0","status":401,"body":""}]"#)]);
    assert_eq!(open(false, None).poll(&token).unwrap_err().kind, ErrorKind::Auth);
}

#[test]
fn what_the_service_says_is_unfit_is_looked_at_and_left_out() {
    let asked = serve(&[("GET /people/a", 200, r#"{"closed":true}"#), ("GET /people/b", 404, "")]);

    let report = done(open(true, None).write(batch(RowOp::Upsert, &["a", "b"])).unwrap());

    assert_eq!((codes(&report), report.accepted), (vec![(0, "crm.closed")], 1));
    assert_eq!(asked.borrow().last().unwrap(), "PUT /people/b");
}

#[test]
fn who_is_not_taken_by_a_list_is_told_and_a_list_that_is_gone_is_looked_for_again() {
    serve(&[("POST /lists/7/Add", 200, r#"{"not":["b"]}"#)]);
    let report = done(open(false, Some("VIP")).write(batch(RowOp::Upsert, &["a", "b"])).unwrap());
    assert_eq!((codes(&report), report.accepted), (vec![(1, "list.refused")], 1));

    serve(&[("POST /lists/7/Remove", 404, "")]);
    assert_eq!(open(false, Some("VIP")).write(batch(RowOp::Delete, &["a"])).unwrap_err().code, "list.gone");
    assert_eq!(crate::kv::get("list/VIP"), None);
}

#[test]
fn people_are_erased_by_key_and_looked_for() {
    serve(&[("DELETE /people/b", 404, ""), ("GET /people/a", 404, "")]);
    let people = batch(RowOp::Delete, &["a", "b"]);

    assert_eq!(open(false, None).erase(&people).unwrap().accepted, 2);
    let looked = open(false, None).verify_erasure(&people).unwrap();
    assert_eq!((codes(&looked), looked.accepted), (vec![(1, "erasure.still_there")], 1));
}
