//! The two ways out of the program: results on stdout, talk on stderr; and the pieces text is made of.

use std::io::{IsTerminal, Write};

use affluent_model::{Error, Result};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::arguments::{Output, Shared};

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) output: Output,
    pub(crate) quiet: bool,
    pub(crate) is_coloured: bool,
}

impl Screen {
    pub(crate) fn new(shared: &Shared) -> Self {
        let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { output: shared.output, quiet: shared.quiet, is_coloured }
    }

    /// Prints a result: its JSON, or the text made of it.
    ///
    /// # Errors
    /// When stdout is gone.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
        let printed = match self.output {
            Output::Json => serde_json::to_string_pretty(value).map_err(|error| Error::bug(error.to_string()))?,
            Output::Text => text(),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", printed.trim_end())
            .map_err(|error| Error::external("E0814", format!("stdout cannot be written: {error}")))
    }

    /// Prints talk, unless asked to be quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }
}

/// Prints to stderr whatever was asked for: errors. A closed stderr is no reason to fail.
pub(crate) fn complain(text: &str) {
    let written = writeln!(std::io::stderr().lock(), "{text}");
    drop(written);
}

/// A table in the product's look.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| (*title).to_owned()));
    table
}

/// 12345678 → `12,345,678`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Milliseconds as a person says them.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        3_600_000.. => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn durations_read_like_a_person_says_them() {
        let cases = [(7, "7 ms"), (1_234, "1.2 s"), (61_000, "1 min 1 s"), (11_520_000, "3 h 12 min")];
        for (ms, expected) in cases {
            assert_eq!(duration(ms), expected);
        }
    }
}
