//! Lake tables as profiles see them: which columns a table has, what its mapping gives to profiles, and which of
//! its rows are current.

use affluent_model::schema::FieldType;

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
