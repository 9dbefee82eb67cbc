//! Checks a tree against the schema of its file and finds every mistake at once: unknown and missing keys, wrong
//! types, words that are not allowed, malformed texts. What is wrong is taken out of the tree, so that the rest can
//! still be read. It understands the part of JSON Schema that [`crate::file_kind`] generates, no more; the config
//! of plugins is checked by a full validator in [`crate::check`].

use affluent_model::pii::PiiClass;
use serde_json::Value as Schema;

use crate::cron::{Cron, is_timezone};
use crate::mistake::{self, FileReport};
use crate::near;
use crate::node::{Node, Place, Value};
use crate::scalar;

/// How messages name the top of a file.
pub(crate) const FILE: &str = "this file";

/// The schema itself and the branches of its `anyOf` and `oneOf`.
pub(crate) fn branches(schema: &Schema) -> impl Iterator<Item = &Schema> {
    let inner = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    std::iter::once(schema).chain(inner)
}

/// Checks `node` and takes wrong parts out; false when the node itself cannot stay. `what` names it in messages:
/// the key it stands under.
pub(crate) fn check(node: &mut Node, schema: &Schema, what: &str, report: &mut FileReport) -> bool {
    if node.hidden && matches!(node.value, Value::Null) {
        return false;
    }
    let Some(schema) = branch_for(node, schema) else {
        wrong_type(node, schema, what, report);
        return false;
    };
    if let Some(words) = words(schema) {
        return check_word(node, &words, what, report);
    }
    if let Some(expected) = schema.get("const") {
        return check_version(node, expected, report);
    }
    match &mut node.value {
        Value::Map(_) => check_map(node, schema, what, report),
        Value::List(items) => {
            let count = items.len();
            if let Some(schema) = schema.get("items") {
                items.retain_mut(|item| check(item, schema, what, report));
            }
            let wanted = schema.get("minItems").and_then(Schema::as_u64).unwrap_or(0);
            if (count as u64) < wanted {
                report.add(mistake::MISSING_KEY, node.place, format!("`{what}` is empty"));
                return false;
            }
            true
        }
        Value::Number(number) => {
            let number = number.clone();
            check_range(&number, node.place, schema, what, report)
        }
        Value::Text(_) => check_text(node, schema, what, report),
        Value::Boolean(_) | Value::Null => true,
    }
}

/// The branch of the schema whose type the node has; `None` when none has.
fn branch_for<'a>(node: &Node, schema: &'a Schema) -> Option<&'a Schema> {
    let fits = |schema: &&Schema| match schema.get("type").and_then(Schema::as_str) {
        None => schema.get("anyOf").is_none() && schema.get("oneOf").is_none(),
        Some("object") => matches!(node.value, Value::Map(_)),
        Some("array") => matches!(node.value, Value::List(_)),
        Some("string") => matches!(node.value, Value::Text(_)),
        Some("boolean") => matches!(node.value, Value::Boolean(_)),
        Some("integer") => matches!(&node.value, Value::Number(number) if !number.is_f64()),
        Some("number") => matches!(node.value, Value::Number(_)),
        Some(_) => false,
    };
    if words(schema).is_some() {
        return Some(schema);
    }
    branches(schema).find(fits)
}

/// The words that a schema of an enumeration allows.
fn words(schema: &Schema) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Schema::as_array) {
        return words.iter().map(Schema::as_str).collect();
    }
    if let Some(word) = schema.get("const") {
        return Some(vec![word.as_str()?]);
    }
    let inner = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let lists: Option<Vec<Vec<&str>>> = inner.iter().map(words).collect();
    lists.map(|lists| lists.concat())
}

fn expected_words(schema: &Schema) -> String {
    let mut kinds: Vec<&str> = branches(schema)
        .filter_map(|branch| match branch.get("type")?.as_str()? {
            "object" => Some("a map"),
            "array" => Some("a list"),
            "string" => Some("text"),
            "boolean" => Some("`true` or `false`"),
            "integer" => Some("a whole number"),
            "number" => Some("a number"),
            _ => None,
        })
        .collect();
    kinds.dedup();
    kinds.join(" or ")
}

