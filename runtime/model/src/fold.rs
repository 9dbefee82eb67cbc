//! Rows of one key made into one row: what survivorship needs of the lake beyond SQL. An aggregate per column would look
//! at every row once per column and keep its order beside each value, and a sort of whole rows would copy each several times; a fold
//! looks at rows once and copies what it takes of them.

use std::collections::BTreeMap;

use serde_json::Value;

/// A table of a query that is made of the rows of another query: those of one key become one row, in the order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Name under which the query reads it.
    pub table: String,
    /// The rows, in any order.
    pub sql: String,
    /// Integer column that says which rows belong together: the number of a key, from 0, or null for rows of nobody, which are
    /// left out. The first column of the table, with the key's name in place of its number.
    pub key: String,
    /// Integer columns and times that put the rows of a key in order, the latest first, null last; where the first is the same the
    /// next decides, then the order in which rows came. Earlier rows win.
    pub latest_by: Vec<String>,
    pub names: KeyNames,
    pub picks: Vec<Pick>,
    /// Set where it is to be told which rows gave what.
    pub givers: Option<Givers>,
}

/// The rows of each key that picks took something of, as a column of lists of structs: most picks of a key take of one row, which
/// is told once then. Stands in the table after what was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Givers {
    /// Its name.
    pub column: String,
    /// Column of the rows → field of the structs.
    pub take: Vec<(String, String)>,
    /// The last field of the structs, Binary: which picks the row gave, a bit for each in their order, the first the lowest of the
    /// first byte.
    pub gives: String,
    /// Arrow metadata of the column.
    pub metadata: BTreeMap<String, String>,
}

/// The names of keys, and what is known of them beside the rows. Every name has a row in the table, whether the query has rows
/// for it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNames {
    /// A table in memory that the query is given; row n, from 0, is about key n.
    pub table: String,
    /// Its text column with the names, never null.
    pub column: String,
    /// Tables in memory whose row n, from 0, is about key n: their columns stand in the table after the picks'.
    pub beside: Vec<String>,
}

/// Columns that are taken together from one row of each key: of the rows that qualify, one of the best rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    pub when: When,
    pub choose: Choose,
    /// `None` = all rows are of one rank.
    pub ranks: Option<Ranks>,
    /// Column of the rows → column of the table; null where no row qualifies.
    pub take: Vec<(String, String)>,
}

/// Which of the rows of the best rank; anything but the first needs [`When::NotNull`] or [`When::NotEmpty`], whose column is
/// weighed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choose {
    #[default]
    First,
    Last,
    Least,
    Most,
    /// The text of most letters.
    Longest,
    /// A row with the value that most rows have.
    MostFrequent,
    /// A row that says no where any does: of truth values, and of the words of consent ([`crate::consent::ConsentWord`]).
    Strictest,
    /// The first row; in place of its value the sum of all.
    Sum,
    /// The first row; in place of its value all distinct texts, sorted, with [`UNION_SEPARATOR`] between.
    Union,
    /// The first row; in place of its value a JSON list of all distinct values, lists taken apart.
    UnionOfLists,
}

impl Choose {
    /// True when the value is made of those of all rows of the best rank.
    #[must_use]
    pub fn combines(self) -> bool {
        matches!(self, Self::Sum | Self::Union | Self::UnionOfLists)
    }
}

/// What stands between the texts of a union.
pub const UNION_SEPARATOR: &str = ", ";

/// The values that a JSON document adds to a list, as JSON without spaces: those of a list, nothing of null, else itself; a
/// text that is no JSON is a text.
#[must_use]
pub fn elements_of(document: &str) -> Vec<String> {
    let values = match serde_json::from_str::<Value>(document) {
        Ok(Value::Array(values)) => values,
        Ok(Value::Null) => Vec::new(),
        Ok(value) => vec![value],
        Err(_) => vec![Value::String(document.to_owned())],
    };
    values.iter().map(Value::to_string).collect()
}

/// Which rows qualify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// This column has a value.
    NotNull(String),
    /// This text column has a value that is not empty.
    NotEmpty(String),
    /// This integer column has this value.
    Equals(String, i64),
}

/// Rows that are preferred whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    /// Integer column.
    pub column: String,
    /// Its value → rank, smaller is better; a value that is not here is last.
    pub rank_of: BTreeMap<i64, usize>,
}
