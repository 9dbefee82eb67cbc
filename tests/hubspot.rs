//! HubSpot against its stand-in, which keeps what an account keeps: what is read is what is there, after every kind of trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{
    Ended, Project, Relay, Step, address, awkward, holds, json_answer, keeps_the_contract, out_of_crm, people_pipeline,
    people_to, recorded, replayed, rule, same, shared,
};
use crate::vendors::{Judge, judged};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule("hubspot: a full read and the changes after it are what the account holds", read_and_changes),
        rule("hubspot: read to its end on a bad day, with late answers, and killed at any moment", read_through_trouble),
        rule("hubspot: the limit of a day ends the run as paused, and the next one goes on there", daily_limit),
        rule("hubspot: an installed app reads and writes by its refresh token, which is exchanged once and kept", installed_app),
        rule("hubspot: what the search shows late is not lost", late_search),
        rule("hubspot: a name that no property has is a mistake of the pipeline", wrong_name),
        rule("hubspot: it keeps the contract both ways, also on the service's bad days", both_keep_the_rules),
        rule("hubspot: every row arrives or is told, though the plugin sees tokens; a bad one harms no other", blind_upserts),
        rule("hubspot: a base of two sources is written back, opt-outs stay out, and an erased person is gone", two_way),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

const FIELDS: [&str; 7] = ["email", "firstname", "lastname", "phone", "lifecyclestage", "createdate", "lastmodifieddate"];

