//! How DataFusion is set up here, for queries and expressions alike: names as written, our functions, no function
//! that reads the machine's clock or draws randomness, times in UTC.

use std::sync::Arc;

use affluent_model::{Error, Result};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::prelude::SessionConfig;

use crate::functions;
use crate::limits::QUERY_BATCH_ROWS;
use crate::lookup::Lookup;

const CATALOG: &str = "lake";
const SCHEMA: &str = "files";
/// A sort sets memory aside for merging what it spilled; DataFusion's 10 MB per partition would use a small pool up.
const SORT_SHARES: usize = 16;

/// What queries may use.
pub(crate) struct Resources {
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// Of one query, at least 1.
    pub(crate) partitions: usize,
    /// Of all queries together, for the runtime's memory pool.
    pub(crate) memory_bytes: usize,
}

/// The settings of sessions that run queries.
pub(crate) fn base_state(resources: Resources) -> SessionState {
    let partitions = resources.partitions.max(1);
    let mut config = config().with_target_partitions(partitions);
    let merge_bytes = resources.memory_bytes / (partitions * SORT_SHARES);
    // The queries of this product put the narrow side of a join first; statistics would hold the wide one in memory.
    config.options_mut().optimizer.join_reordering = false;
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = merge_bytes.min(execution.sort_spill_reservation_bytes);
    with_functions(SessionStateBuilder::new().with_config(config).with_runtime_env(resources.runtime))
}

/// The settings of a session that plans expressions and runs no query.
pub(crate) fn expression_state() -> SessionState {
    with_functions(SessionStateBuilder::new().with_config(config().with_target_partitions(1)))
}

fn with_functions(builder: SessionStateBuilder) -> SessionState {
    let mut builder = builder.with_default_features();
    let scalar = builder.scalar_functions().get_or_insert_default();
    scalar.retain(|function| {
        function.signature().volatility != Volatility::Volatile && !functions::REPLACED.contains(&function.name())
    });
    scalar.extend(functions::all());
    builder.build()
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_batch_size(QUERY_BATCH_ROWS)
        .with_collect_statistics(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    config
}

/// A session of one query: its own tables and functions, its own `now()` (microseconds UTC), the shared rest.
/// # Errors
/// `E0001` when `now_us` is no time that a calendar has.
pub(crate) fn query_state(
    base: &SessionState,
    runtime: Arc<RuntimeEnv>,
    lookups: &[Lookup],
    now_us: i64,
) -> Result<(SessionState, Arc<dyn SchemaProvider>)> {
    let Some(now) = arrow::temporal_conversions::timestamp_us_to_datetime(now_us) else {
        return Err(Error::bug(format!("`{now_us}` is no time in microseconds that a clock could show")));
    };
    let mut properties = ExecutionProps::new().with_query_execution_start_time(now.and_utc());
    properties.config_options = Some(Arc::clone(base.config_options()));
    let tables: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
    let mut builder = SessionStateBuilder::new_from_existing(base.clone())
        .with_runtime_env(runtime)
        .with_catalog_list(catalogs(&tables)?)
        .with_execution_props(properties);
    builder.scalar_functions().get_or_insert_default().extend(lookups.iter().map(Lookup::function));
    Ok((builder.build(), tables))
}

fn catalogs(tables: &Arc<dyn SchemaProvider>) -> Result<Arc<dyn CatalogProviderList>> {
    let catalog = MemoryCatalogProvider::new();
    catalog
        .register_schema(SCHEMA, Arc::clone(tables))
        .map_err(|error| Error::bug(format!("a new catalog takes a schema, yet: {error}")))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}
