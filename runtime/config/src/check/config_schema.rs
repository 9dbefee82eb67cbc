//! A plugin's config against the JSON Schema in its manifest; every error back at its place in the file. Values are never
//! part of a message: a config may hold what came from the environment.

use affluent_model::diagnostic::{Diagnostic, Location};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, JsonType, ValidationError};
use serde_json::Value;

use crate::mistake;
use crate::near;
use crate::sources::{Sources, Subject};

/// Where a config stands: the tree it is in and the path to it.
pub(super) struct ConfigPlace<'a> {
    pub(super) subject: Subject,
    pub(super) path: Vec<String>,
    pub(super) plugin: &'a str,
    pub(super) sources: &'a Sources,
}

/// All mistakes of a config.
pub(super) fn check(schema: &Value, config: &Value, place: &ConfigPlace<'_>) -> Vec<Diagnostic> {
    let Ok(validator) = jsonschema::options().with_draft(Draft::Draft202012).build(schema) else {
        let message = format!("the plugin `{}` has a broken config schema", place.plugin);
        let diagnostic = Diagnostic::error(mistake::PLUGIN_CONFIG, message, place.locate(&[]));
        return vec![diagnostic.help("this is a mistake of the plugin: tell its author")];
    };
    validator.iter_errors(config).flat_map(|error| diagnostics(&error, schema, place)).collect()
}

impl ConfigPlace<'_> {
    /// Where the value at a path of the config stands.
    fn locate(&self, inner: &[String]) -> Location {
        let path = self.path.iter().chain(inner).map(String::as_str);
        self.sources.locate(&self.subject, path)
    }

    fn locate_key(&self, inner: &[String], key: &str) -> Location {
        let path: Vec<&str> = self.path.iter().chain(inner).map(String::as_str).collect();
        self.sources.locate_key(&self.subject, &path, key)
    }
}

fn diagnostics(error: &ValidationError<'_>, schema: &Value, place: &ConfigPlace<'_>) -> Vec<Diagnostic> {
    let path = segments(error.instance_path().as_str());
    let what = path.last().map_or("config", String::as_str).to_owned();
    let at = place.locate(&path);
    if let ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } =
        error.kind()
    {
        let keys = known_keys(schema, error.schema_path().as_str());
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        return unexpected
            .iter()
            .map(|key| {
                let message = format!("unknown key `{key}` in `{what}` of the plugin `{}`", place.plugin);
                Diagnostic::error(mistake::PLUGIN_CONFIG, message, place.locate_key(&path, key))
                    .help(near::suggestion(key, "allowed:", &keys))
            })
            .collect();
    }
    let (message, help) = explained(error, &what);
    let mut diagnostic = Diagnostic::error(mistake::PLUGIN_CONFIG, format!("{message} (plugin `{}`)", place.plugin), at);
    diagnostic.help.extend(help.or_else(|| description(schema, error.schema_path().as_str())));
    vec![diagnostic]
}

fn explained(error: &ValidationError<'_>, what: &str) -> (String, Option<String>) {
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            (format!("missing key `{}` in `{what}`", property.as_str().unwrap_or_default()), None)
        }
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => (format!("`{what}` must be {}", type_words(*kind)), None),
        ValidationErrorKind::Enum { options } => {
            let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let help = (!words.is_empty()).then(|| format!("allowed: {}", words.join(", ")));
            (format!("`{what}` has a value that is not allowed"), help)
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            let words: Vec<&str> = context.iter().flatten().filter_map(constant).collect();
            let help = (!words.is_empty()).then(|| format!("allowed: {}", words.join(", ")));
            (format!("`{what}` fits none of the forms it may have"), help)
        }
        ValidationErrorKind::Pattern { pattern } => (format!("`{what}` does not have the form `{pattern}`"), None),
        _ => (format!("`{what}` is not accepted: {}", error.masked_with("it")), None),
    }
}

fn type_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    }
}

fn constant<'a>(error: &'a ValidationError<'_>) -> Option<&'a str> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => expected_value.as_str(),
        _ => None,
    }
}

/// The steps of a JSON pointer.
fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// The keys of the object schema that refused a key: beside the keyword that `schema_path` ends in.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = schema.pointer(parent).and_then(|object| object.get("properties")).and_then(Value::as_object);
    let mut keys: Vec<String> = properties.into_iter().flatten().map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    keys
}

/// What the schema says of the value that a keyword refused.
fn description(schema: &Value, schema_path: &str) -> Option<String> {
    let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let text = schema.pointer(parent)?.get("description")?.as_str()?;
    Some(text.lines().collect::<Vec<_>>().join(" "))
}
