//! CSV (RFC 4180) as services speak it: whole answers with a header, and bodies to upload. Fields may hold commas, quotes and line
//! breaks. The plugin `csv` reads files of any kind and size; this reads what a service promises.
//!
//! ```
//! use affluent_sdk::csv;
//!
//! let records = csv::records("id,name\n7,\"Acme \"\"A\"\", Inc\nLyon\"\n8,\n")?;
//! assert_eq!(records[0]["name"], "Acme \"A\", Inc\nLyon");
//! assert!(records[1]["name"].is_null());
//!
//! assert_eq!(csv::line(["7", "a \"b\""]), "\"7\",\"a \"\"b\"\"\"\n");
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::http::Response;

/// The records below the header, as objects of texts; an empty field is null.
///
/// # Errors
/// `transient` (`csv.broken`) for a text that ends inside a field, or a record that has not as many fields as the header: usually an
/// answer that breaks off. One that ends between two records is noticed only by their number.
pub fn records(text: &str) -> Result<Vec<Value>> {
    let mut lines = Lines { rest: text };
    let Some(header) = lines.next().transpose()? else { return Ok(Vec::new()) };
    lines.map(|line| record(&header, line?)).collect()
}

/// The records of an answer.
///
/// # Errors
/// As [`records`].
pub fn of(answer: &Response) -> Result<Vec<Value>> {
    records(std::str::from_utf8(answer.body()).map_err(|_| broken())?)
}

/// The records of an answer that says in a header how many there are, so that none is missing at its end.
///
/// # Errors
/// As [`records`]; `transient` (`csv.broken`) for another number.
pub fn of_counted(answer: &Response, header: &str) -> Result<Vec<Value>> {
    let records = of(answer)?;
    if answer.header(header).is_some_and(|told| told != records.len().to_string()) { Err(broken()) } else { Ok(records) }
}

/// One line of a body. Every field is quoted, so that a token in it is one, whatever it stands for.
pub fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = fields.into_iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
    quoted.join(",") + "\n"
}

fn record(header: &[String], fields: Vec<String>) -> Result<Value> {
    if fields.len() != header.len() {
        return Err(broken());
    }
    let value = |field: String| if field.is_empty() { Value::Null } else { Value::String(field) };
    let fields = header.iter().cloned().zip(fields.into_iter().map(value));
    Ok(Value::Object(fields.collect::<Map<_, _>>()))
}

fn broken() -> Error {
    Error::transient("the CSV breaks off").code("csv.broken")
}

/// The fields of each line; empty lines are none.
struct Lines<'a> {
    rest: &'a str,
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<String>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches(['\r', '\n']);
        if self.rest.is_empty() {
            return None;
        }
        let mut fields = Vec::new();
        loop {
            match self.field() {
                None => return Some(Err(broken())),
                Some((field, is_last)) => {
                    fields.push(field);
                    if is_last {
                        return Some(Ok(fields));
                    }
                }
            }
        }
    }
}

impl Lines<'_> {
    /// Takes a field and what ends it; says whether that is the end of the line. `None` when the text ends inside of it.
    fn field(&mut self) -> Option<(String, bool)> {
        let mut field = String::new();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            loop {
                let (inside, after) = self.rest.split_once('"')?;
                field.push_str(inside);
                self.rest = after;
                let Some(more) = after.strip_prefix('"') else { break };
                field.push('"');
                self.rest = more;
            }
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (plain, after) = self.rest.split_at_checked(end)?;
        field.push_str(plain.strip_suffix('\r').unwrap_or(plain));
        self.rest = after.get(1..).unwrap_or_default();
        Some((field, !after.starts_with(',')))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_hold_quotes_commas_and_line_breaks_and_lines_may_end_as_they_like() {
        let records = records("a,b\r\n\"x\"\"y\",\"1,2\r\n3\"\r\n\n,\"\"\nlast,").unwrap();

        let told = serde_json::json!([{ "a": "x\"y", "b": "1,2\r\n3" }, { "a": null, "b": null }, { "a": "last", "b": null }]);
        assert_eq!(Value::Array(records), told);
        assert!(super::records("").unwrap().is_empty() && super::records("a,b\n").unwrap().is_empty());
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_shorter_answer() {
        for text in ["a,b\n1,\"2", "a,b\n1", "a,b\n1,2,3\n"] {
            assert_eq!(records(text).unwrap_err().code, "csv.broken", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(prop::array::uniform2("[a,\"\r\n é]{1,6}"), 0..6)) {
            let text: String = rows.iter().map(|[a, b]| line([a.as_str(), b])).collect();

            let read = records(&format!("a,b\n{text}")).unwrap();

            let expected: Vec<Value> = rows.iter().map(|[a, b]| serde_json::json!({ "a": a, "b": b })).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
