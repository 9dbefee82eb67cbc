//! Many puts as one job that the service works on by itself, and what became of each of them: by the service's results, or, where it
//! gives none, by putting the rows again in ever smaller batches.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Keyed, PutDestination, Puts, key_name};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, Response};
use crate::json;
use crate::outcomes::{Fold, JobStatus, KeyedRows, Ticket};
use crate::plugin::{Outcome, Report};
use crate::upserts::Membership;

/// How a service does many puts as one job.
#[derive(Debug, Clone, Copy)]
pub struct Jobs {
    /// Fewer rows are put one by one: that takes less time than a job.
    pub rows_min: usize,
    /// Where the answer to [`Puts::job`] holds its id (RFC 6901).
    pub id: &'static str,
    /// Where a job stands.
    pub status: JobStatus,
    /// Where a job that is complete says how many puts failed.
    pub failed: &'static str,
    /// Where it tells which. Where it does not, or where that cannot be had any more, the host halves the batch until it is put one
    /// by one.
    pub results: Option<JobResults>,
}

/// Where a job tells what became of each put: a document at another address, lists of one entry for each put (RFC 6901). The host
/// makes such a document of an archive of JSON files.
#[derive(Debug, Clone, Copy)]
pub struct JobResults {
    /// The address, in the job. It is asked without a credential; its host must be granted.
    pub url: &'static str,
    /// The mark of the row ([`crate::upserts::Upsert::mark`]), in an entry.
    pub mark: &'static str,
    /// The status of the answer to the put, in an entry.
    pub status: &'static str,
    /// Its body, as a text, in an entry.
    pub body: &'static str,
}

impl JobResults {
    /// The answers to the puts of a job, by the marks of their rows; none where it tells none, or none that can be had.
    fn read(&self, job: &Value) -> Result<BTreeMap<String, Response>> {
        let url = json::text(job, self.url);
        if url.is_empty() {
            return Ok(BTreeMap::new());
        }
        let told = match http::get(url).send().and_then(Response::error_for_status).and_then(|answer| answer.json()) {
            Err(error) if matches!(error.kind, ErrorKind::Transient | ErrorKind::RateLimited) && error.code != "http.body" => {
                return Err(error);
            }
            told => told.unwrap_or_default(),
        };
        let mut answers = BTreeMap::new();
        self.collect(&told, &mut answers);
        Ok(answers)
    }

    fn collect(&self, told: &Value, answers: &mut BTreeMap<String, Response>) {
        if let Value::Array(entries) = told {
            return entries.iter().for_each(|entry| self.collect(entry, answers));
        }
        let status = told.pointer(self.status).and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        if let Some(status) = status {
            let answer = Response::of(status, json::text(told, self.body).as_bytes().to_vec());
            answers.insert(json::text(told, self.mark).to_owned(), answer);
        }
    }
}

impl<S: Puts> PutDestination<S> {
    pub(super) fn ask_after_job(&self, token: &str) -> Result<Outcome> {
        let jobs = S::JOBS.ok_or_else(|| Error::unsupported("this destination has no jobs"))?;
        let ticket = Ticket::of(token)?;
        let answer = self.service.service().ask(self.service.job_status(ticket.job())?);
        ticket.follow(answer, &jobs.status, &self.reasons(), |job| {
            let (mut report, _) = ticket.begin(&self.reasons());
            let keyed: Keyed = ticket.keyed().into_iter().map(|(row, key)| (row, key.to_owned())).collect();
            if job.pointer(jobs.failed).and_then(Value::as_u64) != Some(0) {
                self.read_results(&jobs, job, &keyed, &mut report)?;
            }
            self.change_members(Membership::Add, &keyed, &mut report)?;
            Ok(report.counted(ticket.rows()))
        })
    }

    /// Puts what became of the rows that were sent into the report. A row that is not told is put again.
    fn read_results(&self, jobs: &Jobs, job: &Value, keyed: &Keyed, report: &mut Report) -> Result<()> {
        let untold = |error: Error| error.code(format!("{}.untold", jobs.status.prefix));
        let mut answers = jobs.results.map(|results| results.read(job)).transpose()?.unwrap_or_default();
        let fold = Fold::of(keyed.iter().map(|(row, key)| (*row, S::IDENTIFIERS.comparable(key_name::<S>(), key))));
        let told: Vec<(u32, Option<Response>)> =
            fold.rows().iter().map(|row| (*row, answers.remove(&KeyedRows::mark(*row)))).collect();
        if told.iter().all(|(_, answer)| answer.is_none()) {
            return Err(untold(Error::invalid_data("the service refused rows without telling which")));
        }
        for (row, answer) in told {
            let again = || untold(Error::transient("the job does not tell what became of the row"));
            self.note(row, answer.ok_or_else(again), report)?;
        }
        fold.share(report);
        Ok(())
    }
}
