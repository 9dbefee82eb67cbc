//! Mailchimp against its stand-in, which checks every request against what the vendor publishes and answers it from there: what is
//! sent is what was meant, after every kind of trouble. What is read is tested in the plugin, against an audience that moves.

use std::process::Stdio;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{Ended, Project, Relay, Step, address, awkward, holds, keeps_the_contract, rule, same, shared, tar_gz};
use crate::vendors::Judge;

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule(
            "mailchimp: members are written blind on good and bad days, opt-outs stay out, and an erased person is gone",
            written,
        ),
        rule(
            "mailchimp: what became of each row of a batch stands in its result archive, of which the plugin sees tokens",
            told_by_the_archive,
        ),
        rule("mailchimp: it keeps the contract both ways, also on the service's bad days", keeps_the_rules),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

/// MD5 of `ann@x.test`.
const HASH_OF_ANN: &str = "ddfb97efd93ca3019049ed7ddc4bf6a9";
const MEMBER: &str = "PUT /lists/a1/members/";
/// Buyers, of whom so many opted out.
const BUYERS: usize = 60;
const OPTED_OUT: usize = 10;

/// The example, pointed at the stand-in. It has one member with no real address, so that it is not read into the base.
fn example(port: u16) -> Project {
    let project = Project::copy_of("mailchimp");
    let connection = format!(
        "version: 1
connection: mailchimp
plugin: mailchimp
config: {{ base_url: \"http://127.0.0.1:{port}/3.0\", audience: a1, create_merge_fields: true, new_members: subscribed }}
secrets: {{ api_key: {{ env: MAILCHIMP_KEY_OF_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    );
    project.write("connections/mailchimp.yaml", &connection);
    let reading = "version: 1
pipeline: mailchimp_to_profiles
source: { connection: mailchimp, streams: { members: { sync: incremental } } }
destination:
  connection: { plugin: jsonl, files: { write: [out] }, config: { path: \"out/{run}.jsonl\" } }
  object: file
  mode: append
  map: { id: id, status: status, changed: last_changed }
";
    project.write("pipelines/mailchimp_to_profiles.yaml", reading);
    // The example's own tests are about members that were read into the base.
    let pipeline = project.read("pipelines/buyers_to_mailchimp.yaml");
    project.write("pipelines/buyers_to_mailchimp.yaml", pipeline.split("tests:").next().unwrap_or_default());
    write_shop(&project, "2026-01-02", BUYERS);
    project
}

fn email(place: usize) -> String {
    if place == BUYERS - 1 { "Ann@X.test".to_owned() } else { address(place) }
}

/// Customers, the first of whom opted out, and what they bought.
fn write_shop(project: &Project, day: &str, buyers: usize) {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let customer = |place: usize| {
        format!("c{place},{},{},{},2026-01-01T00:00:00Z\n", email(place), quoted(awkward(place)), place >= OPTED_OUT)
    };
    let customers: String = (0..BUYERS).map(customer).collect();
    let orders: String = (0..buyers).map(|place| format!("o{place},c{place},1{place}.50,EUR,{day}T10:20:30Z\n")).collect();
    project.write("exports/customers.csv", &format!("customer_id,email,first_name,accepts_marketing,updated_at\n{customers}"));
    project.write("exports/orders.csv", &format!("order_id,customer_id,total,currency,ordered_at\n{orders}"));
}

fn command(project: &Project, arguments: &[&str]) -> std::process::Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).env("MAILCHIMP_KEY_OF_THE_TEST", "key-us21");
    command
}

fn run(project: &Project, more: &[&str], code: i32) -> Result<Value, Failed> {
    let arguments = [&["run", "--output", "json", "--quiet"], more].concat();
    let ended = Ended::of(command(project, &arguments).output()?).expect(code)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn count(reports: &Value, what: &str) -> Result<Option<u64>, Failed> {
    Ok(report_of(reports, "buyers_to_mailchimp")?["activation"][what].as_u64())
}

fn log(judge: &Judge, from: usize) -> Result<Vec<Value>, Failed> {
    Ok(judge.get("/__judge/log")?.as_array().into_iter().flatten().skip(from).cloned().collect())
}

/// The bodies of answered requests whose `METHOD /path` begins like this.
fn bodies(log: &[Value], key: &str) -> Vec<Value> {
    let is_of = |entry: &&Value| entry["key"].as_str().is_some_and(|known| known.starts_with(key)) && entry["status"] == 200;
    let body = |entry: &Value| serde_json::from_str(entry["body"].as_str()?).ok();
    log.iter().filter(is_of).filter_map(body).collect()
}

fn fault(judge: &Judge, body: &str) -> Result<(), Failed> {
    judge.request_with("POST", "/__judge/fault", body).map(drop)
}

fn written() -> Result<(), Failed> {
    let judge = Judge::start("mailchimp", &[])?;
    let project = example(judge.port);
    wrong_name(&project)?;
    for place in 0..50 {
        let number = if place < OPTED_OUT { place } else { place + 1_000 };
        judge.request("POST", &format!("/__judge/optout?email=per.son%2B{number}@people.example"))?;
    }
    sent_as_one_batch(&judge, &project)?;
    few_are_put_and_one_is_refused(&judge, &project)?;
    killed_and_resumed(&judge, &project)?;
    who_leaves_and_who_is_erased(&judge, &project)?;
    is_well_formed(&judge)
}

fn wrong_name(project: &Project) -> Result<(), Failed> {
    let text = project.read("pipelines/buyers_to_mailchimp.yaml");
    project.write(
        "pipelines/buyers_to_mailchimp.yaml",
        &text.replace("merge_fields.FNAME: first_name", "merge_field.FNAME: first_name"),
    );
    let ended = Ended::of(command(project, &["validate"]).output()?).expect(2)?.says("merge_field.FNAME")?;
    holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))?;
    project.write("pipelines/buyers_to_mailchimp.yaml", &text);
    Ok(())
}

fn sent_as_one_batch(judge: &Judge, project: &Project) -> Result<(), Failed> {
    fault(judge, r#"{"match":"POST /batches","status":503,"times":2}"#)?;
    fault(judge, r#"{"match":"POST /batches","drop":true,"times":1}"#)?;
    let reports = run(project, &["--record", "recording"], 0)?;
    same("sent", count(&reports, "accepted")?, Some((BUYERS - OPTED_OUT) as u64))?;
    same("without consent", count(&reports, "without_consent")?, Some(OPTED_OUT as u64))?;
    let log = log(judge, 0)?;
    let [batch] = &bodies(&log, "POST /batches")[..] else { return Err("there is not one batch".into()) };
    let operations = batch["operations"].as_array().cloned().unwrap_or_default();
    same("operations", operations.len(), BUYERS - OPTED_OUT)?;
    let body =
        |operation: &Value| serde_json::from_str::<Value>(operation["body"].as_str().unwrap_or_default()).unwrap_or_default();
    for place in OPTED_OUT..BUYERS {
        let address = email(place).to_lowercase();
        let found = operations.iter().find(|operation| body(operation)["email_address"] == address.as_str());
        let member = body(found.ok_or_else(|| format!("{address} is not sent"))?);
        let spent = json!(format!("1{place}.5"));
        let expected = json!({ "FNAME": awkward(place), "ORDERS": "1", "SPENT": spent, "LAST_ORDER": "2026-01-02" });
        same("merge fields", &member["merge_fields"], &expected)?;
        same("status of new members", member["status_if_new"].as_str(), Some("subscribed"))?;
    }
    holds(
        operations.iter().any(|operation| operation["path"] == format!("/lists/a1/members/{HASH_OF_ANN}")),
        "the hash of Ann is wrong",
    )?;
    let tagged = bodies(&log, "POST /lists/a1/segments/0");
    same("tagged", tagged.iter().filter_map(|body| body["members_to_add"].as_array()).map(Vec::len).sum(), BUYERS - OPTED_OUT)?;
    let seen: String = crate::support::files_below(&project.path().join("recording"))
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap_or_default())
        .collect();
    holds(seen.contains(".lower.md5") && seen.contains("pii0zq"), "the plugin did not send tokens")?;
    for value in ["people.example", "@x.test", "O'Neil", "second line", HASH_OF_ANN] {
        holds(!seen.to_lowercase().contains(&value.to_lowercase()), format!("the plugin saw `{value}`"))?;
    }
    let replayed = run(project, &["--replay", "recording"], 0)?;
    same("accepted without Mailchimp", count(&replayed, "accepted")?, count(&reports, "accepted")?)?;
    let again = run(project, &[], 0)?;
    same("sent again", count(&again, "accepted")?, Some(0))
}

fn few_are_put_and_one_is_refused(judge: &Judge, project: &Project) -> Result<(), Failed> {
    let from = log(judge, 0)?.len();
    let orders = project.read("exports/orders.csv");
    let changed = ["o57,c57,20.00", "o58,c58,21.00", "o59,c59,22.00"];
    let more: String =
        changed.iter().map(|order| format!("{},EUR,2026-01-03T00:00:00Z\n", order.replacen('o', "n", 1))).collect();
    project.write("exports/orders.csv", &format!("{orders}{more}"));
    let refusal = json!({ "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": "Member In Compliance State",
        "status": 400, "detail": "per.son+57@people.example is in a compliance state", "instance": "0" });
    fault(judge, &json!({ "match": "PUT /lists/a1/members", "status": 400, "times": 1, "body": refusal }).to_string())?;
    fault(judge, r#"{"match":"PUT /lists/a1/members","status":503,"times":1}"#)?;
    let reports = run(project, &[], 4)?;
    same("sent", (count(&reports, "accepted")?, count(&reports, "failed")?), (Some(2), Some(1)))?;
    let letters = command(project, &["dead-letters", "list", "--output", "json", "--quiet"]).output()?;
    let letters = String::from_utf8_lossy(&letters.stdout).into_owned();
    holds(letters.contains("mailchimp.compliance_state") && !letters.contains("people.example"), letters)?;
    let log = log(judge, from)?;
    same("batches", bodies(&log, "POST /batches").len(), 0)?;
    let forced = bodies(&log, MEMBER).iter().filter(|body| body.get("status").is_some()).count();
    same("members with a status", (bodies(&log, MEMBER).len(), forced), (2, 0))
}

fn killed_and_resumed(judge: &Judge, project: &Project) -> Result<(), Failed> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    for day in ["2026-02-01", "2026-02-02"] {
        write_shop(project, day, BUYERS);
        fault(judge, r#"{"match":"(POST|GET) /batches","status":503,"times":2}"#)?;
        let mut child = command(project, &["run", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(200 + seed % 1_200));
        child.kill()?;
        child.wait()?;
    }
    run(project, &[], 0)?;
    let again = run(project, &[], 0)?;
    same("sent again", (count(&again, "accepted")?, count(&again, "removed")?), (Some(0), Some(0)))?;
    let days: Vec<Value> = bodies(&log(judge, 0)?, "POST /batches");
    holds(days.iter().any(|batch| batch.to_string().contains("2026-02-02")), "the last change was not sent")
}

fn who_leaves_and_who_is_erased(judge: &Judge, project: &Project) -> Result<(), Failed> {
    fault(judge, &json!({ "match": format!("GET /lists/a1/members/{HASH_OF_ANN}"), "status": 404, "times": 9 }).to_string())?;
    let arguments = ["profile", "erase", "email:ann@x.test", "--yes", "--output", "json", "--quiet"];
    Ended::of(command(project, &arguments).output()?).expect(0)?;
    write_shop(project, "2026-02-02", BUYERS - 2);
    run(project, &[], 0)?;
    let all = log(judge, 0)?;
    let key = format!("POST /lists/a1/members/{HASH_OF_ANN}/actions/delete-permanent");
    holds(all.iter().any(|entry| entry["key"] == key && entry["status"] == 204), "Ann was not erased")?;
    let receipts = Ended::of(command(project, &["profile", "erasures", "--output", "json", "--quiet"]).output()?).expect(0)?;
    holds(receipts.stdout.contains("verified"), receipts.stdout)?;
    let removed = bodies(&all, "POST /lists/a1/segments/0");
    let removed: Vec<&Value> = removed.iter().filter_map(|body| body["members_to_remove"].as_array()).flatten().collect();
    holds(!removed.is_empty(), "nobody lost the tag")
}

/// But for what was injected: nothing refused for its shape, nothing that the description does not name, nobody opted in again,
/// little throttled.
fn is_well_formed(judge: &Judge) -> Result<(), Failed> {
    let summary = judge.get("/__judge/summary")?;
    same("unknown fields", summary["unknownFields"].as_u64(), Some(0))?;
    same("violations", summary["violations"].as_u64(), Some(0))?;
    let log = log(judge, 0)?;
    let own = || log.iter().filter(|entry| !entry["why"].as_str().unwrap_or_default().starts_with("fault"));
    let refused: Vec<&Value> = own().filter(|entry| matches!(entry["status"].as_u64(), Some(400..=428 | 430..=599))).collect();
    holds(refused.is_empty(), format!("refused for shape: {refused:?}"))?;
    let throttled = own().filter(|entry| entry["status"] == 429).count();
    holds(throttled * 20 < log.len(), format!("{throttled} of {} requests were throttled", log.len()))
}

/// What the vendor gives and the stand-in lacks: batches two of whose operations failed, and their archives.
struct Archives {
    judge: Weak<Judge>,
    port: OnceLock<u16>,
}

/// Buyers whom Mailchimp refuses: who unsubscribed, and one whose name it does not take.
const REFUSED: [usize; 2] = [20, 21];

impl Archives {
    fn step(&self, asked: &str) -> Step {
        let (is_status, is_archive) = (asked.starts_with("GET /3.0/batches/"), asked.starts_with("GET /archive/"));
        let answer = |kind: &str, body: Vec<u8>| {
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
            Step::Answer([head.into_bytes(), body].concat())
        };
        match self.port.get() {
            Some(port) if is_status => {
                let url = format!("http://127.0.0.1:{port}/archive/job-response.tar.gz?Expires=1&Signature=a%2Bb%3D");
                let job = json!({ "status": "finished", "errored_operations": 2, "response_body_url": url });
                answer("application/json", job.to_string().into_bytes())
            }
            Some(_) if is_archive => self.archive().map_or(Step::Drop, |archive| answer("application/x-gzip", archive)),
            _ => Step::Forward(Duration::ZERO),
        }
    }

    /// Of the one batch, in two files; written as PHP writes JSON.
    fn archive(&self) -> Result<Vec<u8>, Failed> {
        let judge = self.judge.upgrade().ok_or("the trial is over")?;
        let [batch] = &bodies(&log(&judge, 0)?, "POST /batches")[..] else { return Err("there is not one batch".into()) };
        let told: Vec<Value> = batch["operations"].as_array().into_iter().flatten().map(Self::told).collect();
        let (first, second) = told.split_at(told.len() / 3);
        Ok(tar_gz(&[json!(second).to_string(), json!(first).to_string()])?)
    }

    fn told(operation: &Value) -> Value {
        let mut member: Value = serde_json::from_str(operation["body"].as_str().unwrap_or_default()).unwrap_or_default();
        let address = member["email_address"].clone();
        let refused = |place: usize| address == email(place).to_lowercase().as_str();
        let (status, answer) = if refused(REFUSED[0]) {
            (400, json!({ "title": "Member In Compliance State", "status": 400, "detail": format!("{address} is unsubscribed") }))
        } else if refused(REFUSED[1]) {
            let errors = json!([{ "field": "FNAME", "message": member["merge_fields"]["FNAME"] }]);
            (400, json!({ "title": "Invalid Resource", "status": 400, "errors": errors }))
        } else {
            member["id"] = operation["path"].as_str().and_then(|path| path.rsplit('/').next()).into();
            member["contact_id"] = format!("of {}", operation["operation_id"]).into();
            member["full_name"] = member["merge_fields"]["FNAME"].clone();
            (200, member)
        };
        let php = |letter: char| match letter {
            '/' => "\\/".to_owned(),
            letter if letter.is_ascii() => letter.to_string(),
            letter => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        let answer: String = answer.to_string().chars().map(php).collect();
        json!({ "status_code": status, "operation_id": operation["operation_id"], "response": answer })
    }
}

fn told_by_the_archive() -> Result<(), Failed> {
    let judge = Arc::new(Judge::start("mailchimp", &[])?);
    let archives = Arc::new(Archives { judge: Arc::downgrade(&judge), port: OnceLock::new() });
    let played = Arc::clone(&archives);
    let relay = Relay::start(judge.port, move |_, asked| played.step(asked))?;
    archives.port.set(relay.port).map_err(|_| "the port is told twice")?;
    let project = example(relay.port);

    let reports = run(&project, &["--record", "recording"], 4)?;

    let sent = (BUYERS - OPTED_OUT - REFUSED.len()) as u64;
    let counts = |reports: &Value| Ok::<_, Failed>((count(reports, "accepted")?, count(reports, "failed")?));
    same("accepted and failed", counts(&reports)?, (Some(sent), Some(REFUSED.len() as u64)))?;
    let letters = command(&project, &["dead-letters", "list", "--output", "json", "--quiet"]).output()?;
    let letters = String::from_utf8_lossy(&letters.stdout).into_owned();
    let codes = ["mailchimp.compliance_state", "mailchimp.refused"];
    holds(codes.iter().all(|code| letters.contains(code)) && !letters.contains("people.example"), letters)?;
    let log = log(&judge, 0)?;
    same("batches and single members", (bodies(&log, "POST /batches").len(), bodies(&log, MEMBER).len()), (1, 0))?;
    let tagged = bodies(&log, "POST /lists/a1/segments/0");
    same(
        "tagged",
        tagged.iter().filter_map(|body| body["members_to_add"].as_array()).map(|added| added.len() as u64).sum(),
        sent,
    )?;
    saw_tokens_only(&project)?;
    same("without Mailchimp", counts(&run(&project, &["--replay", "recording"], 4)?)?, counts(&reports)?)?;
    // Who was refused is tried again by every run.
    let again = run(&project, &[], 0)?;
    same("sent again", count(&again, "accepted")?, Some(REFUSED.len() as u64))
}

/// In a recording a value that the plugin saw would be another person's: where a token stands, it saw a token.
fn saw_tokens_only(project: &Project) -> Result<(), Failed> {
    let recorded = project.read("recording/mailchimp.exchanges.jsonl");
    let is_archive = |line: &Value| line["request"]["url"].as_str().is_some_and(|url| url.contains("/archive/"));
    let mut lines = recorded.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let archive = lines.rfind(is_archive).ok_or("the archive was not asked for")?;
    let body = &archive["response"]["body"]["json"];
    let text = body.to_string();
    holds(!text.contains('@') && !text.contains(HASH_OF_ANN), format!("the plugin saw an address: {text}"))?;
    let entries: Vec<&Value> = body.as_array().into_iter().flatten().filter_map(Value::as_array).flatten().collect();
    same("entries", entries.len(), BUYERS - OPTED_OUT)?;
    for entry in entries.iter().filter(|entry| entry["status_code"] == 200) {
        let member: Value = serde_json::from_str(entry["response"].as_str().unwrap_or_default())?;
        for value in [&member["email_address"], &member["id"], &member["merge_fields"]["FNAME"], &member["full_name"]] {
            holds(
                value.as_str().is_some_and(|value| value.starts_with("pii0zq")),
                format!("the plugin saw {value} in {member}"),
            )?;
        }
    }
    Ok(())
}

fn keeps_the_rules() -> Result<(), Failed> {
    let judge = Judge::start("mailchimp", &[])?;
    // Its answers are canned: for it everybody is there, also who was never written.
    fault(&judge, r#"{"match":"GET /lists/a1/members/","status":404,"times":1000}"#)?;
    let port = judge.port;
    let contract = format!(
        "config: {{ base_url: \"http://127.0.0.1:{port}/3.0\", audience: a1 }}
secrets: {{ api_key: key-us21 }}
streams: [members]
destination:
  object: members
  mode: mirror
  list: Test
  match: [email_address]
  fields: [{{ name: email_address, type: text, pii: email }}, {{ name: merge_fields.string, type: text, pii: name }}]
  rows: [{{ email_address: ann.test@people.example, merge_fields.string: Ann }}, {{ email_address: bo.test@people.example, merge_fields.string: Bo }}]
"
    );
    keeps_the_contract(
        "mailchimp",
        &contract,
        &[
            "check.credential",
            "read.throttled",
            "read.truncated",
            "write.outcomes",
            "write.same_key",
            "write.throttled",
            "write.server_error",
        ],
    )
}
