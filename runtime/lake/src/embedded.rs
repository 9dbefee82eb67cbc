//! The lake in this process: files in one directory, DataFusion on the caller's tokio runtime. Each query gets its own
//! session with exactly the tables it names; nothing it could write to, nothing it could read beside them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use affluent_model::fold::{Fold, KeyNames};
use affluent_model::{Error, Result};
use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::streaming::PartitionStream as _;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::StreamExt as _;
use futures::future::BoxFuture;

use crate::canonical::{canonical_batch, canonical_schema, read_as_views, schema_with_views};
use crate::failures;
use crate::files::ReadFiles;
use crate::fold::{FoldedRows, Names};
use crate::lake::{Lake, LakeFile, LakeOptions, LakeQuery, LakeTable, LakeWriter};
use crate::limits::SPILL_BYTES_MAX;
use crate::replaced;
use crate::rewrite;
use crate::session::{self, Resources};
use crate::writer::{FINISHED, FileWriter, PARTIAL, check_name};

/// Where queries find the files: a store of its own, so that no path of the machine can be named.
const STORE: &str = "affluent-lake://files";
/// Folder of spilled data below the lake's directory.
const SPILL_DIR: &str = "tmp";

/// The lake of one directory, served by this process.
pub struct EmbeddedLake {
    dir: PathBuf,
    /// Queries run in several partitions at once.
    wide: SessionState,
    /// Queries that did not fit run once more in one partition, with as much memory as there may be.
    narrow: SessionState,
}

impl EmbeddedLake {
    /// Opens the lake, making its directory (mode 0700) when it is missing. Reads no file.
    /// # Errors
    /// `E0731` when the directory cannot be made.
    pub fn open(options: LakeOptions) -> Result<Self> {
        make_private_dir(&options.dir).map_err(|error| failures::disk("make its directory", &error))?;
        // Here, because of queries that begin at once the first two would both make it, and one of them fail.
        make_private_dir(&options.dir.join(SPILL_DIR)).map_err(|error| failures::disk("make its directory", &error))?;
        let dir = options.dir.canonicalize().map_err(|error| failures::disk("find its directory", &error))?;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
            .build_arc()
            .map_err(|error| failures::running(&error))?;
        let files =
            ReadFiles::new(dir.clone()).map_err(|error| failures::running(&DataFusionError::ObjectStore(Box::new(error))))?;
        let url = ObjectStoreUrl::parse(STORE).map_err(|error| failures::running(&error))?;
        runtime.register_object_store(url.as_ref(), Arc::new(files));
        let memory_bytes_max = options.memory_bytes_max.max(options.memory_bytes);
        let larger = RuntimeEnvBuilder::from_runtime_env(&runtime)
            .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes_max)))
            .build_arc()
            .map_err(|error| failures::running(&error))?;
        let wide = session::base_state(Resources { runtime, partitions: options.partitions, memory_bytes: options.memory_bytes });
        let narrow = session::base_state(Resources { runtime: larger, partitions: 1, memory_bytes: memory_bytes_max });
        Ok(Self { dir, wide, narrow })
    }

    /// Runs a query up to its first batch. Sorts and aggregates need their memory until then: where the shares of several
    /// partitions are too small, or joins hold more than there is, one partition with more memory may still do.
    async fn begin(&self, query: LakeQuery) -> Result<Running> {
        match self.start(&self.wide, query.clone()).await?.with_first_batch().await {
            Err(error) if error.code == failures::TOO_LARGE => self.start(&self.narrow, query).await?.with_first_batch().await,
            begun => begun,
        }
    }

    async fn start(&self, base: &SessionState, query: LakeQuery) -> Result<Running> {
        let runtime = self.runtime_of_query(base.runtime_env())?;
        let (mut state, tables) = session::query_state(base, runtime, &query.lookups, query.now_us)?;
        state.config_mut().options_mut().execution.parquet.pushdown_filters = query.is_selective;
        for table in &query.tables {
            let schema = if query.with_views { read_as_views(&table.schema) } else { Arc::clone(&table.schema) };
            let table = LakeTable { schema, ..table.clone() };
            let rows = match &table.replaces {
                Some(replaces) => replaced::table(&state, &self.dir, &table, replaces)?,
                None => file_table(&state, &table)?,
            };
            register(&tables, table.name, rows)?;
        }
        let names = query.fold.as_ref().map(|fold| names_of(&fold.names, &query.memory)).transpose()?;
        for (name, schema, rows) in query.memory {
            register(&tables, name, memory_table(schema, rows)?)?;
        }
        if let (Some(fold), Some(names)) = (&query.fold, names) {
            let rows = plan(&state, &fold.sql).await?;
            register(&tables, fold.table.clone(), folded_table(rows, fold, names)?)?;
        }
        let plan = plan(&state, &query.sql).await?;
        self.check_files(&query.tables)?;
        Running::start(plan, state.task_ctx(), query.with_views)
    }

    /// Planning reads a file that is missing as one without rows. Names are used once, so a file that is there after
    /// planning was there when it was planned.
    fn check_files(&self, tables: &[LakeTable]) -> Result<()> {
        let mut names = tables.iter().flat_map(|table| &table.files);
        match names.find(|name| !self.dir.join(format!("{name}{FINISHED}")).exists()) {
            Some(name) => Err(failures::unreadable().at(format!("file {name}"))),
            None => Ok(()),
        }
    }

    /// The shared memory pool and caches with a spill directory of this query's own, gone when the query is.
    fn runtime_of_query(&self, shared: &RuntimeEnv) -> Result<Arc<RuntimeEnv>> {
        let spill = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.dir.join(SPILL_DIR)]))
            .with_max_temp_directory_size(SPILL_BYTES_MAX);
        RuntimeEnvBuilder::from_runtime_env(shared)
            .with_disk_manager_builder(spill)
            .build_arc()
            .map_err(|error| failures::running(&error))
    }
}

