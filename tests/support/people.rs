//! People on their way to and from a connector: values that an escaping can go wrong with, pipelines, and what a recording shows of
//! what the plugin saw.

use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use super::{Ended, Project, files_below, holds, same};

/// Values that an escaping can go wrong with, also where JSON stands in JSON.
pub(crate) const AWKWARD: [&str; 4] = ["O'Neil \"Bob\" \\ back", "Zoë\nsecond line", "</script>&amp; 名前", "100%40 +a=b&c;d"];

/// The name of the person at a place.
pub(crate) fn awkward(place: usize) -> &'static str {
    AWKWARD[place % AWKWARD.len()]
}

/// The address of the person at a place, as it is written in a file; services have it in lower case.
pub(crate) fn address(place: usize) -> String {
    format!("Per.Son+{place}@people.example")
}

/// A pipeline of people with `email` and `name` from a file; `sends`: connection, object, match and map of the destination.
pub(crate) fn people_pipeline(sends: &str) -> String {
    format!(
        "version: 1
pipeline: people
source:
  connection: {{ plugin: jsonl, files: {{ read: [\"in/*.jsonl\"] }}, config: {{ streams: {{ people: {{ files: \"in/*.jsonl\" }} }} }} }}
  streams: {{ people: {{ sync: full_refresh, pii: {{ email: email, name: name }} }} }}
destination:
  {sends}
  mode: upsert
  grants: [email, name]
"
    )
}

/// A project that sends these people to a connection, by name and text.
pub(crate) fn people_to((name, connection): (&str, &str), people: &[Value], sends: &str) -> Project {
    let project = Project::new();
    let lines: String = people.iter().map(|person| format!("{person}\n")).collect();
    project
        .write("affluent.yaml", "version: 1\nproject: blind\n")
        .write(&format!("connections/{name}.yaml"), connection)
        .write("in/people.jsonl", &lines)
        .write("pipelines/people.yaml", &people_pipeline(sends));
    project
}

const RUN: [&str; 4] = ["run", "--output", "json", "--quiet"];

/// Runs and records: one row is refused, and the plugin saw none of these values, nor of those of the people here, but tokens
/// where one begins so. Gives the reports.
pub(crate) fn recorded(
    project: &Project,
    command: impl Fn(&[&str]) -> Command,
    token: &str,
    values: &[&str],
) -> Result<Value, Failed> {
    let ended = Ended::of(command(&[&RUN[..], &["--record", "recording"]].concat()).output()?);
    let reports: Value = serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr.clone())?;
    holds(reports.to_string().contains("\"rejected\":1"), format!("one row is refused: {reports}"))?;
    let recording = files_below(&project.path().join("recording"));
    let seen: String = recording.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    holds(!seen.is_empty(), ended.stderr)?;
    holds(seen.contains(token), "the plugin did not send tokens")?;
    for value in ["people.example", "O'Neil", "second line"].iter().chain(values) {
        holds(!seen.contains(value), format!("the plugin saw `{value}`"))?;
    }
    Ok(reports)
}

/// The recording tells the same again, without the account.
pub(crate) fn replayed(command: impl Fn(&[&str]) -> Command, reports: &Value) -> Result<(), Failed> {
    let ended = Ended::of(command(&[&RUN[..], &["--replay", "recording"]].concat()).output()?);
    let replayed: Value = serde_json::from_str(&ended.stdout).map_err(|_| ended.stderr.clone())?;
    holds(!ended.stderr.contains("E0924"), ended.stderr)?;
    same("streams without the account", &replayed[0]["streams"], &reports[0]["streams"])
}

/// A project that reads a stream of the connection `crm` into files, one for each run: its id and these fields, which the stream has
/// in lower case.
pub(crate) fn out_of_crm(connection: &str, stream: &str, fields: &[&str], grants: &str) -> Project {
    let map: Vec<String> = fields.iter().map(|field| format!("{field}: {}", field.to_lowercase())).collect();
    let map = map.join(", ");
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: crm\n").write("connections/crm.yaml", connection).write(
        "pipelines/contacts_out.yaml",
        &format!(
            "version: 1
pipeline: contacts_out
source: {{ connection: crm, streams: {{ {stream}: {{ sync: incremental }} }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [out] }}, config: {{ path: \"out/{{run}}.jsonl\" }} }}
  object: file
  mode: append
  map: {{ id: id, {map} }}
  grants: [{grants}]
"
        ),
    );
    project
}
