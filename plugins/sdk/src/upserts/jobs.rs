//! Large batches as jobs that the service works on by itself: begun once, asked after until they are over, also by a later process.

use std::collections::HashMap;

use super::{NO_KEY, Upsert, UpsertDestination, Upserts};
use crate::error::{Error, Result};
use crate::json_columns::JsonRows;
use crate::outcomes::{Fold, JobStatus, Ticket};
use crate::plugin::{Outcome, Report};

/// Questions after jobs, one a second, before the time between two of them doubles with each, and the longest of these times in
/// milliseconds: each question is a request of the day.
const EAGER_QUESTIONS: u32 = 4;
const WAIT_MS_MAX: u32 = 30_000;

/// How large batches are sent.
#[derive(Debug, Clone, Copy)]
pub struct Jobs {
    /// A batch of so many rows is a job; 0 for never.
    pub from_rows: u32,
    /// Rows of one job: at most 3,000, whose keys a ticket can hold.
    pub rows_max: u32,
    /// Where a job stands.
    pub status: JobStatus,
}

/// What became of one row of a job.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// The value that it was matched by.
    pub key: String,
    /// The id of its record, or why the row was not taken: `transient` where it is worth another try.
    pub outcome: Result<String>,
    /// The field at fault.
    pub field: Option<String>,
}

impl<S: Upserts> UpsertDestination<S> {
    pub(super) fn is_for_job(&self, rows: usize) -> bool {
        self.service.jobs().is_some_and(|jobs| jobs.from_rows > 0 && rows >= jobs.from_rows as usize)
    }

    pub(super) fn start_job(&self, rows: &JsonRows<'_>, upserts: &[Upsert]) -> Result<Outcome> {
        let by = self.by.first().map_or("", String::as_str);
        let (ticket, _, keys) = Ticket::of_rows(rows.rows(), |row| Ok(rows.text(by, row)?.ok_or(0)))?;
        let keys = keys.iter().map(|key| S::IDENTIFIERS.key(by, key)).collect::<Result<_>>()?;
        ticket.keys(keys).pending(&self.service.start_job(&self.object, by, upserts)?)
    }

    pub(super) fn ask_after_job(&mut self, token: &str) -> Result<Outcome> {
        let jobs = self.service.jobs().ok_or_else(|| Error::unsupported("this destination has no jobs"))?;
        let ticket = Ticket::of(token)?;
        let answer = self.service.job(ticket.job());
        let outcome = ticket.follow(answer, &jobs.status, &[NO_KEY], |_| self.finish_job(&ticket))?;
        let Outcome::Pending((token, wait_ms)) = outcome else { return Ok(outcome) };
        self.questions += 1;
        let doublings = self.questions.saturating_sub(EAGER_QUESTIONS).min(10);
        Ok(Outcome::Pending((token, wait_ms.saturating_mul(1 << doublings).min(WAIT_MS_MAX))))
    }

    /// Rows of one record were sent once and share what became of it.
    fn finish_job(&self, ticket: &Ticket) -> Result<Report> {
        let by = self.by.first().map_or("", String::as_str);
        let (mut report, _) = ticket.begin(&[NO_KEY]);
        let keyed = ticket.keyed();
        let mut untold: HashMap<&str, u32> = keyed.iter().map(|(row, key)| (*key, *row)).collect();
        for told in self.service.job_rows(ticket.job(), by)? {
            let key = S::IDENTIFIERS.key(by, &told.key)?;
            match (untold.remove(key.as_str()), told.outcome) {
                (None, _) => {}
                (Some(row), Ok(id)) => report.remote_ids.push((row, id)),
                (Some(row), Err(error)) => report.refuse(error.at_row(row, told.field.as_deref())),
            }
        }
        let again = Error::transient("the job does not tell what became of the row").code("job.untold");
        untold.into_values().for_each(|row| report.refuse(again.clone().at_row(row, None)));
        Fold::of(keyed).share(&mut report);
        Ok(report.counted(ticket.rows()))
    }
}
