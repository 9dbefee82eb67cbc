//! SQL of computed traits: all records of a stream, over all connections, in one set of columns, and the aggregates over
//! them per profile. Traits over the same stream and window share one pass.

use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};

use crate::order_rows::REVENUE_NAMES;
use crate::snapshot::{PreparedMeasure, PreparedTrait};
use crate::source::{ORDER_COLUMNS, OWN_TIME, TableColumn, TableSource, of_profiles};
use crate::sql::{cast, common_kind, null, quoted, union_all};

/// One pass over a stream: a query with `_profile`, a number or null for nobody, and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraitPass {
    pub sql: String,
    pub rows: PassRows,
    /// The table of what it finds: row n, from 0, is about profile n.
    pub table: String,
    /// Where its records are those of a window of so many milliseconds: the column with the time of the oldest, microseconds.
    pub oldest: Option<(String, u64)>,
}

/// What the rows of a pass are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassRows {
    /// One per profile at most; the columns after `_profile` are those of the table.
    Values,
    /// One per record with its `value`, never null, and its `revenue` where records have one; the table has the most frequent
    /// value in this column.
    Records(String),
}

/// The column of the trait at a place before it has its name.
#[must_use]
pub fn trait_column(place: usize) -> String {
    format!("_t{place}")
}

/// A trait with its place among all.
type Placed<'a> = (usize, &'a PreparedTrait);

/// The passes that compute all traits but those whose values are given.
///
/// # Errors
/// `E0760`, `E0762`, `E0765`.
pub(crate) fn trait_passes(traits: &[PreparedTrait], sources: &[TableSource]) -> Result<Vec<TraitPass>> {
    let mut passes: Vec<(Placed<'_>, Vec<Placed<'_>>)> = Vec::new();
    for (place, one) in traits.iter().enumerate().filter(|(_, one)| one.measure != PreparedMeasure::Given) {
        let is_shared = |first: &PreparedTrait| {
            let is_aggregate = |one: &PreparedTrait| matches!(one.measure, PreparedMeasure::Aggregate { .. });
            is_aggregate(first) && is_aggregate(one) && (&first.from, first.window_ms) == (&one.from, one.window_ms)
        };
        match passes.iter_mut().find(|((_, first), _)| is_shared(first)) {
            Some((_, members)) => members.push((place, one)),
            None => passes.push(((place, one), vec![(place, one)])),
        }
    }
    passes.into_iter().map(|(first, members)| trait_pass(first, &members, sources)).collect()
}

fn trait_pass((place, first): Placed<'_>, members: &[Placed<'_>], sources: &[TableSource]) -> Result<TraitPass> {
    let rows = format!("({}) AS {}", stream_rows(&first.from, sources)?, quoted(&first.from));
    let is_recent = first.window_ms.map(|window_ms| {
        let since = cast(&format!("now() - INTERVAL '{window_ms} milliseconds'"), FieldType::Timestamp);
        format!("\"at\" >= {since}")
    });
    let table = format!("_pass_{place}");
    if let PreparedMeasure::MostFrequent { expression } = &first.measure {
        let is_value = format!("({expression}) IS NOT NULL");
        let conditions: Vec<String> = is_recent.into_iter().chain([is_value]).collect();
        let revenue = revenue_column(&columns_of_stream(&first.from, sources)?);
        let sql =
            format!("SELECT \"_profile\", ({expression}) AS \"value\"{revenue} FROM {rows} WHERE {}", conditions.join(" AND "));
        return Ok(TraitPass { sql, rows: PassRows::Records(trait_column(place)), table, oldest: None });
    }
    let mut columns: Vec<String> = members.iter().filter_map(|member| aggregate_column(*member)).collect();
    let oldest = first.window_ms.map(|window_ms| (format!("_oldest_{place}"), window_ms));
    columns.extend(oldest.iter().map(|(name, _)| format!("min(CAST(\"at\" AS BIGINT)) AS {}", quoted(name))));
    let filter = is_recent.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
    let sql = format!("SELECT \"_profile\", {} FROM {rows}{filter} GROUP BY \"_profile\"", columns.join(", "));
    Ok(TraitPass { sql, rows: PassRows::Values, table, oldest })
}

fn aggregate_column((place, one): Placed<'_>) -> Option<String> {
    match &one.measure {
        PreparedMeasure::Aggregate { expression, .. } => Some(format!("({expression}) AS {}", quoted(&trait_column(place)))),
        PreparedMeasure::MostFrequent { .. } | PreparedMeasure::Given => None,
    }
}

/// `, … AS "revenue"`: what a record is worth, by the usual names of such columns; nothing where there is none.
fn revenue_column(columns: &[TableColumn]) -> String {
    let is_money = |column: &TableColumn| matches!(column.kind, FieldType::Decimal | FieldType::Integer | FieldType::Float);
    let is_there = |name: &str| columns.iter().any(|column| column.name == name && is_money(column) && !column.sealed);
    let name = REVENUE_NAMES.into_iter().find(|name| is_there(name));
    name.map_or_else(String::new, |name| format!(", {} AS \"revenue\"", cast(&quoted(name), FieldType::Decimal)))
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
    let is_time = |column: &TableColumn| column.name == OWN_TIME && column.kind == FieldType::Timestamp && !column.sealed;
    if own.iter().any(is_time) { Vec::new() } else { vec![("at", "_at", FieldType::Timestamp)] }
}

fn has_order_parent(table: &TableSource, sources: &[TableSource]) -> bool {
    let Some(link) = &table.parent else { return false };
    sources.iter().any(|source| source.table == link.table && source.has_order)
}

/// The query with `_profile` and the columns of the stream, one row per current record; null for those of nobody.
pub(crate) fn stream_rows(stream: &str, sources: &[TableSource]) -> Result<String> {
    let shape = shape_of(stream, sources)?;
    let branches = shape.tables.iter().map(|table| {
        let columns: String = shape.columns_of(table, sources).collect();
        Ok(format!("SELECT n.\"_owner\" AS \"_owner\"{columns} FROM ({}) AS n", table.records(sources)?))
    });
    let records = union_all(&branches.collect::<Result<Vec<String>>>()?);
    Ok(of_profiles(&records, "_owner"))
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
