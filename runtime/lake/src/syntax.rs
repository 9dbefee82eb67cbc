//! The form of an expression, before its types: parsed, held against what is allowed (one expression, no subquery, no
//! window, no table, sealed columns only whole), and printed again so that it can stand inside a larger SQL text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use affluent_model::expression::ExpressionMistake;
use affluent_model::schema::SEALED_KEY;
use arrow::datatypes::Schema;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, Query, Spanned, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

use crate::conditions::CALL_COLUMN;
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_PARENTHESES_MAX, EXPRESSION_TOKENS_MAX};
use crate::mistakes::{self, suggestion};

pub(crate) type Mistaken<T> = Result<T, Box<ExpressionMistake>>;

/// What a function name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionKind {
    Scalar,
    Aggregate,
    Window,
}

/// The functions there are.
pub(crate) trait Functions {
    /// `name` in lower case.
    fn kind(&self, name: &str) -> Option<FunctionKind>;
    /// Names of the scalar and aggregate functions.
    fn names(&self) -> Vec<&str>;
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Per row: no aggregates.
    Row,
    /// Per group: at least one aggregate, no column outside of them.
    Aggregate,
    /// Not known yet.
    Either,
}

/// An expression of an allowed form.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) expression: Expr,
    pub(crate) columns: BTreeSet<String>,
    pub(crate) bare_column: Option<String>,
}

/// Parses one expression and checks its form; `schema` is the columns it may name, `None` = any.
pub(crate) fn parse(text: &str, place: Place, schema: Option<&Schema>, functions: &dyn Functions) -> Mistaken<Parsed> {
    check(text, expression(text)?, place, schema, functions)
}

/// Parses one expression; what it may hold is not looked at.
pub(crate) fn expression(text: &str) -> Mistaken<Expr> {
    check_size(text)?;
    let parser =
        DFParserBuilder::new(text).with_dialect(&GenericDialect {}).with_recursion_limit(EXPRESSION_PARENTHESES_MAX).build();
    let parsed = parser.and_then(|mut parser| parser.parse_into_expr());
    let parsed = parsed.map_err(|error| Box::new(mistakes::of_parser(text, &error)))?;
    if let Some(alias) = parsed.alias {
        let help = "the name stands before the colon".to_owned();
        return Err(mistake(text, alias.span, "an expression has no `AS`".to_owned(), Some(help)));
    }
    Ok(parsed.expr)
}

/// Checks the form of an expression of `text`.
pub(crate) fn check(
    text: &str,
    expression: Expr,
    place: Place,
    schema: Option<&Schema>,
    functions: &dyn Functions,
) -> Mistaken<Parsed> {
    let bare_column = bare_column(&expression, functions);
    let mut checker = Checker {
        text,
        place,
        schema,
        functions,
        is_bare: bare_column.is_some(),
        depth: 0,
        aggregates_open: 0,
        has_aggregate: false,
        columns: BTreeSet::new(),
    };
    if let ControlFlow::Break(mistake) = expression.visit(&mut checker) {
        return Err(mistake);
    }
    if place == Place::Aggregate && !checker.has_aggregate {
        let help = "for example `count(*)` or `sum(net)`".to_owned();
        return Err(mistake(text, expression.span(), "an aggregate function is missing".to_owned(), Some(help)));
    }
    Ok(Parsed { columns: checker.columns, expression, bare_column })
}

pub(crate) fn mistake(text: &str, span: Span, message: String, help: Option<String>) -> Box<ExpressionMistake> {
    Box::new(mistakes::at(text, span, message, help))
}

/// Parser and planner walk the expression recursively; both bounds hold before they start.
fn check_size(text: &str) -> Mistaken<()> {
    let too_long = || Box::new(ExpressionMistake::whole("the expression is too long: use a WASM transform"));
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(too_long());
    }
    if text.trim().is_empty() {
        return Err(Box::new(ExpressionMistake::whole("the expression is empty")));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
    if words > EXPRESSION_TOKENS_MAX { Err(too_long()) } else { Ok(()) }
}

