//! What an account at a vendor's stand-in offers, and what rows cost there: kept in `plugins/NAME/offers.json`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::{Account, Found, Pages};
use super::project::{keep_a_list, project, run, told, whose_city_is};
use crate::support::{Project, Relay, Step, holds, json_answer, root, same};
use crate::vendors::Judge;

/// Rows that are counted.
pub(super) const ROWS: u64 = 1_000;
/// Questions after a job differ from run to run.
const REQUESTS_TOLERANCE: u64 = 3;
/// How far what `affluent plan` forecasts may be from what is measured, beside a fifth of it: requests, and milliseconds.
const FORECAST_REQUESTS: u64 = 2;
const FORECAST_MS: u64 = 200;
/// Answers of a stand-in that no run uses up.
const ALWAYS: u32 = 1_000_000;

/// What a plugin offers, by its stand-in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offers {
    pub(super) streams: Vec<Value>,
    pub(super) objects: Vec<Value>,
    pub(super) costs: Vec<Cost>,
}

/// What rows cost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) act: Act,
    /// Stream or object.
    pub(super) of: String,
    pub(super) rows: u64,
    pub(super) requests: u64,
    /// Requests that `affluent plan` forecasts.
    pub(super) forecast: u64,
    /// The least time that the limits in the manifest leave, in milliseconds.
    pub(super) limits_ms: u64,
    /// Processor time of the whole run in an unoptimised build, in milliseconds; told, not compared.
    pub(super) cpu_ms: u64,
}

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    Read,
    Written,
    /// Written, and put on a list.
    Listed,
    /// Taken off it.
    Removed,
}

pub(super) fn file_of(plugin: &str) -> PathBuf {
    root().join("plugins").join(plugin).join("offers.json")
}

pub(super) fn kept(plugin: &str) -> Option<Offers> {
    serde_json::from_str(&fs::read_to_string(file_of(plugin)).ok()?).ok()
}

/// Compares what an account offers and costs with what is kept, or keeps it.
pub(super) fn measure(account: &Account, is_written: bool) -> Result<(), Failed> {
    let bench = Bench::of(account)?;
    let offered = told(account, &bench.project, &["connection", "discover", "account"])?;
    let list = |name: &str| offered[name].as_array().cloned().unwrap_or_default();
    let found = Offers { streams: list("streams"), objects: list("objects"), costs: bench.costs()? };
    if is_written {
        fs::write(file_of(account.plugin), format!("{}\n", serde_json::to_string_pretty(&found)?))?;
        return Ok(());
    }
    let kept = kept(account.plugin).ok_or("there is no offers.json")?;
    same("streams", &found.streams, &kept.streams)?;
    same("objects", &found.objects, &kept.objects)?;
    same("costs", found.costs.len(), kept.costs.len())?;
    for (found, kept) in found.costs.iter().zip(&kept.costs) {
        same("of", (found.act, &found.of, found.rows), (kept.act, &kept.of, kept.rows))?;
        let is_near = found.requests.abs_diff(kept.requests) <= REQUESTS_TOLERANCE;
        holds(is_near, format!("{found:?}: {} requests are kept", kept.requests))?;
    }
    Ok(())
}

/// An account, its stand-in, and a project. Where the account's people are to be found, a relay stands between that answers for the
/// stand-in.
struct Bench<'a> {
    account: &'a Account,
    judge: Judge,
    project: Project,
    manifest: Value,
    /// What the relay answered, as `METHOD /path`.
    answered: Arc<Mutex<Vec<String>>>,
    /// Requests in the log of the stand-in that were counted already.
    counted: Cell<usize>,
}

