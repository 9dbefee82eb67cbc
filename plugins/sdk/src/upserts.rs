//! Destinations that upsert objects by a unique field, some at a time in one request, keep who is on lists, and erase people:
//! [`Upserts`] says how each of these is asked for, [`UpsertDestination`] does the rest: which targets can be written, duplicates,
//! rows that cannot be sent, outcomes by row, lists that were deleted meanwhile.

pub mod each;
mod jobs;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm};
use crate::outcomes::{KeyedRows, PartialFailure, RowPlace, Unfit};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::{Field, PiiClass};
use crate::{csv, kv};

pub use jobs::{JobRow, Jobs};

/// A row on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// A mark that the service may give back with what became of the row: [`KeyedRows::mark`].
    pub mark: String,
    /// The value of the field that records are matched by.
    pub key: String,
    /// All other fields; null clears one.
    pub values: Map<String, Value>,
}

impl Upsert {
    /// Rows as CSV, the key first, all of them with the fields of the first; `null` clears a field.
    ///
    /// ```
    /// use affluent_sdk::upserts::Upsert;
    ///
    /// let values = serde_json::json!({ "city": null, "vip": true }).as_object().cloned().unwrap_or_default();
    /// let row = Upsert { mark: String::new(), key: "7".to_owned(), values };
    /// assert_eq!(Upsert::csv(&[row], "id", "#N/A"), "\"id\",\"city\",\"vip\"\n\"7\",\"#N/A\",\"true\"\n");
    /// ```
    pub fn csv(rows: &[Self], by: &str, null: &str) -> String {
        let names: Vec<&str> = rows.first().iter().flat_map(|row| row.values.keys()).map(String::as_str).collect();
        let cell = |value: Option<&Value>| match value {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            None | Some(Value::Null | Value::String(_)) => null.to_owned(),
            Some(other) => other.to_string(),
        };
        let line = |row: &Self| {
            let values: Vec<String> = names.iter().map(|name| cell(row.values.get(*name))).collect();
            csv::line(std::iter::once(row.key.as_str()).chain(values.iter().map(String::as_str)))
        };
        csv::line(std::iter::once(by).chain(names.iter().copied())) + &rows.iter().map(line).collect::<String>()
    }
}

/// What is done to the members of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// They are on it from now on.
    Add,
    /// They are not on it any more.
    Remove,
}

