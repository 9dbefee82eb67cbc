//! The project of an account: what it reads goes to a file, people of a file are written to it, and the members of a segment are
//! kept on a list there.

use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::accounts::{Account, Reads, Writes};
use super::offers::ROWS;
use crate::support::{Ended, Project, people_pipeline};

/// The people of a file, as many as are wanted.
fn people(rows: u64) -> String {
    let person = |place: u64| json!({ "id": format!("p{place}"), "email": format!("person{place}@people.example"), "name": format!("Person {place}"), "city": "Paris" });
    (0..rows).map(|place| format!("{}\n", person(place))).collect()
}

/// With a pipeline of the name of each stream, and `write`.
pub(super) fn project(account: &Account, port: u16) -> Project {
    let (project, Account { plugin, path, config, .. }) = (Project::new(), account);
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
    for reads in account.reads {
        project.write(&format!("pipelines/{}.yaml", reads.stream), &reading(reads));
    }
    if let Some(writes) = &account.writes {
        project.write("pipelines/write.yaml", &writing(writes)).write("in/people.jsonl", &people(ROWS));
    }
    project
}

fn reading(Reads { stream, column, .. }: &Reads) -> String {
    let grants = if *column == "email" { "\n  grants: [email]" } else { "" };
    format!(
        "version: 1
pipeline: {stream}
source: {{ connection: account, streams: {{ {stream}: {{ sync: full_refresh }} }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [out] }}, config: {{ path: \"out/{{run}}.jsonl\" }} }}
  object: file
  mode: append
  map: {{ {column}: {column} }}{grants}
"
    )
}

fn writing(writes: &Writes) -> String {
    let Writes { object, match_field, email_field, name_field } = writes;
    let key = if email_field.is_some() { "id" } else { "email" };
    let email = email_field.map_or(String::new(), |field| format!(", {field}: email"));
    let sends = format!(
        "connection: account
  object: {object}
  match: {{ {match_field}: {key} }}
  map: {{ {name_field}: name{email} }}"
    );
    people_pipeline(&sends).replace("pipeline: people", "pipeline: write")
}

/// People, a segment with so many of them, and a pipeline that keeps it on a list; its name.
pub(super) fn keep_a_list(project: &Project, writes: &Writes, rows: u64) -> String {
    let Writes { object, match_field, email_field, name_field } = writes;
    let (key, grants) = if email_field.is_some() { ("person", "name") } else { ("email", "email, name") };
    let name = format!("list_{rows}");
    let list = format!(
        "version: 1
pipeline: {name}
source: {{ profiles: {{ segment: everybody }} }}
destination:
  connection: account
  object: {object}
  match: {{ {match_field}: {key} }}
  mode: mirror
  list: {{ name: Everybody }}
  map: {{ {name_field}: name }}
  grants: [{grants}]
  guard: {{ max_remove: 100%, min_rows: 1 }}
"
    );
    let members = "version: 1
pipeline: people
source:
  connection:
    plugin: jsonl
    files: { read: [\"members/*.jsonl\"] }
    config: { streams: { people: { files: \"members/*.jsonl\", primary_key: [id] } } }
  streams: { people: { sync: full_refresh, pii: { email: email, name: name } } }
destination:
  profiles:
    people: { subject: id, identifiers: { person: id, email: email }, attributes: { name: name, city: city } }
";
    let identifiers = "version: 1\nidentifiers: { person: { priority: 1 }, email: { priority: 2 } }\n";
    project
        .write("members/people.jsonl", &people(rows))
        .write("profiles/identity.yaml", identifiers)
        .write("pipelines/people.yaml", members)
        .write(&format!("pipelines/{name}.yaml"), &list);
    name
}

/// Who lives there is on the list; everybody lives in Paris.
pub(super) fn whose_city_is(project: &Project, city: &str) {
    let segment = format!("version: 1\nsegments: {{ everybody: {{ where: \"city = '{city}'\" }} }}\n");
    project.write("profiles/segments.yaml", &segment);
}

fn variable(secret: &str) -> String {
    format!("SECRET_OF_THE_CATALOGUE_{}", secret.to_uppercase())
}

/// The binary on a project, with the account's secrets; its processor time in milliseconds.
pub(super) fn run(account: &Account, project: &Project, arguments: &[&str]) -> Result<(Ended, u64), Failed> {
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

/// What a command prints with `--output json`.
pub(super) fn told(account: &Account, project: &Project, arguments: &[&str]) -> Result<Value, Failed> {
    let (ended, _) = run(account, project, &[arguments, &["--output", "json", "--quiet"]].concat())?;
    Ok(serde_json::from_str(&ended.stdout)?)
}
