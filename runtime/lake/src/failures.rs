//! What can go wrong in the lake, in the words of the project: one function per origin, one code per thing to do.
//! Texts of DataFusion and Arrow about *values* never pass: they may quote a person's data.

use std::io;

use affluent_model::Error;
use affluent_model::error::Retry;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// The code of a query that needs more memory than it may use.
pub(crate) const TOO_LARGE: &str = "E0734";

/// The disk refused: `action` says what was tried ("make `orders-1f`").
pub(crate) fn disk(action: &str, error: &io::Error) -> Error {
    Error::external("E0731", format!("the lake cannot {action}: {}", error.kind()))
        .help("check free space and permissions of the lake's directory, then run again")
}

/// Planning refused the SQL; its text comes from the query itself, not from data.
pub(crate) fn planning(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => running(error),
        _ => Error::configuration("E0732", format!("the lake refuses the query: {}", first_line(error))),
    }
}

/// The query was fine and its execution was not.
pub(crate) fn running(error: &DataFusionError) -> Error {
    let root = error.find_root();
    match root {
        DataFusionError::ResourcesExhausted(_) => Error::external(TOO_LARGE, "a lake query needs more memory than it may use")
            .help("free memory on this machine, or run fewer pipelines at the same time, then run again"),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => unreadable(),
        DataFusionError::ArrowError(arrow, _) if is_file_trouble(arrow) => unreadable(),
        _ => Error::configuration("E0733", format!("a lake query went wrong: {}", cause(error)))
            .help("guard the expression: `try_cast` instead of `cast`, `nullif(x, 0)` under a division"),
    }
}

/// Why an expression cannot be computed on a value, without the value.
pub(crate) fn cause(error: &DataFusionError) -> &'static str {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => arrow_cause(arrow),
        DataFusionError::Execution(_) => "a function was given a value it does not take",
        DataFusionError::ResourcesExhausted(_) => "it needs more memory than it may use",
        DataFusionError::ExecutionJoin(_) => "a part of it was interrupted",
        _ => "a value cannot be computed",
    }
}

/// As [`cause`], for errors of Arrow's kernels.
pub(crate) fn arrow_cause(error: &ArrowError) -> &'static str {
    match error {
        ArrowError::CastError(_) | ArrowError::ParseError(_) => "a value cannot be converted to the type asked for",
        ArrowError::DivideByZero => "a division by zero",
        ArrowError::ArithmeticOverflow(_) => "a number grew out of its range",
        ArrowError::InvalidArgumentError(_) => "a value is not allowed there",
        _ => "a value cannot be computed",
    }
}

/// The message of a planning error: one line, lower-case, without the boilerplate around it.
pub(crate) fn first_line(error: &DataFusionError) -> String {
    let text = error.diagnostic().map_or_else(|| error.find_root().message().into_owned(), |known| known.message.clone());
    let line = text.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let mut letters = line.chars();
    let Some(first) = letters.next() else { return "it cannot be planned".to_owned() };
    let second_is_lower = letters.clone().next().is_some_and(char::is_lowercase);
    if second_is_lower { first.to_lowercase().chain(letters).collect() } else { line.to_owned() }
}

fn is_file_trouble(error: &ArrowError) -> bool {
    matches!(error, ArrowError::ParquetError(_) | ArrowError::IoError(_, _) | ArrowError::IpcError(_))
}

/// A file of the query's list is not there, or is not Parquet.
pub(crate) fn unreadable() -> Error {
    damaged("a file of the lake is missing or cannot be read".to_owned())
}

/// This file of the lake cannot be read.
pub(crate) fn unreadable_file(name: &str, error: &dyn std::fmt::Display) -> Error {
    damaged(format!("lake file `{name}` cannot be read: {error}"))
}

/// A file of the lake is not as it was written.
pub(crate) fn damaged(message: String) -> Error {
    Error::external("E0735", message)
        .retry(Retry::Never)
        .help("restore the lake's directory from the backup that belongs to this ledger, or run the pipeline with --full")
}
