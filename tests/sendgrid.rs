//! SendGrid against its stand-in, which checks each request against what the vendor publishes and keeps nothing: what an account would
//! answer about imports, contacts and suppressions is told to it first.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{Ended, Project, files_below, holds, keeps_the_contract, rule, same, shared};
use crate::vendors::{Judge, judged};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule(
            "sendgrid: buyers become a list, who said no there stays out, who is erased is gone; tokens arrive as values",
            account,
        ),
        rule("sendgrid: it keeps the contract both ways, also on the service's bad days", both_keep_the_rules),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

fn connection(judge: &Judge, more: &str) -> String {
    let port = judge.port;
    format!(
        "version: 1
connection: sendgrid
plugin: sendgrid
config: {{ base_url: \"http://127.0.0.1:{port}\"{more} }}
secrets: {{ api_key: {{ env: SENDGRID_KEY_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("SENDGRID_KEY_OF_THE_TEST", "SG.test");
    command
}

fn run(project: &Project, more: &[&str]) -> Result<Value, Failed> {
    let arguments = [&["run", "--output", "json", "--quiet"], more].concat();
    let ended = Ended::of(command(project, &arguments).output()?).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// What the account answers, so many times, before the stand-in answers by itself.
fn answers(judge: &Judge, request: &str, times: u32, body: &Value) -> Result<(), Failed> {
    let fault = json!({ "match": request, "status": 200, "times": times, "body": body });
    judge.request_with("POST", "/__judge/fault", &fault.to_string()).map(drop)
}

const ALWAYS: u32 = 1_000_000;
const JOB: &str = "GET /v3/marketing/contacts/imports/";

fn job(judge: &Judge, times: u32, status: &str, refused: u32) -> Result<(), Failed> {
    let body = json!({ "id": "j", "status": status, "job_type": "upsert", "results": { "errored_count": refused } });
    answers(judge, JOB, times, &body)
}

fn log(judge: &Judge) -> Result<Vec<Value>, Failed> {
    Ok(judge.get("/__judge/log")?.as_array().cloned().unwrap_or_default())
}

fn requests(judge: &Judge, start: &str) -> Result<Vec<Value>, Failed> {
    let is_wanted = |entry: &Value| entry["key"].as_str().unwrap_or_default().starts_with(start) && entry["status"] != 503;
    Ok(log(judge)?.into_iter().filter(is_wanted).collect())
}

/// What imports brought, by address; the last of each.
fn imported(judge: &Judge) -> Result<BTreeMap<String, Value>, Failed> {
    let mut contacts = BTreeMap::new();
    for entry in requests(judge, "PUT /v3/marketing/contacts")? {
        let body: Value = serde_json::from_str(entry["body"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
        for contact in body["contacts"].as_array().into_iter().flatten() {
            contacts.insert(contact["email"].as_str().unwrap_or_default().to_owned(), contact.clone());
        }
    }
    Ok(contacts)
}

/// One stand-in for everything but the contract, since starting it takes longer than what is asked of it.
fn account() -> Result<(), Failed> {
    let judge = Judge::start("sendgrid", &[])?;
    both_ways(&judge)?;
    judge.request("POST", "/__judge/reset")?;
    blind(&judge)
}

/// The example with 60 buyers, ten of whom unsubscribed in SendGrid, with 40 others.
fn example(judge: &Judge) -> Result<Project, Failed> {
    let project = Project::copy_of("sendgrid");
    project.write("connections/sendgrid.yaml", &connection(judge, ", create_fields: true"));
    let customers: String =
        (0..60).map(|place| format!("c{place},Lead{place}@Example.com,Name{place},true,2026-06-01T00:00:00Z\n")).collect();
    project.write("exports/customers.csv", &format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}"));
    let order = |place: u32, number: u32| format!("o{place}-{number},c{place},10,EUR,2026-05-01T00:00:00Z\n");
    let orders: String = (0..60).map(|place| order(place, 1)).chain((0..5).map(|place| order(place, 2))).collect();
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
    // The description of a contact names one custom field, `w1`, which the stand-in says is `num_orders`.
    let pipeline = project.read("pipelines/buyers_to_sendgrid.yaml");
    let pipeline = pipeline.replace("    last_order_at: last_order_at\n", "").replace("max_remove: 10%", "max_remove: 90%");
    project.write("pipelines/buyers_to_sendgrid.yaml", &pipeline);

    let refusal = |place: u32| json!({ "email": format!("lead{place}@example.com"), "created": 1_790_000_000 + place });
    let refusals: Vec<Value> = (50..100).map(refusal).collect();
    for place in 50..100 {
        judge.request("POST", &format!("/__judge/optout?email=lead{place}@example.com"))?;
    }
    answers(judge, "GET /v3/suppression/unsubscribes.*", 1, &json!(refusals))?;
    answers(judge, "GET /v3/suppression/", ALWAYS, &json!([]))?;
    Ok(project)
}

fn both_ways(judge: &Judge) -> Result<(), Failed> {
    let project = example(judge)?;
    run(&project, &["sendgrid_to_profiles", "shop_to_profiles"])?;
    job(judge, 2, "pending", 0)?;
    job(judge, ALWAYS, "completed", 0)?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"PUT /v3/marketing/contacts","status":503,"times":1}"#)?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"PUT /v3/marketing/contacts","drop":true,"times":1}"#)?;
    let mut killed =
        command(&project, &["run", "buyers_to_sendgrid", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(300 + u64::from(std::process::id()) % 700));
    killed.kill()?;
    killed.wait()?;

    let reports = run(&project, &["buyers_to_sendgrid"])?;
    same("who has no consent", report_of(&reports, "buyers_to_sendgrid")?["activation"]["without_consent"].as_u64(), Some(10))?;
    let contacts = imported(judge)?;
    same("contacts", contacts.len(), 50)?;
    let lead = contacts.get("lead7@example.com").ok_or("a buyer was not sent")?;
    same("fields", lead, &json!({ "email": "lead7@example.com", "first_name": "Name7", "custom_fields": { "w1": "1" } }))?;
    let again = run(&project, &["buyers_to_sendgrid"])?;
    same("sent again", report_of(&again, "buyers_to_sendgrid")?["activation"]["accepted"].as_u64(), Some(0))?;

    erased(judge, &project)?;
    project.write(
        "profiles/segments.yaml",
        &project.read("profiles/segments.yaml").replace("orders_count >= 1", "orders_count >= 2"),
    );
    let known = json!({ "result": { "lead8@example.com": { "contact": { "id": "c8", "email": "lead8@example.com" } } } });
    answers(judge, "POST /v3/marketing/contacts/search/identifiers/email", ALWAYS, &known)?;
    let fewer = run(&project, &["buyers_to_sendgrid"])?;
    same("left", report_of(&fewer, "buyers_to_sendgrid")?["activation"]["removed"].as_u64(), Some(44))?;
    let left = requests(judge, "DELETE /v3/marketing/lists/")?;
    same("who left", left.iter().map(|entry| entry["query"].as_str()).collect::<Vec<_>>(), vec![Some("?contact_ids=c8")])?;
    same("contacts that were deleted", requests(judge, "DELETE /v3/marketing/contacts")?.len(), 1)?;
    let of_suppressions =
        |entry: &&Value| !entry["key"].to_string().contains("GET ") && entry["key"].to_string().contains("suppression");
    same("changed suppressions", log(judge)?.iter().filter(of_suppressions).count(), 0)?;
    judged(judge, &judge.get("/__judge/summary")?)
}

fn erased(judge: &Judge, project: &Project) -> Result<(), Failed> {
    let found = json!({ "result": { "lead7@example.com": { "contact": { "id": "c7", "email": "lead7@example.com" } } } });
    answers(judge, "POST /v3/marketing/contacts/search/identifiers/email", 1, &found)?;
    let arguments = ["profile", "erase", "email:lead7@example.com", "--yes", "--output", "json", "--quiet"];
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    let jobs = requests(judge, "POST /v3/recipients/erasejob")?;
    same("asked to erase", jobs[0]["body"].as_str(), Some(r#"{"email_addresses":["lead7@example.com"]}"#))?;
    let deleted = requests(judge, "DELETE /v3/marketing/contacts")?;
    same("deleted", deleted.iter().map(|entry| entry["query"].as_str()).collect::<Vec<_>>(), vec![Some("?ids=c7")])?;
    run(project, &["buyers_to_sendgrid"])?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified") && receipts.stdout.contains("12a975bd"), receipts.stdout)
}

/// Values that an escaping can go wrong with.
const AWKWARD: [&str; 4] = ["O'Neil \"Bob\" \\ back", "Zoë\nsecond line", "</script>&amp; 名前", "100%40 +a=b&c;d"];

const PEOPLE: &str = "version: 1
pipeline: people
source:
  connection: { plugin: jsonl, files: { read: [\"in/*.jsonl\"] }, config: { streams: { people: { files: \"in/*.jsonl\" } } } }
  streams: { people: { sync: full_refresh, pii: { email: email, name: name } } }
destination:
  connection: sendgrid
  object: contacts
  match: { email: email }
  mode: upsert
  map: { first_name: name, num_orders: orders }
  grants: [email, name]
";

fn blind(judge: &Judge) -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: blind\n").write("connections/sendgrid.yaml", &connection(judge, ""));
    let person = |place: usize| json!({ "id": place, "email": format!("Per.Son+{place}@people.example"), "name": AWKWARD[place % 4], "orders": place });
    let lines: String = (0..4).map(|place| format!("{}\n", person(place))).collect();
    project.write("in/people.jsonl", &lines).write("pipelines/people.yaml", &PEOPLE.replace("first_name:", "frist_name:"));
    let wrong = Ended::of(command(&project, &["validate"]).output()?).expect(2)?.says("frist_name")?;
    holds(wrong.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", wrong.stderr))?;

    // Of each half the second has the contact that is refused, until it is alone: the last.
    project.write("pipelines/people.yaml", PEOPLE);
    job(judge, 1, "errored", 1)?;
    for _ in 0..2 {
        job(judge, 1, "completed", 0)?;
        job(judge, 1, "errored", 1)?;
    }
    job(judge, ALWAYS, "completed", 0)?;
    let arguments = ["run", "--output", "json", "--quiet", "--record", "recording"];
    let ended = Ended::of(command(&project, &arguments).output()?);
    let reports: Value = serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr.clone())?;
    holds(reports.to_string().contains("\"rejected\":1"), format!("one row is refused: {reports}"))?;
    let contacts = imported(judge)?;
    same("contacts", contacts.len(), 4)?;
    for place in 0..4 {
        let contact = &contacts[&format!("per.son+{place}@people.example")];
        same("name", contact["first_name"].as_str(), Some(AWKWARD[place % 4]))?;
    }
    let recording = files_below(&project.path().join("recording"));
    let seen: String = recording.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    holds(seen.contains("pii0zq"), "the plugin did not send tokens")?;
    for value in ["people.example", "O'Neil", "second line", "SG.test"] {
        holds(!seen.contains(value), format!("the plugin saw `{value}`"))?;
    }
    judged(judge, &judge.get("/__judge/summary")?)?;
    let arguments = ["run", "--output", "json", "--quiet", "--replay", "recording"];
    let replayed = Ended::of(command(&project, &arguments).output()?);
    let replayed: Value = serde_json::from_str(&replayed.stdout).map_err(|_| replayed.stderr.clone())?;
    same("streams without the account", &replayed[0]["streams"], &reports[0]["streams"])
}

fn both_keep_the_rules() -> Result<(), Failed> {
    let judge = Judge::start_with("sendgrid", &[], &[("JUDGE_LIMITS", "off")])?;
    job(&judge, ALWAYS, "completed", 0)?;
    let contract = format!(
        "config: {{ base_url: \"http://127.0.0.1:{}\" }}
secrets: {{ api_key: SG.test }}
streams: [group_unsubscribes]
destination:
  object: contacts
  mode: mirror
  list: Contract
  match: [email]
  fields: [{{ name: email, type: text, pii: email }}, {{ name: first_name, type: text, pii: name }}]
  rows: [{{ email: ann.test@people.example, first_name: Ann }}, {{ email: bo.test@people.example, first_name: Bo }}]
",
        judge.port
    );
    keeps_the_contract(
        "sendgrid",
        &contract,
        &[
            "check.credential",
            "check.secrecy",
            "read.throttled",
            "read.server_error",
            "read.truncated",
            "write.outcomes",
            "write.same_key",
            "write.throttled",
            "write.server_error",
            "write.deletes",
            "erase.accepts",
            "erase.verifies",
        ],
    )
}
