//! The row programs of ingest: filters and mappings compiled once and applied to every batch. Filters come first and
//! later expressions see only the rows that are left. Not for lake queries: those go through [`crate::Lake`].

use std::collections::HashSet;
use std::sync::Arc;

use affluent_model::expression::ExpressionMistake;
use affluent_model::schema::{Field, FieldType};
use affluent_model::{Error, Result};
use arrow::array::{Array as _, ArrayRef, AsArray as _, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::logical_expr::{Expr, cast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::ident;

use crate::canonical::canonical_array;
use crate::classes::class_of;
use crate::expressions::Expressions;
use crate::failures;
use crate::functions::{NOW, TODAY};
use crate::mistakes::{self, suggestion};
use crate::syntax::Place;

/// The code of an expression that cannot be computed for a value.
const NOT_COMPUTED: &str = "E0738";
/// The column that carries the run's time to expressions that ask for it; no SQL can write this name.
const NOW_COLUMN: &str = "\u{1}now";

/// What [`RowProgram::apply_each`] made of a batch: every row of it is among the records, filtered or refused.
#[derive(Debug)]
pub struct Applied {
    /// In the order of the batch.
    pub records: RecordBatch,
    /// Rows that filters took out.
    pub filtered: u64,
    /// By row, ascending.
    pub refused: Vec<RefusedRow>,
}

/// A row for which an expression cannot be computed.
#[derive(Debug)]
pub struct RefusedRow {
    /// Place in the batch, from 0.
    pub row: usize,
    /// `E0738`; does not quote the value.
    pub error: Error,
}

/// One step of a row program; expressions are SQL over the columns as they are before the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowStep {
    /// Keeps the rows for which the condition is true; null is not true.
    Filter(String),
    /// Column → expression. All expressions see the values before this step; an existing column is replaced in its
    /// place, a new one is appended.
    Set(Vec<(String, String)>),
    /// Removes these columns.
    Drop(Vec<String>),
    /// Keeps these columns only, in this order.
    Keep(Vec<String>),
}

/// Compiled steps over batches of one schema. Made by [`Expressions::compile`]; holds no state between batches.
///
/// A bare column keeps type and metadata. Any other result is nullable, has the type of its `FieldType`, and the PII
/// class of the values it carries on: `lower(email)`, `coalesce(phone, mobile)` and `CASE … THEN phone …` keep the
/// class, two classes together are `free_text`; comparisons, lengths, parts of a date, `sha256_hex(…)` and
/// `not_personal(…)` have none.
#[derive(Debug, Clone)]
pub struct RowProgram {
    input: SchemaRef,
    steps: Vec<Step>,
    output: SchemaRef,
}

#[derive(Debug, Clone)]
enum Step {
    Filter(Computed),
    Columns(Vec<Column>, SchemaRef),
}

#[derive(Debug, Clone)]
enum Column {
    Kept(usize),
    Computed(Computed),
}

#[derive(Debug, Clone)]
struct Computed {
    /// For messages: "set `email`".
    place: String,
    expression: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    /// The columns it reads and no others: conditional evaluation copies selected rows of every column it is given.
    inputs: Vec<Input>,
    input_schema: SchemaRef,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Column(usize),
    /// The run's time, so that one compiled program serves every run.
    Now,
}

impl RowProgram {
    pub(crate) fn compile(expressions: &Expressions, input: SchemaRef, steps: Vec<RowStep>) -> Result<Self> {
        let mut output = Arc::clone(&input);
        let mut compiled = Vec::with_capacity(steps.len());
        for step in steps {
            let step = match step {
                RowStep::Filter(condition) => filter(expressions, &output, &condition)?,
                RowStep::Set(columns) => set(expressions, &output, &columns)?,
                RowStep::Drop(names) => drop_columns(&output, &names)?,
                RowStep::Keep(names) => keep_columns(&output, &names)?,
            };
            if let Step::Columns(_, schema) = &step {
                output = Arc::clone(schema);
            }
            compiled.push(step);
        }
        Ok(Self { input, steps: compiled, output })
    }

    /// The columns of what [`RowProgram::apply`] returns.
    #[must_use]
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Applies the steps; returns the rows that are left and the number of rows that filters took out.
    ///
    /// `now_us` is what `now()` says, microseconds UTC.
    /// # Errors
    /// `E0738` when an expression cannot be computed for a value of the batch; `E0001` when the batch has other
    /// columns than the program was compiled for.
    pub fn apply(&self, batch: &RecordBatch, now_us: i64) -> Result<(RecordBatch, u64)> {
        let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if batch.schema_ref() != &self.input && types(batch.schema_ref()) != types(&self.input) {
            return Err(Error::bug("a batch has the columns its row program was compiled for, yet they differ"));
        }
        let mut rows = batch.clone();
        for step in &self.steps {
            if rows.num_rows() == 0 {
                break;
            }
            rows = match step {
                Step::Filter(condition) => filtered(rows, condition, now_us)?,
                Step::Columns(columns, schema) => projected(&rows, columns, schema, now_us)?,
            };
        }
        let removed = batch.num_rows().saturating_sub(rows.num_rows());
        if rows.num_rows() == 0 {
            rows = RecordBatch::new_empty(Arc::clone(&self.output));
        }
        Ok((rows, u64::try_from(removed).unwrap_or(u64::MAX)))
    }
}

impl RowProgram {
    /// As [`RowProgram::apply`], but a row for which an expression cannot be computed is refused alone: the batch is
    /// halved until such rows stand by themselves, which costs nothing where there are none.
    ///
    /// # Errors
    /// `E0001` when the batch has other columns than the program was compiled for.
    pub fn apply_each(&self, batch: &RecordBatch, now_us: i64) -> Result<Applied> {
        let (mut parts, mut filtered, mut refused) = (Vec::new(), 0, Vec::new());
        let mut waiting = vec![(0, batch.num_rows())];
        while let Some((start, rows)) = waiting.pop() {
            match self.apply(&batch.slice(start, rows), now_us) {
                Ok((records, removed)) => {
                    parts.push(records);
                    filtered += removed;
                }
                Err(error) if error.code != NOT_COMPUTED => return Err(error),
                Err(error) if rows == 1 => refused.push(RefusedRow { row: start, error }),
                Err(_) => {
                    let half = rows / 2;
                    waiting.push((start + half, rows - half));
                    waiting.push((start, half));
                }
            }
        }
        let records = match parts.as_slice() {
            [whole] => whole.clone(),
            parts => concat_batches(&self.output, parts)
                .map_err(|_| Error::bug("the parts of a batch come out with the same columns, yet they differ"))?,
        };
        Ok(Applied { records, filtered, refused })
    }
}

fn filter(expressions: &Expressions, schema: &SchemaRef, condition: &str) -> Result<Step> {
    let place = "filter".to_owned();
    let (computed, field) = computed(expressions, schema, condition, place.clone())?;
    if *field.data_type() != DataType::Boolean {
        let word = FieldType::from_arrow(field.data_type()).map_or("value", FieldType::as_str);
        let mistake = ExpressionMistake::whole(format!("a filter is true or false, and this is a {word}"));
        return Err(mistaken(mistake, &place));
    }
    Ok(Step::Filter(computed))
}

fn set(expressions: &Expressions, schema: &SchemaRef, columns: &[(String, String)]) -> Result<Step> {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut sources: Vec<Column> = (0..fields.len()).map(Column::Kept).collect();
    let mut seen = HashSet::new();
    for (name, text) in columns {
        if !seen.insert(name) {
            return Err(Error::configuration("E0737", format!("column `{name}` is set twice in one step")));
        }
        let (computed, field) = computed(expressions, schema, text, format!("set `{name}`"))?;
        let field = Arc::new(field.with_name(name));
        match schema.index_of(name) {
            Ok(index) => replace(&mut fields, &mut sources, index, (field, computed)),
            Err(_) => {
                fields.push(field);
                sources.push(Column::Computed(computed));
            }
        }
    }
    Ok(Step::Columns(sources, Arc::new(Schema::new(fields))))
}

fn replace(fields: &mut [FieldRef], sources: &mut [Column], index: usize, (field, computed): (FieldRef, Computed)) {
    if let (Some(old_field), Some(old_source)) = (fields.get_mut(index), sources.get_mut(index)) {
        *old_field = field;
        *old_source = Column::Computed(computed);
    }
}

fn drop_columns(schema: &SchemaRef, names: &[String]) -> Result<Step> {
    let dropped = names.iter().map(|name| index_of(schema, name)).collect::<Result<HashSet<_>>>()?;
    select(schema, (0..schema.fields().len()).filter(|index| !dropped.contains(index)).collect())
}

fn keep_columns(schema: &SchemaRef, names: &[String]) -> Result<Step> {
    select(schema, names.iter().map(|name| index_of(schema, name)).collect::<Result<_>>()?)
}

fn select(schema: &SchemaRef, kept: Vec<usize>) -> Result<Step> {
    let selected = schema.project(&kept).map_err(|_| Error::bug("a column that was found is in its schema"))?;
    Ok(Step::Columns(kept.into_iter().map(Column::Kept).collect(), Arc::new(selected)))
}

fn index_of(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let help = suggestion(name, names, "the columns are").unwrap_or_default();
        Error::configuration("E0737", format!("unknown column `{name}`")).help(help)
    })
}

