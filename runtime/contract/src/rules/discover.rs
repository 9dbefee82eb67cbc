//! What a source and a destination say of their streams and objects.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::connector::{Connectors, Failure};
use affluent_model::manifest::{Costs, ERASE_MODE, RequestCost, TargetSchema, VERIFY_ERASURE_MODE};
use affluent_model::schema::StreamSchema;
use std::sync::Arc;

use crate::bench::Bench;
use crate::reading::told;
use crate::report::Findings;

/// Ways of writing that pipelines know, and what is asked when a person is erased.
const MODES: [&str; 7] = ["insert", "update", "upsert", "mirror", "append", ERASE_MODE, VERIFY_ERASURE_MODE];

/// The streams of a source; `None` when there are none to read.
pub(crate) async fn streams(bench: &Bench, findings: &mut Findings) -> Option<Vec<StreamSchema>> {
    let discover = || bench.host.discover_streams(Arc::clone(&bench.connection));
    let streams = taken(bench, findings, "discover.valid", discover().await)?;
    let again = taken(bench, findings, "discover.stable", discover().await)?;
    findings.judge("discover.stable", (streams != again).then(|| "two calls gave different streams".to_owned()));
    let named = bench.host.manifest(&bench.plugin).await.map(|manifest| manifest.costs.read.clone()).unwrap_or_default();
    let is_stream = |name: &str| streams.iter().any(|stream| stream.name == name);
    findings.judge("discover.valid", streams_mistake(&streams).or_else(|| costs_mistake("read", &named, is_stream)));
    let wanted = &bench.fixture.streams;
    if let Some(unknown) = wanted.iter().find(|name| !streams.iter().any(|stream| stream.name == **name)) {
        findings.fail("discover.valid", format!("the contract file names the stream `{unknown}`, which is not there"));
    }
    Some(streams)
}

/// The objects of a destination.
pub(crate) async fn targets(bench: &Bench, findings: &mut Findings) -> Option<Vec<TargetSchema>> {
    let discover = || bench.host.discover_targets(Arc::clone(&bench.connection));
    let targets = taken(bench, findings, "targets.valid", discover().await)?;
    let again = taken(bench, findings, "targets.valid", discover().await)?;
    if targets != again {
        findings.fail("targets.valid", "two calls gave different objects");
    }
    let named = bench.host.manifest(&bench.plugin).await.map(|manifest| manifest.costs.write.clone()).unwrap_or_default();
    let is_object = |name: &str| targets.iter().any(|target| target.name == name);
    findings.judge("targets.valid", targets_mistake(&targets).or_else(|| costs_mistake("write", &named, is_object)));
    Some(targets)
}

fn taken<T>(bench: &Bench, findings: &mut Findings, rule: &'static str, result: Result<T, Failure>) -> Option<T> {
    match bench.listen("discover", result) {
        Ok(value) => Some(value),
        Err(failure) => {
            findings.fail(rule, told(&failure));
            None
        }
    }
}

/// Costs of what is not there: a plan would never find them.
fn costs_mistake(side: &str, named: &BTreeMap<String, Vec<RequestCost>>, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let unknown = named.keys().find(|name| *name != Costs::OTHERS && !is_there(name))?;
    Some(format!("`costs.{side}` of the manifest names `{unknown}`, which is not there"))
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= 128 && name.bytes().all(plain) && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn streams_mistake(streams: &[StreamSchema]) -> Option<String> {
    if streams.is_empty() {
        return Some("there is no stream".to_owned());
    }
    let names: BTreeSet<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    if names.len() != streams.len() {
        return Some("two streams have one name".to_owned());
    }
    streams.iter().find_map(|stream| stream_mistake(stream, streams).map(|what| format!("stream `{}`: {what}", stream.name)))
}

fn stream_mistake(stream: &StreamSchema, all: &[StreamSchema]) -> Option<String> {
    let fields: BTreeSet<&str> = stream.fields.iter().map(|field| field.name.as_str()).collect();
    if fields.is_empty() || fields.len() != stream.fields.len() {
        return Some("it has no field, or two of one name".to_owned());
    }
    if let Some(name) = std::iter::once(stream.name.as_str()).chain(fields.iter().copied()).find(|name| !is_plain(name)) {
        return Some(format!("`{name}` is no plain name"));
    }
    for key in &stream.primary_key {
        match stream.field(key) {
            None => return Some(format!("`{key}` of the primary key is no field")),
            Some(field) if field.nullable => return Some(format!("`{key}` of the primary key may be null")),
            Some(_) => {}
        }
    }
    if let Some(cursor) = stream.cursor_field.as_ref().filter(|cursor| stream.field(cursor).is_none()) {
        return Some(format!("the cursor field `{cursor}` is no field"));
    }
    if stream.sync_modes.is_empty() {
        return Some("it has no sync mode".to_owned());
    }
    let parent = stream.parent.as_ref()?;
    if !all.iter().any(|other| other.name == parent.stream && other.parent.is_none()) {
        return Some(format!("its parent `{}` is no stream of its own", parent.stream));
    }
    stream.field(&parent.field).is_none().then(|| format!("`{}`, which holds the parent's key, is no field", parent.field))
}

fn targets_mistake(targets: &[TargetSchema]) -> Option<String> {
    if targets.is_empty() {
        return Some("there is no object".to_owned());
    }
    let names: BTreeSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    if names.len() != targets.len() {
        return Some("two objects have one name".to_owned());
    }
    targets.iter().find_map(|target| target_mistake(target).map(|what| format!("object `{}`: {what}", target.name)))
}

fn target_mistake(target: &TargetSchema) -> Option<String> {
    if target.modes.is_empty() {
        return Some("it has no mode".to_owned());
    }
    if let Some(mode) = target.modes.iter().find(|mode| !MODES.contains(&mode.as_str())) {
        return Some(format!("the mode `{mode}` is not known"));
    }
    if target.fields.is_empty() && !target.any_fields && target.open_fields.is_empty() {
        return Some("it takes no field".to_owned());
    }
    let is_field = |name: &String| target.any_fields || target.fields.iter().any(|field| field.name == *name);
    target.match_fields.iter().find(|name| !is_field(name)).map(|name| format!("the match field `{name}` is no field"))
}
