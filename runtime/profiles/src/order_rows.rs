//! SQL of the orders of all streams, and of the lines of orders, as purchase behaviour reads them.

use affluent_model::Result;
use affluent_model::schema::FieldType;

use crate::purchases::orders::not_completed;
use crate::source::TableSource;
use crate::sql::{cast, literal, union_all};

/// The query of all completed orders, over all sources with an order mapping; `None` when no source has one.
///
/// Columns: `_owner` (identity node), `day` (date), `net` (decimal), `currency` (text, may be null). An order without a
/// time or a net value is left out.
///
/// # Errors
/// `E0765`.
pub fn orders_query(sources: &[TableSource]) -> Result<Option<String>> {
    let states: Vec<String> = not_completed().iter().map(|state| literal(state)).collect();
    let branches = sources.iter().filter(|source| source.has_order).map(|source| {
        let column = |name: &str, kind: FieldType| cast(&format!("n.\"{name}\""), kind);
        let (at, net) = (column("_order_at", FieldType::Timestamp), column("_order_net", FieldType::Decimal));
        let day = cast(&at, FieldType::Date);
        let (currency, status) = (column("_order_currency", FieldType::Text), column("_order_status", FieldType::Text));
        let records = source.records(sources)?;
        Ok(format!(
            "SELECT n.\"_owner\" AS \"_owner\", {day} AS \"day\", {net} AS \"net\", {currency} AS \"currency\" FROM ({records}) AS n \
             WHERE n.\"_order_at\" IS NOT NULL AND n.\"_order_net\" IS NOT NULL \
             AND lower(trim(coalesce({status}, ''))) NOT IN ({})",
            states.join(", ")
        ))
    });
    let branches = branches.collect::<Result<Vec<String>>>()?;
    Ok((!branches.is_empty()).then(|| union_all(&branches)))
}
