//! What a pipeline reads: streams its source offers, and their columns after each transform.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::personal_names::promised_class;
use affluent_model::plan::{
    NamedExpression, Pipeline, PipelineDestination, PipelineSource, ProfileMapping, StreamRead, TransformStep,
};
use affluent_model::schema::{Field, StreamSchema, SyncMode};

use super::columns::Columns;
use super::{Checker, Want};
use crate::mistake;
use crate::near;
use crate::sources::Subject;

/// One stream of a pipeline as the transforms leave it.
pub(super) struct Ingest<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) stream: String,
    /// The stream it belongs to.
    pub(super) parent: Option<String>,
    pub(super) columns: Columns,
}

impl<'a> Ingest<'a> {
    /// How its records become parts of profiles.
    pub(super) fn mapping(&self) -> Option<&'a ProfileMapping> {
        match &self.pipeline.destination {
            PipelineDestination::Profiles { streams, .. } => streams.get(&self.stream),
            PipelineDestination::Connection(_) => None,
        }
    }
}

/// The streams of one pipeline while its transforms are followed.
struct Following<'a> {
    pipeline: &'a Pipeline,
    subject: Subject,
    schemas: BTreeMap<String, StreamSchema>,
    columns: BTreeMap<String, Columns>,
    /// Stream and column that another column is made of.
    used: BTreeSet<(String, String)>,
}