/// A connection to the stand-in.
fn connection(judge: &Judge) -> String {
    let port = judge.port;
    format!(
        "version: 1
connection: crm
plugin: hubspot
config: {{ base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: {{ env: HUBSPOT_TOKEN_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

/// Contacts into files, one for each run.
fn contacts_out(judge: &Judge) -> Project {
    out_of_crm(&connection(judge), "contacts", &FIELDS, "email, firstname, lastname, phone")
}

fn command(project: &Project, arguments: &[&str]) -> std::process::Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("HUBSPOT_TOKEN_OF_THE_TEST", "pat-test");
    command
}

fn run(project: &Project) -> Result<Value, Failed> {
    let ended = Ended::of(command(project, &["run", "--output", "json", "--quiet"]).output()?).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn read_count(reports: &Value) -> Result<Option<u64>, Failed> {
    Ok(report_of(reports, "contacts_out")?["streams"][0]["read"].as_u64())
}

/// An instant in one form: milliseconds are written out by some.
fn steady(name: &str, value: &Value) -> Value {
    match value.as_str().filter(|_| name.ends_with("date")) {
        Some(text) => {
            let (whole, part) = text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
            json!(format!("{whole}.{}", part.trim_end_matches('0')))
        }
        None => value.clone(),
    }
}

fn fields_of(record: &Value) -> Vec<Value> {
    FIELDS.iter().map(|name| steady(name, record.get(*name).unwrap_or(&Value::Null))).collect()
}

/// What was written of each contact last, by id.
fn written(project: &Project) -> BTreeMap<String, Vec<Value>> {
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for line in project.lines_below("out") {
        let record: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        let changed = |record: &Value| steady("date", &record["lastmodifieddate"]).as_str().unwrap_or_default().to_owned();
        let known = newest.entry(record["id"].as_str().unwrap_or_default().to_owned()).or_insert_with(|| record.clone());
        if changed(&record) > changed(known) {
            *known = record;
        }
    }
    newest.into_iter().map(|(id, record)| (id, fields_of(&record))).collect()
}

fn is_the_truth(project: &Project, judge: &Judge) -> Result<(), Failed> {
    let truth = judge.get("/__judge/truth")?;
    let contacts = truth["contacts"].as_array().into_iter().flatten();
    let truth: BTreeMap<String, Vec<Value>> =
        contacts.map(|record| (record["id"].as_str().unwrap_or_default().to_owned(), fields_of(record))).collect();
    let found = written(project);
    same("contacts", found.len(), truth.len())?;
    let differing: Vec<_> = truth.iter().filter(|(id, record)| found.get(*id) != Some(*record)).take(3).collect();
    holds(differing.is_empty(), format!("these are not as they are there: {differing:?}"))
}

/// Changes a contact.
fn touch(judge: &Judge, id: u32, name: &str) -> Result<(), Failed> {
    judge.request("POST", &format!("/__judge/touch?id={id}&lastname={name}")).map(drop)
}

/// Nothing refused for its shape, little throttled.
fn is_well_formed(judge: &Judge) -> Result<(), Failed> {
    let mut summary = judge.get("/__judge/summary")?;
    summary["unknownFields"] = json!(summary["unknownFields"].as_u64().unwrap_or(0));
    judged(judge, &summary)
}

fn read_and_changes() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &[])?;
    let project = contacts_out(&judge);
    same("read at first", read_count(&run(&project)?)?, Some(2_500))?;
    is_the_truth(&project, &judge)?;

    for id in [101, 900, 2_599] {
        touch(&judge, id, "Touched")?;
    }
    same("read after three changes", read_count(&run(&project)?)?, Some(3))?;
    is_the_truth(&project, &judge)?;
    is_well_formed(&judge)
}

/// Answers of an account on a bad day.
const STUMBLES: [&str; 4] = [
    r#"{"match":"GET /crm/objects","status":503,"times":3}"#,
    r#"{"match":"GET /crm/objects","drop":true,"times":2}"#,
    r#"{"match":"GET /crm/objects","status":200,"times":1,"body":"<html>maintenance</html>"}"#,
    r#"{"match":"GET /crm/objects","status":429,"times":1,"body":{"status":"error","policyName":"TEN_SECONDLY_ROLLING"}}"#,
];

fn read_through_trouble() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "1200"])?;
    let late = |number: usize, _: &str| Step::Forward(Duration::from_millis(if number % 5 == 4 { 700 } else { 0 }));
    let relay = Relay::start(judge.port, late)?;
    let project = contacts_out(&judge);
    let text = connection(&judge).replace(&judge.port.to_string(), &relay.port.to_string());
    project.write("connections/crm.yaml", &text);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    for stumble in STUMBLES {
        judge.request_with("POST", "/__judge/fault", stumble)?;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        relay.killed_after(1 + (seed >> 33) as usize % 12, &mut command(&project, &["run", "--quiet"]))?;
    }
    for stumble in STUMBLES {
        judge.request_with("POST", "/__judge/fault", stumble)?;
    }
    run(&project)?;
    is_the_truth(&project, &judge)
}

/// The example, pointed at the stand-in.
fn point_at(project: &Project, judge: &Judge) {
    let text = connection(judge).replace("connection: crm", "connection: hubspot");
    project.write("connections/hubspot.yaml", &text.replace("config: {", "config: { create_properties: true,"));
}

fn lists_read(judge: &Judge) -> Result<usize, Failed> {
    let log = judge.get("/__judge/log")?;
    let is_page = |entry: &&Value| entry["key"] == "GET /crm/objects/2026-09/contacts" && entry["status"] == 200;
    Ok(log.as_array().into_iter().flatten().filter(is_page).count())
}

fn daily_limit() -> Result<(), Failed> {
    let poor = Judge::start("hubspot", &["--daily", "20"])?;
    let project = Project::copy_of("hubspot");
    point_at(&project, &poor);
    let arguments = ["run", "hubspot_to_profiles", "--output", "json", "--quiet"];
    let ended = Ended::of(command(&project, &arguments).output()?);
    let report = report_of(&serde_json::from_str(&ended.stdout)?, "hubspot_to_profiles")?.clone();
    same("outcome", report["outcome"].as_str(), Some("paused"))?;
    holds(report["error"].as_str().unwrap_or_default().contains("60 min"), format!("{report}"))?;
    let read = lists_read(&poor)?;
    // A run that begins on a day that is used up.
    let ended = Ended::of(command(&project, &["run", "--output", "json", "--quiet"]).output()?);
    let reports: Value = serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr.clone())?;
    let outcome = |name: &str| Ok::<_, Failed>(report_of(&reports, name)?["outcome"].as_str().map(str::to_owned));
    same("outcome", outcome("hubspot_to_profiles")?.as_deref(), Some("paused"))?;
    same("the other source", outcome("shop_to_profiles")?.as_deref(), Some("succeeded"))?;
    same("read meanwhile", lists_read(&poor)?, read)?;
    drop(poor);

    let rich = Judge::start("hubspot", &[])?;
    point_at(&project, &rich);
    let ended = Ended::of(command(&project, &arguments).output()?).expect(0)?;
    let report = report_of(&serde_json::from_str(&ended.stdout)?, "hubspot_to_profiles")?.clone();
    same("pages in all", read + lists_read(&rich)?, 25)?;
    // Two are the shop's.
    same("profiles", report["profiles"]["profiles"].as_u64(), Some(2_502))
}

/// Bodies of the requests for tokens.
type Exchanges = Arc<Mutex<Vec<String>>>;

