//! `affluent plugin test`: the plugins of the product keep the contract's rules, a plugin that does not is told what to
//! mend, and what was recorded is tested again without a network.

use std::net::TcpListener;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same, shared};
use crate::vendors::Judge;

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    vec![
        rule("contract: csv keeps every rule that is for it", csv_keeps_the_rules),
        rule("contract: jsonl keeps every rule that is for it", jsonl_keeps_the_rules),
        rule("contract: a broken rule is told with its evidence and what to mend, and gives exit code 4", broken_rule_is_told),
        rule("contract: what cannot be tested is a mistake of usage", nothing_to_test),
        rule("contract: shopify keeps every rule, also on the service's bad days", shopify_keeps_the_rules)
            .with_ignored_flag(is_absent),
        rule("contract: klaviyo keeps every rule, also on the service's bad days", klaviyo_keeps_the_rules)
            .with_ignored_flag(is_absent),
        rule("contract: what was recorded is tested again without a network", recorded_pass).with_ignored_flag(is_absent),
    ]
}

/// The report, which must have the verdict in full.
fn tested(project: &Project, plugin: &str, code: i32, more: &[&str]) -> Result<Value, Failed> {
    let file = project.path().join("contract.yaml");
    let mut arguments = vec!["plugin", "test", plugin, "--config", file.to_str().unwrap_or_default()];
    arguments.extend(more);
    let (ended, report) = project.json(&arguments);
    let broken = broken(&report);
    holds(ended.code == code, format!("exit code {} instead of {code}; broken: {broken}\n{}", ended.code, ended.stderr))?;
    Ok(report)
}

fn broken(report: &Value) -> String {
    let rules = report["rules"].as_array().cloned().unwrap_or_default();
    let failed = rules.iter().filter(|rule| rule["verdict"] == "failed");
    failed.map(|rule| format!("\n  {} {}", rule["rule"], rule["because"])).collect()
}

fn verdict<'a>(report: &'a Value, rule: &str) -> &'a str {
    let rules = report["rules"].as_array().map_or(&[][..], Vec::as_slice);
    rules.iter().find(|finding| finding["rule"] == rule).and_then(|finding| finding["verdict"].as_str()).unwrap_or("absent")
}

/// An empty project: the plugins are those of the program.
fn project(contract: &str) -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: test\n");
    project.write("contract.yaml", contract);
    project
}

fn people() -> String {
    let line = |number: u32| format!("{number},Person {number},person.{number}@people.example,2026-01-31T10:00:00Z\n");
    std::iter::once("id,label,email,updated_at\n".to_owned()).chain((1..=40).map(line)).collect()
}

