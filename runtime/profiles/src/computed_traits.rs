//! SQL of computed traits: all records of a stream, over all connections, in one set of columns, and the aggregates over
//! them per profile. Traits over the same stream and window share one pass.

use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};

use crate::snapshot::{PreparedMeasure, PreparedTrait};
use crate::source::{ORDER_COLUMNS, TableColumn, TableSource};
use crate::sql::{cast, common_kind, null, quoted, union_all};

/// The table of given values.
const PURCHASE_TRAITS: &str = "purchase_traits";

/// One pass over a stream: a query with `profile` and one column per trait.
#[derive(Debug)]
pub(crate) struct TraitPass {
    pub(crate) query: String,
    /// Their names.
    pub(crate) traits: Vec<String>,
}

/// The passes that compute all traits.
///
/// # Errors
/// `E0760`, `E0762`, `E0765`.
pub(crate) fn trait_passes(traits: &[PreparedTrait], sources: &[TableSource]) -> Result<Vec<TraitPass>> {
    let mut passes: Vec<(&PreparedTrait, Vec<&PreparedTrait>)> = Vec::new();
    for one in traits {
        let is_shared = |first: &&PreparedTrait| {
            let both = (&first.measure, &one.measure);
            let is_alike = matches!(
                both,
                (PreparedMeasure::Aggregate { .. }, PreparedMeasure::Aggregate { .. })
                    | (PreparedMeasure::Given, PreparedMeasure::Given)
            );
            is_alike && (&first.from, first.window_ms) == (&one.from, one.window_ms)
        };
        match passes.iter_mut().find(|(first, _)| is_shared(first)) {
            Some((_, members)) => members.push(one),
            None => passes.push((one, vec![one])),
        }
    }
    passes.into_iter().map(|(first, members)| trait_pass(first, &members, sources)).collect()
}

fn trait_pass(first: &PreparedTrait, members: &[&PreparedTrait], sources: &[TableSource]) -> Result<TraitPass> {
    let traits = members.iter().map(|member| member.name.clone()).collect();
    if first.measure == PreparedMeasure::Given {
        return Ok(TraitPass { query: format!("SELECT * FROM \"{PURCHASE_TRAITS}\""), traits });
    }
    let rows = format!("({}) AS {}", stream_rows(&first.from, sources)?, quoted(&first.from));
    let is_recent = first.window_ms.map(|window_ms| {
        let since = cast(&format!("now() - INTERVAL '{window_ms} milliseconds'"), FieldType::Timestamp);
        format!("\"at\" >= {since}")
    });
    let query = match &first.measure {
        PreparedMeasure::MostFrequent { expression } => {
            let is_value = format!("({expression}) IS NOT NULL");
            let conditions: Vec<String> = is_recent.into_iter().chain([is_value]).collect();
            most_frequent(&first.name, expression, &format!("{rows} WHERE {}", conditions.join(" AND ")))
        }
        PreparedMeasure::Aggregate { .. } | PreparedMeasure::Given => {
            let columns: Vec<String> = members.iter().filter_map(|member| aggregate_column(member)).collect();
            let filter = is_recent.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
            format!("SELECT \"_profile\" AS \"profile\", {} FROM {rows}{filter} GROUP BY \"_profile\"", columns.join(", "))
        }
    };
    Ok(TraitPass { query, traits })
}

fn aggregate_column(one: &PreparedTrait) -> Option<String> {
    match &one.measure {
        PreparedMeasure::Aggregate { expression, .. } => Some(format!("({expression}) AS {}", quoted(&one.name))),
        PreparedMeasure::MostFrequent { .. } | PreparedMeasure::Given => None,
    }
}

fn most_frequent(name: &str, expression: &str, rows: &str) -> String {
    let counted = format!(
        "SELECT \"_profile\", ({expression}) AS \"_value\", count(*) AS \"_records\" FROM {rows} GROUP BY \"_profile\", ({expression})"
    );
    format!(
        "SELECT \"_profile\" AS \"profile\", first_value(\"_value\" ORDER BY \"_records\" DESC, \"_value\" ASC) AS {} \
         FROM ({counted}) AS c GROUP BY \"_profile\"",
        quoted(name)
    )
}

/// What the records of a stream have in common over all connections.
struct StreamShape<'a> {
    tables: Vec<&'a TableSource>,
    /// Canonical columns (name, system column, type), then the stream's own.
    canonical: Vec<(&'static str, &'static str, FieldType)>,
    own: Vec<TableColumn>,
}

