//! What sources over granted files share, whatever their format: patterns, places to resume at, reading in chunks,
//! settings of columns, guessing types and personal data. The format itself is the plugin's part.

mod infer;
mod places;
mod reader;
mod settings;

pub use infer::{Kinds, is_plain_number};
pub use places::Places;
pub use reader::{FileQueue, OpenFile};
pub use settings::{ColumnSettings, PiiSetting, guess_pii};

use crate::error::{Error, Result};
use crate::files::{self, Input};

/// Rows that a sample has at most; enough that a rare form of a value is usually seen.
pub const SAMPLE_ROWS_MAX: usize = 1_000;
/// Bytes that a sample has at most, over all files of a stream.
pub const SAMPLE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one record at most; a longer one is rejected. Also bounds what an unclosed quote can swallow.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Rejected rows of a page at most: a file of another format must not become one giant page.
pub const PAGE_REJECTED_MAX: usize = 1_000;

/// The granted inputs that match a pattern, sorted by name.
pub fn matching_inputs(pattern: &str) -> Vec<Input> {
    let mut inputs = files::inputs();
    inputs.retain(|input| matches(pattern, &input.name));
    inputs.sort_by(|left, right| left.name.cmp(&right.name));
    inputs
}

/// As [`matching_inputs`], but at least one.
///
/// # Errors
/// `config`, naming the pattern and how many inputs are granted.
pub fn required_inputs(pattern: &str) -> Result<Vec<Input>> {
    let inputs = matching_inputs(pattern);
    if inputs.is_empty() {
        let granted = files::inputs().len();
        return Err(Error::config(format!("no file matches `{pattern}` ({granted} files are granted)")).code("files.none"));
    }
    Ok(inputs)
}

/// Whether a name matches a pattern: `*` any characters of one path component, `?` one character. Components are
/// compared from the last one, as far as both have them: whether the host names an input by its path or by its file
/// name alone makes no difference.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.rsplit('/').filter(|part| *part != ".").zip(name.rsplit('/'));
    parts.all(|(pattern, part)| component_matches(pattern.as_bytes(), part.as_bytes()))
}

fn component_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', after)), _) => (0..=name.len()).any(|skip| component_matches(after, name.get(skip..).unwrap_or_default())),
        (Some((b'?', pattern)), Some((_, name))) => component_matches(pattern, name),
        (Some((wanted, pattern)), Some((byte, name))) => wanted == byte && component_matches(pattern, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_component_by_component() {
        let cases = [
            ("customers*.csv", "customers.csv", true),
            ("customers*.csv", "customers-2026-01.csv", true),
            ("customers*.csv", "exports/customers-1.csv", true),
            ("exports/*.csv", "exports/a.csv", true),
            ("./exports/*.csv", "exports/a.csv", true),
            ("exports/*.csv", "a.csv", true),
            ("exports/*.csv", "other/a.csv", false),
            ("a?.csv", "ab.csv", true),
            ("a?.csv", "abc.csv", false),
            ("*.csv", "a.csv.gz", false),
        ];

        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