impl<'a> Bench<'a> {
    fn of(account: &'a Account) -> Result<Self, Failed> {
        let judge = Judge::start_with(account.plugin, account.flags, account.variables)?;
        let (answered, found) = (Arc::<Mutex<Vec<String>>>::default(), account.found);
        let seen = Arc::clone(&answered);
        let step = move |_: usize, asked: &str, body: &str| {
            let answer = found.iter().find(|found| asked.starts_with(found.request));
            let Some(found) = answer else { return Step::Forward(Duration::ZERO) };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.to_owned());
            json_answer(200, &told_of(found, asked, body))
        };
        let port = if found.is_empty() { judge.port } else { Relay::start_reading(judge.port, step)?.port };
        let project = project(account, port);
        let inspected = told(account, &project, &["plugin", "inspect", account.plugin])?;
        let manifest = inspected["manifest"].clone();
        let bench = Self { account, judge, project, manifest, answered, counted: Cell::default() };
        bench.play(None)?;
        Ok(bench)
    }

    /// Tells the stand-in what to answer, from now on.
    fn play(&self, pages: Option<&Pages>) -> Result<(), Failed> {
        let fault = |request: &str, times: u32, body: &str| {
            let answer = json!({ "match": request, "status": 200, "times": times, "body": serde_json::from_str::<Value>(body)? });
            self.judge.request_with("POST", "/__judge/fault", &answer.to_string()).map(drop)
        };
        self.judge.request("POST", "/__judge/reset")?;
        if let Some(Pages { request, rows, records, page, last, record }) = pages {
            let starts: Vec<u64> = (0..*rows).step_by(usize::try_from(*records)?).collect();
            for start in &starts {
                let numbers = *start..(start + records).min(*rows);
                let form = if Some(start) == starts.last() { last } else { page };
                fault(request, 1, &with_records(&form.replace('#', &start.to_string()), record, numbers))?;
            }
            fault(request, ALWAYS, &with_records(last, record, 0..0))?;
        }
        self.account.answers.iter().try_for_each(|(request, body)| fault(request, ALWAYS, body))
    }

    fn costs(&self) -> Result<Vec<Cost>, Failed> {
        self.are_all_measured()?;
        let mut costs = Vec::new();
        for reads in self.account.reads {
            self.play(reads.pages.as_ref())?;
            costs.push(self.cost(Act::Read, reads.stream, reads.stream)?);
        }
        let Some(writes) = &self.account.writes else { return Ok(costs) };
        self.play(None)?;
        costs.push(self.cost(Act::Written, "write", writes.object)?);
        for lists in self.account.lists {
            self.play(lists.pages.as_ref())?;
            let pipeline = keep_a_list(&self.project, writes, lists.rows);
            for act in lists.acts {
                whose_city_is(&self.project, if *act == Act::Listed { "Paris" } else { "Rome" });
                run(self.account, &self.project, &["run", "people", "--quiet"])?;
                let cost = self.cost(*act, &pipeline, writes.object)?;
                same("rows", cost.rows, lists.rows)?;
                costs.push(cost);
            }
        }
        Ok(costs)
    }

    /// Each figure of `costs.json` is measured: every stream that is named, and one of all others.
    fn are_all_measured(&self) -> Result<(), Failed> {
        let costs = &self.manifest["costs"];
        let said = |side: &str| costs[side].as_object().cloned().unwrap_or_default();
        let streams: BTreeSet<&str> = self.account.reads.iter().map(|reads| reads.stream).collect();
        let named: BTreeSet<String> = said("read").into_iter().map(|(name, _)| name).collect();
        let has_other = streams.iter().any(|stream| !named.contains(*stream));
        for name in &named {
            let is_measured = if name == "*" { has_other } else { streams.contains(name.as_str()) };
            holds(is_measured, format!("costs.json has a figure for reading `{name}`, and nothing measures it"))?;
        }
        let of_lists = said("write").values().any(|costs| costs.to_string().contains("\"of\""));
        let has_writes = self.account.writes.is_some() != said("write").is_empty();
        holds(has_writes && self.account.lists.is_empty() != of_lists, "costs.json has figures for writing that nothing measures")
    }

    /// Runs a pipeline and compares what it took with what `affluent plan` said before.
    fn cost(&self, act: Act, pipeline: &str, of: &str) -> Result<Cost, Failed> {
        let planned = self.planned(act, pipeline)?;
        self.requests()?;
        let (ended, cpu_ms) = run(self.account, &self.project, &["run", pipeline, "--output", "json"])?;
        let requests = self.requests()?;
        let reports: Value = serde_json::from_str(&ended.stdout)?;
        let report = &reports[0];
        let done = match act {
            Act::Read | Act::Written => &report["streams"][0]["read"],
            Act::Listed => &report["activation"]["accepted"],
            Act::Removed => &report["activation"]["removed"],
        };
        let [rows, told, least_ms] = ["rows", "requests", "least_ms"].map(|name| planned[name].as_u64().unwrap_or(u64::MAX));
        let done = done.as_u64().unwrap_or(0);
        holds(done >= rows, format!("{act:?} {of}: fewer rows than {rows}: {reports}"))?;
        refuses_nothing(&self.judge)?;
        let limits = self.manifest["rate_limits"].as_array().cloned().unwrap_or_default();
        let limits_ms = limits.iter().map(|limit| limit_ms(limit, &requests)).max().unwrap_or(0);
        let of_rows = |figure: u64| (figure * rows).div_ceil(done);
        let (count, limits_ms, cpu_ms) = (of_rows(requests.len() as u64), of_rows(limits_ms), of_rows(cpu_ms));
        let is_near = |planned: u64, measured: u64, few: u64| planned.abs_diff(measured) <= few.max(measured / 5);
        let measured = format!(
            "{act:?} {of}: {count} requests in {limits_ms} ms for {rows} rows, `plan` says {planned}: {:?}",
            kinds(&requests)
        );
        holds(is_near(told, count, FORECAST_REQUESTS) && is_near(least_ms, limits_ms, FORECAST_MS), measured)?;
        if matches!(act, Act::Read | Act::Written) {
            let again = self.planned(act, pipeline)?;
            holds(again["is_assumed"] == false && again["rows"] == done, format!("{done} rows are known: {again}"))?;
        }
        Ok(Cost { act, of: of.to_owned(), rows, requests: count, forecast: told, limits_ms, cpu_ms })
    }

    /// What `affluent plan` forecasts for the side of a pipeline that is measured.
    fn planned(&self, act: Act, pipeline: &str) -> Result<Value, Failed> {
        let mut plans = told(self.account, &self.project, &["plan", pipeline])?;
        let side = if act == Act::Read { "/0/reads/0/forecast" } else { "/0/writes" };
        Ok(plans.pointer_mut(side).map(Value::take).unwrap_or_default())
    }

    /// The requests since they were asked for last; most stand-ins leave out what their `base_url` begins with.
    fn requests(&self) -> Result<Vec<String>, Failed> {
        let log = self.judge.get("/__judge/log")?.as_array().cloned().unwrap_or_default();
        let key = |entry: &Value| {
            let (method, path) = entry["key"].as_str().and_then(|key| key.split_once(' ')).unwrap_or_default();
            let before = if path.starts_with(self.account.path) { "" } else { self.account.path };
            format!("{method} {before}{path}")
        };
        // What is told to come later comes again: how often depends on what was asked in the minutes before.
        let is_taken = |entry: &&Value| entry["status"] != 429;
        let seen = log.iter().skip(self.counted.replace(log.len())).filter(is_taken).map(key);
        let answered = std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(seen.chain(answered).collect())
    }
}

