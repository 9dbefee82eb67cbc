//! The JSON Schemas that editors use, one per kind of file: generated from the raw types, with `{ env: … }` and
//! `{ var: … }` allowed wherever a scalar stands, and with the config of every plugin merged in.

use affluent_model::manifest::{DestinationInfo, Manifest, TargetSchema};
use affluent_model::pii::PiiClass;
use affluent_model::schema::StreamSchema;
use serde_json::{Map, Value, json};

use crate::file_kind::FileKind;

/// Name of the definition of `{ env: NAME }` and `{ var: name }`.
const REFERENCE: &str = "reference";

/// File name and schema (draft 2020-12) of every kind of project file.
#[must_use]
pub fn json_schemas(manifests: &[Manifest]) -> Vec<(String, Value)> {
    // The lock file is written by the program alone.
    let kinds = FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Lock);
    let files = kinds.map(|kind| (format!("{}.schema.json", kind.word()), schema_of(kind, manifests)));
    files.chain(contract_schemas()).collect()
}

/// What plugins send as JSON over the contract: for their authors.
fn contract_schemas() -> [(String, Value); 4] {
    [
        ("manifest.schema.json".to_owned(), schemars::schema_for!(Manifest).to_value()),
        ("stream.schema.json".to_owned(), schemars::schema_for!(StreamSchema).to_value()),
        ("target.schema.json".to_owned(), schemars::schema_for!(TargetSchema).to_value()),
        ("destination-info.schema.json".to_owned(), schemars::schema_for!(DestinationInfo).to_value()),
    ]
}

fn schema_of(kind: FileKind, manifests: &[Manifest]) -> Value {
    let mut definitions = Map::new();
    definitions.insert(REFERENCE.to_owned(), reference());
    let plugins: Vec<Value> = manifests.iter().map(|manifest| plugin_condition(manifest, &mut definitions)).collect();
    let mut schema = kind.schema();
    published(&mut schema, &plugins);
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), format!("Affluent: {}", kind.word()).into());
        if !is_mentioned(&Value::Object(map.clone()), "#/$defs/plugin.") {
            definitions.retain(|name, _| name == REFERENCE);
        }
        map.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

fn reference() -> Value {
    json!({
        "description": "A value from the environment (`env`) or from `--var name=value` (`var`).",
        "type": "object",
        "properties": {
            "env": { "type": "string", "description": "Name of an environment variable." },
            "var": { "type": "string", "description": "Name of a variable." },
            "default": { "type": ["string", "number", "boolean"], "description": "Taken when it is not set." }
        },
        "oneOf": [{ "required": ["env"] }, { "required": ["var"] }],
        "additionalProperties": false
    })
}

fn is_mentioned(schema: &Value, reference: &str) -> bool {
    match schema {
        Value::String(text) => text.starts_with(reference),
        Value::Array(items) => items.iter().any(|item| is_mentioned(item, reference)),
        Value::Object(map) => map.values().any(|value| is_mentioned(value, reference)),
        _ => false,
    }
}

/// Turns the words for our own checks into JSON Schema, and lets references stand where scalars do.
fn published(schema: &mut Value, plugins: &[Value]) {
    let Value::Object(map) = schema else { return };
    let kind = map.remove("x-affluent");
    if let Some(pattern) = kind.as_ref().and_then(Value::as_str).and_then(pattern) {
        map.insert("pattern".to_owned(), pattern.into());
    }
    match map.remove("x-keys").as_ref().and_then(Value::as_str) {
        Some("pii") => {
            let classes: Vec<&str> = PiiClass::ALL.iter().map(|class| class.as_str()).collect();
            map.insert("propertyNames".to_owned(), json!({ "enum": classes }));
        }
        Some(kind) => {
            map.insert("propertyNames".to_owned(), json!({ "pattern": pattern(kind) }));
        }
        None => {}
    }
    map.remove("x-later");
    let has_plugin = map.remove("x-plugin").is_some();
    for key in ["anyOf", "oneOf"] {
        map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(|branch| published(branch, plugins));
    }
    for child in children(map) {
        published(child, plugins);
        allow_reference(child);
    }
    if has_plugin && !plugins.is_empty() {
        map.insert("allOf".to_owned(), plugins.to_vec().into());
    }
}

