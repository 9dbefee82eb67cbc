//! One good report, everything that can be wrong with one, and rows that poison a batch.

use affluent_sdk::columns::{ColumnData, Columns, Payload};
use affluent_sdk::{Error, Outcome, Report, Result, RowError};

use crate::Behaviour;
use crate::acts::huge_text;

/// The outcome of a batch of `rows`.
pub fn outcome(behaviour: Behaviour, rows: u32) -> Outcome {
    let good = Report::accepted(rows);
    let failed = |rows: Vec<u32>| Report { failed: rows.into_iter().map(row_error).collect(), ..Report::accepted(0) };
    let report = match behaviour {
        Behaviour::ForgedRow => failed(vec![u32::MAX]).counted(rows),
        Behaviour::RowTwice => failed(vec![0, 0]).counted(rows),
        Behaviour::CountsShort => Report::accepted(rows.saturating_sub(1)),
        Behaviour::CountsOver => Report::accepted(u32::MAX),
        Behaviour::ManyErrors => failed(vec![0; 500_000]),
        Behaviour::HugeReportText => {
            let error = RowError { code: huge_text(), message: huge_text(), field: Some(huge_text()), ..row_error(0) };
            Report { failed: vec![error], ..good }.counted(rows)
        }
        Behaviour::ForgedRemoteIds => Report { remote_ids: vec![(u32::MAX, "id".to_owned()), (0, huge_text())], ..good },
        Behaviour::PendingForever => return Outcome::Pending(("token".to_owned(), 0)),
        Behaviour::HugeToken => return Outcome::Pending((huge_text(), u32::MAX)),
        _ => good,
    };
    Outcome::Done(report)
}

fn row_error(row: u32) -> RowError {
    Error::invalid_data("refused on purpose").code("hostile.row").at_row(row, Some("name"))
}

/// Acts on rows that hold the text `poison`: panics, refuses the batch, or reports the rows as failed.
///
/// # Errors
/// `invalid_data` for a batch with poison, if the behaviour says so.
#[expect(clippy::panic, reason = "the behaviour is about it")]
pub fn poison(behaviour: Behaviour, payload: &Payload) -> Result<Vec<RowError>> {
    let rows = poisoned_rows(payload);
    match behaviour {
        Behaviour::PanicOnPoison if !rows.is_empty() => panic!("poison"),
        Behaviour::InvalidDataOnPoison if !rows.is_empty() => Err(Error::invalid_data("a row of the batch is poison")),
        Behaviour::FailPoison => Ok(rows.into_iter().map(row_error).collect()),
        _ => Ok(Vec::new()),
    }
}

fn poisoned_rows(payload: &Payload) -> Vec<u32> {
    let Payload::Columns(columns) = payload else { return Vec::new() };
    let texts = columns.columns.iter().filter(|column| matches!(column.data, ColumnData::Texts(_)));
    let names: Vec<&str> = texts.map(|column| column.name.as_str()).collect();
    (0..columns.rows).filter(|row| names.iter().any(|name| holds_poison(columns, name, *row))).collect()
}

fn holds_poison(columns: &Columns, name: &str, row: u32) -> bool {
    columns.text(name).is_ok_and(|texts| texts.get(row as usize) == Some("poison"))
}
