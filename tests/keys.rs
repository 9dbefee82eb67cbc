//! Keys: missing, wrong or readable by others, the run stops with the documented error and writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};

use crate::support::{Project, files_below, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("keys: a missing key file stops the run and nothing is written", missing_key),
        rule("keys: a wrong key stops the run and nothing is written", wrong_key),
        rule("keys: a key file that others can read stops the run", readable_key),
        rule("keys: a corrupted key line is named without its content", corrupted_key),
        rule("keys: no new key is made for data that another key sealed", no_new_key),
    ]
}

/// A project that ran once, small.
fn sealed_project() -> Result<Project, Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: keys\n");
    project.write("people.csv", "id,email\n1,ann@x.test\n2,bob@x.test\n");
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n");
    project.write("pipelines/people.yaml", PIPELINE);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

const PIPELINE: &str = "version: 1
pipeline: people
source:
  connection:
    plugin: csv
    files: { read: [people.csv] }
    config: { streams: { people: { files: people.csv, primary_key: [id] } } }
  streams: { people: { sync: full_refresh } }
destination:
  profiles:
    people: { subject: id, identifiers: { email: email } }
";

fn key_file(project: &Project) -> PathBuf {
    project.path().join(".affluent/keys/keyring")
}

/// Everything below the data folder but the keys, byte for byte.
fn state(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(&project.path().join(".affluent"));
    files
        .into_iter()
        .filter(|path| !path.ends_with("keyring"))
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect()
}

fn refused(project: &Project, code: &str) -> Result<(), Failed> {
    let before = state(project);
    project.affluent(&["run", "--quiet"]).expect(78)?.says(code)?;
    same("files after the refused run", state(project) == before, true)
}

fn missing_key() -> Result<(), Failed> {
    let project = sealed_project()?;
    fs::remove_file(key_file(&project))?;
    refused(&project, "E0600")
}

fn wrong_key() -> Result<(), Failed> {
    let (project, other) = (sealed_project()?, sealed_project()?);
    fs::copy(key_file(&other), key_file(&project))?;
    refused(&project, "E0603")
}

fn readable_key() -> Result<(), Failed> {
    let project = sealed_project()?;
    fs::set_permissions(key_file(&project), fs::Permissions::from_mode(0o644))?;
    refused(&project, "E0601")
}

fn corrupted_key() -> Result<(), Failed> {
    let project = sealed_project()?;
    let line = fs::read_to_string(key_file(&project))?;
    fs::write(key_file(&project), &line[..line.len() / 2])?;
    refused(&project, "E0602")
}

fn no_new_key() -> Result<(), Failed> {
    let project = sealed_project()?;
    fs::remove_file(key_file(&project))?;
    project.affluent(&["keys", "init"]).expect(78)?.says("E0613")?;
    same("a key file", key_file(&project).exists(), false)
}
