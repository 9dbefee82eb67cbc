//! Destinations that hand records over in jobs and ask later what became of them, keep who is on lists, and erase people:
//! [`Imports`] says how each of these is asked for, [`ImportDestination`] does the rest: the fields that are created, rows that
//! cannot be sent, one row of each record, pending jobs, lists that were deleted meanwhile, who is looked for.

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::kv;
use crate::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm};
use crate::outcomes::{self, Fold, JobStatus, Ticket, Unfit};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::Field;

/// What one job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSize {
    /// Records.
    pub rows: usize,
    /// Bytes of the body that holds them.
    pub bytes: usize,
    /// Bytes of a record beside its fields, at most.
    pub frame: usize,
}

/// A service that takes records in jobs.
pub trait Imports: Account {
    /// What one job takes.
    const SIZE: JobSize;
    /// How the identifiers of a person stand in what [`Imports::find`] gives.
    const IDENTIFIERS: Identifiers;
    /// Values that one [`Imports::find`] looks for, and members that one [`Imports::leave_list`] takes away.
    const FOUND_MAX: usize;
    /// The forms that values of fields must have.
    const FORMS: &'static [(&'static str, ValueForm)];
    /// Whether a job names whom it refused, so that the ticket keeps whom the rows are about: [`Ticket::with_refused_keys`].
    const IS_KEYED: bool = false;
    /// Fewer records than this go one by one, each by [`Imports::put`], which tells at once what became of it; 0 for never.
    const SINGLE_BELOW: usize = 0;
    /// Where an answer of [`Imports::job`] says how far the job is.
    const STATUS: JobStatus;
    /// Why rows are not sent.
    const UNFIT: &'static [Unfit];

    /// The one object that is written.
    ///
    /// # Errors
    /// Any kind.
    fn target(&self) -> Result<TargetSchema>;

    /// Creates a field that the account lacks; asked for only where the object takes fields of any name.
    ///
    /// # Errors
    /// Any kind; `config` for a field that is there and cannot be written.
    fn create_field(&self, field: &Field) -> Result<()> {
        Err(Error::unsupported(format!("the field `{}` is not created", field.name)))
    }

    /// The JSON text of a row's record, or the number of the reason in [`Imports::UNFIT`] why it is not sent. Values are texts.
    ///
    /// # Errors
    /// `invalid_data` when a value cannot be read.
    fn record(&self, rows: &JsonRows<'_>, row: u32) -> Result<Result<String, usize>>;

    /// The body of a job: records as JSON texts, and the list that they come to.
    fn body(&self, records: &[&str], list: Option<&str>) -> String;

    /// Begins a job; its id.
    ///
    /// # Errors
    /// Any kind; see [`Destination::write`].
    fn start(&self, body: String) -> Result<String>;

    /// The body of a request that writes a record by itself; `None` for one that only a job takes.
    fn single(&self, _record: &str) -> Option<String> {
        None
    }

    /// Writes a record by itself; its id at the service. Twice is the same as once.
    ///
    /// # Errors
    /// Any kind; `unsupported` unless there are [`Imports::single`] records.
    fn put(&self, _single: String) -> Result<String> {
        Err(Error::unsupported("this destination writes records in jobs alone"))
    }

    /// Puts a record that was written by itself on a list. Twice is the same as once.
    ///
    /// # Errors
    /// Any kind; `unsupported` unless there are [`Imports::single`] records.
    fn join_list(&self, _list: &str, _id: &str) -> Result<()> {
        Err(Error::unsupported("this destination puts records on lists in jobs alone"))
    }

    /// What is known about a job.
    ///
    /// # Errors
    /// Any kind; `not_found` for a job that the service forgot: its rows are sent again.
    fn job(&self, id: &str) -> Result<Value>;

    /// What became of the rows of a job that is over.
    ///
    /// # Errors
    /// Any kind; `invalid_data` where it is not known which of them were refused: the host halves the batch.
    fn finish(&self, ticket: &Ticket, job: &Value) -> Result<Report>;

    /// Records that have one of these values of an identifier.
    ///
    /// # Errors
    /// Any kind.
    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>>;

    /// Has a person erased, by the identifiers that the row is matched by, with their values, and the records that were found by them;
    /// what the service calls the request or the person. Who is not known is erased.
    ///
    /// # Errors
    /// Any kind; `unsupported` unless the target says that it erases.
    fn erase(&self, _known: &[(&str, String)], _found: &[Value]) -> Result<Option<String>> {
        Err(Error::unsupported("this destination erases nobody"))
    }

    /// The id of a list; `None` where there is none of this name.
    ///
    /// # Errors
    /// Any kind.
    fn find_list(&self, name: &str) -> Result<Option<String>>;

    /// Makes a list; its id.
    ///
    /// # Errors
    /// Any kind.
    fn make_list(&self, name: &str) -> Result<String>;

    /// Whether there still is a list of this id; asked when a request that names it is refused.
    ///
    /// # Errors
    /// Any kind.
    fn has_list(&self, list: &str) -> Result<bool>;

    /// Takes records off a list, by their ids.
    ///
    /// # Errors
    /// Any kind; `not_found` for a list that is gone, off which everybody is.
    fn leave_list(&self, list: &str, ids: &[String]) -> Result<()>;
}