fn wrong_type(node: &Node, schema: &Schema, what: &str, report: &mut FileReport) {
    if schema.get("x-affluent") == Some(&Schema::from("secrets")) {
        let help = "write `{ secret: name }` or `{ env: NAME }`; if this was a real secret, replace it at the vendor";
        report.add_help(
            mistake::SECRET_PLACE,
            node.place,
            format!("`{what}` must be a reference, never the secret itself"),
            help,
        );
        return;
    }
    let found = node.shown().map_or_else(|| node.kind().to_owned(), |shown| format!("{} {shown}", node.kind()));
    let message = format!("`{what}` must be {}, this is {found}", expected_words(schema));
    let is_scalar = matches!(node.value, Value::Number(_) | Value::Boolean(_));
    let wants_text = branches(schema).any(|branch| branch.get("type") == Some(&Schema::from("string")));
    let wants_list = branches(schema).any(|branch| branch.get("type") == Some(&Schema::from("array")));
    if is_scalar && wants_text && !node.hidden {
        report.add_help(mistake::WRONG_TYPE, node.place, message, "put it in quotes");
    } else if wants_list && node.text().is_some() && !node.hidden {
        report.add_help(mistake::WRONG_TYPE, node.place, message, "write it in brackets: `[a, b]`");
    } else {
        report.add(mistake::WRONG_TYPE, node.place, message);
    }
}

fn check_word(node: &Node, words: &[&str], what: &str, report: &mut FileReport) -> bool {
    let text = node.text();
    if text.is_some_and(|text| words.contains(&text)) {
        return true;
    }
    let help = near::suggestion(text.filter(|_| !node.hidden).unwrap_or_default(), "allowed:", words);
    let message = match node.shown() {
        Some(shown) => format!("{shown} is not allowed for `{what}`"),
        None => format!("{} is not allowed for `{what}`", node.kind()),
    };
    report.add_help(mistake::NOT_ALLOWED, node.place, message, help);
    false
}

fn check_version(node: &Node, expected: &Schema, report: &mut FileReport) -> bool {
    let matches = matches!(&node.value, Value::Number(number) if Some(number) == expected.as_number());
    if !matches {
        let message = match node.shown() {
            Some(shown) => format!("version {shown} of the file format is not known"),
            None => "the version must be a number".to_owned(),
        };
        report.add_help(mistake::VERSION, node.place, message, format!("this program reads `version: {expected}`"));
    }
    matches
}

fn check_range(number: &serde_json::Number, place: Place, schema: &Schema, what: &str, report: &mut FileReport) -> bool {
    let minimum = schema.get("minimum").and_then(Schema::as_f64);
    let maximum = schema.get("maximum").and_then(Schema::as_f64).or_else(|| format_maximum(schema));
    let Some(value) = number.as_f64() else { return true };
    let wrong = match (minimum, maximum) {
        (Some(minimum), _) if value < minimum => format!("`{what}` must be at least {minimum}"),
        (_, Some(maximum)) if value > maximum => format!("`{what}` must be at most {maximum}"),
        _ => return true,
    };
    report.add(mistake::OUT_OF_RANGE, place, wrong);
    false
}

fn format_maximum(schema: &Schema) -> Option<f64> {
    match schema.get("format")?.as_str()? {
        "uint32" => Some(f64::from(u32::MAX)),
        "uint64" => Some(i64::MAX as f64),
        _ => None,
    }
}

fn check_text(node: &Node, schema: &Schema, what: &str, report: &mut FileReport) -> bool {
    let Some(kind) = schema.get("x-affluent").and_then(Schema::as_str) else { return true };
    let text = node.text().unwrap_or_default();
    let shown = match node.shown() {
        Some(shown) if !text.trim().is_empty() => shown,
        _ => format!("`{what}`"),
    };
    let (code, message, help) = match kind {
        "cron" => match Cron::parse(text) {
            Ok(_) => return true,
            Err(wrong) => (mistake::CRON, format!("{shown}: {wrong}"), "such as `*/15 * * * *` or `0 7 * * 1-5`".to_owned()),
        },
        "timezone" if is_timezone(text) => return true,
        "timezone" => (mistake::TIMEZONE, format!("{shown} is not a time zone"), timezone_help(text)),
        "files" => match scalar::check(kind, text) {
            Ok(()) => return true,
            Err((wrong, help)) => (mistake::FILE_PATTERN, format!("{shown} {wrong}"), help),
        },
        _ => match scalar::check(kind, text) {
            Ok(()) => return true,
            Err((wrong, help)) => (mistake::MALFORMED, format!("{shown} {wrong}"), help),
        },
    };
    report.add_help(code, node.place, message, help);
    false
}

