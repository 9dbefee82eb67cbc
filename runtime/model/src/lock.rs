//! Which plugins a project may run, and what each was allowed: the nouns of `affluent.lock`, and of the rules that
//! `affluent.yaml` adds to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// `affluent.lock`: plugin → what was approved of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pub plugins: BTreeMap<String, LockedPlugin>,
}

/// One plugin, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPlugin {
    /// Of the manifest that was approved.
    pub version: String,
    pub source: PluginSource,
    /// SHA-256 of the component, 64 hex digits.
    pub sha256: String,
    /// Version of the plugin contract it was built for: `0.1.0`.
    pub contract: String,
    /// Id of the trusted key that signed it, 16 hex digits; `None` when no key was asked for.
    pub signer: Option<String>,
    pub grants: Grants,
}

/// Where a plugin came from when it was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginSource {
    /// Inside the program.
    Embedded,
    /// A component file.
    File,
    /// A folder registry.
    Registry,
    /// A folder in the OCI image layout.
    Oci,
}

impl PluginSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::File => "file",
            Self::Registry => "registry",
            Self::Oci => "oci",
        }
    }
}

/// What `affluent.yaml` says of plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginRules {
    /// Minisign public keys; when there are any, a plugin from outside must be signed by one of them.
    pub trust: Vec<String>,
    pub deny: Vec<Denied>,
    /// Plugin → component file that runs as it is, whatever it is at the moment; absolute.
    pub develop: BTreeMap<String, PathBuf>,
    pub isolation: IsolationRule,
    /// `--locked`: what is not in the lock file already does not run, and the file stays as it is.
    pub locked: bool,
}

/// Which plugins from outside run in processes of their own (security B-11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsolationRule {
    /// Those that no trusted key signed.
    #[default]
    Unsigned,
    /// All of them.
    Process,
    /// None: the sandbox is the only wall.
    None,
}

/// Plugins that never run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub what: DeniedPlugin,
    /// Shown to who meets it.
    pub reason: String,
}

/// What a denial is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeniedPlugin {
    /// One component, by its SHA-256.
    Digest(String),
    /// Everything a key signed: its id of 16 hex digits, or the public key.
    Key(String),
    /// Versions of a plugin, as cargo writes requirements: `<1.2.0`; `*` = all.
    Versions { name: String, versions: String },
}

/// A component that is about to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What the project calls it.
    pub name: &'a str,
    /// SHA-256 of `bytes`, hex.
    pub digest: &'a str,
    pub bytes: &'a [u8],
    pub origin: Origin<'a>,
}

/// Where the bytes of a candidate were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    Embedded,
    File(&'a Path),
    /// A file that `plugins.develop` names.
    Develop(&'a Path),
}

/// What a component says of itself and shows.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub manifest: &'a Manifest,
    /// Version of the plugin contract it was built for: `0.1.0`.
    pub contract: &'a str,
    /// Interfaces it imports, with their versions.
    pub imports: &'a [String],
}

/// Decides which plugins may run (security B-40). `provenance` implements it, `cli` hands it to the host; neither knows
/// the other.
pub trait Approvals: Send + Sync {
    /// Asked before anything of the component is compiled or run.
    ///
    /// # Errors
    /// Why it may not run.
    fn admit(&self, candidate: &Candidate<'_>) -> Result<()>;

    /// Asked with what the component said, before an instance of it gets any service.
    ///
    /// # Errors
    /// Why it may not have what it asks for.
    fn grant(&self, candidate: &Candidate<'_>, said: Said<'_>) -> Result<()>;

    /// Asked between the two: where its instances run.
    fn isolation(&self, _candidate: &Candidate<'_>) -> Isolation {
        Isolation::None
    }
}

/// The wall around the instances of a plugin, besides the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// They run in the process of the host.
    None,
    /// Each runs in a process of its own.
    Process,
}

impl Isolation {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
        }
    }
}

/// What a plugin gets, in words that can be compared: category (`hosts`, `secrets`…) → lines.
///
/// Every key of the manifest that is not known to be harmless is a category, so that a new kind of wish cannot pass
/// unseen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(pub BTreeMap<String, BTreeSet<String>>);

/// Keys of a manifest that ask for nothing.
const HARMLESS: [&str; 10] = [
    "manifest_version",
    "name",
    "version",
    "description",
    "license",
    "config_schema",
    "formats",
    "rate_limits",
    "costs",
    "required_features",
];
/// The category whose lines are a name and a number: less is less.
const LIMITS: &str = "limits";
/// Interfaces that every plugin gets and that reach nothing.
const COMMON_IMPORTS: [&str; 6] =
    ["affluent:plugin/types", "affluent:plugin/runtime", "wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/"];