/// The executable expression and the field its result is stored under, still without a name.
fn computed(expressions: &Expressions, schema: &SchemaRef, text: &str, place: String) -> Result<(Computed, ArrowField)> {
    let typed = expressions.typed(text, schema, Place::Row).map_err(|mistake| mistaken(*mistake, &place))?;
    let field = match &typed.parsed.bare_column {
        Some(column) => schema.field_with_name(column).cloned().ok(),
        None => result_field(&typed.expression, &typed.data_type, schema),
    };
    let Some(field) = field else {
        return Err(Error::bug(format!("`{place}` was planned to a column's type, yet it has none")));
    };
    let failed = |error| mistaken(mistakes::of_planner(text, &error), &place);
    let expression = typed.expression.transform_up(with_now_column).map_err(failed)?.data;
    let (inputs, input_schema) = inputs_of(&expression, schema);
    let columns = Arc::new(DFSchema::try_from(Arc::clone(&input_schema)).map_err(failed)?);
    let expression = expressions.physical(&expression, &columns).map_err(failed)?;
    Ok((Computed { place, expression, data_type: field.data_type().clone(), inputs, input_schema }, field))
}

fn result_field(expression: &Expr, data_type: &DataType, schema: &Schema) -> Option<ArrowField> {
    let kind = FieldType::from_arrow(data_type)?;
    let pii = if kind == FieldType::Boolean { None } else { class_of(expression, schema) };
    Some(Field { pii, ..Field::new("", kind) }.to_arrow())
}

