//! The plugin's own check of a connection, with good and bad configurations and credentials.

use std::sync::Arc;

use affluent_model::connector::{Connectors, FailureKind};
use affluent_model::manifest::Manifest;
use affluent_model::plan::Connection;
use serde_json::Value;

use crate::bench::Bench;
use crate::proxy::{CANARY, Fault, Plan};
use crate::reading::{kind_word, told};
use crate::report::Findings;

pub(crate) async fn check(bench: &Bench, manifest: &Manifest, findings: &mut Findings) {
    bench.disturb(None);
    let accepted = bench.listen("check", bench.host.check(Arc::clone(&bench.connection)).await);
    findings.judge("check.accepts", accepted.err().map(|failure| told(&failure)));
    bad_config(bench, manifest, findings).await;
    credential(bench, manifest, findings).await;
    bench.disturb(None);
}

async fn bad_config(bench: &Bench, manifest: &Manifest, findings: &mut Findings) {
    let bad = bench.fixture.bad_config.clone().or_else(|| mistyped(&bench.connection.config, &manifest.config_schema));
    let Some(config) = bad else {
        return findings.skip("check.config", "the config has no property, and the contract file gives no `bad_config`");
    };
    let connection = Connection { config, ..bench.connection.as_ref().clone() };
    let evidence = match bench.listen("check", bench.host.check(Arc::new(connection)).await) {
        Err(failure) if failure.kind == FailureKind::Config => None,
        Err(failure) => Some(format!("it answers with kind {}", kind_word(failure.kind))),
        Ok(_) => Some("it accepts a value of the wrong type".to_owned()),
    };
    findings.judge("check.config", evidence);
}

/// The config with a list where its schema wants something else.
fn mistyped(config: &Value, schema: &Value) -> Option<Value> {
    let properties = schema.get("properties")?.as_object()?;
    let is_used = |name: &&String| config.get(name.as_str()).is_some() && name.as_str() != "base_url";
    let name = properties.keys().find(is_used).or_else(|| properties.keys().next())?;
    let mut bad = config.clone();
    bad.as_object_mut()?.insert(name.clone(), serde_json::json!([["not", "this"]]));
    Some(bad)
}

async fn credential(bench: &Bench, manifest: &Manifest, findings: &mut Findings) {
    const RULES: [&str; 2] = ["check.credential", "check.secrecy"];
    if manifest.auth.is_empty() {
        return findings.skip_all(&RULES, "the plugin has no auth slot");
    }
    if bench.proxy.is_none() && bench.fixture.base_url.is_none() && bench.connection.config.get("base_url").is_none() {
        return findings.skip_all(&RULES, &bench.proxy_reason);
    }
    // With the proxy the refusal is sure to come; without it the service must know a bad credential by itself.
    let statuses: &[u16] = if bench.proxy.is_some() { &[401, 403] } else { &[0] };
    for status in statuses {
        bench.disturb(bench.proxy.as_ref().map(|_| Plan { fault: Fault::Status(*status), from: 0, times: usize::MAX }));
        let place = "check with a refused credential";
        let failure = match bench.listen(place, bench.host.check(Arc::clone(&bench.wrong)).await) {
            Ok(_) if bench.proxy.is_some() && bench.seen().is_empty() => {
                findings.fail("check.credential", "check sends no request, so it cannot know");
                findings.skip("check.secrecy", "check sends no request");
                continue;
            }
            Ok(_) if bench.proxy.is_none() => {
                return findings.skip_all(&RULES, "the service takes any credential");
            }
            Ok(_) => {
                findings.fail("check.credential", format!("it accepts a credential that is refused with {status}"));
                continue;
            }
            Err(failure) => failure,
        };
        let is_right = matches!(failure.kind, FailureKind::Auth | FailureKind::Permission);
        let evidence = if !is_right {
            Some(format!("the refusal becomes kind {}", kind_word(failure.kind)))
        } else if failure.error.message.trim().is_empty() {
            Some("the message is empty".to_owned())
        } else {
            None
        };
        findings.judge("check.credential", evidence);
        let message = &failure.error.message;
        let leaks = message.contains(CANARY) || message.contains("[redacted]") || message.contains("of-the-contract-suite");
        findings.judge("check.secrecy", leaks.then(|| "the message repeats the service's answer".to_owned()));
    }
}
