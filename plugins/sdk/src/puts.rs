//! Destinations whose records are put one at a time, each under the address that its key makes, several at once; many of them as
//! one job, where the service has jobs; who is on lists by key; people erased by key: [`Puts`] says how each of these is asked for,
//! [`PutDestination`] does the rest: duplicates, rows that cannot be sent, outcomes by row, jobs of an earlier process.

mod jobs;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Request, Response, Service};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm, WriteMode};
use crate::outcomes::{Fold, KeyedRows, Ticket, Unfit};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::{Field, PiiClass};
use crate::upserts::{Membership, Upsert};
use crate::{json, kv, token};

pub use jobs::{JobResults, Jobs};

/// Why a record is not put, and whether a record is such a one.
pub type UnfitIf = (Unfit, fn(&Value) -> bool);

/// A service whose records are put.
pub trait Puts: Account {
    /// Rows of one batch.
    const ROWS_MAX: u32;
    /// Requests at once.
    const IN_FLIGHT_MAX: u8;
    /// The field that is the key, and where records hold their ids.
    const IDENTIFIERS: Identifiers;
    /// Where a refusal names the field at fault (RFC 6901).
    const FIELD: &'static str;
    /// How many puts become a job.
    const JOBS: Option<Jobs> = None;

    /// How to ask; a credential that does not reach the object is an error of [`Puts::target`].
    fn service(&self) -> &Service;

    /// The object that is written.
    ///
    /// # Errors
    /// Any kind.
    fn target(&self) -> Result<TargetSchema>;

    /// Creates a field that the object lacks; asked for only where it takes fields of any name.
    ///
    /// # Errors
    /// Any kind.
    fn create_field(&self, field: &Field) -> Result<()> {
        Err(Error::unsupported(format!("field `{}` is not created", field.name)))
    }

    /// Puts a record; twice is the same as once.
    fn put(&self, row: &Upsert) -> Request;

    /// Puts records as a job; twice is the same as once. Their marks go with them where there are [`Jobs::results`].
    ///
    /// # Errors
    /// `unsupported` unless there are [`Puts::JOBS`].
    fn job(&self, _rows: &[Upsert]) -> Result<Request> {
        Err(Error::unsupported("this destination has no jobs"))
    }

    /// Asks after a job.
    ///
    /// # Errors
    /// As [`Puts::job`].
    fn job_status(&self, _id: &str) -> Result<Request> {
        Err(Error::unsupported("this destination has no jobs"))
    }

    /// Asks for the record of a key: 404 where there is none.
    fn get(&self, key: &str) -> Request;

    /// What makes a record one that is not put: given it, every record is looked at first.
    fn unfit(&self) -> Option<UnfitIf> {
        None
    }

    /// Has whoever has this key erased: 404 where there is nobody.
    ///
    /// # Errors
    /// `unsupported` unless the target says that it erases.
    fn erase(&self, _key: &str) -> Result<Request> {
        Err(Error::unsupported("this destination erases nobody"))
    }

    /// The id of a list; `None` where there is none of this name.
    ///
    /// # Errors
    /// Any kind.
    fn find_list(&self, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes a list; its id.
    ///
    /// # Errors
    /// Any kind.
    fn make_list(&self, _name: &str) -> Result<String> {
        Err(Error::unsupported("this destination has no lists"))
    }

    /// Changes who is on a list, by key; the keys for which it could not.
    ///
    /// # Errors
    /// Any kind; `not_found` for a list that is gone.
    fn change_members(&self, _list: &str, _change: Membership, _keys: &[&str]) -> Result<Vec<String>> {
        Err(Error::unsupported("this destination has no lists"))
    }
}

/// The [`Destination`] of a [`Puts`] service. Records that leave a segment leave the list; they are never deleted.
#[derive(Debug)]
pub struct PutDestination<S> {
    service: S,
    list: Option<String>,
}

/// Rows with their keys.
type Keyed = Vec<(u32, String)>;

/// Why a row is not sent, before what the service itself says.
const NO_KEY: Unfit = Unfit { code: "row.no_key", message: "the row has no value in the field that it is matched by" };

impl<S: Puts> Destination for PutDestination<S> {
    type Config = S::Config;

    fn discover(config: &S::Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![S::connect(config).target()?])
    }

