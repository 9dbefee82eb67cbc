//! Pieces of SQL text: quoted names, literals, casts to the types of the model. The dialect is the lake's: names are
//! case-sensitive, a quoted name with a dot is one name.

use affluent_model::schema::FieldType;

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The lake's name for the Arrow type of a field type.
fn arrow_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Boolean => "Boolean",
        FieldType::Integer => "Int64",
        FieldType::Float => "Float64",
        FieldType::Decimal => "Decimal128(38, 6)",
        FieldType::Date => "Date32",
        FieldType::Timestamp => "Timestamp(Microsecond, Some(\"UTC\"))",
        FieldType::Text | FieldType::Json => "Utf8",
        FieldType::Binary => "Binary",
    }
}

/// The expression in the Arrow type of a field type.
pub(crate) fn cast(expression: &str, kind: FieldType) -> String {
    format!("arrow_cast({expression}, {})", literal(arrow_type(kind)))
}

/// Null of a type.
pub(crate) fn null(kind: FieldType) -> String {
    cast("NULL", kind)
}

/// All rows of all branches; columns go by position.
pub(crate) fn union_all(branches: &[String]) -> String {
    balanced(branches, "\nUNION ALL\n")
}

/// True when one of the conditions is; false for none.
pub(crate) fn any_of(conditions: &[String]) -> String {
    if conditions.is_empty() { "false".to_owned() } else { balanced(conditions, " OR ") }
}

/// The items joined as a tree of parentheses: a planner works on text recursively, and a chain of a hundred items would
/// take a hundred levels of its stack, the tree takes seven.
fn balanced(items: &[String], operator: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [left, right] => format!("{left}{operator}{right}"),
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            format!("({}){operator}({})", balanced(left, operator), balanced(right, operator))
        }
    }
}

/// The one type that holds values of both, where there is one without loss of meaning.
pub(crate) fn common_kind(a: FieldType, b: FieldType) -> Option<FieldType> {
    use FieldType::{Date, Decimal, Float, Integer, Json, Text, Timestamp};
    match (a, b) {
        _ if a == b => Some(a),
        (Integer, Decimal) | (Decimal, Integer) => Some(Decimal),
        (Integer | Decimal, Float) | (Float, Integer | Decimal) => Some(Float),
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        (Text, Json) | (Json, Text) => Some(Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("shop.\"x"), "\"shop.\"\"x\"");
        assert_eq!(literal("o'neill"), "'o''neill'");
    }

    #[test]
    fn a_long_list_becomes_a_shallow_tree() {
        let items: Vec<String> = (0..5).map(|number| number.to_string()).collect();

        assert_eq!(any_of(&items), "(0 OR 1) OR ((2) OR (3 OR 4))");
        assert_eq!(any_of(&[]), "false");
    }

    #[test]
    fn two_types_share_a_column_only_where_no_meaning_is_lost() {
        let cases = [
            (FieldType::Text, FieldType::Text, Some(FieldType::Text)),
            (FieldType::Integer, FieldType::Decimal, Some(FieldType::Decimal)),
            (FieldType::Float, FieldType::Decimal, Some(FieldType::Float)),
            (FieldType::Date, FieldType::Timestamp, Some(FieldType::Timestamp)),
            (FieldType::Text, FieldType::Integer, None),
            (FieldType::Boolean, FieldType::Integer, None),
        ];
        for (a, b, expected) in cases {
            assert_eq!((common_kind(a, b), common_kind(b, a)), (expected, expected), "{a:?} {b:?}");
        }
    }
}
