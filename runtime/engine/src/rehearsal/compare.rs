//! Expected against found: values by their meaning (numbers by amount, times by instant), rows by the fields that are
//! named.

use affluent_model::pipeline_test::{PlacedName, PlacedValue};
use serde_json::Value;

use super::Mismatch;
use super::stage::Record;

/// Share by which two numbers may differ: what a float loses on the way.
const TOLERANCE: f64 = 1e-9;
/// Rows shown of those that were sent.
const ROWS_SHOWN_MAX: usize = 5;

/// A value as text, texts without quotes.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// True when a found text is the expected value.
fn is_same(expected: &Value, found: Option<&str>) -> bool {
    let Some(found) = found else { return expected.is_null() };
    let expected = match expected {
        Value::Null => return false,
        other => text_of(other),
    };
    if expected == found {
        return true;
    }
    if let (Ok(expected), Ok(found)) = (expected.parse::<f64>(), found.parse::<f64>()) {
        return (expected - found).abs() <= TOLERANCE * expected.abs().max(1.0);
    }
    let instant = |text: &str| {
        let at = chrono::DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros());
        at.ok().or_else(|| text.parse::<i64>().ok())
    };
    chrono::DateTime::parse_from_rfc3339(&expected).is_ok() && instant(&expected) == instant(found)
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"))
}

fn wanted(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { format!("`{}`", text_of(value)) }
}

pub(super) fn values<'a>(
    what: &str,
    part: &str,
    expected: &[PlacedValue],
    found: impl Fn(&str) -> Option<&'a str>,
) -> Vec<Mismatch> {
    let differs = expected.iter().filter(|value| !is_same(&value.value, found(&value.name)));
    let mismatch = |value: &PlacedValue| {
        Mismatch::new(format!("{what}, {part} {}", value.name), wanted(&value.value), shown(found(&value.name)))
    };
    differs.map(mismatch).collect()
}

/// Exactly these segments.
pub(super) fn segments(what: &str, expected: Option<&[PlacedName]>, found: &[String]) -> Option<Mismatch> {
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.dedup();
        format!("[{}]", names.join(", "))
    };
    let expected = sorted(expected?.iter().map(|segment| segment.name.as_str()).collect());
    let found = sorted(found.iter().map(String::as_str).collect());
    (expected != found).then(|| Mismatch::new(format!("{what}, segments"), expected, found))
}

/// Each expected row was sent once, and no other row was. Rows that say the most choose first.
pub(super) fn rows(what: &str, expected: &[Vec<PlacedValue>], sent: &[Record]) -> Vec<Mismatch> {
    let mut left: Vec<&Record> = sent.iter().collect();
    let mut order: Vec<&Vec<PlacedValue>> = expected.iter().collect();
    order.sort_by_key(|row| std::cmp::Reverse(row.len()));
    let mut missing = Vec::new();
    for row in order {
        match left.iter().position(|sent| differing(row, sent).is_empty()) {
            Some(place) => drop(left.remove(place)),
            None => missing.push(row),
        }
    }
    let mut found = Vec::new();
    for row in missing {
        let near = (0..left.len()).min_by_key(|place| left.get(*place).map_or(usize::MAX, |sent| differing(row, sent).len()));
        let near = near.filter(|place| left.get(*place).is_some_and(|sent| differing(row, sent).len() < row.len()));
        let Some(near) = near.map(|place| left.remove(place)) else {
            let rows: Vec<Record> = left.iter().map(|row| (*row).clone()).collect();
            found.push(Mismatch::new(format!("{what}: a row"), expected_row(row), shown_rows(&rows)));
            continue;
        };
        let names = differing(row, near);
        let parts = row.iter().filter(|value| names.contains(&value.name.as_str()));
        for value in parts {
            let text = near.get(&value.name).map(text_of);
            let field = format!("{what}: {} of the row {}", value.name, shown_rows(std::slice::from_ref(near)));
            found.push(Mismatch::new(field, wanted(&value.value), shown(text.as_deref())));
        }
    }
    for row in left {
        found.push(Mismatch::new(format!("{what}: a row"), "no other", shown_rows(std::slice::from_ref(row))));
    }
    found
}

/// The fields in which a sent row is not as expected.
fn differing<'a>(expected: &'a [PlacedValue], sent: &Record) -> Vec<&'a str> {
    let differs = |value: &&PlacedValue| !is_same(&value.value, sent.get(&value.name).map(text_of).as_deref());
    expected.iter().filter(differs).map(|value| value.name.as_str()).collect()
}

fn expected_row(row: &[PlacedValue]) -> String {
    let pairs: Vec<String> = row.iter().map(|value| format!("{}: {}", value.name, text_of(&value.value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

pub(super) fn shown_rows(rows: &[Record]) -> String {
    if rows.is_empty() {
        return "nothing sent".to_owned();
    }
    let shown = rows.iter().take(ROWS_SHOWN_MAX).map(|row| {
        let pairs: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {}", text_of(value))).collect();
        format!("{{ {} }}", pairs.join(", "))
    });
    let more = rows.len().saturating_sub(ROWS_SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use affluent_model::diagnostic::Location;
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Vec<PlacedValue> {
        let at = Location::file_start("p.yaml");
        let placed = |(name, value): (&String, &Value)| PlacedValue { name: name.clone(), value: value.clone(), at: at.clone() };
        value.as_object().unwrap().iter().map(placed).collect()
    }

    fn sent(values: &[Value]) -> Vec<Record> {
        values.iter().map(|value| value.as_object().cloned().unwrap()).collect()
    }

    #[test]
    fn values_are_compared_by_their_meaning() {
        let cases = [
            (json!("a"), Some("a"), true),
            (json!("a"), Some("A"), false),
            (json!(12.5), Some("12.500000"), true),
            (json!("12.50"), Some("12.5"), true),
            (json!(12), Some("13"), false),
            (json!(true), Some("true"), true),
            (json!(null), None, true),
            (json!(null), Some(""), false),
            (json!("a"), None, false),
            (json!("2026-01-01T00:00:00Z"), Some("2026-01-01T01:00:00+01:00"), true),
            (json!("2026-01-01T00:00:00Z"), Some("1767225600000000"), true),
            (json!("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"), false),
        ];
        for (expected, found, same) in cases {
            assert_eq!(is_same(&expected, found), same, "{expected} {found:?}");
        }
    }

    #[test]
    fn rows_are_matched_by_their_named_fields_and_all_are_accounted_for() {
        let came = sent(&[json!({"email": "a@x.test", "n": 1}), json!({"email": "b@x.test", "n": 2})]);

        assert_eq!(rows("out", &[row(json!({"n": 2})), row(json!({"email": "a@x.test"}))], &came), []);
        assert_eq!(rows("out", &[row(json!({"n": 1}))], &came).len(), 1);
        assert_eq!(rows("out", &[], &[]), []);
        assert_eq!(rows("out", &[row(json!({"n": 1}))], &[]).len(), 1);
    }

    #[test]
    fn of_a_row_that_nearly_came_only_the_differing_field_is_told() {
        let came = sent(&[json!({"email": "a@x.test", "n": 1})]);

        let found = rows("out", &[row(json!({"email": "a@x.test", "n": 2}))], &came);

        let [mismatch] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((mismatch.expected.as_str(), mismatch.found.as_str()), ("`2`", "`1`"));
        assert!(mismatch.what.starts_with("out: n of the row"), "{}", mismatch.what);
    }
}
