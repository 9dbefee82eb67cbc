//! `affluent assess`: what it tells of files and connections, and that what it proposes is a pipeline.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, files_below, holds, root, rule, same, shared};

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
        rule("assess: the forecast takes a mailbox of a function for weak, as a run does", weak_mailboxes_are_foretold),
        rule("assess: json lines are told as records", json_lines_are_told),
        rule("assess: a connection and one of its streams are told, before and after a run", connection_is_told),
        rule("assess: a Parquet file is told with its types", parquet_is_told),
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

/// Who has the mailbox and the number of a known branch is that branch; who has the mailbox alone is not.
fn weak_mailboxes_are_foretold() -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: trial\n");
    project.write(
        "profiles/identity.yaml",
        "version: 1\nidentifiers:\n  email: { presets: [weak_role_mailboxes] }\n  phone: {}\n\
         rules:\n  - { name: both, all: [email, phone] }\n  - { name: email, all: [email] }\n",
    );
    project.write("people.csv", "id,email,phone\n1,info@acme.test,+33612345601\n2,ann@acme.test,+33612345602\n");
    let pipeline = "version: 1\npipeline: people\nsource:\n  connection:\n    plugin: csv\n    files: { read: [\"*.csv\"] }\n    \
                    config: { streams: { people: { files: people.csv, primary_key: [id] }, more: { files: more.csv, primary_key: [id] } } }\n  \
                    streams: { people: { sync: full_refresh }, more: { sync: full_refresh } }\ndestination:\n  profiles:\n    \
                    people: { subject: id, identifiers: { email: email, phone: phone } }\n    \
                    more: { subject: id, identifiers: { email: email, phone: phone } }\n";
    project.write("more.csv", "id,email,phone\n");
    project.write("pipelines/people.yaml", pipeline);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let more = "id,email,phone
m1,info@acme.test,+33612345601
m2,info@acme.test,+33612345699
m3,ann@acme.test,+33612345698
m4,info@acme.test,
m5,eve@acme.test,+33612345697
m6,bob@acme.test,+33612345696
";
    project.write("more.csv", more);

    let (ended, found) = project.json(&["assess", &project.path().join("more.csv").display().to_string()]);
    ended.expect(0)?;

    let matches = &found["streams"][0]["matches"];
    same("joining", matches["joining"].as_u64(), Some(2))?;
    same("profiles that exist", matches["profiles_met"].as_u64(), Some(2))?;
    same("without an identifier", matches["without_identifier"].as_u64(), Some(0))?;
    let (ended, report) = project.json(&["run"]);
    ended.expect(0)?;
    let made = report[0]["profiles"]["created"].as_u64();
    same("the run makes what was foretold", made, matches["profiles_made"].as_u64())
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

fn connection_is_told() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    let (ended, all) = project.json(&["assess", "shop"]);
    ended.expect(0)?;
    let streams = all["streams"].as_array().into_iter().flatten();
    let mut told: Vec<&str> = streams.filter_map(|stream| stream["stream"].as_str()).collect();
    told.sort_unstable();
    same("streams", told, vec!["customers", "orders", "visits"])?;
    holds(!project.path().join(".affluent/ledger.sqlite").exists(), "a look made a store")?;

    let (ended, found) = project.json(&["assess", "shop/customers"]);
    let ended = ended.expect(0)?;
    same("records", found["streams"][0]["records"].as_u64(), Some(5))?;
    same("kind of email", field(&found, "email")["personal"]["kind"].as_str(), Some("email"))?;
    same("type that the source says", field(&found, "is_staff")["type"].as_str(), Some("boolean"))?;
    same("nothing is known yet", found["streams"][0]["matches"].is_null(), true)?;
    holds(!ended.stdout.contains("ann@x.test"), "an address is told")?;
    project.affluent(&["assess", "shop/custmers"]).expect(2)?.says("E0203")?.says("customers, orders, visits")?;

    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (ended, found) = project.json(&["assess", "shop/customers"]);
    ended.expect(0)?;
    let email = found["streams"][0]["identifiers"].as_array().into_iter().flatten().find(|one| one["field"] == "email").cloned();
    same("addresses that are known", email.unwrap_or_default()["known"][0]["share"].as_f64(), Some(1.0))
}

/// The lake's own files are Parquet, written by another library than reads them here.
fn parquet_is_told() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    project.affluent(&["run", "shop_to_profiles", "--quiet"]).expect(0)?;
    let path = project.path().join("visits.parquet").display().to_string();
    let mut found = Value::Null;
    for file in files_below(&project.path().join(".affluent/lake")) {
        fs::copy(file, &path)?;
        found = assess_alone(&[&path])?;
        if !field(&found, "visit_id").is_null() {
            break;
        }
    }
    let records = u64::try_from(project.read("exports/visits.csv").lines().count())? - 1;
    same("records", found["streams"][0]["records"].as_u64(), Some(records))?;
    for (name, kind) in [("visit_id", "text"), ("_at", "timestamp"), ("_seq", "integer"), ("_deleted", "boolean")] {
        same(name, field(&found, name)["type"].as_str(), Some(kind))?;
    }
    let bytes = fs::read(&path)?;
    fs::write(&path, &bytes[..bytes.len() / 2])?;
    project.affluent(&["assess", &path]).expect(2)?.says("E0841")?.says("it is no Parquet file")?;
    Ok(())
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
