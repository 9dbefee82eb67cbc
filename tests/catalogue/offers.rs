//! What an account at a vendor's stand-in offers, and what 1,000 rows cost there: kept in `plugins/NAME/offers.json`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Failed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::{Account, Writes};
use crate::support::{Ended, Project, holds, root, same};
use crate::vendors::Judge;

/// Rows that are counted.
pub(super) const ROWS: u64 = 1_000;
/// Questions after a job differ from run to run.
const REQUESTS_TOLERANCE: u64 = 3;
/// How far what `affluent plan` forecasts may be from what is measured, beside a fifth of it: requests, and milliseconds.
const FORECAST_REQUESTS: u64 = 2;
const FORECAST_MS: u64 = 200;

/// What a plugin offers, by its stand-in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offers {
    pub(super) streams: Vec<Value>,
    pub(super) objects: Vec<Value>,
    pub(super) read: Option<Cost>,
    pub(super) written: Option<Cost>,
}

/// What 1,000 rows cost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Stream or object.
    pub(super) of: String,
    pub(super) requests: u64,
    /// Requests that `affluent plan` forecasts.
    pub(super) forecast: u64,
    /// The least time that the limits in the manifest leave, in milliseconds.
    pub(super) limits_ms: u64,
    /// Processor time of the whole run in an unoptimised build, in milliseconds; told, not compared.
    pub(super) cpu_ms: u64,
}

pub(super) fn file_of(plugin: &str) -> PathBuf {
    root().join("plugins").join(plugin).join("offers.json")
}

pub(super) fn kept(plugin: &str) -> Option<Offers> {
    serde_json::from_str(&fs::read_to_string(file_of(plugin)).ok()?).ok()
}

/// Compares what an account offers and costs with what is kept, or keeps it.
pub(super) fn measure(account: &Account, is_written: bool) -> Result<(), Failed> {
    let judge = Judge::start_with(account.plugin, account.flags, account.variables)?;
    for (request, body) in account.answers {
        let answer = json!({ "match": request, "status": 200, "times": 1_000_000, "body": serde_json::from_str::<Value>(body)? });
        judge.request_with("POST", "/__judge/fault", &answer.to_string())?;
    }
    let project = project(account, &judge);
    let offered = offered(account, &project)?;
    let limits = limits(account, &project)?;
    let read = account.reads.map(|stream| cost(account, &judge, (&project, "read", stream), &limits)).transpose()?;
    let write = account.writes.as_ref().map(|writes| writes.object);
    let written = write.map(|object| cost(account, &judge, (&project, "write", object), &limits)).transpose()?;
    let list = |name: &str| offered[name].as_array().cloned().unwrap_or_default();
    let found = Offers { streams: list("streams"), objects: list("objects"), read, written };
    if is_written {
        fs::write(file_of(account.plugin), format!("{}\n", serde_json::to_string_pretty(&found)?))?;
        return Ok(());
    }
    let kept = kept(account.plugin).ok_or("there is no offers.json")?;
    same("streams", &found.streams, &kept.streams)?;
    same("objects", &found.objects, &kept.objects)?;
    same_cost(found.read.as_ref(), kept.read.as_ref())?;
    same_cost(found.written.as_ref(), kept.written.as_ref())
}

fn same_cost(found: Option<&Cost>, kept: Option<&Cost>) -> Result<(), Failed> {
    let (Some(found), Some(kept)) = (found, kept) else { return same("costs", found.is_some(), kept.is_some()) };
    same("of", &found.of, &kept.of)?;
    let is_near = found.requests.abs_diff(kept.requests) <= REQUESTS_TOLERANCE;
    holds(is_near, format!("{}: {} requests for {ROWS} rows, {} are kept", found.of, found.requests, kept.requests))
}