/// A service whose objects are upserted.
pub trait Upserts: Account {
    /// Names of the objects that every account lets one write.
    const OBJECTS: &'static [&'static str] = &[];
    /// Whether values are sent as texts, whatever their type, as people's tools mostly take them.
    const AS_TEXT: bool = true;
    /// Rows of one request.
    const ROWS_MAX: u32;
    /// How the identifiers of a person stand in what [`Upserts::find`] gives.
    const IDENTIFIERS: Identifiers;
    /// Where the answer to [`Upserts::upsert`] lists rows that were not taken, by [`Upsert::mark`] or key.
    const REFUSED: PartialFailure;
    /// Where it lists those that have an id now, if that is another list.
    const TAKEN: PartialFailure = PartialFailure::at("/-", RowPlace::Key("/-"));

    /// Names of the objects that can be written, where the configuration tells them.
    fn objects(&self) -> Vec<String> {
        Self::OBJECTS.iter().map(|name| (*name).to_owned()).collect()
    }

    /// An object, with the fields that it can be matched by; those of class email are matched in their normal form.
    ///
    /// # Errors
    /// Any kind; `permission` where the credential does not reach it: then it is not offered.
    fn target(&self, object: &str) -> Result<TargetSchema>;

    /// Creates fields that an object lacks; asked for only where it takes fields of any name.
    ///
    /// # Errors
    /// Any kind; `config` for a field that is there and cannot be written.
    fn create_fields(&self, object: &str, _fields: &[&Field]) -> Result<()> {
        Err(Error::unsupported(format!("fields of `{object}` are not created")))
    }

    /// Upserts records by a field; the answer, whole.
    ///
    /// # Errors
    /// Any kind; see [`Destination::write`].
    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value>;

    /// How large batches are sent as jobs, which the service works on by itself; where there are none, all go by
    /// [`Upserts::upsert`].
    fn jobs(&self) -> Option<Jobs> {
        None
    }

    /// Begins a job that upserts records by a field; its id.
    ///
    /// # Errors
    /// Any kind; see [`Destination::write`].
    fn start_job(&self, _object: &str, _by: &str, _rows: &[Upsert]) -> Result<String> {
        Err(Error::unsupported("this destination has no jobs"))
    }

    /// What the service says of a job.
    ///
    /// # Errors
    /// Any kind; `not_found` for one that it does not know any more.
    fn job(&self, _id: &str) -> Result<Value> {
        Err(Error::unsupported("this destination has no jobs"))
    }

    /// What became of the rows of a job that is over, in any order. Those that are not told are sent again.
    ///
    /// # Errors
    /// Any kind.
    fn job_rows(&self, _id: &str, _by: &str) -> Result<Vec<JobRow>> {
        Err(Error::unsupported("this destination has no jobs"))
    }

    /// Records that have one of these values of a field.
    ///
    /// # Errors
    /// Any kind.
    fn find(&self, object: &str, by: &str, values: &[&str]) -> Result<Vec<Value>>;

    /// Has whoever has this identifier, or this `id`, erased. Who is not known is erased.
    ///
    /// # Errors
    /// Any kind; `unsupported` unless the target says that it erases.
    fn erase(&self, _object: &str, _by: &str, _value: &str) -> Result<()> {
        Err(Error::unsupported("this destination erases nobody"))
    }

    /// The id of a list; `None` where there is none of this name.
    ///
    /// # Errors
    /// Any kind.
    fn find_list(&self, _object: &str, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes a list; its id.
    ///
    /// # Errors
    /// Any kind.
    fn make_list(&self, _object: &str, _name: &str) -> Result<String> {
        Err(Error::unsupported("this destination has no lists"))
    }

    /// Changes who is on a list, by the ids of records.
    ///
    /// # Errors
    /// Any kind; `not_found` for a list that is gone.
    fn change_members(&self, _list: &str, _change: Membership, _ids: &[String]) -> Result<()> {
        Err(Error::unsupported("this destination has no lists"))
    }
}

/// The [`Destination`] of an [`Upserts`] service. Records that leave a segment leave the list; they are never deleted.
#[derive(Debug)]
pub struct UpsertDestination<S> {
    service: S,
    object: String,
    by: Vec<String>,
    list: Option<String>,
    /// How often jobs were asked after.
    questions: u32,
}

/// Why a row is not sent.
const NO_KEY: Unfit = Unfit { code: "row.no_key", message: "the row has no value in the field that it is matched by" };

impl<S: Upserts> Destination for UpsertDestination<S> {
    type Config = S::Config;

    fn discover(config: &S::Config) -> Result<Vec<TargetSchema>> {
        let service = S::connect(config);
        let mut targets = Vec::new();
        for object in service.objects() {
            match service.target(&object) {
                Err(error) if error.kind == ErrorKind::Permission => {}
                target => targets.push(target?.max_rows(S::ROWS_MAX)),
            }
        }
        // One that is matched by nothing cannot be upserted.
        targets.retain(|target| !target.match_fields.is_empty());
        if targets.is_empty() { Err(Error::permission("the credential reaches none of the objects")) } else { Ok(targets) }
    }

