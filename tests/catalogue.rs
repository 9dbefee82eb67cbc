//! `plugins/CATALOGUE.md` is what the plugins of the program say of themselves. `AFFLUENT_WRITE_CATALOGUE=1` writes it.

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, root, rule};

pub(crate) fn trials() -> Vec<Trial> {
    vec![rule("catalogue: it says what the plugins of the program say of themselves", is_up_to_date)]
}

const HEAD: &str = "# Catalogue of the plugins in the program

Made by `AFFLUENT_WRITE_CATALOGUE=1 cargo test --test affluent -- catalogue` from the manifests, and checked by that test. What each plugin reads
and writes, how it treats consent and how it erases stands in its README. `affluent plugin inspect NAME` shows all of a manifest, and the size.

| plugin | reads | writes | what | reaches | secrets and scopes | limits it keeps | contract |
|---|---|---|---|---|---|---|---|
";

/// The folders whose plugins are in the program, sorted.
fn embedded() -> Result<Vec<String>, Failed> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("plugins"))? {
        let folder = entry?.path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("embed = true") {
            names.extend(folder.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    value[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The limit in words: `90 in 10 s`, with the requests that it is for.
fn limit(limit: &Value) -> String {
    let seconds = limit["per_ms"].as_u64().unwrap_or(0) / 1_000;
    let unit = if limit["cost"].is_null() { "" } else { " points" };
    let requests = limit["matches"].as_str().map_or(String::new(), |matches| format!(" for `{matches}`"));
    format!("{}{unit} in {seconds} s{requests}", limit["requests"])
}

fn row(name: &str, inspected: &Value) -> String {
    let manifest = &inspected["manifest"];
    let kinds = texts(manifest, "kinds");
    let is = |kind: &str| if kinds.contains(&kind) { "yes" } else { "" };
    let many = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
    let hosts: Vec<String> = many("hosts").iter().filter_map(|host| Some(format!("`{}`", host["pattern"].as_str()?))).collect();
    let hosts = if manifest["files"] == true { "files".to_owned() } else { hosts.join(", ") };
    let secrets: Vec<String> = many("secrets")
        .iter()
        .map(|secret| format!("`{}`: {}", secret["name"].as_str().unwrap_or_default(), texts(secret, "scopes").join(", ")))
        .collect();
    let limits: Vec<String> = many("rate_limits").iter().map(limit).collect();
    let folder = if root().join("plugins").join(name).join("README.md").is_file() {
        format!("[{name}]({name}/README.md)")
    } else {
        name.to_owned()
    };
    format!(
        "| {folder} | {} | {} | {} | {hosts} | {} | {} | {} |\n",
        is("source"),
        is("destination"),
        manifest["description"].as_str().unwrap_or_default(),
        secrets.join("; "),
        limits.join("; "),
        inspected["contract"].as_str().unwrap_or_default(),
    )
}

fn is_up_to_date() -> Result<(), Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: test\n");
    let mut text = HEAD.to_owned();
    for name in embedded()? {
        let (ended, inspected) = project.json(&["plugin", "inspect", &name]);
        ended.expect(0)?;
        text.push_str(&row(&name, &inspected));
    }
    let path = root().join("plugins/CATALOGUE.md");
    if std::env::var_os("AFFLUENT_WRITE_CATALOGUE").is_some() {
        fs::write(&path, &text)?;
    }
    holds(fs::read_to_string(&path).unwrap_or_default() == text, format!("plugins/CATALOGUE.md should be:\n{text}"))
}