fn with_records(body: &str, record: &str, numbers: impl Iterator<Item = u64>) -> String {
    let at = |number: u64| format!("{:02}:{:02}:{:02}", number / 3_600, number / 60 % 60, number % 60);
    let records: Vec<String> =
        numbers.map(|number| record.replace('#', &number.to_string()).replace("HH:MM:SS", &at(number))).collect();
    body.replace('$', &records.join(","))
}

/// What is found of the people whom a request names.
fn told_of(found: &Found, asked: &str, body: &str) -> String {
    let text = format!("{asked}{body}").replace("%40", "@");
    let number = |rest: &str| rest.split_once("@people.example").and_then(|(number, _)| number.parse().ok());
    let numbers: BTreeSet<u64> = text.split("person").skip(1).filter_map(number).collect();
    with_records(found.body, found.record, numbers.into_iter())
}

/// How many requests there are of each kind: what they ask for, without numbers and parameters.
fn kinds(requests: &[String]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for request in requests {
        let path = request.split('?').next().unwrap_or_default();
        let kind: String = path.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// No request had another form than the service's; what is asked for and not there is no fault.
fn refuses_nothing(judge: &Judge) -> Result<(), Failed> {
    let log = judge.get("/__judge/log")?;
    let is_refused = |entry: &&Value| matches!(entry["status"].as_u64(), Some(400..=403 | 405..=428));
    let refused: Vec<String> =
        log.as_array().into_iter().flatten().filter(is_refused).map(|entry| entry["key"].to_string()).collect();
    holds(refused.is_empty(), format!("refused for shape: {}", refused.join(", ")))
}

/// The time in which a limit lets these requests go; 0 for limits that count points.
fn limit_ms(limit: &Value, requests: &[String]) -> u64 {
    let prefix = limit["matches"].as_str().unwrap_or_default();
    let (a_window, per_ms) = (limit["requests"].as_u64().unwrap_or(1).max(1), limit["per_ms"].as_u64().unwrap_or(0));
    if !limit["cost"].is_null() {
        return 0;
    }
    let counted = requests.iter().filter(|request| request.starts_with(prefix)).count() as u64;
    counted.saturating_sub(limit["burst"].as_u64().unwrap_or(a_window)).saturating_mul(per_ms) / a_window
}