impl Grants {
    /// What a manifest asks for, and what the component imports.
    ///
    /// # Errors
    /// A bug: a manifest can always be written as JSON.
    pub fn of<'a>(manifest: &Manifest, imports: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let json = serde_json::to_value(manifest).map_err(|error| Error::bug(error.to_string()))?;
        let mut grants = Self::default();
        for (key, value) in json.as_object().into_iter().flatten().filter(|(key, _)| !HARMLESS.contains(&key.as_str())) {
            grants.add(key, lines(key, value));
        }
        let imported = imports.into_iter().filter(|import| !COMMON_IMPORTS.iter().any(|common| import.starts_with(common)));
        let short = |import: &str| {
            let unversioned = import.split('@').next().unwrap_or(import);
            plain(unversioned.strip_prefix("affluent:plugin/").unwrap_or(unversioned))
        };
        grants.add("imports", imported.map(short).collect());
        Ok(grants)
    }

    fn add(&mut self, category: &str, lines: BTreeSet<String>) {
        if !lines.is_empty() {
            self.0.entry(plain(category)).or_default().extend(lines);
        }
    }

    /// What `new` gets and these do not, one line each: `hosts: https://b.example`.
    #[must_use]
    pub fn growth(&self, new: &Self) -> Vec<String> {
        let mut grown: Vec<String> = Vec::new();
        for (category, lines) in &new.0 {
            let known = self.0.get(category);
            let is_new = |line: &&String| match category.as_str() {
                LIMITS => !known.is_some_and(|known| known.iter().any(|known| is_at_most(line, known))),
                _ => !known.is_some_and(|known| known.contains(*line)),
            };
            grown.extend(lines.iter().filter(is_new).map(|line| format!("{category}: {line}")));
        }
        let names = |grants: &Self| -> BTreeSet<String> {
            let lines = grants.0.get(LIMITS).into_iter().flatten();
            lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
        };
        let dropped =
            names(self).difference(&names(new)).map(|name| format!("{LIMITS}: {name} is the host's own")).collect::<Vec<_>>();
        grown.extend(dropped);
        grown
    }

    /// All lines in a fixed order, `category: line`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().flat_map(|(category, lines)| lines.iter().map(move |line| format!("{category}: {line}"))).collect()
    }
}

/// True for two limits of one name where the first is not above the second.
fn is_at_most(line: &str, known: &str) -> bool {
    let parts = |line: &str| line.split_once(' ').and_then(|(name, number)| Some((name.to_owned(), number.parse::<u64>().ok()?)));
    match (parts(line), parts(known)) {
        (Some((name, number)), Some((known_name, known_number))) => name == known_name && number <= known_number,
        _ => line == known,
    }
}

fn lines(key: &str, value: &Value) -> BTreeSet<String> {
    match (key, value) {
        ("hosts", Value::Array(hosts)) => hosts.iter().flat_map(host_lines).collect(),
        (LIMITS, Value::Object(map)) => {
            map.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| plain(&format!("{name} {value}"))).collect()
        }
        (_, Value::Array(items)) => items.iter().map(|item| plain(&in_words(item))).filter(|line| !line.is_empty()).collect(),
        (_, Value::Object(map)) => map.iter().map(|(name, value)| plain(&format!("{name}: {}", in_words(value)))).collect(),
        (_, Value::Null | Value::Bool(false)) => BTreeSet::new(),
        (_, Value::Bool(true)) => BTreeSet::from(["yes".to_owned()]),
        (_, value) => BTreeSet::from([plain(&in_words(value))]),
    }
}

/// `https://{config.shop}.example.org where config.shop is ^[a-z]+$`, one line for each scheme.
fn host_lines(host: &Value) -> Vec<String> {
    let pattern = host.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let mut schemes: Vec<&str> =
        host.get("schemes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if schemes.is_empty() {
        schemes.push("https");
    }
    let variables = host.get("vars").and_then(Value::as_object).into_iter().flatten();
    let conditions: Vec<String> = variables.map(|(name, regex)| format!("{name} is {}", in_words(regex))).collect();
    let others =
        host.as_object().into_iter().flatten().filter(|(key, _)| !["pattern", "schemes", "vars"].contains(&key.as_str()));
    let others: String = others.map(|(key, value)| format!(", {key}: {}", in_words(value))).collect();
    let conditions = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    schemes.iter().map(|scheme| plain(&format!("{scheme}://{pattern}{conditions}{others}"))).collect()
}