/// Schemas of what stands inside a value.
fn children(map: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (key, value) in map.iter_mut() {
        match (key.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(properties)) => found.extend(properties.values_mut()),
            ("items" | "additionalProperties", value @ Value::Object(_)) => found.push(value),
            ("prefixItems", Value::Array(items)) => found.extend(items),
            _ => {}
        }
    }
    found
}

/// Wraps the schema of a scalar so that a reference may stand in its place.
fn allow_reference(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let is_collection = matches!(map.get("type").and_then(Value::as_str), Some("object" | "array"));
    let is_version = map.get("const").is_some_and(Value::is_number);
    if is_collection || is_version || map.is_empty() {
        return;
    }
    let mut outer = Map::new();
    for key in ["description", "title", "default"] {
        if let Some(text) = map.remove(key) {
            outer.insert(key.to_owned(), text);
        }
    }
    outer.insert("anyOf".to_owned(), json!([map, { "$ref": format!("#/$defs/{REFERENCE}") }]));
    *schema = Value::Object(outer);
}

/// `if` the plugin is this one `then` its config has its schema. Definitions of that schema move to the top, under
/// names of their own.
fn plugin_condition(manifest: &Manifest, definitions: &mut Map<String, Value>) -> Value {
    let prefix = format!("plugin.{}", manifest.name.replace('/', "."));
    let mut config = manifest.config_schema.clone();
    rename_definitions(&mut config, &prefix);
    let mut own = match &mut config {
        Value::Object(map) => {
            map.remove("$schema");
            map.remove("$id");
            map.remove("$defs").or_else(|| map.remove("definitions"))
        }
        _ => None,
    };
    for (name, mut schema) in own.as_mut().and_then(Value::as_object_mut).into_iter().flat_map(std::mem::take) {
        published(&mut schema, &[]);
        definitions.insert(format!("{prefix}.{name}"), schema);
    }
    published(&mut config, &[]);
    definitions.insert(prefix.clone(), config);
    json!({
        "if": { "properties": { "plugin": { "const": manifest.name } }, "required": ["plugin"] },
        "then": { "properties": { "config": { "$ref": format!("#/$defs/{prefix}") } } }
    })
}

/// `#/$defs/Column` → `#/$defs/plugin.csv.Column`, `#` → `#/$defs/plugin.csv`.
fn rename_definitions(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| rename_definitions(item, prefix)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(text) if key == "$ref" => {
                        let name = text.strip_prefix("#/$defs/").or_else(|| text.strip_prefix("#/definitions/"));
                        if let Some(name) = name {
                            *text = format!("#/$defs/{prefix}.{name}");
                        } else if text == "#" {
                            *text = format!("#/$defs/{prefix}");
                        }
                    }
                    value => rename_definitions(value, prefix),
                }
            }
        }
        _ => {}
    }
}

