//! One connection of a service, as data, and the texts that ask for it.

use serde_json::{Value, json};

use super::Connection;
use crate::records::{Column, fields};
use crate::stream::StreamSchema;
use crate::{json, values};

/// A connection that is read as a stream: its columns, what is asked of each record, and what a record costs.
///
/// ```
/// use affluent_sdk::FieldType::{Text, Timestamp};
/// use affluent_sdk::graphql::List;
/// use affluent_sdk::records::Column;
///
/// const ISSUES: List = List::new(
///     "issues",
///     &[Column::new("id", Text, "/id").required(), Column::new("updated_at", Timestamp, "/updatedAt")],
///     "id updatedAt",
/// )
/// .search("since", "DateTime")
/// .arguments("filter:{since:$since},orderBy:UPDATED_AT")
/// .updated("updated_at", "/updatedAt");
///
/// assert_eq!(ISSUES.name(), "issues");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct List {
    pub(super) stream: &'static str,
    pub(super) connection: &'static str,
    pub(super) columns: &'static [Column],
    selection: &'static str,
    pub(super) points: u32,
    arguments: &'static str,
    search: Option<(&'static str, &'static str)>,
    updated: Option<(&'static str, &'static str)>,
    pub(super) child: Option<Child>,
}

/// A connection inside each record, read as a child stream: its first records come with their parent, the others by queries
/// of their own before the page is given.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// The child stream.
    pub stream: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// The connection's name in a parent.
    pub connection: &'static str,
    /// What is asked of each record.
    pub selection: &'static str,
    /// Points of one record.
    pub points: u32,
    /// Records that come with their parent.
    pub first: u32,
    /// Records of each query for those that did not.
    pub more: u32,
    /// The query's field that gives one parent by `id`.
    pub parent: &'static str,
    /// The member of a record that holds its parent's `id`: bulk results come with it, pages get it.
    pub parent_id: &'static str,
    /// The column that holds the parent's primary key.
    pub parent_column: &'static str,
}

impl List {
    /// A stream whose connection has the same name, with the fields asked of each record (`id name address{city}`). Its
    /// primary key is the column `id`.
    pub const fn new(stream: &'static str, columns: &'static [Column], selection: &'static str) -> Self {
        let (arguments, search, updated, child) = ("", None, None, None);
        Self { stream, connection: stream, columns, selection, points: 0, arguments, search, updated, child }
    }

    /// The connection has another name than the stream.
    #[must_use]
    pub const fn connection(self, name: &'static str) -> Self {
        Self { connection: name, ..self }
    }

    /// Points that one record costs, where the service counts them: see [`super::Bounds`].
    #[must_use]
    pub const fn points(self, points: u32) -> Self {
        Self { points, ..self }
    }

    /// Arguments of the connection beside `first` and `after`; they make it give the oldest update first.
    #[must_use]
    pub const fn arguments(self, arguments: &'static str) -> Self {
        Self { arguments, ..self }
    }

    /// The variable of the query, and its type, that gets what [`super::Graphql::search`] says; null for everything.
    #[must_use]
    pub const fn search(self, variable: &'static str, variable_type: &'static str) -> Self {
        Self { search: Some((variable, variable_type)), ..self }
    }

    /// The stream can be read incrementally: a timestamp column, and where a record holds it.
    #[must_use]
    pub const fn updated(self, column: &'static str, pointer: &'static str) -> Self {
        Self { updated: Some((column, pointer)), ..self }
    }

    /// Each record holds a connection that is a stream too.
    #[must_use]
    pub const fn child(self, child: Child) -> Self {
        Self { child: Some(child), ..self }
    }

    /// The stream's name.
    pub const fn name(&self) -> &'static str {
        self.stream
    }

    /// The fields asked of each record, as they were given.
    pub const fn selection(&self) -> &'static str {
        self.selection
    }

    /// The stream and its child.
    pub(super) fn schemas(&self) -> impl Iterator<Item = StreamSchema> {
        let schema = |name, columns| StreamSchema::new(name, fields(columns)).primary_key(["id"]);
        let own = schema(self.stream, self.columns);
        let own = match self.updated {
            Some((column, _)) => own.incremental(Some(column)),
            None => own,
        };
        let is_incremental = self.updated.is_some();
        let child = self.child.map(|child| {
            let lines = schema(child.stream, child.columns);
            let lines = if is_incremental { lines.incremental(None) } else { lines };
            lines.child_of(self.stream, child.parent_column)
        });
        std::iter::once(own).chain(child)
    }

    pub(super) fn is_searchable(&self) -> bool {
        self.search.is_some()
    }

    /// When a record changed, as it says.
    pub(super) fn updated_us(&self, record: &Value) -> Option<i64> {
        values::parse_timestamp(json::text(record, self.updated?.1))
    }

    /// The query for a page of these fields; the child's connection stands among them already.
    pub(super) fn page_query(&self, fields: &str) -> String {
        let variable = self.search.map_or(String::new(), |(name, kind)| format!(",${name}:{kind}"));
        let arguments = if self.arguments.is_empty() { String::new() } else { format!(",{}", self.arguments) };
        let name = self.connection;
        let page = Connection::of(fields);
        format!("query($first:Int!,$after:String{variable}){{page:{name}(first:$first,after:$after{arguments}){page}}}")
    }

    /// The query of a bulk operation for these fields: everything that is searched for, without pages.
    pub(super) fn bulk_query(&self, fields: &str, search: &str) -> String {
        let wanted = self.search.filter(|_| !search.is_empty());
        let arguments = wanted.map_or(String::new(), |(name, _)| format!("({name}:{})", json!(search)));
        format!("{{{}{arguments}{}}}", self.connection, edges(fields))
    }

    /// The variables of [`List::page_query`].
    pub(super) fn variables(&self, first: u32, after: Option<&str>, search: &str) -> Value {
        let mut variables = json!({ "first": first, "after": after });
        if let (Some((name, _)), Some(object)) = (self.search, variables.as_object_mut()) {
            object.insert(name.to_owned(), json!(Some(search).filter(|search| !search.is_empty())));
        }
        variables
    }
}

impl Child {
    /// The connection among the fields of a parent, in a page.
    pub(super) fn in_page(&self) -> String {
        format!("{}(first:{}){}", self.connection, self.first, Connection::of(self.selection))
    }

    /// The connection among the fields of a parent, in a bulk operation.
    pub(super) fn in_bulk(&self) -> String {
        format!("{}{}", self.connection, edges(self.selection))
    }

    /// The query for the records after a cursor.
    pub(super) fn more_query(&self) -> String {
        let (parent, connection, more) = (self.parent, self.connection, self.more);
        let page = Connection::of(self.selection);
        format!("query($id:ID!,$after:String){{{parent}(id:$id){{{connection}(first:{more},after:$after){page}}}}}")
    }

    /// Where the answer to [`Child::more_query`] holds the page.
    pub(super) fn more_pointer(&self) -> String {
        format!("/{}/{}", self.parent, self.connection)
    }
}

fn edges(fields: &str) -> String {
    format!("{{edges{{node{{{fields}}}}}}}")
}
