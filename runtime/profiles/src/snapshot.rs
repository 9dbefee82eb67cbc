//! SQL of the `profiles` snapshot: one row per profile with its attributes, their lineage and its computed traits.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::fold::{Choose, Fold, KeyNames, Pick, When};
use affluent_model::schema::FieldType;
use affluent_model::survivorship::Survivorship;
use affluent_model::{Error, Result};

use crate::attributes::{Attribute, attributes_of, value_column};
use crate::computed_traits::{TraitPass, columns_of_stream, trait_passes};
use crate::source::{TableColumn, TableSource};
use crate::sql::{cast, null, quoted, union_all};

/// A computed trait whose expression the lake has parsed, checked and printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTrait {
    pub name: String,
    /// Stream whose records are counted; empty for a given value.
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
    /// The column of its name in the table `purchase_traits(profile, …)`, which the caller gives with the query; profiles
    /// are numbers there.
    Given,
}

/// The columns that a trait over `stream` may use: the clear columns of the stream in all its connections, and the
/// canonical ones, which win over columns of the same name: `id`, `at`, `currency`, `net`, `status` of an order; `at`,
/// `currency`, `status` of the order in its lines; elsewhere `at`, unless the stream has a time of that name.
///
/// # Errors
/// `E0760` when no source has the stream, `E0762` when a column has types that do not fit in one.
pub fn trait_columns(stream: &str, sources: &[TableSource]) -> Result<Vec<TableColumn>> {
    columns_of_stream(stream, sources)
}

/// The query whose rows are the `profiles` snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// Reads the table of `survivors`.
    pub sql: String,
    /// What survives of the rows of each profile.
    pub survivors: Fold,
}

/// The query whose rows are the `profiles` snapshot, for the tables of `sources`, `assignments(node, profile)`,
/// `profile_ids(number, profile)` and, where a trait is [`PreparedMeasure::Given`], `purchase_traits`. Profiles are numbers
/// in all of them, from 0 in the order of their ids; `profile_ids` has the id of each, row by row.
///
/// Columns: `profile`, then per attribute (by name) its value and `<name>__from`, a struct of `table`, `record`, `node`,
/// `field`, `at` (null with the value), then the traits in their order. One row per profile of `assignments`.
///
/// # Errors
/// `E0760` a trait's stream is in no source, `E0761` an attribute is sealed in one table and clear in another, `E0762`
/// types that do not fit in one column, `E0764` two columns of one name, `E0765` a parent that is no source, `E0767` a strategy that
/// cannot choose among an attribute's values.
pub fn snapshot_query(
    sources: &[TableSource],
    traits: &[PreparedTrait],
    survivorship: &BTreeMap<String, Survivorship>,
) -> Result<SnapshotQuery> {
    let attributes = attributes_of(sources, survivorship)?;
    check_names(&attributes, traits)?;
    let parts = Parts { sources, attributes, traits, passes: trait_passes(traits, sources)? };
    let rows = format!(
        "SELECT * FROM (\n{}\n) AS u ORDER BY \"_profile\", \"_at\" DESC NULLS LAST, \"_seq\" DESC NULLS LAST",
        union_all(&parts.branches()?)
    );
    let names = KeyNames { table: PROFILE_IDS.to_owned(), column: "profile".to_owned() };
    let survivors =
        Fold { table: SURVIVORS.to_owned(), sql: rows, key: "_profile".to_owned(), key_names: Some(names), picks: parts.picks() };
    let sql = format!("SELECT \"_profile\" AS \"profile\"{}\nFROM \"{SURVIVORS}\"", parts.columns());
    Ok(SnapshotQuery { sql, survivors })
}

/// The table of profile ids by number.
pub(crate) const PROFILE_IDS: &str = "profile_ids";

/// The table of what survives.
const SURVIVORS: &str = "survivors";

/// Name of the lineage column of an attribute.
pub(crate) fn lineage_name(attribute: &str) -> String {
    format!("{attribute}__from")
}

fn check_names(attributes: &[Attribute<'_>], traits: &[PreparedTrait]) -> Result<()> {
    let of_attributes = attributes.iter().flat_map(|attribute| [attribute.name.to_owned(), lineage_name(attribute.name)]);
    let mut known = BTreeSet::from(["profile".to_owned()]);
    for name in of_attributes.chain(traits.iter().map(|one| one.name.clone())) {
        if known.contains(&name) {
            return Err(Error::configuration("E0764", format!("two columns of a profile would be named `{name}`"))
                .help("rename the attribute or the computed trait"));
        }
        known.insert(name);
    }
    Ok(())
}

/// What a snapshot is made of. All of it goes into one list of rows: that each profile exists, the records that give
/// attributes, the results of the trait passes. Sorted by profile once, which spills to disk where it must, the list is
/// folded into one row per profile as a stream; a join would hold the attributes of all profiles in memory.
struct Parts<'a> {
    sources: &'a [TableSource],
    attributes: Vec<Attribute<'a>>,
    traits: &'a [PreparedTrait],
    passes: Vec<TraitPass>,
}