fn bare_column(expression: &Expr, functions: &dyn Functions) -> Option<String> {
    match expression {
        Expr::Nested(inner) => bare_column(inner, functions),
        Expr::Identifier(column) => Some(column.value.clone()),
        Expr::Function(function) => column_like_a_function(function, functions).map(|column| column.value.clone()),
        _ => None,
    }
}

/// `user`, `current_catalog`: words that the parser takes for functions without parentheses; not functions here.
fn column_like_a_function<'a>(function: &'a Function, functions: &dyn Functions) -> Option<&'a Ident> {
    let [part] = function.name.0.as_slice() else { return None };
    let name = part.as_ident()?;
    let is_function = functions.kind(&name.value.to_lowercase()).is_some();
    (function.args == FunctionArguments::None && !is_function).then_some(name)
}

/// Walks an expression and stops at the first thing that is not allowed.
struct Checker<'a> {
    text: &'a str,
    place: Place,
    schema: Option<&'a Schema>,
    functions: &'a dyn Functions,
    is_bare: bool,
    depth: usize,
    aggregates_open: usize,
    has_aggregate: bool,
    columns: BTreeSet<String>,
}

type Step = ControlFlow<Box<ExpressionMistake>>;

impl Visitor for Checker<'_> {
    type Break = Box<ExpressionMistake>;

    fn pre_visit_query(&mut self, query: &Query) -> Step {
        self.refuse(query.span(), "a subquery cannot stand in an expression", "")
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Step {
        match value.value {
            Value::Placeholder(_) => self.refuse(value.span, "a placeholder cannot stand in an expression", ""),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Step {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return self.refuse(expression.span(), "the expression is nested too deeply", "`x IN (…)` instead of many `OR`");
        }
        match expression {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(parts) => self.qualified(parts, expression.span()),
            Expr::Function(function) => match column_like_a_function(function, self.functions) {
                Some(name) => self.column(name),
                None => self.function(function),
            },
            Expr::Wildcard(_) | Expr::QualifiedWildcard(_, _) => {
                self.refuse(expression.span(), "`*` stands only in `count(*)`", "")
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> Step {
        self.depth -= 1;
        if let Expr::Function(function) = expression
            && self.kind(&function.name) == Some(FunctionKind::Aggregate)
        {
            self.aggregates_open = self.aggregates_open.saturating_sub(1);
        }
        ControlFlow::Continue(())
    }
}

impl Checker<'_> {
    fn refuse(&self, span: Span, message: impl Into<String>, help: &str) -> Step {
        let help = (!help.is_empty()).then(|| help.to_owned());
        ControlFlow::Break(mistake(self.text, span, message.into(), help))
    }

    fn column(&mut self, name: &Ident) -> Step {
        if name.quote_style.is_none() && name.value.starts_with('@') {
            return self.refuse(name.span, format!("`{}` is a variable, and there are none", name.value), "");
        }
        if self.place == Place::Aggregate && self.aggregates_open == 0 {
            let message = format!("`{}` stands outside of an aggregate function", name.value);
            return self.refuse(name.span, message, &format!("for example `max({name})`"));
        }
        self.columns.insert(name.value.clone());
        let Some(schema) = self.schema else { return ControlFlow::Continue(()) };
        let Ok(field) = schema.field_with_name(&name.value) else { return self.unknown_column(name, schema) };
        if field.metadata().contains_key(SEALED_KEY) && !self.is_bare {
            let column = &name.value;
            let message = format!("`{column}` is sealed here: pass it whole, or as `{column}|sha256`");
            return self.refuse(name.span, message, "expressions over it belong into a `map` before it is sealed");
        }
        ControlFlow::Continue(())
    }

    fn unknown_column(&self, name: &Ident, schema: &Schema) -> Step {
        let names = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with(CALL_COLUMN));
        let mut help: Vec<String> = suggestion(&name.value, names, "the columns are").into_iter().collect();
        if name.quote_style.is_some() {
            help.push(format!("text stands in single quotes: `'{}'`", name.value));
        }
        let mut mistake = mistake(self.text, name.span, format!("unknown column `{}`", name.value), None);
        mistake.help = help;
        ControlFlow::Break(mistake)
    }

    fn qualified(&self, parts: &[Ident], span: Span) -> Step {
        let written: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        let column = written.last().copied().unwrap_or_default();
        let message = format!("`{}` names a table: a column stands alone here", written.join("."));
        self.refuse(span, message, &format!("write `{column}`, or `\"{}\"` if the dot belongs to the name", written.join(".")))
    }

    fn kind(&self, name: &ObjectName) -> Option<FunctionKind> {
        let [part] = name.0.as_slice() else { return None };
        self.functions.kind(&part.as_ident()?.value.to_lowercase())
    }

    fn function(&mut self, function: &Function) -> Step {
        let name = function.name.to_string();
        let span = function.name.span();
        if function.over.is_some() {
            return self.refuse(span, format!("`{name}` is used as a window function, which cannot stand here"), "");
        }
        let kind = self.kind(&function.name);
        if kind != Some(FunctionKind::Aggregate) {
            return self.plain_function(function, kind);
        }
        if self.place == Place::Row {
            let help = "aggregates stand in the `sql` of a computed trait";
            return self.refuse(span, format!("`{name}` needs many rows, and this expression sees one"), help);
        }
        if self.aggregates_open > 0 {
            return self.refuse(span, format!("`{name}` stands inside another aggregate function"), "");
        }
        self.aggregates_open += 1;
        self.has_aggregate = true;
        ControlFlow::Continue(())
    }

    fn plain_function(&self, function: &Function, kind: Option<FunctionKind>) -> Step {
        let name = function.name.to_string();
        let span = function.name.span();
        match kind {
            Some(FunctionKind::Scalar) if function.filter.is_none() && function.within_group.is_empty() => {
                ControlFlow::Continue(())
            }
            Some(FunctionKind::Scalar) => self.refuse(span, format!("`{name}` is no aggregate function"), ""),
            Some(_) => self.refuse(span, format!("`{name}` is a window function, which cannot stand here"), ""),
            None => {
                let help = suggestion(&name.to_lowercase(), self.functions.names().into_iter(), "some functions are");
                let help = help.filter(|text| text.starts_with("did you mean")).unwrap_or_default();
                self.refuse(span, format!("unknown function `{name}`"), &help)
            }
        }
    }
}

/// Prints an expression with every column quoted as it was written, so that it can stand in parentheses in a larger
/// SQL text and mean the same.
pub(crate) fn print(text: &str, parsed: Parsed, functions: &dyn Functions) -> Mistaken<String> {
    let mut expression = parsed.expression;
    let _: ControlFlow<()> = VisitMut::visit(&mut expression, &mut Quoter { functions });
    let printed = expression.to_string();
    let again = DFParserBuilder::new(format!("({printed})").as_str())
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(EXPRESSION_PARENTHESES_MAX + 1)
        .build()
        .and_then(|mut parser| parser.parse_into_expr());
    match again.map(|parsed| parsed.expr) {
        Ok(Expr::Nested(inner)) if *inner == expression => Ok(printed),
        _ => {
            let message = "this form of expression cannot be used here".to_owned();
            Err(mistake(text, expression.span(), message, Some("write it in plain SQL".to_owned())))
        }
    }
}

struct Quoter<'a> {
    functions: &'a dyn Functions,
}

impl VisitorMut for Quoter<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let column = match expression {
            Expr::Identifier(name) => Some(&*name),
            Expr::Function(function) => column_like_a_function(function, self.functions),
            _ => None,
        };
        if let Some(name) = column {
            *expression = Expr::Identifier(Ident { quote_style: Some('"'), ..name.clone() });
        }
        ControlFlow::Continue(())
    }
}
