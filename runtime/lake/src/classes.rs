//! Which class of personal data the result of an expression has. A result that carries a personal value on (a
//! normalised email, one of two phone columns, a name in capitals, first and last name joined) keeps the class, so that
//! it is sealed like its source; values of two classes together are `free_text`. A result that only tells something
//! *about* a value has no class: comparisons and other truth values, lengths and positions, parts of a date,
//! `sha256_hex(…)`, and what the project itself declares with `not_personal(…)`.

use affluent_model::pii::PiiClass;
use affluent_model::schema::PII_KEY;
use arrow::datatypes::Schema;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, expr::ScalarFunction};

use crate::functions::NOT_PERSONAL;

/// Functions whose result does not carry their argument on.
const MEASURES: [&str; 17] = [
    "sha256_hex",
    NOT_PERSONAL,
    "character_length",
    "octet_length",
    "bit_length",
    "strpos",
    "position",
    "date_part",
    "ascii",
    "levenshtein",
    "starts_with",
    "ends_with",
    "contains",
    "regexp_like",
    "regexp_count",
    "regexp_instr",
    "find_in_set",
];

/// Functions of which only the first argument is carried on.
const FIRST_ONLY: [&str; 2] = ["e164", "nullif"];

/// The class of an expression's result over the columns of `schema`.
pub(crate) fn class_of(expression: &Expr, schema: &Schema) -> Option<PiiClass> {
    match expression {
        Expr::Column(column) => {
            let field = schema.field_with_name(&column.name).ok()?;
            field.metadata().get(PII_KEY).and_then(|word| PiiClass::from_word(word))
        }
        Expr::Alias(alias) => class_of(&alias.expr, schema),
        Expr::Cast(cast) => class_of(&cast.expr, schema),
        Expr::TryCast(cast) => class_of(&cast.expr, schema),
        Expr::Negative(inner) => class_of(inner, schema),
        Expr::BinaryExpr(binary) => class_of_operation(binary, schema),
        Expr::Case(case) => class_of_case(case, schema),
        Expr::ScalarFunction(function) => class_of_function(function, schema),
        _ => None,
    }
}

fn class_of_operation(binary: &BinaryExpr, schema: &Schema) -> Option<PiiClass> {
    if binary.op.is_logic_operator() || binary.op.supports_propagation() {
        return None;
    }
    joined([&*binary.left, &*binary.right].into_iter(), schema)
}

fn class_of_case(case: &Case, schema: &Schema) -> Option<PiiClass> {
    let results = case.when_then_expr.iter().map(|(_, result)| &**result);
    joined(results.chain(case.else_expr.as_deref()), schema)
}

fn class_of_function(function: &ScalarFunction, schema: &Schema) -> Option<PiiClass> {
    let name = function.func.name();
    if MEASURES.contains(&name) {
        return None;
    }
    let carried = if FIRST_ONLY.contains(&name) { 1 } else { function.args.len() };
    joined(function.args.iter().take(carried), schema)
}

fn joined<'a>(parts: impl Iterator<Item = &'a Expr>, schema: &Schema) -> Option<PiiClass> {
    parts.filter_map(|part| class_of(part, schema)).reduce(|one, other| if one == other { one } else { PiiClass::FreeText })
}
