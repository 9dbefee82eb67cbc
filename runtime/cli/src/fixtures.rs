//! Records for tests from files: CSV with a header (RFC 4180), or JSON Lines.

use std::fs;
use std::path::Path;

use affluent_engine::Record;
use affluent_model::{Error, Result};
use serde_json::Value;

/// A fixture, bytes.
const FIXTURE_BYTES_MAX: u64 = 16 << 20;

/// Reads the records of a fixture; `file` is relative to the project's folder.
///
/// # Errors
/// `E0927` with the line, when it cannot be read or is not of the form its name promises.
pub(crate) fn read(root: &Path, file: &Path) -> Result<Vec<Record>> {
    let unusable = |reason: &str| {
        Error::configuration("E0927", format!("the fixture `{}` cannot be used: {reason}", file.display()))
            .help("a fixture is a `.csv` with a header or a `.jsonl` file in the project's folder")
    };
    let path = root.join(file);
    let length = fs::metadata(&path).map_err(|error| unusable(&error.kind().to_string()))?.len();
    if length > FIXTURE_BYTES_MAX {
        return Err(unusable("it is larger than 16 MiB"));
    }
    let text = fs::read_to_string(&path).map_err(|error| unusable(&error.kind().to_string()))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv(&text).map_err(|reason| unusable(&reason)),
        Some("jsonl" | "ndjson") => json_lines(&text).map_err(|reason| unusable(&reason)),
        _ => Err(unusable("its name ends neither in `.csv` nor in `.jsonl`")),
    }
}

fn json_lines(text: &str) -> Result<Vec<Record>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str::<Record>(line).map_err(|_| format!("line {} is no JSON object", number + 1))
    };
    lines.map(record).collect()
}

fn csv(text: &str) -> Result<Vec<Record>, String> {
    let mut rows = rows(text.trim_start_matches('\u{feff}'))?.into_iter();
    let Some((_, header)) = rows.next() else { return Err("it is empty".to_owned()) };
    rows.map(|(line, cells)| {
        if cells.len() != header.len() {
            return Err(format!("line {line} has {} values, the header has {}", cells.len(), header.len()));
        }
        Ok(header.iter().cloned().zip(cells.into_iter().map(Value::String)).collect())
    })
    .collect()
}

/// The rows with the number of the line each begins on.
fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut started, mut is_quoted) = (1, 1, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if is_quoted || cell.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !is_quoted => {
                line += 1;
                end_row(&mut rows, started, &mut cells, &mut cell);
                started = line;
            }
            other => {
                line += usize::from(other == '\n');
                cell.push(other);
            }
        }
    }
    if is_quoted {
        return Err(format!("the quotes that open on line {started} are not closed"));
    }
    end_row(&mut rows, started, &mut cells, &mut cell);
    Ok(rows)
}

/// Keeps the row, unless the line was empty.
fn end_row(rows: &mut Vec<(usize, Vec<String>)>, line: usize, cells: &mut Vec<String>, cell: &mut String) {
    if cells.is_empty() && cell.is_empty() {
        return;
    }
    cells.push(std::mem::take(cell));
    rows.push((line, std::mem::take(cells)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_cells_keep_commas_quotes_and_line_breaks() {
        let records = csv("\u{feff}id,note\r\n1,\"a, \"\"b\"\"\nc\"\n\n2,\n").unwrap();

        let notes: Vec<_> = records.iter().map(|record| record.get("note").and_then(Value::as_str).unwrap()).collect();
        assert_eq!(notes, ["a, \"b\"\nc", ""]);
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        for (text, reason) in
            [("", "it is empty"), ("a,b\n1\n", "line 2 has 1 values"), ("a\n\"1\n", "the quotes that open on line 2")]
        {
            assert!(csv(text).unwrap_err().contains(reason), "{text}");
        }
        assert_eq!(json_lines("{\"a\":1}\n\n[1]\n").unwrap_err(), "line 3 is no JSON object");
    }
}
