//! Salesforce against its stand-in, which keeps what an org keeps: what is read is what is there, after every kind of trouble.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{
    AWKWARD, Ended, Project, Relay, SIGNING_KEY, Step, address, claims_of, holds, json_answer, keeps_the_contract, out_of_crm,
    people_to, recorded, replayed, rule, same, shared,
};
use crate::vendors::{Judge, judged};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule(
            "salesforce: pages and then changes are what the org holds, rows with line breaks and quotes whole",
            pages_and_changes,
        ),
        rule(
            "salesforce: a job, or the pages that replace a failed one, give what the org holds, also on a bad day and killed at any moment",
            killed_on_a_bad_day,
        ),
        rule(
            "salesforce: a used-up day or share of it ends the run as paused, and a session that ends is renewed, a person's too",
            limits,
        ),
        rule("salesforce: a user logs in by an assertion that the host signs, and a key that cannot sign is told", signed_log_in),
        rule("salesforce: it keeps the contract both ways, and a name that no field has is a mistake", rules_and_names),
        rule("salesforce: every row arrives or is told, by request or job, though the plugin sees tokens", blind_upserts),
        rule("salesforce: a base of two sources is written back, opt-outs stay out, and an erased person is deleted", two_way),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

const FIELDS: [&str; 7] = ["FirstName", "LastName", "Email", "HasOptedOutOfEmail", "AccountId", "CreatedDate", "SystemModstamp"];

