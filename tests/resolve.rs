//! `affluent resolve` on the shipped rules: what it prints and how well it groups. The excerpt is shuffled ten times; with
//! `AFFLUENT_SHUFFLES=all` the large sets are too.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, root, rule, same, shared};

pub(crate) fn trials() -> Vec<Trial> {
    let data = shared().map(|folder| folder.join("data/identity"));
    let absent = data.is_none();
    let data_again = data.clone();
    let with_data = move |name: &str, check: fn(&Path) -> Result<(), Failed>| {
        let data = data.clone().unwrap_or_default();
        rule(name, move || check(&data)).with_ignored_flag(absent)
    };
    let large = LARGE_SETS.iter().map(|(set, rules)| {
        let data = data_again.clone().unwrap_or_default();
        let is_asked = std::env::var("AFFLUENT_SHUFFLES").is_ok_and(|sets| sets == "all");
        rule(&format!("resolve: ten shuffles of {set} make no difference"), move || shuffled(&data.join(set), rules))
            .with_ignored_flag(absent || !is_asked)
    });
    let mut trials = vec![
        rule("resolve: the shipped rules group the excerpt", shipped_rules_group_the_excerpt),
        rule("resolve: ten shuffles and any files make no difference", order_and_files_make_no_difference),
        rule("resolve: an id that a spreadsheet would run is written as text", no_formula_is_written),
        rule("resolve: a missing column and a repeated id are told", mistakes_are_told),
        with_data("resolve: persons of a register are found by evidence", persons_of_a_register),
        with_data("resolve: contacts are found by evidence", contacts),
        with_data("resolve: customers of a shop are found by rules", customers),
    ];
    trials.extend(large);
    trials
}

/// Sets that are shuffled only when it is asked for, with the rules for them.
const LARGE_SETS: [(&str, &str); 5] = [
    ("dataset1.csv", "people.yaml"),
    ("dataset2.csv", "people.yaml"),
    ("dataset3.csv", "people.yaml"),
    ("fake_1000.csv", "contacts.yaml"),
    ("ppcdp/records.csv", "customers.yaml"),
];

fn rules(name: &str) -> PathBuf {
    root().join("pipelines/identity-rules").join(name)
}

/// Runs the command on these files and parses what it prints.
fn resolve(project: &Project, rules: &Path, records: &[&Path], more: &[&str]) -> Result<Value, Failed> {
    let rules = rules.display().to_string();
    let files: Vec<String> = records.iter().map(|file| file.display().to_string()).collect();
    let mut arguments = vec!["resolve", "--rules", &rules];
    files.iter().for_each(|file| arguments.extend(["--in", file.as_str()]));
    arguments.extend(more);
    let (ended, value) = project.json(&arguments);
    ended.expect(0)?;
    Ok(value)
}

fn at_least(value: &Value, score: &str, least: f64) -> Result<(), Failed> {
    let found = value["scores"][score].as_f64().unwrap_or(0.0);
    holds(found >= least, format!("{score} is {found}, less than {least}: {}", value["scores"]))
}

fn shipped_rules_group_the_excerpt() -> Result<(), Failed> {
    let project = Project::new();
    let (records, truth) = (rules("customers.csv"), rules("customers-truth.csv"));
    let truth = truth.display().to_string();
    let value = resolve(&project, &rules("customers.yaml"), &[&records], &["--truth", &truth])?;
    at_least(&value, "precision", 0.95)?;
    at_least(&value, "recall", 0.6)
}

const SHUFFLES: u64 = 10;

fn order_and_files_make_no_difference() -> Result<(), Failed> {
    shuffled(&rules("customers.csv"), "customers.yaml")
}

/// The groups of a file in ten other orders, in turn as one file and as five.
fn shuffled(file: &Path, rules: &str) -> Result<(), Failed> {
    let project = Project::new();
    let text = fs::read_to_string(file)?;
    let (header, rows) = text.split_once('\n').unwrap_or_default();
    let mut rows: Vec<&str> = rows.lines().collect();
    let whole = partition(&project, rules, "whole", header, &[&rows])?;
    holds(whole.len() < rows.len(), "nothing was joined")?;
    for round in 1..=SHUFFLES {
        shuffle(&mut rows, round);
        let files = if round % 2 == 0 { 5 } else { 1 };
        let batches: Vec<&[&str]> = rows.chunks(rows.len().div_ceil(files)).collect();
        same(&format!("the groups in order {round}"), partition(&project, rules, "round", header, &batches)? == whole, true)?;
    }
    Ok(())
}

/// Fisher and Yates, by the numbers of xorshift64.
fn shuffle(rows: &mut [&str], round: u64) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(round);
    for end in (1..rows.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        rows.swap(end, usize::try_from(seed % (end as u64 + 1)).unwrap_or(end));
    }
}