impl Parts<'_> {
    fn branches(&self) -> Result<Vec<String>> {
        let existence = "(SELECT DISTINCT \"profile\" FROM \"assignments\") AS a";
        let mut branches = vec![format!("{} FROM {existence}", self.row_without_record(None))];
        branches.extend(self.records()?);
        for (number, pass) in self.passes.iter().enumerate() {
            branches.push(format!("{} FROM ({}) AS a", self.row_without_record(Some(number)), pass.query));
        }
        Ok(branches)
    }

    /// `SELECT …` of a row that says that profile `a` exists or what a trait pass found for it.
    fn row_without_record(&self, pass: Option<usize>) -> String {
        let source =
            pass.map_or_else(|| null(FieldType::Integer), |pass| cast(&self.pass_source(pass).to_string(), FieldType::Integer));
        let mut columns = vec!["a.\"profile\" AS \"_profile\"".to_owned(), format!("{source} AS \"_source\"")];
        columns.extend(LINEAGE.iter().map(|(_, column, kind)| format!("{} AS \"{column}\"", null(*kind))));
        let attributes = self.attributes.iter().enumerate();
        columns.extend(attributes.map(|(place, attribute)| format!("{} AS {}", attribute.null(), quoted(&value_column(place)))));
        columns.extend(self.traits.iter().enumerate().map(|(place, one)| {
            let is_here = pass.is_some() && self.pass_of(one) == pass;
            let value = if is_here { format!("a.{}", quoted(&one.name)) } else { "NULL".to_owned() };
            format!("{value} AS {}", quoted(&trait_column(place)))
        }));
        format!("SELECT {}", columns.join(", "))
    }

    /// The records of all sources that give attributes, with their profiles; they find those together, because each
    /// search holds all assignments in memory.
    fn records(&self) -> Result<Option<String>> {
        let givers = self.sources.iter().enumerate().filter(|(_, source)| !source.attributes.is_empty());
        let records = givers.map(|(number, source)| {
            let lineage =
                LINEAGE.iter().map(|(stored, column, _)| format!(", n.\"{stored}\" AS \"{column}\"")).collect::<String>();
            let attributes = self.attributes.iter().enumerate();
            let values =
                attributes.map(|(place, attribute)| format!(", {} AS {}", attribute.value(number), quoted(&value_column(place))));
            let number = cast(&number.to_string(), FieldType::Integer);
            let from = source.records(self.sources)?;
            Ok(format!("SELECT {number} AS \"_source\"{lineage}{} FROM ({from}) AS n", values.collect::<String>()))
        });
        let records = records.collect::<Result<Vec<String>>>()?;
        if records.is_empty() {
            return Ok(None);
        }
        let traits: String = (0..self.traits.len()).map(|place| format!(", NULL AS {}", quoted(&trait_column(place)))).collect();
        Ok(Some(format!(
            "SELECT a.\"profile\" AS \"_profile\", n.*{traits} FROM \"assignments\" AS a JOIN (\n{}\n) AS n ON a.\"node\" = n.\"_node\"",
            union_all(&records)
        )))
    }

    /// The number that rows of a trait pass have for a source: after those of the sources.
    fn pass_source(&self, pass: usize) -> usize {
        self.sources.len() + pass
    }

    fn pass_of(&self, one: &PreparedTrait) -> Option<usize> {
        self.passes.iter().position(|pass| pass.traits.contains(&one.name))
    }

    /// What is taken of the rows of a profile, the newest first.
    fn picks(&self) -> Vec<Pick> {
        let attributes = self.attributes.iter().enumerate().map(|(place, attribute)| attribute.pick(place, self.sources));
        let passes = (0..self.passes.len()).map(|pass| {
            let traits = self.traits.iter().enumerate().filter(|(_, one)| self.pass_of(one) == Some(pass));
            let take = traits.map(|(place, _)| (trait_column(place), trait_column(place))).collect();
            let source = i64::try_from(self.pass_source(pass)).unwrap_or(i64::MAX);
            Pick { when: When::Equals("_source".to_owned(), source), choose: Choose::First, ranks: None, take }
        });
        attributes.chain(passes).collect()
    }

    /// The columns of the snapshot after `profile`.
    fn columns(&self) -> String {
        let attributes = self.attributes.iter().enumerate().map(|(place, attribute)| attribute.columns(place, self.sources));
        let traits = self.traits.iter().enumerate().map(|(place, one)| {
            let is_count = matches!(one.measure, PreparedMeasure::Aggregate { is_count: true, .. });
            let value = quoted(&trait_column(place));
            let value = if is_count { format!("coalesce({value}, 0)") } else { value };
            format!("{value} AS {}", quoted(&one.name))
        });
        attributes.chain(traits).map(|column| format!(",\n{column}")).collect()
    }
}

/// Where a record's values come from: column of the record, column of the list, type.
const LINEAGE: [(&str, &str, FieldType); 4] = [
    ("_owner", "_node", FieldType::Integer),
    ("_pk", "_pk", FieldType::Text),
    ("_at", "_at", FieldType::Timestamp),
    ("_seq", "_seq", FieldType::Integer),
];

/// The column of a trait before it has its name.
fn trait_column(place: usize) -> String {
    format!("_t{place}")
}
