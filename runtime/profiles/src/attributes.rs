//! SQL of attributes: which value of each attribute survives in a profile, and where it comes from. The records of a
//! profile are numbered once, newest first; every attribute then takes its first value that is not null. Numbering
//! sorts by profile, so the aggregates after it run as a stream over few profiles at a time, whatever their number.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::plan::Survivorship;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};

use crate::computed_traits::types_differ;
use crate::snapshot::lineage_name;
use crate::source::{AttributeSource, TableSource};
use crate::sql::{cast, common_kind, literal, null, quoted, union_all};

/// The query with `_profile` and, per attribute, its value and lineage.
#[derive(Debug)]
pub(crate) struct AttributePass {
    pub(crate) query: String,
    /// Of the attributes, in order.
    pub(crate) names: Vec<String>,
}

/// An attribute over all tables that give it.
struct Attribute<'a> {
    name: &'a str,
    /// Type of the values as they are stored: Binary where sealed.
    stored: FieldType,
    /// Number of the source, and what it gives.
    given: Vec<(usize, &'a AttributeSource)>,
    /// Connections in order of preference.
    preferred: &'a [String],
}

/// The pass over all attributes; `None` when no table gives any.
///
/// # Errors
/// `E0761`, `E0762`, `E0765`.
pub(crate) fn attribute_pass(
    sources: &[TableSource],
    survivorship: &BTreeMap<String, Survivorship>,
) -> Result<Option<AttributePass>> {
    let attributes = attributes_of(sources, survivorship)?;
    if attributes.is_empty() {
        return Ok(None);
    }
    let mut branches = Vec::new();
    for (number, source) in sources.iter().enumerate().filter(|(_, source)| !source.attributes.is_empty()) {
        branches.push(records(number, source, sources, &attributes)?);
    }
    let numbered = format!(
        "SELECT *, row_number() OVER (PARTITION BY \"_profile\" ORDER BY \"_at\" DESC NULLS LAST, \"_seq\" DESC) AS \"_turn\" \
         FROM ({}) AS u",
        union_all(&branches)
    );
    let firsts: Vec<String> = attributes.iter().enumerate().map(|(place, attribute)| attribute.firsts(place, sources)).collect();
    let survivors = format!("SELECT \"_profile\", {} FROM ({numbered}) AS n GROUP BY \"_profile\"", firsts.join(", "));
    let columns: Vec<String> = attributes.iter().enumerate().map(|(place, attribute)| attribute.columns(place, sources)).collect();
    let query = format!("SELECT \"_profile\", {} FROM ({survivors}) AS s", columns.join(", "));
    Ok(Some(AttributePass { query, names: attributes.iter().map(|attribute| attribute.name.to_owned()).collect() }))
}

fn attributes_of<'a>(
    sources: &'a [TableSource],
    survivorship: &'a BTreeMap<String, Survivorship>,
) -> Result<Vec<Attribute<'a>>> {
    let names: BTreeSet<&str> = sources.iter().flat_map(|source| &source.attributes).map(|given| given.name.as_str()).collect();
    names.into_iter().map(|name| attribute_of(name, sources, survivorship)).collect()
}

fn attribute_of<'a>(
    name: &'a str,
    sources: &'a [TableSource],
    survivorship: &'a BTreeMap<String, Survivorship>,
) -> Result<Attribute<'a>> {
    let given: Vec<(usize, &AttributeSource)> = sources
        .iter()
        .enumerate()
        .filter_map(|(number, source)| Some((number, source.attributes.iter().find(|given| given.name == name)?)))
        .collect();
    let mut kinds = given.iter().map(|(_, given)| given.kind);
    let first = kinds.next().unwrap_or(FieldType::Text);
    let common = kinds.try_fold(first, common_kind).ok_or_else(|| types_differ(&format!("attribute `{name}`")))?;
    let sealed = given.iter().filter(|(_, given)| given.sealed).count();
    if sealed > 0 && sealed < given.len() {
        return Err(sealed_in_part(name, sources, &given));
    }
    let preferred = match survivorship.get(name) {
        Some(Survivorship::Prefer(connections)) => connections.as_slice(),
        Some(Survivorship::MostRecent) | None => &[],
    };
    let stored = if sealed > 0 { FieldType::Binary } else { common };
    Ok(Attribute { name, stored, given, preferred })
}

