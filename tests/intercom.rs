//! Intercom against its stand-in, which checks every request against what the vendor publishes and keeps nothing: what was sent is in
//! its log. Its description gets examples of whom the workspace holds; nothing else in it is changed.

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
        rule("intercom: opt-outs are read, buyers are sent and tagged on a bad day, and people are erased", buyers_are_kept),
        rule(
            "intercom: every row arrives or is told, though the plugin sees tokens; it keeps the contract",
            blind_and_by_contract,
        ),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

/// The stand-in; `unsubscribed` people are its contacts, which no search finds.
fn stand_in(unsubscribed: usize) -> Result<(Judge, TempDir), Failed> {
    let folder = TempDir::new()?;
    let description = shared().ok_or("no stand-ins")?.join("apis/intercom/openapi.json");
    let mut description: Value = serde_json::from_slice(&std::fs::read(description)?)?;
    let contact = |place: usize| json!({ "type": "contact", "id": format!("i{place}"), "role": "user", "email": format!("lead{place}@example.com"), "unsubscribed_from_emails": true, "updated_at": 1_787_671_472 });
    let contacts: Vec<Value> = (0..unsubscribed).map(contact).collect();
    let own = |name: &str, kind: &str| json!({ "type": "data_attribute", "model": "contact", "name": name, "data_type": kind, "custom": true, "api_writable": true });
    let attributes = [own("orders", "integer"), own("spent", "float"), own("stage", "string")];
    for (path, method, example) in [
        (
            "/contacts",
            "get",
            json!({ "type": "list", "data": contacts, "total_count": unsubscribed, "pages": { "type": "pages", "page": 1 } }),
        ),
        ("/contacts/search", "post", json!({ "type": "list", "data": [], "total_count": 0 })),
        ("/data_attributes", "get", json!({ "type": "list", "data": attributes })),
        ("/tags", "get", json!({ "type": "list", "data": [] })),
        ("/tags", "post", json!({ "type": "tag", "id": "t1", "name": "Buyers" })),
    ] {
        let content = &mut description["paths"][path][method]["responses"]["200"]["content"]["application/json"];
        content.as_object_mut().map(|content| content.remove("examples"));
        content["example"] = example;
    }
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, description.to_string())?;
    let judge = Judge::start_with("intercom", &[], &[("JUDGE_SPEC", &file.display().to_string())])?;
    Ok((judge, folder))
}

