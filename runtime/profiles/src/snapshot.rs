//! SQL of the `profiles` snapshot: one row per profile with its attributes, their lineage and its computed traits.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::fold::{self, Fold, KeyNames, Pick};
use affluent_model::schema::FieldType;
use affluent_model::survivorship::Survivorship;
use affluent_model::{Error, Result};

use crate::attributes::{Attribute, attributes_of, filled, value_column};
pub use crate::computed_traits::{PassRows, TraitPass, trait_column};
use crate::computed_traits::{columns_of_stream, trait_passes};
use crate::lineage::givers::{FROM, GIVERS_KEY, GIVES, Givers, GivingTable};
use crate::source::{TableColumn, TableSource, of_profiles};
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
    /// The value with the most records; ties: the one of more revenue where the stream has a column of that (`net`, `total`,
    /// `line_total`, `amount`), then the smaller value. Null is not a value.
    MostFrequent { expression: String },
    /// The column of its place ([`trait_column`]) in the table [`GIVEN`], which the caller gives with the query.
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
    /// What is to be run first; the table of each is given with the query.
    pub passes: Vec<TraitPass>,
    /// Reads the table of `survivors`.
    pub sql: String,
    /// What survives of the rows of each profile.
    pub survivors: Fold,
}

/// The query whose rows are the `profiles` snapshot, for the tables of `sources`, the function [`crate::source::PROFILE_OF`], and three
/// kinds of tables in memory whose row n is about profile n: [`PROFILE_IDS`] with the id of each in the order of ids, those of
/// the passes, and, where a trait is [`PreparedMeasure::Given`], [`GIVEN`].
///
/// Columns: `profile`, then the attributes by name and, where there are any, [`FROM`] (which records give them), then the traits in their
/// order. One row per profile id.
///
/// `pins` says of attributes how many pins stand: the query is given [`crate::lineage::rule::pin_function`] of each.
///
/// # Errors
/// `E0760` a trait's stream is in no source, `E0761` an attribute is sealed in one table and clear in another, `E0762`
/// types that do not fit in one column, `E0764` two columns of one name, `E0765` a parent that is no source, `E0767` a strategy that
/// cannot choose among an attribute's values.
pub fn snapshot_query(
    sources: &[TableSource],
    traits: &[PreparedTrait],
    survivorship: &BTreeMap<String, Survivorship>,
    pins: &BTreeMap<String, usize>,
) -> Result<SnapshotQuery> {
    let attributes = attributes_of(sources, survivorship, pins)?;
    check_names(&attributes, traits)?;
    let parts = Parts { sources, attributes, traits };
    let passes = trait_passes(traits, sources)?;
    let given = traits.iter().any(|one| one.measure == PreparedMeasure::Given).then(|| GIVEN.to_owned());
    let beside = passes.iter().map(|pass| pass.table.clone()).chain(given).collect();
    let names = KeyNames { table: PROFILE_IDS.to_owned(), column: "profile".to_owned(), beside };
    let survivors = Fold {
        table: SURVIVORS.to_owned(),
        sql: parts.records()?,
        key: "_profile".to_owned(),
        latest_by: vec!["_at".to_owned(), "_seq".to_owned()],
        names,
        picks: parts.picks(),
        givers: (!parts.attributes.is_empty()).then(|| parts.givers()).transpose()?,
    };
    let sql = format!("SELECT \"_profile\" AS \"profile\"{}{}", parts.columns(), from_survivors());
    Ok(SnapshotQuery { passes, sql, survivors })
}

impl SnapshotQuery {
    /// With the column [`GONE`] of the table of that name, which is given with the query: true for a profile that is no more.
    #[must_use]
    pub fn with_gone(mut self) -> Self {
        self.survivors.names.beside.push(GONE.to_owned());
        let from = from_survivors();
        self.sql = format!("{}, \"{GONE}\"{from}", self.sql.trim_end_matches(&from));
        self
    }
}

fn from_survivors() -> String {
    format!("\nFROM \"{SURVIVORS}\"")
}

/// The table, with one column of the same name, that says which profiles are no more.
pub const GONE: &str = "_gone";

/// The table of profile ids by number: one column, `profile`.
pub const PROFILE_IDS: &str = "profile_ids";

/// The table of the values of traits that are given.
pub const GIVEN: &str = "_given";

/// The table of what survives.
const SURVIVORS: &str = "survivors";

