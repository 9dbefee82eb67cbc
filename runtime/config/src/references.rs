//! `{ env: NAME }` and `{ var: name }`: replaced by their texts wherever a scalar stands, before a file is checked.
//! References are typed maps, never text splicing, and a value taken from outside is never looked at again. Where
//! the schema wants a map with such a key (`keys`, `secrets`, a map with names of the user), it is that map.

use std::collections::BTreeMap;

use serde_json::Value as Schema;

use crate::mistake::{self, FileReport};
use crate::node::{Node, Value};
use crate::shape::branches;

/// What the files may refer to.
pub struct Inputs<'a> {
    /// Values of `{ var: name }`.
    pub variables: BTreeMap<String, String>,
    /// Values of `{ env: NAME }`; `None` = not set.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

/// Replaces every reference in `node`; `schema` is the schema of its place, `None` where anything may stand.
pub(crate) fn resolve(node: &mut Node, schema: Option<&Schema>, inputs: &Inputs<'_>, report: &mut FileReport) {
    if is_reference(node) && !wants_keys_of(node, schema) {
        replace(node, schema, inputs, report);
        return;
    }
    match &mut node.value {
        Value::List(items) => {
            let schema = schema.and_then(|schema| branches(schema).find_map(|branch| branch.get("items")));
            for item in items {
                resolve(item, schema, inputs, report);
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let schema = schema.and_then(|schema| child_schema(schema, key.text().unwrap_or_default()));
                resolve(value, schema, inputs, report);
            }
        }
        _ => {}
    }
}

fn child_schema<'a>(schema: &'a Schema, key: &str) -> Option<&'a Schema> {
    branches(schema)
        .find_map(|branch| {
            branch.get("properties").and_then(|properties| properties.get(key)).or_else(|| branch.get("additionalProperties"))
        })
        .filter(|schema| schema.is_object())
}

/// A map of `env`, `var` or `secret`, maybe with `default`, and nothing else.
fn is_reference(node: &Node) -> bool {
    let keys: Vec<&str> = node.entries().iter().filter_map(|(key, _)| key.text()).collect();
    match keys.as_slice() {
        [only] => matches!(*only, "env" | "var" | "secret"),
        [one, other] => {
            let pair = |kind: &str, default: &str| matches!(kind, "env" | "var" | "secret") && default == "default";
            pair(one, other) || pair(other, one)
        }
        _ => false,
    }
}

/// True when a map with such a key may stand here: it is not a reference then.
fn wants_keys_of(node: &Node, schema: Option<&Schema>) -> bool {
    let Some(schema) = schema else { return false };
    let is_named = |key: &str| {
        branches(schema).any(|branch| {
            let listed = branch.get("properties").is_some_and(|properties| properties.get(key).is_some());
            let any = branch.get("additionalProperties").is_some_and(|rest| *rest != Schema::Bool(false));
            listed || any
        })
    };
    let free_form =
        branches(schema).any(|branch| branch.get("type") == Some(&Schema::from("object")) && branch.get("properties").is_none());
    free_form || node.entries().iter().filter_map(|(key, _)| key.text()).filter(|key| *key != "default").any(is_named)
}

fn replace(node: &mut Node, schema: Option<&Schema>, inputs: &Inputs<'_>, report: &mut FileReport) {
    let place = node.entries().first().map_or(node.place, |(key, _)| key.place);
    let default = node.get("default").cloned();
    let named = |kind: &str| node.get(kind).map(|name| name.text().map(str::to_owned));
    let found = if named("secret").is_some() {
        let help =
            "secrets stand under `secrets:` of a connection; the plugin never sees them, the host adds them to its requests";
        report.add_help(mistake::SECRET_PLACE, place, "a secret cannot stand here", help);
        None
    } else if let Some(name) = named("env") {
        let value = name.as_deref().and_then(|name| (inputs.environment)(name));
        report.hidden.extend(value.clone());
        found(value, default, name.as_deref(), "environment variable", "set it, or add `default:`", place, report)
    } else {
        let name = named("var").flatten();
        let value = name.as_deref().and_then(|name| inputs.variables.get(name).cloned());
        found(value, default, name.as_deref(), "variable", "pass `--var name=value`, or add `default:`", place, report)
    };
    // A missing value leaves nothing behind, which the check of shapes skips.
    node.value = found.map_or(Value::Null, |value| typed(value, schema));
    node.hidden = true;
    node.place = place;
}

#[expect(clippy::too_many_arguments, reason = "two callers, each with its own words")]
fn found(
    value: Option<String>,
    default: Option<Node>,
    name: Option<&str>,
    what: &str,
    help: &str,
    place: crate::node::Place,
    report: &mut FileReport,
) -> Option<Value> {
    if let Some(value) = value {
        return Some(Value::Text(value));
    }
    if let Some(default) = default.filter(|default| !matches!(default.value, Value::List(_) | Value::Map(_))) {
        return Some(default.value);
    }
    match name {
        Some(name) => report.add_help(mistake::NOT_SET, place, format!("the {what} `{name}` is not set"), help),
        None => report.add(mistake::WRONG_TYPE, place, format!("the name of the {what} must be text")),
    }
    None
}

/// A text from outside as a number or boolean where the schema wants one.
fn typed(value: Value, schema: Option<&Schema>) -> Value {
    let Value::Text(text) = &value else { return value };
    let kind = schema.and_then(|schema| schema.get("type")).and_then(Schema::as_str);
    let typed = match kind {
        Some("integer") => text.parse::<i64>().ok().map(|number| Value::Number(number.into())),
        Some("boolean") => text.parse::<bool>().ok().map(Value::Boolean),
        _ => None,
    };
    typed.unwrap_or(value)
}
