//! Writing as the engine does: pending batches are asked after, retryable rows are sent again, a batch that is refused as
//! a whole is split until the row at fault is alone.

use affluent_model::batch::{Outcome, OutgoingBatch, RowError, RowOperation};
use affluent_model::connector::{BoxFuture, Destination, Failure, FailureKind};
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use crate::bench::Bench;
use crate::reading::{is_passing, kind_word};

/// Times that a batch, or the rows of it that are retryable, is sent again.
const ROUNDS_MAX: u32 = 5;
/// Times that a pending batch is asked after.
const POLLS_MAX: u32 = 100;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    Skipped(String),
    Failed(String),
    /// Still not taken after all rounds.
    Retryable(String),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// One for each row.
    pub(crate) fates: Vec<Fate>,
    /// Kinds of failures and of retryable rows that were overcome.
    pub(crate) overcome: Vec<String>,
}

impl Written {
    pub(crate) fn count(&self, fate: fn(&Fate) -> bool) -> usize {
        self.fates.iter().filter(|one| fate(one)).count()
    }

    /// Rows that were refused for good.
    pub(crate) fn failed(&self) -> Vec<usize> {
        let rows = self.fates.iter().enumerate().filter(|(_, fate)| matches!(fate, Fate::Failed(_)));
        rows.map(|(row, _)| row).collect()
    }

    /// Rows that are not at the destination and were not refused either.
    pub(crate) fn left(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Retryable(_)))
    }
}

/// A batch on its way.
#[derive(Clone)]
pub(crate) struct Sending<'a> {
    pub(crate) place: &'a str,
    pub(crate) key: String,
    pub(crate) operation: RowOperation,
    pub(crate) records: RecordBatch,
}

/// Writes a batch until every row has its fate.
pub(crate) fn write<'a>(
    bench: &'a Bench,
    writer: &'a mut dyn Destination,
    sending: Sending<'a>,
) -> BoxFuture<'a, Result<Written, Failure>> {
    Box::pin(async move {
        let rows = sending.records.num_rows();
        let mut written = Written { fates: vec![Fate::Retryable("not sent".to_owned()); rows], overcome: Vec::new() };
        let mut open: Vec<usize> = (0..rows).collect();
        let mut rounds = 0;
        while !open.is_empty() && rounds <= ROUNDS_MAX {
            let numbers: UInt32Array = open.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
            let Ok(records) = take_record_batch(&sending.records, &numbers) else { break };
            rounds += 1;
            match send_once(bench, writer, &sending, records.clone()).await {
                Ok(outcome) => open = settle(bench, &mut written, &open, outcome),
                Err(failure) if failure.kind == FailureKind::InvalidData && open.len() > 1 => {
                    halve(bench, writer, &sending, (&records, &open), &mut written).await?;
                    return Ok(written);
                }
                Err(failure) if failure.kind == FailureKind::InvalidData => {
                    set(&mut written, &open, &Fate::Failed(failure.plugin_code));
                    return Ok(written);
                }
                Err(failure) if is_passing(failure.kind) && rounds <= ROUNDS_MAX => {
                    written.overcome.push(kind_word(failure.kind));
                    bench.wait_after(&failure).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(written)
    })
}

async fn halve(
    bench: &Bench,
    writer: &mut dyn Destination,
    sending: &Sending<'_>,
    (records, rows): (&RecordBatch, &[usize]),
    written: &mut Written,
) -> Result<(), Failure> {
    let middle = rows.len() / 2;
    for (half, start, end) in [("a", 0, middle), ("b", middle, rows.len())] {
        let part =
            Sending { key: format!("{}{half}", sending.key), records: records.slice(start, end - start), ..sending.clone() };
        let part = write(bench, &mut *writer, part).await?;
        for (row, fate) in rows.iter().skip(start).zip(part.fates) {
            if let Some(place) = written.fates.get_mut(*row) {
                *place = fate;
            }
        }
        written.overcome.extend(part.overcome);
    }
    Ok(())
}

fn set(written: &mut Written, rows: &[usize], fate: &Fate) {
    for row in rows {
        if let Some(place) = written.fates.get_mut(*row) {
            *place = fate.clone();
        }
    }
}

/// One call, and the polls after it.
async fn send_once(
    bench: &Bench,
    writer: &mut dyn Destination,
    sending: &Sending<'_>,
    records: RecordBatch,
) -> Result<Outcome, Failure> {
    let rows = records.num_rows();
    bench.heard(|heard| heard.rows += u64::try_from(rows).unwrap_or(0));
    let batch = OutgoingBatch { idempotency_key: sending.key.clone(), operation: sending.operation, records };
    let mut outcome = bench.listen(sending.place, writer.write(batch.clone()).await)?;
    let mut failed_polls = 0;
    for _ in 0..POLLS_MAX {
        let Outcome::Pending { token, after_ms } = &outcome else { break };
        bench.heard(|heard| heard.say(format!("the token of {}", sending.place), token));
        bench.wait_ms((*after_ms).clamp(100, 60_000)).await;
        let token = token.clone();
        match bench.listen(sending.place, writer.poll(&token, &batch).await) {
            Ok(next) => outcome = next,
            Err(failure) if is_passing(failure.kind) && failed_polls < ROUNDS_MAX => {
                failed_polls += 1;
                bench.wait_after(&failure).await;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(outcome)
}

/// Takes down what a report says of the rows in `open`; the rows that are to be sent again.
fn settle(bench: &Bench, written: &mut Written, open: &[usize], outcome: Outcome) -> Vec<usize> {
    let Outcome::Done(report) = outcome else {
        set(written, open, &Fate::Retryable("still pending".to_owned()));
        return Vec::new();
    };
    set(written, open, &Fate::Accepted);
    let mut again = Vec::new();
    let mut note = |errors: &[RowError], fate: fn(String) -> Fate| {
        for error in errors {
            bench.heard(|heard| heard.say("the error of a row".to_owned(), &format!("{} {}", error.code, error.message)));
            let Some(row) = open.get(error.row) else { continue };
            set(written, &[*row], &fate(error.code.clone()));
        }
    };
    note(&report.skipped, Fate::Skipped);
    note(&report.failed, Fate::Failed);
    note(&report.retryable, Fate::Retryable);
    for error in &report.retryable {
        again.extend(open.get(error.row));
        written.overcome.push("retryable".to_owned());
    }
    again
}
