//! The walls of the architecture, read from the manifests and the sources: an import that may not be fails here.

use std::fs;

use libtest_mimic::{Failed, Trial};

use crate::support::{files_below, holds, root, rule};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("structure: crates import in one direction", crates_import_in_one_direction),
        rule("structure: each heavy dependency has one owner", each_heavy_dependency_has_one_owner),
        rule("structure: serde_yaml is named in one file", serde_yaml_is_named_in_one_file),
        rule("structure: connectors have no names in the runtime", connectors_have_no_names),
        rule("structure: there is one arrow major", one_arrow_major),
        rule("structure: every error code has a page", every_error_code_has_a_page),
        rule("structure: files stay under 500 lines", files_stay_short),
        rule("structure: a connector is at most 400 lines", connectors_stay_short),
        rule("structure: the sdk's folder builds by itself", sdk_stands_alone),
        rule("structure: the synchronous crates stay synchronous", synchronous_crates),
    ]
}

/// Who may name whom, by folder under `runtime/`.
const IMPORTS: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("config", &["model"]),
    ("vault", &["model"]),
    ("ledger", &["model"]),
    ("lake", &["model"]),
    ("profiles", &["model"]),
    ("host", &["model"]),
    ("contract", &["model", "host"]),
    ("provenance", &["model"]),
    ("engine", &["model", "config", "vault", "ledger", "lake", "profiles"]),
    ("server", &["model", "engine"]),
    ("cli", &["model", "config", "vault", "ledger", "lake", "profiles", "host", "provenance", "contract", "engine", "server"]),
];

/// Which crate alone may name a dependency (invariant I1).
const OWNERS: [(&str, &str); 10] = [
    ("wasmtime", "host"),
    ("reqwest", "host"),
    ("governor", "host"),
    ("aes-gcm", "vault"),
    ("serde_yaml", "config"),
    ("datafusion", "lake"),
    ("rusqlite", "ledger"),
    ("clap", "cli"),
    ("scrypt", "provenance"),
    ("minisign-verify", "provenance"),
];

/// The names under `[dependencies]`, dev-dependencies left out.
fn dependencies(folder: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("runtime").join(folder).join("Cargo.toml")).unwrap_or_default();
    let own = text.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default().to_owned();
    own.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn crates_import_in_one_direction() -> Result<(), Failed> {
    for (folder, allowed) in IMPORTS {
        for name in dependencies(folder) {
            let Some(other) = name.strip_prefix("affluent-") else { continue };
            holds(allowed.contains(&other), format!("runtime/{folder} may not import {name}"))?;
        }
    }
    Ok(())
}

fn each_heavy_dependency_has_one_owner() -> Result<(), Failed> {
    for (dependency, owner) in OWNERS {
        for (folder, _) in IMPORTS {
            let names = dependencies(folder);
            holds(
                folder == owner || !names.iter().any(|name| name == dependency),
                format!("runtime/{folder} may not name {dependency}"),
            )?;
        }
    }
    Ok(())
}

fn serde_yaml_is_named_in_one_file() -> Result<(), Failed> {
    let naming = sources().into_iter().filter(|(_, text)| text.contains("serde_yaml::")).map(|(path, _)| path);
    let naming: Vec<String> = naming.collect();
    holds(naming.len() <= 1, format!("serde_yaml is named in {}", naming.join(", ")))
}

fn connectors_have_no_names() -> Result<(), Failed> {
    for (path, text) in sources() {
        let code: String = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        for line in code.lines().filter(is_code) {
            for name in ["shopify", "klaviyo", "hubspot", "salesforce", "mailchimp"] {
                holds(!line.to_lowercase().contains(name), format!("{path} names a connector: {}", line.trim()))?;
            }
        }
    }
    Ok(())
}

fn one_arrow_major() -> Result<(), Failed> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let mut lines = lock.lines();
    let mut majors = std::collections::BTreeSet::new();
    while let Some(line) = lines.next() {
        if line == "name = \"arrow-array\"" {
            majors
                .extend(lines.next().and_then(|version| version.split('"').nth(1)).and_then(|version| version.split('.').next()));
        }
    }
    holds(majors.len() == 1, format!("arrow majors in Cargo.lock: {majors:?}"))
}