/// A query under way.
struct Running {
    stream: SendableRecordBatchStream,
    /// The result's schema in the types of the model, or with views where they are asked for.
    schema: SchemaRef,
    /// Taken from the stream already.
    first: Option<RecordBatch>,
}

impl Running {
    fn start(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, with_views: bool) -> Result<Self> {
        let schema = if with_views { schema_with_views(&plan.schema()) } else { canonical_schema(&plan.schema()) };
        let stream = execute_stream(plan, context).map_err(|error| failures::running(&error))?;
        Ok(Self { stream, schema, first: None })
    }

    async fn with_first_batch(mut self) -> Result<Self> {
        self.first = self.next().await.transpose()?;
        Ok(self)
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        loop {
            let batch = match self.stream.next().await? {
                Ok(batch) if batch.num_rows() == 0 => continue,
                Ok(batch) => batch,
                Err(error) => return Some(Err(failures::running(&error))),
            };
            return Some(canonical_batch(batch, &self.schema).map_err(|error| failures::running(&error.into())));
        }
    }
}

impl Lake for EmbeddedLake {
    fn create_file(&self, name: &str, schema: SchemaRef) -> Result<Box<dyn LakeWriter>> {
        Ok(Box::new(FileWriter::create(&self.dir, name, schema)?))
    }

    fn query<'a>(&'a self, query: LakeQuery) -> BoxFuture<'a, Result<Vec<RecordBatch>>> {
        Box::pin(async move {
            let mut running = self.begin(query).await?;
            let mut batches = Vec::new();
            while let Some(batch) = running.next().await {
                batches.push(batch?);
            }
            Ok(batches)
        })
    }

    fn stream<'a>(
        &'a self,
        query: LakeQuery,
        visit: &'a mut (dyn FnMut(RecordBatch) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let mut running = self.begin(query).await?;
            if running.first.is_none() {
                visit(RecordBatch::new_empty(Arc::clone(&running.schema)))?;
            }
            let mut rows = 0_u64;
            while let Some(batch) = running.next().await {
                let batch = batch?;
                rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                visit(batch)?;
            }
            Ok(rows)
        })
    }

    fn materialize<'a>(&'a self, query: LakeQuery, name: &'a str) -> BoxFuture<'a, Result<LakeFile>> {
        Box::pin(async move {
            let mut running = self.begin(query).await?;
            let mut writer = Box::new(FileWriter::create(&self.dir, name, Arc::clone(&running.schema))?);
            while let Some(batch) = running.next().await {
                writer.write(&batch?)?;
            }
            writer.finish()
        })
    }

    fn file_schema(&self, name: &str) -> Result<SchemaRef> {
        Ok(Arc::clone(rewrite::open(&self.dir, name)?.schema()))
    }

    fn scan_file(&self, name: &str, columns: &[&str], visit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        rewrite::scan(&self.dir, name, columns, visit)
    }

    fn rewrite_file(
        &self,
        name: &str,
        new_name: &str,
        keep: &mut dyn FnMut(&RecordBatch) -> Result<BooleanArray>,
    ) -> Result<LakeFile> {
        rewrite::rewrite(&self.dir, name, new_name, keep)
    }

    fn sweep(&self, keep: &HashSet<String>, written_before_us: i64) -> Result<u64> {
        let is_unwanted = |name: &str| {
            let finished = name.strip_suffix(FINISHED);
            name.ends_with(PARTIAL) || finished.is_some_and(|name| !keep.contains(name))
        };
        let removed = remove_old(&self.dir, written_before_us, &is_unwanted, |path| fs::remove_file(path))
            .map_err(|error| failures::disk("sweep its directory", &error))?;
        let spill_dir = self.dir.join(SPILL_DIR);
        if spill_dir.exists() {
            remove_old(&spill_dir, written_before_us, &|_| true, |path| fs::remove_dir_all(path))
                .map_err(|error| failures::disk("sweep its spilled data", &error))?;
        }
        Ok(removed)
    }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