/// A value as a phrase: descriptions left out, the name first.
fn in_words(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let name = map.get("name").map(in_words);
            let rest = map.iter().filter(|(key, value)| !["name", "description"].contains(&key.as_str()) && !is_nothing(value));
            let rest = rest
                .map(|(key, value)| if value == &Value::Bool(true) { key.clone() } else { format!("{key} {}", in_words(value)) });
            name.into_iter().chain(rest).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(" + "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A text of a plugin that can stand in a file and on a terminal: what could hide or forge is escaped.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}')
    };
    let mut clean = String::with_capacity(text.len());
    for character in text.trim().chars() {
        if is_hidden(character) { clean.extend(character.escape_unicode()) } else { clean.push(character) }
    }
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grants(changes: Value, imports: &[&str]) -> Grants {
        let mut manifest = json!({
            "manifest_version": 1, "name": "shop", "version": "1.0.0", "kinds": ["source"], "config_schema": {},
            "hosts": [{"pattern": "{config.shop}.example.org", "vars": {"config.shop": "^[a-z]+$"}}],
            "auth": {"token": {"type": "bearer", "secret": "access_token"}},
            "secrets": [{"name": "access_token", "description": "Token", "scopes": ["read"]}],
            "limits": {"memory_mib": 64}
        });
        for (key, value) in changes.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        Grants::of(&serde_json::from_value(manifest).unwrap(), imports.iter().copied()).unwrap()
    }

    #[test]
    fn grants_read_as_lines() {
        let imports = ["affluent:plugin/runtime@0.1.0", "affluent:plugin/http@0.1.0", "wasi:io/poll@0.2.6"];

        assert_eq!(
            grants(json!({}), &imports).lines(),
            [
                "auth: token: secret access_token, type bearer",
                "hosts: https://{config.shop}.example.org where config.shop is ^[a-z]+$",
                "imports: http",
                "kinds: source",
                "limits: memory_mib 64",
                "secrets: access_token, scopes read",
            ]
        );
    }

    #[test]
    fn more_of_anything_is_growth_and_less_is_not() {
        let approved = grants(json!({}), &[]);
        let shop = json!({"pattern": "{config.shop}.example.org", "vars": {"config.shop": "^[a-z]+$"}});
        for (changes, growth) in [
            (json!({"version": "2.0.0", "description": "new", "license": "MIT"}), vec![]),
            (json!({"hosts": []}), vec![]),
            (json!({"secrets": [], "auth": {}}), vec![]),
            (json!({"limits": {"memory_mib": 32}}), vec![]),
            (json!({"limits": {"memory_mib": 128}}), vec!["limits: memory_mib 128"]),
            (json!({"limits": {}}), vec!["limits: memory_mib is the host's own"]),
            (json!({"hosts": [shop, {"pattern": "b.example"}]}), vec!["hosts: https://b.example"]),
            (json!({"hosts": [{"pattern": "{config.shop}.example.org"}]}), vec!["hosts: https://{config.shop}.example.org"]),
            (json!({"hosts": [{"pattern": "b.example", "schemes": ["http"]}]}), vec!["hosts: http://b.example"]),
            (json!({"kinds": ["source", "destination"]}), vec!["kinds: destination"]),
            (json!({"files": true}), vec!["files: yes"]),
            (
                json!({"hosts": [{"pattern": "b.example"}], "auth": {"token": {"type": "oauth2-client-credentials", "client_id": "access_token",
                    "client_secret": "access_token", "token_urls": ["https://b.example/token"], "scopes": ["read"]}}}),
                vec![
                    "auth: token: client_id access_token, client_secret access_token, scopes read, token_urls https://b.example/token, type oauth2-client-credentials",
                    "hosts: https://b.example",
                ],
            ),
            (
                json!({"auth": {"token": {"type": "query", "name": "key", "secret": "access_token"}}}),
                vec!["auth: token: key, secret access_token, type query"],
            ),
        ] {
            assert_eq!(approved.growth(&grants(changes.clone(), &[])), growth, "{changes}");
        }
        assert_eq!(approved.growth(&grants(json!({}), &["wasi:filesystem/types@0.2.6"])), ["imports: wasi:filesystem/types"]);
    }

    #[test]
    fn a_text_that_hides_is_escaped() {
        assert_eq!(plain(" a\u{202e}b\nc\u{200b} "), "a\\u{202e}b\\u{a}c\\u{200b}");
    }
}