fn sealed_in_part(name: &str, sources: &[TableSource], given: &[(usize, &AttributeSource)]) -> Error {
    let table = |sealed: bool| {
        let found = given.iter().find(|(_, given)| given.sealed == sealed).and_then(|(number, _)| sources.get(*number));
        found.map_or("", |source| source.table.as_str())
    };
    let message = format!("attribute `{name}` is sealed in `{}` and clear in `{}`", table(true), table(false));
    Error::configuration("E0761", message).help("give both columns the same class under `pii`, or use two names")
}

/// The current records of one table, with a column for every attribute (`_0`, `_1` …).
fn records(number: usize, source: &TableSource, sources: &[TableSource], attributes: &[Attribute<'_>]) -> Result<String> {
    let rows = source.current_rows(sources)?;
    let values = attributes.iter().enumerate().map(|(place, attribute)| {
        let given = attribute.given.iter().find(|(giver, _)| *giver == number).map(|(_, given)| given);
        let value = match given {
            None => null(attribute.stored),
            Some(given) if given.sealed || given.kind == attribute.stored => format!("r.{}", quoted(&given.column)),
            Some(given) => cast(&format!("r.{}", quoted(&given.column)), attribute.stored),
        };
        format!(", {value} AS \"_{place}\"")
    });
    let inner = format!(
        "SELECT {} AS \"_node\", r.\"_pk\" AS \"_pk\", r.\"_at\" AS \"_at\", r.\"_seq\" AS \"_seq\"{} {}",
        rows.node,
        values.collect::<String>(),
        rows.from
    );
    Ok(format!(
        "SELECT a.\"profile\" AS \"_profile\", {} AS \"_source\", n.* FROM ({inner}) AS n JOIN \"assignments\" AS a ON a.\"node\" = n.\"_node\"",
        cast(&number.to_string(), FieldType::Integer)
    ))
}

impl Attribute<'_> {
    /// The aggregates: value, record, node, time and, where several tables give the attribute, source.
    fn firsts(&self, place: usize, sources: &[TableSource]) -> String {
        let preference = self.preference(sources).map_or_else(String::new, |preference| format!("{preference}, "));
        let first = |column: &str, alias: &str| {
            format!(
                "first_value({column} ORDER BY {preference}\"_turn\") FILTER (WHERE \"_{place}\" IS NOT NULL) AS \"_{place}{alias}\""
            )
        };
        let mut columns = vec![
            first(&format!("\"_{place}\""), ""),
            first("\"_pk\"", "_record"),
            first("\"_node\"", "_node"),
            first("\"_at\"", "_at"),
        ];
        if self.given.len() > 1 {
            columns.push(first("\"_source\"", "_source"));
        }
        columns.join(", ")
    }

    /// A number that is smaller where the connection is preferred; `None` where it makes no difference.
    fn preference(&self, sources: &[TableSource]) -> Option<String> {
        let rank = |number: usize| {
            let connection = sources.get(number).map(|source| &source.connection);
            self.preferred.iter().position(|preferred| Some(preferred) == connection).unwrap_or(self.preferred.len())
        };
        let ranks: BTreeSet<usize> = self.given.iter().map(|(number, _)| rank(*number)).collect();
        let cases = self.given.iter().map(|(number, _)| format!(" WHEN {number} THEN {}", rank(*number)));
        (ranks.len() > 1).then(|| format!("CASE \"_source\"{} END", cases.collect::<String>()))
    }

    /// The value under its name, and its lineage.
    fn columns(&self, place: usize, sources: &[TableSource]) -> String {
        let table = self.by_source(place, |number, _| sources.get(number).map_or_else(String::new, |source| source.table.clone()));
        let field = self.by_source(place, |_, given| given.column.clone());
        format!(
            "\"_{place}\" AS {}, CASE WHEN \"_{place}\" IS NOT NULL THEN named_struct('table', {table}, 'record', \"_{place}_record\", \
             'node', \"_{place}_node\", 'field', {field}, 'at', \"_{place}_at\") END AS {}",
            quoted(self.name),
            quoted(&lineage_name(self.name))
        )
    }

    /// A text that depends on the table the value comes from.
    fn by_source(&self, place: usize, text: impl Fn(usize, &AttributeSource) -> String) -> String {
        let texts: Vec<(usize, String)> = self.given.iter().map(|(number, given)| (*number, literal(&text(*number, given)))).collect();
        match texts.as_slice() {
            [(_, only)] => only.clone(),
            _ => {
                let cases: String = texts.iter().map(|(number, text)| format!(" WHEN {number} THEN {text}")).collect();
                format!("CASE \"_{place}_source\"{cases} END")
            }
        }
    }
}
