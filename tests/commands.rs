//! The command line: what it prints and how it ends.

use libtest_mimic::{Failed, Trial};

use crate::support::{Project, Serving, holds, root, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("commands: a new project validates and runs", a_new_project_validates_and_runs),
        rule("commands: every example is valid", every_example_is_valid),
        rule("commands: an unknown stream is underlined with a near name", an_unknown_stream_is_underlined),
        rule("commands: explain prints the page of a code", explain_prints_a_page),
        rule("commands: a folder without a project is a usage error", no_project),
        rule("commands: the JSON schemas are up to date", schemas_are_up_to_date),
        rule("commands: serve tells how it is and ends within ten seconds of SIGTERM", serve_drains),
        rule("commands: serve runs a pipeline when its minute comes and then the one that waits for it", serve_keeps_time),
    ]
}

fn a_new_project_validates_and_runs() -> Result<(), Failed> {
    let project = Project::new();
    let folder = project.path().join("people");
    let init = std::process::Command::new(env!("CARGO_BIN_EXE_affluent")).arg("init").arg(&folder).output()?;
    same("exit code of init", init.status.code(), Some(0))?;
    let made = Project::new();
    crate::support::copy(&folder, made.path());
    made.affluent(&["validate"]).expect(0)?;
    let (ended, reports) = made.json(&["run"]);
    ended.expect(0)?;
    same("profiles", reports[0]["profiles"]["profiles"].as_u64(), Some(2))
}

fn every_example_is_valid() -> Result<(), Failed> {
    Project::copy_of("quickstart").affluent(&["validate"]).expect(0)?;
    let shopify = Project::copy_of("shopify-to-klaviyo");
    shopify.affluent(&["validate", "--var", "shop=demo"]).expect(0)?;
    Ok(())
}

fn an_unknown_stream_is_underlined() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let text = project.read("pipelines/newsletter_to_profiles.yaml").replace(" subscribers:", " subscriber:");
    project.write("pipelines/newsletter_to_profiles.yaml", &text);
    let ended = project.affluent(&["validate"]).expect(2)?.says("E0203")?.says("did you mean `subscribers`")?;
    holds(ended.stderr.contains("^^^^"), format!("nothing is underlined:\n{}", ended.stderr))
}

fn explain_prints_a_page() -> Result<(), Failed> {
    let ended = Project::new().affluent(&["explain", "e0203"]).expect(0)?;
    holds(ended.stdout.starts_with("# E0203"), ended.stdout)?;
    Project::new().affluent(&["explain", "E9999"]).expect(2)?.says("E0815")?;
    Ok(())
}

fn no_project() -> Result<(), Failed> {
    Project::new().affluent(&["run"]).expect(2)?.says("E0817")?;
    Ok(())
}

fn schemas_are_up_to_date() -> Result<(), Failed> {
    let folder = root().join("schemas/json").display().to_string();
    Project::new().affluent(&["schema", &folder, "--check"]).expect(0)?;
    Ok(())
}

fn serve_drains() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    project.affluent(&["validate"]).expect(0)?;
    let mut serving = Serving::start(&project, &[])?;
    same("exit code", serving.stop()?, Some(0))
}

fn serve_keeps_time() -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: clock\n").write("people.csv", "id,age\n1,30\n2,41\n");
    let copy = |name: &str, input: &str, plugin: &str, schedule: &str| {
        let text = format!(
            "version: 1
pipeline: {name}
schedule: {{ {schedule} }}
source:
  connection: {{ plugin: {plugin}, files: {{ read: [{input}] }}, config: {{ streams: {{ people: {{ files: {input} }} }} }} }}
  streams: {{ people: {{ sync: full_refresh }} }}
destination:
  connection: {{ plugin: jsonl, files: {{ write: [{name}/*] }}, config: {{ path: {name}/people.jsonl }} }}
  object: file
  mode: append
"
        );
        project.write(&format!("pipelines/{name}.yaml"), &text);
    };
    copy("first", "people.csv", "csv", "cron: \"* * * * *\", timezone: Europe/Paris");
    copy("second", "people.csv", "csv", "after: [first]");
    project.affluent(&["validate"]).expect(0)?;
    let mut serving = Serving::start(&project, &[])?;
    let started = std::time::Instant::now();
    while project.lines_below("second").len() < 2 && started.elapsed().as_secs() < 90 {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    same("exit code", serving.stop()?, Some(0))?;
    same("rows of the first", project.lines_below("first").len(), 2)?;
    same("rows of the second", project.lines_below("second").len(), 2)
}