/// The groups as sorted lists of ids, sorted.
fn partition(
    project: &Project,
    rules_file: &str,
    name: &str,
    header: &str,
    batches: &[&[&str]],
) -> Result<Vec<Vec<String>>, Failed> {
    let mut files = Vec::new();
    for (at, rows) in batches.iter().enumerate() {
        let file = format!("{name}-{at}.csv");
        project.write(&file, &format!("{header}\n{}\n", rows.join("\n")));
        files.push(project.path().join(file));
    }
    let out = project.path().join(format!("{name}.out"));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    resolve(project, &rules(rules_file), &files, &["--out", &out.display().to_string()])?;
    let written = fs::read_to_string(out)?;
    let mut groups: std::collections::BTreeMap<&str, Vec<String>> = Default::default();
    for line in written.lines().skip(1) {
        let (id, group) = line.split_once(',').ok_or("a row has two columns")?;
        groups.entry(group).or_default().push(id.to_owned());
    }
    let mut groups: Vec<Vec<String>> = groups.into_values().collect();
    groups.iter_mut().for_each(|ids| ids.sort());
    groups.sort();
    Ok(groups)
}

fn no_formula_is_written() -> Result<(), Failed> {
    let project = Project::new();
    project.write("rules.yaml", "version: 1\nidentifiers: { email: {} }\n");
    let ids = ["=1+2", "@SUM(A1)", "+49 30", "-x", "+33612345678", "-7.5", "a=b", "7"];
    let rows: String = ids.iter().map(|id| format!("{id},{}@x.test\n", id.len())).collect();
    project.write("records.csv", &format!("id,email\n{rows}"));
    let path = |name: &str| project.path().join(name);
    let out = path("out.csv").display().to_string();
    resolve(&project, &path("rules.yaml"), &[&path("records.csv")], &["--out", &out])?;
    let written = fs::read_to_string(&out)?;
    let written: Vec<&str> = written.lines().skip(1).filter_map(|line| line.rsplit_once(',')).map(|(id, _)| id).collect();
    same("ids", written, vec!["'=1+2", "'@SUM(A1)", "'+49 30", "'-x", "+33612345678", "-7.5", "a=b", "7"])
}

fn mistakes_are_told() -> Result<(), Failed> {
    let project = Project::new();
    project.write("rules.yaml", "version: 1\nidentifiers: { email: {} }\n");
    project.write("no-email.csv", "id,mail\n1,a@x.de\n").write("twice.csv", "id,email\n1,a@x.de\n1,b@x.de\n");
    let run = |file: &str| {
        let path = |name: &str| project.path().join(name).display().to_string();
        project.affluent(&["resolve", "--rules", &path("rules.yaml"), "--in", &path(file)])
    };
    run("no-email.csv").expect(2)?.says("E0840")?.says("the file has id, mail")?;
    run("twice.csv").expect(2)?.says("E0842")?;
    run("absent.csv").expect(2)?.says("E0841")?;
    Ok(())
}

fn persons_of_a_register(data: &Path) -> Result<(), Failed> {
    for set in ["dataset1.csv", "dataset2.csv", "dataset3.csv"] {
        let project = Project::new();
        let text = fs::read_to_string(data.join(set))?;
        let ids = text.lines().skip(1).filter_map(|line| line.split(',').next());
        // The id carries the person: `rec-12-dup-3`.
        let truth: Vec<String> = ids.filter_map(|id| Some(format!("{id},{}", id.split('-').nth(1)?))).collect();
        project.write("truth.csv", &format!("id,person\n{}\n", truth.join("\n")));
        let truth = project.path().join("truth.csv").display().to_string();
        let value = resolve(&project, &rules("people.yaml"), &[&data.join(set)], &["--truth", &truth])?;
        at_least(&value, "f1", 0.9998)?;
    }
    Ok(())
}

fn contacts(data: &Path) -> Result<(), Failed> {
    let file = data.join("fake_1000.csv");
    let truth = file.display().to_string();
    let value = resolve(&Project::new(), &rules("contacts.yaml"), &[&file], &["--truth", &truth])?;
    at_least(&value, "precision", 0.99)?;
    at_least(&value, "f1", 0.93)
}

fn customers(data: &Path) -> Result<(), Failed> {
    let (records, truth) = (data.join("ppcdp/records.csv"), data.join("ppcdp/truth.csv").display().to_string());
    let value = resolve(&Project::new(), &rules("customers.yaml"), &[&records], &["--truth", &truth])?;
    at_least(&value, "precision", 0.965)?;
    at_least(&value, "f1", 0.85)?;
    holds(value["largest"].as_u64().is_some_and(|largest| largest <= 12), format!("the largest profile is {}", value["largest"]))
}