fn project(account: &Account, judge: &Judge) -> Project {
    let project = Project::new();
    let (port, Account { plugin, path, config, .. }) = (judge.port, account);
    let secrets: Vec<String> = account.secrets.iter().map(|(name, _)| format!("{name}: {{ env: {} }}", variable(name))).collect();
    let connection = format!(
        "version: 1
connection: account
plugin: {plugin}
config: {{ base_url: \"http://127.0.0.1:{port}{path}\"{config} }}
secrets: {{ {} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
",
        secrets.join(", ")
    );
    project.write("affluent.yaml", "version: 1\nproject: costs\n").write("connections/account.yaml", &connection);
    if let Some(stream) = account.reads {
        project.write("pipelines/read.yaml", &reading(stream));
    }
    if let Some(writes) = &account.writes {
        project.write("pipelines/write.yaml", &writing(writes));
        let person = |place: u64| json!({ "id": format!("p{place}"), "email": format!("person{place}@people.example"), "name": format!("Person {place}") });
        let lines: String = (0..ROWS).map(|place| format!("{}\n", person(place))).collect();
        project.write("in/people.jsonl", &lines);
    }
    project
}

fn reading(stream: &str) -> String {
    format!(
        "version: 1
pipeline: read
source: {{ connection: account, streams: {{ {stream}: {{ sync: full_refresh }} }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [out] }}, config: {{ path: \"out/{{run}}.jsonl\" }} }}
  object: file
  mode: append
  map: {{ id: id }}
"
    )
}

fn writing(writes: &Writes) -> String {
    let Writes { object, match_field, email_field, name_field } = writes;
    let key = if email_field.is_some() { "id" } else { "email" };
    let email = email_field.map_or(String::new(), |field| format!(", {field}: email"));
    format!(
        "version: 1
pipeline: write
source:
  connection: {{ plugin: jsonl, files: {{ read: [\"in/*.jsonl\"] }}, config: {{ streams: {{ people: {{ files: \"in/*.jsonl\" }} }} }} }}
  streams: {{ people: {{ sync: full_refresh, pii: {{ email: email, name: name }} }} }}
destination:
  connection: account
  object: {object}
  match: {{ {match_field}: {key} }}
  mode: upsert
  map: {{ {name_field}: name{email} }}
  grants: [email, name]
"
    )
}

fn variable(secret: &str) -> String {
    format!("SECRET_OF_THE_CATALOGUE_{}", secret.to_uppercase())
}

/// The binary on a project, with the account's secrets; its processor time in milliseconds.
fn run(account: &Account, project: &Project, arguments: &[&str]) -> Result<(Ended, u64), Failed> {
    let command = project.command(arguments);
    let mut timed = Command::new("bash");
    timed.args(["-c", "TIMEFORMAT='%U %S'; time \"$@\"", "time"]).arg(command.get_program()).args(command.get_args());
    timed.current_dir(project.path()).env("NO_COLOR", "1").env("LC_ALL", "C");
    timed.envs(account.secrets.iter().map(|(name, value)| (variable(name), *value)));
    let ended = Ended::of(timed.output()?).expect(0)?;
    let seconds = ended.stderr.lines().last().unwrap_or_default().split(' ').filter_map(|part| part.parse::<f64>().ok());
    let cpu_ms = (seconds.sum::<f64>() * 1_000.0).round();
    Ok((ended, format!("{cpu_ms}").parse().unwrap_or(0)))
}

fn offered(account: &Account, project: &Project) -> Result<Value, Failed> {
    let arguments = ["connection", "discover", "account", "--output", "json", "--quiet"];
    Ok(serde_json::from_str(&run(account, project, &arguments)?.0.stdout)?)
}

fn limits(account: &Account, project: &Project) -> Result<Vec<Value>, Failed> {
    let arguments = ["plugin", "inspect", account.plugin, "--output", "json", "--quiet"];
    let inspected: Value = serde_json::from_str(&run(account, project, &arguments)?.0.stdout)?;
    Ok(inspected["manifest"]["rate_limits"].as_array().cloned().unwrap_or_default())
}

fn cost(
    account: &Account,
    judge: &Judge,
    (project, pipeline, of): (&Project, &str, &str),
    limits: &[Value],
) -> Result<Cost, Failed> {
    let planned = planned(account, project, pipeline)?;
    let before = requests(account, judge)?.len();
    let (ended, cpu_ms) = run(account, project, &["run", pipeline, "--output", "json"])?;
    let reports: Value = serde_json::from_str(&ended.stdout)?;
    let rows = reports[0]["streams"][0]["read"].as_u64().unwrap_or(0);
    holds(rows >= ROWS, format!("fewer rows than {ROWS}: {reports}"))?;
    let requests = requests(account, judge)?.split_off(before);
    refuses_nothing(judge)?;
    let limits_ms = limits.iter().map(|limit| least_ms(limit, &requests)).max().unwrap_or(0);
    let of_rows = |figure: u64| (figure * ROWS).div_ceil(rows);
    let (requests, limits_ms, cpu_ms) = (of_rows(requests.len() as u64), of_rows(limits_ms), of_rows(cpu_ms));
    let is_near = |planned: u64, measured: u64, few: u64| planned.abs_diff(measured) <= few.max(measured / 5);
    let [told, least_ms, of_how_many] = ["requests", "least_ms", "rows"].map(|name| planned[name].as_u64().unwrap_or(u64::MAX));
    let measured = format!("{requests} requests in {limits_ms} ms for {ROWS} rows were measured, `plan` says: {planned}");
    holds(of_how_many == ROWS && planned["is_assumed"] == true, &measured)?;
    holds(is_near(told, requests, FORECAST_REQUESTS) && is_near(least_ms, limits_ms, FORECAST_MS), measured)?;
    let again = self::planned(account, project, pipeline)?;
    holds(again["is_assumed"] == false && again["rows"] == rows, format!("{rows} rows are known: {again}"))?;
    Ok(Cost { of: of.to_owned(), requests, forecast: told, limits_ms, cpu_ms })
}

/// What `affluent plan` forecasts for the side of a pipeline that is measured.
fn planned(account: &Account, project: &Project, pipeline: &str) -> Result<Value, Failed> {
    let (ended, _) = run(account, project, &["plan", pipeline, "--output", "json", "--quiet"])?;
    let mut plans: Value = serde_json::from_str(&ended.stdout)?;
    let side = if pipeline == "read" { "/0/reads/0/forecast" } else { "/0/writes" };
    Ok(plans.pointer_mut(side).map(Value::take).unwrap_or_default())
}

/// No request had another form than the service's; what is asked for and not there is no fault.
fn refuses_nothing(judge: &Judge) -> Result<(), Failed> {
    let log = judge.get("/__judge/log")?;
    let is_refused = |entry: &&Value| matches!(entry["status"].as_u64(), Some(400..=403 | 405..=428));
    let refused: Vec<String> =
        log.as_array().into_iter().flatten().filter(is_refused).map(|entry| entry["key"].to_string()).collect();
    holds(refused.is_empty(), format!("refused for shape: {}", refused.join(", ")))
}

/// The requests of a stand-in so far, as `METHOD /path`; it leaves out what its `base_url` begins with.
fn requests(account: &Account, judge: &Judge) -> Result<Vec<String>, Failed> {
    let log = judge.get("/__judge/log")?;
    let key = |entry: &Value| {
        let (method, path) = entry["key"].as_str().and_then(|key| key.split_once(' ')).unwrap_or_default();
        format!("{method} {}{path}", account.path)
    };
    Ok(log.as_array().into_iter().flatten().map(key).collect())
}

/// The time in which a limit lets these requests go; 0 for limits that count points.
fn least_ms(limit: &Value, requests: &[String]) -> u64 {
    let prefix = limit["matches"].as_str().unwrap_or_default();
    let (a_window, per_ms) = (limit["requests"].as_u64().unwrap_or(1).max(1), limit["per_ms"].as_u64().unwrap_or(0));
    if !limit["cost"].is_null() {
        return 0;
    }
    let counted = requests.iter().filter(|request| request.starts_with(prefix)).count() as u64;
    counted.saturating_sub(limit["burst"].as_u64().unwrap_or(a_window)).saturating_mul(per_ms) / a_window
}
