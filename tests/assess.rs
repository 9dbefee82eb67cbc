//! `affluent assess`: what it tells of files and connections, and that what it proposes is a pipeline.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, root, rule, same, shared};

pub(crate) fn trials() -> Vec<Trial> {
    let data = shared().map(|folder| folder.join("data"));
    let absent = data.is_none();
    let with_data = move |name: &str, check: fn(&Path) -> Result<(), Failed>| {
        let data = data.clone().unwrap_or_default();
        rule(name, move || check(&data)).with_ignored_flag(absent)
    };
    vec![
        rule("assess: a file is told field by field", file_is_told),
        rule("assess: the proposed pipeline is valid and runs", proposal_runs),
        rule("assess: json lines are told as records", json_lines_are_told),
        rule("assess: what is neither connection nor file is refused", unknown_source_is_refused),
        with_data("assess: classes of personal data of four sets are found", classes_of_known_sets),
    ]
}

fn customers() -> String {
    root().join("pipelines/identity-rules/customers.csv").display().to_string()
}

fn field<'v>(found: &'v Value, name: &str) -> &'v Value {
    let fields = found["streams"][0]["fields"].as_array();
    fields.into_iter().flatten().find(|field| field["name"] == name).unwrap_or(&Value::Null)
}

/// Outside of a project.
fn assess_alone(arguments: &[&str]) -> Result<Value, Failed> {
    let folder = Project::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_affluent"));
    command.arg("assess").args(arguments).args(["--output", "json", "--quiet"]).current_dir(folder.path());
    let ended = crate::support::Ended::of(command.output()?).expect(0)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn file_is_told() -> Result<(), Failed> {
    let found = assess_alone(&[&customers()])?;
    same("kind of email", field(&found, "email")["personal"]["kind"].clone(), "email".into())?;
    same("kind of the birth date", field(&found, "date_of_birth")["personal"]["kind"].clone(), "date_of_birth".into())?;
    same("key", found["streams"][0]["keys"][0]["fields"][0].clone(), "record_id".into())?;
    let text = found.to_string();
    let values = fs::read_to_string(customers())?;
    for line in values.lines().skip(1).take(200) {
        let personal = line.split(',').skip(4).filter(|value| value.len() > 6);
        for value in personal {
            holds(!text.contains(value), format!("`{value}` is told"))?;
        }
    }
    Ok(())
}

fn proposal_runs() -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: trial\n");
    fs::copy(customers(), project.path().join("customers.csv"))?;
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { presets: [junk] }\n");
    let file = project.path().join("customers.csv").display().to_string();
    let proposed = project.path().join("proposed.yaml").display().to_string();
    project.affluent(&["assess", &file, "--propose", &proposed]).expect(0)?;

    let text = project.read("proposed.yaml");
    let (pipeline, identity) = text.split_once("\n# profiles/identity.yaml").ok_or("identifiers that are not known are told")?;
    project.write("pipelines/customers.yaml", pipeline);
    let kinds: String = identity.lines().filter_map(|line| line.strip_prefix("#   ")).map(|line| format!("  {line}\n")).collect();
    project.write("profiles/identity.yaml", &format!("version: 1\nidentifiers:\n  email: {{ presets: [junk] }}\n{kinds}"));
    project.affluent(&["validate"]).expect(0)?;
    project.affluent(&["run"]).expect(0)?;

    let (ended, found) = project.json(&["assess", &file]);
    ended.expect(0)?;
    let known = &found["streams"][0]["identifiers"];
    let email = known.as_array().into_iter().flatten().find(|one| one["field"] == "email").unwrap_or(&Value::Null);
    same("addresses that are known", email["known"][0]["share"].clone(), 1.0.into())?;
    let rate = found["streams"][0]["matches"]["match_rate"].as_f64().unwrap_or(0.0);
    holds(rate > 0.6, format!("records that are known by address or phone join: {rate}"))?;
    let (_, status) = project.json(&["status"]);
    holds(!status.is_null(), "the project is as it was")
}

fn json_lines_are_told() -> Result<(), Failed> {
    let project = Project::new();
    let lines =
        "{\"id\": 1, \"who\": {\"email\": \"ann@x.de\"}}\n{\"id\": 2, \"who\": {\"email\": null}, \"late\": true}\nbroken\n";
    project.write("people.jsonl", lines);
    let found = assess_alone(&[&project.path().join("people.jsonl").display().to_string()])?;
    same("unreadable", found["streams"][0]["rejected"].clone(), 1.into())?;
    same("nulls", field(&found, "who_email")["nulls"].clone(), 1.into())?;
    same("nulls before a field shows", field(&found, "late")["nulls"].clone(), 1.into())
}

fn unknown_source_is_refused() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    project.affluent(&["assess", "cmr"]).expect(2)?.says("E0845")?.says("connections are crm")?;
    Ok(())
}

/// Set, and field → kind; an empty kind is none.
type Expected = (&'static str, &'static [(&'static str, &'static str)]);

fn classes_of_known_sets(data: &Path) -> Result<(), Failed> {
    let sets: [Expected; 4] = [
        (
            "identity/ppcdp/records.csv",
            &[
                ("email", "email"),
                ("phone", "phone"),
                ("first_name", "name"),
                ("last_name", "name"),
                ("date_of_birth", "date_of_birth"),
                ("address", "address"),
                ("postcode", "postcode"),
                ("device_id", "device_id"),
                ("source", ""),
                ("ts", ""),
            ],
        ),
        (
            "identity/dataset3.csv",
            &[("given_name", "name"), ("date_of_birth", "date_of_birth"), ("soc_sec_id", "national_id"), ("state", "")],
        ),
        ("identity/fake_1000.csv", &[("surname", "name"), ("dob", "date_of_birth"), ("email", "email"), ("cluster", "")]),
        ("purchases/cdnow_customers_summary.csv", &[("frequency", ""), ("recency", ""), ("T", "")]),
    ];
    for (set, expected) in sets {
        let found = assess_alone(&[&data.join(set).display().to_string()])?;
        for (name, kind) in expected {
            let told = field(&found, name)["personal"]["kind"].as_str().unwrap_or_default().to_owned();
            same(&format!("{set}, {name}"), told.as_str(), *kind)?;
        }
    }
    Ok(())
}