    fn open(config: S::Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let service = S::connect(&config);
        let schema = service.target()?;
        schema.accept(&target)?;
        let list = target.list_name().map(str::to_owned);
        if target.mode == WriteMode::Mirror && list.is_none() {
            return Err(Error::config(format!("a mirror needs a `list`: `{}` are never deleted", schema.name)));
        }
        let is_known = |name: &str| name.starts_with('_') || schema.fields.iter().any(|field| field.name == name);
        let missing = target.fields.iter().filter(|field| !target.mode.is_erasure() && !is_known(&field.name));
        missing.into_iter().try_for_each(|field| service.create_field(field))?;
        let is_email = |name: &str| schema.fields.iter().any(|field| field.name == name && field.pii == Some(PiiClass::Email));
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).max_rows(S::ROWS_MAX).removes(list.is_some());
        let info = if is_email(key_name::<S>()) { info.form(key_name::<S>(), ValueForm::Email) } else { info };
        Ok((Self { service, list }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let rows = rows(&batch)?;
        let (mut ticket, mut keyed) = (Ticket::new(rows.rows()), Keyed::new());
        for row in 0..rows.rows() {
            match rows.text(key_name::<S>(), row)? {
                Some(key) => keyed.push((row, key)),
                None => ticket.leave_out(row, 0),
            }
        }
        if batch.op == RowOp::Delete {
            self.change_members(Membership::Remove, &keyed, &mut Report::accepted(0))?;
            return Ok(Report::accepted(rows.rows()).into());
        }
        self.leave_out_unfit(&mut ticket, &mut keyed)?;
        let fold = Fold::of(keyed.iter().map(|(row, key)| (*row, S::IDENTIFIERS.comparable(key_name::<S>(), key))));
        let sent = keyed.iter().filter(|(row, _)| fold.rows().binary_search(row).is_ok());
        let upserts = sent.map(|(row, key)| upsert::<S>(&rows, *row, key)).collect::<Result<Vec<Upsert>>>()?;
        // The keys of a job are kept beside its id: tokens only.
        if let Some(jobs) =
            S::JOBS.filter(|jobs| upserts.len() >= jobs.rows_min && keyed.iter().all(|(_, key)| token::is_token(key)))
        {
            let answer = self.service.service().ask(self.service.job(&upserts)?.retry_safe(true))?;
            let keys = keyed.into_iter().map(|(_, key)| key).collect();
            return ticket.keys(keys).pending(&json::required_text(&answer, jobs.id)?);
        }
        let (mut report, _) = ticket.begin(&self.reasons());
        self.put_each(fold.rows(), &upserts, &mut report)?;
        fold.share(&mut report);
        self.change_members(Membership::Add, &keyed, &mut report)?;
        Ok(report.counted(rows.rows()).into())
    }

    fn poll(&mut self, token: &str) -> Result<Outcome> {
        self.ask_after_job(token)
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let (by, names) = ([key_name::<S>().to_owned()], S::IDENTIFIERS.names());
        S::IDENTIFIERS.erase_each(
            &rows(people)?,
            &by,
            names,
            |_, _| Ok(Vec::new()),
            |name, value| {
                if name != key_name::<S>() {
                    return Err(Error::invalid_data(NO_KEY.message).code(NO_KEY.code));
                }
                match self.service.service().ask(self.service.erase(value)?.retry_safe(true)) {
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                    answer => answer.map(drop),
                }
            },
        )
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        let by = [key_name::<S>().to_owned()];
        S::IDENTIFIERS.verify_gone(&rows(people)?, &by, S::ROWS_MAX as usize, |name, keys| {
            let there = keys.iter().zip(self.look(keys)?).filter(|(_, record)| record.is_some());
            Ok(there.map(|(key, _)| json!({ name: key, "id": "there" })).collect())
        })
    }
}

/// The name of the field that is the key.
fn key_name<S: Puts>() -> &'static str {
    S::IDENTIFIERS.names().first().copied().unwrap_or_default()
}

/// Values are texts, as people's tools mostly take them.
fn rows(batch: &Batch) -> Result<JsonRows<'_>> {
    Ok(JsonRows::of(batch.columns()?)?.as_text(|_| true))
}

fn upsert<S: Puts>(rows: &JsonRows<'_>, row: u32, key: &str) -> Result<Upsert> {
    let mut values = rows.record(row)?;
    values.remove(key_name::<S>());
    Ok(Upsert { mark: KeyedRows::mark(row), key: key.to_owned(), values })
}