/// The regular expression of a kind of text, where one says enough.
fn pattern(kind: &str) -> Option<&'static str> {
    match kind {
        "name" => Some("^[a-z0-9_-]{1,64}$"),
        "duration" => Some("^[0-9]+(ms|s|m|h|d)$"),
        "size" => Some("^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)$"),
        "rate" => Some("^[0-9]+/[0-9]*(ms|s|m|h|d)$"),
        "percent" => Some("^[0-9.]+%$"),
        "region" => Some("^[A-Z]{2}$"),
        "cron" => Some(r"^\s*\S+(\s+\S+){4}\s*$"),
        "mail_domain" => Some(r"^[^@\s]+\.[^@\s]+$"),
        "secret" => Some("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"),
        "environment" => Some("^[A-Za-z_][A-Za-z0-9_]*$"),
        "key_id" => Some("^[1-9][0-9]{0,9}$"),
        "plugin" => Some("^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64})?$"),
        "sha256" => Some("^[0-9a-f]{64}$"),
        "public_key" => Some("^RW[A-Za-z0-9+/]{54}$"),
        "key" => Some("^([0-9A-Fa-f]{16}|RW[A-Za-z0-9+/]{54})$"),
        "webhook_url" => Some(r"^https://[^@#\s]+$"),
        "filled" | "words" => Some(r"\S"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use affluent_model::manifest::PluginKind;
    use serde::Deserialize;

    use super::*;
    use crate::mistake::FileReport;
    use crate::{prescan, yaml};

    fn manifest(name: &str, config_schema: Value) -> Manifest {
        serde_json::from_value(json!({
            "manifest_version": 1, "name": name, "version": "1.0.0", "kinds": [PluginKind::Source], "config_schema": config_schema
        }))
        .unwrap()
    }

    fn shop() -> Manifest {
        let column = json!({ "type": "object", "properties": { "size": { "type": "integer" } }, "additionalProperties": false });
        manifest(
            "acme/shop",
            json!({
                "type": "object",
                "properties": { "shop": { "type": "string" }, "columns": { "type": "array", "items": { "$ref": "#/$defs/Column" } } },
                "required": ["shop"],
                "additionalProperties": false,
                "$defs": { "Column": column }
            }),
        )
    }

    fn json_of(text: &str) -> Value {
        let mut report = FileReport::new(Path::new("a.yaml"));
        let node = yaml::parse(prescan::scan(text.as_bytes(), &mut report).unwrap(), &mut report).unwrap();
        Value::deserialize(&node).unwrap()
    }

    /// Messages of the published schema of a kind of file for a text.
    fn mistakes(kind: &str, text: &str) -> Vec<String> {
        let schemas = json_schemas(&[shop(), manifest("csv", json!({ "type": "object" }))]);
        let (_, schema) = schemas.iter().find(|(name, _)| *name == format!("{kind}.schema.json")).unwrap();
        let validator = jsonschema::draft202012::new(schema).unwrap();
        validator.iter_errors(&json_of(text)).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn yaml_files(folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files = Vec::new();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                files.extend(yaml_files(&path));
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
        files
    }

    fn kind_of(file: &Path) -> Option<&str> {
        let folder = file.parent()?.file_name()?.to_str()?;
        match (folder, file.file_stem()?.to_str()?) {
            (_, "affluent") => Some("project"),
            ("connections", _) => Some("connection"),
            ("pipelines", _) => Some("pipeline"),
            ("profiles", stem) => Some(stem),
            _ => None,
        }
    }

    #[test]
    fn every_file_of_the_examples_fits_the_published_schemas() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = yaml_files(&root.join("pipelines"));
        files.extend(yaml_files(&root.join("tests/config/checked-fine")));
        assert!(files.len() > 10);
        for file in files {
            let Some(kind) = kind_of(&file) else { continue };
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(mistakes(kind, &text), Vec::<String>::new(), "{}", file.display());
        }
    }

    #[test]
    fn a_plugins_own_schema_checks_its_config() {
        let start = "version: 1\nconnection: shop\nplugin: acme/shop\n";

        assert_eq!(
            mistakes("connection", &format!("{start}config: {{ shop: acme, columns: [{{ size: 3 }}] }}")),
            Vec::<String>::new()
        );
        assert_eq!(
            mistakes("connection", &format!("{start}config: {{ shop: {{ env: SHOP }}, columns: [{{ size: {{ var: n }} }}] }}")),
            Vec::<String>::new()
        );
        assert_eq!(mistakes("connection", &format!("{start}config: {{ shop: acme, columns: [{{ length: 3 }}] }}")).len(), 1);
        assert_eq!(mistakes("connection", &format!("{start}config: {{}}")).len(), 1);
    }

    #[test]
    fn references_may_stand_for_scalars_and_for_nothing_else() {
        let start = "version: 1\nconnection: shop\nplugin: csv\n";

        assert_eq!(
            mistakes("connection", &format!("{start}limits: {{ burst: {{ var: burst, default: 3 }} }}")),
            Vec::<String>::new()
        );
        assert_eq!(mistakes("connection", &format!("{start}limits: {{ env: LIMITS }}")).len(), 1);
        assert_ne!(mistakes("connection", "version: { env: VERSION }\nconnection: shop\nplugin: csv\n"), Vec::<String>::new());
    }

    #[test]
    fn the_schemas_hold_no_words_of_our_own_and_every_key_is_described() {
        for (name, schema) in json_schemas(&[shop()]) {
            let text = schema.to_string();
            assert!(!text.contains("\"x-"), "{name}");
            let properties = schema["properties"].as_object().unwrap();
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{name}: {key}");
            }
        }
    }
}
