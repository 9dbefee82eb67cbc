//! The lake tables that take part in profiles: which there are, which files they have, and what their columns mean by
//! today's mapping. The columns come from the newest file, or from the source while there is none.

use std::sync::Arc;

use affluent_lake::LakeTable;
use affluent_model::Result;
use affluent_model::consent::{ConsentMapping, SaidBy};
use affluent_model::plan::{Pipeline, PipelineDestination, PipelineSource, ProfileMapping};
use affluent_model::schema::{Field, FieldType, SEALED_KEY};
use affluent_profiles::consent::ConsentSource;
use affluent_profiles::source::{AttributeSource, ParentTable, TableColumn, TableSource, Versions};
use arrow::datatypes::{Field as ArrowField, SchemaRef};

use crate::admit::PARENT_KEY;
use crate::engine::Engine;
use crate::ingest::Lane;
use crate::mapping::{
    attribute_column, attributes_of, consent_column, consent_in_column, consent_status_column, consent_until_column,
    identifier_column,
};
use crate::streams::{streams_of, table_name};

/// A table of the lake with what profiles take from it.
pub(crate) struct ProfileTable {
    pub(crate) source: TableSource,
    pub(crate) table: LakeTable,
}

/// Every table that a pipeline of the plan maps into profiles, with the child tables of orders.
///
/// # Errors
/// What ledger, lake and, for a table without files, the source report.
pub(crate) async fn profile_tables(engine: &Engine) -> Result<Vec<ProfileTable>> {
    let mut tables: Vec<ProfileTable> = Vec::new();
    for pipeline in engine.plan.pipelines.values() {
        let (PipelineSource::Connection { connection, streams, .. }, PipelineDestination::Profiles { streams: mappings, .. }) =
            (&pipeline.source, &pipeline.destination)
        else {
            continue;
        };
        for read in streams {
            let Some(mapping) = mappings.get(&read.name) else { continue };
            let name = table_name(connection, &read.name);
            if tables.iter().any(|known| known.table.name == name) {
                continue;
            }
            tables.extend(tables_of_stream(engine, pipeline, connection, &read.name, mapping).await?);
        }
    }
    Ok(tables)
}

/// A stream's table and, where its mapping has order lines, theirs.
async fn tables_of_stream(
    engine: &Engine,
    pipeline: &Pipeline,
    connection: &str,
    stream: &str,
    mapping: &ProfileMapping,
) -> Result<Vec<ProfileTable>> {
    let lines = mapping.order.as_ref().and_then(|order| order.lines.clone());
    let names: Vec<String> = std::iter::once(stream.to_owned()).chain(lines).collect();
    let mut stored = Vec::new();
    for name in &names {
        stored.push(stored_table(engine, &table_name(connection, name))?);
    }
    let is_known = stored.iter().all(Option::is_some);
    let offered = if is_known { Vec::new() } else { offered_schemas(engine, pipeline, connection, stream, mapping).await? };
    let mut tables = Vec::new();
    for (name, stored) in names.iter().zip(stored) {
        let offer = offered.iter().find(|(offered, _)| offered == name);
        let Some((schema, files)) = stored.or_else(|| offer.map(|(_, schema)| (Arc::clone(schema), Vec::new()))) else {
            continue;
        };
        let parent = (name != stream).then(|| parent_of(&schema, connection, stream)).flatten();
        let mapping = (name == stream).then_some(mapping);
        let source = source_of(connection, name, &schema, mapping, parent, engine);
        let table = LakeTable::new(table_name(connection, name), schema, files);
        tables.push(ProfileTable { source, table });
    }
    Ok(tables)
}

/// The table's files, and its columns by the newest of them; `None` while it has no file.
fn stored_table(engine: &Engine, table: &str) -> Result<Option<(SchemaRef, Vec<String>)>> {
    let files = engine.ledger.files(table)?;
    let Some(newest) = files.last() else { return Ok(None) };
    let schema = engine.lake.file_schema(&newest.name)?;
    Ok(Some((schema, files.into_iter().map(|file| file.name).collect())))
}

