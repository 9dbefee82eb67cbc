//! The kinds of project files: where each lives and what its schema is called.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::raw::connection::RawConnection;
use crate::raw::lock::RawLock;
use crate::raw::pipeline::RawPipeline;
use crate::raw::profiles::{RawIdentity, RawSegments, RawTraits};
use crate::raw::project::RawProject;

/// What a project file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Project,
    Connection,
    Pipeline,
    Identity,
    Traits,
    Segments,
    Lock,
}

impl FileKind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Project, Self::Connection, Self::Pipeline, Self::Identity, Self::Traits, Self::Segments, Self::Lock];

    /// The word in the schema's file name and in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Connection => "connection",
            Self::Pipeline => "pipeline",
            Self::Identity => "identity",
            Self::Traits => "traits",
            Self::Segments => "segments",
            Self::Lock => "lock",
        }
    }

    /// The schema of the file, draft 2020-12, without references inside it.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::Project => generate::<RawProject>(),
            Self::Connection => generate::<RawConnection>(),
            Self::Pipeline => generate::<RawPipeline>(),
            Self::Identity => generate::<RawIdentity>(),
            Self::Traits => generate::<RawTraits>(),
            Self::Segments => generate::<RawSegments>(),
            Self::Lock => generate::<RawLock>(),
        }
    }
}

fn generate<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    without_null(&mut schema);
    schema
}

/// An absent key is absent, not null: takes `null` out of the types of optional keys.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
                if let [only] = branches.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    merge_absent(map, only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

fn merge_absent(map: &mut serde_json::Map<String, Value>, from: Value) {
    if let Value::Object(from) = from {
        for (key, value) in from {
            map.entry(key).or_insert(value);
        }
    }
}
