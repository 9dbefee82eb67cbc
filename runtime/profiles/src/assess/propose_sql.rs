//! Names and texts in the SQL of a proposed pipeline.

/// Words that mean something else where they stand alone.
const RESERVED: [&str; 34] = [
    "all",
    "and",
    "as",
    "at",
    "between",
    "by",
    "case",
    "cast",
    "date",
    "end",
    "false",
    "from",
    "group",
    "in",
    "interval",
    "is",
    "key",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "on",
    "or",
    "order",
    "right",
    "select",
    "table",
    "then",
    "time",
    "timestamp",
    "true",
    "user",
    "where",
];

/// A column as an expression: in quotes where it must be.
pub(crate) fn column(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !RESERVED.contains(&name.to_lowercase().as_str());
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A text as a literal.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
