//! Braze against its stand-in, which checks every request against what the vendor publishes and keeps nothing: what was sent is in its
//! log. Its description gets examples of what people the lists hold; nothing else in it is changed.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::quickstart::report_of;
use crate::support::{Ended, Project, files_below, holds, keeps_the_contract, rule, same, shared};
use crate::vendors::{Judge, judged};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule("braze: opt-outs are read, changed attributes alone are sent on a bad day, and people are erased", buyers_are_kept),
        rule("braze: every row arrives or is told, though the plugin sees tokens; it keeps the contract", blind_and_by_contract),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

/// The stand-in; `unsubscribed` people are in its list.
fn stand_in(unsubscribed: usize) -> Result<(Judge, TempDir), Failed> {
    let folder = TempDir::new()?;
    let description = shared().ok_or("no stand-ins")?.join("apis/braze/openapi.json");
    let mut description: Value = serde_json::from_slice(&std::fs::read(description)?)?;
    let emails = |at: &str| -> Vec<Value> {
        (0..unsubscribed)
            .map(|place| json!({ "email": format!("lead{place}@example.com"), at: "2026-08-25 15:24:32 +0000" }))
            .collect()
    };
    let bounced = [json!({ "email": "lead150@example.com", "hard_bounced_at": "2026-08-25 15:24:32 +0000" })];
    for (path, method, status, example) in [
        ("/email/unsubscribes", "get", "200", json!({ "emails": emails("unsubscribed_at"), "message": "success" })),
        ("/email/hard_bounces", "get", "200", json!({ "emails": bounced, "message": "success" })),
        ("/users/export/ids", "post", "200", json!({ "users": [], "message": "success" })),
    ] {
        description["paths"][path][method]["responses"][status]["content"]["application/json"]["example"] = example;
    }
    // What the documentation has and the description lacks.
    let attribute = |(name, kind): (&str, &str)| json!({ "name": name, "data_type": kind, "status": "Active" });
    let attributes = [("orders", "Number"), ("spent", "Number"), ("last_order_at", "Date"), ("stage", "String")].map(attribute);
    let listed = json!({ "attributes": attributes, "message": "success" });
    description["paths"]["/custom_attributes"]["get"] =
        json!({ "responses": { "200": { "description": "listed", "content": { "application/json": { "example": listed } } } } });
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, description.to_string())?;
    let judge = Judge::start_with("braze", &[], &[("JUDGE_SPEC", &file.display().to_string())])?;
    Ok((judge, folder))
}