fn every_error_code_has_a_page() -> Result<(), Failed> {
    for (path, text) in sources() {
        for piece in text.split("\"E0").skip(1) {
            let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
            if digits.len() == 3 && piece.get(3..4) == Some("\"") {
                let page = root().join(format!("schemas/errors/E0{digits}.md"));
                holds(page.is_file(), format!("{path} uses E0{digits}, which has no page"))?;
            }
        }
    }
    Ok(())
}

fn files_stay_short() -> Result<(), Failed> {
    for (path, text) in sources() {
        let lines = text.lines().count();
        holds(lines <= 500 || path.contains("bindings"), format!("{path} has {lines} lines"))?;
    }
    Ok(())
}

/// Folders of `plugins/` that are no connector of a service: the SDK, file formats, and aids of tests.
const NO_CONNECTORS: [&str; 5] = ["sdk", "csv", "jsonl", "hostile", "wrong"];

/// Every line counts but those of tests; no file of a plugin is longer than those of the runtime.
fn connectors_stay_short() -> Result<(), Failed> {
    for entry in fs::read_dir(root().join("plugins"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut whole = 0;
        for path in files_below(&folder.join("src")) {
            let shown = path.display().to_string();
            if shown.contains("/bindings") || shown.contains("/tests") || !shown.ends_with(".rs") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let lines = text.lines().count();
            holds(lines <= 500, format!("{shown} has {lines} lines"))?;
            whole += text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        }
        holds(
            whole <= 400 || NO_CONNECTORS.contains(&name.as_str()),
            format!("the connector `{name}` has {whole} lines: what any other could use belongs into the SDK"),
        )?;
    }
    Ok(())
}

fn synchronous_crates() -> Result<(), Failed> {
    for folder in ["model", "config", "vault", "profiles", "provenance"] {
        holds(!dependencies(folder).iter().any(|name| name == "tokio"), format!("runtime/{folder} may not name tokio"))?;
    }
    Ok(())
}

/// Path and text of every source file of the runtime.
fn sources() -> Vec<(String, String)> {
    let runtime = root().join("runtime");
    let files = files_below(&runtime).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let is_source = |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == "src");
    let read = |path: std::path::PathBuf| {
        let shown = path.strip_prefix(&runtime).unwrap_or(&path).display().to_string();
        (shown, fs::read_to_string(&path).unwrap_or_default())
    };
    files.filter(is_source).filter(|path| !path.display().to_string().contains("/tests")).map(read).collect()
}

/// The SDK writes out what other crates take from the workspace, and holds the contract it was generated from.
fn sdk_stands_alone() -> Result<(), Failed> {
    let read = |path: &str| fs::read_to_string(root().join(path)).map_err(|error| Failed::from(format!("{path}: {error}")));
    let (workspace, sdk) = (read("Cargo.toml")?, read("plugins/sdk/Cargo.toml")?);
    holds(!sdk.contains("workspace = true"), "plugins/sdk/Cargo.toml takes something from the workspace")?;
    let contract = read("schemas/wit/v0.1/affluent-plugin.wit")? == read("plugins/sdk/wit/deps/plugin/plugin.wit")?;
    holds(contract, "plugins/sdk/wit/deps/plugin/plugin.wit is not the contract of schemas/wit/v0.1")?;
    for name in ["schemars", "serde", "serde_json", "proptest"] {
        let line = |text: &str| text.lines().find(|line| line.starts_with(&format!("{name} = "))).map(str::to_owned);
        holds(line(&workspace) == line(&sdk), format!("`{name}` is another in plugins/sdk/Cargo.toml than in the workspace"))?;
    }
    let lints = |text: &str, table: &str| {
        let rest = text.split_once(&format!("[{table}]\n")).map_or("", |(_, rest)| rest);
        rest.lines().take_while(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    for group in ["rust", "clippy"] {
        let same = lints(&workspace, &format!("workspace.lints.{group}")) == lints(&sdk, &format!("lints.{group}"));
        holds(same, format!("the {group} lints of plugins/sdk/Cargo.toml are others than the workspace's"))?;
    }
    Ok(())
}
