//! The column names of a file.

use affluent_sdk::file_streams::{OpenFile, RECORD_BYTES_MAX};
use affluent_sdk::{Error, Result};

use crate::config::StreamConfig;
use crate::scan::{Dialect, Scan, Span, scan};

/// Names of the columns of `file`, trimmed. With a header, the header is taken from the file. `None` for an empty file.
///
/// # Errors
/// `config` naming the file, for a header that is broken, or has empty or repeated names.
pub(crate) fn read_names(file: &mut OpenFile, config: &StreamConfig, dialect: Dialect) -> Result<Option<Vec<String>>> {
    let mut spans = Vec::new();
    let first = loop {
        if file.is_at_end() && file.rest().is_empty() {
            return Ok(None);
        }
        match scan(dialect, file.rest(), file.is_at_end(), &mut spans) {
            Scan::Incomplete if file.rest().len() < RECORD_BYTES_MAX => file.fill()?,
            Scan::Record { bytes, lines, .. } => break (bytes, lines),
            Scan::Incomplete | Scan::Flawed(_) => return Err(flawed(file, "its first line is not a line of this format")),
        }
    };
    if !config.header {
        return Ok(Some((1..=spans.len()).map(|number| format!("column_{number}")).collect()));
    }
    let names = spans.iter().map(|span| name_of(file, *span, dialect)).collect::<Result<Vec<_>>>()?;
    check_names(file, &names)?;
    file.advance(first.0, first.1);
    Ok(Some(names))
}

fn name_of(file: &OpenFile, span: Span, dialect: Dialect) -> Result<String> {
    let bytes = file.rest().get(span.start..span.end).unwrap_or_default();
    let name = std::str::from_utf8(bytes).map_err(|_| flawed(file, "its header is not valid UTF-8"))?.trim();
    Ok(if span.has_doubled_quotes { undouble(name, dialect.quote) } else { name.to_owned() })
}

fn check_names(file: &OpenFile, names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(flawed(file, &format!("column {} has no name", index + 1)));
        }
        if names.iter().take(index).any(|earlier| earlier == name) {
            return Err(flawed(file, &format!("column `{name}` appears twice")));
        }
    }
    Ok(())
}

fn flawed(file: &OpenFile, what: &str) -> Error {
    Error::config(format!("file `{}`: {what}", file.name())).code("csv.header")
}

/// The text with doubled quotes made single.
pub(crate) fn undouble(text: &str, quote: u8) -> String {
    let quote = char::from(quote);
    text.replace(&format!("{quote}{quote}"), &quote.to_string())
}