/// A connection to the stand-in, with more of its configuration.
fn connection(port: u16, name: &str, more: &str) -> String {
    format!(
        "version: 1
connection: {name}
plugin: salesforce
config: {{ base_url: \"http://127.0.0.1:{port}\", objects: [Contact], {more} }}
secrets: {{ client_id: {{ env: SALESFORCE_ID_OF_THE_TEST }}, client_secret: {{ env: SALESFORCE_SECRET_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

/// Contacts into files, one for each run.
fn contacts_out(port: u16, more: &str) -> Project {
    out_of_crm(&connection(port, "crm", more), "contact", &FIELDS, "firstname, lastname, email")
}

fn command(project: &Project, arguments: &[&str]) -> std::process::Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("SALESFORCE_ID_OF_THE_TEST", "cid").env("SALESFORCE_SECRET_OF_THE_TEST", "csecret");
    command
}

fn run(project: &Project) -> Result<Value, Failed> {
    let ended = Ended::of(command(project, &["run", "--output", "json", "--quiet"]).output()?).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn read_count(reports: &Value) -> Result<Option<u64>, Failed> {
    Ok(report_of(reports, "contacts_out")?["streams"][0]["read"].as_u64())
}

/// The fields of a record; an instant in one form.
fn fields_of(record: &Value) -> Vec<Value> {
    let steady = |name: &&str| match record[*name]
        .as_str()
        .filter(|_| !name.ends_with("Name") && name.contains("Date") || name.contains("stamp"))
    {
        Some(text) => json!(text.get(..19)),
        None => record[*name].clone(),
    };
    FIELDS.iter().map(steady).collect()
}

/// What was written of each contact last, by id; nothing of those that are told deleted.
fn written(project: &Project) -> BTreeMap<String, Vec<Value>> {
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    let records = project.lines_below("out").into_iter().map(|line| serde_json::from_str(&line).unwrap_or(Value::Null));
    let (deleted, records): (Vec<Value>, Vec<Value>) = records.partition(|record| record["_op"] == "delete");
    for record in records {
        let changed =
            |record: &Value| record["SystemModstamp"].as_str().unwrap_or_default().get(..19).unwrap_or_default().to_owned();
        let known = newest.entry(record["id"].as_str().unwrap_or_default().to_owned()).or_insert_with(|| record.clone());
        if changed(&record) > changed(known) {
            *known = record;
        }
    }
    deleted.iter().for_each(|record| _ = newest.remove(record["id"].as_str().unwrap_or_default()));
    newest.into_iter().map(|(id, record)| (id, fields_of(&record))).collect()
}

/// Contacts of the org that were not deleted.
fn contacts(judge: &Judge) -> Result<Vec<Value>, Failed> {
    let truth = judge.get("/__judge/truth?full=1")?;
    let rows = truth["rows"].as_array().cloned().unwrap_or_default();
    Ok(rows.into_iter().filter(|row| row["IsDeleted"] == false).collect())
}

fn is_the_truth(project: &Project, judge: &Judge) -> Result<(), Failed> {
    let truth: BTreeMap<String, Vec<Value>> =
        contacts(judge)?.iter().map(|record| (record["Id"].as_str().unwrap_or_default().to_owned(), fields_of(record))).collect();
    let found = written(project);
    same("contacts", found.len(), truth.len())?;
    let differing: Vec<_> = truth.iter().filter(|(id, record)| found.get(*id) != Some(*record)).take(3).collect();
    holds(
        differing.is_empty(),
        format!("these are not as they are there: {differing:?}, but {:?}", differing.first().map(|(id, _)| &found[*id])),
    )
}

/// Nothing refused for its shape, no consent given.
fn is_well_formed(judge: &Judge) -> Result<(), Failed> {
    let mut summary = judge.get("/__judge/summary")?;
    summary["unknownFields"] = json!(0);
    judged(judge, &summary)
}

fn pages_and_changes() -> Result<(), Failed> {
    let judge = Judge::start("salesforce", &[])?;
    let project = contacts_out(judge.port, "bulk_read_from: 0");
    same("read at first", read_count(&run(&project)?)?, Some(5_146))?;
    is_the_truth(&project, &judge)?;
    for place in [101, 900, 5_101] {
        judge.request("POST", &format!("/__judge/touch?i={place}&lastName=Touched"))?;
    }
    same("read after three changes", read_count(&run(&project)?)?, Some(3))?;
    is_the_truth(&project, &judge)?;
    is_well_formed(&judge)
}

/// Query jobs over the contacts of the stand-in, whose own do not start.
struct Jobs {
    lines: Vec<String>,
    started: AtomicUsize,
    parts: AtomicUsize,
    is_failing: AtomicBool,
}

const HEADER: &str = "Id,SystemModstamp,FirstName,LastName,Email,HasOptedOutOfEmail,AccountId,CreatedDate";

impl Jobs {
    fn of(judge: &Judge) -> Result<Arc<Self>, Failed> {
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            other => other.to_string(),
        };
        let line = |record: &Value| HEADER.split(',').map(|name| cell(&record[name])).collect::<Vec<_>>().join(",");
        let (lines, zero) = (contacts(judge)?.iter().map(line).collect(), || AtomicUsize::new(0));
        Ok(Arc::new(Self { lines, started: zero(), parts: zero(), is_failing: AtomicBool::new(false) }))
    }

    /// On a bad day: late, without an answer, busy.
    fn step(&self, number: usize, asked: &str) -> Step {
        let busy = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        match (asked.contains("/jobs/query"), number % 6) {
            (false, at) => Step::Forward(Duration::from_millis(if at == 5 { 300 } else { 0 })),
            (true, 1) => Step::Drop,
            (true, 3) => Step::Answer(busy.into()),
            (true, _) => Step::Answer(self.answer(asked).into()),
        }
    }

    fn answer(&self, asked: &str) -> String {
        let mut headers = String::new();
        let body = if asked.starts_with("POST") {
            self.started.fetch_add(1, Ordering::Relaxed);
            json!({ "id": "750R", "state": "UploadComplete" }).to_string()
        } else if !asked.contains("/results") {
            let state = if self.is_failing.load(Ordering::Relaxed) { "Failed" } else { "JobComplete" };
            json!({ "id": "750R", "state": state }).to_string()
        } else {
            self.parts.fetch_add(1, Ordering::Relaxed);
            let from = asked.split("locator=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
            let part = &self.lines[from..self.lines.len().min(from + 5_000)];
            let next = from + part.len();
            let locator = if next < self.lines.len() { next.to_string() } else { "null".to_owned() };
            let _ = write!(headers, "sforce-locator: {locator}\r\nsforce-numberofrecords: {}\r\n", part.len());
            format!("{HEADER}\n{}\n", part.join("\n"))
        };
        let length = body.len();
        let date = "date: Thu, 01 Jan 2026 00:00:00 GMT";
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{date}\r\n{headers}content-length: {length}\r\n\r\n{body}")
    }
}

/// Answers of an org on a bad day.
const STUMBLES: [&str; 3] = [
    r#"{"match":"GET /services/data/v66.0/query","status":503,"times":2}"#,
    r#"{"match":"GET /services/data/v66.0/query","drop":true,"times":2}"#,
    r#"{"match":"GET /services/data/v66.0/query","status":200,"times":1,"body":"<html>maintenance</html>"}"#,
];

/// By a job first; then by pages, because a job failed.
fn killed_on_a_bad_day() -> Result<(), Failed> {
    let judge = Judge::start("salesforce", &["--contacts", "10300"])?;
    let jobs = Jobs::of(&judge)?;
    let played = Arc::clone(&jobs);
    let relay = Relay::start(judge.port, move |number, asked| played.step(number, asked))?;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    for is_failing in [false, true] {
        jobs.is_failing.store(is_failing, Ordering::Relaxed);
        let project = contacts_out(relay.port, "bulk_read_from: 1000");
        for stumble in STUMBLES {
            judge.request_with("POST", "/__judge/fault", stumble)?;
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            relay.killed_after(1 + (seed >> 33) as usize % 12, &mut command(&project, &["run", "--quiet"]))?;
        }
        run(&project)?;
        is_the_truth(&project, &judge)?;
        holds(jobs.started.swap(0, Ordering::Relaxed) > 0, "no job was started")?;
        same("its result was read", jobs.parts.swap(0, Ordering::Relaxed) >= 3, !is_failing)?;
    }
    Ok(())
}

fn limits() -> Result<(), Failed> {
    let poor = Judge::start("salesforce", &["--daily", "20", "--contacts", "2600", "--batch", "200"])?;
    let project = contacts_out(poor.port, "bulk_read_from: 0");
    let paused = |says: &str| -> Result<(), Failed> {
        let ended = Ended::of(command(&project, &["run", "--output", "json", "--quiet"]).output()?);
        let report = report_of(&serde_json::from_str(&ended.stdout)?, "contacts_out")?.clone();
        same("outcome", report["outcome"].as_str(), Some("paused"))?;
        holds(report["error"].as_str().unwrap_or_default().contains(says), format!("{report}"))
    };
    paused("api_share")?;
    same("used", poor.get("/__judge/summary")?["used"].as_u64(), Some(10))?;
    project.write("connections/crm.yaml", &connection(poor.port, "crm", "bulk_read_from: 0, api_share: 100"));
    paused("requests")?;
    // The next run begins without a request left.
    paused("no request left")?;
    drop(poor);
    let brief = Judge::start("salesforce", &["--expire-after", "3", "--contacts", "2600", "--batch", "200"])?;
    let person = connection(brief.port, "crm", "bulk_read_from: 0, refresh: true");
    let granted = "{ refresh_token: { env: SALESFORCE_SECRET_OF_THE_TEST }, client_id";
    project.write("connections/crm.yaml", &person.replace("{ client_id", granted));
    run(&project)?;
    is_the_truth(&project, &brief)?;
    holds(brief.get("/__judge/summary")?["tokens"].as_u64() > Some(1), "no session ended")
}

fn signed_log_in() -> Result<(), Failed> {
    let judge = Judge::start("salesforce", &["--expire-after", "3", "--contacts", "2600", "--batch", "200"])?;
    let session = "grant_type=client_credentials&client_id=cid&client_secret=csecret";
    let (port, asked) = (judge.port, Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    let relay = Relay::start_reading(port, move |_, line, form| {
        if !line.starts_with("POST /services/oauth2/token ") {
            return Step::Forward(Duration::ZERO);
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let asserted = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
        let claims = asserted.and_then(claims_of).unwrap_or_default();
        let said = ["iss", "sub", "aud"].map(|claim| claims[claim].as_str());
        let is_short =
            claims["exp"].as_i64().zip(claims["iat"].as_i64()).is_some_and(|(exp, iat)| (1..=180).contains(&(exp - iat)));
        if !is_short || said != [Some("cid"), Some("etl@acme.example"), Some("https://login.salesforce.com")] {
            return json_answer(400, r#"{"error":"invalid_grant","error_description":"invalid assertion"}"#);
        }
        match crate::vendors::request_to(port, "POST", "/services/oauth2/token", session) {
            Ok(body) => json_answer(200, &body),
            Err(_) => Step::Drop,
        }
    })?;
    let project = contacts_out(relay.port, "bulk_read_from: 0, user: etl@acme.example");
    let text = project.read("connections/crm.yaml");
    let secrets = "client_id: { env: SALESFORCE_ID_OF_THE_TEST }, private_key: { secret: salesforce/key }";
    let (before, _) = text.split_once("secrets: {").ok_or("no secrets")?;
    let (_, egress) = text.split_once("}\negress").ok_or("no egress")?;
    project.write("connections/crm.yaml", &format!("{before}secrets: {{ {secrets} }}\negress{egress}"));
    let key = |text: &str| -> Result<(), Failed> {
        project.write("secrets/salesforce/key", text);
        let file = project.path().join("secrets/salesforce/key");
        Ok(std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?)
    };
    key(SIGNING_KEY)?;
    run(&project)?;
    is_the_truth(&project, &judge)?;
    holds(asked.load(Ordering::Relaxed) > 1, "no session ended")?;

    for (wrong, says) in
        [("-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----", "is a certificate"), ("hunter2", "holds no key")]
    {
        key(wrong)?;
        let ended = Ended::of(command(&project, &["connection", "check", "crm"]).output()?);
        let told = ["E0421", "the secret `private_key` of connection `crm`", says].iter().all(|text| ended.stdout.contains(text));
        holds(told && !ended.stdout.contains("hunter2") && !ended.stdout.contains("MIIC"), ended.stdout)?;
    }
    key(SIGNING_KEY)?;
    let text = project.read("connections/crm.yaml").replace("etl@acme.example", "nobody@acme.example");
    project.write("connections/crm.yaml", &text);
    let ended = Ended::of(command(&project, &["connection", "check", "crm"]).output()?);
    holds(ended.stdout.contains("E0418") && ended.stdout.contains("the user in `config.user`"), ended.stdout)
}

fn rules_and_names() -> Result<(), Failed> {
    let judge = Judge::start("salesforce", &["--contacts", "700", "--daily", "1000000"])?;
    let project = contacts_out(judge.port, "bulk_read_from: 0");
    let text = project.read("pipelines/contacts_out.yaml");
    project.write("pipelines/contacts_out.yaml", &text.replace("FirstName: firstname", "FirstName: firstnam"));
    let ended = Ended::of(command(&project, &["validate"]).output()?).expect(2)?.says("firstname")?;
    holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))?;
    let twice = contacts_out(judge.port, "user: etl@acme.example, refresh: true");
    Ended::of(command(&twice, &["validate"]).output()?).expect(2)?.says("E0161")?.says("leave one of them out")?;

    let port = judge.port;
    let contract = format!(
        "config: {{ base_url: \"http://127.0.0.1:{port}\", objects: [Contact], bulk_read_from: 0 }}
secrets: {{ client_id: cid, client_secret: csecret }}
streams: [contact]
destination:
  object: Contact
  mode: upsert
  match: [Cdp_Id__c]
  fields: [{{ name: Cdp_Id__c, type: text }}, {{ name: Email, type: text, pii: email }}, {{ name: LastName, type: text, pii: name }}]
  rows: [{{ Cdp_Id__c: c1, Email: ann.test@people.example, LastName: Ann }}, {{ Cdp_Id__c: c2, Email: bo.test@people.example, LastName: Bo }}]
"
    );
    keeps_the_contract(
        "salesforce",
        &contract,
        &[
            "check.credential",
            "check.secrecy",
            "read.resume",
            "read.throttled",
            "read.server_error",
            "read.truncated",
            "write.outcomes",
            "write.same_key",
            "write.throttled",
            "write.server_error",
        ],
    )
}

/// Values that an escaping can go wrong with, and that a spreadsheet would run.
fn name(place: usize) -> &'static str {
    let more = ["+49 30 901820", "=HYPERLINK(\"https://evil.example\")"];
    AWKWARD.iter().chain(&more).copied().nth(place % 6).unwrap_or_default()
}

fn by_key(judge: &Judge) -> Result<BTreeMap<String, Value>, Failed> {
    let keyed = contacts(judge)?.into_iter().filter_map(|one| Some((one["Cdp_Id__c"].as_str()?.to_owned(), one)));
    Ok(keyed.collect())
}

/// By requests first, then by a job.
fn blind_upserts() -> Result<(), Failed> {
    for (more, job) in [("bulk_write_from: 0", false), ("bulk_write_from: 100", true)] {
        let judge = Judge::start("salesforce", &["--contacts", "3"])?;
        upsert_blindly(&judge, more).map_err(|failed| format!("{more}: {}", failed.message().unwrap_or_default()))?;
        let log = judge.get("/__judge/log")?;
        let jobs = log.as_array().into_iter().flatten().filter(|entry| entry["key"].to_string().contains("/jobs/ingest"));
        same("jobs", jobs.count() > 0, job)?;
    }
    Ok(())
}

const SENDS: &str = "connection: crm
  object: Contact
  match: { Cdp_Id__c: id }
  map: { Email: email, LastName: name, Lifetime_Value__c: spent }";

fn upsert_blindly(judge: &Judge, more: &str) -> Result<(), Failed> {
    let email = |place| if place == 70 { "nonsense".to_owned() } else { address(place) };
    let person = |place: usize| json!({ "id": format!("c{place}"), "email": email(place), "name": name(place), "spent": 1.5 });
    let mut people: Vec<Value> = (0..250).map(person).collect();
    people.push(json!({ "id": "C5", "email": "again@people.example", "name": "Later", "spent": null }));
    let project = people_to(("crm", &connection(judge.port, "crm", more)), &people, SENDS);
    judge.request_with("POST", "/__judge/fault", r#"{"match":"composite|jobs","status":503,"times":2}"#)?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"composite|jobs","drop":true,"times":1}"#)?;
    let reports = recorded(&project, |arguments| command(&project, arguments), "", &["Later"])?;

    let known = by_key(judge)?;
    let is_there = |place: usize| known.contains_key(&format!("c{place}")) || (place == 5 && known.contains_key("C5"));
    same("contacts", (0..250).filter(|place| is_there(*place)).count(), 249)?;
    for place in (0..250).filter(|place| !matches!(place, 5 | 70)) {
        let contact = known.get(&format!("c{place}")).ok_or("a row did not arrive")?;
        same("name", contact["LastName"].as_str(), Some(name(place)))?;
        same("spent", contact["Lifetime_Value__c"].as_f64(), Some(1.5))?;
    }
    let plan = Ended::of(command(&project, &["plan"]).output()?).expect(0)?;
    holds(plan.stdout.contains("its plugin does not see them: email, name"), plan.stdout)?;
    let letters = Ended::of(command(&project, &["dead-letters", "list", "--output", "json"]).output()?).expect(0)?;
    holds(letters.stdout.contains("INVALID_EMAIL_ADDRESS"), letters.stdout)?;
    replayed(|arguments| command(&project, arguments), &reports)
}

fn two_way() -> Result<(), Failed> {
    let judge = Judge::start("salesforce", &["--contacts", "300", "--bulk-ms", "50"])?;
    let project = Project::copy_of("salesforce");
    project.write("connections/salesforce.yaml", &connection(judge.port, "salesforce", ""));
    let customers: String =
        (0..60).map(|place| format!("c{place},New{place}@Example.com,Ann,Name{place},true,2026-06-01T00:00:00Z\n")).collect();
    let orders: String = (0..60).map(|place| format!("o{place},c{place},1{place}.50,EUR,2026-05-01T00:00:00Z\n")).collect();
    project.write(
        "exports/customers.csv",
        &format!("customer_id,email,first_name,last_name,accepts_marketing,updated_at\n{customers}"),
    );
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
    for place in 50..100 {
        judge.request("POST", &format!("/__judge/optout?email=new{place}@example.com"))?;
    }
    let reports = run(&project)?;
    same("sent", report_of(&reports, "buyers_to_salesforce")?["activation"]["accepted"].as_u64(), Some(60))?;
    let known = by_key(&judge)?;
    same("contacts", known.len(), 60)?;
    same("spent", known["c7"]["Lifetime_Value__c"].as_f64(), Some(17.5))?;
    let again = run(&project)?;
    same("sent again", report_of(&again, "buyers_to_salesforce")?["activation"]["accepted"].as_u64(), Some(0))?;

    let erased = Ended::of(
        command(&project, &["profile", "erase", "email:new7@example.com", "--yes", "--output", "json", "--quiet"]).output()?,
    );
    let erased: Value = serde_json::from_str(&erased.expect(0)?.stdout)?;
    holds(matches!(erased[0]["receipts"][0]["state"].as_str(), Some("accepted" | "verified")), format!("{erased}"))?;
    run(&project)?;
    holds(!by_key(&judge)?.contains_key("c7"), "the erased person is still there")?;
    is_well_formed(&judge)
}
