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

    /// Rows that are versions of records as they are now, as `r`; with the row of the parent as `p` where the stream has
    /// one. To be put after `SELECT …`.
    ///
    /// # Errors
    /// `E0765` when the parent is not among the sources, is the table itself, or is named by a sealed column.
    pub(crate) fn current_rows(&self, sources: &[Self]) -> Result<CurrentRows> {
        self.rows_within(sources, PARENTS_MAX)
    }

    fn rows_within(&self, sources: &[Self], parents_left: usize) -> Result<CurrentRows> {
        let mut from = format!("FROM {} AS r", quoted(&self.table));
        let mut node = "r.\"_node\"".to_owned();
        if let Some(link) = &self.parent {
            let parent = self.parent_source(sources, link)?;
            let Some(parents_left) = parents_left.checked_sub(1) else { return Err(self.parent_error("is its own parent")) };
            let rows = parent.rows_within(sources, parents_left)?;
            let order = ORDER_COLUMNS.map(|(column, _, kind)| match parent.has_order {
                true => format!("r.{0} AS {0}", quoted(column)),
                false => format!("{} AS {}", null(kind), quoted(column)),
            });
            let columns = format!("r.\"_pk\" AS \"_pk\", r.\"_epoch\" AS \"_epoch\", {} AS \"_node\", {}", rows.node, order.join(", "));
            let field = format!("CAST(r.{} AS VARCHAR)", quoted(&link.field));
            from.push_str(&format!(
                " JOIN (SELECT {columns} {}) AS p ON {field} = p.\"_pk\" AND r.\"_epoch\" = p.\"_epoch\"",
                rows.from
            ));
            "coalesce(r.\"_node\", p.\"_node\")".clone_into(&mut node);
        }
        from.push_str(&self.is_current());
        Ok(CurrentRows { from, node })
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

/// Where the current rows of a table come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentRows {
    /// `FROM … WHERE …`.
    pub(crate) from: String,
    /// Expression of the identity node of a row.
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
