//! The expression language: SQL expressions, planned and type-checked against the columns they will see. Synchronous
//! and without IO; what passes here also runs in lake queries, because both use the same functions.

use std::sync::Arc;

use affluent_model::Result;
use affluent_model::expression::{ExpressionMistake, PlannedExpression};
use affluent_model::schema::FieldType;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable as _};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::ExprWithAlias;

use crate::canonical::canonical_type;
use crate::mistakes;
use crate::rows::{RowProgram, RowStep};
use crate::session;
use crate::syntax::{self, FunctionKind, Functions, Parsed, Place};

/// The expression language with its functions; cheap to keep, not cheap to make.
///
/// SQL as DataFusion has it, with these functions besides: `normalize_email(text)`, `e164(text[, region])`,
/// `sha256_hex(text)`, `digits(text)`, `not_personal(value)`; `now()` and `current_date` are the time of the run, and
/// nothing random exists. Column names are case-sensitive and may be quoted.
pub struct Expressions {
    state: SessionState,
}

impl Default for Expressions {
    fn default() -> Self {
        Self::new()
    }
}

impl Expressions {
    #[must_use]
    pub fn new() -> Self {
        Self { state: session::expression_state() }
    }

    /// Plans an expression over the columns of one row.
    ///
    /// The result type is the one it is stored under (`FieldType::to_arrow`). A column with metadata `affluent.sealed`
    /// may only stand alone.
    /// # Errors
    /// The first mistake: syntax, unknown column or function, types that do not fit; subqueries, aggregates, window
    /// functions, table-qualified names and anything that is not one expression.
    pub fn plan_row(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        self.planned(text, schema, Place::Row).map_err(|mistake| *mistake)
    }

    /// Plans an expression over the columns of a group of rows: aggregates, and arithmetic over them.
    /// # Errors
    /// As [`Expressions::plan_row`]; also when there is no aggregate, or a column outside of one.
    pub fn plan_aggregate(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        self.planned(text, schema, Place::Aggregate).map_err(|mistake| *mistake)
    }

    /// The expression printed again with every column quoted, safe to embed in parentheses into a larger SQL text:
    /// it is one expression there too, and means the same.
    /// # Errors
    /// When its form is not allowed in any place; columns and types are not looked at.
    pub fn normalise_sql(&self, text: &str) -> Result<String, ExpressionMistake> {
        syntax::parse(text, Place::Either, None, self)
            .and_then(|parsed| syntax::print(text, parsed, self))
            .map_err(|mistake| *mistake)
    }

    /// Compiles steps over batches of `schema`.
    /// # Errors
    /// `E0736` for a mistake in an expression, `E0737` for a column that `Drop` or `Keep` names and that is not there
    /// or a name that is set twice.
    pub fn compile(&self, schema: SchemaRef, steps: Vec<RowStep>) -> Result<RowProgram> {
        RowProgram::compile(self, schema, steps)
    }

    fn planned(&self, text: &str, schema: &Schema, place: Place) -> Result<PlannedExpression, Box<ExpressionMistake>> {
        let parsed = syntax::parse(text, place, Some(schema), self)?;
        self.planned_parsed(text, parsed, schema, place)
    }

    /// As [`Expressions::plan_row`], for an expression of `text` whose form was checked.
    pub(crate) fn planned_parsed(
        &self,
        text: &str,
        parsed: Parsed,
        schema: &Schema,
        place: Place,
    ) -> Result<PlannedExpression, Box<ExpressionMistake>> {
        let typed = self.typed_parsed(text, parsed, schema)?;
        if place == Place::Row {
            self.physical(&typed.expression, &typed.columns_schema)
                .map_err(|error| Box::new(mistakes::of_planner(text, &error)))?;
        }
        Ok(PlannedExpression {
            data_type: typed.data_type,
            nullable: typed.nullable,
            columns: typed.parsed.columns.into_iter().collect(),
            bare_column: typed.parsed.bare_column,
        })
    }

    /// Parses, plans and types an expression.
    pub(crate) fn typed(&self, text: &str, schema: &Schema, place: Place) -> Result<Typed, Box<ExpressionMistake>> {
        self.typed_parsed(text, syntax::parse(text, place, Some(schema), self)?, schema)
    }

    fn typed_parsed(&self, text: &str, parsed: Parsed, schema: &Schema) -> Result<Typed, Box<ExpressionMistake>> {
        let planner_said = |error: DataFusionError| Box::new(mistakes::of_planner(text, &error));
        let columns_schema = Arc::new(DFSchema::try_from(schema.clone()).map_err(planner_said)?);
        let syntax = ExprWithAlias { expr: parsed.expression.clone(), alias: None };
        let expression = self.state.create_logical_expr_from_sql_expr(syntax, &columns_schema).map_err(planner_said)?;
        let coerced = self.simplifier(&columns_schema).coerce(expression.clone(), &columns_schema).map_err(planner_said)?;
        let (_, field) = coerced.to_field(&columns_schema).map_err(planner_said)?;
        if FieldType::from_arrow(field.data_type()).is_none() {
            let message = "the result is a list or a structure, and a column holds one value";
            return Err(Box::new(ExpressionMistake::whole(message)));
        }
        let data_type = match &parsed.bare_column {
            Some(_) => field.data_type().clone(),
            None => canonical_type(field.data_type()),
        };
        Ok(Typed { parsed, expression, nullable: field.is_nullable(), data_type, columns_schema })
    }

    /// The executable form of an expression.
    pub(crate) fn physical(&self, expression: &Expr, schema: &Arc<DFSchema>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let simplifier = self.simplifier(schema);
        let coerced = simplifier.coerce(expression.clone(), schema)?;
        self.state.create_physical_expr(simplifier.simplify(coerced)?, schema)
    }

    fn simplifier(&self, schema: &Arc<DFSchema>) -> ExprSimplifier {
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(schema))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        ExprSimplifier::new(context)
    }
}

/// An expression and its type.
pub(crate) struct Typed {
    pub(crate) parsed: Parsed,
    /// As planned, before types are adapted.
    pub(crate) expression: Expr,
    /// The type that the result is stored under.
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    pub(crate) columns_schema: Arc<DFSchema>,
}

impl Functions for Expressions {
    fn kind(&self, name: &str) -> Option<FunctionKind> {
        if self.state.scalar_functions().contains_key(name) {
            Some(FunctionKind::Scalar)
        } else if self.state.aggregate_functions().contains_key(name) {
            Some(FunctionKind::Aggregate)
        } else if self.state.window_functions().contains_key(name) {
            Some(FunctionKind::Window)
        } else {
            None
        }
    }

    fn names(&self) -> Vec<&str> {
        let scalar = self.state.scalar_functions().keys();
        let mut names: Vec<&str> = scalar.chain(self.state.aggregate_functions().keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
