use affluent_model::expression::{ExpressionMistake, PlannedExpression};

use super::*;
use crate::Expressions;

fn row(text: &str) -> Result<PlannedExpression, ExpressionMistake> {
    Expressions::new().plan_row(text, &customers())
}

fn lake_orders() -> Schema {
    let mut fields: Vec<ArrowField> = customers().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.retain(|field| field.name() != "email");
    fields.push(sealed("email"));
    Schema::new(fields)
}

fn aggregate(text: &str) -> Result<PlannedExpression, ExpressionMistake> {
    Expressions::new().plan_aggregate(text, &lake_orders())
}

/// The message, and the part of the text that it points at.
fn told(text: &str, mistake: &ExpressionMistake) -> (String, String) {
    let start = mistake.offset.unwrap_or(usize::MAX);
    (mistake.message.clone(), text.chars().skip(start).take(mistake.length).collect())
}

#[test]
fn an_expression_has_the_type_it_is_stored_under() {
    let cases = [
        ("id", FieldType::Integer),
        ("id + 1", FieldType::Integer),
        ("length(email)", FieldType::Integer),
        ("net * 1.5", FieldType::Float),
        ("net / 3", FieldType::Decimal),
        ("round(net, 2)", FieldType::Decimal),
        ("at", FieldType::Timestamp),
        ("now() - INTERVAL '60 days'", FieldType::Timestamp),
        ("to_timestamp('2026-01-01T00:00:00Z')", FieldType::Timestamp),
        ("CAST(at AS DATE)", FieldType::Date),
        ("status || '!'", FieldType::Text),
        ("NULL", FieldType::Text),
        ("e164(phone, country)", FieldType::Text),
        ("CASE WHEN net > 100 THEN 'gold' ELSE status END", FieldType::Text),
        ("status IN ('paid', 'open') AND NOT test", FieldType::Boolean),
        ("phone LIKE '+33%'", FieldType::Boolean),
        ("at < now() - INTERVAL '1 month'", FieldType::Boolean),
        ("regexp_replace(phone, '[^0-9]', '', 'g')", FieldType::Text),
        ("extract(year from at)", FieldType::Integer),
    ];
    for (text, expected) in cases {
        assert_eq!(row(text).map(|planned| planned.data_type), Ok(expected.to_arrow()), "{text}");
    }
}

#[test]
fn a_column_alone_is_bare_however_it_is_quoted() {
    for (text, column) in [
        ("email", "email"),
        (" ( \"email\" ) ", "email"),
        ("`email`", "email"),
        ("at", "at"),
        ("status", "status"),
        ("net", "net"),
        ("user", "user"),
        ("\"Mixed Case\"", "Mixed Case"),
    ] {
        let planned = row(text).unwrap();
        assert_eq!((planned.bare_column.as_deref(), planned.columns), (Some(column), vec![column.to_owned()]), "{text}");
    }
    let planned = row("coalesce(phone, email, phone)").unwrap();
    assert_eq!((planned.bare_column, planned.columns), (None, vec!["email".to_owned(), "phone".to_owned()]));
}

#[test]
fn a_mistake_points_at_the_text_and_helps() {
    let cases = [
        ("emial = 'x'", "unknown column `emial`", "emial", "did you mean `email`?"),
        ("1 +\n  Email", "unknown column `Email`", "Email", "did you mean `email`?"),
        ("'é' || emal", "unknown column `emal`", "emal", "did you mean `email`?"),
        ("lowr(email)", "unknown function `lowr`", "lowr", "did you mean `lower`?"),
        ("customers.email", "`customers.email` names a table: a column stands alone here", "customers.email", "write `email`"),
        ("sum(net)", "`sum` needs many rows, and this expression sees one", "sum", "aggregates stand"),
        ("email AS e", "an expression has no `AS`", "e", "the name stands before"),
    ];
    for (text, message, place, help) in cases {
        let mistake = row(text).unwrap_err();
        assert_eq!(told(text, &mistake), (message.to_owned(), place.to_owned()), "{text}");
        assert!(mistake.help.iter().any(|line| line.starts_with(help)), "{text}: {:?}", mistake.help);
    }
    let quoted = row("status = \"paid\"").unwrap_err();
    assert!(quoted.help.iter().any(|line| line.contains("'paid'")), "{quoted:?}");
}

#[test]
fn types_that_do_not_fit_are_told_in_our_words() {
    for text in ["at + email", "net LIKE 'x'", "NOT email", "abs(email)", "email + 1 > at"] {
        let mistake = row(text).unwrap_err();
        let text_of = mistake.message.clone();
        assert!(!text_of.contains("Utf8") && !text_of.contains('\n') && !text_of.is_empty(), "{text}: {text_of}");
    }
}