const CSV: &str = "
config:
  streams:
    people: { files: \"in/*.csv\", primary_key: [id], cursor_field: updated_at, columns: { email: { pii: email } } }
read_files: [\"in/*.csv\"]
";

fn csv_keeps_the_rules() -> Result<(), Failed> {
    let project = project(CSV);
    project.write("in/people.csv", &people());
    let report = tested(&project, "csv", 0, &[])?;
    for rule in ["read.resume", "read.idempotent", "discover.types", "discover.keys", "check.accepts", "manifest.stable"] {
        same(rule, verdict(&report, rule), "passed")?;
    }
    same("no request, no bad day", verdict(&report, "read.throttled"), "skipped")
}

fn jsonl_keeps_the_rules() -> Result<(), Failed> {
    let project = project(
        "
config: { streams: { events: { files: \"in/*.jsonl\", primary_key: [id] } }, path: \"out/{run}.jsonl\" }
read_files: [\"in/*.jsonl\"]
write_files: [\"out/\"]
destination: { mode: append, fields: [{ name: id, type: integer, nullable: false }, { name: name, type: text }] }
",
    );
    let lines: String = (1..=40).map(|number| format!("{{\"id\":{number},\"name\":\"event {number}\"}}\n")).collect();
    project.write("in/events.jsonl", &lines);
    let report = tested(&project, "jsonl", 0, &[])?;
    for rule in ["read.resume", "write.outcomes", "write.sizes", "write.nulls", "write.unicode"] {
        same(rule, verdict(&report, rule), "passed")?;
    }
    Ok(())
}

fn broken_rule_is_told() -> Result<(), Failed> {
    let project = project(CSV);
    let people = people().replace("Person 7,", "person.seven@people.example,");
    project.write("in/people.csv", &people.replacen("8,Person 8", "7,Person 8", 1));
    let file = project.path().join("contract.yaml");
    let ended = project.affluent(&["plugin", "test", "csv", "--config", file.to_str().unwrap_or_default()]).expect(4)?;
    for text in ["discover.keys", "BROKEN", "1 rows with the key of another", "mend ", "discover.pii", "column `label`"] {
        holds(ended.stdout.contains(text), format!("stdout lacks `{text}`:\n{}", ended.stdout))?;
    }
    holds(!ended.stdout.contains("seven@"), "a personal value is shown")
}

fn nothing_to_test() -> Result<(), Failed> {
    let project = project("streams: 7\n");
    let path = |name: &str| project.path().join(name).display().to_string();
    project.affluent(&["plugin", "test", &path("absent.wasm")]).expect(2)?.says("E0936")?;
    project.affluent(&["plugin", "test", &path(".")]).expect(2)?.says("E0936")?;
    project.affluent(&["plugin", "test", "csv", "--config", &path("contract.yaml")]).expect(2)?.says("E0935")?;
    project.affluent(&["plugin", "test", "csw"]).expect(2)?.says("E0500")?.says("did you mean `csv`?")?;
    Ok(())
}

fn shopify(judge: &Judge, more: &str) -> Project {
    project(&format!(
        "
config: {{ shop: judge, api_version: \"2026-10\", base_url: \"http://127.0.0.1:{}\"{more} }}
secrets: {{ access_token: shpat_test }}
streams: [customers]
",
        judge.port
    ))
}

fn shopify_keeps_the_rules() -> Result<(), Failed> {
    let judge = Judge::start("shopify", &["--customers", "300", "--bucket", "20000", "--restore", "20000"])?;
    let report = tested(&shopify(&judge, ", bulk_from: 0"), "shopify", 0, &[])?;
    for rule in ["check.credential", "check.secrecy", "read.resume", "read.throttled", "read.server_error", "read.truncated"] {
        same(rule, verdict(&report, rule), "passed")?;
    }
    Ok(())
}

fn klaviyo_keeps_the_rules() -> Result<(), Failed> {
    let judge = Judge::start_with("klaviyo", &[], &[("JUDGE_LIMITS", "off"), ("JUDGE_JOB_MS", "50")])?;
    let project = project(&format!(
        "
config: {{ base_url: \"http://127.0.0.1:{}/api\" }}
secrets: {{ api_key: pk_test }}
destination:
  object: profile
  mode: mirror
  list: Contract
  match: [email]
  fields: [{{ name: email, type: text, pii: email }}, {{ name: first_name, type: text, pii: name }}]
  rows: [{{ email: ann.test@people.example, first_name: Ann }}, {{ email: bo.test@people.example, first_name: Bo }}]
",
        judge.port
    ));
    let report = tested(&project, "klaviyo", 0, &[])?;
    for rule in ["check.credential", "write.outcomes", "write.same_key", "write.throttled", "write.server_error", "write.deletes"]
    {
        same(rule, verdict(&report, rule), "passed")?;
    }
    for rule in ["erase.accepts", "erase.verifies"] {
        same(rule, verdict(&report, rule), "passed")?;
    }
    Ok(())
}

fn recorded_pass() -> Result<(), Failed> {
    let judge = Judge::start("shopify", &["--customers", "300", "--bucket", "20000", "--restore", "20000"])?;
    let project = shopify(&judge, ", bulk_from: 0");
    let folder = project.path().join("recordings").display().to_string();
    let recorded = tested(&project, "shopify", 0, &["--record", &folder])?;
    let port = judge.port;
    drop(judge);
    holds(TcpListener::bind(("127.0.0.1", port)).is_ok(), "the stand-in is still there")?;
    holds(!text_below(Path::new(&folder)).contains("shpat_test"), "the recording holds the secret")?;
    let replayed = tested(&project, "shopify", 0, &["--recordings", &folder])?;
    same("rows", replayed["figures"]["rows"].as_u64(), recorded["figures"]["rows"].as_u64())?;
    same("read.resume", verdict(&replayed, "read.resume"), "passed")
}

fn text_below(folder: &Path) -> String {
    crate::support::files_below(folder).iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect()
}
