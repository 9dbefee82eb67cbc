//! SendGrid against its stand-in, which checks each request against what the vendor publishes and keeps nothing: what an account would
//! answer about imports, contacts and suppressions is told to it first.

use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{
    Ended, Project, address, awkward, holds, keeps_the_contract, people_pipeline, people_to, recorded, replayed, rule, same,
    shared,
};
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

const ALWAYS: u32 = 1_000_000;
const JOB: &str = "GET /v3/marketing/contacts/imports/";

fn job(judge: &Judge, times: u32, status: &str, refused: u32) -> Result<(), Failed> {
    let body = json!({ "id": "j", "status": status, "job_type": "upsert", "results": { "errored_count": refused } });
    judge.answers(JOB, times, &body)
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
    judge.answers("GET /v3/suppression/unsubscribes.*", 1, &json!(refusals))?;
    judge.answers("GET /v3/suppression/", ALWAYS, &json!([]))?;
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
    let contacts = judge.contacts_in("PUT /v3/marketing/contacts")?;
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
    judge.answers("POST /v3/marketing/contacts/search/identifiers/email", ALWAYS, &known)?;
    let fewer = run(&project, &["buyers_to_sendgrid"])?;
    same("left", report_of(&fewer, "buyers_to_sendgrid")?["activation"]["removed"].as_u64(), Some(44))?;
    let left = judge.requests("DELETE /v3/marketing/lists/")?;
    same("who left", left.iter().map(|entry| entry["query"].as_str()).collect::<Vec<_>>(), vec![Some("?contact_ids=c8")])?;
    same("contacts that were deleted", judge.requests("DELETE /v3/marketing/contacts")?.len(), 1)?;
    let of_suppressions =
        |entry: &&Value| !entry["key"].to_string().contains("GET ") && entry["key"].to_string().contains("suppression");
    same("changed suppressions", judge.requests("")?.iter().filter(of_suppressions).count(), 0)?;
    judged(judge, &judge.get("/__judge/summary")?)
}

fn erased(judge: &Judge, project: &Project) -> Result<(), Failed> {
    let found = json!({ "result": { "lead7@example.com": { "contact": { "id": "c7", "email": "lead7@example.com" } } } });
    judge.answers("POST /v3/marketing/contacts/search/identifiers/email", 1, &found)?;
    let arguments = ["profile", "erase", "email:lead7@example.com", "--yes", "--output", "json", "--quiet"];
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    let jobs = judge.requests("POST /v3/recipients/erasejob")?;
    same("asked to erase", jobs[0]["body"].as_str(), Some(r#"{"email_addresses":["lead7@example.com"]}"#))?;
    let deleted = judge.requests("DELETE /v3/marketing/contacts")?;
    same("deleted", deleted.iter().map(|entry| entry["query"].as_str()).collect::<Vec<_>>(), vec![Some("?ids=c7")])?;
    run(project, &["buyers_to_sendgrid"])?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified") && receipts.stdout.contains("12a975bd"), receipts.stdout)
}

const SENDS: &str = "connection: sendgrid
  object: contacts
  match: { email: email }
  map: { first_name: name, num_orders: orders }";

fn blind(judge: &Judge) -> Result<(), Failed> {
    let person = |place| json!({ "id": place, "email": address(place), "name": awkward(place), "orders": place });
    let people: Vec<Value> = (0..4).map(person).collect();
    let project = people_to(("sendgrid", &connection(judge, "")), &people, &SENDS.replace("first_name:", "frist_name:"));
    let wrong = Ended::of(command(&project, &["validate"]).output()?).expect(2)?.says("frist_name")?;
    holds(wrong.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", wrong.stderr))?;

    // Of each half the second has the contact that is refused, until it is alone: the last.
    project.write("pipelines/people.yaml", &people_pipeline(SENDS));
    job(judge, 1, "errored", 1)?;
    for _ in 0..2 {
        job(judge, 1, "completed", 0)?;
        job(judge, 1, "errored", 1)?;
    }
    job(judge, ALWAYS, "completed", 0)?;
    let reports = recorded(&project, |arguments| command(&project, arguments), "pii0zq", &["SG.test"])?;
    let contacts = judge.contacts_in("PUT /v3/marketing/contacts")?;
    same("contacts", contacts.len(), 4)?;
    for place in 0..4 {
        let contact = &contacts[&address(place).to_lowercase()];
        same("name", contact["first_name"].as_str(), Some(awkward(place)))?;
    }
    judged(judge, &judge.get("/__judge/summary")?)?;
    replayed(|arguments| command(&project, arguments), &reports)
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