    fn open(config: S::Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let (service, object) = (S::connect(&config), target.object.clone());
        let objects = service.objects();
        if !objects.contains(&object) {
            return Err(Error::config(format!("there is no object `{object}`: write {}", objects.join(", "))));
        }
        let schema = service.target(&object)?;
        schema.accept(&target)?;
        let [key] = target.match_fields.as_slice() else {
            return Err(Error::config(format!("`{object}` is matched by one field: use {}", schema.match_fields.join(", "))));
        };
        let list = target.list_name().map(str::to_owned);
        let is_known = |name: &str| name.starts_with('_') || schema.fields.iter().any(|field| field.name == name);
        let missing: Vec<&Field> = target.fields.iter().filter(|field| !is_known(&field.name)).collect();
        if !missing.is_empty() && schema.any_fields && !target.mode.is_erasure() {
            service.create_fields(&object, &missing)?;
        }
        let is_email = schema.fields.iter().any(|field| field.name == *key && field.pii == Some(PiiClass::Email));
        let jobs = service.jobs().filter(|jobs| jobs.from_rows > 0);
        let rows_max = jobs.map_or(S::ROWS_MAX, |jobs| jobs.rows_max.max(S::ROWS_MAX));
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).max_rows(rows_max).removes(list.is_some());
        let info = if is_email { info.form(key, ValueForm::Email) } else { info };
        Ok((Self { service, object, by: vec![key.clone()], list, questions: 0 }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let rows = Self::rows(&batch)?;
        if batch.op == RowOp::Delete {
            let ids = S::IDENTIFIERS.look_up(&rows, &self.by, S::ROWS_MAX as usize, |by, values| self.find(by, values))?;
            self.change_members(Membership::Remove, &ids)?;
            return Ok(Report::accepted(rows.rows()).into());
        }
        let by = self.by.first().map_or("", String::as_str);
        let mut keyed = KeyedRows::by(&S::IDENTIFIERS, by, &rows, NO_KEY)?;
        let upsert = |(row, key): &(u32, String)| {
            let mut values = rows.record(*row)?;
            values.remove(by);
            Ok(Upsert { mark: KeyedRows::mark(*row), key: key.clone(), values })
        };
        let upserts = keyed.sent().iter().map(upsert).collect::<Result<Vec<Upsert>>>()?;
        if self.is_for_job(upserts.len()) {
            return self.start_job(&rows, &upserts);
        }
        let (mut ids, mut from) = (Vec::new(), 0);
        for some in upserts.chunks(S::ROWS_MAX as usize) {
            let answer = self.service.upsert(&self.object, by, some)?;
            ids.extend(S::TAKEN.ids(&answer));
            keyed.read(from..from + some.len(), &answer, &S::REFUSED, &S::TAKEN)?;
            from += some.len();
        }
        self.change_members(Membership::Add, &ids)?;
        Ok(keyed.report().into())
    }

    fn poll(&mut self, token: &str) -> Result<Outcome> {
        self.ask_after_job(token)
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let (rows, names) = (Self::rows(people)?, S::IDENTIFIERS.names());
        let find = |by: &str, values: &[&str]| self.find(by, values);
        S::IDENTIFIERS.erase_each(&rows, &self.by, names, find, |by, value| self.service.erase(&self.object, by, value))
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        S::IDENTIFIERS.verify_gone(&Self::rows(people)?, &self.by, S::ROWS_MAX as usize, |by, values| self.find(by, values))
    }
}

impl<S: Upserts> UpsertDestination<S> {
    fn rows(batch: &Batch) -> Result<JsonRows<'_>> {
        Ok(JsonRows::of(batch.columns()?)?.as_text(|_| S::AS_TEXT))
    }

    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        self.service.find(&self.object, by, values)
    }

    /// Does nothing without a list. One that was deleted is looked for, and made, at the next try.
    fn change_members(&self, change: Membership, ids: &[String]) -> Result<()> {
        let Some(name) = self.list.as_ref().filter(|_| !ids.is_empty()) else { return Ok(()) };
        let key = format!("list/{}/{name}", self.object);
        let find = || self.service.find_list(&self.object, name);
        let make = (change == Membership::Add).then_some(|| self.service.make_list(&self.object, name));
        let Some(list) = kv::found_or_made(&key, find, make)? else { return Ok(()) };
        match self.service.change_members(&list, change, ids) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                kv::delete(&key);
                Err(Error::transient("the list is not known any more").code("list.gone"))
            }
            done => done,
        }
    }
}
