//! SQL of the orders of all streams, and of the lines of orders, as purchase behaviour reads them.

use affluent_model::Result;
use affluent_model::schema::FieldType;

use crate::computed_traits::{columns_of_stream, stream_rows};
use crate::purchases::orders::not_completed;
use crate::source::TableSource;
use crate::sql::{cast, literal, null, quoted, union_all};

/// The query of all completed orders, over all sources with an order mapping; `None` when no source has one.
///
/// Columns: `_owner` (identity node), `at` (microseconds UTC), `net` (decimal), `currency` (text, may be null). An order without a
/// time or a net value is left out.
///
/// # Errors
/// `E0765`.
pub fn orders_query(sources: &[TableSource]) -> Result<Option<String>> {
    let states: Vec<String> = not_completed().iter().map(|state| literal(state)).collect();
    let branches = sources.iter().filter(|source| source.has_order).map(|source| {
        let column = |name: &str, kind: FieldType| cast(&format!("n.\"{name}\""), kind);
        let (at, net) = (column("_order_at", FieldType::Timestamp), column("_order_net", FieldType::Decimal));
        let at = cast(&at, FieldType::Integer);
        let (currency, status) = (column("_order_currency", FieldType::Text), column("_order_status", FieldType::Text));
        let records = source.records(sources)?;
        Ok(format!(
            "SELECT n.\"_owner\" AS \"_owner\", {at} AS \"at\", {net} AS \"net\", {currency} AS \"currency\" FROM ({records}) AS n \
             WHERE n.\"_order_at\" IS NOT NULL AND n.\"_order_net\" IS NOT NULL \
             AND ({status} IS NULL OR lower(trim({status})) NOT IN ({}))",
            states.join(", ")
        ))
    });
    let branches = branches.collect::<Result<Vec<String>>>()?;
    Ok((!branches.is_empty()).then(|| union_all(&branches)))
}

/// Which columns of which stream say what was bought; SQL expressions, safe inside parentheses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineColumns {
    /// A stream of order lines, or of orders themselves.
    pub stream: String,
    pub category: String,
    /// Empty: one unit a line.
    pub units: String,
    /// Empty: nothing.
    pub revenue: String,
}

/// Usual names of columns, the likeliest first.
const CATEGORY_NAMES: [&str; 5] = ["category", "product_category", "product_type", "department", "collection"];
const UNIT_NAMES: [&str; 3] = ["units", "quantity", "qty"];
/// Of what a record is worth.
pub const REVENUE_NAMES: [&str; 4] = ["net", "total", "line_total", "amount"];

/// Completes what was asked for by usual names: streams of order lines are looked at before orders. `None` when no stream
/// has a column of categories.
///
/// # Errors
/// `E0760` when the stream that is asked for is none, `E0762` types that do not fit in one column.
pub fn find_line_columns(sources: &[TableSource], asked: LineColumns) -> Result<Option<LineColumns>> {
    let is_lines = |source: &&TableSource| source.parent.is_some();
    let candidates = sources.iter().filter(is_lines).chain(sources.iter().filter(|source| source.has_order));
    let mut streams: Vec<String> = candidates.map(|source| source.stream.clone()).collect();
    if !asked.stream.is_empty() {
        streams = vec![asked.stream.clone()];
    }
    for stream in streams {
        let columns = columns_of_stream(&stream, sources)?;
        let named = |names: &[&str]| {
            let name = names.iter().find(|name| columns.iter().any(|column| column.name == **name));
            name.map_or_else(String::new, |name| quoted(name))
        };
        let or = |given: &str, names: &[&str]| if given.is_empty() { named(names) } else { given.to_owned() };
        let found = LineColumns {
            category: or(&asked.category, &CATEGORY_NAMES),
            units: or(&asked.units, &UNIT_NAMES),
            revenue: or(&asked.revenue, &REVENUE_NAMES),
            stream,
        };
        if !found.category.is_empty() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The query of what was bought in completed orders: `profile` (null for nobody), `order` (text), `day`, `category` (text), `units` (float),
/// `net` (decimal), `currency` (text, may be null), by the function [`crate::source::PROFILE_OF`].
///
/// # Errors
/// `E0760`, `E0762`, `E0765`.
pub fn lines_query(sources: &[TableSource], columns: &LineColumns) -> Result<String> {
    let LineColumns { stream, category, units, revenue } = columns;
    let known = columns_of_stream(stream, sources)?;
    let has = |name: &str| known.iter().any(|column| column.name == name);
    let key = sources.iter().filter(|source| source.stream == *stream).find_map(|source| source.parent.as_ref());
    let order = match key {
        Some(link) => quoted(&link.field),
        None if has("id") => quoted("id"),
        None => "\"at\"".to_owned(),
    };
    let or = |expression: &str, other: &str| if expression.is_empty() { other.to_owned() } else { format!("({expression})") };
    let is_completed = if has("status") {
        let states: Vec<String> = not_completed().iter().map(|state| literal(state)).collect();
        format!(" WHERE (\"status\" IS NULL OR lower(trim(\"status\")) NOT IN ({}))", states.join(", "))
    } else {
        String::new()
    };
    Ok(format!(
        "SELECT \"_profile\" AS \"profile\", {} AS \"order\", {} AS \"day\", {} AS \"category\", {} AS \"units\", {} AS \"net\", \
         {} AS \"currency\" FROM ({}) AS {}{is_completed}",
        cast(&order, FieldType::Text),
        cast("\"at\"", FieldType::Date),
        cast(&format!("({category})"), FieldType::Text),
        cast(&or(units, "1"), FieldType::Float),
        cast(&or(revenue, "0"), FieldType::Decimal),
        if has("currency") { cast("\"currency\"", FieldType::Text) } else { null(FieldType::Text) },
        stream_rows(stream, sources)?,
        quoted(stream),
    ))
}