/// A token endpoint in front of the stand-in, which has none: it gives the token for these secrets alone, and another refresh token
/// each time.
fn token_endpoint(judge: &Judge) -> Result<(Relay, Exchanges), Failed> {
    let exchanges = Exchanges::default();
    let given = Arc::clone(&exchanges);
    let relay = Relay::start_reading(judge.port, move |_, asked, body| {
        if !asked.starts_with("POST /oauth/2026-03/token ") {
            return Step::Forward(Duration::ZERO);
        }
        let mut given = given.lock().expect("no test panics with it");
        let refresh = if given.is_empty() { "refresh-first".to_owned() } else { format!("refresh-next-{}", given.len()) };
        given.push(body.to_owned());
        let form = format!("grant_type=refresh_token&refresh_token={refresh}&client_id=app-id&client_secret=app-secret");
        if body != form {
            return json_answer(400, r#"{"error":"invalid_grant","error_description":"BAD_REFRESH_TOKEN"}"#);
        }
        let next = format!("refresh-next-{}", given.len());
        json_answer(
            200,
            &json!({"access_token": "pat-test", "token_type": "bearer", "refresh_token": next, "expires_in": 1800}).to_string(),
        )
    })?;
    Ok((relay, exchanges))
}

fn installed_app() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "300"])?;
    let (relay, exchanges) = token_endpoint(&judge)?;
    let project = contacts_out(&judge);
    let text = connection(&judge).replace(&judge.port.to_string(), &relay.port.to_string());
    let text = text.replace("config: {", "config: { refresh: true,");
    let secret = |name: &str| format!("{name}: {{ env: HUBSPOT_{}_OF_THE_TEST }}", name.to_uppercase());
    let secrets = ["client_id", "client_secret", "refresh_token"].map(secret).join(", ");
    let text = text.replace("access_token: { env: HUBSPOT_TOKEN_OF_THE_TEST }", &secrets);
    project.write("connections/crm.yaml", &text);
    let command = |arguments: &[&str], refresh: &str| {
        let mut command = command(&project, arguments);
        command.env("HUBSPOT_CLIENT_ID_OF_THE_TEST", "app-id").env("HUBSPOT_CLIENT_SECRET_OF_THE_TEST", "app-secret");
        command.env("HUBSPOT_REFRESH_TOKEN_OF_THE_TEST", refresh).env_remove("HUBSPOT_TOKEN_OF_THE_TEST");
        command
    };
    for _ in 0..2 {
        Ended::of(command(&["run", "--quiet"], "refresh-first").output()?).expect(0)?;
    }
    is_the_truth(&project, &judge)?;
    same("exchanges", exchanges.lock().map_err(|_| "a test panicked")?.len(), 1)?;

    project
        .write("in/people.jsonl", "{\"email\":\"new.one@people.example\",\"name\":\"New\"}\n")
        .write("pipelines/people.yaml", &people_pipeline(&SENDS.replace(", lifecyclestage: stage", "")));
    Ended::of(command(&["run", "people", "--quiet"], "refresh-first").output()?).expect(0)?;
    let truth = judge.get("/__judge/truth")?;
    let is_new = |record: &&Value| record["email"] == "new.one@people.example";
    same("written", truth["contacts"].as_array().into_iter().flatten().filter(is_new).count(), 1)?;

    let ended = Ended::of(command(&["connection", "check", "crm"], "of another app").output()?);
    let told = ["E0418", "`refresh_token` of connection `crm`"].iter().all(|text| ended.stdout.contains(text));
    holds(told && !ended.stdout.contains("app-secret") && !ended.stdout.contains("of another app"), ended.stdout)
}

/// So long the search does not show a change.
const SEARCH_LAG: Duration = Duration::from_millis(1_500);

fn late_search() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "300", "--search-lag", &SEARCH_LAG.as_millis().to_string()])?;
    let project = contacts_out(&judge);
    run(&project)?;
    touch(&judge, 150, "Early")?;
    run_until_seen(&project, &judge)?;
    touch(&judge, 151, "Late")?;
    run(&project)?;
    run_until_seen(&project, &judge)
}

/// Two runs within the time that the search is late, and one after it.
fn run_until_seen(project: &Project, judge: &Judge) -> Result<(), Failed> {
    for _ in 0..2 {
        run(project)?;
        std::thread::sleep(SEARCH_LAG / 2);
    }
    run(project)?;
    is_the_truth(project, judge)
}

fn wrong_name() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "1"])?;
    let project = contacts_out(&judge);
    let text = project.read("pipelines/contacts_out.yaml").replace("firstname: firstname", "firstname: firstnam");
    project.write("pipelines/contacts_out.yaml", &text);
    let ended = Ended::of(command(&project, &["validate"]).output()?).expect(2)?.says("firstname")?;
    holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))
}

