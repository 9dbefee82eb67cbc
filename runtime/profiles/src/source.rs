//! Lake tables as profiles see them: which columns a table has, what its mapping gives to profiles, and which of
//! its rows are current.

use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};

use crate::consent::ConsentSource;
use crate::sql::quoted;

/// The column by which windows go, whatever conditions name, where a stream has a time of this name and no order.
pub const OWN_TIME: &str = "at";

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

/// What is known of the versions of a table's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Versions {
    /// A query must look for the latest ones itself.
    Unknown,
    /// Each record is there once, and none is deleted.
    One,
    /// The query is given a function of this name: of a row's `_seq`, whether a later version or a deletion has made it void.
    Superseded(String),
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
    pub versions: Versions,
    pub attributes: Vec<AttributeSource>,
    /// Identifier kinds for which the table has an `_id_<kind>` column.
    pub identifiers: Vec<String>,
    /// What its records say of consent.
    pub consent: Vec<ConsentSource>,
    /// The table has `_order_*` columns.
    pub has_order: bool,
    pub parent: Option<ParentTable>,
}

impl TableSource {
    /// The column of this name that the stream itself has.
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The query of the records as they are now, with all columns of the table, the identity node of their owner as
    /// `_owner`, and their order's columns as `_parent_order_*` where the parent stream has orders.
    ///
    /// The narrow side of each join stands first, because that is the one a hash join holds in memory. Every join has a
    /// `SELECT` of its own and plain columns for keys: DataFusion 55 makes one flat list of joins that follow each other,
    /// and loses a key there that is made of two tables.
    ///
    /// # Errors
    /// `E0765` when the parent is not among the sources, is the table itself, or is named by a sealed column.
    pub(crate) fn records(&self, sources: &[Self]) -> Result<String> {
        self.records_within(sources, PARENTS_MAX)
    }

    fn records_within(&self, sources: &[Self], parents_left: usize) -> Result<String> {
        let own = self.current_versions();
        let Some(link) = &self.parent else { return Ok(format!("SELECT r.*, r.\"_node\" AS \"_owner\" {own}")) };
        let parent = self.parent_source(sources, link)?;
        let Some(parents_left) = parents_left.checked_sub(1) else { return Err(self.parent_error("is its own parent")) };
        let parents = parent.records_within(sources, parents_left)?;
        let order = ORDER_COLUMNS.iter().filter(|_| parent.has_order);
        let order: String = order.map(|(column, _, _)| format!(", p.\"{column}\" AS \"_parent{column}\"")).collect();
        let key = format!("CAST(r.{} AS VARCHAR)", quoted(&link.field));
        Ok(format!(
            "SELECT r.*, coalesce(r.\"_node\", p.\"_owner\") AS \"_owner\"{order} FROM ({parents}) AS p JOIN (SELECT r.* {own}) AS r \
             ON {key} = p.\"_pk\" AND r.\"_epoch\" = p.\"_epoch\""
        ))
    }

    /// `FROM … WHERE …` with the latest version of every record that is not deleted, as `r`. Whether a parent still has
    /// it is not looked at.
    ///
    /// Deletions are sorted out among the latest versions, not among the rows: a filter there would let the planner take
    /// the rows for few, and hold them in memory.
    pub(crate) fn current_versions(&self) -> String {
        let table = quoted(&self.table);
        match &self.versions {
            Versions::Superseded(is_void) if self.has_primary_key => {
                return format!("FROM {table} AS r WHERE r.\"_deleted\" IS NOT TRUE AND NOT {}(r.\"_seq\")", quoted(is_void));
            }
            // A deletion is void, and no row is.
            Versions::One if self.has_primary_key => return format!("FROM {table} AS r WHERE true"),
            Versions::Unknown if self.has_primary_key => {}
            _ => return format!("FROM {table} AS r WHERE r.\"_deleted\" IS NOT TRUE"),
        }
        let latest = format!(
            "SELECT max(\"_seq\") AS \"_latest\" FROM {table} GROUP BY \"_pk\" \
             HAVING max(\"_seq\") > coalesce(max(\"_seq\") FILTER (WHERE \"_deleted\"), -1)"
        );
        format!("FROM ({latest}) AS m JOIN {table} AS r ON r.\"_seq\" = m.\"_latest\" WHERE true")
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

/// The function of a query that gives the profile of a node, as a number: from 0 in the order of profile ids. Null where
/// nobody is the node.
pub const PROFILE_OF: &str = "profile_of";

/// The function of a query that gives the number of a profile by its id.
pub const NUMBER_OF: &str = "number_of";

/// `SELECT "_profile", n.*` over rows `n` with a column that names a node; null for rows of nobody. Whoever reads them leaves
/// those out where it must: a filter here would look every node up twice.
pub(crate) fn of_profiles(rows: &str, node: &str) -> String {
    format!("SELECT {PROFILE_OF}(n.{}) AS \"_profile\", n.* FROM ({rows}) AS n", quoted(node))
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