fn connection(judge: &Judge) -> String {
    let port = judge.port;
    format!(
        "version: 1
connection: braze
plugin: braze
config: {{ instance: fra-01.braze.eu, base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ api_key: {{ env: BRAZE_KEY_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("BRAZE_KEY_OF_THE_TEST", "key-test");
    command
}

fn run(project: &Project, more: &[&str]) -> Result<Value, Failed> {
    let mut arguments = vec!["run", "--output", "json", "--quiet"];
    arguments.extend(more);
    let ended = Ended::of(command(project, &arguments).output()?);
    Ok(serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr)?)
}

/// Requests of a kind that were taken, with their bodies.
fn taken(judge: &Judge, key: &str) -> Result<Vec<Value>, Failed> {
    let log = judge.get("/__judge/log")?;
    let is_taken = |entry: &&Value| entry["key"] == key && matches!(entry["status"].as_u64(), Some(200..=299));
    let taken = log.as_array().into_iter().flatten().filter(is_taken);
    Ok(taken.filter_map(|entry| serde_json::from_str(entry["body"].as_str()?).ok()).collect())
}

/// Attributes objects of all requests, in their order.
fn objects(judge: &Judge) -> Result<Vec<Value>, Failed> {
    let bodies = taken(judge, "POST /users/track")?;
    Ok(bodies.iter().flat_map(|body| body["attributes"].as_array().cloned().unwrap_or_default()).collect())
}

const PEOPLE: usize = 200;

fn orders(changed: usize) -> String {
    let total = |place: usize| if place == changed { "99.00" } else { "10.00" };
    let lines = (0..PEOPLE).map(|place| format!("o{place},c{place},{},EUR,2026-02-01T00:00:00Z\n", total(place)));
    format!("order_id,customer_id,total,currency,ordered_at\n{}", lines.collect::<String>())
}

/// The example with its shop, pointed at the stand-in.
fn example(judge: &Judge) -> Project {
    let project = Project::copy_of("braze");
    let customers: String =
        (0..PEOPLE).map(|place| format!("c{place},Lead{place}@Example.com,Name{place},true,2026-01-01T00:00:00Z\n")).collect();
    let customers = format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}");
    project.write("connections/braze.yaml", &connection(judge));
    project.write("exports/customers.csv", &customers).write("exports/orders.csv", &orders(PEOPLE));
    project
}

fn buyers_are_kept() -> Result<(), Failed> {
    let (judge, _description) = stand_in(10)?;
    let project = example(&judge);
    for place in 0..50 {
        judge.request("POST", &format!("/__judge/optout?email=lead{place}@example.com"))?;
    }
    a_wrong_name_is_underlined(&project)?;
    for fault in [r#""status":503,"times":1"#, r#""drop":true,"times":1"#] {
        judge.request_with("POST", "/__judge/fault", &format!(r#"{{"match":"POST /users/track",{fault}}}"#))?;
    }
    let mut child = command(&project, &["run", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(600 + u64::from(std::process::id()) % 900));
    child.kill()?;
    child.wait()?;
    run(&project, &[])?;

    let arrived: BTreeMap<String, Value> =
        objects(&judge)?.into_iter().map(|one| (one["external_id"].as_str().unwrap_or_default().to_owned(), one)).collect();
    same("users", arrived.len(), PEOPLE - 10)?;
    holds(!arrived.contains_key("c3"), "who unsubscribed was sent")?;
    let expected = json!({ "external_id": "c77", "email": "lead77@example.com", "first_name": "Name77", "is_buyer": true, "orders": 1,
        "spent": 10, "last_order_at": "2026-02-01T00:00:00Z", "_update_existing_only": false });
    same("a user", arrived.get("c77"), Some(&expected))?;
    let before = objects(&judge)?.len();
    let again = run(&project, &[])?;
    same("sent again", report_of(&again, "buyers_to_braze")?["activation"]["accepted"].as_u64(), Some(0))?;

    project.write("exports/orders.csv", &orders(77));
    run(&project, &[])?;
    let changed = objects(&judge)?.split_off(before);
    same("what changed", changed, vec![json!({ "external_id": "c77", "spent": 99, "_update_existing_only": false })])?;
    erased(&project, &judge)?;
    judged(&judge, &judge.get("/__judge/summary")?)
}

fn a_wrong_name_is_underlined(project: &Project) -> Result<(), Failed> {
    let file = "pipelines/buyers_to_braze.yaml";
    let text = project.read(file);
    Ended::of(command(project, &["validate"]).output()?).expect(0)?;
    for wrong in ["first_nam: first_name", "email_subscribe: first_name", "custom_attributes.oders: first_name"] {
        project.write(file, &text.replace("first_name: first_name", wrong));
        let ended = Ended::of(command(project, &["validate"]).output()?).expect(2)?;
        holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))?;
    }
    project.write(file, &text);
    Ok(())
}

fn erased(project: &Project, judge: &Judge) -> Result<(), Failed> {
    let arguments = ["profile", "erase", "email:lead77@example.com", "--yes", "--quiet"];
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    run(project, &[])?;
    let deleted = taken(judge, "POST /users/delete")?;
    same("deleted", deleted.first(), Some(&json!({ "external_ids": ["c77"] })))?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified"), receipts.stdout)
}

/// Values that an escaping can go wrong with.
const AWKWARD: [&str; 4] = ["O'Neil \"Bob\" \\ back", "Zoë\nsecond line", "</script>&amp; 名前", "100%40 +a=b&c;d"];

fn blind_and_by_contract() -> Result<(), Failed> {
    let (judge, _description) = stand_in(1)?;
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: blind\n").write("connections/braze.yaml", &connection(&judge));
    let person = |place: usize| json!({ "id": place.to_string(), "email": format!("Per.Son+{place}@people.example"), "name": AWKWARD[place % AWKWARD.len()], "stage": "lead" });
    let lines: String = (0..100).map(|place| format!("{}\n", person(place))).collect();
    project.write("in/people.jsonl", &lines).write(
        "pipelines/people.yaml",
        "version: 1
pipeline: people
source:
  connection: { plugin: jsonl, files: { read: [\"in/*.jsonl\"] }, config: { streams: { people: { files: \"in/*.jsonl\" } } } }
  streams: { people: { sync: full_refresh, pii: { email: email, name: name } } }
destination:
  connection: braze
  object: user
  match: { email: email }
  mode: upsert
  map: { first_name: name, custom_attributes.stage: stage }
  grants: [email, name]
",
    );
    let refusal = r#"{"message":"success","errors":[{"type":"The value provided for the 'first_name' field is not valid.","input_array":"attributes","index":70}]}"#;
    let fault = format!(r#"{{"match":"POST /users/track","status":201,"times":1,"body":{refusal}}}"#);
    judge.request_with("POST", "/__judge/fault", &fault)?;
    let reports = run(&project, &["--record", "recording"])?;

    let arrived: BTreeMap<String, Value> =
        objects(&judge)?.into_iter().map(|one| (one["email"].as_str().unwrap_or_default().to_owned(), one)).collect();
    same("users", arrived.len(), 100)?;
    for place in 0..100 {
        let email = format!("per.son+{place}@people.example");
        let name = arrived.get(&email).and_then(|one| one["first_name"].as_str());
        same(&email, name, Some(AWKWARD[place % AWKWARD.len()]))?;
    }
    holds(reports.to_string().contains("\"rejected\":1"), format!("one row is refused: {reports}"))?;
    let recording = files_below(&project.path().join("recording"));
    let seen: String = recording.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    holds(seen.contains("\"email\":\"pii0zq"), "the plugin did not send tokens")?;
    for value in ["people.example", "O'Neil", "second line", "key-test"] {
        holds(!seen.contains(value), format!("the plugin saw `{value}`"))?;
    }
    let replayed = run(&project, &["--replay", "recording"])?;
    same("streams without Braze", &replayed[0]["streams"], &reports[0]["streams"])?;
    keeps_the_rules(&judge)
}

fn keeps_the_rules(judge: &Judge) -> Result<(), Failed> {
    let port = judge.port;
    let contract = format!(
        "config: {{ instance: fra-01.braze.eu, base_url: \"http://127.0.0.1:{port}\", send_unchanged: true }}
secrets: {{ api_key: key-test }}
streams: [unsubscribes, hard_bounces]
destination:
  object: user
  mode: mirror
  list: is_tester
  match: [external_id]
  fields: [{{ name: external_id, type: text }}, {{ name: first_name, type: text, pii: name }}]
  rows: [{{ external_id: a, first_name: Ann }}, {{ external_id: b, first_name: Bo }}]
"
    );
    keeps_the_contract(
        "braze",
        &contract,
        &[
            "check.credential",
            "check.secrecy",
            "read.throttled",
            "write.outcomes",
            "write.same_key",
            "write.throttled",
            "write.server_error",
        ],
    )
}
