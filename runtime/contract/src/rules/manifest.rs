//! What the component says of itself before anything is asked of it.

use std::sync::Arc;

use affluent_host::Inspection;
use affluent_model::connector::{Connectors, Failure};
use affluent_model::manifest::{AuthSlot, Manifest, PluginKind};
use serde_json::Value;

use crate::bench::Bench;
use crate::report::{Figures, Findings};

/// Parts of a property's name that say it is a credential.
const SECRET_WORDS: [&str; 8] = ["password", "passwd", "secret", "token", "api_key", "apikey", "access_key", "credential"];

/// Checks the component, and gives its manifest.
///
/// # Errors
/// When it cannot be loaded: nothing else can be tested then.
pub(crate) async fn check(bench: &Bench, findings: &mut Findings, figures: &mut Figures) -> Result<Arc<Manifest>, Failure> {
    let manifest = match bench.listen("manifest", bench.host.manifest(&bench.plugin).await) {
        Ok(manifest) => manifest,
        Err(failure) => {
            let rule = match failure.error.code {
                "E0503" => "manifest.imports",
                "E0508" => "manifest.auth",
                _ => "manifest.loads",
            };
            findings.fail(rule, failure.error.message.clone());
            return Err(failure);
        }
    };
    findings.pass("manifest.loads");
    let inspection = bench.host.inspect(&bench.plugin).await?;
    bench.set_digest(inspection.digest.clone());
    figures.component_bytes = u64::try_from(inspection.bytes).unwrap_or(u64::MAX);
    let [first, second] = bench.host.manifest_twice(&bench.plugin).await?;
    let [third, _] = bench.host.manifest_twice(&bench.plugin).await?;
    let evidence = if first != second {
        Some("a second call into an instance gives another manifest")
    } else {
        (first != third || inspection.manifest != *manifest).then_some("another instance gives another manifest")
    };
    findings.judge("manifest.stable", evidence.map(str::to_owned));
    findings.judge("manifest.imports", imports(&inspection, &manifest));
    findings.judge("manifest.identity", identity(&manifest));
    findings.judge("manifest.config_schema", config_schema(&manifest.config_schema));
    findings.judge("manifest.hosts", hosts(&manifest));
    findings.judge("manifest.auth", token_urls(&manifest));
    findings.judge("manifest.secrets", secrets(&inspection, &manifest));
    Ok(manifest)
}

fn has_import(inspection: &Inspection, interface: &str) -> bool {
    let prefix = format!("affluent:plugin/{interface}");
    inspection.imports.iter().any(|import| import.split('@').next() == Some(prefix.as_str()))
}

fn imports(inspection: &Inspection, manifest: &Manifest) -> Option<String> {
    let (http, files) = (has_import(inspection, "http"), has_import(inspection, "files"));
    if manifest.files && !files {
        return Some("`files` is set in the manifest, and the component does not import files".to_owned());
    }
    if !manifest.hosts.is_empty() && !http {
        return Some("the manifest asks for hosts, and the component does not import http".to_owned());
    }
    if manifest.kinds == [PluginKind::Transform] && !manifest.hosts.is_empty() {
        return Some("a transform asks for hosts, and has no network".to_owned());
    }
    None
}

fn identity(manifest: &Manifest) -> Option<String> {
    let is_word = |word: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !word.is_empty() && word.bytes().all(plain) && !word.starts_with('-') && !word.ends_with('-')
    };
    let words: Vec<&str> = manifest.name.split('/').collect();
    if words.len() > 2 || !words.iter().all(|word| is_word(word)) {
        return Some("the name is not of the form `word` or `word/word`".to_owned());
    }
    let core = manifest.version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        return Some("the version is not of the form 1.2.3".to_owned());
    }
    None
}

fn config_schema(schema: &Value) -> Option<String> {
    if !schema.is_object() {
        return Some("config_schema is no object".to_owned());
    }
    if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
        return Some(format!("config_schema is not valid at `{}`", error.instance_path()));
    }
    if let Err(error) = jsonschema::draft202012::new(schema) {
        return Some(format!("config_schema cannot be used at `{}`", error.instance_path()));
    }
    let takes_objects = schema.get("type").is_none_or(|kind| kind == "object");
    (!takes_objects).then(|| "config_schema is not about an object".to_owned())
}

/// The property under `config.` of a schema, references within it followed.
fn has_property(schema: &Value, path: &str) -> bool {
    let mut place = schema;
    for name in path.split('.') {
        if let Some(target) = place.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#')) {
            place = schema.pointer(target).unwrap_or(&Value::Null);
        }
        match place.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => place = property,
            None => return false,
        }
    }
    true
}

fn hosts(manifest: &Manifest) -> Option<String> {
    for host in &manifest.hosts {
        let mut rest = host.pattern.as_str();
        while let Some((_, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Some(format!("`{}` has no closing brace", host.pattern));
            };
            let is_known = name.strip_prefix("config.").is_some_and(|path| has_property(&manifest.config_schema, path));
            if !is_known {
                return Some(format!("`{{{name}}}` of host `{}` is no property of the config", host.pattern));
            }
            rest = after;
        }
        let literal = host.pattern.replace(['{', '}'], "");
        let is_plain = literal.chars().all(|character| character.is_ascii_alphanumeric() || ".-_:*[]".contains(character));
        if literal.is_empty() || !is_plain || literal.trim_start_matches("*.").contains('*') {
            return Some(format!("host `{}` is not well-formed: no scheme, no path, at most one leading `*.`", host.pattern));
        }
    }
    None
}

fn token_urls(manifest: &Manifest) -> Option<String> {
    let clients = || manifest.auth.values().filter_map(AuthSlot::oauth);
    let subjects = clients().filter_map(|client| client.assertion.as_ref()?.subject_in_config());
    for name in subjects {
        if !has_property(&manifest.config_schema, name) {
            return Some(format!("`{{config.{name}}}` of the assertion is no property of the config"));
        }
    }
    for url in clients().flat_map(|client| &client.token_urls) {
        for name in url.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let is_known = name.strip_prefix("config.").is_some_and(|path| has_property(&manifest.config_schema, path));
            if !is_known {
                return Some(format!("`{{{name}}}` of the token URL `{url}` is no property of the config"));
            }
        }
    }
    None
}

fn secrets(inspection: &Inspection, manifest: &Manifest) -> Option<String> {
    let signs = has_import(inspection, "crypto");
    let of_webhooks = manifest.webhooks.iter().flat_map(|webhooks| webhooks.signature.secrets());
    let used: Vec<&str> = manifest.auth.values().flat_map(AuthSlot::secrets).chain(of_webhooks).collect();
    for secret in &manifest.secrets {
        if !signs && !used.contains(&secret.name.as_str()) {
            return Some(format!("neither an auth slot nor webhooks use the secret `{}`", secret.name));
        }
    }
    let properties = manifest.config_schema.get("properties").and_then(Value::as_object);
    for name in properties.into_iter().flat_map(|properties| properties.keys()) {
        let lower = name.to_lowercase();
        if SECRET_WORDS.iter().any(|word| lower == *word || lower.ends_with(&format!("_{word}"))) {
            return Some(format!("the config has `{name}`, which looks like a credential"));
        }
    }
    None
}