impl<'a> Checker<'a> {
    /// Every stream of every pipeline whose source could be asked.
    pub(super) fn ingests(&mut self) -> Vec<Ingest<'a>> {
        let plan = self.plan;
        plan.pipelines.values().flat_map(|pipeline| self.ingests_of(pipeline)).collect()
    }

    fn ingests_of(&mut self, pipeline: &'a Pipeline) -> Vec<Ingest<'a>> {
        let PipelineSource::Connection { connection, streams, .. } = &pipeline.source else { return Vec::new() };
        let Some(offered) = self.catalog.streams(connection) else { return Vec::new() };
        let subject = Subject::Pipeline(pipeline.name.clone());
        let mut schemas = BTreeMap::new();
        for read in streams {
            if let Some(schema) = self.read(read, connection, offered, &subject) {
                for child in offered.iter().filter(|child| parent_of(child) == Some(&read.name)) {
                    schemas.insert(child.name.clone(), classified(child, read));
                }
                schemas.insert(read.name.clone(), schema);
            }
        }
        self.listed_children(streams, offered);
        let columns = schemas.iter().map(|(name, schema)| (name.clone(), columns_of(schema, streams))).collect();
        let mut following = Following { pipeline, subject, schemas, columns, used: BTreeSet::new() };
        for (number, step) in pipeline.transforms.iter().enumerate() {
            self.transform(&mut following, number, step);
        }
        for read in streams {
            self.unclassified(read, &following);
        }
        let Following { schemas, mut columns, .. } = following;
        let ingests = schemas.into_values().map(|schema| Ingest {
            pipeline,
            parent: parent_of(&schema).cloned(),
            columns: columns.remove(&schema.name).unwrap_or_default(),
            stream: schema.name,
        });
        ingests.collect()
    }

    /// The schema of a stream with the pipeline's classes.
    fn read(&mut self, read: &StreamRead, connection: &str, offered: &[StreamSchema], subject: &Subject) -> Option<StreamSchema> {
        let Some(schema) = offered.iter().find(|schema| schema.name == read.name) else {
            let names: Vec<&str> = offered.iter().map(|schema| schema.name.as_str()).collect();
            let message = format!("unknown stream `{}` in source `{connection}`", read.name);
            let help = near::suggestion(&read.name, &format!("`{connection}` offers"), &names);
            self.add(mistake::UNKNOWN_STREAM, message, read.at.clone(), help);
            self.is_partial = true;
            return None;
        };
        if !schema.sync_modes.contains(&read.sync) {
            let (wanted, other) = match read.sync {
                SyncMode::Incremental => ("incremental", "full_refresh"),
                SyncMode::FullRefresh => ("full_refresh", "incremental"),
            };
            let at = self.sources.locate(subject, ["source", "streams", &read.name, "sync"]);
            let message = format!("the stream `{}` cannot be read with `sync: {wanted}`", read.name);
            self.add(mistake::SYNC_MODE, message, at, format!("write `sync: {other}`"));
        }
        let children: Vec<&StreamSchema> = offered.iter().filter(|child| parent_of(child) == Some(&read.name)).collect();
        for field in read.pii.keys() {
            if schema.field(field).is_none() && children.iter().all(|child| child.field(field).is_none()) {
                let at = self.sources.locate_key(subject, &["source", "streams", &read.name, "pii"], field);
                let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
                let message = format!("the stream `{}` has no field `{field}`", read.name);
                self.add(mistake::UNKNOWN_FIELD, message, at, near::suggestion(field, "its fields are", &names));
            }
        }
        Some(classified(schema, read))
    }

    fn listed_children(&mut self, streams: &[StreamRead], offered: &[StreamSchema]) {
        for read in streams {
            let parent = offered.iter().find(|schema| schema.name == read.name).and_then(parent_of);
            if let Some(parent) = parent.filter(|parent| streams.iter().any(|other| other.name == **parent)) {
                let message = format!("`{}` travels with `{parent}` and is not read on its own", read.name);
                self.add(mistake::COMBINATION, message, read.at.clone(), "remove it here");
            }
        }
    }

    fn transform(&mut self, following: &mut Following<'_>, number: usize, step: &TransformStep) {
        let index = number.to_string();
        match step {
            TransformStep::Filter { stream, condition } => {
                let Some(columns) = self.stream_of(following, stream, &["transforms", &index, "filter", "stream"]) else {
                    return;
                };
                let columns = columns.clone();
                if !columns.incomplete {
                    self.row(condition, &columns.schema(), Want::Boolean);
                }
            }
            TransformStep::Map { stream, set, drop, .. } => {
                let Some(columns) = self.stream_of(following, stream, &["transforms", &index, "map", "stream"]) else { return };
                let before = columns.clone();
                let after = self.map(following, stream, set, before);
                let after = self.drop(following, stream, drop, after, &index);
                following.columns.insert(stream.clone(), after);
            }
            TransformStep::Plugin { streams, .. } => {
                for stream in streams {
                    let path = ["transforms", &index, "plugin", "streams"];
                    let Some(columns) = self.stream_of(following, stream, &path).cloned() else { continue };
                    let schema = following
                        .schemas
                        .get(stream)
                        .map(|schema| StreamSchema { fields: columns.fields.clone(), ..schema.clone() });
                    let fields = schema.and_then(|schema| self.catalog.transformed(&following.pipeline.name, number, &schema));
                    let after = match fields {
                        Some(fields) => Columns { fields, incomplete: columns.incomplete },
                        None => Columns { incomplete: true, ..columns },
                    };
                    following.columns.insert(stream.clone(), after);
                }
            }
        }
    }

    /// The columns of a stream that a step names; an unknown one is reported.
    fn stream_of<'f>(&mut self, following: &'f Following<'_>, stream: &str, path: &[&str]) -> Option<&'f Columns> {
        if let Some(columns) = following.columns.get(stream) {
            return Some(columns);
        }
        // A stream that is read but not offered is reported where it is read.
        let is_read = matches!(&following.pipeline.source, PipelineSource::Connection { streams, .. } if streams.iter().any(|read| read.name == stream));
        if !is_read {
            let names: Vec<&str> = following.columns.keys().map(String::as_str).collect();
            let at = match path.last() {
                Some(&"streams") => self.sources.locate_name(&following.subject, path, stream),
                _ => self.sources.locate(&following.subject, path.iter().copied()),
            };
            let help = near::suggestion(stream, "this pipeline reads", &names);
            self.add(mistake::UNKNOWN_STREAM, format!("this pipeline does not read a stream `{stream}`"), at, help);
        }
        None
    }

    fn map(&mut self, following: &mut Following<'_>, stream: &str, set: &[NamedExpression], before: Columns) -> Columns {
        let schema = before.schema();
        let mut after = before.clone();
        for named in set {
            if before.incomplete {
                continue;
            }
            let Some(checked) = self.row(&named.expression, &schema, Want::Anything) else {
                // Reported; what reads the column later is not at fault.
                after.incomplete = true;
                continue;
            };
            let class = self.planner.class(&named.expression.text, &schema);
            after.put(&named.name, checked.kind, class);
            // Setting a column to itself in another form keeps it, and reads it for nobody else.
            let others = checked.planned.columns.into_iter().filter(|column| *column != named.name);
            following.used.extend(others.map(|column| (stream.to_owned(), column)));
        }
        after
    }

    fn drop(&mut self, following: &Following<'_>, stream: &str, drop: &[String], mut columns: Columns, index: &str) -> Columns {
        let keys: Vec<&String> = following
            .schemas
            .get(stream)
            .into_iter()
            .flat_map(|schema| schema.primary_key.iter().chain(schema.parent.as_ref().map(|parent| &parent.field)))
            .collect();
        for name in drop {
            let at = self.sources.locate_name(&following.subject, &["transforms", index, "map", "drop"], name);
            if keys.contains(&name) {
                let message = format!("`{name}` is part of the key of `{stream}` and cannot be dropped");
                self.add_plain(mistake::COMBINATION, message, at);
            } else if columns.get(name).is_none() && !columns.incomplete {
                let help = near::suggestion(name, "its columns are", &columns.names());
                self.add(mistake::UNKNOWN_FIELD, format!("the stream `{stream}` has no column `{name}`"), at, help);
            }
            columns.fields.retain(|field| field.name != *name);
        }
        columns
    }

    /// Fields of a stream and its children that look personal and have no class, unless they are dropped unread.
    fn unclassified(&mut self, read: &StreamRead, following: &Following<'_>) {
        let own = following.schemas.get(&read.name).into_iter();
        let children = following.schemas.values().filter(|schema| parent_of(schema) == Some(&read.name));
        for schema in own.chain(children) {
            let is_kept = |field: &Field| {
                let remains = following.columns.get(&schema.name).is_none_or(|columns| columns.get(&field.name).is_some());
                remains || following.used.contains(&(schema.name.clone(), field.name.clone()))
            };
            let open = |field: &&Field| field.pii.is_none() && !read.pii.contains_key(&field.name) && is_kept(field);
            for field in schema.fields.iter().filter(open) {
                let Some(class) = promised_class(field) else { continue };
                let message = format!("`{}.{}` has no class and looks personal", schema.name, field.name);
                let help = format!(
                    "say `pii: {{ {0}: {1} }}` under the stream `{2}`, or `pii: {{ {0}: none }}` if it is not",
                    field.name,
                    class.as_str(),
                    read.name
                );
                self.add(mistake::LOOKS_PERSONAL, message, read.at.clone(), help);
            }
        }
    }
}

fn parent_of(schema: &StreamSchema) -> Option<&String> {
    schema.parent.as_ref().map(|parent| &parent.stream)
}

/// The columns of a stream. One that only looks personal is taken for personal, so that the missing class is one mistake
/// and not many.
fn columns_of(schema: &StreamSchema, streams: &[StreamRead]) -> Columns {
    let read_as = parent_of(schema).filter(|parent| streams.iter().any(|read| read.name == **parent)).unwrap_or(&schema.name);
    let is_declared = |name: &str| streams.iter().any(|read| read.name == *read_as && read.pii.contains_key(name));
    let mut fields = schema.fields.clone();
    for field in fields.iter_mut().filter(|field| field.pii.is_none() && !is_declared(&field.name)) {
        field.pii = promised_class(field);
    }
    Columns { fields, incomplete: false }
}

fn classified(schema: &StreamSchema, read: &StreamRead) -> StreamSchema {
    let mut schema = schema.clone();
    for field in &mut schema.fields {
        if let Some(class) = read.pii.get(&field.name) {
            field.pii = *class;
        }
    }
    schema
}
