//! Tables whose later files replace rows of earlier ones: each file is read as it is, without the keys that a later one has.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use affluent_model::{Error, Result};
use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::ident;
use foldhash::fast::FixedState;

use crate::embedded::file_table;
use crate::failures;
use crate::lake::{LakeTable, Replaces};
use crate::lookup::Lookup;
use crate::rewrite;

/// The keys of files.
type Keys = HashSet<Box<str>, FixedState>;

/// The table as a view over its files.
///
/// # Errors
/// `E0735` when a later file cannot be read or has no keys.
pub(crate) fn table(state: &SessionState, dir: &Path, table: &LakeTable, replaces: &Replaces) -> Result<Arc<dyn TableProvider>> {
    let mut later = Arc::new(Keys::default());
    let mut parts: Vec<LogicalPlan> = Vec::new();
    let schema = with_gone(&table.schema, &replaces.gone);
    for (place, name) in table.files.iter().enumerate().rev() {
        let file = file_table(state, &LakeTable::new(name.to_owned(), Arc::clone(&schema), vec![name.to_owned()]))?;
        parts.push(part(file, (name, &table.schema), replaces, &later).map_err(|error| failures::planning(&error))?);
        if place > 0 {
            let mut keys = Arc::unwrap_or_clone(later);
            add_keys(dir, name, &replaces.key, &mut keys)?;
            later = Arc::new(keys);
        }
    }
    let union = parts
        .into_iter()
        .rev()
        .map(Ok)
        .reduce(|all: Result<LogicalPlan, DataFusionError>, part| LogicalPlanBuilder::from(all?).union(part?)?.build());
    match union {
        Some(union) => Ok(Arc::new(ViewTable::new(union.map_err(|error| failures::planning(&error))?, None))),
        None => file_table(state, table),
    }
}

/// The rows of one file that are there, in the columns that are shown.
fn part(
    file: Arc<dyn TableProvider>,
    (name, shown): (&str, &SchemaRef),
    replaces: &Replaces,
    later: &Arc<Keys>,
) -> Result<LogicalPlan, DataFusionError> {
    let mut plan = LogicalPlanBuilder::scan(name, provider_as_source(file), None)?;
    if !later.is_empty() {
        plan = plan.filter(is_not_among(later, &replaces.key))?;
    }
    let columns = shown.fields().iter().map(|field| ident(field.name()));
    plan.filter(ident(&replaces.gone).is_not_true())?.project(columns.collect::<Vec<Expr>>())?.build()
}

fn with_gone(schema: &SchemaRef, gone: &str) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = fields.chain([Field::new(gone, DataType::Boolean, true)]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn is_not_among(keys: &Arc<Keys>, column: &str) -> Expr {
    let keys = Arc::clone(keys);
    let among = Lookup::texts("is_replaced", Arc::new(move |key| keys.contains(key).then_some(1)));
    among.function().call(vec![ident(column)]).is_null()
}

fn add_keys(dir: &Path, name: &str, column: &str, keys: &mut Keys) -> Result<()> {
    let no_keys = || Error::external("E0735", format!("lake file `{name}` has no texts in `{column}`"));
    rewrite::scan(dir, name, &[column], &mut |batch| {
        let column = batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(no_keys)?;
        keys.extend(column.iter().flatten().map(Box::from));
        Ok(())
    })
}
