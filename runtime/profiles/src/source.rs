//! Lake tables as profiles see them: which columns a table has, what its mapping gives to profiles, and which of
//! its rows are current.

use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};

use crate::sql::{null, quoted};

/// One column of a lake table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    /// Of the plaintext, where sealed.
    pub kind: FieldType,
    /// The table holds ciphertexts (Arrow Binary).
    pub sealed: bool,
}

/// An attribute that a table gives to profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSource {
    /// Of the attribute.
    pub name: String,
    /// Of the column in the lake table: a bare column or `_attr_<name>`.
    pub column: String,
    pub sealed: bool,
    /// Of the plaintext, where sealed.
    pub kind: FieldType,
}

/// The stream that a child stream belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentTable {
    /// Lake table of the parent: `shop.orders`; it is among the sources too.
    pub table: String,
    /// Column of the child that holds the parent's key.
    pub field: String,
}

/// One lake table that takes part in profiles. A table without files yet is registered as an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSource {
    /// Name in the lake: `shop.customers`.
    pub table: String,
    pub connection: String,
    pub stream: String,
    /// The stream's columns after transforms, without system columns.
    pub columns: Vec<TableColumn>,
    /// False = every row that is not deleted is current.
    pub has_primary_key: bool,
    /// True when the rows are known to hold each record once (compacted): the search for the latest version is
    /// left out.
    pub has_one_version: bool,
    pub attributes: Vec<AttributeSource>,
    /// Identifier kinds for which the table has an `_id_<kind>` column.
    pub identifiers: Vec<String>,
    /// Purposes for which the table has `_consent_<purpose>` and `_consent_at_<purpose>` columns.
    pub consent: Vec<String>,
    /// The table has `_order_*` columns.
    pub has_order: bool,
    pub parent: Option<ParentTable>,
}

impl TableSource {
    /// The column of this name that the stream itself has.
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The records of known profiles as they are now: the row as `r`, its parent's as `p` where the stream has one, its
    /// profile as `a`.
    ///
    /// # Errors
    /// `E0765` when the parent is not among the sources, is the table itself, or is named by a sealed column.
    pub(crate) fn current_records(&self, sources: &[Self]) -> Result<CurrentRecords> {
        let (tables, node) = self.joined(sources, PARENTS_MAX)?;
        let from = format!("FROM {tables} JOIN \"assignments\" AS a ON a.\"node\" = {node}{}", self.is_current());
        Ok(CurrentRecords { from, node })
    }

    /// This table joined with its parent, and the expression of a row's identity node.
    fn joined(&self, sources: &[Self], parents_left: usize) -> Result<(String, String)> {
        let own = format!("{} AS r", quoted(&self.table));
        let Some(link) = &self.parent else { return Ok((own, "r.\"_node\"".to_owned())) };
        let parent = self.parent_source(sources, link)?;
        let Some(parents_left) = parents_left.checked_sub(1) else { return Err(self.parent_error("is its own parent")) };
        let (tables, node) = parent.joined(sources, parents_left)?;
        let order = ORDER_COLUMNS.map(|(column, _, kind)| match parent.has_order {
            true => format!("r.{0} AS {0}", quoted(column)),
            false => format!("{} AS {}", null(kind), quoted(column)),
        });
        let columns = format!("r.\"_pk\" AS \"_pk\", r.\"_epoch\" AS \"_epoch\", {node} AS \"_node\", {}", order.join(", "));
        let key = format!("CAST(r.{} AS VARCHAR)", quoted(&link.field));
        let tables = format!(
            "{own} JOIN (SELECT {columns} FROM {tables}{}) AS p ON {key} = p.\"_pk\" AND r.\"_epoch\" = p.\"_epoch\"",
            parent.is_current()
        );
        Ok((tables, "coalesce(r.\"_node\", p.\"_node\")".to_owned()))
    }

    /// `FROM … WHERE …` of the latest versions that are not deleted, as `r`; whether a parent still has them is not
    /// looked at.
    pub(crate) fn current_versions(&self) -> String {
        format!("FROM {} AS r{}", quoted(&self.table), self.is_current())
    }

    fn is_current(&self) -> String {
        let mut condition = " WHERE r.\"_deleted\" IS NOT TRUE".to_owned();
        if self.has_primary_key && !self.has_one_version {
            let latest = format!("SELECT max(\"_seq\") FROM {} GROUP BY \"_pk\"", quoted(&self.table));
            condition.push_str(&format!(" AND r.\"_seq\" IN ({latest})"));
        }
        condition
    }

    /// The table that this one's rows belong to.
    ///
    /// # Errors
    /// `E0765`.
    pub(crate) fn parent_source<'a>(&self, sources: &'a [Self], link: &ParentTable) -> Result<&'a Self> {
        if self.column(&link.field).is_some_and(|column| column.sealed) {
            return Err(self.parent_error("is named by a sealed column"));
        }
        sources.iter().find(|source| source.table == link.table).ok_or_else(|| self.parent_error("takes no part in profiles"))
    }

    fn parent_error(&self, problem: &str) -> Error {
        Error::configuration("E0765", format!("the parent of `{}` {problem}", self.table))
            .help("map the parent stream into profiles too, and let the child hold its key as it is")
    }
}

/// Where the current records of a table come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentRecords {
    /// `FROM … WHERE …`.
    pub(crate) from: String,
    /// Expression of a record's identity node.
    pub(crate) node: String,
}

/// Generations of parents; streams have one or two.
const PARENTS_MAX: usize = 8;

/// System column of an order, the name under which traits know it, its type.
pub(crate) const ORDER_COLUMNS: [(&str, &str, FieldType); 5] = [
    ("_order_id", "id", FieldType::Text),
    ("_order_at", "at", FieldType::Timestamp),
    ("_order_currency", "currency", FieldType::Text),
    ("_order_net", "net", FieldType::Decimal),
    ("_order_status", "status", FieldType::Text),
];
