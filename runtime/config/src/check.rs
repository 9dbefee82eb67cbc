//! The second phase of validation: what plugins say of themselves, their streams and their objects, and what a planner
//! says of SQL expressions, against the plan. Synchronous: the caller has run the plugins before and hands over their
//! answers as a [`Catalog`]. A connection that could not be asked is skipped, its own failure is the caller's to report.

use affluent_model::Error;
use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::expression::{ExpressionMistake, PlannedExpression, PlannedSegment, SegmentScope};
use affluent_model::manifest::{Manifest, TargetSchema};
use affluent_model::pii::{PiiClass, PiiPolicy};
use affluent_model::plan::{Expression, PipelineDestination, Plan};
use affluent_model::schema::{Field, FieldType, StreamSchema};
use arrow::datatypes::{DataType, Schema};

use crate::load::Loaded;
use crate::mistake;
use crate::sources::Sources;

mod activation;
mod columns;
mod config_schema;
mod currencies;
mod grants;
mod mapping;
mod plugins;
mod segments;
mod streams;
mod survivorship;
mod tests;
mod traits;

/// What plugins answered.
pub trait Catalog {
    /// Streams of a source; `None` when it was not or could not be asked.
    fn streams(&self, connection: &str) -> Option<&[StreamSchema]>;

    /// Objects of a destination; `None` when it was not or could not be asked.
    fn targets(&self, connection: &str) -> Option<&[TargetSchema]>;

    /// The manifest of a plugin, of connections and of plugin steps alike; `None` when there is no such plugin, or when it
    /// could not be asked.
    fn manifest(&self, plugin: &str) -> Option<&Manifest>;

    /// Names of the plugins at hand, sorted.
    fn plugins(&self) -> Vec<String>;

    /// Why a plugin that is at hand did not tell its manifest: not approved, denied, no valid component.
    fn refusal(&self, plugin: &str) -> Option<&Error> {
        let _ = plugin;
        None
    }

    /// Columns of `stream` after the plugin step number `step` (from 0, over all transforms) of a pipeline; `None` when
    /// it was not asked: columns are not checked after it then.
    fn transformed(&self, pipeline: &str, step: usize, stream: &StreamSchema) -> Option<Vec<Field>> {
        let _ = (pipeline, step, stream);
        None
    }
}

/// Plans SQL expressions.
pub trait ExpressionPlanner {
    /// Plans an expression over the columns of one row.
    ///
    /// # Errors
    /// The first mistake in it.
    fn row(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake>;

    /// Plans an expression over the columns of a group of rows.
    ///
    /// # Errors
    /// The first mistake in it.
    fn aggregate(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake>;

    /// Plans the condition of a segment. Unless overridden: as a row expression, without calls.
    ///
    /// # Errors
    /// The first mistake in it.
    fn segment(&self, text: &str, scope: &SegmentScope<'_>) -> Result<PlannedSegment, ExpressionMistake> {
        let expression = self.row(text, scope.columns)?;
        Ok(PlannedSegment { expression, calls: Vec::new(), read: Vec::new() })
    }

    /// The class of personal data that the result of a row expression has, by the metadata `affluent.pii` of the
    /// columns. Unless overridden: that of the first personal column it reads.
    fn class(&self, text: &str, schema: &Schema) -> Option<PiiClass> {
        let planned = self.row(text, schema).ok()?;
        let read = |name: &String| schema.field_with_name(name).ok().and_then(Field::from_arrow)?.pii;
        planned.columns.iter().find_map(read)
    }
}

/// Checks a plan against the world outside the files; sorted by file and position, at most 50 per file.
#[must_use]
pub fn check(plan: &Plan, catalog: &dyn Catalog, planner: &dyn ExpressionPlanner, sources: &Sources) -> Vec<Diagnostic> {
    mistake::finish(found(Checker { plan, catalog, planner, sources, found: Vec::new(), is_partial: false }), sources)
}

/// The mistakes that [`crate::load`] found, and with them those of the files that have none of that sort: everything at
/// once. What depends on a file that was left out is not judged.
#[must_use]
pub fn check_draft(loaded: &Loaded, catalog: &dyn Catalog, planner: &dyn ExpressionPlanner) -> Vec<Diagnostic> {
    let sources = &loaded.sources;
    let further = loaded
        .draft
        .iter()
        .flat_map(|plan| found(Checker { plan, catalog, planner, sources, found: Vec::new(), is_partial: true }));
    let is_known = |one: &Diagnostic| loaded.diagnostics.iter().any(|known| known.at == one.at && known.code == one.code);
    let further: Vec<Diagnostic> = further.filter(|one| !is_known(one)).collect();
    mistake::finish(loaded.diagnostics.iter().cloned().chain(further).collect(), sources)
}

fn found(mut checker: Checker<'_>) -> Vec<Diagnostic> {
    let plan = checker.plan;
    checker.connections();
    let ingests = checker.ingests();
    let attributes = checker.mappings(&ingests);
    checker.survivorship(&attributes);
    checker.currencies();
    let columns = checker.profile_columns(&ingests, attributes);
    checker.segments(&ingests, &columns);
    for pipeline in plan.pipelines.values() {
        if let PipelineDestination::Connection(destination) = &pipeline.destination {
            checker.activation(pipeline, destination, &ingests, &columns);
        }
    }
    checker.tests(&columns);
    checker.found
}

struct Checker<'a> {
    plan: &'a Plan,
    catalog: &'a dyn Catalog,
    planner: &'a dyn ExpressionPlanner,
    sources: &'a Sources,
    found: Vec<Diagnostic>,
    /// A stream that the plan names does not exist, or a file was left out: what depends on it is no mistake of its own.
    is_partial: bool,
}

/// What an expression must yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Anything,
    Boolean,
    Number,
    Time,
    /// Text or a whole number: what can name a record.
    Key,
    Text,
}