/// See [`crate::snapshot::trait_columns`].
///
/// # Errors
/// `E0760`, `E0762`.
pub(crate) fn columns_of_stream(stream: &str, sources: &[TableSource]) -> Result<Vec<TableColumn>> {
    let shape = shape_of(stream, sources)?;
    let canonical =
        shape.canonical.iter().map(|(name, _, kind)| TableColumn { name: (*name).to_owned(), kind: *kind, sealed: false });
    Ok(canonical.chain(shape.own.iter().cloned()).collect())
}

fn shape_of<'a>(stream: &str, sources: &'a [TableSource]) -> Result<StreamShape<'a>> {
    let tables: Vec<&TableSource> = sources.iter().filter(|source| source.stream == stream).collect();
    if tables.is_empty() {
        return Err(Error::configuration("E0760", format!("no connection has a stream `{stream}` that goes into profiles"))
            .help("map the stream into profiles in a pipeline, or name another one in `from`"));
    }
    let mut own: Vec<TableColumn> = Vec::new();
    for column in tables.iter().flat_map(|table| &table.columns) {
        match own.iter_mut().find(|known| known.name == column.name) {
            None => own.push(column.clone()),
            Some(known) => {
                known.sealed |= column.sealed;
                let kind = common_kind(known.kind, column.kind);
                known.kind = kind.ok_or_else(|| types_differ(&format!("column `{}` of stream `{stream}`", column.name)))?;
            }
        }
    }
    let canonical = canonical_columns(&tables, sources, &own);
    own.retain(|column| !column.sealed && canonical.iter().all(|(name, _, _)| *name != column.name));
    Ok(StreamShape { tables, canonical, own })
}

/// Two types met in one column.
pub(crate) fn types_differ(column: &str) -> Error {
    Error::configuration("E0762", format!("{column} has types that do not fit in one column"))
        .help("cast it in a `map` transform of one of the pipelines, so that it has the same type everywhere")
}

fn canonical_columns(
    tables: &[&TableSource],
    sources: &[TableSource],
    own: &[TableColumn],
) -> Vec<(&'static str, &'static str, FieldType)> {
    let canonical = ORDER_COLUMNS.map(|(column, name, kind)| (name, column, kind));
    if tables.iter().any(|table| table.has_order) {
        return canonical.to_vec();
    }
    if tables.iter().any(|table| has_order_parent(table, sources)) {
        return canonical.into_iter().filter(|(name, _, _)| matches!(*name, "at" | "currency" | "status")).collect();
    }
    let is_time = |column: &TableColumn| column.name == "at" && column.kind == FieldType::Timestamp && !column.sealed;
    if own.iter().any(is_time) { Vec::new() } else { vec![("at", "_at", FieldType::Timestamp)] }
}

fn has_order_parent(table: &TableSource, sources: &[TableSource]) -> bool {
    let Some(link) = &table.parent else { return false };
    sources.iter().any(|source| source.table == link.table && source.has_order)
}

/// The query with `_profile` and the columns of the stream, one row per current record of a known profile.
pub(crate) fn stream_rows(stream: &str, sources: &[TableSource]) -> Result<String> {
    let shape = shape_of(stream, sources)?;
    let branches = shape.tables.iter().map(|table| {
        let columns: String = shape.columns_of(table, sources).collect();
        Ok(format!("SELECT n.\"_owner\" AS \"_owner\"{columns} FROM ({}) AS n", table.records(sources)?))
    });
    let records = union_all(&branches.collect::<Result<Vec<String>>>()?);
    Ok(format!(
        "SELECT a.\"profile\" AS \"_profile\", n.* FROM \"assignments\" AS a JOIN ({records}) AS n ON a.\"node\" = n.\"_owner\""
    ))
}

impl StreamShape<'_> {
    fn columns_of<'a>(&'a self, table: &'a TableSource, sources: &'a [TableSource]) -> impl Iterator<Item = String> + 'a {
        let has_parent_order = has_order_parent(table, sources);
        let canonical = self.canonical.iter().map(move |(name, column, kind)| {
            let value = match *column {
                "_at" => "n.\"_at\"".to_owned(),
                _ if table.has_order => cast(&format!("n.\"{column}\""), *kind),
                _ if has_parent_order => cast(&format!("n.\"_parent{column}\""), *kind),
                "_order_at" => "n.\"_at\"".to_owned(),
                _ => null(*kind),
            };
            format!(", {value} AS {}", quoted(name))
        });
        let own = self.own.iter().map(move |column| {
            let name = quoted(&column.name);
            let value = match table.column(&column.name) {
                None => null(column.kind),
                Some(stored) if stored.kind == column.kind => format!("n.{name}"),
                Some(_) => cast(&format!("n.{name}"), column.kind),
            };
            format!(", {value} AS {name}")
        });
        canonical.chain(own)
    }
}
