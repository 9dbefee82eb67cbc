//! What the rest of the runtime knows of the lake: immutable Parquet files under names the caller chooses, and SQL
//! over an explicit list of them. The ledger decides which files exist; the lake keeps no list of its own, so a
//! query sees exactly the version that the caller read from the ledger. No DataFusion type crosses this file.

use std::collections::HashSet;
use std::path::PathBuf;

use affluent_model::Result;
use affluent_model::fold::Fold;
use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::future::BoxFuture;

use crate::lookup::Lookup;

/// Where the lake lives and what its queries may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeOptions {
    /// Made with mode 0700 when missing.
    pub dir: PathBuf,
    /// Memory that all queries together may hold; what does not fit is spilled to `<dir>/tmp`.
    pub memory_bytes: usize,
    /// Memory for the second try of a query that did not fit although it spilled: the narrow sides of its joins grew with
    /// the data.
    pub memory_bytes_max: usize,
    /// Partitions of one query, at least 1: they run at the same time and share the memory.
    pub partitions: usize,
}

/// Immutable files and SQL over them.
pub trait Lake: Send + Sync {
    /// Opens a new file for writing; it becomes visible under `name` when the writer is finished.
    ///
    /// `name` is `[a-z0-9-]+`, at most [`crate::limits::FILE_NAME_BYTES_MAX`] bytes, unguessable and never used before.
    /// The field metadata of `schema` is stored in the file.
    /// # Errors
    /// `E0730` for a name that is not one or that exists, `E0731` when the file cannot be made.
    fn create_file(&self, name: &str, schema: SchemaRef) -> Result<Box<dyn LakeWriter>>;

    /// Runs a query and collects its rows, no batch at all when there are none. For small results; see [`Lake::stream`].
    ///
    /// Result columns of every backend have the Arrow types of `FieldType`; lists and structs stay as they are.
    /// # Errors
    /// `E0732` the SQL is refused, `E0733` the query went wrong, `E0734` it needs more memory than it may use,
    /// `E0735` a file is missing or unreadable.
    fn query<'a>(&'a self, query: LakeQuery) -> BoxFuture<'a, Result<Vec<RecordBatch>>>;

    /// Runs a query and hands each batch to `visit` as it comes; returns the number of rows. Where there are none, one batch
    /// without rows tells the columns.
    ///
    /// The order of rows is that of the query's `ORDER BY`, else unspecified. An error of `visit` ends the query.
    /// # Errors
    /// As [`Lake::query`], and what `visit` returns.
    fn stream<'a>(
        &'a self,
        query: LakeQuery,
        visit: &'a mut (dyn FnMut(RecordBatch) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<u64>>;

    /// Writes the result of a query to one new file.
    /// # Errors
    /// As [`Lake::query`] and [`Lake::create_file`]; no file is left behind.
    fn materialize<'a>(&'a self, query: LakeQuery, name: &'a str) -> BoxFuture<'a, Result<LakeFile>>;

    /// The columns of a finished file, with the field metadata they were written with.
    /// # Errors
    /// `E0735` when the file is missing or unreadable.
    fn file_schema(&self, name: &str) -> Result<SchemaRef>;

    /// Visits some columns of one finished file, in its order of rows; columns that it lacks are left out. Bytes and texts come as
    /// views of what was read.
    /// # Errors
    /// `E0735` when the file is missing or unreadable, and what `visit` returns.
    fn scan_file(&self, name: &str, columns: &[&str], visit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()>;

    /// Writes the rows of a finished file that `keep` wants to a new file of the same columns, in their order.
    /// # Errors
    /// As [`Lake::scan_file`] and [`Lake::create_file`]; no file is left behind.
    fn rewrite_file(
        &self,
        name: &str,
        new_name: &str,
        keep: &mut dyn FnMut(&RecordBatch) -> Result<BooleanArray>,
    ) -> Result<LakeFile>;

    /// Removes the files that are not in `keep` and were last written before `written_before_us` (microseconds UTC);
    /// the limit protects files whose ledger transaction is still to come. Returns how many were removed.
    /// # Errors
    /// `E0731` when the directory cannot be read or a file cannot be removed.
    fn sweep(&self, keep: &HashSet<String>, written_before_us: i64) -> Result<u64>;
}

/// A file being written; nobody sees it before [`LakeWriter::finish`], and a dropped writer leaves nothing behind.
pub trait LakeWriter: Send {
    /// Appends rows; the batch has the schema of the file (metadata aside).
    /// # Errors
    /// `E0731` when the disk refuses, `E0001` when the batch has other columns.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Makes the file durable (fsync of file and directory) and then visible.
    /// # Errors
    /// `E0731` when the disk refuses; the file is not visible then.
    fn finish(self: Box<Self>) -> Result<LakeFile>;
}

/// A finished file, for the ledger's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeFile {
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
}

/// One `SELECT` and everything it may read.
#[derive(Debug, Clone)]
pub struct LakeQuery {
    /// One `SELECT`; names are case-sensitive as written, table names are quoted: `"shop.orders"`.
    pub sql: String,
    pub tables: Vec<LakeTable>,
    /// Tables of rows held in memory: name, schema, rows.
    pub memory: Vec<(String, SchemaRef, Vec<RecordBatch>)>,
    /// Functions of this query alone.
    pub lookups: Vec<Lookup>,
    /// A table made of the rows of another query over the same tables.
    pub fold: Option<Fold>,
    /// Conditions on columns let few rows of the files through: columns that no condition names are read of those rows alone.
    pub is_selective: bool,
    /// Bytes and texts come as views of what was read (Arrow `BinaryView` and `Utf8View`), for those who look at each value once; not
    /// for rows that become a file.
    pub with_views: bool,
    /// What `now()` and `current_date` say, microseconds UTC.
    pub now_us: i64,
}

impl LakeQuery {
    /// A query over tables of files alone.
    #[must_use]
    pub fn new(sql: String, tables: Vec<LakeTable>, now_us: i64) -> Self {
        Self { sql, tables, memory: Vec::new(), lookups: Vec::new(), fold: None, is_selective: false, with_views: false, now_us }
    }
}

/// A table made of files.
#[derive(Debug, Clone)]
pub struct LakeTable {
    pub name: String,
    /// The columns a query sees; a file that lacks one reads as null there, columns it has besides are not seen.
    pub schema: SchemaRef,
    /// Names given to [`Lake::create_file`]; none = a table without rows.
    pub files: Vec<String>,
    /// Set where rows of later files stand for those of earlier ones.
    pub replaces: Option<Replaces>,
}

/// Of the rows with one key those of the last file that has any are there; of a key that is gone there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Text column, never null.
    pub key: String,
    /// Boolean column: true in a row that says nothing but that its key is gone; a file may lack it. Queries do not see it.
    pub gone: String,
}

impl LakeTable {
    /// A table whose files have different rows.
    #[must_use]
    pub fn new(name: String, schema: SchemaRef, files: Vec<String>) -> Self {
        Self { name, schema, files, replaces: None }
    }
}