fn check_names(attributes: &[Attribute<'_>], traits: &[PreparedTrait]) -> Result<()> {
    let of_attributes = attributes.iter().map(|attribute| attribute.name.to_owned());
    let mut known = BTreeSet::from(["profile".to_owned(), FROM.to_owned()]);
    for name in of_attributes.chain(traits.iter().map(|one| one.name.clone())) {
        if known.contains(&name) {
            return Err(Error::configuration("E0764", format!("two columns of a profile would be named `{name}`"))
                .help("rename the attribute or the computed trait"));
        }
        known.insert(name);
    }
    Ok(())
}

/// What a snapshot is made of: the records that give attributes, folded into one row per profile. Traits are lists by the number of
/// the profile, which stand beside.
struct Parts<'a> {
    sources: &'a [TableSource],
    attributes: Vec<Attribute<'a>>,
    traits: &'a [PreparedTrait],
}

impl Parts<'_> {
    /// The records of all sources that give attributes, with their profiles.
    fn records(&self) -> Result<String> {
        let givers = self.sources.iter().enumerate().filter(|(_, source)| !source.attributes.is_empty());
        let records = givers.map(|(number, source)| {
            let lineage = LINEAGE.iter().map(|(stored, column)| format!(", n.\"{stored}\" AS \"{column}\"")).collect::<String>();
            let attributes = || self.attributes.iter().enumerate();
            let values = attributes()
                .map(|(place, attribute)| format!(", {} AS {}", attribute.value(number), quoted(&value_column(place))));
            let filled = filled(&self.attributes, number);
            let preferences = attributes().filter_map(|(place, attribute)| attribute.preference_column(place, number, &filled));
            let counting = attributes().filter_map(|(place, attribute)| attribute.counting_column(place, number));
            let preferences: String = preferences.chain(counting).map(|column| format!(", {column}")).collect();
            let number = cast(&number.to_string(), FieldType::Integer);
            let from = source.records(self.sources)?;
            Ok(format!("SELECT {number} AS \"_source\"{lineage}{}{preferences} FROM ({from}) AS n", values.collect::<String>()))
        });
        let records = records.collect::<Result<Vec<String>>>()?;
        if records.is_empty() {
            let integers = ["_profile", "_source", "_node", "_seq"].map(|name| (name, FieldType::Integer));
            let columns = integers.into_iter().chain([("_pk", FieldType::Text), ("_at", FieldType::Timestamp)]);
            let columns: Vec<String> = columns.map(|(name, kind)| format!("{} AS {}", null(kind), quoted(name))).collect();
            return Ok(format!("SELECT {} WHERE false", columns.join(", ")));
        }
        Ok(of_profiles(&union_all(&records), "_node"))
    }

    /// What is taken of the rows of a profile, the newest first.
    fn picks(&self) -> Vec<Pick> {
        self.attributes.iter().enumerate().map(|(place, attribute)| attribute.pick(place, self.sources)).collect()
    }

    /// The records that give attributes, told once for all that one gives.
    fn givers(&self) -> Result<fold::Givers> {
        let table = |source: &TableSource| GivingTable {
            table: source.table.clone(),
            columns: source.attributes.iter().map(|given| (given.name.clone(), given.column.clone())).collect(),
        };
        let attributes = self.attributes.iter().map(|attribute| attribute.name.to_owned()).collect();
        let givers = Givers { attributes, tables: self.sources.iter().map(table).collect() };
        let take = [("_source", "source"), ("_pk", "record"), ("_node", "node"), ("_at", "at")];
        Ok(fold::Givers {
            column: FROM.to_owned(),
            take: take.map(|(column, name)| (column.to_owned(), name.to_owned())).to_vec(),
            gives: GIVES.to_owned(),
            metadata: BTreeMap::from([(GIVERS_KEY.to_owned(), givers.to_text()?)]),
        })
    }

    /// The columns of the snapshot after `profile`.
    fn columns(&self) -> String {
        let attributes = self.attributes.iter().enumerate().map(|(place, attribute)| attribute.column(place));
        let attributes = attributes.chain((!self.attributes.is_empty()).then(|| quoted(FROM)));
        let traits = self.traits.iter().enumerate().map(|(place, one)| {
            let is_count = matches!(one.measure, PreparedMeasure::Aggregate { is_count: true, .. });
            let value = quoted(&trait_column(place));
            let value = if is_count { format!("coalesce({value}, 0)") } else { value };
            format!("{value} AS {}", quoted(&one.name))
        });
        attributes.chain(traits).map(|column| format!(",\n{column}")).collect()
    }
}

/// Where a record's values come from: column of the record, column of the list.
const LINEAGE: [(&str, &str); 4] = [("_owner", "_node"), ("_pk", "_pk"), ("_at", "_at"), ("_seq", "_seq")];
