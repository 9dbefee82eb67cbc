//! Rules of identity that compare attributes, in projects: on sealed values, through ledger and vault, with the groups that
//! `affluent resolve` makes of the same records in the clear.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, files_below, holds, root, rule, same, shared};

pub(crate) fn trials() -> Vec<Trial> {
    let data = shared().map(|folder| folder.join("data/identity"));
    let absent = data.is_none();
    let with_data = move |name: &str, check: fn(&Path) -> Result<(), Failed>| {
        let data = data.clone().unwrap_or_default();
        rule(name, move || check(&data)).with_ignored_flag(absent)
    };
    let data_again = shared().map(|folder| folder.join("data/identity"));
    let is_asked = std::env::var("AFFLUENT_SHUFFLES").is_ok_and(|sets| sets == "all");
    let large = LARGE_SETS.into_iter().map(move |set| {
        let data = data_again.clone().unwrap_or_default();
        rule(&format!("sealed rules: five batches of {set} are grouped as in a file"), move || whole_as_in_a_file(&data, set))
            .with_ignored_flag(absent || !is_asked)
    });
    let mut trials = vec![
        rule("sealed rules: customers are grouped as in a file, at once and in five batches", customers_as_in_a_file),
        rule("sealed rules: a name that changes splits and joins again", a_changed_name_splits),
        rule("sealed rules: values are opened for matching alone, counted and never stored", values_are_opened_and_counted),
        rule("sealed rules: an erased person says nothing and stops nobody", an_erased_person_says_nothing),
        rule("sealed rules: a diff tells what the next run does, and does nothing", a_diff_tells_what_the_next_run_does),
        rule("sealed rules: a raised fan-out joins who was held apart by the lower one", a_raised_fanout_joins),
        rule("sealed rules: a record of nobody is no profile, whatever the rules", a_record_of_nobody),
        rule("sealed rules: an attribute that no stream gives is a mistake", an_attribute_nobody_gives),
        with_data("sealed rules: persons of a register are grouped as in a file", register_as_in_a_file),
    ];
    trials.extend(large);
    trials
}

/// Sets that are read whole, in five runs one after the other, only when `AFFLUENT_SHUFFLES=all` asks for it.
const LARGE_SETS: [&str; 3] = ["dataset3.csv", "fake_1000.csv", "ppcdp/records.csv"];

fn whole_as_in_a_file(data: &Path, set: &str) -> Result<(), Failed> {
    let text = fs::read_to_string(data.join(set))?;
    match set {
        "dataset3.csv" => as_in_a_file(&shipped("people.yaml"), &text.replace(", ", ","), ("rec_id", &PERSON_FIELDS, &[]), 0),
        "fake_1000.csv" => as_in_a_file(&shipped("contacts.yaml"), &text, ("unique_id", &CONTACTS, &[]), 0),
        _ => as_in_a_file(&shipped("customers.yaml"), &text, ("record_id", &CUSTOMERS, &CUSTOMER_KINDS), 8),
    }
}

const CONTACTS: [(&str, &str); 5] =
    [("first_name", "name"), ("surname", "name"), ("dob", "birth_date"), ("city", "address"), ("email", "email")];

const PERSON_FIELDS: [(&str, &str); 10] = [
    ("given_name", "name"),
    ("surname", "name"),
    ("street_number", "address"),
    ("address_1", "address"),
    ("address_2", "address"),
    ("suburb", "address"),
    ("postcode", "address"),
    ("state", "address"),
    ("date_of_birth", "birth_date"),
    ("soc_sec_id", "online_id"),
];

fn shipped(name: &str) -> PathBuf {
    root().join("pipelines/identity-rules").join(name)
}