fn timezone_help(text: &str) -> String {
    match near::nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "an IANA name such as `Europe/Paris`".to_owned(),
    }
}

fn check_map(node: &mut Node, schema: &Schema, what: &str, report: &mut FileReport) -> bool {
    let place = node.place;
    let Value::Map(entries) = &mut node.value else { return true };
    let properties = schema.get("properties").and_then(Schema::as_object);
    let rest = schema.get("additionalProperties");
    let key_kind = schema.get("x-keys").and_then(Schema::as_str);
    let given: Vec<String> = entries.iter().filter_map(|(key, _)| key.text()).map(str::to_owned).collect();
    entries.retain_mut(|(key, value)| {
        let name = key.text().unwrap_or_default().to_owned();
        if let Some(schema) = properties.and_then(|properties| properties.get(&name)) {
            return check(value, schema, &name, report);
        }
        match rest {
            Some(Schema::Object(_)) => {
                let fits = check_key(key, key_kind, what, report);
                rest.is_none_or(|schema| check(value, schema, &name, report)) && fits
            }
            Some(Schema::Bool(false)) => {
                unknown_key(key, schema, what, report);
                false
            }
            _ => true,
        }
    });
    let is_damaged = entries.len() < given.len();
    let stays = check_present(&given, entries, schema, place, what, report);
    if is_damaged {
        report.damage(place);
    }
    stays
}

fn check_key(key: &Node, kind: Option<&str>, what: &str, report: &mut FileReport) -> bool {
    let name = key.text().unwrap_or_default();
    match kind {
        Some("pii") => {
            let classes: Vec<&str> = PiiClass::ALL.iter().map(|class| class.as_str()).collect();
            check_word(key, &classes, what, report)
        }
        Some(kind) => match scalar::check(kind, name) {
            Ok(()) => true,
            Err((wrong, help)) => {
                report.add_help(mistake::MALFORMED, key.place, format!("`{name}` {wrong}"), help);
                false
            }
        },
        None => true,
    }
}

/// The keys that the design documents and this version refuses.
fn later(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.get("x-later").and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str)
}

fn unknown_key(key: &Node, schema: &Schema, what: &str, report: &mut FileReport) {
    let name = key.text().unwrap_or_default();
    let mut keys: Vec<&str> =
        schema.get("properties").and_then(Schema::as_object).into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    if later(schema).any(|later| later == name) {
        report.add_help(
            mistake::LATER,
            key.place,
            format!("`{name}` is not supported yet"),
            format!("allowed: {}", keys.join(", ")),
        );
    } else {
        report.add_help(
            mistake::UNKNOWN_KEY,
            key.place,
            format!("unknown key `{name}` in {}", named(what)),
            near::suggestion(name, "allowed:", &keys),
        );
    }
}

fn named(what: &str) -> String {
    if what == FILE { FILE.to_owned() } else { format!("`{what}`") }
}

/// Whether the map has what it needs; `given` are the keys before wrong entries were taken out.
fn check_present(
    given: &[String],
    entries: &[(Node, Node)],
    schema: &Schema,
    place: Place,
    what: &str,
    report: &mut FileReport,
) -> bool {
    let mut complete = true;
    let is_later = later(schema).any(|later| given.iter().any(|key| key == later));
    for key in schema.get("required").and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str) {
        if !given.iter().any(|name| name == key) && !is_later {
            report.add(mistake::MISSING_KEY, place, format!("missing key `{key}` in {}", named(what)));
        }
        complete &= entries.iter().any(|(name, _)| name.text() == Some(key));
    }
    let properties = schema.get("properties").and_then(Schema::as_object);
    let bound = |key: &str| schema.get(key).and_then(Schema::as_u64);
    let is_few = bound("minProperties").is_some_and(|wanted| (given.len() as u64) < wanted);
    let is_many = bound("maxProperties").is_some_and(|wanted| (entries.len() as u64) > wanted);
    match properties {
        Some(properties) if is_few || is_many => {
            let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
            report.add(
                mistake::COMBINATION,
                place,
                format!("{} must have exactly one of the keys {}", named(what), keys.join(", ")),
            );
        }
        None if is_few => report.add(mistake::MISSING_KEY, place, format!("{} is empty", named(what))),
        _ => {}
    }
    let is_emptied = bound("minProperties").is_some_and(|wanted| (entries.len() as u64) < wanted);
    complete && !is_many && !is_emptied
}