/// The [`Destination`] of an [`Imports`] service. Records that leave a segment leave the list; they are never deleted.
#[derive(Debug)]
pub struct ImportDestination<S> {
    service: S,
    by: Vec<String>,
    list: Option<String>,
}

impl<S: Imports> Destination for ImportDestination<S> {
    type Config = S::Config;

    fn discover(config: &S::Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![S::connect(config).target()?])
    }

    fn open(config: S::Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let service = S::connect(&config);
        let schema = service.target()?;
        schema.accept(&target)?;
        let list = target.list_name().map(str::to_owned);
        let is_known = |name: &str| name.starts_with('_') || schema.fields.iter().any(|field| field.name == name);
        let may_create = schema.any_fields && !target.mode.is_erasure();
        target
            .fields
            .iter()
            .filter(|field| may_create && !is_known(&field.name))
            .try_for_each(|field| service.create_field(field))?;
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey)
            .fitting(S::SIZE.rows, S::SIZE.bytes, S::SIZE.frame + target.json_frame_bytes())
            .removes(list.is_some());
        let info = S::FORMS.iter().fold(info, |info, (field, form)| info.form(field, *form));
        Ok((Self { service, by: target.match_fields, list }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let rows = rows(&batch)?;
        match batch.op {
            RowOp::Upsert => self.import(&rows),
            RowOp::Delete => self.leave(&rows).map(|()| Report::accepted(rows.rows()).into()),
        }
    }

    fn poll(&mut self, token: &str) -> Result<Outcome> {
        let ticket = Ticket::of(token)?;
        let job = self.service.job(ticket.job());
        ticket.follow(job, &S::STATUS, S::UNFIT, |job| self.service.finish(&ticket, job))
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let rows = rows(people)?;
        outcomes::by_row(rows.rows(), |row| {
            let (mut known, mut found) = (Vec::new(), Vec::new());
            for name in &self.by {
                let Some(value) = rows.text(name, row)? else { continue };
                let answer = self.service.find(name, &[&value])?;
                found.extend(answer.into_iter().filter(|record| S::IDENTIFIERS.is_of(name, &value, record)));
                known.push((name.as_str(), value));
            }
            self.service.erase(&known, &found)
        })
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        S::IDENTIFIERS.verify_gone(&rows(people)?, &self.by, S::FOUND_MAX, |by, values| self.service.find(by, values))
    }
}

/// Values are texts, as people's tools mostly take them.
fn rows(batch: &Batch) -> Result<JsonRows<'_>> {
    Ok(JsonRows::of(batch.columns()?)?.as_text(|_| true))
}