impl<S: Puts> PutDestination<S> {
    fn reasons(&self) -> Vec<Unfit> {
        std::iter::once(NO_KEY).chain(self.service.unfit().map(|(reason, _)| reason)).collect()
    }

    /// The records that have these keys, in their order.
    fn look(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let service = self.service.service();
        let record = |answer: Result<Response>| match service.judged(answer?) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            answer => answer?.json().map(Some),
        };
        let requests = keys.iter().map(|key| self.service.get(key)).collect();
        service.send_each(requests, S::IN_FLIGHT_MAX).into_iter().map(record).collect()
    }

    fn leave_out_unfit(&self, ticket: &mut Ticket, keyed: &mut Keyed) -> Result<()> {
        let Some((_, is_unfit)) = self.service.unfit() else { return Ok(()) };
        let keys: Vec<&str> = keyed.iter().map(|(_, key)| key.as_str()).collect();
        let mut records = self.look(&keys)?.into_iter();
        keyed.retain(|(row, _)| {
            let is_left_out = records.next().flatten().is_some_and(|record| is_unfit(&record));
            is_left_out.then(|| ticket.leave_out(*row, 1)).is_none()
        });
        Ok(())
    }

    /// Puts records; what becomes of each goes into the report. An error that is not about single rows is the batch's.
    fn put_each(&self, rows: &[u32], upserts: &[Upsert], report: &mut Report) -> Result<()> {
        let service = self.service.service();
        let answers = service.send_each(upserts.iter().map(|row| self.service.put(row)).collect(), S::IN_FLIGHT_MAX);
        let mut passing = None;
        for (row, answer) in rows.iter().zip(answers) {
            let error = self.note(*row, answer, report)?;
            passing = passing.or(error.filter(|error| error.kind != ErrorKind::InvalidData));
        }
        let is_whole = report.retryable.len() == rows.len();
        passing.filter(|_| is_whole).map_or(Ok(()), Err)
    }

    /// Puts what became of one put into the report; why it was refused, where it was. An error that is not about the row is the
    /// batch's.
    fn note(&self, row: u32, answer: Result<Response>, report: &mut Report) -> Result<Option<Error>> {
        use ErrorKind::{InvalidData, RateLimited, Transient};
        let body: Value = answer.as_ref().ok().and_then(|answer| answer.json().ok()).unwrap_or_default();
        match answer.and_then(|answer| self.service.service().judged(answer)) {
            Ok(_) => report.remote_ids.extend(S::IDENTIFIERS.id_of(&body).map(|id| (row, id))),
            Err(error) if matches!(error.kind, InvalidData | Transient | RateLimited) => {
                let field = Some(json::word(json::text(&body, S::FIELD))).filter(|field| !field.is_empty());
                report.refuse(error.clone().at_row(row, field));
                return Ok(Some(error));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Rows that were refused are left out. Does nothing without a list; one that was deleted is looked for, and made, at the next
    /// try.
    fn change_members(&self, change: Membership, keyed: &[(u32, String)], report: &mut Report) -> Result<()> {
        let refused: BTreeSet<u32> = report.failed.iter().chain(&report.retryable).map(|error| error.row).collect();
        let members = || keyed.iter().filter(|(row, _)| !refused.contains(row));
        let keys: BTreeSet<&str> = members().map(|(_, key)| key.as_str()).collect();
        let Some(name) = self.list.as_ref().filter(|_| !keys.is_empty()) else { return Ok(()) };
        let place = format!("list/{name}");
        let make = (change == Membership::Add).then_some(|| self.service.make_list(name));
        let Some(list) = kv::found_or_made(&place, || self.service.find_list(name), make)? else { return Ok(()) };
        let keys: Vec<&str> = keys.into_iter().collect();
        let untaken = self.service.change_members(&list, change, &keys).map_err(|error| {
            let is_gone = error.kind == ErrorKind::NotFound;
            is_gone.then(|| kv::delete(&place));
            if is_gone { Error::transient("the list is not known any more").code("list.gone") } else { error }
        })?;
        for (row, _) in members().filter(|(_, key)| untaken.contains(key)) {
            report.refuse(Error::invalid_data("the list does not take the record").code("list.refused").at_row(*row, None));
        }
        Ok(())
    }
}