/// A project that reads `batch-*.csv` and puts the ids of each profile into a file. `columns` are the personal ones with
/// their class, `identifiers` the kinds among them.
fn project(rules: &Path, id: &str, columns: &[(&str, &str)], identifiers: &[&str]) -> Result<Project, Failed> {
    let project = Project::new();
    let list = |lines: Vec<String>| lines.join(", ");
    let plain = |name: &&str| format!("{name}: {{ type: text }}");
    let typed = columns.iter().map(|(name, class)| match *class {
        "" => format!("{name}: {{ type: text }}"),
        class => format!("{name}: {{ type: text, pii: {class} }}"),
    });
    let typed = list(typed.chain(std::iter::once(plain(&id))).collect());
    let same_name = |name: &&str| format!("{name}: {name}");
    let attributes = columns.iter().map(|(name, _)| *name).filter(|name| !identifiers.contains(name));
    let attributes = list(attributes.map(|name| same_name(&name)).collect());
    let identifiers = list(identifiers.iter().map(same_name).collect());
    let identifiers = if identifiers.is_empty() { String::new() } else { format!("\n      identifiers: {{ {identifiers} }}") };
    project.write("affluent.yaml", "version: 1\nproject: sealed\n");
    fs::create_dir_all(project.path().join("profiles"))?;
    fs::copy(rules, project.path().join("profiles/identity.yaml"))?;
    project.write(
        "profiles/traits.yaml",
        &format!("version: 1\ntraits:\n  members: {{ from: records, sql: \"string_agg({id}, ' ')\" }}\n"),
    );
    project.write(
        "pipelines/in.yaml",
        &format!(
            "version: 1
pipeline: in
source:
  connection:
    plugin: csv
    files: {{ read: [\"batch-*.csv\"] }}
    config: {{ streams: {{ records: {{ files: \"batch-*.csv\", primary_key: [{id}], cursor_field: {id}, columns: {{ {typed} }} }} }} }}
  streams: {{ records: {{ sync: incremental }} }}
destination:
  profiles:
    records:
      subject: {id}{identifiers}
      attributes: {{ {attributes} }}
"
        ),
    );
    project.write(
        "pipelines/out.yaml",
        "version: 1
pipeline: out
schedule: { after: [in] }
source: { profiles: {} }
destination:
  connection: { plugin: jsonl, files: { write: [out] }, config: { path: \"out/profiles-{batch}.jsonl\" } }
  object: file
  match: { members: members }
  mode: upsert
  map: { ids: members }
",
    );
    Ok(project)
}

const CUSTOMERS: [(&str, &str); 9] = [
    ("email", "email"),
    ("phone", "phone"),
    ("first_name", "name"),
    ("last_name", "name"),
    ("date_of_birth", "birth_date"),
    ("address", "address"),
    ("postcode", "address"),
    ("device_id", "online_id"),
    ("user_id", ""),
];
const CUSTOMER_KINDS: [&str; 4] = ["user_id", "email", "phone", "device_id"];

type Partition = Vec<Vec<String>>;

fn sorted(groups: impl Iterator<Item = Vec<String>>) -> Partition {
    let mut groups: Partition = groups.collect();
    groups.iter_mut().for_each(|ids| ids.sort());
    groups.sort();
    groups
}

/// The groups of the profiles that the last run sent.
fn sent(project: &Project) -> Partition {
    let rows = project.lines_below("out").into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let members = rows.filter_map(|row| Some(row["members"].as_str()?.split(' ').map(str::to_owned).collect()));
    sorted(members)
}

/// Runs on these batches, one run each, and tells the groups at the end.
fn run(project: &Project, header: &str, batches: &[&[&str]]) -> Result<Partition, Failed> {
    for (at, rows) in batches.iter().enumerate() {
        let _ = fs::remove_dir_all(project.path().join("out"));
        project.write(&format!("batch-{at}.csv"), &format!("{header}\n{}\n", rows.join("\n")));
        project.affluent(&["run", "in", "--quiet"]).expect(0)?;
    }
    project.affluent(&["run", "out", "--quiet"]).expect(0)?;
    Ok(sent(project))
}

/// The groups that `affluent resolve` makes of the rows.
fn resolved(rules: &Path, header: &str, rows: &[&str]) -> Result<Partition, Failed> {
    let project = Project::new();
    project.write("records.csv", &format!("{header}\n{}\n", rows.join("\n")));
    let path = |name: &str| project.path().join(name).display().to_string();
    let rules = rules.display().to_string();
    project.affluent(&["resolve", "--rules", &rules, "--in", &path("records.csv"), "--out", &path("groups.csv")]).expect(0)?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in project.read("groups.csv").lines().skip(1) {
        let (id, group) = line.split_once(',').ok_or("a row has two columns")?;
        groups.entry(group.to_owned()).or_default().push(id.to_owned());
    }
    Ok(sorted(groups.into_values()))
}

/// Compares projects with the same keys that read the rows at once, in two and in five batches; and them with the file form, whose
/// keys are others. What was seen at one time is ordered by keyed values: where two records have equal claims, so that one of them must
/// give way to a limit, another key may decide for another, in so many groups at most.
fn as_in_a_file(
    rules: &Path,
    text: &str,
    (id, columns, identifiers): (&str, &[(&str, &str)], &[&str]),
    by_key_max: usize,
) -> Result<(), Failed> {
    let (header, rows) = text.split_once('\n').unwrap_or_default();
    let rows: Vec<&str> = rows.lines().collect();
    let expected = resolved(rules, header, &rows)?;
    holds(expected.len() < rows.len(), "the rules join nobody")?;
    let empty = project(rules, id, columns, identifiers)?;
    empty.write("batch-0.csv", &format!("{header}\n"));
    empty.affluent(&["run", "in", "--quiet"]).expect(0)?;
    let mut found = Vec::new();
    for batches in [1, 2, 5] {
        let project = empty.twin();
        for (at, batch) in rows.chunks(rows.len().div_ceil(batches)).enumerate() {
            project.write(&format!("batch-{}.csv", at + 1), &format!("{header}\n{}\n", batch.join("\n")));
            project.affluent(&["run", "in", "--quiet"]).expect(0)?;
        }
        project.affluent(&["run", "out", "--quiet"]).expect(0)?;
        found.push((batches, sent(&project)));
    }
    let known: BTreeSet<&Vec<String>> = expected.iter().collect();
    for (batches, groups) in &found {
        let unlike =
            |other: &BTreeSet<&Vec<String>>| groups.iter().filter(|group| !other.contains(group)).cloned().collect::<Vec<_>>();
        same(&format!("groups in {batches} batches that are none at once"), unlike(&found[0].1.iter().collect()), Vec::new())?;
        let others = unlike(&known);
        let is_same = groups.len() == found[0].1.len() && others.len() <= by_key_max;
        holds(is_same, format!("{batches} batches: {} groups are none of the file's: {:?}", others.len(), others.first()))?;
    }
    Ok(())
}

fn customers_as_in_a_file() -> Result<(), Failed> {
    let text = fs::read_to_string(shipped("customers.csv"))?;
    as_in_a_file(&shipped("customers.yaml"), &text, ("record_id", &CUSTOMERS, &CUSTOMER_KINDS), 0)
}

fn register_as_in_a_file(data: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(data.join("dataset1.csv"))?.replace(", ", ",");
    let (header, rows) = text.split_once('\n').unwrap_or_default();
    // The id carries the person: `rec-12-dup-0`.
    let person = |row: &&str| row.split('-').nth(1).and_then(|number| number.split(',').next()?.parse::<u32>().ok());
    let rows: Vec<&str> = rows.lines().filter(|row| person(row).is_some_and(|person| person < 60)).collect();
    as_in_a_file(&shipped("people.yaml"), &format!("{header}\n{}", rows.join("\n")), ("rec_id", &PERSON_FIELDS, &[]), 0)
}

const HEADER: &str = "id,email,first_name,last_name,born_on";
const RULES: &str = "version: 1
identifiers: { email: {} }
attributes:
  first_name: { is: given_name }
  last_name: { is: family_name }
  born_on: { is: date }
rules:
  - { name: email of one name, all: [email], compare: { names: agree } }
  - { name: namesake of one day, compare: { names: same, born_on: exact } }
veto: { contradicting: [names] }
";

fn family() -> Result<Project, Failed> {
    let rules = Project::new();
    rules.write("rules.yaml", RULES);
    let columns = [("email", "email"), ("first_name", "name"), ("last_name", "name"), ("born_on", "birth_date")];
    project(&rules.path().join("rules.yaml"), "id", &columns, &["email"])
}

fn a_changed_name_splits() -> Result<(), Failed> {
    let project = family()?;
    let mut round = 0;
    let mut profiles = |rows: &[&str]| -> Result<u64, Failed> {
        project.write(&format!("batch-{round}.csv"), &format!("{HEADER}\n{}\n", rows.join("\n")));
        round += 1;
        let (ended, reports) = project.json(&["run", "in"]);
        ended.expect(0)?;
        Ok(reports[0]["profiles"]["profiles"].as_u64().unwrap_or(0))
    };
    same("one e-mail address, one name", profiles(&["1,lee@x.test,Ann,Lee,", "2,lee@x.test,A.,Lee,", "3,x@x.test,Cy,Orr,"])?, 2)?;
    same("another name, nothing else", profiles(&["2,lee@x.test,Bob,Lee,"])?, 3)?;
    same("the name of before", profiles(&["2,lee@x.test,Anne,Lee,"])?, 2)
}

const PEOPLE: [&str; 4] = [
    "1,ann@x.test,Zephyrine,Quillonmark,1980-02-03",
    "2,lee@y.test,Zephyrine,Quillonmark,1980-02-03",
    "3,,Bo,Orr,1991-07-08",
    "4,ann@x.test,Bartholo,Quillonmark,",
];

fn values_are_opened_and_counted() -> Result<(), Failed> {
    let project = family()?;
    let groups = run(&project, HEADER, &[&PEOPLE])?;
    same("groups", groups, vec![vec!["1".to_owned(), "2".to_owned()], vec!["3".to_owned()], vec!["4".to_owned()]])?;
    let (ended, why) = project.json(&["profile", "why", "in.source/1", "in.source/2"]);
    ended.expect(0)?;
    let step = &why["steps"][0];
    same("rule", step["rule"].as_str(), Some("namesake of one day"))?;
    same("identifier", step["identifier"].as_str(), Some(""))?;
    same("compared", step["compared"].to_string(), r#"["names same","born_on exact"]"#.to_owned())?;
    let mut is_counted = false;
    for file in files_below(&project.path().join(".affluent")) {
        let bytes = fs::read(&file)?;
        let holds_text = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        is_counted |= holds_text("matching: 11 values opened to compare first_name, last_name, born_on of 4 records");
        for marker in ["Zephyrine", "zephyrine", "Quillonmark", "quillonmark", "19800203"] {
            holds(!holds_text(marker), format!("`{marker}` stands in clear in {}", file.display()))?;
        }
    }
    holds(is_counted, "the audit does not tell how many values were opened")
}

fn an_erased_person_says_nothing() -> Result<(), Failed> {
    let project = family()?;
    run(&project, HEADER, &[&PEOPLE])?;
    project.affluent(&["profile", "erase", "in.source/1", "--yes", "--quiet"]).expect(0)?;
    project.write("batch-1.csv", &format!("{HEADER}\n5,,Zephyrine,Quillonmark,1980-02-03\n"));
    let (ended, reports) = project.json(&["run", "in"]);
    ended.expect(0)?;
    same("profiles", reports[0]["profiles"]["profiles"].as_u64(), Some(3))
}

fn a_record_of_nobody() -> Result<(), Failed> {
    let project = family()?;
    let pipeline = project.read("pipelines/in.yaml").replace("subject: id\n", "subject: owner\n");
    project.write("pipelines/in.yaml", &pipeline);
    project.write("batch-0.csv", &format!("{HEADER},owner\n1,ann@x.test,Ann,Lee,,a\n2,,Bo,Orr,,\n"));
    let profiles = || {
        let (_, reports) = project.json(&["run", "in"]);
        reports[0]["profiles"]["profiles"].as_u64()
    };
    same("at first", profiles(), Some(1))?;
    let (ended, diff) = project.json(&["profile", "diff"]);
    ended.expect(0)?;
    same("by the same rules", diff["profiles_after"].as_u64(), Some(1))?;
    project.write("profiles/identity.yaml", OTHER_RULES);
    same("by other rules", profiles(), Some(1))
}

const OTHER_RULES: &str = "version: 1
identifiers: { email: {} }
rules:
  - { name: same email, all: [email] }
";

fn a_diff_tells_what_the_next_run_does() -> Result<(), Failed> {
    let project = family()?;
    // The first record is the oldest: its profile keeps its id.
    run(&project, HEADER, &[&PEOPLE[..1], &PEOPLE[1..]])?;
    let diff = |arguments: &[&str]| -> Result<Value, Failed> {
        let (ended, diff) = project.json(arguments);
        ended.expect(0)?;
        Ok(diff)
    };
    same("changes by the same rules", diff(&["profile", "diff"])?["changes"].to_string().as_str(), "[]")?;
    project.write("other.yaml", OTHER_RULES);
    let other = project.path().join("other.yaml").display().to_string();
    let by_file = diff(&["profile", "diff", "--rules", &other])?;
    project.write("profiles/identity.yaml", OTHER_RULES);
    let told = diff(&["profile", "diff"])?;
    same("by a file and by the project", by_file, told.clone())?;
    let changes: Vec<&str> = told["changes"].as_array().into_iter().flatten().filter_map(|one| one["change"].as_str()).collect();
    same("changes", changes, vec!["merge", "split"])?;
    same("because", told["changes"][0]["because"][0].as_str(), Some("`same email` joins"))?;
    same("profiles before", told["profiles_before"].as_u64(), Some(3))?;
    let ended = project.affluent(&["profile", "diff"]).expect(0)?;
    holds(ended.stdout.contains("takes in"), ended.stdout)?;
    let (ended, reports) = project.json(&["run", "in"]);
    ended.expect(0)?;
    let done = &reports[0]["profiles"];
    for count in ["created", "merged", "split", "links_refused", "identifiers_blocked"] {
        same(count, done[count].as_u64(), told[count].as_u64())?;
    }
    same("profiles after", done["profiles"].as_u64(), told["profiles_after"].as_u64())?;
    same("changes once they are applied", diff(&["profile", "diff"])?["changes"].to_string().as_str(), "[]")?;
    Ok(())
}

fn a_raised_fanout_joins() -> Result<(), Failed> {
    let project = family()?;
    let file = "profiles/identity.yaml";
    project.write(file, &OTHER_RULES.replace("email: {}", "email: { max_fanout: 2 }"));
    let rows = ["1,lee@x.test,Ann,Lee,", "2,lee@x.test,Ann,Lee,", "3,lee@x.test,Ann,Lee,"];
    same("groups of a blocked address", run(&project, HEADER, &[&rows])?.len(), 3)?;
    project.write(file, OTHER_RULES);
    let (ended, reports) = project.json(&["run", "in"]);
    ended.expect(0)?;
    same("profiles", reports[0]["profiles"]["profiles"].as_u64(), Some(1))?;
    project.write(file, &OTHER_RULES.replace("email: {}", "email: { max_fanout: 2 }"));
    let (ended, reports) = project.json(&["run", "in"]);
    ended.expect(0)?;
    same("profiles again", reports[0]["profiles"]["profiles"].as_u64(), Some(3))?;
    same("blocked again", reports[0]["profiles"]["identifiers_blocked"].as_u64(), Some(1))
}

fn an_attribute_nobody_gives() -> Result<(), Failed> {
    let project = family()?;
    let file = "profiles/identity.yaml";
    project.write(file, &project.read(file).replace("born_on: { is: date }", "born_on: { is: date }\n  city: { is: text }"));
    project.affluent(&["validate"]).expect(2)?.says("identity.yaml:7:3")?.says("no pipeline maps the attribute `city`")?;
    Ok(())
}