fn both_keep_the_rules() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "250", "--per10s", "100000", "--search-rps", "1000"])?;
    let port = judge.port;
    let contract = format!(
        "config: {{ base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: pat-test }}
streams: [contacts]
destination:
  object: contacts
  mode: upsert
  match: [email]
  fields: [{{ name: email, type: text, pii: email }}, {{ name: firstname, type: text, pii: name }}]
  rows: [{{ email: ann.test@people.example, firstname: Ann }}, {{ email: bo.test@people.example, firstname: Bo }}]
"
    );
    keeps_the_contract(
        "hubspot",
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

fn people_of(judge: &Judge) -> Result<BTreeMap<String, Value>, Failed> {
    let truth = judge.get("/__judge/truth")?;
    let contacts = truth["contacts"].as_array().cloned().unwrap_or_default();
    Ok(contacts.into_iter().map(|one| (one["email"].as_str().unwrap_or_default().to_owned(), one)).collect())
}

const SENDS: &str = "connection: crm
  object: contacts
  match: { email: email }
  map: { firstname: name, lifecyclestage: stage }";

fn blind_upserts() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "3"])?;
    let stage = |place| if place == 70 { "nonsense" } else { "customer" };
    let person =
        |place: usize| json!({ "id": place.to_string(), "email": address(place), "name": awkward(place), "stage": stage(place) });
    let mut people: Vec<Value> = (0..150).map(person).collect();
    people.push(json!({ "id": "again", "email": address(5), "name": "Later", "stage": "lead" }));
    let project = people_to(("crm", &connection(&judge)), &people, SENDS);
    judge.request_with("POST", "/__judge/fault", r#"{"match":"batch/upsert","status":503,"times":2}"#)?;
    judge.request_with("POST", "/__judge/fault", r#"{"match":"batch/upsert","drop":true,"times":1}"#)?;
    let reports = recorded(&project, |arguments| command(&project, arguments), "\"id\":\"pii0zq", &["Later"])?;

    let known = people_of(&judge)?;
    same("contacts", known.len(), 149 + 3)?;
    for place in (0..150).filter(|place| *place != 70) {
        let address = address(place).to_lowercase();
        let name = if place == 5 { "Later" } else { awkward(place) };
        same(&address, known.get(&address).and_then(|contact| contact["firstname"].as_str()), Some(name))?;
    }
    holds(!known.contains_key("per.son+70@people.example"), "the row with a wrong stage arrived")?;
    drop(judge);
    replayed(|arguments| command(&project, arguments), &reports)
}

fn two_way() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "300"])?;
    let project = Project::copy_of("hubspot");
    point_at(&project, &judge);
    let before = people_of(&judge)?.len();
    let customers: String =
        (0..60).map(|place| format!("c{place},Lead{place}@Example.com,Name{place},true,2026-06-01T00:00:00Z\n")).collect();
    let orders: String = (0..60).map(|place| format!("o{place},c{place},1{place}.50,EUR,2026-05-01T00:00:00Z\n")).collect();
    project.write("exports/customers.csv", &format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}"));
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
    for place in 50..100 {
        judge.request("POST", &format!("/__judge/optout?email=lead{place}@example.com"))?;
    }
    let reports = run(&project)?;
    same("sent", report_of(&reports, "buyers_to_hubspot")?["activation"]["accepted"].as_u64(), Some(60))?;
    let known = people_of(&judge)?;
    // Of 15 leads one has no address: its customer becomes a contact.
    same("contacts", known.len(), before + 4)?;
    let ann = known.get("lead7@example.com").ok_or("a buyer is not there")?;
    same("spent", ann["shop_spent"].as_str(), Some("17.5"))?;
    same("orders", ann["shop_orders"].as_str(), Some("1"))?;
    same("the name that HubSpot has stays", ann["lastname"].as_str(), Some("N7"))?;
    let again = run(&project)?;
    same("sent again", report_of(&again, "buyers_to_hubspot")?["activation"]["accepted"].as_u64(), Some(0))?;

    let erased = Ended::of(
        command(&project, &["profile", "erase", "email:lead7@example.com", "--yes", "--output", "json", "--quiet"]).output()?,
    );
    let erased: Value = serde_json::from_str(&erased.expect(0)?.stdout)?;
    holds(matches!(erased[0]["receipts"][0]["state"].as_str(), Some("accepted" | "verified")), format!("{erased}"))?;
    run(&project)?;
    holds(!people_of(&judge)?.contains_key("lead7@example.com"), "the erased person is still there")?;
    let receipts = Ended::of(command(&project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified"), receipts.stdout)?;
    let log = judge.get("/__judge/log")?;
    let subscriptions = log.as_array().into_iter().flatten().filter(|entry| entry["key"].to_string().contains("communication"));
    same("subscription calls", subscriptions.count(), 0)?;
    is_well_formed(&judge)
}
