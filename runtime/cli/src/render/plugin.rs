//! A plugin as text: what it is, and everything it asks for.

use affluent_host::Inspection;
use affluent_model::lock::Isolation;
use affluent_model::manifest::{AuthSlot, Manifest, RateLimit, SecretRequest};

use crate::render::screen::{duration, number};

/// One plugin.
pub(crate) fn inspection(inspection: &Inspection) -> String {
    let manifest = &inspection.manifest;
    let kinds: Vec<&str> = manifest.kinds.iter().map(|kind| kind.as_str()).collect();
    let mut text = format!("{} {} ({})", manifest.name, manifest.version, kinds.join(", "));
    if !manifest.description.is_empty() {
        text.push_str(&format!("\n{}", manifest.description));
    }
    let mut line = |title: &str, values: Vec<String>| {
        let none = || vec!["none".to_owned()];
        for (place, value) in if values.is_empty() { none() } else { values }.into_iter().enumerate() {
            text.push_str(&format!("\n  {:<12} {value}", if place == 0 { title } else { "" }));
        }
    };
    line("size", vec![format!("{} bytes, {} functions", number(length(inspection)), number(inspection.functions))]);
    line("sha256", vec![inspection.digest.clone()]);
    line("contract", vec![inspection.contract.clone()]);
    line("license", Vec::from_iter((!manifest.license.is_empty()).then(|| manifest.license.clone())));
    line("payloads", vec![formats(manifest)]);
    line("hosts", hosts(manifest));
    line("secrets", manifest.secrets.iter().map(secret).collect());
    line("auth", manifest.auth.iter().map(|(name, slot)| auth(name, slot)).collect());
    line("rate limits", manifest.rate_limits.iter().map(rate).collect());
    line("files", vec![if manifest.files { "those that the connection grants" } else { "none" }.to_owned()]);
    line("limits", limits(manifest));
    line("isolation", vec![isolation(inspection).to_owned()]);
    line("needs", manifest.required_features.clone());
    line("imports", inspection.imports.clone());
    let schema = serde_json::to_string_pretty(&manifest.config_schema).unwrap_or_default();
    text.push_str(&format!("\n  config schema\n{}", indented(&schema)));
    text
}

fn isolation(inspection: &Inspection) -> &'static str {
    match inspection.isolation {
        Isolation::None => "none: it runs in this program, in the sandbox",
        Isolation::Process => "process: it runs in a process of its own",
    }
}

fn length(inspection: &Inspection) -> u64 {
    u64::try_from(inspection.bytes).unwrap_or(u64::MAX)
}

fn formats(manifest: &Manifest) -> String {
    let list = |formats: &[String]| if formats.is_empty() { "columns".to_owned() } else { formats.join(" or ") };
    format!("takes {}, gives {}", list(&manifest.formats.accepts), list(&manifest.formats.emits))
}

fn hosts(manifest: &Manifest) -> Vec<String> {
    let one = |host: &affluent_model::manifest::HostRequest| {
        let vars = host.vars.iter().map(|(name, pattern)| format!(", {name} is {pattern}"));
        let schemes = if host.schemes.is_empty() { "https".to_owned() } else { host.schemes.join(" or ") };
        format!("{} by {schemes}{}", host.pattern, vars.collect::<String>())
    };
    manifest.hosts.iter().map(one).collect()
}

fn secret(secret: &SecretRequest) -> String {
    let optional = if secret.optional { ", optional" } else { "" };
    let scopes = if secret.scopes.is_empty() { String::new() } else { format!(", with the scopes {}", secret.scopes.join(", ")) };
    format!("{}: {}{optional}{scopes}", secret.name, secret.description)
}

fn auth(name: &str, slot: &AuthSlot) -> String {
    let place = match slot {
        AuthSlot::Header { name, .. } => format!("header {}", name.as_deref().unwrap_or("Authorization")),
        AuthSlot::Query { name, .. } => format!("query parameter {}", name.as_deref().unwrap_or("key")),
        AuthSlot::Bearer { .. } => "bearer token".to_owned(),
        AuthSlot::Basic { .. } => "basic authentication".to_owned(),
        AuthSlot::ClientCredentials(client) | AuthSlot::Refresh(client) | AuthSlot::JwtBearer(client) => {
            format!("access token from {}", client.token_urls.join(" or "))
        }
        AuthSlot::Hmac(signature) => format!("signature in the header {}", signature.name),
    };
    let secrets = slot.secrets();
    let word = if secrets.len() == 1 { "secret" } else { "secrets" };
    format!("{name}: {place} with the {word} {}", secrets.join(", "))
}

/// `190 requests per 10 s for POST /contacts`.
pub(crate) fn rate(limit: &RateLimit) -> String {
    let what = if limit.cost.is_some() { "points" } else { "requests" };
    let matches = limit.matches.as_deref().map(|matches| format!(" for {matches}")).unwrap_or_default();
    format!("{} {what} per {}{matches}", number(u64::from(limit.requests)), window(limit.per_ms))
}

/// `10 s`, `2.2 s`.
fn window(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { duration(ms) }
}

fn limits(manifest: &Manifest) -> Vec<String> {
    let limits = manifest.limits;
    let memory = limits.memory_mib.map(|mib| format!("{mib} MiB of memory"));
    let time = limits.call_timeout_s.map(|seconds| format!("{seconds} s a call"));
    let requests = limits.concurrency.map(|count| format!("{count} requests at once"));
    let a_day = manifest.costs.requests_per_day.map(|count| format!("{} requests a day for the smallest account", number(count)));
    [memory, time, requests, a_day].into_iter().flatten().collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