#[test]
fn nothing_but_one_expression_passes() {
    let attempts = [
        "1); DROP TABLE x; --",
        "1; SELECT 2",
        "1, 2",
        "email FROM customers",
        "SELECT 1",
        "(SELECT email FROM customers)",
        "EXISTS (SELECT 1)",
        "email IN (SELECT email FROM x)",
        "net > ALL (SELECT 1)",
        "row_number() OVER ()",
        "sum(net) OVER (PARTITION BY id)",
        "rank()",
        "email = $1",
        "email = ?",
        "@@version",
        "*",
        "count(*)",
        "pg.lower(email)",
        "random()",
        "uuid()",
        "1) UNION SELECT (2",
        "'a' -- comment\n; drop",
        "lower(email) FILTER (WHERE test)",
        "",
        "   ",
        "make_array(1, 2)",
        "ARRAY[1, 2]",
    ];
    for text in attempts {
        assert!(row(text).is_err(), "{text}");
    }
}

#[test]
fn long_and_deep_expressions_are_refused_and_wide_ones_planned() {
    let wide = format!("status IN ({})", vec!["'x'"; 400].join(", "));
    let chain = vec!["id"; 90].join(" + ");
    let too_long = vec!["id"; 3_000].join(" + ");
    let too_deep = vec!["id"; 300].join(" + ");
    let nested = format!("{}id{}", "(".repeat(200), ")".repeat(200));

    assert!(row(&wide).is_ok());
    assert!(row(&chain).is_ok());
    for text in [too_long, too_deep, nested] {
        assert!(row(&text).is_err(), "{}", text.len());
    }
}

#[test]
fn a_sealed_column_passes_whole_or_not_at_all() {
    let expressions = Expressions::new();
    let schema = lake_orders();
    assert_eq!(expressions.plan_row("email", &schema).map(|planned| planned.data_type), Ok(DataType::Binary));

    for text in ["lower(email)", "email = 'x'", "email IS NULL", "coalesce(email, status)", "sha256_hex(email)"] {
        let mistake = expressions.plan_row(text, &schema).unwrap_err();
        let expected = "`email` is sealed here: pass it whole, or as `email|sha256`".to_owned();
        assert_eq!(told(text, &mistake), (expected, "email".to_owned()), "{text}");
    }
    assert!(aggregate("max(email)").unwrap_err().message.contains("sealed"));
    assert!(aggregate("count(email)").unwrap_err().message.contains("sealed"));
}

#[test]
fn an_aggregate_has_the_type_it_is_stored_under() {
    let cases = [
        ("count(*)", FieldType::Integer),
        ("COUNT(DISTINCT status)", FieldType::Integer),
        ("sum(net)", FieldType::Decimal),
        ("avg(net)", FieldType::Decimal),
        ("sum(net) / nullif(count(*), 0)", FieldType::Decimal),
        ("max(at)", FieldType::Timestamp),
        ("count(*) FILTER (WHERE status = 'paid' AND at > now() - INTERVAL '90 days')", FieldType::Integer),
        ("max(at) < now() - INTERVAL '60 days'", FieldType::Boolean),
        ("first_value(status ORDER BY at DESC)", FieldType::Text),
        ("approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY id)", FieldType::Float),
    ];
    for (text, expected) in cases {
        assert_eq!(aggregate(text).map(|planned| planned.data_type), Ok(expected.to_arrow()), "{text}");
    }
}

#[test]
fn an_aggregate_sees_columns_only_through_aggregates() {
    let cases = [
        ("net", "`net` stands outside of an aggregate function", "net"),
        ("sum(net) + id", "`id` stands outside of an aggregate function", "id"),
        ("sum(max(net))", "`max` stands inside another aggregate function", "max"),
        ("1 + 1", "an aggregate function is missing", "1 + 1"),
        ("sum(nett)", "unknown column `nett`", "nett"),
    ];
    for (text, message, place) in cases {
        let mistake = aggregate(text).unwrap_err();
        assert_eq!(told(text, &mistake), (message.to_owned(), place.to_owned()), "{text}");
    }
}

#[test]
fn a_normalised_expression_is_the_same_expression_with_quoted_columns() {
    let expressions = Expressions::new();
    let cases = [
        (
            "orders_count >= 3 AND last_order_at < now() - INTERVAL '60 days'",
            r#""orders_count" >= 3 AND "last_order_at" < now() - INTERVAL '60 days'"#,
        ),
        ("COUNT(*)", "COUNT(*)"),
        ("`at` /* when */ > 1 -- tail", r#""at" > 1"#),
        ("user = 'it''s'", r#""user" = 'it''s'"#),
        ("\"a\"\"b\" + 1", r#""a""b" + 1"#),
        ("CASE WHEN x THEN 1 END", r#"CASE WHEN "x" THEN 1 END"#),
        ("current_date - 1", "current_date - 1"),
    ];
    for (text, expected) in cases {
        let printed = expressions.normalise_sql(text).unwrap();
        assert_eq!(printed, expected, "{text}");
        assert_eq!(expressions.normalise_sql(&printed).as_ref(), Ok(&printed), "{text}");
    }
    for text in ["1) UNION (SELECT 2", "a; b", "(SELECT 1)", "t.a", "sum(a) OVER ()"] {
        assert!(expressions.normalise_sql(text).is_err(), "{text}");
    }
}