fn register(tables: &Arc<dyn SchemaProvider>, name: String, table: Arc<dyn TableProvider>) -> Result<()> {
    let known = name.clone();
    tables
        .register_table(name, table)
        .map(|_| ())
        .map_err(|_| Error::configuration("E0732", format!("the query names two tables `{known}`")))
}

pub(crate) fn file_table(state: &SessionState, table: &LakeTable) -> Result<Arc<dyn TableProvider>> {
    if table.files.is_empty() {
        return Ok(Arc::new(EmptyTable::new(Arc::clone(&table.schema))));
    }
    let urls = table.files.iter().map(|name| file_url(name)).collect::<Result<Vec<_>>>()?;
    let format = ParquetFormat::default().with_options(state.default_table_options().parquet);
    let options = ListingOptions::new(Arc::new(format)).with_file_extension(FINISHED);
    let config =
        ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(Arc::clone(&table.schema));
    let files = ListingTable::try_new(config).map_err(|error| failures::planning(&error))?;
    Ok(Arc::new(files.with_cache(state.runtime_env().cache_manager.get_file_statistic_cache())))
}

fn file_url(name: &str) -> Result<ListingTableUrl> {
    check_name(name)?;
    ListingTableUrl::parse(format!("{STORE}/{name}{FINISHED}")).map_err(|error| failures::planning(&error))
}

fn memory_table(schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    let rows = rows
        .into_iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::bug("rows held in memory have the schema they are registered with, yet they differ"))?;
    let table = MemTable::try_new(schema, vec![rows]).map_err(|error| failures::planning(&error))?;
    Ok(Arc::new(table))
}

/// The texts of keys and what is known beside them, from tables in memory.
fn names_of(names: &KeyNames, memory: &[(String, SchemaRef, Vec<RecordBatch>)]) -> Result<Names> {
    let missing = |name: &str| Error::bug(format!("a table in memory of as many rows as keys is `{name}`, yet it is not there"));
    let table = |name: &str| {
        let (_, schema, rows) = memory.iter().find(|(known, _, _)| known == name).ok_or_else(|| missing(name))?;
        concat_batches(schema, rows).map_err(|_| missing(name))
    };
    let texts = table(&names.table)?;
    let texts = texts.column_by_name(&names.column).and_then(|column| column.as_string_opt::<i32>());
    let texts = texts.cloned().ok_or_else(|| missing(&names.table))?;
    let mut beside = Vec::new();
    for name in &names.beside {
        let rows = table(name)?;
        if rows.num_rows() != texts.len() {
            return Err(missing(name));
        }
        let fields = rows.schema_ref().fields().iter().map(|field| field.as_ref().clone());
        beside.extend(fields.zip(rows.columns().iter().cloned()));
    }
    Ok(Names { texts, beside })
}

fn folded_table(rows: Arc<dyn ExecutionPlan>, fold: &Fold, names: Names) -> Result<Arc<dyn TableProvider>> {
    let rows = FoldedRows::new(rows, fold, names).map_err(|error| failures::planning(&error))?;
    let schema = Arc::clone(rows.schema());
    let table = StreamingTable::try_new(schema, vec![Arc::new(rows)]).map_err(|error| failures::planning(&error))?;
    Ok(Arc::new(table))
}

async fn plan(state: &SessionState, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
    let refused = |error: DataFusionError| failures::planning(&error);
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(refused)?;
    let is_select = matches!(&statement, Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)));
    if !is_select {
        return Err(Error::configuration("E0732", "the lake runs `SELECT` only"));
    }
    let logical = state.statement_to_plan(statement).await.map_err(refused)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&logical).map_err(refused)?;
    state.create_physical_plan(&logical).await.map_err(refused)
}

/// Removes the entries of `dir` that were last written before the given time and that `is_unwanted` names.
fn remove_old(
    dir: &Path,
    written_before_us: i64,
    is_unwanted: &dyn Fn(&str) -> bool,
    remove: fn(&Path) -> io::Result<()>,
) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_candidate = entry.file_name().to_str().is_some_and(is_unwanted);
        if !is_candidate {
            continue;
        }
        let outcome = entry.metadata().and_then(|known| known.modified()).and_then(|at| {
            let is_old = written_us(at) < written_before_us;
            if is_old { remove(&entry.path()).map(|()| 1) } else { Ok(0) }
        });
        removed += match outcome {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            outcome => outcome?,
        };
    }
    Ok(removed)
}

fn written_us(at: SystemTime) -> i64 {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}
