//! ActiveCampaign against its stand-in, which checks each request against what the vendor publishes and keeps nothing: what an account would
//! answer about imports and contacts is told to it first. The description holds its examples as texts of JSON, which the stand-in
//! gives as such: a front takes them out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{
    Ended, Project, address, awkward, holds, keeps_the_contract, people_to, recorded, replayed, rule, same, shared,
};
use crate::vendors::{Judge, judged};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule(
            "activecampaign: buyers carry a tag, who said no there stays out, who is erased is gone; tokens arrive as values",
            account,
        ),
        rule("activecampaign: it keeps the contract both ways, also on the service's bad days", both_keep_the_rules),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

/// Stands before a stand-in and hands each request to it, until the test ends; its port.
fn front(judge: &Judge) -> Result<u16, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (port, behind) = (listener.local_addr()?.port(), judge.port);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A stand-in that drops the connection lets this one drop, too.
            std::thread::spawn(move || drop(hand_over(stream, behind)));
        }
    });
    Ok(port)
}

fn hand_over(mut stream: TcpStream, behind: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").and_then(|text| text.trim().parse().ok()).unwrap_or(length);
        if !lower.starts_with("connection:") && !lower.starts_with("accept-encoding:") {
            head.push_str(&line.replace("HTTP/1.1", "HTTP/1.0"));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut account = TcpStream::connect(("127.0.0.1", behind))?;
    account.write_all(format!("{head}\r\n").as_bytes())?;
    account.write_all(&body)?;
    let mut answer = String::new();
    account.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Ok(()) };
    let inside = serde_json::from_str::<String>(body).unwrap_or_else(|_| body.to_owned());
    let of_length = |line: &&str| !line.to_ascii_lowercase().starts_with("content-length:");
    let head: Vec<&str> = head.split("\r\n").filter(of_length).collect();
    write!(stream, "{}\r\ncontent-length: {}\r\n\r\n{inside}", head.join("\r\n"), inside.len())
}