fn connection(judge: &Judge) -> String {
    let port = judge.port;
    format!(
        "version: 1
connection: intercom
plugin: intercom
config: {{ base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: {{ env: INTERCOM_TOKEN_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("INTERCOM_TOKEN_OF_THE_TEST", "token-test");
    command
}

fn run(project: &Project, more: &[&str]) -> Result<Value, Failed> {
    let mut arguments = vec!["run", "--output", "json", "--quiet"];
    arguments.extend(more);
    let ended = Ended::of(command(project, &arguments).output()?);
    Ok(serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr)?)
}

/// Keys of requests that were taken, with their bodies.
fn taken(judge: &Judge, start: &str) -> Result<Vec<Value>, Failed> {
    let log = judge.get("/__judge/log")?;
    let is_taken = |entry: &&Value| {
        entry["key"].as_str().is_some_and(|key| key.starts_with(start)) && matches!(entry["status"].as_u64(), Some(200..=299))
    };
    let body = |entry: &Value| serde_json::from_str(entry["body"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
    Ok(log.as_array().into_iter().flatten().filter(is_taken).map(body).collect())
}

/// Contacts that were created, by address.
fn created(judge: &Judge) -> Result<BTreeMap<String, Value>, Failed> {
    let bodies = taken(judge, "POST /contacts")?.into_iter().filter(|body| body["role"] == "user");
    Ok(bodies.map(|body| (body["email"].as_str().unwrap_or_default().to_owned(), body)).collect())
}

const PEOPLE: usize = 80;

fn buyers_are_kept() -> Result<(), Failed> {
    let (judge, _description) = stand_in(10)?;
    let project = Project::copy_of("intercom");
    let customers: String =
        (0..PEOPLE).map(|place| format!("c{place},Lead{place}@Example.com,Name{place},true,2026-01-01T00:00:00Z\n")).collect();
    let orders: String = (0..PEOPLE).map(|place| format!("o{place},c{place},10.50,EUR,2026-02-01T00:00:00Z\n")).collect();
    project.write("connections/intercom.yaml", &connection(&judge));
    project.write("exports/customers.csv", &format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}"));
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
    for place in 0..50 {
        judge.request("POST", &format!("/__judge/optout?email=lead{place}@example.com"))?;
    }
    a_wrong_name_is_underlined(&project)?;
    for fault in [r#""status":503,"times":2"#, r#""drop":true,"times":1"#] {
        judge.request_with("POST", "/__judge/fault", &format!(r#"{{"match":"POST /contacts$",{fault}}}"#))?;
    }
    let mut child = command(&project, &["run", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(600 + u64::from(std::process::id()) % 900));
    child.kill()?;
    child.wait()?;
    run(&project, &[])?;

    let arrived = created(&judge)?;
    same("contacts", arrived.len(), PEOPLE - 10)?;
    holds(!arrived.contains_key("lead3@example.com"), "who unsubscribed was sent")?;
    let own = json!({ "orders": 1, "spent": 10.5 });
    let expected = json!({ "email": "lead77@example.com", "name": "Name77", "role": "user", "custom_attributes": own });
    same("a contact", arrived.get("lead77@example.com"), Some(&expected))?;
    let again = run(&project, &[])?;
    same("sent again", report_of(&again, "buyers_to_intercom")?["activation"]["accepted"].as_u64(), Some(0))?;
    erased(&project, &judge)?;
    let all = judge.get("/__judge/log")?.to_string();
    let writes = |entry: &str| entry.contains("unsubscribed_from_emails");
    holds(!all.split("\"key\":\"").skip(1).any(writes), "consent was written")?;
    judged(&judge, &judge.get("/__judge/summary")?)
}

fn a_wrong_name_is_underlined(project: &Project) -> Result<(), Failed> {
    let file = "pipelines/buyers_to_intercom.yaml";
    let text = project.read(file);
    for wrong in ["nam: first_name", "unsubscribed_from_emails: first_name", "custom_attributes.oders: first_name"] {
        project.write(file, &text.replace("name: first_name\n", &format!("{wrong}\n")));
        let ended = Ended::of(command(project, &["validate"]).output()?).expect(2)?;
        holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))?;
    }
    project.write(file, &text);
    Ok(())
}

fn erased(project: &Project, judge: &Judge) -> Result<(), Failed> {
    let found = r#"{"match":"POST /contacts/search","status":200,"times":1,"body":{"type":"list","data":[{"type":"contact","id":"i77","role":"user","email":"lead77@example.com"}]}}"#;
    let arguments = ["profile", "erase", "email:lead77@example.com", "--yes", "--quiet"];
    judge.request_with("POST", "/__judge/fault", found)?;
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    run(project, &[])?;
    holds(!taken(judge, "DELETE /contacts/")?.is_empty(), "nobody was deleted")?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified"), receipts.stdout)
}

/// Values that an escaping can go wrong with.
const AWKWARD: [&str; 4] = ["O'Neil \"Bob\" \\ back", "Zoë\nsecond line", "</script>&amp; 名前", "100%40 +a=b&c;d"];

fn blind_and_by_contract() -> Result<(), Failed> {
    let (judge, _description) = stand_in(1)?;
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: blind\n").write("connections/intercom.yaml", &connection(&judge));
    let person = |place: usize| json!({ "id": place.to_string(), "email": format!("Per.Son+{place}@people.example"), "name": AWKWARD[place % AWKWARD.len()], "stage": "lead" });
    let lines: String = (0..60).map(|place| format!("{}\n", person(place))).collect();
    project.write("in/people.jsonl", &lines).write(
        "pipelines/people.yaml",
        "version: 1
pipeline: people
source:
  connection: { plugin: jsonl, files: { read: [\"in/*.jsonl\"] }, config: { streams: { people: { files: \"in/*.jsonl\" } } } }
  streams: { people: { sync: full_refresh, pii: { email: email, name: name } } }
destination:
  connection: intercom
  object: contact
  match: { email: email }
  mode: upsert
  map: { name: name, custom_attributes.stage: stage }
  grants: [email, name]
",
    );
    let refusal = r#"{"type":"error.list","errors":[{"code":"parameter_invalid","field":"name","message":"no"}]}"#;
    let fault = format!(r#"{{"match":"POST /contacts$","status":400,"times":1,"body":{refusal}}}"#);
    judge.request_with("POST", "/__judge/fault", &fault)?;
    let reports = run(&project, &["--record", "recording"])?;

    let arrived = created(&judge)?;
    same("contacts", arrived.len(), 59)?;
    for place in 0..60 {
        let email = format!("per.son+{place}@people.example");
        let name = arrived.get(&email).map(|one| one["name"].as_str());
        holds(name.is_none_or(|name| name == Some(AWKWARD[place % AWKWARD.len()])), format!("{email}: {name:?}"))?;
    }
    holds(reports.to_string().contains("\"rejected\":1"), format!("one row is refused: {reports}"))?;
    let recording = files_below(&project.path().join("recording"));
    let seen: String = recording.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    holds(seen.contains("\"email\":\"pii0zq"), "the plugin did not send tokens")?;
    for value in ["people.example", "O'Neil", "second line", "token-test"] {
        holds(!seen.contains(value), format!("the plugin saw `{value}`"))?;
    }
    let replayed = run(&project, &["--replay", "recording"])?;
    same("streams without Intercom", &replayed[0]["streams"], &reports[0]["streams"])?;
    keeps_the_rules(&judge)
}

fn keeps_the_rules(judge: &Judge) -> Result<(), Failed> {
    let port = judge.port;
    let contract = format!(
        "config: {{ base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: token-test }}
streams: [contacts]
destination:
  object: contact
  mode: upsert
  match: [external_id]
  fields: [{{ name: external_id, type: text }}, {{ name: name, type: text, pii: name }}]
  rows: [{{ external_id: a, name: Ann }}, {{ external_id: b, name: Bo }}]
"
    );
    keeps_the_contract(
        "intercom",
        &contract,
        &["check.credential", "check.secrecy", "read.throttled", "write.outcomes", "write.same_key", "write.throttled"],
    )
}
