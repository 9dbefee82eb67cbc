//! Tables whose later files replace rows of earlier ones: each file is read as it is, without the keys that a later one has.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use affluent_model::Result;
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

/// The place of the last file that has a key, of those after the first.
type LastPlaces = HashMap<Box<str>, usize, FixedState>;

/// The table as a view over its files.
///
/// # Errors
/// `E0735` when a later file cannot be read or has no keys.
pub(crate) fn table(state: &SessionState, dir: &Path, table: &LakeTable, replaces: &Replaces) -> Result<Arc<dyn TableProvider>> {
    let mut last = LastPlaces::default();
    for (place, name) in table.files.iter().enumerate().skip(1) {
        add_keys(dir, (place, name), &replaces.key, &mut last)?;
    }
    let last = Arc::new(last);
    let schema = with_gone(&table.schema, &replaces.gone);
    let parts = table.files.iter().enumerate().map(|(place, name)| {
        let file = file_table(state, &LakeTable::new(name.to_owned(), Arc::clone(&schema), vec![name.to_owned()]))?;
        let current = (place + 1 < table.files.len()).then(|| is_in_no_later_file(&last, place, &replaces.key));
        part(file, (name, &table.schema), replaces, current).map_err(|error| failures::planning(&error))
    });
    let parts: Vec<LogicalPlan> = parts.collect::<Result<_>>()?;
    let union = parts
        .into_iter()
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
    current: Option<Expr>,
) -> Result<LogicalPlan, DataFusionError> {
    let mut plan = LogicalPlanBuilder::scan(name, provider_as_source(file), None)?;
    if let Some(current) = current {
        plan = plan.filter(current)?;
    }
    let columns = shown.fields().iter().map(|field| ident(field.name()));
    plan.filter(ident(&replaces.gone).is_not_true())?.project(columns.collect::<Vec<Expr>>())?.build()
}

fn with_gone(schema: &SchemaRef, gone: &str) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = fields.chain([Field::new(gone, DataType::Boolean, true)]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn is_in_no_later_file(last: &Arc<LastPlaces>, place: usize, column: &str) -> Expr {
    let last = Arc::clone(last);
    let later = Lookup::texts("is_replaced", Arc::new(move |key| last.get(key).filter(|last| **last > place).map(|_| 1)));
    later.function().call(vec![ident(column)]).is_null()
}

fn add_keys(dir: &Path, (place, name): (usize, &str), column: &str, last: &mut LastPlaces) -> Result<()> {
    let no_keys = || failures::damaged(format!("lake file `{name}` has no texts in `{column}`"));
    rewrite::scan(dir, name, &[column], &mut |batch| {
        let column = batch.column_by_name(column).and_then(|column| column.as_string_view_opt()).ok_or_else(no_keys)?;
        for key in column.iter().flatten() {
            match last.get_mut(key) {
                Some(known) => *known = place,
                None => _ = last.insert(Box::from(key), place),
            }
        }
        Ok(())
    })
}
