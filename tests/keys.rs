//! Keys: missing, wrong or readable by others, the run stops with the documented error and writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};

use crate::support::{Ended, Project, files_below, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("keys: a missing key file stops the run and nothing is written", missing_key),
        rule("keys: a key that is missing before anything is sealed is made, not given back", key_before_data),
        rule("keys: a project takes its key from the environment", key_of_environment),
        rule("keys: a variable that is missing, wrong or damaged is named and nothing is written", mistaken_variable),
        rule("keys: a wrong key stops the run and nothing is written", wrong_key),
        rule("keys: a key file that others can read stops the run", readable_key),
        rule("keys: a corrupted key line is named without its content", corrupted_key),
        rule("keys: no new key is made for data that another key sealed", no_new_key),
    ]
}

/// A project that ran once, small.
fn sealed_project() -> Result<Project, Failed> {
    let project = unsealed_project("version: 1\nproject: keys\n");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

/// The same before its first run.
fn unsealed_project(affluent_yaml: &str) -> Project {
    let project = Project::new();
    project.write("affluent.yaml", affluent_yaml);
    project.write("people.csv", "id,email\n1,ann@x.test\n2,bob@x.test\n");
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n");
    project.write("pipelines/people.yaml", PIPELINE);
    project
}

/// A project that takes its key from `AFFLUENT_KEK_7`.
const OF_ENVIRONMENT: &str = "version: 1\nproject: keys\nkeys: { env: \"7\" }\n";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8=";

/// Runs a command with these variables.
fn with(project: &Project, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Ended, Failed> {
    let mut command = project.command(arguments);
    command.envs(variables.iter().copied());
    Ok(Ended::of(command.output()?))
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

/// The run before may have left the ledger's log beside it, which whoever opens the ledger takes in: the first refused run does.
fn refused(project: &Project, code: &str) -> Result<(), Failed> {
    let run = || project.affluent(&["run", "--quiet"]).expect(78)?.says(code);
    run()?;
    let before = state(project);
    run()?;
    same("files that the refused run changed", changed(&before, &state(project)), vec![])
}

/// Files that are not in both states with the same bytes.
fn changed<'a>(before: &'a BTreeMap<PathBuf, Vec<u8>>, after: &'a BTreeMap<PathBuf, Vec<u8>>) -> Vec<&'a PathBuf> {
    let either = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    either.filter(|path| before.get(*path) != after.get(*path)).collect()
}

fn missing_key() -> Result<(), Failed> {
    let project = sealed_project()?;
    fs::remove_file(key_file(&project))?;
    refused(&project, "E0600")
}

fn key_before_data() -> Result<(), Failed> {
    let project = unsealed_project(OF_ENVIRONMENT);
    let told = project.affluent(&["run", "--quiet"]).expect(78)?.says("`AFFLUENT_KEK_7`")?.says("nothing is sealed yet")?;
    same("a key to give back", told.stderr.contains("give back"), false)?;
    project.write("affluent.yaml", "version: 1\nproject: keys\nkeys: { file: secrets/keyring }\n");
    let told = project.affluent(&["run", "--quiet"]).expect(78)?.says("E0600")?.says("`affluent keys init`")?;
    same("a key to give back", told.stderr.contains("give back"), false)?;

    project.affluent(&["keys", "init"]).expect(0)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    fs::remove_file(project.path().join("secrets/keyring"))?;
    project.affluent(&["run", "--quiet"]).expect(78)?.says("give back the key")?;
    Ok(())
}

fn key_of_environment() -> Result<(), Failed> {
    let project = unsealed_project(OF_ENVIRONMENT);
    project.affluent(&["validate"]).expect(0)?;
    project.affluent(&["keys", "init"]).expect(2)?.says("`openssl rand -base64 32`")?;
    let key = [("AFFLUENT_KEK_7", KEY)];
    with(&project, &key, &["run", "--quiet"])?.expect(0)?;
    same("a key file", key_file(&project).exists(), false)?;
    with(&project, &key, &["run", "--quiet"])?.expect(0)?;

    let shown = with(&project, &key, &["profile", "show", "email:ann@x.test", "--reveal"])?.expect(0)?;
    holds(shown.stdout.contains("ann@x.test"), format!("no address is shown:\n{}", shown.stdout))?;

    project.write("affluent.yaml", "version: 1\nproject: keys\nkeys: { env: KEK }\n");
    project.affluent(&["validate"]).expect(2)?.says("E0154")?.says("AFFLUENT_KEK_1")?;
    Ok(())
}

fn mistaken_variable() -> Result<(), Failed> {
    let project = unsealed_project(OF_ENVIRONMENT);
    with(&project, &[("AFFLUENT_KEK_7", KEY)], &["run", "--quiet"])?.expect(0)?;
    let cases = [
        (vec![], "E0600"),
        (vec![("AFFLUENT_KEK_1", KEY)], "E0600"),
        (vec![("AFFLUENT_KEK_7", OTHER_KEY)], "E0603"),
        (vec![("AFFLUENT_KEK_7", "c2hvcnQ=")], "E0602"),
    ];
    for (variables, code) in cases {
        for command in [&["run", "--quiet"][..], &["profile", "show", "email:ann@x.test"]] {
            let run = || with(&project, &variables, command)?.expect(78);
            run()?;
            let before = state(&project);
            let told = run()?.says(code)?.says("`AFFLUENT_KEK_7`")?;
            holds(!variables.iter().any(|(_, key)| told.stderr.contains(key)), "the key is told")?;
            same("files that the refused command changed", changed(&before, &state(&project)), vec![])?;
        }
    }
    project.write("affluent.yaml", &OF_ENVIRONMENT.replace('7', "8"));
    with(&project, &[("AFFLUENT_KEK_8", KEY)], &["run", "--quiet"])?.expect(78)?.says("E0600")?.says("`AFFLUENT_KEK_7`")?;
    Ok(())
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