/// What the source offers today, as it would stand in the lake, by the names of its streams. Asked only while a table has no file.
async fn offered_schemas(
    engine: &Engine,
    pipeline: &Pipeline,
    connection: &str,
    stream: &str,
    mapping: &ProfileMapping,
) -> Result<Vec<(String, SchemaRef)>> {
    let PipelineSource::Connection { streams, .. } = &pipeline.source else { return Ok(Vec::new()) };
    let reads: Vec<_> = streams.iter().filter(|read| read.name == stream).cloned().collect();
    let mut offered = Vec::new();
    for context in streams_of(engine, connection, &reads).await? {
        for (place, schema) in std::iter::once(&context.schema).chain(&context.children).enumerate() {
            let lane = Lane::open(engine, pipeline, connection, schema, (place == 0).then_some(mapping)).await?;
            offered.push((schema.name.clone(), lane.table_schema()));
        }
    }
    Ok(offered)
}

/// Which rows of the parent a child's rows belong to, by the column that was marked when they were written.
fn parent_of(schema: &SchemaRef, connection: &str, parent: &str) -> Option<ParentTable> {
    let field = schema.fields().iter().find(|field| field.metadata().get(PARENT_KEY).is_some_and(|named| named == parent))?;
    Some(ParentTable { table: table_name(connection, parent), field: field.name().clone() })
}

fn source_of(
    connection: &str,
    stream: &str,
    schema: &SchemaRef,
    mapping: Option<&ProfileMapping>,
    parent: Option<ParentTable>,
    engine: &Engine,
) -> TableSource {
    let own = schema.fields().iter().filter(|field| !field.name().starts_with('_'));
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let attributes = mapping.map_or_else(Vec::new, |mapping| {
        let sources = attributes_of(mapping).filter_map(|(name, expression)| {
            let column =
                if has(&attribute_column(name)) { attribute_column(name) } else { bare_name(engine, schema, &expression.text)? };
            let described = column_of(schema.field_with_name(&column).ok()?);
            Some(AttributeSource { name: name.to_owned(), column, sealed: described.sealed, kind: described.kind })
        });
        sources.collect()
    });
    let identifiers = engine.plan.identity.identifiers.iter().map(|rule| rule.name.clone());
    TableSource {
        table: table_name(connection, stream),
        connection: connection.to_owned(),
        stream: stream.to_owned(),
        columns: own.map(|field| column_of(field)).collect(),
        has_primary_key: true,
        versions: Versions::Unknown,
        attributes,
        identifiers: identifiers.filter(|kind| has(&identifier_column(kind))).collect(),
        consent: mapping.map_or_else(Vec::new, |mapping| {
            let present = mapping.consent.iter().filter(|one| has(&consent_column(&one.name)));
            let source = |one: &ConsentMapping| ConsentSource {
                name: one.name.clone(),
                terms: one.terms.clone(),
                has_status: matches!(one.said, SaidBy::Status(_)) && has(&consent_status_column(&one.name)),
                has_expiry: one.expires_at.is_some() && has(&consent_until_column(&one.name)),
                has_jurisdiction: one.jurisdiction.is_some() && has(&consent_in_column(&one.name)),
            };
            present.map(source).collect()
        }),
        has_order: has("_order_id"),
        parent,
    }
}

/// The column that an expression names, as it stands in the lake table (sealed or clear).
fn bare_name(engine: &Engine, schema: &SchemaRef, text: &str) -> Option<String> {
    engine.expressions.plan_row(text, schema).ok().and_then(|planned| planned.bare_column)
}

/// A lake column, sealed or clear.
pub(crate) fn column_of(field: &ArrowField) -> TableColumn {
    let sealed = field.metadata().get(SEALED_KEY).and_then(|word| FieldType::from_word(word));
    let kind = sealed.or_else(|| Field::from_arrow(field).map(|field| field.kind)).unwrap_or(FieldType::Text);
    TableColumn { name: field.name().clone(), kind, sealed: sealed.is_some() }
}
