//! SQL of the `profiles` snapshot: one row per profile with its attributes, their lineage and its computed traits.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::plan::Survivorship;
use affluent_model::{Error, Result};

use crate::attributes::{self, AttributePass};
use crate::computed_traits::{self, TraitPass};
use crate::source::{TableColumn, TableSource};
use crate::sql::quoted;

/// A computed trait whose expression the lake has parsed, checked and printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTrait {
    pub name: String,
    /// Stream whose records are counted.
    pub from: String,
    pub measure: PreparedMeasure,
    /// Only records of the last so many milliseconds.
    pub window_ms: Option<u64>,
}

/// What it computes; the texts are safe inside parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreparedMeasure {
    /// An aggregate. A count is 0 for a profile without records, anything else null.
    Aggregate { expression: String, is_count: bool },
    /// The value with the most records; ties: the smaller value. Null is not a value.
    MostFrequent { expression: String },
}

/// The columns that a trait over `stream` may use: the clear columns of the stream in all its connections, and the
/// canonical ones, which win over columns of the same name: `id`, `at`, `currency`, `net`, `status` of an order; `at`,
/// `currency`, `status` of the order in its lines; elsewhere `at`, unless the stream has a time of that name.
///
/// # Errors
/// `E0760` when no source has the stream, `E0762` when a column has types that do not fit in one.
pub fn trait_columns(stream: &str, sources: &[TableSource]) -> Result<Vec<TableColumn>> {
    computed_traits::columns_of_stream(stream, sources)
}

/// The query whose rows are the `profiles` snapshot, for the tables of `sources` and `assignments(node, profile)`.
///
/// Columns: `profile`, then per attribute (by name) its value and `<name>__from`, a struct of `table`, `record`, `node`,
/// `field`, `at` (null with the value), then the traits in their order. One row per profile of `assignments`.
///
/// # Errors
/// `E0760` a trait's stream is in no source, `E0761` an attribute is sealed in one table and clear in another, `E0762`
/// types that do not fit in one column, `E0764` two columns of one name, `E0765` a parent that is no source.
pub fn snapshot_sql(
    sources: &[TableSource],
    traits: &[PreparedTrait],
    survivorship: &BTreeMap<String, Survivorship>,
) -> Result<String> {
    let attributes = attributes::attribute_pass(sources, survivorship)?;
    let passes = computed_traits::trait_passes(traits, sources)?;
    check_names(attributes.as_ref(), traits)?;
    let mut tables = vec!["\"_profiles\" AS (SELECT DISTINCT \"profile\" FROM \"assignments\")".to_owned()];
    let mut columns = vec!["p.\"profile\" AS \"profile\"".to_owned()];
    let mut joins = String::new();
    if let Some(attributes) = &attributes {
        tables.push(format!("\"_attributes\" AS ({})", attributes.query));
        columns.extend(attributes.names.iter().flat_map(|name| [name.clone(), lineage_name(name)]).map(|name| {
            format!("a.{0} AS {0}", quoted(&name))
        }));
        joins.push_str(" LEFT JOIN \"_attributes\" AS a ON a.\"_profile\" = p.\"profile\"");
    }
    for (number, pass) in passes.iter().enumerate() {
        tables.push(format!("\"_traits_{number}\" AS ({})", pass.query));
        joins.push_str(&format!(" LEFT JOIN \"_traits_{number}\" AS t{number} ON t{number}.\"_profile\" = p.\"profile\""));
    }
    columns.extend(traits.iter().filter_map(|one| trait_column(&one.name, &passes)));
    Ok(format!("WITH {}\nSELECT {}\nFROM \"_profiles\" AS p{joins}", tables.join(",\n"), columns.join(", ")))
}

/// Name of the lineage column of an attribute.
pub(crate) fn lineage_name(attribute: &str) -> String {
    format!("{attribute}__from")
}

fn trait_column(name: &str, passes: &[TraitPass]) -> Option<String> {
    let quoted = quoted(name);
    passes.iter().enumerate().find_map(|(number, pass)| {
        let (_, is_count) = pass.traits.iter().find(|(known, _)| known == name)?;
        let value = format!("t{number}.{quoted}");
        Some(if *is_count { format!("coalesce({value}, 0) AS {quoted}") } else { format!("{value} AS {quoted}") })
    })
}

fn check_names(attributes: Option<&AttributePass>, traits: &[PreparedTrait]) -> Result<()> {
    let attributes = attributes.into_iter().flat_map(|pass| &pass.names);
    let all = attributes.flat_map(|name| [name.clone(), lineage_name(name)]).chain(traits.iter().map(|one| one.name.clone()));
    let mut known = BTreeSet::from(["profile".to_owned()]);
    for name in all {
        if known.contains(&name) {
            return Err(Error::configuration("E0764", format!("two columns of a profile would be named `{name}`"))
                .help("rename the attribute or the computed trait"));
        }
        known.insert(name);
    }
    Ok(())
}
