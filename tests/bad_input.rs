//! Bad data: every broken record is kept with its place and reason, the good ones go on, and a mended source is read on.

use libtest_mimic::{Failed, Trial};

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("bad input: broken csv lines go to the dead letters with their line number", broken_csv),
        rule("bad input: broken json lines go to the dead letters with their line number", broken_json),
        rule("bad input: a record without its key goes to the dead letters", missing_key),
        rule("bad input: a value that a transform cannot compute refuses its record alone", not_computed),
        rule("bad input: too many broken records stop the run and a mended file is read", breaker),
        rule("bad input: an export that suddenly is empty holds the run", suddenly_empty),
        rule("bad input: a file that is not there is a clear error", missing_file),
    ]
}

fn project(plugin: &str, file: &str, content: &str) -> Project {
    project_with(plugin, file, content, "")
}

/// The same with lines of its own in the pipeline.
fn project_with(plugin: &str, file: &str, content: &str, lines: &str) -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: bad\n").write(file, content);
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n");
    let columns = "columns: { id: { type: text }, age: { type: integer } }";
    let pipeline = format!(
        "version: 1
pipeline: people
source:
  connection:
    plugin: {plugin}
    files: {{ read: [{file}] }}
    config: {{ streams: {{ people: {{ files: {file}, primary_key: [id], {columns} }} }} }}
  streams: {{ people: {{ sync: full_refresh }} }}
destination:
  profiles:
    people: {{ subject: id, identifiers: {{ email: email }}, attributes: {{ age: age }} }}
errors: {{ on_record: dead_letter, breaker: {{ window: 100, max: 10 }} }}
{lines}"
    );
    project.write("pipelines/people.yaml", &pipeline);
    project
}

/// Kept, refused, and the places of the dead letters.
fn outcome(project: &Project, code: i32) -> Result<(u64, u64, Vec<String>), Failed> {
    let (ended, reports) = project.json(&["run"]);
    ended.expect(code)?;
    let stream = &reports[0]["streams"][0];
    let (_, letters) = project.json(&["dead-letters", "list"]);
    let places = letters.as_array().into_iter().flatten().filter_map(|letter| letter["place"].as_str().map(str::to_owned));
    let mut places: Vec<String> = places.collect();
    places.sort();
    Ok((stream["admitted"].as_u64().unwrap_or(0), stream["rejected"].as_u64().unwrap_or(0), places))
}

fn broken_csv() -> Result<(), Failed> {
    let csv = "id,email,age\n1,ann@x.test,30\n2,bob@x.test\n3,cid@x.test,old\n4,\"dan\"x,5\n5,eve@x.test,41\n";
    let (kept, refused, places) = outcome(&project("csv", "people.csv", csv), 4)?;
    same("kept and refused", (kept, refused), (2, 3))?;
    holds(
        ["line 3", "line 4", "line 5"].iter().all(|line| places.iter().any(|place| place.contains(line))),
        format!("{places:?}"),
    )
}

fn broken_json() -> Result<(), Failed> {
    let json = "{\"id\":\"1\",\"email\":\"a@x.test\",\"age\":3}\n{\"id\":\"2\",\n[1,2]\n{\"id\":\"4\",\"age\":\"x\"}\n{\"id\":\"5\",\"age\":5}\n";
    let (kept, refused, places) = outcome(&project("jsonl", "people.jsonl", json), 4)?;
    same("kept and refused", (kept, refused), (2, 3))?;
    holds(
        ["line 2", "line 3", "line 4"].iter().all(|line| places.iter().any(|place| place.contains(line))),
        format!("{places:?}"),
    )
}

fn missing_key() -> Result<(), Failed> {
    let (kept, refused, _) = outcome(&project("csv", "people.csv", "id,email,age\n1,a@x.test,3\n,b@x.test,4\n"), 4)?;
    same("kept and refused", (kept, refused), (1, 1))
}

fn not_computed() -> Result<(), Failed> {
    let csv = "id,email,age\n1,a@x.test,3\n2,b@x.test,0\n3,c@x.test,6\n";
    let project = project_with("csv", "people.csv", csv, "transforms: [{ map: { stream: people, set: { age: 12 / age } } }]\n");
    let (kept, refused, places) = outcome(&project, 4)?;
    same("kept and refused", (kept, refused), (2, 1))?;
    same("where", places, vec!["row 2 of a page".to_owned()])?;
    let (_, letters) = project.json(&["dead-letters", "list"]);
    same("why", letters[0]["code"].as_str(), Some("expression.not_computed"))
}

fn breaker() -> Result<(), Failed> {
    let broken: String = (0..50).map(|i| format!("{i},x\n")).collect();
    let project = project("csv", "people.csv", &format!("id,email,age\n{broken}"));
    project.affluent(&["run", "--quiet"]).expect(3)?.says("E0803")?;
    let mended: String = (0..50).map(|i| format!("{i},p{i}@x.test,4\n")).collect();
    project.write("people.csv", &format!("id,email,age\n{mended}"));
    let (ended, reports) = project.json(&["run"]);
    ended.expect(0)?;
    same("kept", reports[0]["streams"][0]["admitted"].as_u64(), Some(50))
}

fn suddenly_empty() -> Result<(), Failed> {
    let project = project("csv", "people.csv", "id,email,age\n1,a@x.test,3\n");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    project.write("people.csv", "id,email,age\n");
    project.affluent(&["run", "--quiet"]).expect(5)?.says("E0805")?;
    let (_, status) = project.json(&["status"]);
    same("profiles", status["profiles"].as_u64(), Some(1))
}

fn missing_file() -> Result<(), Failed> {
    let project = project("csv", "people.csv", "id,email,age\n1,a@x.test,3\n");
    std::fs::remove_file(project.path().join("people.csv"))?;
    let ended = project.affluent(&["run", "--quiet"]);
    holds(ended.code == 2 || ended.code == 3, format!("exit code {}", ended.code))?;
    holds(ended.stderr.contains("error["), ended.stderr)
}