impl Want {
    fn fits(self, kind: FieldType) -> bool {
        match self {
            Self::Anything => true,
            Self::Boolean => kind == FieldType::Boolean,
            Self::Number => matches!(kind, FieldType::Integer | FieldType::Float | FieldType::Decimal),
            Self::Time => matches!(kind, FieldType::Timestamp | FieldType::Date),
            Self::Key => matches!(kind, FieldType::Text | FieldType::Integer),
            Self::Text => kind == FieldType::Text,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Anything => "a value",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Time => "a timestamp or date",
            Self::Key => "text or a whole number",
            Self::Text => "text",
        }
    }
}

/// An expression that planned and yields what it must.
struct Checked {
    kind: FieldType,
    planned: PlannedExpression,
}

impl Checker<'_> {
    fn add(&mut self, code: &'static str, message: impl Into<String>, at: Location, help: impl Into<String>) {
        self.found.push(Diagnostic::error(code, message, at).help(help));
    }

    fn add_plain(&mut self, code: &'static str, message: impl Into<String>, at: Location) {
        self.found.push(Diagnostic::error(code, message, at));
    }

    /// Plans a row expression; its mistakes are reported and give `None`.
    fn row(&mut self, expression: &Expression, schema: &Schema, want: Want) -> Option<Checked> {
        let planned = self.planner.row(&expression.text, schema);
        self.checked(expression, planned, want)
    }

    fn checked(
        &mut self,
        expression: &Expression,
        planned: Result<PlannedExpression, ExpressionMistake>,
        want: Want,
    ) -> Option<Checked> {
        let planned = match planned {
            Ok(planned) => planned,
            Err(mistake) => {
                let at = self.sources.inside(expression, mistake.offset, mistake.length);
                let mut diagnostic = Diagnostic::error(mistake::EXPRESSION, mistake.message, at);
                diagnostic.help = mistake.help;
                self.found.push(diagnostic);
                return None;
            }
        };
        let Some(kind) = FieldType::from_arrow(&planned.data_type) else {
            let message = "the expression yields a list or a structure, not one value";
            self.add_plain(mistake::EXPRESSION_SHAPE, message, expression.at.clone());
            return None;
        };
        if planned.data_type != DataType::Null && !want.fits(kind) {
            let message = format!("the expression yields {}, this must be {}", kind.as_str(), want.words());
            self.add(mistake::EXPRESSION_TYPE, message, expression.at.clone(), cast_help(want));
            return None;
        }
        Some(Checked { kind, planned })
    }

    /// What the project does with values of a class.
    fn policy(&self, class: PiiClass) -> PiiPolicy {
        self.plan.project.pii.get(&class).copied().unwrap_or(PiiPolicy::Seal)
    }

    fn is_sealed(&self, class: Option<PiiClass>) -> bool {
        class.is_some_and(|class| self.policy(class) == PiiPolicy::Seal)
    }
}

fn cast_help(want: Want) -> &'static str {
    match want {
        Want::Boolean => "compare it with something, or cast it: `CAST(x AS BOOLEAN)`",
        Want::Number => "cast it: `CAST(x AS DECIMAL(38, 6))`",
        Want::Time => "cast it: `CAST(x AS TIMESTAMP)`",
        Want::Key | Want::Text | Want::Anything => "cast it: `CAST(x AS VARCHAR)`",
    }
}