fn mistaken(mistake: ExpressionMistake, place: &str) -> Error {
    Error::configuration("E0736", mistake.message).at(place).help(mistake.help.join("; "))
}

fn with_now_column(part: Expr) -> PlanResult<Transformed<Expr>> {
    let Expr::ScalarFunction(function) = &part else { return Ok(Transformed::no(part)) };
    match function.func.name() {
        NOW => Ok(Transformed::yes(ident(NOW_COLUMN))),
        TODAY => Ok(Transformed::yes(cast(ident(NOW_COLUMN), DataType::Date32))),
        _ => Ok(Transformed::no(part)),
    }
}

fn inputs_of(expression: &Expr, schema: &Schema) -> (Vec<Input>, SchemaRef) {
    let mut names: Vec<&str> = expression.column_refs().into_iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    let (inputs, fields): (Vec<Input>, Vec<FieldRef>) = names
        .into_iter()
        .filter_map(|name| match schema.column_with_name(name) {
            Some((index, field)) => Some((Input::Column(index), Arc::new(field.clone()))),
            None if name == NOW_COLUMN => {
                Some((Input::Now, Arc::new(ArrowField::new(NOW_COLUMN, FieldType::Timestamp.to_arrow(), false))))
            }
            None => None,
        })
        .unzip();
    (inputs, Arc::new(Schema::new(fields)))
}

fn filtered(rows: RecordBatch, condition: &Computed, now_us: i64) -> Result<RecordBatch> {
    let verdicts = evaluate(condition, &rows, now_us)?;
    let Some(verdicts) = verdicts.as_boolean_opt() else {
        return Err(Error::bug("a filter was planned to true or false, yet it is something else"));
    };
    if verdicts.null_count() == 0 && !verdicts.has_false() {
        return Ok(rows);
    }
    filter_record_batch(&rows, verdicts).map_err(|_| Error::bug("a filter has one verdict per row"))
}

fn projected(rows: &RecordBatch, columns: &[Column], schema: &SchemaRef, now_us: i64) -> Result<RecordBatch> {
    let arrays = columns
        .iter()
        .map(|column| match column {
            Column::Kept(index) => column_at(rows, *index),
            Column::Computed(computed) => evaluate(computed, rows, now_us),
        })
        .collect::<Result<Vec<_>>>()?;
    batch_of(schema, arrays, rows.num_rows())
}

fn column_at(rows: &RecordBatch, index: usize) -> Result<ArrayRef> {
    rows.columns().get(index).cloned().ok_or_else(|| Error::bug("a column that was found when compiling is in the batch"))
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|_| Error::bug("columns have the types they were planned with, yet they do not fit together"))
}

fn evaluate(computed: &Computed, rows: &RecordBatch, now_us: i64) -> Result<ArrayRef> {
    let failed = |cause: &str| {
        Error::configuration(NOT_COMPUTED, format!("an expression cannot be computed for a record: {cause}"))
            .at(computed.place.clone())
            .help("guard it: `try_cast` instead of `cast`, `nullif(x, 0)` under a division, or filter such records out")
    };
    let arrays = computed.inputs.iter().map(|input| match input {
        Input::Column(index) => column_at(rows, *index),
        Input::Now => Ok(now_column(now_us, rows.num_rows())),
    });
    let inputs = batch_of(&computed.input_schema, arrays.collect::<Result<Vec<_>>>()?, rows.num_rows())?;
    let array = computed
        .expression
        .evaluate(&inputs)
        .and_then(|value| value.into_array(rows.num_rows()))
        .map_err(|error| failed(failures::cause(&error)))?;
    canonical_array(&array, &computed.data_type).map_err(|error| failed(failures::arrow_cause(&error)))
}

fn now_column(now_us: i64, rows: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_value(now_us, rows).with_timezone("UTC"))
}
