//! What a pipeline reads: the streams its source offers, with the project's own word on which fields are personal.

use std::collections::BTreeMap;
use std::sync::Arc;

use affluent_model::pii::{PiiClass, PiiPolicy};
use affluent_model::plan::{Connection, Plan, StreamRead};
use affluent_model::schema::StreamSchema;
use affluent_model::{Error, Result};

use crate::attempts::begun;
use crate::engine::Engine;

/// One stream of a run: how to read it, its schema, and the child streams that come in its pages.
#[derive(Debug, Clone)]
pub(crate) struct StreamContext {
    pub(crate) connection: Arc<Connection>,
    pub(crate) read: StreamRead,
    pub(crate) schema: StreamSchema,
    pub(crate) children: Vec<StreamSchema>,
}

/// The lake table of a stream.
pub(crate) fn table_name(connection: &str, stream: &str) -> String {
    format!("{connection}.{stream}")
}

/// What the project does with a class of personal data.
pub(crate) fn policy_of(plan: &Plan, class: PiiClass) -> PiiPolicy {
    plan.project.pii.get(&class).copied().unwrap_or(PiiPolicy::Seal)
}

/// Looks a connection up; the plan's references resolve, so a miss is a bug.
pub(crate) fn connection_of(engine: &Engine, name: &str) -> Result<Arc<Connection>> {
    engine.plan.connections.get(name).cloned().ok_or_else(|| Error::bug(format!("connection `{name}` is not in the plan")))
}

/// The streams that a pipeline reads, in its order.
///
/// # Errors
/// `E0802` when the remote's limit is spent; what the plugin's `discover` reports; `E0203` when a stream is not among those offered.
pub(crate) async fn streams_of(engine: &Engine, connection: &str, reads: &[StreamRead]) -> Result<Vec<StreamContext>> {
    let connection = connection_of(engine, connection)?;
    let offered = begun(engine, || engine.connectors.discover_streams(Arc::clone(&connection))).await?;
    reads.iter().map(|read| stream_of(&connection, &offered, read)).collect()
}

fn stream_of(connection: &Arc<Connection>, offered: &[StreamSchema], read: &StreamRead) -> Result<StreamContext> {
    let schema = offered.iter().find(|schema| schema.name == read.name).ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|schema| schema.name.as_str()).collect();
        Error::configuration("E0203", format!("unknown stream `{}` in source `{}`", read.name, connection.name))
            .at(format!("{}:{}:{}", read.at.file.display(), read.at.line, read.at.column))
            .help(format!("`{}` offers {}", connection.plugin, names.join(", ")))
    })?;
    let children = offered.iter().filter(|child| child.parent.as_ref().is_some_and(|parent| parent.stream == schema.name));
    Ok(StreamContext {
        connection: Arc::clone(connection),
        read: read.clone(),
        schema: with_classes(schema, &read.pii),
        children: children.map(|child| with_classes(child, &read.pii)).collect(),
    })
}

fn with_classes(schema: &StreamSchema, overrides: &BTreeMap<String, Option<PiiClass>>) -> StreamSchema {
    let mut schema = schema.clone();
    for field in &mut schema.fields {
        if let Some(class) = overrides.get(&field.name) {
            field.pii = *class;
        }
    }
    schema
}