impl<S: Imports> ImportDestination<S> {
    /// Of rows about one record the last one is sent; the others share what becomes of it.
    fn import(&self, rows: &JsonRows<'_>) -> Result<Outcome> {
        let (ticket, sent, records) = Ticket::of_rows(rows.rows(), |row| self.service.record(rows, row))?;
        if records.is_empty() {
            return Ok(ticket.begin(S::UNFIT).0.into());
        }
        let by = self.by.first().map_or("", String::as_str);
        let key = |row: u32| -> Result<String> {
            Ok(rows.text(by, row)?.map_or_else(|| format!("row {row}"), |key| S::IDENTIFIERS.comparable(by, &key)))
        };
        let fold = Fold::of(sent.iter().map(|row| Ok((*row, key(*row)?))).collect::<Result<Vec<_>>>()?);
        let is_sent = |row: &u32| fold.rows().binary_search(row).is_ok();
        let records: Vec<&str> =
            sent.iter().zip(&records).filter(|(row, _)| is_sent(row)).map(|(_, record)| record.as_str()).collect();
        let list = self.list.as_deref().map(|name| self.list_id(name, true)).transpose()?.flatten();
        let singles = || records.iter().map(|record| self.service.single(record)).collect::<Option<Vec<String>>>();
        if let Some(singles) = (records.len() < S::SINGLE_BELOW).then(singles).flatten() {
            return self.put_each(&singles, list.as_deref(), &ticket, &fold);
        }
        let body = self.service.body(&records, list.as_deref());
        let body = outcomes::body_within(body, S::SIZE.bytes, &format!("{}.too_large", S::STATUS.prefix))?;
        let job = self.service.start(body).map_err(|error| self.without_list(list.as_deref(), error))?;
        let keys = if S::IS_KEYED { sent.as_slice() } else { &[] };
        let keys = keys.iter().map(|row| S::IDENTIFIERS.key_of_row(&self.by, rows, *row)).collect::<Result<_>>()?;
        ticket.keys(keys).pending(&job)
    }

    /// Writes records one by one.
    fn put_each(&self, singles: &[String], list: Option<&str>, ticket: &Ticket, fold: &Fold) -> Result<Outcome> {
        let rows: Vec<(u32, &String)> = fold.rows().iter().copied().zip(singles).collect();
        let put = |single: &&String| {
            let id = self.service.put((*single).clone())?;
            let joined = list.map_or(Ok(()), |list| self.service.join_list(list, &id));
            joined.map_err(|error| self.without_list(list, error)).map(|()| Some(id))
        };
        let mut report = outcomes::of_rows(ticket.begin(S::UNFIT).0, &rows, put)?;
        fold.share(&mut report);
        Ok(report.counted(ticket.rows()).into())
    }

    /// A list that was deleted at the service is looked for, and made, at the next try.
    fn without_list(&self, list: Option<&str>, error: Error) -> Error {
        let is_about_data = matches!(error.kind, ErrorKind::InvalidData | ErrorKind::NotFound);
        match self.list.as_deref().zip(list) {
            Some((name, id)) if is_about_data && self.service.has_list(id).is_ok_and(|has| !has) => {
                kv::delete(&key(name));
                Error::transient("the list is not known any more").code("list.gone")
            }
            _ => error,
        }
    }

    /// The id of the list of this name; `None` when there is none and none is to be made.
    fn list_id(&self, name: &str, is_made: bool) -> Result<Option<String>> {
        kv::found_or_made(&key(name), || self.service.find_list(name), is_made.then_some(|| self.service.make_list(name)))
    }

    /// Takes people off the list; who is not known is off it already.
    fn leave(&self, rows: &JsonRows<'_>) -> Result<()> {
        let Some(name) = &self.list else { return Err(Error::unsupported("records leave lists, they are never deleted")) };
        let Some(list) = self.list_id(name, false)? else { return Ok(()) };
        let ids = S::IDENTIFIERS.look_up(rows, &self.by, S::FOUND_MAX, |by, values| self.service.find(by, values))?;
        for some in ids.chunks(S::FOUND_MAX.max(1)) {
            match self.service.leave_list(&list, some) {
                Err(error) if error.kind == ErrorKind::NotFound => {
                    kv::delete(&key(name));
                    return Ok(());
                }
                left => left?,
            }
        }
        Ok(())
    }
}

fn key(list: &str) -> String {
    format!("list/{list}")
}