fn connection(port: u16, more: &str) -> String {
    format!(
        "version: 1
connection: activecampaign
plugin: activecampaign
config: {{ account: acme, base_url: \"http://127.0.0.1:{port}/api/3\"{more} }}
secrets: {{ api_key: {{ env: ACTIVECAMPAIGN_KEY_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("ACTIVECAMPAIGN_KEY_OF_THE_TEST", "actest");
    command
}

fn run(project: &Project, more: &[&str]) -> Result<Value, Failed> {
    let arguments = [&["run", "--output", "json", "--quiet"], more].concat();
    let ended = Ended::of(command(project, &arguments).output()?).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

const ALWAYS: u32 = 1_000_000;
const IMPORT: &str = "POST /import/bulk_import";
/// An import of an account in a word: what it stands at, and whom it refused.
fn job(judge: &Judge, times: u32, status: &Value, refused: &[&str]) -> Result<(), Failed> {
    judge.answers("GET /import/info", times, &json!({ "status": status, "success": [], "failure": refused }))
}

/// One stand-in for everything but the contract, since starting it takes longer than what is asked of it.
fn account() -> Result<(), Failed> {
    let judge = Judge::start("activecampaign", &[])?;
    both_ways(&judge)?;
    judge.request("POST", "/__judge/reset")?;
    blind_import(&judge)?;
    judge.request("POST", "/__judge/reset")?;
    blind_one_by_one(&judge)
}

/// The example with 60 buyers, ten of whom unsubscribed in ActiveCampaign, with 40 others.
fn example(judge: &Judge) -> Result<Project, Failed> {
    let project = Project::copy_of("activecampaign");
    project.write("connections/activecampaign.yaml", &connection(front(judge)?, ", create_fields: true"));
    let customers: String =
        (0..60).map(|place| format!("c{place},Lead{place}@Example.com,Name{place},true,2026-06-01T00:00:00Z\n")).collect();
    project.write("exports/customers.csv", &format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}"));
    let order = |place: u32, number: u32| format!("o{place}-{number},c{place},10,EUR,2026-05-01T00:00:00Z\n");
    let orders: String = (0..60).map(|place| order(place, 1)).chain([order(8, 2)]).collect();
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
    // The fields that the stand-in knows.
    let pipeline = project.read("pipelines/buyers_to_activecampaign.yaml");
    let pipeline = pipeline.replace("    last_order_at: last_order_at\n", "").replace("max_remove: 10%", "max_remove: 90%");
    let pipeline = pipeline.replace("    orders_count: orders_count\n", "    another_test_title: orders_count\n");
    let pipeline = pipeline.replace("first_name: Bo, orders_count: 1", "first_name: Bo, another_test_title: 1");
    project.write("pipelines/buyers_to_activecampaign.yaml", &pipeline);

    let refusal = |place: u32| json!({ "id": place.to_string(), "email": format!("lead{place}@example.com"), "udate": "2026-09-12T17:00:00-05:00" });
    let refusals: Vec<Value> = (50..100).map(refusal).collect();
    for place in 50..100 {
        judge.request("POST", &format!("/__judge/optout?email=lead{place}@example.com"))?;
    }
    judge.answers("GET /contacts$", 1, &json!({ "contacts": refusals }))?;
    judge.answers("GET /contacts$", 1, &json!({ "contacts": [] }))?;
    Ok(project)
}

fn both_ways(judge: &Judge) -> Result<(), Failed> {
    let project = example(judge)?;
    run(&project, &["activecampaign_to_profiles", "shop_to_profiles"])?;
    job(judge, 1, &json!(false), &[])?;
    job(judge, 1, &json!("active"), &[])?;
    job(judge, ALWAYS, &json!("completed"), &[])?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"POST /import/bulk_import","status":503,"times":1}"#)?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"POST /import/bulk_import","drop":true,"times":1}"#)?;
    let mut killed =
        command(&project, &["run", "buyers_to_activecampaign", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(300 + u64::from(std::process::id()) % 700));
    killed.kill()?;
    killed.wait()?;

    let reports = run(&project, &["buyers_to_activecampaign"])?;
    let activation = &report_of(&reports, "buyers_to_activecampaign")?["activation"];
    same("who has no consent", activation["without_consent"].as_u64(), Some(10))?;
    let contacts = judge.contacts_in(IMPORT)?;
    same("contacts", contacts.len(), 50)?;
    let lead = contacts.get("lead7@example.com").ok_or("a buyer was not sent")?;
    let expected =
        json!({ "email": "lead7@example.com", "first_name": "Name7", "tags": ["Buyers"], "fields": [{ "id": 2, "value": "1" }] });
    same("fields", lead, &expected)?;
    let again = run(&project, &["buyers_to_activecampaign"])?;
    same("sent again", report_of(&again, "buyers_to_activecampaign")?["activation"]["accepted"].as_u64(), Some(0))?;

    erased(judge, &project)?;
    // Of the buyers one bought another time.
    let text = project.read("profiles/segments.yaml").replace("orders_count >= 1", "orders_count = 1");
    project.write("profiles/segments.yaml", &text);
    judge.answers("GET /contacts$", 1, &json!({ "contacts": [{ "id": "8", "email": "lead8@example.com" }] }))?;
    let tags = json!({ "contactTags": [{ "id": "81", "tag": "3" }, { "id": "82", "tag": "16" }] });
    judge.answers("GET /contacts/8/contactTags", 1, &tags)?;
    let fewer = run(&project, &["buyers_to_activecampaign"])?;
    same("left", report_of(&fewer, "buyers_to_activecampaign")?["activation"]["removed"].as_u64(), Some(1))?;
    let left = judge.requests("DELETE /contactTags/")?;
    same("the tag", left.iter().map(|entry| entry["key"].as_str()).collect::<Vec<_>>(), vec![Some("DELETE /contactTags/82")])?;
    same("contacts that were deleted", judge.requests("DELETE /contacts/")?.len(), 1)?;
    same("lists that were touched", judge.requests("POST /contactLists")?.len(), 0)?;
    judged(judge, &judge.get("/__judge/summary")?)
}

fn erased(judge: &Judge, project: &Project) -> Result<(), Failed> {
    judge.answers("GET /contacts$", 1, &json!({ "contacts": [{ "id": "7", "email": "lead7@example.com" }] }))?;
    let arguments = ["profile", "erase", "email:lead7@example.com", "--yes", "--output", "json", "--quiet"];
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    let deleted = judge.requests("DELETE /contacts/")?;
    same("deleted", deleted.iter().map(|entry| entry["key"].as_str()).collect::<Vec<_>>(), vec![Some("DELETE /contacts/7")])?;
    run(project, &["buyers_to_activecampaign"])?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified"), receipts.stdout)
}

const SENDS: &str = "connection: activecampaign
  object: contacts
  match: { email: email }
  map: { first_name: name, another_test_title: orders";

/// Four people on their way, with what else is mapped.
fn people(judge: &Judge, more: &str) -> Result<Project, Failed> {
    let person = |place| json!({ "id": place, "email": address(place), "name": awkward(place), "orders": place });
    let people: Vec<Value> = (0..4).map(person).collect();
    Ok(people_to(("activecampaign", &connection(front(judge)?, "")), &people, &format!("{SENDS}{more} }}")))
}

/// The account's name is what only an import takes. The refused row is the same one again on a replay, although its token is
/// another then.
fn blind_import(judge: &Judge) -> Result<(), Failed> {
    let project = people(judge, ", customer_acct_name: orders")?;
    let pipeline = project.read("pipelines/people.yaml");
    project.write("pipelines/people.yaml", &pipeline.replace("first_name:", "frist_name:"));
    let wrong = Ended::of(command(&project, &["validate"]).output()?).expect(2)?.says("frist_name")?;
    holds(wrong.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", wrong.stderr))?;
    project.write("pipelines/people.yaml", &pipeline);

    job(judge, 1, &json!("completed"), &["per.son+3@people.example"])?;
    job(judge, ALWAYS, &json!("completed"), &[])?;
    let reports = recorded(&project, |arguments| command(&project, arguments), "pii0zq", &["actest"])?;
    same("imports: the address told whose row it is", judge.requests(IMPORT)?.len(), 1)?;
    let contacts = judge.contacts_in(IMPORT)?;
    same("contacts", contacts.len(), 4)?;
    for place in 0..4 {
        let contact = &contacts[&address(place).to_lowercase()];
        same("name", contact["first_name"].as_str(), Some(awkward(place)))?;
    }
    judged(judge, &judge.get("/__judge/summary")?)?;
    replayed(|arguments| command(&project, arguments), &reports)
}

fn blind_one_by_one(judge: &Judge) -> Result<(), Failed> {
    let project = people(judge, "")?;
    let refusal =
        json!({ "errors": [{ "title": "Email address is invalid.", "source": { "pointer": "/data/attributes/email" } }] });
    let fault = json!({ "match": "POST /contact/sync", "status": 422, "times": 1, "body": refusal });
    judge.request_with("POST", "/__judge/fault", &fault.to_string())?;
    let reports = recorded(&project, |arguments| command(&project, arguments), "pii0zq", &["actest"])?;
    same("imports", judge.requests(IMPORT)?.len(), 0)?;
    let body = |entry: &Value| serde_json::from_str(entry["body"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
    let bodies: Vec<Value> = judge.requests("POST /contact/sync")?.iter().map(body).collect();
    same("requests", bodies.len(), 4)?;
    for place in 0..4 {
        let expected = json!({ "contact": { "email": address(place).to_lowercase(), "firstName": awkward(place),
            "fieldValues": [{ "field": "2", "value": place.to_string() }] } });
        holds(bodies.contains(&expected), format!("{expected} is not among {bodies:?}"))?;
    }
    judged(judge, &judge.get("/__judge/summary")?)?;
    replayed(|arguments| command(&project, arguments), &reports)
}

fn both_keep_the_rules() -> Result<(), Failed> {
    let judge = Judge::start_with("activecampaign", &[], &[("JUDGE_LIMITS", "off")])?;
    job(&judge, ALWAYS, &json!("completed"), &[])?;
    judge.answers("GET /contacts$", ALWAYS, &json!({ "contacts": [] }))?;
    let contract = format!(
        "config: {{ account: acme, base_url: \"http://127.0.0.1:{}/api/3\" }}
secrets: {{ api_key: actest }}
streams: [unsubscribes]
destination:
  object: contacts
  mode: mirror
  list: Contract
  match: [email]
  fields: [{{ name: email, type: text, pii: email }}, {{ name: first_name, type: text, pii: name }}]
  rows: [{{ email: ann.test@people.example, first_name: Ann }}, {{ email: bo.test@people.example, first_name: Bo }}]
",
        front(&judge)?
    );
    keeps_the_contract(
        "activecampaign",
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
